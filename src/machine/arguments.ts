// Checks of what callers of the simulated machine pass in, before any state changes. What is no address or length at all is
// refused here with a TypeError or RangeError; what a kernel would refuse (unaligned, empty, beyond the address space) is
// left to the system call, which answers with the kernel's error number.

/** Throws a TypeError unless `value` is a whole number, a RangeError if it is negative or above 2^53 - 1. */
export function checkWhole(value: number, name: string): void {
  if (typeof value !== 'number' || Number.isNaN(value) || (Number.isFinite(value) && !Number.isInteger(value))) {
    throw new TypeError(`${name} is ${String(value)}, wanted a whole number`)
  }
  if (value < 0 || !Number.isSafeInteger(value)) {
    throw new RangeError(`${name} is ${value}, wanted 0 to 2^53 - 1`)
  }
}

/** The same, and throws a RangeError for 0. */
export function checkCount(value: number, name: string): void {
  checkWhole(value, name)
  if (value === 0) throw new RangeError(`${name} is 0, wanted at least 1`)
}

/** Throws a TypeError unless `value` is a number, of any kind. */
export function checkNumber(value: number, name: string): void {
  if (typeof value !== 'number') throw new TypeError(`${name} is ${String(value)}, wanted a number`)
}

/** Throws a TypeError unless `value` is an array of bytes. */
export function checkBytes(value: Uint8Array, name: string): void {
  if (!(value instanceof Uint8Array)) throw new TypeError(`${name} is ${String(value)}, wanted a Uint8Array`)
}
