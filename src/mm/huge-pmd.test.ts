import { afterEach, describe, expect, test } from 'vitest'
import { HugeFixture } from '../../test/helpers/huge-fixture.ts'
import { PMD_SIZE, pmdIndex } from '../base/addr.ts'
import { SimulatedMmu } from '../mmu/simulated/simulated-mmu.ts'
import { MADV_DONTNEED, MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { handleMmFault } from './fault.ts'
import { removeHugeMigrationEntry } from './huge-pmd.ts'
import { Mm } from './mm.ts'
import { mmMmap, mmMunmap } from './mmap.ts'
import { MmuIntervalNotifier, mmuIntervalNotifierInsert } from './mmu-notifier.ts'
import { PTE_DIRTY, PTE_HUGE, PTE_KIND_MIGRATION, PTE_PROTNONE, PTE_WRITE, PTE_YOUNG, pteKind } from './pte.ts'
import { removeMigrationPtes, tryToMigrate } from './rmap-walk.ts'
import { System } from './system.ts'
import { VM_FAULT_RETRY } from './vm-fault.ts'

const RW = PROT_READ | PROT_WRITE

let fixture = new HugeFixture()

function boot(...args: ConstructorParameters<typeof HugeFixture>): HugeFixture {
  fixture = new HugeFixture(...args)
  return fixture
}

/** A machine with one written huge page in pages 0 to 511. */
function bootWritten(): HugeFixture {
  const f = boot()
  f.mmap(0, 512)
  f.store(0, 1)
  f.store(300, 2)
  return f
}

afterEach(() => fixture.finish())

describe('splitHugePmd()', () => {
  test('leaves small entries that map the same frames, with the same rights and bits (CP-76)', () => {
    const f = bootWritten()
    const { pfn, flags } = f.huge(0)
    f.madvise(10, 1, MADV_DONTNEED)
    expect([f.pte(), f.attr(), f.pagemap()]).toEqual(['w*10 - w*501 _*512', '7*10 . 7*501 .*512', '9*10 . 9*501 .*512'])
    const kept = PTE_WRITE | PTE_DIRTY | PTE_YOUNG
    expect(f.small(300)).toEqual({ pfn: pfn + 300, flags: flags & ~PTE_HUGE })
    expect(flags & kept).toBe(kept)
    expect(f.sys.pages.refcount[pfn]).toBe(511)
    expect(f.sys.pages.getCompound(pfn).mapcount).toBe(0)
    expect(f.load(300)).toBe(2)
  })

  test('raises CLEAR over the 2 MiB inside the event of the operation (MN-76)', () => {
    const f = bootWritten()
    f.madvise(10, 1, MADV_DONTNEED)
    expect(f.events()).toEqual(['CLEAR 10-11', 'CLEAR 0-512'])
  })

  test('of a shared page leaves the other process its huge entry', () => {
    const f = bootWritten()
    const child = f.fork()
    const { pfn } = f.huge(0)
    f.madvise(10, 1, MADV_DONTNEED)
    expect([f.pte(), f.attr()]).toEqual(['r*10 - r*501 _*512', '1*10 . 1*501 .*512'])
    expect(f.pte(child)).toBe('p*512 _*512')
    expect(f.sys.pages.getCompound(pfn).mapcount).toBe(1)
    expect(f.sys.pages.refcount[pfn]).toBe(512)
    // The kernel asks the first page about the whole, though page 10 is mapped once.
    expect([f.attr(child), f.pagemap(child)]).toEqual(['1*512 .*512', '1*512 .*512'])
  })

  test('of the huge zero page gives small zero pages', () => {
    const f = boot()
    f.mmap(0, 512)
    f.load(0)
    f.madvise(10, 2, MADV_DONTNEED)
    expect([f.pte(), f.pagemap()]).toEqual(['z*10 -*2 z*500 _*512', '1*10 .*2 1*500 .*512'])
  })

  test('keeps the page as one piece until its last frame is unmapped', () => {
    const f = bootWritten()
    f.munmap(0, 511)
    expect(f.nused()).toBe(512)
    f.munmap(511, 1)
    expect(f.nused()).toBe(0)
  })
})

describe('a new border of a mapping (MN-90)', () => {
  test('inside 2 MiB raises CLEAR before the event of the operation, even where nothing is mapped', () => {
    const f = boot()
    f.mmap(0, 1024)
    f.store(512, 1)
    f.mprotect(8, 8, PROT_READ)
    // Nothing is populated in the first block, so mprotect itself has nothing to tell.
    expect(f.events()).toEqual(['CLEAR 0-512'])
    f.munmap(600, 64)
    expect(f.events()).toEqual(['CLEAR 512-1024', 'UNMAP 600-664'])
    expect(f.pte()).toBe('t*512 w*88 _*64 w*360')
  })

  test('raises nothing where no table of the level above exists', () => {
    const f = boot()
    f.mmap(0, 1024)
    f.munmap(600, 64)
    expect(f.events()).toEqual(['UNMAP 600-664'])
  })

  test('raises nothing at a border of 2 MiB, nor in a block that the mapping does not cover', () => {
    const f = boot()
    f.mmap(100, 924)
    f.load(100)
    f.munmap(512, 512)
    f.munmap(200, 10)
    expect(f.events()).toEqual(['UNMAP 512-1024', 'UNMAP 200-210'])
  })

  test('raises the event once for two borders in one block', () => {
    const f = bootWritten()
    f.munmap(100, 10)
    expect(f.events()).toEqual(['CLEAR 0-512', 'UNMAP 100-110'])
  })

  test('is silent without `splitEvents`, unless a huge entry is split', () => {
    const heard: number[] = []
    for (const splitEvents of [false, true]) {
      const sys = new System(new SimulatedMmu({ nframes: 2048 }), { thp: 'madvise', splitEvents })
      const mm = new Mm(sys)
      const sub = mmuIntervalNotifierInsert(mm, 0, 4 * PMD_SIZE, {
        invalidate: () => {
          heard.push(splitEvents ? 1 : 0)
          return true
        },
      })
      expect(sub).toBeInstanceOf(MmuIntervalNotifier)
      mmMmap(mm, PMD_SIZE, 2 * PMD_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
      const vma = mm.vmaLookup(PMD_SIZE)
      expect(vma).not.toBeNull()
      if (vma !== null) handleMmFault(vma, PMD_SIZE, 0)
      mmMunmap(mm, PMD_SIZE + 0x4000, 0x1000)
    }
    expect(heard).toEqual([0, 1, 1])
  })
})

describe('munmap and MADV_DONTNEED', () => {
  test('of a whole huge page free it and leave the slot empty', () => {
    const f = bootWritten()
    f.madvise(0, 512, MADV_DONTNEED)
    expect([f.pte(), f.nused(), f.process.mm.rss[1]]).toEqual(['t*512 _*512', 0, 0])
    expect(f.events()).toEqual(['CLEAR 0-512'])
    f.store(0, 3)
    f.munmap(0, 512)
    expect(f.nused()).toBe(0)
  })

  test('of the whole huge zero page take no page away', () => {
    const f = boot()
    f.mmap(0, 512)
    f.load(0)
    f.madvise(0, 512, MADV_DONTNEED)
    expect(f.pte()).toBe('t*512 _*512')
  })
})

describe('mprotect', () => {
  test('of the whole changes the huge entry, which a write fault makes writable again (CP-46)', () => {
    const f = bootWritten()
    f.mprotect(0, 512, PROT_READ)
    expect(f.pte()).toBe('p*512 _*512')
    f.mprotect(0, 512, RW)
    expect(f.pte()).toBe('p*512 _*512')
    expect(f.events()).toEqual(['PROTECTION_VMA 0-512', 'PROTECTION_VMA 0-512'])
    f.store(1, 3)
    expect(f.pte()).toBe('P*512 _*512')
  })

  test('of the whole to no access keeps the page', () => {
    const f = bootWritten()
    f.mprotect(0, 512, PROT_NONE)
    expect(f.huge(0).flags & PTE_PROTNONE).toBe(PTE_PROTNONE)
    f.mprotect(0, 512, PROT_READ)
    expect(f.huge(0).flags & PTE_PROTNONE).toBe(0)
    expect(f.load(300)).toBe(2)
  })

  test('of a part splits, and changes the part alone', () => {
    const f = bootWritten()
    f.mprotect(8, 4, PROT_NONE)
    expect(f.pte()).toBe('w*8 n*4 w*500 _*512')
    expect(f.events()).toEqual(['CLEAR 0-512', 'PROTECTION_VMA 8-12'])
  })

  test('of a part of the huge zero page splits it', () => {
    const f = boot()
    f.mmap(0, 512)
    f.load(0)
    f.mprotect(8, 4, PROT_NONE)
    expect(f.pte()).toBe('z*8 q*4 z*500 _*512')
  })
})

describe('fork', () => {
  test('shares the huge page, read-only on both sides (CP-51)', () => {
    const f = bootWritten()
    const child = f.fork()
    expect([f.pte(), f.attr()]).toEqual(['p*512 _*512', '1*512 .*512'])
    expect([f.pte(child), f.attr(child)]).toEqual(['p*512 _*512', '1*512 .*512'])
    expect(f.events()).toEqual(['PROTECTION_PAGE 0-512'])
    expect(child.mm.rss[1]).toBe(512)
    expect(f.sys.pages.refcount[f.huge(0).pfn]).toBe(2)
  })

  test('splits a page that may be pinned and copies every frame for the child', () => {
    const f = bootWritten()
    const pinned = f.pin(7, 1, true)
    f.events()
    const child = f.fork()
    expect([f.pte(), f.attr()]).toEqual(['w*512 _*512', 'f*512 .*512'])
    expect([f.pte(child), f.attr(child)]).toEqual(['w*512 _*512', '7*512 .*512'])
    expect(f.events()).toEqual(['PROTECTION_PAGE 0-512', 'CLEAR 0-512'])
    expect(f.load(300, child)).toBe(2)
    f.unpin(pinned)
  })
})

describe('mremap', () => {
  test('moves a huge entry as it is if both places begin at 2 MiB', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    f.mremap(0, 512, 512)
    expect([f.pte(), f.attr()]).toEqual(['_*512 P*512', '.*512 7*512'])
    expect(f.huge(512).pfn).toBe(pfn)
    expect(f.load(812)).toBe(2)
  })

  test('splits it otherwise, and the pages stay findable at their new addresses', () => {
    const f = boot({}, 1536)
    f.mmap(0, 512)
    f.store(300, 2)
    f.mremap(0, 512, 600)
    expect(f.pte()).toBe('_*600 w*512 _*424')
    expect(f.load(900)).toBe(2)
    f.madvise(600, 512, MADV_DONTNEED)
    expect(f.nused()).toBe(0)
  })
})

describe('migration entries of whole pages (T-24)', () => {
  test('take the place of the huge entry and give it back', () => {
    const f = bootWritten()
    const { pfn, flags } = f.huge(0)
    const { pages } = f.sys
    f.isolate(pfn)
    f.step(() => tryToMigrate(f.sys, pfn))
    const entry = f.huge(0).flags
    expect(pteKind(entry)).toBe(PTE_KIND_MIGRATION)
    expect(entry & (PTE_WRITE | PTE_DIRTY | PTE_YOUNG)).toBe(PTE_WRITE | PTE_DIRTY | PTE_YOUNG)
    expect([pages.refcount[pfn], pages.isMapped(pfn), pages.isAnonExclusive(pfn)]).toEqual([1, false, false])
    expect(f.events()).toEqual(['CLEAR 0-512'])
    expect(f.pte()).toBe('M*512 _*512')

    expect(handleMmFault(f.vma(0), f.addr(5), 0)).toBe(VM_FAULT_RETRY)
    expect(f.sys.waitFor).not.toBeNull()

    removeMigrationPtes(f.sys, pfn, pfn)
    f.putBack(pfn)
    expect(f.huge(0)).toEqual({ pfn, flags })
    expect(f.attr()).toBe('7*512 .*512')
  })

  test('become read-only in mprotect and fork, and munmap drops them', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    f.isolate(pfn)
    f.step(() => tryToMigrate(f.sys, pfn))
    f.mprotect(0, 512, PROT_READ)
    f.mprotect(0, 512, RW)
    expect(f.pte()).toBe('m*512 _*512')
    const child = f.fork()
    f.munmap(0, 512)
    expect([f.pte(), f.pte(child)]).toEqual(['_*1024', 'm*512 _*512'])
    removeMigrationPtes(f.sys, pfn, pfn)
    f.putBack(pfn)
    expect([f.pte(child), f.attr(child)]).toEqual(['p*512 _*512', '5*512 .*512'])
    expect(f.load(300, child)).toBe(2)
  })

  test('are split like the entry that they stand for', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    f.isolate(pfn)
    f.step(() => tryToMigrate(f.sys, pfn))
    f.madvise(10, 1, MADV_DONTNEED)
    expect(f.pte()).toBe('M*10 - M*501 _*512')
    removeMigrationPtes(f.sys, pfn, pfn)
    f.putBack(pfn)
    expect([f.pte(), f.attr()]).toEqual(['w*10 - w*501 _*512', '7*10 . 7*501 .*512'])
  })

  test('are not made of a page that may be pinned', () => {
    const f = bootWritten()
    const { pfn } = f.huge(0)
    const pinned = f.pin(0, 1, true)
    f.isolate(pfn)
    f.step(() => tryToMigrate(f.sys, pfn))
    f.putBack(pfn)
    expect([f.pte(), f.attr()]).toEqual(['P*512 _*512', 'f*512 .*512'])
    f.unpin(pinned)
  })

  test('of another page are left alone', () => {
    const f = bootWritten()
    const { pfn, flags } = f.huge(0)
    expect(removeHugeMigrationEntry(f.vma(0), f.addr(0), pfn, pfn)).toBe(false)
    expect(f.process.mm.pageTable.findPmd(f.addr(0))?.hugeFlags(pmdIndex(f.addr(0)))).toBe(flags)
  })
})
