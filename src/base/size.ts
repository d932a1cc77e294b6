/**
 * Amounts of memory as people write them: '64 MiB' in, '64 MiB' out.
 *
 * Units are binary, and written so. A bare number counts bytes. Anything else is refused rather than guessed, because a
 * size that is off by 1024 is found late.
 */

export const KIB = 1024
export const MIB = 1024 * KIB
export const GIB = 1024 * MIB

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

/** A number with a unit: '64 MiB', '1.5GiB'. The compiler refuses '64 MB'. */
export type SizeText = `${number}${' ' | ''}${(typeof UNITS)[number]}`

/** Bytes as a number, or a text with one of the units B, KiB, MiB, GiB, TiB. */
export type Size = number | SizeText

/**
 * The number of bytes that `size` stands for. `name` says what it is, for the message.
 *
 * Throws a TypeError for what is no size, a RangeError for one that is negative, not whole or above 2^53 - 1 bytes.
 */
export function parseSize(size: Size | string, name: string): number {
  const nbytes = typeof size === 'number' ? size : parseText(size)
  if (Number.isNaN(nbytes)) {
    throw new TypeError(`${name} is ${JSON.stringify(size) ?? String(size)}, wanted bytes or a text like '64 MiB'`)
  }
  if (!Number.isSafeInteger(nbytes) || nbytes < 0) {
    throw new RangeError(`${name} is ${size}, wanted a whole number of bytes from 0 to 2^53 - 1`)
  }
  return nbytes
}

/** The number of bytes in the largest unit that gives at least 1, with at most one decimal: '64 MiB', '1.5 GiB'. */
export function formatSize(nbytes: number): string {
  let value = nbytes
  let unit = 0
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  let rounded = Math.round(value * 10) / 10
  if (rounded >= 1024 && unit < UNITS.length - 1) {
    rounded = 1
    unit++
  }
  return `${rounded} ${UNITS[unit]}`
}

function parseText(text: unknown): number {
  if (typeof text !== 'string') return Number.NaN
  const match = /^\s*(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB)\s*$/.exec(text)
  if (match === null) return Number.NaN
  return Number(match[1]) * 1024 ** UNITS.indexOf(match[2] as (typeof UNITS)[number])
}
