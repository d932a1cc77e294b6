// The value of a page is its first 32-bit word, little-endian. Everything that looks into pages goes through here.

import { PAGE_SIZE } from '../../../src/base/addr.ts'

/** The word of page `page` in a buffer of whole pages. */
export function readWord(bytes: Uint8Array, page = 0): number {
  const at = page * PAGE_SIZE
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0
}

export function writeWord(bytes: Uint8Array, page: number, value: number): void {
  const at = page * PAGE_SIZE
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
}
