// Pages to copy between system memory and a device, and the runs in which hardware likes to copy them.

import { PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import type { Mmu } from '../../mmu/mmu.ts'

/** Entries that a list begins with room for, unless it is known how many there will be. */
const ROOM = 64

/**
 * Entry i is between system frame `pfns[i]` and frame `frames[i]` of the device. Neighbours on both sides, which mostly are all there is, are
 * written down when somebody asks for the entries.
 */
export class CopyList {
  length = 0
  /** Both arrays have room for more than the list has. */
  private pfnRoom: Int32Array
  private frameRoom: Int32Array
  /** Entries that are written down; those behind them are one run. */
  private nwritten = 0
  private runPfn: Pfn = 0
  private runFrame = 0

  constructor(room = ROOM) {
    this.pfnRoom = new Int32Array(room)
    this.frameRoom = new Int32Array(room)
  }

  get pfns(): Int32Array {
    this.writeDown()
    return this.pfnRoom.subarray(0, this.length)
  }

  get frames(): Int32Array {
    this.writeDown()
    return this.frameRoom.subarray(0, this.length)
  }

  /** The first entry if all are neighbours on both sides and nobody has asked for them yet, else null. */
  get run(): { readonly pfn: Pfn; readonly frame: number } | null {
    return this.nwritten === 0 && this.length > 0 ? { pfn: this.runPfn, frame: this.runFrame } : null
  }

  add(pfn: Pfn, frame: number): void {
    this.addRun(pfn, frame, 1)
  }

  /** Adds neighbours on both sides. */
  addRun(pfn: Pfn, frame: number, npages: number): void {
    const n = this.length - this.nwritten
    if (n === 0 || pfn !== this.runPfn + n || frame !== this.runFrame + n) {
      this.writeDown()
      this.runPfn = pfn
      this.runFrame = frame
    }
    this.length += npages
  }

  clear(): void {
    this.length = 0
    this.nwritten = 0
  }

  private writeDown(): void {
    const { nwritten, length } = this
    if (nwritten === length) return
    while (this.pfnRoom.length < length) this.grow()
    const { pfnRoom, frameRoom } = this
    for (let k = nwritten, pfn = this.runPfn | 0, frame = this.runFrame | 0; k < length; k++) {
      pfnRoom[k] = pfn++
      frameRoom[k] = frame++
    }
    this.nwritten = length
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
  forEachRun(pfns, from, to, (pfn, npages, at) => {
    fillRun(mmu, pfn, contents.subarray((at - from) * PAGE_SIZE, (at - from + npages) * PAGE_SIZE))
  })
}

/** Fills neighbouring system frames from `pfn` on with `contents`. */
export function fillRun(mmu: Mmu, pfn: Pfn, contents: Uint8Array): void {
  if (mmu.fillFrames !== undefined) {
    mmu.fillFrames(pfn, contents)
    return
  }
  for (let done = 0; done < contents.length; ) {
    const bytes = mmu.bytesOfRun(pfn + done / PAGE_SIZE, (contents.length - done) / PAGE_SIZE)
    bytes.set(bytes.length === contents.length ? contents : contents.subarray(done, done + bytes.length))
    done += bytes.length
  }
}
