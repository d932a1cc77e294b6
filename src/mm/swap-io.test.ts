// Swap on a device that takes its time: what waits, what is kept, and what happens when it fails.

import { describe, expect, it } from 'vitest'
import { AsyncSwap } from '../../test/helpers/async-swap.ts'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { EIO } from '../base/errno.ts'
import type { Size } from '../base/size.ts'
import { ACCESS_SIGBUS, ACCESS_WOULD_WAIT } from '../machine/index.ts'
import { MADV_PAGEOUT, MADV_RANDOM, MADV_SEQUENTIAL } from '../uapi/mman.ts'
import { PG_DIRTY, PG_WRITEBACK } from './page.ts'

class Fixture extends MmFixture {
  readonly slow: AsyncSwap

  constructor(memory: Size = '16 MiB') {
    let slow: AsyncSwap | undefined
    super({
      memory,
      swap: '4 MiB',
      swapDevice: (mmu) => {
        slow = new AsyncSwap(mmu)
        return slow
      },
    })
    this.slow = slow as AsyncSwap
  }

  get stats() {
    return this.sys.swap?.stats
  }

  tryLoad(page: number, process = this.process): number {
    return this.step(() => process.tryLoad32(this.addr(page)))
  }

  tryStore(page: number, value: number): number {
    return this.step(() => this.process.tryStore32(this.addr(page), value))
  }

  endOne(index = 0, err = 0): void {
    this.step(() => this.slow.end(index, err))
  }

  endAll(err = 0): void {
    while (this.slow.pending.length > 0) this.endOne(0, err)
  }

  reclaimAll(): void {
    this.step(() => this.sys.reclaim(this.sys.lru.size))
    this.endAll()
  }

  pageOut(page: number, npages: number): void {
    this.madvise(page, npages, MADV_PAGEOUT)
    this.endAll()
  }
}

function filled(npages: number): Fixture {
  const fixture = new Fixture()
  fixture.mmap(0, npages)
  fixture.store(0, npages, 10)
  return fixture
}

describe('writing to a swap device that takes its time', () => {
  it('keeps the pages until it has ended, and hands them over together', () => {
    const f = filled(3)
    f.madvise(0, 3, MADV_PAGEOUT)
    expect([f.slow.calls, f.pte(0, 3), f.nused]).toEqual([['write 3'], 'sss', 3])
    f.endOne(1)
    expect(f.nused).toBe(2)
    f.endAll()
    expect([f.nused, f.stats?.pagesOut]).toEqual([0, 3])
    f.finish()
  })

  it('lets a touch wait until the write has ended, and keeps the page for it: nothing is read', () => {
    const f = filled(1)
    f.madvise(0, 1, MADV_PAGEOUT)
    expect(f.tryLoad(0)).toBe(ACCESS_WOULD_WAIT)
    f.endAll()
    expect([f.nused, f.tryLoad(0), f.slow.calls]).toEqual([1, 10, ['write 1']])
    f.finish()
  })

  it('frees a page that nobody has any more when the write ends, with its slot', () => {
    const f = filled(2)
    f.madvise(0, 2, MADV_PAGEOUT)
    f.munmap(0, 2)
    expect([f.nused, f.sys.swap?.ninFlight]).toEqual([2, 2])
    f.endOne()
    f.endOne(0, -EIO)
    expect([f.nused, f.slow.contents.size]).toEqual([0, 0])
    f.finish()
  })

  it('leaves the page where it is when it fails; the next attempt writes it', () => {
    const f = filled(1)
    f.madvise(0, 1, MADV_PAGEOUT)
    f.endAll(-EIO)
    expect([f.nused, f.stats?.writeErrors]).toEqual([1, 1])
    expect(f.tryLoad(0)).toBe(10)
    expect(f.sys.pages.flags[f.pfn(0)] & (PG_DIRTY | PG_WRITEBACK)).toBe(PG_DIRTY)
    f.pageOut(0, 1)
    expect([f.nused, f.stats?.pagesOut]).toEqual([0, 1])
    f.finish()
  })

  it('happens once for a page that was only read since', () => {
    const f = filled(2)
    f.pageOut(0, 2)
    for (const page of [0, 1]) expect(f.tryLoad(page)).toBe(ACCESS_WOULD_WAIT)
    f.endAll()
    expect([f.tryLoad(0), f.tryStore(1, 20)]).toEqual([10, 0])
    f.pageOut(0, 2)
    expect([f.stats?.pagesOut, f.stats?.pagesDropped]).toEqual([3, 1])
    for (const page of [0, 1]) f.tryLoad(page)
    f.endAll()
    expect(f.load(0, 2)).toEqual([10, 20])
    f.finish()
  })

  it('is waited for when there is no frame left', () => {
    const f = new Fixture('64 KiB')
    f.mmap(0, 24)
    let stored = 0
    for (; stored < 24; stored++) if (f.tryStore(stored, stored) !== 0) break
    expect(stored).toBe(15) // the zero page has the other one
    expect(f.sys.waitFor).toBe(f.sys.swap?.progress)
    for (; stored < 24; stored++) while (f.tryStore(stored, stored) !== 0) f.endOne()
    for (let page = 0; page < 24; page++) {
      let value = f.tryLoad(page)
      for (; value === ACCESS_WOULD_WAIT; value = f.tryLoad(page)) f.endOne()
      expect(value).toBe(page)
    }
    f.munmap(0, 24)
    f.endAll()
    f.finish()
  })
})

