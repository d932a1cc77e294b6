// Page faults by the numbers of the specification (CP-1 to CP-14): what is mapped, with which permission, at whose expense.
// Huge pages are in huge-memory.test.ts, which event comes with it in events.test.ts.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { F, Watcher } from '../../test/helpers/watcher.ts'
import { PAGE_SIZE } from '../base/addr.ts'
import { AccessSignal, WouldWait } from '../machine/signals.ts'
import { MADV_HWPOISON, MADV_PAGEOUT, PROT_NONE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { MM_ANONPAGES, MM_SHMEMPAGES, MM_SWAPENTS } from './mm.ts'
import { PG_LRU } from './page.ts'
import { unlockPage } from './page-alloc.ts'
import { PTE_DIRTY, PTE_KIND_SWAPIN_ERROR, PTE_PROTNONE, PTE_WRITE, PTE_YOUNG } from './pte.ts'
import { FAULT_FLAG_WRITE, VM_FAULT_HWPOISON, VM_FAULT_RETRY, VM_FAULT_SIGBUS } from './vm-fault.ts'

const ACCESS = PTE_WRITE | PTE_DIRTY | PTE_YOUNG

describe('an access that the mapping does not allow (CP-1)', () => {
  it('is a signal, and nothing changes', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1, { prot: PROT_READ })
    fixture.mmap(1, 1, { prot: PROT_NONE })
    const signal = (reason: string, access: string) => expect.objectContaining({ signal: 'SIGSEGV', reason, access })
    expect(() => fixture.store(0)).toThrow(signal('access', 'write'))
    expect(() => fixture.load(1)).toThrow(signal('access', 'read'))
    expect(() => fixture.load(2)).toThrow(signal('unmapped', 'read'))
    expect(() => fixture.store(2)).toThrow(AccessSignal)
    expect([fixture.pte(0, 3), fixture.mm.rss[MM_ANONPAGES]]).toEqual(['tt_', 0])
    fixture.finish()
  })
})

describe('a fault in anonymous memory', () => {
  it('to read maps the zero page and makes no AnonVma (CP-2)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    expect(fixture.load(0)).toEqual([0])
    expect([fixture.pte(0, 1), fixture.mm.rss[MM_ANONPAGES], fixture.vma(0).anonVma]).toEqual(['z', 0, null])
    fixture.finish()
  })

  it('to write maps a fresh page: zero, writable, dirty, young, exclusive, on the LRU (CP-3)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.process.store32(fixture.addr(0) + 8, 7)
    fixture.validate()
    expect([fixture.pte(0, 1), fixture.attr(0, 1), fixture.load(0)]).toEqual(['w', '7', [0]])
    expect([fixture.flags(0) & ACCESS, fixture.mm.rss[MM_ANONPAGES]]).toEqual([ACCESS, 1])
    expect(fixture.sys.pages.flags[fixture.pfn(0)] & PG_LRU).toBe(PG_LRU)
    fixture.finish()
  })

  it('to write a zero page puts a page in its place (CP-4)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.load(0)
    fixture.store(0, 1, 7)
    expect([fixture.pte(0, 1), fixture.attr(0, 1), fixture.mm.rss[MM_ANONPAGES]]).toEqual(['w', '7', 1])
    fixture.finish()
  })
})

describe('a write to a read-only page that the mapping lets be written (CP-5)', () => {
  it('takes an exclusive page over', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0, 1, 7)
    fixture.mprotect(0, 1, PROT_READ)
    fixture.mprotect(0, 1, PROT_READ | PROT_WRITE)
    fixture.setEntry(0, fixture.flags(0) & ~PTE_WRITE, fixture.pfn(0))
    const pfn = fixture.pfn(0)
    fixture.store(0, 1, 8)
    expect([fixture.pfn(0), fixture.pte(0, 1), fixture.load(0)]).toEqual([pfn, 'w', [8]])
    fixture.finish()
  })

  it('takes a page over that has no other reference, and makes it exclusive', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0)
    fixture.exit(fixture.fork())
    const pfn = fixture.pfn(0)
    expect(fixture.attr(0, 1)).toBe('5')
    fixture.store(0)
    expect([fixture.pfn(0), fixture.attr(0, 1), fixture.flags(0) & ACCESS]).toEqual([pfn, '7', ACCESS])
    fixture.finish()
  })

  it('gives its swap slot up first, when that is all that holds it', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 1)
    fixture.store(0, 1, 7)
    const child = fixture.fork()
    fixture.madvise(0, 1, MADV_PAGEOUT)
    expect(fixture.pte(0, 1)).toBe('r') // shared: not reclaimed by advice
    fixture.step(() => fixture.sys.reclaim(10))
    expect([fixture.pte(0, 1), fixture.pte(0, 1, child)]).toEqual(['s', 's'])
    fixture.load(0)
    fixture.exit(child)
    expect([fixture.counts(0), fixture.attr(0, 1)]).toEqual(['2/1', '5']) // mapping and swap cache
    const pfn = fixture.pfn(0)
    expect(fixture.eventsOf(() => fixture.store(0, 1, 8))).toEqual([])
    expect([fixture.pfn(0), fixture.counts(0), fixture.attr(0, 1), fixture.sys.swap?.nfree]).toEqual([
      pfn,
      '1/1',
      '7',
      16,
    ])
    fixture.finish()
  })

  it('copies a page that somebody else has; the old one loses a mapping and a reference', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0, 1, 7)
    const child = fixture.fork()
    const pfn = fixture.pfn(0)
    expect(fixture.countsOf(pfn)).toBe('2/2')
    fixture.store(0, 1, 8)
    expect([fixture.pfn(0) === pfn, fixture.counts(0), fixture.countsOf(pfn)]).toEqual([false, '1/1', '1/1'])
    expect([fixture.attr(0, 1), fixture.load(0), fixture.load(0, 1, child)]).toEqual(['7', [8], [7]])
    fixture.finish()
  })

  it('copies a page that anybody holds, or has locked', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2, 7)
    fixture.exit(fixture.fork())
    const [held, locked] = [fixture.pfn(0), fixture.pfn(1)]
    for (const pfn of [held, locked]) fixture.hold(pfn)
    fixture.sys.pages.trylock(locked)
    fixture.store(0, 2, 8)
    expect([fixture.pfn(0) === held, fixture.pfn(1) === locked, fixture.load(0, 2)]).toEqual([false, false, [8, 9]])
    unlockPage(fixture.sys, locked)
    for (const pfn of [held, locked]) fixture.letGo(pfn)
    fixture.finish()
  })
})

