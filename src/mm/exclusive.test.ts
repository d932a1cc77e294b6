// Exclusive access of a device to system pages, and how the CPU takes them back (spec EX-1 to EX-12).

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { PAGE_SIZE, type Pfn } from '../base/addr.ts'
import { EAGAIN, EFAULT, EINVAL, ENOENT } from '../base/errno.ts'
import { type Process, WouldWait } from '../machine/index.ts'
import type { MachineOptions } from '../machine/machine.ts'
import { MADV_DONTNEED, MADV_PAGEOUT, PROT_NONE, PROT_READ } from '../uapi/mman.ts'
import { makeDeviceExclusiveRange } from './exclusive.ts'
import { MM_ANONPAGES } from './mm.ts'
import { MMU_NOTIFY_EXCLUSIVE } from './mmu-notifier.ts'
import { PG_DIRTY, PG_LOCKED } from './page.ts'
import { putPage, unlockPage } from './page-alloc.ts'
import { PTE_DIRTY, PTE_WRITE, PTE_YOUNG } from './pte.ts'
import { FAULT_FLAG_WRITE, VM_FAULT_RETRY } from './vm-fault.ts'

/** A machine whose device 0 takes pages and keeps their locks until told otherwise. */
class Fixture extends MmFixture {
  readonly owner = { number: 0 }
  /** Frames that the driver holds, locked. */
  readonly taken: Pfn[] = []

  constructor(options: MachineOptions = {}) {
    super(options)
  }

  /** makeDeviceExclusiveRange. Returns its result, and for each page whether it was had. */
  take(page: number, npages: number, process = this.process): [number, string] {
    const out: Pfn[] = []
    expect(process.mm.mmapLock.tryRead()).toBe(true)
    const start = this.addr(page)
    const ret = makeDeviceExclusiveRange(process.mm, start, start + npages * PAGE_SIZE, out, this.owner)
    process.mm.mmapLock.unlockRead()
    for (const pfn of out) if (pfn >= 0) this.keep(pfn)
    this.validate()
    return [ret, out.map((pfn) => (pfn >= 0 ? 'y' : 'n')).join('')]
  }

  private keep(pfn: Pfn): void {
    this.taken.push(pfn)
    this.held.set(pfn, (this.held.get(pfn) ?? 0) + 1)
  }

  /** The driver has programmed its device: it unlocks the pages and puts them. */
  release(): void {
    for (const pfn of this.taken.splice(0)) {
      unlockPage(this.sys, pfn)
      this.held.set(pfn, (this.held.get(pfn) ?? 0) - 1)
      putPage(this.sys, pfn)
    }
    this.validate()
  }

  /** Takes pages and releases them. */
  exclude(page: number, npages: number, process?: Process): [number, string] {
    const result = this.take(page, npages, process)
    this.release()
    return result
  }
}

