// Which operation raises which event: the table of the specification (MN-60 to MN-91), a test for each row, with the exact
// range, the mapping and the owner. Rows with a test of their own elsewhere: MN-72 (migrate), MN-73 (writeback), MN-75
// (khugepaged), MN-76 and MN-90 (huge-pmd), MN-77 (soft-dirty), MN-80 (oom-reaper), MN-89 (hugetlb). MN-66, MN-74 and MN-81 belong
// to NUMA balancing, KSM and uprobes, which do not exist here.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { PAGE_SIZE } from '../base/addr.ts'
import {
  MADV_COLD,
  MADV_DONTNEED,
  MADV_FREE,
  MADV_HWPOISON,
  MADV_PAGEOUT,
  MADV_REMOVE,
  MADV_WILLNEED,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from '../uapi/mman.ts'
import { makeDeviceExclusiveRange } from './exclusive.ts'
import { insertPfnMixed } from './insert.ts'
import {
  MIGRATE_VMA_SELECT_SYSTEM,
  makeMigrateVma,
  migratePfn,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from './migrate-device.ts'
import { allocKernelPage, putPage, unlockPage } from './page-alloc.ts'

const RW = PROT_READ | PROT_WRITE
const GIB = 262144 // pages

describe('munmap and mmap (MN-60)', () => {
  it('UNMAP over the whole request: one event over several mappings and the holes around them', () => {
    const fixture = new MmFixture()
    fixture.mmap(2, 2)
    fixture.mmap(6, 2, { prot: PROT_READ })
    expect(fixture.eventsOf(() => fixture.munmap(0, 10))).toEqual(['UNMAP 0-10 of 2-4'])
    expect(fixture.eventsOf(() => fixture.munmap(0, 10))).toEqual([]) // nothing is mapped there (CP-21)
    fixture.finish()
  })

  it('of a part names the part that was split off', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 8)
    expect(fixture.eventsOf(() => fixture.munmap(2, 3))).toEqual(['UNMAP 2-5 of 2-5'])
    expect(fixture.process.maps().split('\n').length - 1).toBe(2)
    fixture.finish()
  })

  it('mmap over a mapping is a munmap, over nothing it is silent', () => {
    const fixture = new MmFixture()
    expect(fixture.eventsOf(() => fixture.mmap(0, 4))).toEqual([])
    expect(fixture.eventsOf(() => fixture.mmap(2, 4))).toEqual(['UNMAP 2-6 of 2-4'])
    fixture.finish()
  })
})

describe('the end of a process (MN-61)', () => {
  it('RELEASE, then UNMAP, over everything; pages go only after both', () => {
    const fixture = new MmFixture()
    fixture.mmap(2, 2)
    fixture.mmap(6, 1)
    fixture.store(2, 2)
    const { log, process } = fixture
    const used: number[] = []
    log.answer = () => {
      used.push(fixture.nused)
      return true
    }
    log.take()
    fixture.exit(process)
    expect([log.take(), used, fixture.nused]).toEqual([['RELEASE all of none', 'UNMAP all of 2-4'], [2, 2], 0])
  })

  it('without a mapping there is RELEASE alone', () => {
    const fixture = new MmFixture()
    const { log, process } = fixture
    fixture.exit(process)
    expect(log.take()).toEqual(['RELEASE all of none'])
  })
})

describe('madvise', () => {
  it.each([
    ['DONTNEED', MADV_DONTNEED],
    ['FREE', MADV_FREE],
  ])('%s: CLEAR over its part in each mapping, populated or not (MN-62, MN-63)', (_name, advice) => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4)
    fixture.mmap(4, 4, { prot: PROT_READ })
    fixture.store(1)
    expect(fixture.eventsOf(() => fixture.madvise(1, 5, advice))).toEqual(['CLEAR 1-4 of 0-4', 'CLEAR 4-6 of 4-8'])
    fixture.finish()
  })

  it('COLD, WILLNEED and PAGEOUT of what cannot be reclaimed raise nothing; PAGEOUT what reclaim raises (MN-91, MN-71)', () => {
    const fixture = new MmFixture({ swap: '1 MiB' })
    fixture.mmap(0, 4)
    fixture.store(0, 2)
    const child = fixture.fork()
    fixture.store(0, 1) // page 0 is the parent's alone, page 1 is shared
    for (const advice of [MADV_COLD, MADV_WILLNEED]) {
      expect(fixture.eventsOf(() => fixture.madvise(0, 4, advice))).toEqual([])
    }
    expect(fixture.eventsOf(() => fixture.madvise(0, 4, MADV_PAGEOUT))).toEqual(['CLEAR 0-1 of 0-4'])
    expect([fixture.pte(0, 4), fixture.pte(0, 4, child)]).toEqual(['sr--', 'rr--'])
    fixture.finish()
  })
})

