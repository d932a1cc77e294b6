import { afterEach, describe, expect, it, vi } from 'vitest'
import { AsyncSwap } from '../../../test/helpers/async-swap.ts'
import { type Addr, PAGE_SIZE } from '../../base/addr.ts'
import { EIO } from '../../base/errno.ts'
import { handleMmFault } from '../../mm/fault.ts'
import { Mm } from '../../mm/mm.ts'
import { mmMmap } from '../../mm/mmap.ts'
import { System } from '../../mm/system.ts'
import { FAULT_FLAG_WRITE } from '../../mm/vm-fault.ts'
import type { Vma } from '../../mm/vma.ts'
import { SimulatedMmu } from '../../mmu/simulated/simulated-mmu.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../uapi/mman.ts'
import { Reclaimer, watermarksOf } from './reclaimer.ts'

const BASE: Addr = 0x1000_0000
const LIMIT = 8192

/** A machine with a limit of 32 MiB and so many pages less in use. */
function start(nleft: number): { sys: System; swap: AsyncSwap; reclaimer: Reclaimer; touch: (npages: number) => void } {
  const mmu = new SimulatedMmu({ nframes: 2 * LIMIT, contents: true })
  const swap = new AsyncSwap(mmu)
  const { low, high } = watermarksOf(LIMIT, 512)
  const sys: System = new System(mmu, {
    swapPages: 2 * LIMIT,
    swapDevice: swap,
    memoryPages: LIMIT,
    reservePages: 512,
    lowPages: low,
    onLow: () => reclaimer.wake(),
  })
  const reclaimer = new Reclaimer(sys, high)
  const mm = new Mm(sys)
  mmMmap(mm, BASE, LIMIT * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
  let next = BASE
  const touch = (npages: number): void => {
    for (let i = 0; i < npages; i++, next += PAGE_SIZE) handleMmFault(mm.vmaLookup(next) as Vma, next, FAULT_FLAG_WRITE)
  }
  touch(LIMIT - nleft - 1) // the zero page has a frame too
  return { sys, swap, reclaimer, touch }
}

/** Lets everything happen that is not waiting for the disk. */
async function settle(): Promise<void> {
  for (let i = 0; i < 40; i++) await new Promise((resolve) => setImmediate(resolve))
}

afterEach(() => {
  vi.useRealTimers()
})

describe('watermarksOf()', () => {
  it('keeps a thirty-second of the limit free, within bounds', () => {
    expect(watermarksOf(4096, 512)).toEqual({ low: 768, high: 1024 })
    expect(watermarksOf(65_536, 512)).toEqual({ low: 512 + 2048, high: 512 + 4096 })
    expect(watermarksOf(4_194_304, 512)).toEqual({ low: 512 + 4096, high: 512 + 8192 })
  })
})

describe('Reclaimer', () => {
  const { low, high } = watermarksOf(LIMIT, 512)

  it('does nothing while there is enough', async () => {
    const { swap, sys } = start(low)
    await settle()
    expect([sys.nfree, swap.calls]).toEqual([low, []])
  })

  it('begins at the low watermark, in steps, and stops when what is being written reaches the high one', async () => {
    const { swap, sys, touch } = start(low)
    touch(1)
    expect(swap.calls).toEqual([])
    await settle()
    expect(swap.calls).toEqual(['write 512'])
    swap.endAll()
    await settle()
    expect([sys.nfree, swap.calls.length]).toEqual([low - 1 + 512, 1])
    expect(sys.nfree).toBeGreaterThanOrEqual(high)
  })

  it('waits for the disk when enough is being written', async () => {
    const { swap, sys, reclaimer } = start(low)
    sys.reclaim(4 * 512)
    const ncalls = swap.calls.length
    vi.spyOn(sys, 'nfree', 'get').mockReturnValue(-4096)
    reclaimer.wake()
    await settle()
    expect(swap.calls.length).toBe(ncalls)
    swap.end(0)
    await settle()
    expect(swap.calls.length).toBeGreaterThan(ncalls)
  })

  it('asks a disk that fails now and then, and goes on when it works again', async () => {
    const { swap, sys, touch } = start(low)
    touch(1)
    await settle()
    vi.useFakeTimers({ toFake: ['setTimeout'] })
    while (swap.pending.length > 0) swap.end(0, -EIO)
    touch(1)
    await settle()
    expect([sys.swap?.isFailing, swap.calls.length]).toEqual([true, 1])
    for (let i = 0; i < 3; i++) {
      vi.advanceTimersByTime(500)
      while (swap.pending.length > 0) swap.end(0, -EIO)
      await settle()
    }
    expect([swap.calls.length, Math.max(...swap.calls.slice(1).map((call) => Number(call.slice(6))))]).toEqual([4, 16])
    vi.advanceTimersByTime(500)
    swap.endAll()
    await settle()
    swap.endAll()
    await settle()
    expect([sys.swap?.isFailing, sys.nfree >= high]).toEqual([false, true])
  })
})
