// Lists of frames, one for each page of a range that an operation uses. To make one for 256 MiB takes 80 us, and the memory of those that
// are forgotten makes the collector of garbage run, so long ones are used again.

/** Shorter ones are not worth it. */
const KEPT_LENGTH_MIN = 4096

/** Lists that nobody uses, at most. */
const KEPT_MAX = 8

const kept: ArrayBuffer[] = []

/** A list of so many frames, all of them -1. */
export function takeFrameList(length: number): Int32Array {
  const nbytes = length * Int32Array.BYTES_PER_ELEMENT
  const i = kept.findIndex(({ byteLength }) => byteLength >= nbytes && byteLength <= 2 * nbytes)
  const buffer = i < 0 ? new ArrayBuffer(nbytes) : kept.splice(i, 1)[0]
  return new Int32Array(buffer, 0, length).fill(-1)
}

/** Nobody looks at a list any more that `takeFrameList` has returned. */
export function giveFrameList({ length, buffer }: Int32Array): void {
  if (length < KEPT_LENGTH_MIN || !(buffer instanceof ArrayBuffer)) return
  kept.push(buffer)
  if (kept.length > KEPT_MAX) kept.shift()
}
