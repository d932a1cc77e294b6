// The memory of a device, cut into frames of 4 KiB, which are device-private frames of the machine.
//
//   frame 0 ...   | block ......... | free | block ... |        frame i is page frame `pagemap.pfn + i` of the machine
//
// Frames are reserved in blocks, runs of at most 2 MiB for neighbouring pages of one address space. A block is what eviction
// takes as a whole. The frames in it come and go one by one:
//
//   FREE --reserve--> RESERVED --take--> PAGE        a page lives here: mm holds references, and `pageFree` ends it
//                        |       \-----> DUPLICATE   a copy of a system page, the driver's alone
//                        v close
//                      FREE <------------ PAGE, DUPLICATE  (RETIRED in between while an operation still uses the bytes)
//
// What stands behind a page in system memory (`backing`) decides what its way back costs:
//   a frame    the page left it in place: coming back needs no room, and a copy only if the device wrote
//   ZEROES     there was none: as long as the device has not written, it is all zeroes
//   NO_COPY    only the device has the contents

import { HPAGE_PMD_NR, type Pfn } from '../../base/addr.ts'
import { AssertionError, assert } from '../../base/assert.ts'
import { makeByteSet } from '../../base/byte-set.ts'
import { WaitQueue } from '../../base/wait-queue.ts'
import { alikeBytes, alikeFrames, setFrames } from '../../mm/frame-runs.ts'
import {
  type DevPagemap,
  type DevPagemapOps,
  MEMORY_DEVICE_PRIVATE,
  memremapPages,
  memunmapPages,
  zoneDevicePagesInit,
} from '../../mm/memremap.ts'
import { unpinMigratedPage } from '../../mm/migrate-device.ts'
import type { Mm } from '../../mm/mm.ts'
import { PG_DIRTY } from '../../mm/page.ts'
import type { System } from '../../mm/system.ts'
import { FreeRuns } from '../free-runs.ts'
import { Block } from './block.ts'
import { forEachRun, runLength } from './copy-list.ts'

export const FRAME_FREE = 0
export const FRAME_RESERVED = 1
export const FRAME_PAGE = 2
export const FRAME_DUPLICATE = 3
export const FRAME_RETIRED = 4

export const NO_COPY = -1
export const ZEROES = -2

/** Bits of `captured`: an operation uses the bytes of the frame. */
export const CAPTURED = 1 << 0
/** ... and may write them: the page stays, and whoever touches it waits. */
export const CAPTURED_FOR_WRITING = 1 << 1

const NO_BLOCK = -1

/** Beyond so many frames a built-in search is faster than a loop, and a built-in fill. */
const ASKED_FRAMES = 64
const SHORT_FRAMES = 16

/** In frames. */
export interface PoolSize {
  readonly npages: number
  readonly bankPages: number
}

/** Neighbouring frames: the first, and how many. */
export type FrameRun = readonly [first: number, npages: number]

type MigrateToRam = NonNullable<DevPagemapOps['migrateToRam']>

export class FramePool {
  readonly sys: System
  readonly npages: number
  /** Frames of a bank: nothing lies in two of them at once. */
  readonly bankPages: number
  readonly pagemap: DevPagemap
  /** FRAME_* of each frame. */
  readonly state: Uint8Array
  /** CAPTURED* bits of each frame. One operation at a time captures. */
  readonly captured: Uint8Array
  /** The device wrote the frame and nobody was told yet: what hardware keeps in the entries of its page table. */
  readonly dirty: Uint8Array
  /** What stands behind the page in a frame: a system frame, ZEROES or NO_COPY. Only `setBacking` changes it. */
  readonly backing: Int32Array
  /** Woken when an operation lets frames go. */
  readonly released = new WaitQueue()
  /** System frames that stand behind pages. */
  npinned = 0
  /** Frames that operations keep. */
  ncaptured = 0
  /** Operations so far: the time by which blocks grow old. */
  uses = 0
  private readonly blockOf: Int32Array
  /** 1 for a frame that does not belong where the one before it does. */
  private readonly starts: Uint8Array
  private readonly blocks = new Map<number, Block>()
  private readonly free: FreeRuns
  private lastBlock = 0
  /** The block that was looked up last. */
  private recent: Block | null = null