describe('files (MN-64)', () => {
  it('truncate: CLEAR over the part beyond the end in each mapping, twice', () => {
    const fixture = new MmFixture()
    const file = fixture.machine.createFile('data', 8)
    fixture.mmap(0, 8, { file, shared: true })
    fixture.mmap(20, 4, { file, offset: 2 * PAGE_SIZE })
    fixture.mmap(30, 2, { file }) // ends before
    const once = ['CLEAR 5-8 of 0-8', 'CLEAR 23-24 of 20-24']
    expect(fixture.eventsOf(() => fixture.step(() => file.truncate(5)))).toEqual([...once, ...once])
    fixture.finish(1)
  })

  it('hole punch and MADV_REMOVE: CLEAR over the part in each mapping', () => {
    const fixture = new MmFixture()
    const file = fixture.machine.createFile('data', 8)
    fixture.mmap(0, 8, { file, shared: true })
    fixture.mmap(20, 4, { file, offset: 2 * PAGE_SIZE })
    expect(fixture.eventsOf(() => fixture.step(() => file.punchHole(1, 2)))).toEqual([
      'CLEAR 1-3 of 0-8',
      'CLEAR 20-21 of 20-24',
    ])
    expect(fixture.eventsOf(() => fixture.madvise(5, 3, MADV_REMOVE))).toEqual([
      'CLEAR 5-8 of 0-8',
      'CLEAR 23-24 of 20-24',
    ])
    fixture.finish(1)
  })
})

describe('mprotect (MN-65)', () => {
  it('PROTECTION_VMA from the first populated 2 MiB to the end of the request', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 3 * 512)
    fixture.store(512 + 7)
    const events = fixture.eventsOf(() => fixture.mprotect(10, 1200, PROT_READ))
    expect(events).toEqual(['PROTECTION_VMA 512-1210 of 10-1210'])
    expect(fixture.eventsOf(() => fixture.mprotect(512 + 3, 100, PROT_NONE))).toEqual([
      'PROTECTION_VMA 515-615 of 515-615', // the request begins behind the border
    ])
    fixture.finish()
  })

  it('one event for each mapping and each 1 GiB', () => {
    const fixture = new MmFixture()
    fixture.mmap(GIB - 512, 1024)
    fixture.store(GIB - 512)
    fixture.store(GIB)
    expect(fixture.eventsOf(() => fixture.mprotect(GIB - 512, 1024, PROT_READ))).toEqual([
      `PROTECTION_VMA ${GIB - 512}-${GIB} of ${GIB - 512}-${GIB + 512}`,
      `PROTECTION_VMA ${GIB}-${GIB + 512} of ${GIB - 512}-${GIB + 512}`,
    ])
    fixture.mmap(0, 4)
    fixture.mmap(4, 4, { shared: true })
    fixture.store(0)
    fixture.store(4)
    expect(fixture.eventsOf(() => fixture.mprotect(0, 8, PROT_READ))).toEqual([
      'PROTECTION_VMA 0-4 of 0-4',
      'PROTECTION_VMA 4-8 of 4-8',
    ])
    fixture.finish()
  })

  it('none where nothing is populated (CP-47), or if nothing changes (CP-40)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4)
    expect(fixture.eventsOf(() => fixture.mprotect(0, 4, PROT_READ))).toEqual([])
    fixture.mprotect(0, 4, RW)
    fixture.store(0)
    expect(fixture.eventsOf(() => fixture.mprotect(0, 4, RW))).toEqual([])
    fixture.finish()
  })
})