describe('reading from it', () => {
  it('lets every touch wait, and reads once', () => {
    const f = filled(1)
    const child = f.fork()
    f.reclaimAll()
    expect([f.tryLoad(0), f.tryLoad(0), f.tryLoad(0, child)]).toEqual(Array(3).fill(ACCESS_WOULD_WAIT))
    f.endAll()
    expect([f.tryLoad(0), f.tryLoad(0, child), f.slow.calls]).toEqual([10, 10, ['write 1', 'read 1']])
    expect(f.pfn(0)).toBe(f.pfn(0, child))
    f.finish()
  })

  it('brings neighbours along, more of them the longer touches follow one another', () => {
    const f = filled(64)
    f.pageOut(0, 64)
    f.slow.calls.length = 0
    for (let page = 0; page < 64; page++) {
      if (f.tryLoad(page) !== ACCESS_WOULD_WAIT) continue
      f.endAll()
      expect(f.tryLoad(page)).toBe(10 + page)
    }
    expect(f.slow.calls).toEqual(['read 8', 'read 16', 'read 32', 'read 8'])
    // From the second window on the next one is read before anybody needs it; the third wait is for one that was not done
    expect([f.stats?.pagesReadAhead, f.stats?.readAheadHits, f.stats?.waits]).toEqual([62, 62, 3])
    f.finish()
  })

  it('follows touches that go down', () => {
    const f = filled(32)
    f.pageOut(0, 32)
    f.slow.calls.length = 0
    for (let page = 31; page >= 0; page--) {
      if (f.tryLoad(page) === ACCESS_WOULD_WAIT) f.endAll()
      expect(f.tryLoad(page)).toBe(10 + page)
    }
    expect(f.slow.calls).toEqual(['read 1', 'read 16', 'read 15'])
    f.finish()
  })

  it('brings few or none along where touches jump, and goes by the advice', () => {
    const f = filled(200)
    f.pageOut(0, 200)
    f.slow.calls.length = 0
    for (const page of [100, 20, 180, 60, 140]) {
      f.tryLoad(page)
      f.endAll()
    }
    expect(f.slow.calls).toEqual(['read 8', 'read 4', 'read 2', 'read 1', 'read 1'])
    f.slow.calls.length = 0
    f.madvise(0, 100, MADV_RANDOM)
    f.madvise(100, 100, MADV_SEQUENTIAL)
    f.tryLoad(30)
    f.tryLoad(110)
    f.endAll()
    expect(f.slow.calls).toEqual(['read 1', 'read 87']) // 140, 180 and 181 are there already
    f.finish()
  })

  it('ends well where the memory was freed meanwhile', () => {
    const f = filled(8)
    f.pageOut(0, 8)
    f.tryLoad(0)
    f.munmap(0, 8)
    expect([f.nused, f.slow.pending.length]).toEqual([8, 8])
    f.endOne(3, -EIO)
    f.endAll()
    expect([f.nused, f.slow.contents.size]).toEqual([0, 0])
    f.finish()
  })

  it('loses the page when it fails: every touch is an error until the memory is given up', () => {
    const f = filled(2)
    const child = f.fork()
    f.madvise(0, 1, MADV_RANDOM)
    f.reclaimAll()
    f.tryLoad(0)
    f.endAll(-EIO)
    expect([f.tryLoad(0), f.tryLoad(0), f.tryLoad(0, child), f.stats?.readErrors]).toEqual([
      ...Array(3).fill(ACCESS_SIGBUS),
      1,
    ])
    f.exit(child)
    expect(f.sys.swap?.lost.size).toBe(1)
    f.munmap(0, 1)
    f.mmap(0, 1)
    expect([f.tryLoad(0), f.sys.swap?.lost.size, f.slow.contents.size]).toEqual([0, 0, 1])
    f.finish()
  })
})

describe('a page of a file in memory', () => {
  it('waits for swap in the same way', () => {
    const f = new Fixture()
    const file = f.machine.createFile('data', 2)
    f.mmap(0, 2, { file, shared: true })
    f.store(0, 2, 10)
    f.madvise(0, 2, MADV_PAGEOUT)
    expect([f.tryLoad(0), f.slow.calls]).toEqual([ACCESS_WOULD_WAIT, ['write 2']])
    f.endOne(1)
    f.endAll()
    expect([f.tryLoad(0), f.tryLoad(1)]).toEqual([10, ACCESS_WOULD_WAIT])
    f.endAll(-EIO)
    expect([f.tryLoad(1), f.tryLoad(0)]).toEqual([ACCESS_SIGBUS, 10])
    f.munmap(0, 2)
    file.close()
    f.finish()
  })
})

describe('pages that are touched', () => {
  it('get a second chance: the coldest others go', () => {
    const f = filled(32)
    const swapped = () => [...f.pte(0, 32)].flatMap((letter, page) => (letter === 's' ? [page] : []))
    f.step(() => f.sys.reclaim(4))
    f.endAll()
    expect([swapped(), f.sys.lru.naged]).toEqual([[0, 1, 2, 3], 4])
    f.load(5)
    f.load(7)
    f.step(() => f.sys.reclaim(4))
    f.endAll()
    expect(swapped()).toEqual([0, 1, 2, 3, 4, 6, 8, 9])
    for (let i = 0; i < 4; i++) f.step(() => f.sys.reclaim(4))
    f.endAll()
    expect(swapped().filter((page) => page < 10)).toEqual([0, 1, 2, 3, 4, 6, 8, 9])
    f.munmap(0, 32)
    f.finish()
  })
})
