import { beforeEach, describe, expect, it } from 'vitest'
import { AssertionError } from '../../base/assert.ts'
import { Mm } from '../../mm/mm.ts'
import { putPage, unlockPage } from '../../mm/page-alloc.ts'
import { System } from '../../mm/system.ts'
import { SimulatedMmu } from '../../mmu/simulated/simulated-mmu.ts'
import type { Block } from './block.ts'
import {
  CAPTURED,
  CAPTURED_FOR_WRITING,
  FRAME_DUPLICATE,
  FRAME_FREE,
  FRAME_PAGE,
  FRAME_RESERVED,
  FRAME_RETIRED,
  FramePool,
  type FrameRun,
  NO_COPY,
  ZEROES,
} from './frame-pool.ts'

let sys: System
let mm: Mm
let pool: FramePool

beforeEach(() => {
  sys = new System(new SimulatedMmu({ nframes: 16 }))
  mm = new Mm(sys)
  pool = new FramePool(sys, { npages: 8, bankPages: 8 }, 'owner', () => 0)
})

function reserve(vpn: number, npages: number): Block[] {
  const blocks = pool.reserve(mm, vpn, npages)
  if (blocks === null) throw new Error(`no run of ${npages} frames`)
  return blocks
}

/** The last reference of a page of the device goes. */
function free(frame: number): void {
  unlockPage(sys, pool.pfnOf(frame))
  putPage(sys, pool.pfnOf(frame))
}