describe('makeDeviceExclusiveRange(), getting the pages (EX-1)', () => {
  it('faults everything in for writing: empty, zero, shared, swapped and device pages', () => {
    const f = new Fixture({ swap: '1 MiB' })
    const gpu = f.device(0)
    f.mmap(0, 6)
    f.store(1, 5, 1)
    f.load(0)
    f.munmap(0, 1)
    f.mmap(0, 1)
    f.madvise(3, 1, MADV_PAGEOUT)
    f.migrateToDev(0, 4, 1)
    const child = f.fork()
    f.load(0)
    f.exclude(5, 1)
    expect([f.pte(0, 6), f.pte(0, 6, child)]).toEqual(['zrrsdX', '-rrsdr'])
    expect(f.exclude(0, 6)).toEqual([6, 'yyyyyy'])
    expect([f.pte(0, 6), f.pte(0, 6, child), gpu.npagesUsed]).toEqual(['XXXXXX', '-rrsrr', 0])
    expect([f.load(1, 5), f.load(1, 5, child)]).toEqual([
      [1, 2, 3, 4, 5],
      [1, 2, 3, 4, 5],
    ])
    f.exit(child)
    f.finish()
  })

  it('splits huge entries, and takes no page of a compound one (EX-1, EX-3)', () => {
    const f = new Fixture({ thp: 'always' })
    f.mmap(0, 512)
    f.store(0)
    expect([f.exclude(0, 3), f.pte(0, 3)]).toEqual([[3, 'ynn'], 'XXX'])
    // Taking the head took all its mappings (EX-4), as the kernel does: the rmap walk goes by the compound page.
    expect([f.pte(510, 2), f.counts(511)]).toEqual(['XX', '0/0'])
    expect(f.load(0, 4)).toEqual([1, 0, 0, 0])
    f.finish()
  })

  it('a first page that cannot be had is an error (EX-2)', () => {
    const f = new Fixture()
    f.mmap(0, 1, { prot: PROT_READ })
    f.mmap(1, 1, { prot: PROT_NONE })
    f.mmap(3, 1)
    expect([f.take(0, 1), f.take(1, 1), f.take(2, 2)]).toEqual(Array(3).fill([-EFAULT, '']))
    expect(f.pte(0, 4)).toBe('tt_t')
    f.finish()
  })

  it('a later page that cannot be had ends the range there (EX-2)', () => {
    const f = new Fixture()
    f.mmap(0, 2)
    f.mmap(2, 1, { prot: PROT_READ })
    expect(f.exclude(0, 3)).toEqual([2, 'yy'])
    f.munmap(1, 2)
    expect(f.exclude(0, 3)).toEqual([1, 'y'])
    f.finish()
  })

  it('refuses what is no range of whole pages, and takes none of an empty one', () => {
    const f = new Fixture()
    f.mmap(0, 2)
    f.mm.mmapLock.tryRead()
    const [from, to] = [f.addr(0), f.addr(2)]
    const results = [
      [from + 1, to],
      [from, to - 1],
      [to, from],
      [Number.NaN, to],
      [from, Number.NaN],
      [-PAGE_SIZE, to],
      [from + 0.5, to],
      [from, Number.POSITIVE_INFINITY],
    ].map(([start, end]) => makeDeviceExclusiveRange(f.mm, start, end, [], null))
    expect(results).toEqual(Array(8).fill(-EINVAL))
    expect(makeDeviceExclusiveRange(f.mm, from, from, [], null)).toBe(0)
    f.mm.mmapLock.unlockRead()
    expect(f.pte(0, 2)).toBe('tt')
    expect(() => makeDeviceExclusiveRange(f.mm, from, to, [], null)).toThrow('the mmapLock is not held')
    f.finish()
  })

  it('waits like any fault: for a page that is on its way', () => {
    const f = new Fixture()
    const end = (() => {
      f.mmap(0, 2)
      f.store(0, 2)
      f.take(1, 1) // the driver keeps the lock
      return () => f.release()
    })()
    expect(f.take(0, 2)).toEqual([1, 'y']) // page 1 would have to wait
    f.mm.mmapLock.tryRead()
    expect(makeDeviceExclusiveRange(f.mm, f.addr(1), f.addr(2), [], null)).toBe(-EAGAIN)
    f.mm.mmapLock.unlockRead()
    let woken = 0
    f.sys.waitFor?.add(() => woken++)
    end()
    expect([woken, f.exclude(1, 1)]).toEqual([1, [1, 'y']])
    f.finish()
  })
})