describe('fork', () => {
  it('PROTECTION_PAGE over each private mapping that has had an anonymous page, in the parent (MN-67)', () => {
    const fixture = new MmFixture()
    const file = fixture.machine.createFile('data', 4)
    fixture.mmap(0, 4)
    fixture.store(2)
    fixture.mmap(8, 4, { file })
    fixture.store(8)
    fixture.mmap(16, 2) // raw frames are copied too
    fixture.step(() => insertPfnMixed(fixture.vma(16), fixture.addr(16), 777))
    expect(fixture.eventsOf(() => fixture.fork())).toEqual([
      'PROTECTION_PAGE 0-4 of 0-4',
      'PROTECTION_PAGE 8-12 of 8-12',
      'PROTECTION_PAGE 16-18 of 16-18',
    ])
    fixture.finish(1)
  })

  it('none for shared mappings, untouched ones, and those with zero pages or file pages alone (MN-68)', () => {
    const fixture = new MmFixture()
    const file = fixture.machine.createFile('data', 4)
    fixture.mmap(0, 4, { shared: true })
    fixture.store(0)
    fixture.mmap(8, 4)
    fixture.mmap(16, 4)
    fixture.load(16)
    fixture.mmap(24, 4, { file })
    fixture.load(24)
    const entries = () => [0, 8, 16, 24].map((page) => fixture.pte(page, 4))
    const before = entries()
    let child = fixture.process
    expect(fixture.eventsOf(() => (child = fixture.fork()))).toEqual([])
    expect(entries()).toEqual(before) // CP-50
    expect([0, 8, 16, 24].map((page) => fixture.pte(page, 1, child))).toEqual(['t', 't', 't', 't'])
    fixture.finish(1)
  })
})

describe('page faults', () => {
  it('CLEAR over the page where a write copies: after fork, of the zero page, of a private file page (MN-69)', () => {
    const fixture = new MmFixture({ faultAroundPages: 1 })
    const file = fixture.machine.createFile('data', 1)
    fixture.mmap(0, 2)
    fixture.store(0)
    fixture.load(1)
    fixture.mmap(4, 1, { file })
    fixture.load(4)
    fixture.fork()
    expect(fixture.eventsOf(() => fixture.store(0, 2))).toEqual(['CLEAR 0-1 of 0-2', 'CLEAR 1-2 of 0-2'])
    expect(fixture.eventsOf(() => fixture.store(4))).toEqual(['CLEAR 4-5 of 4-5'])
    fixture.finish(1)
  })

  it('nothing where a write takes the page over, and for any fault on an empty entry (MN-70)', () => {
    const fixture = new MmFixture()
    const file = fixture.machine.createFile('data', 4)
    fixture.mmap(0, 4)
    fixture.mmap(4, 2, { file })
    fixture.mmap(8, 2, { shared: true })
    const events = fixture.eventsOf(() => {
      fixture.load(0)
      fixture.store(1)
      fixture.load(4)
      fixture.store(5)
      fixture.load(8)
      fixture.store(9)
    })
    expect(events).toEqual([])
    fixture.exit(fixture.fork())
    expect(fixture.eventsOf(() => fixture.store(1))).toEqual([])
    fixture.finish(1)
  })

  it('nothing for swap-in (MN-70)', () => {
    const fixture = new MmFixture({ swap: '1 MiB' })
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    fixture.madvise(0, 2, MADV_PAGEOUT)
    expect(fixture.eventsOf(() => [fixture.load(0), fixture.store(1)])).toEqual([])
    fixture.finish()
  })
})

describe('unmapping a page everywhere (MN-71)', () => {
  it('reclaim: CLEAR over the page for each mapping of the walk, also one that does not map it (T-36, CP-72)', () => {
    const fixture = new MmFixture({ swap: '1 MiB' })
    const file = fixture.machine.createFile('data', 4)
    fixture.mmap(0, 4, { file, shared: true })
    fixture.mmap(10, 4, { file })
    fixture.store(1)
    expect(fixture.eventsOf(() => fixture.madvise(1, 1, MADV_PAGEOUT))).toEqual(['CLEAR 1-2 of 0-4'])
    fixture.load(11)
    expect(fixture.eventsOf(() => fixture.madvise(11, 1, MADV_PAGEOUT))).toEqual([
      'CLEAR 1-2 of 0-4', // nothing there any more
      'CLEAR 11-12 of 10-14',
    ])
    fixture.finish(1)
  })

  it('memory failure: the same, in every process (CP-75)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0)
    const child = fixture.fork()
    const log = fixture.logOf(child)
    fixture.held.set(fixture.pfn(0), 1) // memory failure keeps the frame
    expect(fixture.eventsOf(() => fixture.madvise(0, 1, MADV_HWPOISON))).toEqual(['CLEAR 0-1 of 0-2'])
    expect([log.take(), fixture.pte(0, 1), fixture.pte(0, 1, child)]).toEqual([['CLEAR 0-1 of 0-2'], 'h', 'h'])
    fixture.finish()
  })
})