  /** No block lies in two banks. Throws a RangeError for a size that memremap refuses. */
  constructor(sys: System, { npages, bankPages }: PoolSize, owner: unknown, migrateToRam: MigrateToRam) {
    const ops = {
      pageFree: (pfn: Pfn) => this.pagesFree(pfn, 1),
      pagesFree: (first: Pfn, npages: number) => this.pagesFree(first, npages),
      migrateToRam,
    }
    const pagemap = memremapPages(sys, { type: MEMORY_DEVICE_PRIVATE, npages, owner, ops })
    if (typeof pagemap === 'number') throw new RangeError(`device memory of ${npages} pages, wanted a positive integer`)
    this.sys = sys
    this.npages = npages
    this.bankPages = bankPages
    this.pagemap = pagemap
    this.state = new Uint8Array(npages)
    this.captured = makeByteSet(npages)
    this.dirty = new Uint8Array(npages)
    this.backing = new Int32Array(npages).fill(NO_COPY)
    this.blockOf = new Int32Array(npages).fill(NO_BLOCK)
    this.starts = makeByteSet(npages)
    this.free = new FreeRuns(npages, bankPages)
  }

  get nfree(): number {
    return this.free.nfree
  }

  /** Frames of the longest free run. */
  get longestFree(): number {
    return this.free.longest
  }

  /** The frame of the machine is one of these. */
  has(pfn: Pfn): boolean {
    const { pagemap } = this
    return pfn >= pagemap.pfn && pfn < pagemap.pfn + pagemap.npages
  }

  frameOf(pfn: Pfn): number {
    return pfn - this.pagemap.pfn
  }

  pfnOf(frame: number): Pfn {
    return this.pagemap.pfn + frame
  }

  // ---- blocks ----

  /** Reserves one run of frames for neighbouring pages, in blocks cut at 2 MiB of addresses; null if no run is as long. */
  reserve(mm: Mm, vpn: number, npages: number): Block[] | null {
    const first = this.free.alloc(npages)
    return first < 0 ? null : this.cutBlocks(mm, vpn, npages, first)
  }

  /** The same with certain frames; null if they are not all free. */
  reserveAt(mm: Mm, vpn: number, npages: number, first: number): Block[] | null {
    return this.free.take(first, npages) ? this.cutBlocks(mm, vpn, npages, first) : null
  }

  /** Reserves a frame for each of some pages, in ascending order, as far as frames are free. The blocks are in the order of the pages. */
  reserveScattered(mm: Mm, vpns: readonly number[]): Block[] {
    const blocks: Block[] = []
    for (let at = 0; at < vpns.length && this.nfree > 0; ) {
      const [first, n] = this.free.allocSome(vpns.length - at)
      forEachRun(vpns, at, at + n, (vpn, npages, k) => {
        blocks.push(...this.cutBlocks(mm, vpn, npages, first + k - at))
      })
      at += n
    }
    return blocks
  }

  private cutBlocks(mm: Mm, vpn: number, npages: number, first: number): Block[] {
    const blocks: Block[] = []
    for (let at = 0; at < npages; ) {
      const n = Math.min(npages - at, HPAGE_PMD_NR - ((vpn + at) % HPAGE_PMD_NR))
      this.lastBlock++
      const block = new Block(this.lastBlock, mm, vpn + at, first + at, n, this.uses)
      this.blocks.set(block.id, block)
      this.assign(block.id, block.first, block.first + n)
      fill(this.state, FRAME_RESERVED, block.first, block.first + n)
      blocks.push(block)
      at += n
    }
    return blocks
  }

  /** Everything was taken that is going to be: the rest of the reservation is free. */
  close(block: Block): void {
    assert(block.open, 'a block is closed once')
    block.open = false
    const end = block.first + block.npages
    // Mostly all of it was taken.
    const states = this.state.subarray(block.first, end)
    for (let at = states.indexOf(FRAME_RESERVED); at >= 0; at = states.indexOf(FRAME_RESERVED, at + 1)) {
      if (this.blockOf[block.first + at] === block.id) this.giveBack(block.first + at)
    }
    if (block.live === 0 && block.ncaptured === 0) this.blocks.delete(block.id)
    else this.joinSurrounding(block)
  }

