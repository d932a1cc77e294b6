// What a heap refuses, by name. Callers match on `code`; the message says what was done to what, and what would have been
// right. A wrong type is a TypeError and a value out of bounds a RangeError, as everywhere, and they have a code too.

export const HEAP_ERROR_CODES = [
  'WRONG_TYPE', // an argument or option of the wrong type
  'BAD_VALUE', // an argument or option out of bounds
  'CLOSED', // the heap was closed, or a batch was handed over
  'OUT_OF_SPACE', // no room for the array
  'USE_AFTER_FREE', // the array was freed
  'DOUBLE_FREE', // the array was freed before
  'FOREIGN_VIEW', // the view is not of this heap, or of no array of it
  'BAD_POINTER', // the pointer does not point into an array
  'NOT_OWNED', // the CPU touched pages that belonged to a device: see OwnershipError
  'HELD', // the array is held by withResident or pin
  'READ_ONLY', // a device is to write an array that was allocated readOnly
  'NO_DEVICE', // there is no such device
  'MODE_UNAVAILABLE', // the mode does not work here
  'NOT_IN_MODE', // the option means nothing in this mode
  'UNFREED', // arrays were left at close, and that was to be an error
  'GPU_FAULT', // a kernel did what it may not; the message says which invocation, where and what
  'LOST', // the newest contents went with a device that is lost
  'BAD_KERNEL', // the device does not take the code: see KernelError
  'TOO_LARGE', // one workgroup of a launch needs more than the device has
  'OUT_OF_BOUNDS', // a strict launch used elements that it was not given
  'ABORTED', // the launch was given up
  'BAD_FILE', // a file cannot be read, or has not what it should have
  'ENGINE_DIED', // the thread that moves the pages is gone
  'FAILED', // mm or a device refused; the message says why
] as const
export type HeapErrorCode = (typeof HEAP_ERROR_CODES)[number]

/** A refused operation of a heap. */
export class HeapError extends Error {
  override readonly name: string = 'HeapError'
  /** What was refused, for callers to match on. */
  readonly code: HeapErrorCode

  constructor(code: HeapErrorCode, message: string, options?: ErrorOptions) {
    super(`${code}: ${message}`, options)
    this.code = code
  }
}

/** An argument or option of the wrong type. */
export class HeapTypeError extends TypeError {
  override readonly name = 'TypeError'
  readonly code = 'WRONG_TYPE'
}

/** An argument or option that is out of bounds. */
export class HeapRangeError extends RangeError {
  override readonly name = 'RangeError'
  readonly code: HeapErrorCode

  constructor(message: string, code: HeapErrorCode = 'BAD_VALUE', options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** Elements of an array, both ends included. */
export interface ElementRange {
  /** Name of the array. */
  readonly array: string
  readonly first: number
  readonly last: number
}

/** How the CPU used memory that was not its own. */
export interface Misuse extends ElementRange {
  /**
   * - store-away    stored to elements that a device had; what was stored is lost
   * - store-shared  stored to elements that devices had copies of; the copies are old now
   * - load-away     loaded elements that a device had, and got a pattern
   */
  readonly misuse: 'store-away' | 'store-shared' | 'load-away'
  /** For load-away: where the pattern turned up. `first` and `last` are those of the whole array then. */
  readonly foundIn?: ElementRange
}

/** `heap.sync` is missing somewhere before: the CPU touched pages that belonged to a device. */
export class OwnershipError extends HeapError {
  override readonly name = 'OwnershipError'
  /** Each place, in the order of addresses. */
  readonly misuses: readonly Misuse[]

  constructor(misuses: readonly Misuse[]) {
    const shown = misuses.slice(0, 3).map(describeMisuse)
    if (misuses.length > shown.length) shown.push(`and ${misuses.length - shown.length} more`)
    super('NOT_OWNED', shown.join('; '))
    this.misuses = misuses
  }
}

function describeMisuse({ misuse, foundIn, ...where }: Misuse): string {
  const { array } = where
  switch (misuse) {
    case 'store-away':
      return `the CPU stored to ${describeElements(where)} while a device had them: await heap.sync(${array}) before`
    case 'store-shared':
      return `the CPU stored to ${describeElements(where)} while devices had copies: await heap.sync(${array}) before`
    case 'load-away': {
      const found = foundIn === undefined ? '' : `, as ${describeElements(foundIn)} show`
      return `the CPU loaded from "${array}" while a device had it${found}: await heap.sync(${array}, 'read') before`
    }
  }
}

function describeElements({ array, first, last }: ElementRange): string {
  return first === last ? `"${array}"[${first}]` : `"${array}"[${first}..${last}]`
}