describe('mremap', () => {
  it('that moves: UNMAP over the old range twice, the new one is silent (MN-78, CP-60)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4)
    fixture.store(0, 4)
    expect(fixture.eventsOf(() => fixture.mremap(1, 2, 10))).toEqual(['UNMAP 1-3 of 0-4', 'UNMAP 1-3 of 1-3'])
    fixture.finish()
  })

  it('onto a mapping: UNMAP over that first (CP-60)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.mmap(10, 4)
    expect(fixture.eventsOf(() => fixture.mremap(0, 2, 11))).toEqual([
      'UNMAP 11-13 of 11-13',
      'UNMAP 0-2 of 0-2',
      'UNMAP 0-2 of 0-2',
    ])
    fixture.finish()
  })

  it('that shrinks: UNMAP over the tail; that grows in place: nothing (MN-79, CP-61)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4)
    const resize = (from: number, to: number) =>
      fixture.eventsOf(() =>
        fixture.step(() =>
          fixture.process.mremap(fixture.addr(0), from * PAGE_SIZE, to * PAGE_SIZE, { mayMove: false }),
        ),
      )
    expect(resize(4, 1)).toEqual(['UNMAP 1-4 of 1-4'])
    expect(resize(1, 4)).toEqual([])
    fixture.finish()
  })
})

describe('migration', () => {
  it('setup: MIGRATE over the range, rounded down, with the owner that it was given (MN-82, MG-20)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4)
    fixture.store(0, 4)
    const [start, end] = [fixture.addr(1) + 1, fixture.addr(3) + 1]
    const args = makeMigrateVma(fixture.vma(0), start, end, fixture.device(1), MIGRATE_VMA_SELECT_SYSTEM)
    fixture.mm.mmapLock.tryRead()
    expect(fixture.eventsOf(() => expect(migrateVmaSetup(args)).toBe(0))).toEqual(['MIGRATE 1-3 of 0-4 by dev1'])
    expect([args.start, args.end]).toEqual([fixture.addr(1), fixture.addr(3)])
    expect(fixture.eventsOf(() => [migrateVmaPages(args), migrateVmaFinalize(args)])).toEqual([]) // MN-84
    fixture.mm.mmapLock.unlockRead()
    fixture.validate()
    fixture.finish()
  })

  it('pages: MIGRATE once, from the first hole or zero page that gets a page to the end (MN-83, TS-51)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 6)
    fixture.store(0)
    fixture.load(3)
    fixture.store(5)
    const args = makeMigrateVma(
      fixture.vma(0),
      fixture.addr(0),
      fixture.addr(6),
      fixture.device(1),
      MIGRATE_VMA_SELECT_SYSTEM,
    )
    fixture.mm.mmapLock.tryRead()
    expect([migrateVmaSetup(args), args.cpages]).toEqual([0, 6])
    for (const i of [0, 2, 3, 5]) {
      const target = allocKernelPage(fixture.sys)
      fixture.sys.pages.trylock(target)
      args.dst[i] = migratePfn(target)
    }
    fixture.log.take()
    migrateVmaPages(args)
    expect(fixture.log.take()).toEqual(['MIGRATE 2-6 of 0-6 by dev1'])
    migrateVmaFinalize(args)
    expect(fixture.log.take()).toEqual([]) // MN-84
    fixture.mm.mmapLock.unlockRead()
    fixture.validate()
    expect(fixture.pte(0, 6)).toBe('w-ww-w')
    fixture.finish()
  })

  it('of a page that others map: CLEAR in each mapping, own one included (MN-72, MG-37)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    const child = fixture.fork()
    fixture.store(1)
    const log = fixture.logOf(child)
    expect(fixture.eventsOf(() => fixture.migrateToDev(0, 0, 2))).toEqual([
      'MIGRATE 0-2 of 0-2 by dev0',
      'CLEAR 0-1 of 0-2',
    ])
    expect(log.take()).toEqual(['CLEAR 0-1 of 0-2'])
    fixture.finish()
  })

  it('a touch of a device page: MIGRATE by its device, and CLEAR if more than one maps it (MN-85)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    fixture.migrateToDev(0, 0, 2)
    expect(fixture.eventsOf(() => fixture.load(0))).toEqual(['MIGRATE 0-1 of 0-2 by dev0'])
    const child = fixture.fork()
    const log = fixture.logOf(child)
    expect(fixture.eventsOf(() => fixture.load(1))).toEqual(['MIGRATE 1-2 of 0-2 by dev0', 'CLEAR 1-2 of 0-2'])
    expect(log.take()).toEqual(['CLEAR 1-2 of 0-2'])
    fixture.finish()
  })

  it('a write to a shared device page brings it back first and copies it then (MG-94)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0)
    fixture.migrateToDev(0, 0, 1)
    fixture.fork()
    expect(fixture.eventsOf(() => fixture.store(0))).toEqual([
      'MIGRATE 0-1 of 0-1 by dev0',
      'CLEAR 0-1 of 0-1',
      'CLEAR 0-1 of 0-1',
    ])
    fixture.finish()
  })

  it('eviction: CLEAR over each mapped page in each mapping, no MIGRATE (MN-88)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 3)
    fixture.store(0, 2)
    fixture.migrateToDev(0, 0, 2)
    fixture.munmap(1, 1)
    const child = fixture.fork()
    const log = fixture.logOf(child)
    expect(fixture.eventsOf(() => fixture.step(() => fixture.device(0).evictAll()))).toEqual(['CLEAR 0-1 of 0-1'])
    expect([log.take(), fixture.pte(0, 1), fixture.pte(0, 1, child)]).toEqual([['CLEAR 0-1 of 0-1'], 'r', 'r'])
    fixture.finish()
  })
})

