// The memory of a WebGPU device as device-private frames of the machine: one GPUBuffer, cut into pages of 4 KiB.
//
//   pool      | block 0 ........ | free ... | block 1 .. |           frame i lies at byte 4096 * i of the buffer and is
//   frames    0                                             npages   page frame `pagemap.pfn + i` of the machine
//
// Frames are handed out in blocks, runs of neighbours, because what is bound to a kernel directly has to lie in one piece.
// A block is also what eviction takes as a whole, the coldest first. Its pages may leave one by one.
//
// What stands behind a page in system memory (`backing`) decides what its way back costs:
//   a frame     the page left it in place (MIGRATE_PFN_PIN): coming back needs no allocation, and a copy only if it is dirty
//   ZEROES      it came from a hole, so as long as nobody has written it, it is zero
//   NO_COPY     only the device has the contents

import { PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { AssertionError, assert } from '../../base/assert.ts'
import {
  type DevPagemap,
  type DevPagemapOps,
  MEMORY_DEVICE_PRIVATE,
  memremapPages,
  memunmapPages,
  zoneDevicePageInit,
} from '../../mm/memremap.ts'
import { unpinMigratedPage } from '../../mm/migrate-device.ts'
import type { Mm } from '../../mm/mm.ts'
import type { System } from '../../mm/system.ts'
import { FreeRuns } from '../free-runs.ts'

export const NO_COPY = -1
export const ZEROES = -2

/** Number in `blockOf` of a frame that belongs to no block. */
const NO_BLOCK = -1

/** Neighbouring frames that were allocated together, for pages of one address space. */
export class Block {
  readonly id: number
  readonly mm: Mm
  /** First frame of the pool. */
  readonly first: number
  readonly npages: number
  /** Frames of it that hold pages. */
  live = 0
  /** It is being filled: all its frames are reserved, whether they hold pages or not. */
  open = true
  /** Somebody is working with it: it is not evicted, and not dropped when it is empty. */
  holds = 1
  /** Count of uses of the device when it was used last. */
  lastUse: number

  constructor(id: number, mm: Mm, first: number, npages: number, lastUse: number) {
    this.id = id
    this.mm = mm
    this.first = first
    this.npages = npages
    this.lastUse = lastUse
  }
}

export class WebGpuMemory {
  readonly npages: number
  readonly pool: GPUBuffer
  readonly pagemap: DevPagemap
  /** What stands behind each frame in use: a system frame, ZEROES or NO_COPY. */
  readonly backing: Int32Array
  private readonly sys: System
  private readonly free: FreeRuns
  /** Block of each frame that holds a page or is reserved, by number. */
  private readonly blockOf: Int32Array
  /** 1 for frames that hold a page. */
  private readonly used: Uint8Array
  private readonly blocks = new Map<number, Block>()
  private lastBlock = 0
  private uses = 0

  /** `pool` is as large as the memory is to be. Throws an AssertionError for owners or sizes that memremap refuses. */
  constructor(sys: System, pool: GPUBuffer, owner: unknown, migrateToRam: NonNullable<DevPagemapOps['migrateToRam']>) {
    this.sys = sys
    this.pool = pool
    this.npages = pool.size / PAGE_SIZE
    const pagemap = memremapPages(sys, {
      type: MEMORY_DEVICE_PRIVATE,
      npages: this.npages,
      owner,
      ops: { pageFree: (pfn) => this.pageFree(pfn), migrateToRam },
    })
    if (typeof pagemap === 'number') throw new AssertionError(`memremap of ${this.npages} pages: ${pagemap}`)
    this.pagemap = pagemap
    this.free = new FreeRuns(this.npages)
    this.backing = new Int32Array(this.npages).fill(NO_COPY)
    this.blockOf = new Int32Array(this.npages).fill(NO_BLOCK)
    this.used = new Uint8Array(this.npages)
  }

  /** Frames that hold pages. */
  get npagesUsed(): number {
    return this.pagemap.live
  }

  frameOf(pfn: Pfn): number {
    return pfn - this.pagemap.pfn
  }

  pfnOf(frame: number): Pfn {
    return this.pagemap.pfn + frame
  }

  /** Reserves neighbouring frames, held by the caller; null if no run is as long. */
  allocBlock(mm: Mm, npages: number): Block | null {
    const first = this.free.alloc(npages)
    if (first < 0) return null
    this.lastBlock++
    const block = new Block(this.lastBlock, mm, first, npages, ++this.uses)
    this.blocks.set(block.id, block)
    this.blockOf.fill(block.id, first, first + npages)
    return block
  }

  /** Takes page `i` of a block into use: one reference, locked. It has no copy anywhere until `backing` says otherwise. */
  takePage(block: Block, i: number): Pfn {
    const frame = block.first + i
    assert(block.open && i < block.npages && this.used[frame] === 0, () => `frame ${frame} is reserved and unused`)
    this.used[frame] = 1
    this.backing[frame] = NO_COPY
    block.live++
    zoneDevicePageInit(this.sys, this.pfnOf(frame))
    return this.pfnOf(frame)
  }

  /** All pages that are going to be taken were taken: what is left of the reservation is free again. */
  closeBlock(block: Block): void {
    block.open = false
    const end = block.first + block.npages
    for (let frame = block.first; frame < end; ) {
      let next = frame
      while (next < end && this.used[next] === 0) next++
      if (next > frame) {
        this.blockOf.fill(NO_BLOCK, frame, next)
        this.free.free(frame, next - frame)
      }
      frame = next + 1
    }
  }

  /** Ends a hold. */
  release(block: Block): void {
    block.holds--
    if (block.holds === 0 && block.live === 0) this.blocks.delete(block.id)
  }

  /** The block that a frame in use belongs to. */
  blockAt(frame: number): Block {
    const block = this.blocks.get(this.blockOf[frame])
    assert(block !== undefined && this.used[frame] === 1, () => `frame ${frame} of the pool is in use`)
    return block
  }

  /** Frames of the block that hold pages, ascending. */
  framesOf(block: Block): number[] {
    const frames: number[] = []
    for (let frame = block.first; frame < block.first + block.npages; frame++) {
      if (this.blockOf[frame] === block.id && this.used[frame] === 1) frames.push(frame)
    }
    return frames
  }

  /** The block was used just now. */
  touch(block: Block): void {
    block.lastUse = ++this.uses
  }

  /** The block that was not used for the longest time, among those that nobody works with; null if there is none. */
  coldest(): Block | null {
    let coldest: Block | null = null
    for (const block of this.blocks.values()) {
      if (block.holds > 0) continue
      if (coldest === null || block.lastUse < coldest.lastUse) coldest = block
    }
    return coldest
  }

  /** Blocks that nobody works with, coldest first. */
  idleBlocks(): Block[] {
    const idle = [...this.blocks.values()].filter((block) => block.holds === 0)
    return idle.sort((a, b) => a.lastUse - b.lastUse)
  }

  /** System frames that stand behind pages of the device. */
  pinnedFrames(): Set<Pfn> {
    return new Set(this.backing.filter((pfn) => pfn >= 0))
  }

  /** Returns 0, or -EBUSY while pages are in use. The pool is the caller's. */
  remove(): number {
    return memunmapPages(this.sys, this.pagemap)
  }

  /** The last reference of a page is gone: whatever stood behind it is not needed any more. */
  private pageFree(pfn: Pfn): void {
    const frame = this.frameOf(pfn)
    const block = this.blockAt(frame)
    if (this.backing[frame] >= 0) unpinMigratedPage(this.sys, this.backing[frame])
    this.backing[frame] = NO_COPY
    this.used[frame] = 0
    block.live--
    if (block.open) return
    this.blockOf[frame] = NO_BLOCK
    this.free.free(frame, 1)
    if (block.live === 0 && block.holds === 0) this.blocks.delete(block.id)
  }
}