describe('FramePool', () => {
  it('has at least one frame', () => {
    expect(() => new FramePool(sys, { npages: 0, bankPages: 0 }, 'other', () => 0)).toThrow(RangeError)
  })

  it('cuts a reservation into blocks where 2 MiB of addresses end', () => {
    const blocks = reserve(510, 5)
    expect(blocks.map(({ vpn, first, npages }) => [vpn, first, npages])).toEqual([
      [510, 0, 2],
      [512, 2, 3],
    ])
    expect([pool.nfree, pool.longestFree, pool.reserve(mm, 0, 4)]).toEqual([3, 3, null])
    expect([pool.vpnOf(1), pool.vpnOf(4)]).toEqual([511, 514])
  })

  it('close() frees what was not taken, and the block when nothing is left', () => {
    const [block] = reserve(8, 4)
    const pfn = pool.takePages(2, 1)
    expect([pool.frameOf(pfn), sys.pages.refcount[pfn], pool.evictable()]).toEqual([2, 1, []])
    pool.close(block)
    expect([...pool.state.subarray(0, 4)]).toEqual([FRAME_FREE, FRAME_FREE, FRAME_PAGE, FRAME_FREE])
    expect([pool.nfree, pool.evictable()]).toEqual([7, [block]])
    free(2)
    expect([pool.nfree, pool.evictable(), pool.pagemap.live]).toEqual([8, [], 0])
    expect(() => pool.blockAt(2)).toThrow(AssertionError)
  })

  it('a frame that is given back while its block is open is reserved again', () => {
    const [block] = reserve(8, 2)
    pool.takeDuplicates(0, 1)
    pool.dropDuplicates(0, 1)
    expect([pool.state[0], pool.nfree]).toEqual([FRAME_RESERVED, 6])
    pool.takeDuplicates(0, 1)
    pool.close(block)
    expect([pool.state[0], pool.state[1], pool.nfree]).toEqual([FRAME_DUPLICATE, FRAME_FREE, 7])
    expect(() => pool.takeDuplicates(1, 1)).toThrow(AssertionError)
  })

  it('a captured frame is not evicted, and not reused before it is released', () => {
    const [block] = reserve(8, 2)
    pool.takePages(0, 1)
    pool.takeDuplicates(1, 1)
    pool.close(block)
    const [runs, others]: FrameRun[][] = [[], []]
    pool.capture(0, 1, CAPTURED, runs)
    pool.capture(0, 1, CAPTURED_FOR_WRITING, others)
    expect([runs, others, pool.blockAt(0).ncaptured]).toEqual([[[0, 1]], [], 1])
    expect([pool.captured[0], [...pool.idleFrames(block)], pool.evictable()]).toEqual([
      CAPTURED | CAPTURED_FOR_WRITING,
      [1],
      [block],
    ])
    pool.dropDuplicates(1, 1)
    expect(pool.evictable()).toEqual([])
    free(0)
    expect([pool.state[0], pool.nfree]).toEqual([FRAME_RETIRED, 7])
    pool.release([0, 1])
    expect([pool.state[0], pool.captured[0], pool.nfree]).toEqual([FRAME_FREE, 0, 8])
  })

  it('duplicates end in runs, of several blocks, and what is captured keeps its bytes', () => {
    const first = reserve(8, 3)[0]
    const second = reserve(16, 3)[0]
    pool.takeDuplicates(0, 3)
    pool.takeDuplicates(3, 3)
    pool.close(first)
    pool.close(second)
    const runs: FrameRun[] = []
    pool.capture(1, 1, CAPTURED, runs)
    pool.dropDuplicates(0, 6)
    const [f, r] = [FRAME_FREE, FRAME_RETIRED]
    expect([[...pool.state.subarray(0, 6)], pool.nfree]).toEqual([[f, r, f, f, f, f], 7])
    expect([first.live, first.ncaptured, second.live]).toEqual([0, 1, 0])
    for (const run of runs) pool.release(run)
    expect([pool.state[1], pool.nfree]).toEqual([FRAME_FREE, 8])
    expect(() => pool.blockAt(1)).toThrow(AssertionError)
  })

  it('a page has to be copied unless something equal stands behind it', () => {
    const [block] = reserve(8, 1)
    const pfn = pool.takePages(0, 1)
    pool.close(block)
    expect([pool.backing[0], pool.mustBeCopied(0)]).toEqual([NO_COPY, true])
    pool.setBacking(0, ZEROES)
    expect([pool.mustBeCopied(0), pool.npinned]).toEqual([false, 0])
    pool.dirty[0] = 1
    expect(pool.mustBeCopied(0)).toBe(true)
    pool.dirty[0] = 0
    sys.pages.setDirty(pfn)
    expect(pool.mustBeCopied(0)).toBe(true)
    pool.setClean(0)
    expect(pool.mustBeCopied(0)).toBe(false)
    free(0)
  })

  it('reserves no block in two banks, and what is freed on both sides of their border does not join', () => {
    const banked = new FramePool(sys, { npages: 8, bankPages: 5 }, 'banked', () => 0)
    expect([banked.longestFree, banked.reserve(mm, 0, 6)]).toEqual([5, null])
    const blocks = [3, 3, 2].flatMap((npages, i) => banked.reserve(mm, 8 * i, npages) ?? [])
    expect(blocks.map(({ first }) => first)).toEqual([0, 5, 3])
    for (const block of blocks) banked.close(block)
    expect([banked.nfree, banked.longestFree]).toEqual([8, 5])
  })

  it('gives pages back the frames that they had, and their block', () => {
    const [block] = reserve(16, 4)
    for (let frame = 0; frame < 4; frame++) pool.takePages(frame, 1)
    pool.close(block)
    free(1)
    free(2)
    expect([pool.reserveAt(mm, 17, 3, 1), pool.reserveAt(mm, 17, 2, 1)?.length]).toEqual([null, 1])
    const again = pool.blockAt(1)
    pool.takePages(1, 1)
    pool.capture(1, 1, CAPTURED, [])
    pool.close(again)
    expect([pool.blockAt(1), block.live, block.ncaptured, pool.nfree]).toEqual([block, 3, 1, 5])
    pool.release([1, 1])
    // Another page in its place is not of the block.
    const [other] = pool.reserveAt(mm, 30, 1, 2) ?? []
    pool.takePages(2, 1)
    pool.close(other)
    expect([pool.blockAt(2), pool.evictable()]).toEqual([other, [block, other]])
    for (const frame of [0, 1, 2, 3]) free(frame)
    expect(pool.nfree).toBe(8)
  })

  it('the first page of a block that comes back belongs to it, and not to the block before', () => {
    const [before] = reserve(16, 2)
    const [block] = reserve(18, 2)
    pool.takeDuplicates(before.first, 2)
    pool.takeDuplicates(block.first, 2)
    pool.close(before)
    pool.close(block)
    pool.dropDuplicates(block.first, 1)
    const [again] = pool.reserveAt(mm, 18, 1, block.first) ?? []
    pool.takeDuplicates(block.first, 1)
    pool.close(again)
    expect([pool.blockAt(block.first), block.live, before.live]).toEqual([block, 2, 2])
    expect(pool.evictable()).toEqual([before, block])
  })

  it('remove() says while pages are in use', () => {
    const [block] = reserve(8, 1)
    pool.takePages(0, 1)
    pool.close(block)
    expect(pool.remove()).toBe(-16)
    free(0)
    expect(pool.remove()).toBe(0)
  })
})
