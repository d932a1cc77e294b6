// A machine with a page in every state holds every invariant; and each thing that is then broken is reported under the
// number of its statement, with address, frame and values.

import { describe, expect, it } from 'vitest'
import { type Addr, PAGE_SIZE, type Pfn, PMD_SIZE, pmdIndex, pteIndex } from '../base/addr.ts'
import { AssertionError } from '../base/assert.ts'
import { DmirrorDevice, type DmirrorHandle } from '../devices/dmirror/index.ts'
import { Machine } from '../machine/machine.ts'
import type { Process } from '../machine/process.ts'
import { MADV_HWPOISON, MADV_PAGEOUT, PROT_NONE, PROT_READ } from '../uapi/mman.ts'
import type { AddressSpace } from './address-space.ts'
import { insertPfnMixed } from './insert.ts'
import {
  MIGRATE_VMA_SELECT_SYSTEM,
  makeMigrateVma,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from './migrate-device.ts'
import { MM_ANONPAGES, MM_SWAPENTS } from './mm.ts'
import {
  MMU_NOTIFY_CLEAR,
  MmuNotifierRange,
  mmuIntervalNotifierInsert,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { PG_ANON_EXCLUSIVE, PG_HWPOISON, PG_LOCKED, PG_LRU, PG_SWAPCACHE, PG_TAIL } from './page.ts'
import type { PmdTable } from './pgtable.ts'
import {
  PTE_DUPLICATED,
  PTE_HUGE,
  PTE_KIND_DEVICE_EXCLUSIVE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_HWPOISON,
  PTE_KIND_MIGRATION,
  PTE_KIND_SWAP,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SPECIAL,
  PTE_WRITE,
  pteKind,
} from './pte.ts'
import { shareForRead } from './share.ts'
import type { System } from './system.ts'
import { validateMigrateVma, validateMm, validateSystem } from './validate.ts'
import { VM_WRITE } from './vm-flags.ts'
import type { Vma } from './vma.ts'

const BASE: Addr = 0x1000_0000_0000

/** Pages of the zoo, by what they are. */
const RW = 0
const FORKED = 1 // read-only, shared with the child
const ZERO = 2
const EMPTY = 3
const NO_ACCESS = 5
const READ_ONLY = 7
const SWAPPED = 9
const ON_DEVICE = 11
const EXCLUSIVE = 13
const CACHED = 15 // shared mapping of file page 0
const COPIED = 17 // private mapping of file page 0, written
const SPECIAL = 19
const POISONED = 21
const HOLE = 30

class Zoo {
  readonly machine = new Machine({ memory: '4 MiB', swap: '1 MiB' })
  readonly sys: System = this.machine.sys
  readonly process: Process
  readonly child: Process
  readonly device: DmirrorDevice
  readonly handle: DmirrorHandle
  readonly file = this.machine.createFile('data', 4)

  constructor() {
    this.device = new DmirrorDevice(this.sys, 0, { chunkPages: 256 })
    this.process = this.machine.createProcess('zoo')
    const handle = this.device.open(this.process.mm)
    if (typeof handle === 'number') throw new Error(`open returned ${handle}`)
    this.handle = handle
    const { process } = this
    this.map(RW, 4)
    process.store32(this.addr(FORKED), 1)
    this.child = process.fork('child')
    process.store32(this.addr(RW), 1)
    process.load32(this.addr(ZERO))
    this.map(NO_ACCESS, 1)
    process.store32(this.addr(NO_ACCESS), 1)
    process.mprotect(this.addr(NO_ACCESS), PAGE_SIZE, PROT_NONE)
    this.map(READ_ONLY, 1)
    process.store32(this.addr(READ_ONLY), 1)
    process.mprotect(this.addr(READ_ONLY), PAGE_SIZE, PROT_READ)
    this.map(SWAPPED, 1)
    process.store32(this.addr(SWAPPED), 1)
    process.madvise(this.addr(SWAPPED), PAGE_SIZE, MADV_PAGEOUT)
    this.map(ON_DEVICE, 1)
    process.store32(this.addr(ON_DEVICE), 1)
    expect(this.handle.migrateToDev(this.addr(ON_DEVICE), 1, null).ret).not.toBe(0) // copied nowhere, but migrated
    this.map(EXCLUSIVE, 1)
    process.store32(this.addr(EXCLUSIVE), 1)
    this.handle.exclusive(this.addr(EXCLUSIVE), 1, null)
    process.mmap({ addr: this.addr(CACHED), fixed: true, length: PAGE_SIZE, file: this.file, shared: true })
    process.store32(this.addr(CACHED), 1)
    process.mmap({ addr: this.addr(COPIED), fixed: true, length: PAGE_SIZE, file: this.file })
    process.store32(this.addr(COPIED), 1)
    this.map(SPECIAL, 1)
    insertPfnMixed(this.vma(SPECIAL), this.addr(SPECIAL), 777)
    this.map(POISONED, 1)
    process.store32(this.addr(POISONED), 1)
    process.madvise(this.addr(POISONED), PAGE_SIZE, MADV_HWPOISON)
  }

  addr(page: number): Addr {
    return BASE + page * PAGE_SIZE
  }

  map(page: number, npages: number): void {
    this.process.mmap({ addr: this.addr(page), fixed: true, length: npages * PAGE_SIZE })
  }

  vma(page: number): Vma {
    const vma = this.process.mm.vmaLookup(this.addr(page))
    if (vma === null) throw new Error(`page ${page} is not mapped`)
    return vma
  }

  words(page: number): Uint32Array {
    return this.process.mm.pageTable.allocPte(this.addr(page)).words
  }

  flagsAt(page: number): number {
    return this.words(page)[2 * pteIndex(this.addr(page)) + 1]
  }

  pfnAt(page: number): Pfn {
    return this.words(page)[2 * pteIndex(this.addr(page))]
  }

  setEntry(page: number, flags: number, pfn = this.pfnAt(page)): void {
    const i = pteIndex(this.addr(page))
    this.words(page)[2 * i] = pfn
    this.words(page)[2 * i + 1] = flags
  }

  get cache(): AddressSpace {
    return this.file.mapping
  }

  /** References beyond entries and caches. */
  held(pfn: Pfn): number {
    if (pfn === this.device.memory.dataPage(this.pfnAt(ON_DEVICE))) return 1
    return (this.sys.pages.flags[pfn] & PG_HWPOISON) !== 0 ? this.sys.pages.refcount[pfn] : 0
  }
}

describe('validateSystem()', () => {
  it('finds a page in every state in order', () => {
    const zoo = new Zoo()
    expect(pteKind(zoo.flagsAt(SWAPPED))).toBe(PTE_KIND_SWAP)
    expect(pteKind(zoo.flagsAt(ON_DEVICE))).toBe(PTE_KIND_DEVICE_PRIVATE)
    expect(pteKind(zoo.flagsAt(EXCLUSIVE))).toBe(PTE_KIND_DEVICE_EXCLUSIVE)
    expect(pteKind(zoo.flagsAt(POISONED))).toBe(PTE_KIND_HWPOISON)
    expect(zoo.flagsAt(SPECIAL) & PTE_SPECIAL).not.toBe(0)
    expect(zoo.flagsAt(NO_ACCESS) & PTE_PROTNONE).not.toBe(0)
    validateSystem(zoo.sys)
    validateSystem(zoo.sys, { level: 'full' })
    validateSystem(zoo.sys, { level: 'full', heldReferences: (pfn) => zoo.held(pfn) })
    for (const mm of zoo.sys.mms) validateMm(mm, 'full')
  })

  it('is in order in the middle of a migration and after it', () => {
    const zoo = new Zoo()
    const args = makeMigrateVma(zoo.vma(RW), zoo.addr(RW), zoo.addr(EMPTY + 1), null, MIGRATE_VMA_SELECT_SYSTEM)
    expect(zoo.process.mm.mmapLock.tryRead()).toBe(true)
    expect(migrateVmaSetup(args)).toBe(0)
    expect(pteKind(zoo.flagsAt(FORKED))).toBe(PTE_KIND_MIGRATION)
    validateSystem(zoo.sys, { level: 'full' })
    validateMigrateVma(args)
    migrateVmaPages(args)
    migrateVmaFinalize(args)
    validateSystem(zoo.sys, { level: 'full', heldReferences: (pfn) => zoo.held(pfn) })
  })

  it('is in order after mappings merged over the one between them', () => {
    const zoo = new Zoo()
    zoo.map(40, 6)
    zoo.process.store32(zoo.addr(40), 1)
    zoo.process.store32(zoo.addr(45), 1)
    zoo.map(42, 2)
    expect(zoo.vma(42)).toBe(zoo.vma(40))
    validateSystem(zoo.sys, { level: 'full' })
    zoo.process.mprotect(zoo.addr(42), PAGE_SIZE, PROT_READ)
    zoo.process.mprotect(zoo.addr(42), PAGE_SIZE, PROT_READ | 2)
    validateSystem(zoo.sys, { level: 'full' })
  })
})

interface Breach {
  readonly invariant: string
  readonly what: string
  readonly break: (zoo: Zoo) => void
  /** In the message, besides the invariant. */
  readonly says?: RegExp
  /** Found without a walk. */
  readonly cheap?: boolean
}

const at = (page: number): RegExp => new RegExp(`0x${(BASE + page * PAGE_SIZE).toString(16)} of address space 1`)

const BREACHES: Breach[] = [
  {
    invariant: 'T-1',
    what: 'more references than nothing',
    break: ({ process }) => {
      process.mm.count = 0
    },
    cheap: true,
  },
  {
    invariant: 'T-1',
    what: 'a lock with readers and a writer',
    break: ({ process }) => {
      process.mm.mmapLock.readers = 1
      process.mm.mmapLock.writer = true
    },
    says: /1 readers and a writer/,
    cheap: true,
  },
  {
    invariant: 'T-1',
    what: 'mappings of a dead address space',
    break: ({ process }) => {
      process.mm.users = 0
    },
    cheap: true,
  },
  {
    invariant: 'T-2',
    what: 'mappings that overlap',
    break: (zoo) => {
      zoo.process.mm.vmas[0].end += 2 * PAGE_SIZE
    },
    cheap: true,
  },
  {
    invariant: 'T-2',
    what: 'a mapping that ends inside a page',
    break: (zoo) => {
      zoo.vma(READ_ONLY).end -= 1
    },
    cheap: true,
  },
  {
    invariant: 'T-2',
    what: 'mappings out of order',
    break: ({ process }) => {
      process.mm.vmas.reverse()
    },
    cheap: true,
  },
  {
    invariant: 'T-5',
    what: 'an entry outside the mappings',
    break: (zoo) => zoo.setEntry(HOLE, PTE_KIND_SWAP, 1),
    says: at(HOLE),
  },
  {
    invariant: 'T-5',
    what: 'the number of tables',
    break: ({ process }) => {
      process.mm.pageTable.npteTables++
    },
  },
  {
    invariant: 'T-6',
    what: 'a writable entry of a read-only mapping',
    break: (zoo) => zoo.setEntry(READ_ONLY, zoo.flagsAt(READ_ONLY) | PTE_WRITE),
    says: at(READ_ONLY),
  },
  {
    invariant: 'T-6',
    what: 'a device entry that is writable in a read-only mapping',
    break: (zoo) => {
      zoo.vma(ON_DEVICE).flags &= ~VM_WRITE
    },
    says: at(ON_DEVICE),
  },
  {
    invariant: 'T-7',
    what: 'an AnonVma without a link to it',
    break: (zoo) => {
      zoo.vma(RW).anonVma = zoo.vma(COPIED).anonVma
    },
    cheap: true,
  },
  {
    invariant: 'T-7',
    what: 'the mappings that an AnonVma counts',
    break: (zoo) => {
      const { anonVma } = zoo.vma(RW)
      if (anonVma !== null) anonVma.numActiveVmas++
    },
  },
  {
    invariant: 'T-7',
    what: 'the children that an AnonVma counts',
    break: (zoo) => {
      const { anonVma } = zoo.vma(RW)
      if (anonVma !== null) anonVma.numChildren++
    },
  },
  {
    invariant: 'T-10',
    what: 'an entry of no known kind',
    break: (zoo) => zoo.setEntry(EMPTY, 0xf << 8, 0),
    says: at(EMPTY),
  },
  {
    invariant: 'T-10',
    what: 'an empty entry with a frame',
    break: (zoo) => zoo.setEntry(EMPTY, 0, 5),
    says: at(EMPTY),
  },
  {
    invariant: 'T-10',
    what: 'a small entry that is marked huge',
    break: (zoo) => zoo.setEntry(RW, zoo.flagsAt(RW) | PTE_HUGE),
    says: at(RW),
  },
  {
    invariant: 'T-10',
    what: 'a present entry of another kind',
    break: (zoo) => zoo.setEntry(RW, zoo.flagsAt(RW) | PTE_KIND_SWAP),
    says: at(RW),
  },
  {
    invariant: 'T-10',
    what: 'a table and a huge entry in one slot',
    break: (zoo) => zoo.process.mm.pageTable.allocPmd(BASE).setHuge(pmdIndex(BASE), PTE_PRESENT | PTE_HUGE, 0),
    says: at(0),
  },
  {
    invariant: 'T-13',
    what: 'a zero page that may be written',
    break: (zoo) => zoo.setEntry(ZERO, zoo.flagsAt(ZERO) | PTE_WRITE),
    says: at(ZERO),
  },
  {
    invariant: 'T-13',
    what: 'a zero page that counts as a page',
    break: (zoo) => zoo.setEntry(ZERO, zoo.flagsAt(ZERO) & ~PTE_SPECIAL),
    says: at(ZERO),
  },
  {
    invariant: 'T-13',
    what: 'a zero page that is counted',
    break: ({ sys }) => {
      sys.pages.mapcount[sys.zeroPfn]++
    },
  },
  {
    invariant: 'T-14',
    what: 'access to a mapping without any',
    break: (zoo) => zoo.setEntry(NO_ACCESS, zoo.flagsAt(NO_ACCESS) & ~PTE_PROTNONE),
    says: at(NO_ACCESS),
  },
  {
    invariant: 'T-19',
    what: 'a poison entry of a page that is not poisoned',
    break: (zoo) => {
      zoo.sys.pages.flags[zoo.pfnAt(POISONED)] &= ~PG_HWPOISON
    },
    says: at(POISONED),
  },
  {
    invariant: 'T-22',
    what: 'a raw frame number in a mapping of pages',
    break: (zoo) => zoo.setEntry(EMPTY, PTE_PRESENT | PTE_SPECIAL, 777),
    says: /frame number 777 /,
  },
  {
    invariant: 'T-31',
    what: 'a cached page that says it is another',
    break: (zoo) => {
      zoo.cache.pages.set(1, zoo.pfnAt(CACHED))
    },
    says: /data: page 1 in frame \d+/,
  },
  {
    invariant: 'T-31',
    what: 'a cached page beyond the end of the file',
    break: (zoo) => {
      zoo.cache.npages = 0
    },
    says: /beyond the 0 pages/,
  },
  {
    invariant: 'T-31',
    what: 'a page that is cached and in swap',
    break: (zoo) => {
      zoo.cache.swapped.set(0, 1)
    },
  },
  {
    invariant: 'T-31',
    what: 'a page that says it is in the swap cache',
    break: (zoo) => {
      zoo.sys.pages.flags[zoo.pfnAt(RW)] |= PG_SWAPCACHE
    },
  },
  {
    invariant: 'T-31',
    what: 'a reference that nobody holds',
    break: (zoo) => {
      zoo.sys.pages.refcount[zoo.pfnAt(RW)]++
    },
    says: /refcount is 2, entries and caches hold 1 and others 0: 0x100000000000 of address space 1/,
  },
  {
    invariant: 'T-36',
    what: 'a page at another index than its address',
    break: (zoo) => {
      zoo.sys.pages.index[zoo.pfnAt(RW)]++
    },
    says: at(RW),
  },
  {
    invariant: 'T-36',
    what: 'a page of an AnonVma that its mapping is not linked to',
    break: (zoo) => {
      zoo.sys.pages.mapping[zoo.pfnAt(RW)] = zoo.vma(COPIED).anonVma?.id ?? 0
    },
    says: at(RW),
  },
  {
    invariant: 'T-36',
    what: 'a page of a file that its mapping does not map',
    break: (zoo) => {
      zoo.sys.pages.mapping[zoo.pfnAt(CACHED)] = 999
    },
    says: at(CACHED),
  },
  {
    invariant: 'T-36',
    what: 'a mapping that moved without its place in the trees',
    break: (zoo) => {
      zoo.vma(RW).pgoff++
    },
    cheap: true,
  },
  {
    invariant: 'T-36',
    what: 'a mapping of a file that its tree does not know',
    break: (zoo) => {
      const { fileNode } = zoo.vma(CACHED)
      if (fileNode !== null) zoo.cache.iMmap.remove(fileNode)
    },
    cheap: true,
  },
  {
    invariant: 'T-36',
    what: 'a mapping in the tree of a file that does not exist any more',
    break: (zoo) => {
      zoo.cache.iMmap.insert(0, 0, zoo.vma(RW))
    },
  },
  {
    invariant: 'INV-1',
    what: 'a mapcount',
    break: (zoo) => {
      zoo.sys.pages.mapcount[zoo.pfnAt(FORKED)]++
    },
    says: /mapcount is 3, 2 entries map it: 0x100000001000 of address space 1, 0x100000001000 of address space 2/,
  },
  {
    invariant: 'INV-1',
    what: 'the mapcount of a device page',
    break: (zoo) => {
      zoo.sys.pages.mapcount[zoo.pfnAt(ON_DEVICE)] = 0
    },
  },
  {
    invariant: 'INV-1',
    what: 'a refcount too small for the entries and the cache',
    break: (zoo) => {
      zoo.sys.pages.refcount[zoo.pfnAt(CACHED)] = 1
    },
    says: /refcount is 1, entries and caches hold 2/,
  },
  {
    invariant: 'INV-2',
    what: 'an exclusive page with two users',
    break: (zoo) => {
      zoo.sys.pages.flags[zoo.pfnAt(FORKED)] |= PG_ANON_EXCLUSIVE
    },
    says: /2 entries refer to it/,
  },
  {
    invariant: 'INV-3',
    what: 'a writable page that is not exclusive',
    break: (zoo) => {
      zoo.sys.pages.flags[zoo.pfnAt(RW)] &= ~PG_ANON_EXCLUSIVE
    },
    says: at(RW),
  },
  {
    invariant: 'INV-3',
    what: 'a writable device-exclusive entry of a page that is not exclusive',
    break: (zoo) => {
      zoo.sys.pages.flags[zoo.pfnAt(EXCLUSIVE)] &= ~PG_ANON_EXCLUSIVE
    },
    says: at(EXCLUSIVE),
  },
  {
    invariant: 'INV-4',
    what: 'a page that is marked as on the LRU',
    break: (zoo) => {
      zoo.sys.pages.flags[zoo.pfnAt(ON_DEVICE)] |= PG_LRU
    },
  },
  {
    invariant: 'INV-4',
    what: 'a device page on the LRU',
    break: (zoo) => zoo.sys.lru.add(zoo.pfnAt(ON_DEVICE)),
    says: /device memory/,
  },
  {
    invariant: 'INV-4',
    what: 'a page on the LRU that is not marked',
    break: (zoo) => {
      zoo.sys.pages.flags[zoo.pfnAt(RW)] &= ~PG_LRU
    },
  },
  {
    invariant: 'INV-4',
    what: 'a broken link of the LRU',
    break: ({ sys }) => {
      sys.pages.lruPrev[sys.lru.last] = -1
    },
  },
  {
    invariant: 'INV-4',
    what: 'the number of pages on the LRU',
    break: ({ sys }) => {
      sys.lru.size++
    },
  },
  {
    invariant: 'INV-4',
    what: 'a migrating page on the LRU',
    break: (zoo) => {
      zoo.sys.pages.flags[zoo.pfnAt(RW)] |= PG_LOCKED
      zoo.setEntry(RW, PTE_KIND_MIGRATION | PTE_WRITE)
    },
    says: at(RW),
  },
  {
    invariant: 'INV-5',
    what: 'a counter of pages',
    break: ({ process }) => {
      process.mm.rss[MM_ANONPAGES]--
    },
    says: /address space 1: rss\[1\] is \d+, entries make \d+/,
  },
  {
    invariant: 'INV-5',
    what: 'a negative counter',
    break: ({ process }) => {
      process.mm.rss[MM_ANONPAGES] = -1
    },
    cheap: true,
  },
  {
    invariant: 'INV-6',
    what: 'a migration entry that nobody will restore',
    break: (zoo) => zoo.setEntry(RW, PTE_KIND_MIGRATION | PTE_WRITE),
    says: at(RW),
  },
  {
    invariant: 'INV-7',
    what: 'an odd sequence number while nothing runs',
    break: ({ process }) => {
      if (process.mm.subscriptions !== null) process.mm.subscriptions.invalidateSeq |= 1
    },
    cheap: true,
  },
  {
    invariant: 'INV-7',
    what: 'more ends of invalidations than starts',
    break: ({ process }) => {
      if (process.mm.subscriptions !== null) process.mm.subscriptions.activeInvalidateRanges = -1
    },
    cheap: true,
  },
  {
    invariant: 'INV-7',
    what: 'a subscription with an even sequence number',
    break: ({ process }) => {
      const sub = mmuIntervalNotifierInsert(process.mm, BASE, PAGE_SIZE, { invalidate: () => true })
      if (typeof sub !== 'number') sub.invalidateSeq--
    },
    cheap: true,
  },
  {
    invariant: 'INV-7',
    what: 'a subscription ahead of all',
    break: ({ process }) => {
      const sub = mmuIntervalNotifierInsert(process.mm, BASE, PAGE_SIZE, { invalidate: () => true })
      if (typeof sub !== 'number') sub.invalidateSeq += 200
    },
    cheap: true,
  },
  {
    invariant: 'INV-7',
    what: 'a subscription deferred for nothing',
    break: ({ process }) => {
      const sub = mmuIntervalNotifierInsert(process.mm, BASE, PAGE_SIZE, { invalidate: () => true })
      if (typeof sub !== 'number') process.mm.subscriptions?.deferred.push(sub)
    },
    cheap: true,
  },
  {
    invariant: 'INV-8',
    what: 'a duplicated entry that may be written without notice',
    break: (zoo) => zoo.setEntry(RW, zoo.flagsAt(RW) | PTE_DUPLICATED),
    says: at(RW),
  },
  {
    invariant: 'INV-12',
    what: 'an entry of a free page',
    break: (zoo) => zoo.setEntry(RW, zoo.flagsAt(RW), 900),
    says: /frame 900, which is free/,
  },
  {
    invariant: 'INV-12',
    what: 'an entry of a frame that does not exist',
    break: (zoo) => zoo.setEntry(RW, zoo.flagsAt(RW), 5_000_000),
    says: /frame 5000000/,
  },
  {
    invariant: 'INV-12',
    what: 'a device-exclusive entry of a page that is freed',
    break: (zoo) => {
      zoo.sys.pages.refcount[zoo.pfnAt(EXCLUSIVE)] = 0
    },
    says: at(EXCLUSIVE),
  },
  {
    invariant: 'INV-12',
    what: 'a free frame with a count',
    break: ({ sys }) => {
      sys.pages.refcount[900] = 1
    },
    says: /frame 900 is free with refcount 1/,
  },
  {
    invariant: 'CP-55',
    what: 'the count of a swap slot',
    break: (zoo) => zoo.sys.swap?.duplicate(zoo.pfnAt(SWAPPED)),
    says: /swap slot 1: the count is 2, 1 users/,
  },
  {
    invariant: 'CP-55',
    what: 'a swap entry of a free slot',
    break: (zoo) => zoo.setEntry(EMPTY, PTE_KIND_SWAP, 77),
    says: /slot 77/,
  },
  {
    invariant: 'CP-55',
    what: 'the number of free slots',
    break: ({ sys }) => {
      if (sys.swap !== null) sys.swap.nfree++
    },
  },
  {
    invariant: 'CP-70',
    what: 'the counter of swap entries',
    break: ({ process }) => {
      process.mm.rss[MM_SWAPENTS]++
    },
  },
  {
    invariant: 'DM-5',
    what: 'the number of device pages in use',
    break: ({ sys }) => {
      for (const pagemap of sys.pagemaps) if (pagemap !== null) pagemap.live++
    },
  },
  {
    invariant: 'DM-5',
    what: 'more device pages in use than there are',
    break: ({ sys }) => {
      for (const pagemap of sys.pagemaps) if (pagemap !== null) pagemap.live = 9999
    },
    cheap: true,
  },
  {
    invariant: 'DM-5',
    what: 'a device frame that says it is another’s',
    break: ({ sys }) => {
      for (const pagemap of sys.pagemaps) if (pagemap !== null) sys.pages.pagemap[pagemap.pfn] = 0
    },
  },
  {
    invariant: 'DM-8',
    what: 'private device memory that the CPU can touch',
    break: (zoo) => zoo.setEntry(ON_DEVICE, PTE_PRESENT),
    says: at(ON_DEVICE),
  },
  {
    invariant: 'DM-8',
    what: 'a device-private entry of system memory',
    break: (zoo) => zoo.setEntry(RW, PTE_KIND_DEVICE_PRIVATE),
    says: at(RW),
  },
  {
    invariant: 'EX-3',
    what: 'a device-exclusive entry of a page of a file',
    break: (zoo) => zoo.setEntry(CACHED, PTE_KIND_DEVICE_EXCLUSIVE),
    says: at(CACHED),
  },
]

describe('validateSystem() names what is broken', () => {
  for (const { invariant, what, break: breakIt, says, cheap = false } of BREACHES) {
    it(`${invariant}: ${what}`, () => {
      const zoo = new Zoo()
      breakIt(zoo)
      const exact = invariant === 'T-31' ? { heldReferences: (pfn: Pfn) => zoo.held(pfn) } : {}
      const full = (): void => validateSystem(zoo.sys, { level: 'full', ...exact })
      expect(full).toThrow(AssertionError)
      expect(full).toThrow(new RegExp(`^${invariant}: `))
      if (says !== undefined) expect(full).toThrow(says)
      if (cheap) expect(() => validateSystem(zoo.sys)).toThrow(new RegExp(`^${invariant}: `))
      else expect(() => validateSystem(zoo.sys)).not.toThrow()
    })
  }
})

/** A transparent huge page, the huge zero page and a hugetlb page, in this order. */
class HugeZoo {
  readonly machine = new Machine({ memory: '16 MiB', thp: 'always', hugetlbPages: 2 })
  readonly sys: System = this.machine.sys
  readonly process = this.machine.createProcess('zoo')
  readonly pmd: PmdTable

  constructor() {
    const { process } = this
    process.mmap({ addr: BASE, fixed: true, length: 2 * PMD_SIZE })
    process.store32(BASE, 1)
    process.load32(BASE + PMD_SIZE)
    process.mmap({ addr: BASE + 4 * PMD_SIZE, fixed: true, length: PMD_SIZE, hugetlb: true })
    process.store32(BASE + 4 * PMD_SIZE, 1)
    this.pmd = process.mm.pageTable.allocPmd(BASE)
  }

  get head(): Pfn {
    return this.pmd.hugePfn(0)
  }
}

describe('validateSystem() with huge pages', () => {
  const check = (zoo: HugeZoo) => (): void =>
    validateSystem(zoo.sys, { level: 'full', heldReferences: (pfn) => (pfn === zoo.sys.hugeZeroPfn ? 1 : 0) })

  it('finds them in order, also after a split of the entry', () => {
    const zoo = new HugeZoo()
    expect(zoo.process.dumpPte(BASE + PMD_SIZE - PAGE_SIZE, 2)).toBe('PZ')
    check(zoo)()
    zoo.process.munmap(BASE + PAGE_SIZE, PAGE_SIZE)
    expect(zoo.process.dumpPte(BASE, 3)).toBe('w_w')
    check(zoo)()
    zoo.process.exit()
    check(zoo)()
  })

  const breaches: [invariant: string, what: string, breakIt: (zoo: HugeZoo) => void][] = [
    ['INV-1', 'the mapcount of the whole', ({ sys, head }) => sys.pages.getCompound(head).mapcount++],
    ['INV-3', 'a writable huge entry of a page that is not exclusive', ({ sys, head }) => clearExclusive(sys, head)],
    ['INV-5', 'a counter of pages', ({ process }) => process.mm.rss[MM_ANONPAGES]--],
    [
      'T-13',
      'a huge zero page that may be written',
      ({ pmd, sys }) => pmd.setHuge(1, pmd.hugeFlags(1) | PTE_WRITE, sys.hugeZeroPfn),
    ],
    ['T-23', 'a huge entry of a small page', ({ pmd, head }) => pmd.setHuge(0, pmd.hugeFlags(0), head + 1)],
    ['T-23', 'a tail with references', ({ sys, head }) => sys.pages.refcount[head + 7]++],
    ['T-23', 'a head without its state', ({ sys, head }) => sys.pages.compound.delete(head)],
    ['T-23', 'a frame of the page that is no tail', ({ sys, head }) => (sys.pages.flags[head + 7] &= ~PG_TAIL)],
    ['T-23', 'more promises than free hugetlb pages', ({ sys }) => (sys.hugetlb.reserved = 3)],
    ['T-23', 'the size of the hugetlb pool', ({ sys }) => sys.hugetlb.npages++],
    ['T-24', 'a huge entry of another kind', ({ pmd, head }) => pmd.setHuge(0, PTE_KIND_SWAP, head)],
    ['T-36', 'a huge page at another index', ({ sys, head }) => sys.pages.index[head]++],
  ]
  for (const [invariant, what, breakIt] of breaches) {
    it(`${invariant}: ${what}`, () => {
      const zoo = new HugeZoo()
      breakIt(zoo)
      expect(check(zoo)).toThrow(new RegExp(`^${invariant}: `))
    })
  }
})

function clearExclusive(sys: System, pfn: Pfn): void {
  sys.pages.flags[pfn] &= ~PG_ANON_EXCLUSIVE
}

describe('validateSystem() with translations of a device (INV-8)', () => {
  const check =
    (zoo: Zoo, page: number, pfn: Pfn, writable: boolean, isDuplicate = false) =>
    (): void =>
      validateSystem(zoo.sys, {
        translations: [{ mm: zoo.process.mm, addr: zoo.addr(page), pfn, writable, isDuplicate }],
      })

  it('accepts what the CPU may do too, and what the device holds itself', () => {
    const zoo = new Zoo()
    for (const page of [RW, ON_DEVICE, EXCLUSIVE, CACHED]) check(zoo, page, zoo.pfnAt(page), true)()
    for (const page of [FORKED, READ_ONLY, ZERO]) check(zoo, page, zoo.pfnAt(page), false)()
  })

  it('refuses another page, more permission, and a page that the CPU does not have', () => {
    const zoo = new Zoo()
    expect(check(zoo, RW, zoo.pfnAt(RW) + 1, false)).toThrow(/^INV-8: .*0x100000000000/)
    expect(check(zoo, FORKED, zoo.pfnAt(FORKED), true)).toThrow(/^INV-8: .*for writing/)
    expect(check(zoo, SWAPPED, zoo.pfnAt(SWAPPED), false)).toThrow(/^INV-8: /)
    expect(check(zoo, HOLE, 0, false)).toThrow(/^INV-8: /)
  })

  it('wants a duplicate to stand beside an entry that is marked, and never to be written', () => {
    const zoo = new Zoo()
    const pfn = zoo.pfnAt(RW)
    expect(check(zoo, RW, pfn, false, true)).toThrow(/^INV-8: a device has a duplicate/)
    const { mm } = zoo.process
    mm.mmapLock.tryRead()
    shareForRead(mm, zoo.addr(RW), zoo.addr(RW + 1))
    mm.mmapLock.unlockRead()
    check(zoo, RW, pfn, false, true)()
    expect(check(zoo, RW, pfn, true, true)).toThrow(/^INV-8: .*may write it/)
    zoo.process.store32(zoo.addr(RW), 2)
    expect(check(zoo, RW, pfn, false, true)).toThrow(/^INV-8: /)
    validateSystem(zoo.sys, { level: 'full' })
  })
})

describe('validateMm()', () => {
  it('does not look at other address spaces', () => {
    const zoo = new Zoo()
    zoo.child.mm.rss[MM_ANONPAGES]++
    validateMm(zoo.process.mm, 'full')
    expect(() => validateMm(zoo.child.mm, 'full')).toThrow(/^INV-5: address space 2/)
  })

  it('is in order while an invalidation runs', () => {
    const { process } = new Zoo()
    const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, null, process.mm, BASE, BASE + PAGE_SIZE)
    mmuNotifierInvalidateRangeStart(range)
    validateMm(process.mm, 'full')
    mmuNotifierInvalidateRangeEnd(range)
    validateMm(process.mm, 'full')
  })
})

describe('validateMigrateVma() (INV-13)', () => {
  function setup(zoo: Zoo) {
    const args = makeMigrateVma(zoo.vma(RW), zoo.addr(RW), zoo.addr(RW + 4), null, MIGRATE_VMA_SELECT_SYSTEM)
    expect(zoo.process.mm.mmapLock.tryRead()).toBe(true)
    expect(migrateVmaSetup(args)).toBe(0)
    return args
  }

  it('counts the entries that migrate', () => {
    const args = setup(new Zoo())
    validateMigrateVma(args)
    args.cpages--
    expect(() => validateMigrateVma(args)).toThrow(/^INV-13: cpages is \d, \d entries/)
  })

  it('wants every valid entry to migrate, and the range to be what was collected', () => {
    const args = setup(new Zoo())
    args.npages--
    expect(() => validateMigrateVma(args)).toThrow(/^INV-13: /)
    args.npages++
    args.src[0] &= ~2n
    expect(() => validateMigrateVma(args)).toThrow(/^INV-13: src\[0\]/)
  })
})
