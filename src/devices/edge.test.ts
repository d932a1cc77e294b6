import { describe, expect, it } from 'vitest'
import { PAGE_SIZE } from '../base/addr.ts'
import { EFAULT } from '../base/errno.ts'
import { Mm } from '../mm/mm.ts'
import { mmMmap, mmput } from '../mm/mmap.ts'
import { System } from '../mm/system.ts'
import { ExplicitMmu } from '../mmu/explicit/explicit-mmu.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ } from '../uapi/mman.ts'
import { forEachConcurrent, mmapReadLock, Serial, touchPages, withMmapWriteLock, withUser } from './edge.ts'

const page = (vpn: number) => vpn * PAGE_SIZE

function makeMm(): { mm: Mm; mmu: ExplicitMmu } {
  const mmu = new ExplicitMmu(new ArrayBuffer(page(16)))
  return { mm: new Mm(new System(mmu)), mmu }
}

describe('mmapLock at the edge', () => {
  it('a writer waits for all readers, and is served before readers that came later', async () => {
    const { mm } = makeMm()
    const log: string[] = []
    await mmapReadLock(mm)
    await mmapReadLock(mm)
    const writers = ['first', 'second'].map((name) => withMmapWriteLock(mm, () => log.push(`${name} writes`)))
    const reader = mmapReadLock(mm).then(() => {
      log.push('reader')
      mm.mmapLock.unlockRead()
    })
    mm.mmapLock.unlockRead()
    await new Promise(setImmediate)
    expect(log).toEqual([])
    mm.mmapLock.unlockRead()
    await Promise.all([...writers, reader])
    expect(log).toEqual(['first writes', 'second writes', 'reader'])
    expect([mm.mmapLock.isHeld, mm.mmapLock.waitingWriters]).toEqual([false, 0])
  })

  it('withMmapWriteLock() calls at the moment at which nobody has the lock: nobody else finds it taken', async () => {
    const { mm } = makeMm()
    await mmapReadLock(mm)
    const called = withMmapWriteLock(mm, () => mm.mmapLock.writer)
    expect(mm.mmapLock.waitingWriters).toBe(1)
    mm.mmapLock.unlockRead()
    const found: boolean[] = []
    for (let i = 0; i < 10; i++) {
      await Promise.resolve()
      found.push(mm.mmapLock.writer)
    }
    expect([await called, found.includes(true), mm.mmapLock.waitingWriters]).toEqual([true, false, 0])
  })

  it('withMmapWriteLock() gives the lock back when the call throws', async () => {
    const { mm } = makeMm()
    const call = () => {
      throw new Error('no')
    }
    await expect(withMmapWriteLock(mm, call)).rejects.toThrow('no')
    expect(await withMmapWriteLock(mm, () => 7)).toBe(7)
    expect(mm.mmapLock.isHeld).toBe(false)
  })
})

describe('withUser()', () => {
  it('keeps the address space until the work has ended, well or not', async () => {
    const { mm } = makeMm()
    const working = withUser(mm, async () => {
      mmput(mm)
      await Promise.resolve()
      expect(mm.users).toBe(1)
      throw new Error('no')
    })
    await expect(working).rejects.toThrow('no')
    expect([mm.users, mm.sys.mms.size]).toEqual([0, 0])
    expect(await withUser(mm, async () => 1)).toBeUndefined()
  })
})

describe('touchPages()', () => {
  it('hands the pages to the CPU, and stops where there is nothing or no permission', async () => {
    const { mm, mmu } = makeMm()
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
    mmMmap(mm, page(2), page(3), PROT_READ, flags)
    expect(await touchPages(mm, page(3) + 100, page(4) + 1, false)).toBe(0)
    expect([2, 3, 4].map((vpn) => mmu.cpuAccess(page(vpn)))).toEqual(['none', 'read', 'read'])
    expect(await touchPages(mm, page(2), page(3), true)).toBe(-EFAULT)
    expect(await touchPages(mm, page(4), page(8), false)).toBe(-EFAULT)
    expect(mm.mmapLock.isHeld).toBe(false)
  })

  it('waits while a writer has the lock', async () => {
    const { mm } = makeMm()
    expect(mm.mmapLock.tryWrite()).toBe(true)
    const touched = touchPages(mm, page(2), page(3), true)
    mmMmap(mm, page(2), page(1), PROT_READ | 2, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
    mm.mmapLock.unlockWrite()
    expect(await touched).toBe(0)
  })
})

describe('Serial', () => {
  it('runs one thing at a time, in order, also after a failure', async () => {
    const serial = new Serial()
    const log: string[] = []
    const step = (name: string, fails = false) =>
      serial.run(async () => {
        log.push(`${name} begins`)
        await new Promise(setImmediate)
        log.push(`${name} ends`)
        if (fails) throw new Error(name)
        return name
      })
    const results = await Promise.allSettled([step('a'), step('b', true), step('c')])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends'])
  })
})

describe('forEachConcurrent()', () => {
  it('works on so many items at a time, in order, and on each once', async () => {
    const begun: number[] = []
    let running = 0
    let most = 0
    await forEachConcurrent([0, 1, 2, 3, 4, 5, 6], 3, async (item) => {
      begun.push(item)
      most = Math.max(most, ++running)
      for (let i = 0; i <= item % 2; i++) await new Promise(setImmediate)
      running--
    })
    expect([begun, most, running]).toEqual([[0, 1, 2, 3, 4, 5, 6], 3, 0])
  })

  it('begins nothing new after a failure, and waits for what has begun', async () => {
    const begun: number[] = []
    const ended: number[] = []
    const work = forEachConcurrent([0, 1, 2, 3], 2, async (item) => {
      begun.push(item)
      if (item === 0) throw new Error('it did not work')
      await new Promise(setImmediate)
      ended.push(item)
    })
    await expect(work).rejects.toThrow('it did not work')
    expect([begun, ended]).toEqual([[0, 1], [1]])
  })
})