describe('makeDeviceExclusiveRange(), page by page', () => {
  it('no page whose lock is not available (EX-3)', () => {
    const f = new Fixture()
    f.mmap(0, 2)
    f.store(0, 2)
    const pfn = f.pfn(0)
    f.sys.pages.trylock(pfn)
    expect([f.exclude(0, 2), f.pte(0, 2), f.counts(0)]).toEqual([[2, 'ny'], 'wX', '1/1'])
    unlockPage(f.sys, pfn)
    f.finish()
  })

  it('no page that is not anonymous, and no event for it (EX-3)', () => {
    const f = new Fixture()
    const file = f.machine.createFile('file', 1)
    f.mmap(0, 1, { shared: true })
    f.mmap(1, 1, { file, shared: true })
    f.mmap(2, 1, { file })
    f.store(0, 2)
    const events = f.eventsOf(() => expect(f.exclude(0, 3)).toEqual([3, 'nny']))
    // The private mapping gets a copy of its own.
    expect(events).toEqual(['EXCLUSIVE 2-3 of 2-3 by dev0'])
    expect([f.pte(0, 3), f.counts(0), f.counts(1)]).toEqual(['wwX', '2/1', '2/1'])
    f.finish(1)
  })

  it('the entry keeps its reference and loses its mapping; permission and dirty bit are kept (EX-4)', () => {
    const f = new Fixture()
    f.mmap(0, 1)
    f.store(0)
    const pfn = f.pfn(0)
    f.sys.pages.clearDirty(pfn)
    f.take(0, 1)
    expect([f.countsOf(pfn), f.sys.pages.flags[pfn] & (PG_LOCKED | PG_DIRTY), f.flags(0) & PTE_WRITE]).toEqual([
      '2/0',
      PG_LOCKED | PG_DIRTY,
      PTE_WRITE,
    ])
    f.release()
    expect([f.countsOf(pfn), f.attr(0, 1), f.mm.rss[MM_ANONPAGES]]).toEqual(['1/0', '3', 1])
    f.finish()
  })

  it('an event for each mapping that may map the page, after what the faults raise (EX-4, MN-86)', () => {
    const f = new Fixture()
    f.mmap(0, 2)
    f.store(0, 2)
    const child = f.fork()
    f.store(0, 1, 9, child)
    const childLog = f.logOf(child)
    childLog.take()
    const events = f.eventsOf(() => f.exclude(0, 2))
    // Page 0 is alone again and needs no copy; of page 1 the child has one reference, so it is copied first.
    expect(events).toEqual(['CLEAR 1-2 of 0-2', 'EXCLUSIVE 0-1 of 0-2 by dev0', 'EXCLUSIVE 1-2 of 0-2 by dev0'])
    expect(childLog.take()).toEqual([])
    f.exit(child)
    f.finish()
  })

  it('the driver gets it locked and with a reference, if no other mapping is left (EX-5)', () => {
    const f = new Fixture()
    f.mmap(0, 2)
    f.store(0, 2)
    const { pages } = f.sys
    expect(f.take(0, 1)).toEqual([1, 'y'])
    expect([f.counts(0), pages.isLocked(f.pfn(0))]).toEqual(['2/0', true])
    f.release()
    const pfn = f.pfn(1)
    f.log.answer = (range) => {
      if (range.event === MMU_NOTIFY_EXCLUSIVE) pages.mapcount[pfn]++ // somebody maps it just now
      return true
    }
    const out: Pfn[] = []
    f.mm.mmapLock.tryRead()
    expect([makeDeviceExclusiveRange(f.mm, f.addr(1), f.addr(2), out, f.owner), out]).toEqual([1, [-1]])
    f.mm.mmapLock.unlockRead()
    pages.mapcount[pfn]--
    f.log.answer = () => true
    f.validate()
    expect([f.pte(0, 2), f.counts(1), pages.isLocked(pfn)]).toEqual(['XX', '1/0', false])
    f.finish()
  })

  it('what was converted and then failed stays converted; the next touch restores it (EX-6)', () => {
    const f = new Fixture()
    f.mmap(0, 1)
    f.store(0, 1, 4)
    const pfn = f.pfn(0)
    let wasWritable = true
    f.log.answer = (range) => {
      if (range.event !== MMU_NOTIFY_EXCLUSIVE || !wasWritable) return true
      wasWritable = false
      const table = f.mm.pageTable.findPte(f.addr(0))
      if (table !== null) table.words[1] &= ~PTE_WRITE // as mprotect on another processor would
      return true
    }
    expect([f.take(0, 1), f.pte(0, 1), f.countsOf(pfn)]).toEqual([[1, 'n'], 'x', '1/0'])
    expect(f.sys.pages.flags[pfn] & PG_LOCKED).toBe(0)
    f.log.answer = () => true
    expect([f.load(0), f.pte(0, 1), f.counts(0)]).toEqual([[4], 'r', '1/1'])
    f.finish()
  })
})