describe('a fault in a file (CP-7 to CP-9)', () => {
  it('to read maps the page of the cache, read-only in a private mapping', () => {
    const fixture = new MmFixture({ faultAroundPages: 1 })
    const file = fixture.machine.createFile('data', 2)
    file.writePage(0, new Uint8Array([7]))
    fixture.mmap(0, 2, { file })
    fixture.mmap(4, 2, { file, shared: true })
    expect([fixture.load(0, 2), fixture.load(4, 2)]).toEqual([
      [7, 0],
      [7, 0],
    ])
    expect([fixture.pte(0, 2), fixture.pte(4, 2), fixture.pfn(0), fixture.pfn(4)]).toEqual([
      'rr',
      'ww',
      file.getPage(0),
      file.getPage(0),
    ])
    expect([fixture.mm.rss[MM_SHMEMPAGES], fixture.vma(0).anonVma]).toEqual([4, null])
    fixture.finish(1)
  })

  it('to write a private mapping copies at once, from the cache or from its entry', () => {
    const fixture = new MmFixture({ faultAroundPages: 1 })
    const file = fixture.machine.createFile('data', 2)
    for (const page of [0, 1]) file.writePage(page, new Uint8Array([7]), 4)
    fixture.mmap(0, 2, { file })
    fixture.load(1)
    const rss = () => [fixture.mm.rss[MM_ANONPAGES], fixture.mm.rss[MM_SHMEMPAGES]]
    expect(rss()).toEqual([0, 1])
    fixture.store(0, 2, 8)
    expect([fixture.pte(0, 2), fixture.attr(0, 2), rss()]).toEqual(['ww', '77', [2, 0]])
    expect([fixture.process.load32(fixture.addr(1) + 4), fixture.load(0, 2)]).toEqual([7, [8, 9]])
    expect(fixture.machine.mmu.bytes(file.getPage(1))[0]).toBe(0) // the file has not changed
    fixture.finish(1)
  })

  it('to write a shared mapping makes the entry writable and dirty, of the same page', () => {
    const fixture = new MmFixture({ faultAroundPages: 1 })
    const file = fixture.machine.createFile('data', 1)
    fixture.mmap(0, 1, { file, shared: true, prot: PROT_READ })
    fixture.load(0)
    const pfn = fixture.pfn(0)
    fixture.mprotect(0, 1, PROT_READ | PROT_WRITE)
    fixture.setEntry(0, fixture.flags(0) & ~PTE_WRITE, pfn)
    fixture.store(0, 1, 7)
    expect([fixture.pfn(0), fixture.flags(0) & ACCESS, fixture.machine.mmu.bytes(pfn)[0]]).toEqual([pfn, ACCESS, 7])
    fixture.finish(1)
  })

  it('beyond its end is SIGBUS', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2, { file: fixture.machine.createFile('data', 1) })
    expect(() => fixture.load(1)).toThrow(expect.objectContaining({ signal: 'SIGBUS', reason: 'no-page' }))
    expect(() => fixture.store(1)).toThrow(expect.objectContaining({ signal: 'SIGBUS', reason: 'no-page' }))
    fixture.finish(1)
  })

  it('to read maps what is cached around it too: 64 KiB, cut by mapping, table and file (CP-14)', () => {
    const fixture = new MmFixture()
    const file = fixture.machine.createFile('data', 64)
    for (const page of [3, 14, 15, 16, 20]) file.writePage(page, new Uint8Array([1]))
    fixture.mmap(4, 40, { file, offset: 4 * PAGE_SIZE })
    fixture.load(10)
    expect(fixture.pte(0, 24)).toBe('____------r---rrr-------') // 16 pages from the start of the mapping on
    fixture.load(17)
    expect(fixture.pte(0, 24)).toBe('____------r---rrrr--r---')
    fixture.mmap(508, 8, { file, offset: 13 * PAGE_SIZE })
    fixture.load(510)
    expect(fixture.pte(508, 8)).toBe('-rrrtttt') // file pages 14 to 16; 17 is in another table
    fixture.finish(1)
  })
})