  /** Pages that came back to where they had left a block belong to it again: what lies together is evicted together. */
  private joinSurrounding(block: Block): void {
    const end = block.first + block.npages
    const around = this.surrounding(block, block.first - 1) ?? this.surrounding(block, end)
    if (around === null) return
    for (let frame = block.first; frame < end; ) {
      const next = this.endIn(frame, end)
      if (this.blockOf[frame] === block.id) this.assign(around.id, frame, next)
      frame = next
    }
    around.nretired += block.nretired
    around.live += block.live
    around.ncaptured += block.ncaptured
    around.lastUse = Math.max(around.lastUse, block.lastUse)
    this.blocks.delete(block.id)
  }

  /** The block of the frame beside another block, if that has room for the other where the same pages would lie; else null. */
  private surrounding(block: Block, beside: number): Block | null {
    const around = this.blocks.get(this.blockOf[beside])
    if (around === undefined || around.open || around.mm !== block.mm) return null
    if (around.first > block.first || around.first + around.npages < block.first + block.npages) return null
    return around.vpn - around.first === block.vpn - block.first ? around : null
  }

  /** The block that a frame belongs to. */
  blockAt(frame: number): Block {
    const id = this.blockOf[frame]
    // Frames are looked at in order, so it is mostly the same block again.
    if (this.recent?.id === id) return this.recent
    const block = this.blocks.get(id)
    assert(block !== undefined, () => `frame ${frame} belongs to a block`)
    this.recent = block
    return block
  }

  /** The frame exists and belongs to this block. */
  isOf(block: Block, frame: number): boolean {
    return this.blockOf[frame] === block.id
  }

  /** Page that a frame was reserved for. mremap may have moved the page meanwhile. */
  vpnOf(frame: number): number {
    const block = this.blockAt(frame)
    return block.vpn + (frame - block.first)
  }

  /** Blocks with something that can be evicted. */
  evictable(): Block[] {
    return [...this.blocks.values()].filter((block) => {
      if (block.open || block.live === 0) return false
      // There may be thousands of blocks of one page, so frames are looked at only where the counts leave it open.
      if (block.ncaptured < block.live) return true
      return block.ncaptured < block.npages && this.idleFrames(block).length > 0
    })
  }

  /** Frames of a block that hold something which no operation uses, ascending. */
  idleFrames(block: Block): number[] {
    const frames: number[] = []
    for (let frame = block.first; frame < block.first + block.npages; frame++) {
      if (this.blockOf[frame] === block.id && this.isIdle(frame)) frames.push(frame)
    }
    return frames
  }

  /** The frame can be taken. */
  isReserved(frame: number): boolean {
    return this.state[frame] === FRAME_RESERVED
  }

  /** How many of the frames from `first` on, which is reserved, at most `max`, can be taken. */
  nreserved(first: number, max: number): number {
    return alikeBytes(this.state, first, max)
  }

  /** A page or a duplicate is there, and no operation uses it. */
  isIdle(frame: number): boolean {
    const state = this.state[frame]
    return (state === FRAME_PAGE || state === FRAME_DUPLICATE) && this.captured[frame] === 0
  }

  // ---- frames ----

  /** Takes neighbouring reserved frames for pages, each with one reference, locked, contents undefined. Returns the page of the first. */
  takePages(first: number, npages: number): Pfn {
    this.take(first, npages, FRAME_PAGE)
    zoneDevicePagesInit(this.sys, this.pfnOf(first), npages)
    return this.pfnOf(first)
  }

  /** Takes neighbouring reserved frames for copies of system pages. */
  takeDuplicates(first: number, npages: number): void {
    this.take(first, npages, FRAME_DUPLICATE)
  }