describe('the CPU takes a page back', () => {
  it('not while the driver holds the lock: a touch waits for it (EX-7)', () => {
    const f = new Fixture()
    f.mmap(0, 1)
    f.store(0)
    f.take(0, 1)
    expect(() => f.load(0)).toThrow(WouldWait)
    expect([f.fault(0, 0), f.fault(0, FAULT_FLAG_WRITE)]).toEqual([VM_FAULT_RETRY, VM_FAULT_RETRY])
    expect(f.counts(0)).toBe('2/0')
    let woken = 0
    f.sys.waitFor?.add(() => woken++)
    expect(f.eventsOf(() => f.release())).toEqual([])
    expect([woken, f.load(0)]).toEqual([1, [1]])
    f.finish()
  })

  it('under an EXCLUSIVE event of nobody, for a read as for a write (EX-8, EX-10, EX-11)', () => {
    const f = new Fixture()
    f.mmap(0, 2)
    f.store(0, 2, 5)
    f.exclude(0, 2)
    const pfn = f.pfn(0)
    const owners: unknown[] = []
    const during: string[] = []
    f.log.answer = (range) => {
      owners.push(range.owner)
      during.push(`${f.pte(0, 1)} ${f.countsOf(pfn)} ${f.sys.pages.isLocked(pfn)}`)
      return true
    }
    const events = f.eventsOf(() => expect(f.load(0)).toEqual([5]))
    expect(events).toEqual(['EXCLUSIVE 0-1 of 0-2 by nobody'])
    expect(during).toEqual(['X 2/0 true']) // with a reference and the lock, and before the entry changes
    expect(f.eventsOf(() => f.store(1))).toEqual(['EXCLUSIVE 1-2 of 0-2 by nobody'])
    expect(owners).toEqual([null, null])
    expect([f.pte(0, 2), f.counts(0), f.counts(1)]).toEqual(['ww', '1/1', '1/1'])
    f.finish()
  })

  it('finds the entry changed and leaves it (EX-8)', () => {
    const f = new Fixture()
    f.mmap(0, 1)
    f.store(0)
    f.exclude(0, 1)
    f.log.answer = (range) => {
      const table = f.mm.pageTable.findPte(f.addr(0))
      if (range.event === MMU_NOTIFY_EXCLUSIVE && table !== null) table.words[1] &= ~PTE_WRITE
      return true
    }
    expect([f.fault(0, 0), f.pte(0, 1), f.counts(0)]).toEqual([0, 'x', '1/0'])
    f.log.answer = () => true
    expect([f.load(0), f.pte(0, 1)]).toEqual([[1], 'r'])
    f.finish()
  })

  it('writable and dirty if it was writable and the mapping is, else clean and read-only; never young (EX-9)', () => {
    const f = new Fixture()
    f.mmap(0, 3)
    f.store(0, 3)
    f.exclude(0, 3)
    f.mprotect(1, 1, PROT_READ)
    f.mprotect(2, 1, PROT_READ)
    f.mprotect(2, 1, 3)
    expect(f.pte(0, 3)).toBe('Xxx')
    for (const page of [0, 1, 2]) expect(f.fault(page, 0)).toBe(0)
    const bits = PTE_WRITE | PTE_DIRTY | PTE_YOUNG
    expect([0, 1, 2].map((page) => f.flags(page) & bits)).toEqual([PTE_WRITE | PTE_DIRTY, 0, 0])
    expect([f.pte(0, 3), f.attr(0, 3)]).toEqual(['wrr', '777'])
    f.store(2) // exclusive still
    f.finish()
  })

  it('but not what it has no right to: the entry stays', () => {
    const f = new Fixture()
    f.mmap(0, 1)
    f.store(0)
    f.exclude(0, 1)
    f.mprotect(0, 1, PROT_NONE)
    expect(() => f.load(0)).toThrow(/^SIGSEGV/)
    expect(f.pte(0, 1)).toBe('x')
    f.finish()
  })
})