describe('exclusive access', () => {
  it('EXCLUSIVE over each page with the owner given, after the CLEAR of what had to be copied (MN-86, MN-53)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 3)
    fixture.store(0)
    fixture.load(1)
    const owner = fixture.device(1)
    const found: number[] = []
    const events = fixture.eventsOf(() => {
      fixture.mm.mmapLock.tryRead()
      expect(makeDeviceExclusiveRange(fixture.mm, fixture.addr(0), fixture.addr(3), found, owner)).toBe(3)
      fixture.mm.mmapLock.unlockRead()
    })
    expect(events).toEqual([
      'CLEAR 1-2 of 0-3',
      'EXCLUSIVE 0-1 of 0-3 by dev1',
      'EXCLUSIVE 1-2 of 0-3 by dev1',
      'EXCLUSIVE 2-3 of 0-3 by dev1',
    ])
    for (const pfn of found) {
      unlockPage(fixture.sys, pfn)
      putPage(fixture.sys, pfn)
    }
    fixture.finish()
  })

  it('a touch by the CPU: EXCLUSIVE over the page, of nobody (MN-87)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.exclusive(0, 0, 2)
    expect(fixture.eventsOf(() => fixture.load(0))).toEqual(['EXCLUSIVE 0-1 of 0-2 by nobody'])
    expect(fixture.eventsOf(() => fixture.store(1))).toEqual(['EXCLUSIVE 1-2 of 0-2 by nobody'])
    fixture.finish()
  })
})

describe('no event (MN-91)', () => {
  it('reads, mlock and munlock', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4)
    fixture.store(0)
    const nbytes = 4 * PAGE_SIZE
    const events = fixture.eventsOf(() => {
      fixture.load(0)
      fixture.step(() => fixture.process.mlock(fixture.addr(1), nbytes - PAGE_SIZE))
      fixture.step(() => fixture.process.munlock(fixture.addr(0), nbytes))
    })
    expect([events, fixture.pte(0, 4)]).toEqual([[], 'wwww'])
    fixture.finish()
  })
})