  /** Duplicates in neighbouring frames end. */
  dropDuplicates(first: number, npages: number): void {
    this.checkAll(first, npages, FRAME_DUPLICATE, 'holds a duplicate')
    this.vacate(first, npages)
  }

  setBacking(frame: number, backing: number): void {
    if (this.backing[frame] >= 0) this.npinned--
    if (backing >= 0) this.npinned++
    this.backing[frame] = backing
  }

  /** The same for neighbouring frames, with neighbouring system frames from `backing` on behind them, or with the same mark. */
  setBackings(first: number, npages: number, backing: number): void {
    const backings = this.backing
    const step = backing >= 0 ? 1 : 0
    let npinned = step * npages
    const end = (first + npages) | 0
    for (let frame = first | 0, behind = backing | 0; frame < end; frame++, behind += step) {
      if (backings[frame] >= 0) npinned--
      backings[frame] = behind
    }
    this.npinned += npinned
  }

  /** Nothing stands behind neighbouring frames any more, behind which the same did, in the sense of `alike`. */
  clearBackings(first: number, npages: number): void {
    if (this.backing[first] >= 0) this.npinned -= npages
    setFrames(this.backing, NO_COPY, first, npages)
  }

  /** How many frames from `first` on, at most `max`, are dirty alike, and have neighbouring system frames behind them or the same mark. At least one. */
  alike(first: number, max: number): number {
    const { dirty, backing } = this
    const behind = backing[first]
    const step = behind >= 0 ? 1 : 0
    if (step === 0) return alikeBytes(dirty, first, alikeFrames(backing, first, max))
    return alikeBytes(dirty, first, runLength(backing, first, first + max))
  }

  /** System frames that stand behind pages. */
  *pinnedFrames(): IterableIterator<Pfn> {
    for (const backing of this.backing) if (backing >= 0) yield backing
  }

  /** The page in a frame is newer than what stands behind it. */
  mustBeCopied(frame: number): boolean {
    if (this.backing[frame] === NO_COPY || this.dirty[frame] !== 0) return true
    return (this.sys.pages.flags[this.pfnOf(frame)] & PG_DIRTY) !== 0
  }

  /** The page in a frame is the same as what stands behind it, from now on. */
  setClean(frame: number): void {
    this.dirty[frame] = 0
    this.sys.pages.clearDirty(this.pfnOf(frame))
  }

  /**
   * Keeps the bytes of frames for an operation, whatever happens to the pages. Runs of those that nobody has captured before are added
   * to `runs`: they are the operation's to release.
   */
  capture(first: number, npages: number, bits: number, runs: FrameRun[]): void {
    const { captured } = this
    const end = first + npages
    let runAt = first
    for (let frame = first; frame < end; ) {
      const block = this.blockAt(frame)
      const to = this.endIn(frame, end)
      const next = block.ncaptured === 0 ? to : this.endOfFree(frame, to)
      captured.fill(bits, frame, next)
      block.ncaptured += next - frame
      this.ncaptured += next - frame
      if (next > frame) block.lastUse = this.uses
      frame = next
      if (next === to) continue
      if (next > runAt) runs.push([runAt, next - runAt])
      while (frame < to && captured[frame] !== 0) captured[frame++] |= bits
      runAt = frame
    }
    if (end > runAt) runs.push([runAt, end - runAt])
  }

  /** The operation that captured a run is over. The caller wakes `released` when all are let go. */
  release([first, npages]: FrameRun): void {
    const { captured, state } = this
    const end = first + npages
    for (let frame = first; frame < end; ) {
      const block = this.blockAt(frame)
      const to = this.endIn(frame, end)
      captured.fill(0, frame, to)
      block.ncaptured -= to - frame
      this.ncaptured -= to - frame
      assert(block.ncaptured >= 0, 'what is released was captured')
      for (; block.nretired > 0 && frame < to; frame++) {
        if (state[frame] !== FRAME_RETIRED) continue
        block.nretired--
        this.giveBack(frame)
      }
      this.deleteIfEmpty(block)
      frame = to
    }
  }