describe('exclusive access ends (EX-12)', () => {
  it('with munmap, MADV_DONTNEED and exit, which drop entry and reference', () => {
    const f = new Fixture()
    f.mmap(0, 3)
    f.store(0, 3)
    f.exclude(0, 3)
    expect(f.nused).toBe(3)
    f.munmap(0, 1)
    f.madvise(1, 1, MADV_DONTNEED)
    expect([f.pte(0, 3), f.nused, f.mm.rss[MM_ANONPAGES]]).toEqual(['_-X', 1, 1])
    f.finish()
  })

  it('with munmap also while the driver holds a page: it goes when the driver lets go', () => {
    const f = new Fixture()
    f.mmap(0, 1)
    f.store(0)
    f.take(0, 1)
    f.munmap(0, 1)
    expect(f.nused).toBe(1)
    f.release()
    expect(f.nused).toBe(0)
    f.finish()
  })

  it('with fork, which restores the entry first, without an event of its own', () => {
    const f = new Fixture()
    f.mmap(0, 1)
    f.store(0, 1, 3)
    f.exclude(0, 1)
    let child: Process | undefined
    expect(f.eventsOf(() => (child = f.fork()))).toEqual(['PROTECTION_PAGE 0-1 of 0-1'])
    expect([f.pte(0, 1), f.pte(0, 1, child), f.counts(0)]).toEqual(['r', 'r', '2/2'])
    f.exit(child as Process)
    f.finish()
  })

  it('fork waits while the driver holds a page, and leaves no child behind', () => {
    const f = new Fixture()
    f.mmap(0, 2)
    f.store(0, 2, 3)
    f.exclude(0, 1)
    f.take(1, 1)
    const before = f.sys.mms.size
    expect(() => f.fork()).toThrow(WouldWait)
    expect([f.sys.mms.size, f.machine.processes.length, f.load(0)]).toEqual([before, 1, [3]])
    let woken = 0
    f.sys.waitFor?.add(() => woken++)
    f.release()
    const child = f.fork()
    expect([woken, f.load(0, 2, child)]).toEqual([1, [3, 4]])
    f.exit(child)
    f.finish()
  })

  it('not with a migration over it, which skips it (MG-27)', () => {
    const f = new Fixture()
    f.mmap(0, 2)
    f.store(0, 2)
    f.exclude(0, 1)
    const skipped = f.step(() => f.dev(0).migrateToDev(f.addr(0), 1, new Uint8Array(PAGE_SIZE)))
    f.migrateToDev(0, 1, 1)
    expect([skipped.ret, f.pte(0, 2)]).toEqual([-ENOENT, 'XD'])
    f.munmap(0, 2)
    f.finish()
  })

  it('not with reclaim, which does not see it', () => {
    const f = new Fixture({ swap: '1 MiB' })
    f.mmap(0, 1)
    f.store(0, 1, 3)
    f.exclude(0, 1)
    f.step(() => f.sys.reclaim(16))
    expect([f.pte(0, 1), f.load(0)]).toEqual(['X', [3]])
    f.finish()
  })

  it('with another device that takes the page (EX-1)', () => {
    const f = new Fixture()
    f.mmap(0, 1)
    f.store(0)
    f.exclude(0, 1)
    const events = f.eventsOf(() => f.exclude(0, 1))
    expect(events).toEqual(['EXCLUSIVE 0-1 of 0-1 by nobody', 'EXCLUSIVE 0-1 of 0-1 by dev0'])
    f.finish()
  })

  it('is had of coherent device memory, which is anonymous memory like other', () => {
    const f = new Fixture()
    f.mmap(0, 1)
    f.store(0, 1, 3)
    f.migrateToDev(2, 0, 1)
    expect([f.pte(0, 1), f.exclude(0, 1), f.pte(0, 1), f.load(0)]).toEqual(['G', [1, 'y'], 'X', [3]])
    f.munmap(0, 1)
    f.finish()
  })
})
