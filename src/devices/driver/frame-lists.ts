// Lists of frames, one for each page of a range that an operation uses. To make one for 256 MiB takes 80 us, and the memory of those that
// are forgotten makes the collector of garbage run, so long ones are used again.

import { MIB } from '../../base/size.ts'

/** Shorter ones are not worth it. */
const KEPT_LENGTH_MIN = 4096

/** Lists that nobody uses, and their bytes, at most: those of ranges of 8 GiB. */
const KEPT_MAX = 8
const KEPT_BYTES_MAX = 8 * MIB

const kept: ArrayBuffer[] = []
let keptBytes = 0

/** A list of so many frames, all of them -1. */
export function takeFrameList(length: number): Int32Array {
  const nbytes = length * Int32Array.BYTES_PER_ELEMENT
  const i = kept.findIndex(({ byteLength }) => byteLength >= nbytes && byteLength <= 2 * nbytes)
  const buffer = i < 0 ? new ArrayBuffer(nbytes) : kept.splice(i, 1)[0]
  if (i >= 0) keptBytes -= buffer.byteLength
  return new Int32Array(buffer, 0, length).fill(-1)
}

/** Nobody looks at a list any more that `takeFrameList` has returned. */
export function giveFrameList({ length, buffer }: Int32Array): void {
  if (length < KEPT_LENGTH_MIN || !(buffer instanceof ArrayBuffer)) return
  kept.push(buffer)
  keptBytes += buffer.byteLength
  while (kept.length > KEPT_MAX || keptBytes > KEPT_BYTES_MAX) keptBytes -= kept.shift()!.byteLength
}