  /** Returns 0, or -EBUSY while pages are in use. */
  remove(): number {
    return memunmapPages(this.sys, this.pagemap)
  }

  /** Frames belong to a block from now on. */
  private assign(id: number, first: number, end: number): void {
    const { blockOf, starts } = this
    fill(blockOf, id, first, end)
    fill(starts, 0, first, end)
    if (first > 0 && blockOf[first - 1] !== id) starts[first] = 1
    if (end < this.npages) starts[end] = blockOf[end] === id ? 0 : 1
  }

  /** Where the frames end that begin with `frame` and belong to one block. */
  private endIn(frame: number, end: number): number {
    const { starts } = this
    // A question costs as much as a look at some frames, and it does not end here.
    if (end - frame > ASKED_FRAMES) {
      const next = starts.indexOf(1, frame + 1)
      return next < 0 || next > end ? end : next
    }
    let next = frame + 1
    while (next < end && starts[next] === 0) next++
    return next
  }

  /** Where the frames end that begin with `frame` and that nobody has captured. */
  private endOfFree(frame: number, end: number): number {
    const { captured } = this
    const all = captured.subarray(frame, end)
    if (end - frame > ASKED_FRAMES && !all.includes(CAPTURED) && !all.includes(CAPTURED | CAPTURED_FOR_WRITING))
      return end
    let next = frame
    while (next < end && captured[next] === 0) next++
    return next
  }

  private take(first: number, npages: number, state: number): void {
    const end = first + npages
    this.checkAll(first, npages, FRAME_RESERVED, 'is reserved')
    fill(this.state, state, first, end)
    fill(this.dirty, 0, first, end)
    for (let frame = first; frame < end; ) {
      const next = this.endIn(frame, end)
      this.blockAt(frame).live += next - frame
      frame = next
    }
  }

  /** All of some neighbouring frames are in one state. */
  private checkAll(first: number, npages: number, state: number, what: string): void {
    const n = this.state[first] === state ? alikeBytes(this.state, first, npages) : 0
    if (n < npages) throw new AssertionError(`frame ${first + n} ${what}`)
  }

  /** The last references of pages in neighbouring frames are gone, and what stood behind them is not needed any more. */
  private pagesFree(pfn: Pfn, npages: number): void {
    const first = this.frameOf(pfn)
    const end = first + npages
    for (let frame = first, n = 1; frame < end; frame += n) {
      const backing = this.backing[frame]
      n = backing === NO_COPY ? alikeFrames(this.backing, frame, end - frame) : 1
      if (backing === NO_COPY) continue
      this.setBacking(frame, NO_COPY)
      if (backing >= 0) unpinMigratedPage(this.sys, backing)
    }
    this.vacate(first, npages)
  }

  /** Nothing that counts is left in neighbouring frames. */
  private vacate(first: number, npages: number): void {
    const { captured, blockOf } = this
    const end = first + npages
    for (let frame = first; frame < end; ) {
      const block = this.blockAt(frame)
      let next = frame
      if (captured[frame] === 0) next += alikeBytes(captured, frame, alikeFrames(blockOf, frame, end - frame))
      if (next > frame) {
        if (block.open) this.state.fill(FRAME_RESERVED, frame, next)
        else this.giveBack(frame, next - frame)
      } else {
        this.state[next++] = FRAME_RETIRED
        block.nretired++
      }
      block.live -= next - frame
      this.deleteIfEmpty(block)
      frame = next
    }
  }

  private giveBack(first: number, npages = 1): void {
    fill(this.state, FRAME_FREE, first, first + npages)
    this.assign(NO_BLOCK, first, first + npages)
    this.free.free(first, npages)
  }

  private deleteIfEmpty(block: Block): void {
    if (!block.open && block.live === 0 && block.ncaptured === 0) this.blocks.delete(block.id)
  }
}

/** Most runs of frames that come and go are short, and to ask for a fill costs more then. */
function fill(array: Uint8Array | Int32Array, value: number, first: number, end: number): void {
  if (end - first > SHORT_FRAMES) array.fill(value, first, end)
  else for (let i = first; i < end; i++) array[i] = value
}
