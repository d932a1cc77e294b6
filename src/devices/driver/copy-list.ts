// Pages to copy between system memory and a device, and the runs in which hardware likes to copy them.

import { PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import type { Mmu } from '../../mmu/mmu.ts'

/** Entries that a list begins with room for, unless it is known how many there will be. */
const ROOM = 64

/** Entry i is between system frame `pfns[i]` and frame `frames[i]` of the device. */
export class CopyList {
  length = 0
  /** Both arrays have room for more than the list has. */
  private pfnRoom: Int32Array
  private frameRoom: Int32Array

  constructor(room = ROOM) {
    this.pfnRoom = new Int32Array(room)
    this.frameRoom = new Int32Array(room)
  }

  get pfns(): Int32Array {
    return this.pfnRoom.subarray(0, this.length)
  }

  get frames(): Int32Array {
    return this.frameRoom.subarray(0, this.length)
  }

  add(pfn: Pfn, frame: number): void {
    if (this.length === this.pfnRoom.length) this.grow()
    this.pfnRoom[this.length] = pfn
    this.frameRoom[this.length++] = frame
  }

  /** Adds neighbours on both sides. */
  addRun(pfn: Pfn, frame: number, npages: number): void {
    const { length } = this
    while (this.pfnRoom.length < length + npages) this.grow()
    const { pfnRoom, frameRoom } = this
    for (let k = length, end = (length + npages) | 0, home = pfn | 0, at = frame | 0; k < end; k++) {
      pfnRoom[k] = home++
      frameRoom[k] = at++
    }
    this.length += npages
  }

  clear(): void {
    this.length = 0
  }

  private grow(): void {
    const size = 8 * this.pfnRoom.length
    const [pfns, frames] = [new Int32Array(size), new Int32Array(size)]
    pfns.set(this.pfnRoom)
    frames.set(this.frameRoom)
    this.pfnRoom = pfns
    this.frameRoom = frames
  }
}

/** How many numbers of a list from `at` on, before `to`, follow each other. At least one. */
export function runLength(numbers: ArrayLike<number>, at: number, to: number): number {
  const first = at | 0
  const last = to | 0
  let end = first + 1
  while (end < last && numbers[end] === numbers[end - 1] + 1) end++
  return end - first
}

/** Visits runs of neighbours in `[from, to)` of a list of page or frame numbers: the first, how many, and index of the first. */
export function forEachRun(
  numbers: ArrayLike<number>,
  from: number,
  to: number,
  visit: (first: number, npages: number, at: number) => void,
): void {
  for (let at = from; at < to; ) {
    const npages = runLength(numbers, at, to)
    visit(numbers[at], npages, at)
    at += npages
  }
}

/** Visits the bytes of system frames `[from, to)` of a list, as few pieces as they lie in: bytes, and index of the first page. */
export function forEachPiece(
  mmu: Mmu,
  pfns: ArrayLike<Pfn>,
  from: number,
  to: number,
  visit: (bytes: Uint8Array, at: number) => void,
): void {
  for (let at = from; at < to; ) {
    const next = at + runLength(pfns, at, to)
    while (at < next) {
      const bytes = mmu.bytesOfRun(pfns[at], next - at)
      visit(bytes, at)
      at += bytes.length / PAGE_SIZE
    }
  }
}

/** Fills system frames `[from, to)` of a list with `contents`, in as few pieces as they lie in. */
export function fillFrames(mmu: Mmu, pfns: ArrayLike<Pfn>, from: number, to: number, contents: Uint8Array): void {
  const part = (at: number, npages: number): Uint8Array =>
    contents.subarray((at - from) * PAGE_SIZE, (at - from + npages) * PAGE_SIZE)
  if (mmu.fillFrames === undefined) {
    forEachPiece(mmu, pfns, from, to, (bytes, at) => bytes.set(part(at, bytes.length / PAGE_SIZE)))
    return
  }
  forEachRun(pfns, from, to, (pfn, npages, at) => mmu.fillFrames?.(pfn, part(at, npages)))
}