describe('a fault on an entry that is not present', () => {
  it('of swap brings the page in: read-only for a read, writable for a write (CP-10)', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 2)
    fixture.store(0, 2, 7)
    fixture.madvise(0, 2, MADV_PAGEOUT)
    expect([fixture.mm.rss[MM_ANONPAGES], fixture.mm.rss[MM_SWAPENTS]]).toEqual([0, 2])
    expect(fixture.load(0)).toEqual([7])
    expect([fixture.pte(0, 2), fixture.attr(0, 1)]).toEqual(['rs', '7'])
    fixture.store(1, 1, 9)
    expect([fixture.pte(0, 2), fixture.attr(0, 2), fixture.mm.rss[MM_ANONPAGES]]).toEqual(['rw', '77', 2])
    expect(fixture.sys.swap?.nfree).toBe(16)
    fixture.finish()
  })

  it('of swap that others share keeps the page in the cache for them; a write copies (CP-10, CP-5)', () => {
    const fixture = new MmFixture({ swap: '64 KiB' })
    fixture.mmap(0, 1)
    fixture.store(0, 1, 7)
    const child = fixture.fork()
    fixture.step(() => fixture.sys.reclaim(10))
    expect([fixture.load(0), fixture.load(0, 1, child), fixture.pfn(0) === fixture.pfn(0, child)]).toEqual([
      [7],
      [7],
      true,
    ])
    fixture.step(() => fixture.sys.reclaim(10))
    expect([fixture.pte(0, 1), fixture.pte(0, 1, child)]).toEqual(['s', 's'])
    expect(fixture.eventsOf(() => fixture.store(0, 1, 8))).toEqual(['CLEAR 0-1 of 0-1'])
    expect([fixture.pte(0, 1), fixture.load(0), fixture.load(0, 1, child)]).toEqual(['w', [8], [7]])
    fixture.finish()
  })

  it('of a migration waits for its end (CP-11)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0, 1, 7)
    const end = fixture.beginMigration(0)
    expect(fixture.fault(0, 0)).toBe(VM_FAULT_RETRY)
    expect(fixture.fault(0, FAULT_FLAG_WRITE)).toBe(VM_FAULT_RETRY)
    let woken = 0
    fixture.sys.waitFor?.add(() => woken++)
    expect(() => fixture.load(0)).toThrow(WouldWait)
    end()
    expect([woken, fixture.load(0)]).toEqual([1, [7]])
    fixture.finish()
  })

  it('of a device asks the device; of exclusive access takes the page back (CP-11)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2, 7)
    fixture.migrateToDev(0, 0, 1)
    fixture.exclusive(1, 1, 1)
    expect([fixture.pte(0, 2), fixture.load(0, 2), fixture.pte(0, 2)]).toEqual(['DX', [7, 8], 'ww'])
    fixture.finish()
  })

  it('of poison is SIGBUS (CP-11)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0)
    fixture.held.set(fixture.pfn(0), 1) // memory failure keeps the frame
    fixture.madvise(0, 1, MADV_HWPOISON)
    expect(fixture.fault(0, 0)).toBe(VM_FAULT_HWPOISON)
    expect(() => fixture.load(0)).toThrow(expect.objectContaining({ signal: 'SIGBUS', reason: 'hwpoison' }))
    fixture.finish()
  })

  it('without access in a mapping that can be accessed makes it accessible again (CP-12)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2, 7)
    const pfn = fixture.pfn(0)
    const hint = (page: number) =>
      fixture.setEntry(page, (fixture.flags(page) & ~PTE_WRITE) | PTE_PROTNONE, fixture.pfn(page))
    hint(0)
    hint(1)
    expect([fixture.pte(0, 2), fixture.load(0), fixture.pte(0, 2), fixture.pfn(0)]).toEqual(['nn', [7], 'rn', pfn])
    fixture.store(1, 1, 9)
    expect([fixture.pte(0, 2), fixture.load(1)]).toEqual(['rw', [9]])
    hint(0)
    expect(new Watcher(fixture.mm, fixture.addr(0), 1).fault(0, 1, { default: F })).toBe('ok: V') // RF-68
    hint(0)
    fixture.pin(0, 1)()
    expect(fixture.pte(0, 1)).toBe('w')
    fixture.finish()
  })

  it('lost on the way in from swap is SIGBUS (CP-11)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.setEntry(0, PTE_KIND_SWAPIN_ERROR)
    expect([fixture.fault(0, 0), fixture.pte(0, 1)]).toEqual([VM_FAULT_SIGBUS, '!'])
    fixture.finish()
  })
})
