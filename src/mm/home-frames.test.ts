// mm on a backend where every page has one home frame and nobody traps the CPU (mmu/explicit): what works differs from the
// simulated machine only where the capabilities say so.

import { beforeEach, describe, expect, it } from 'vitest'
import { PAGE_SIZE, pteIndex } from '../base/addr.ts'
import { EINVAL, ENOMEM, EOPNOTSUPP } from '../base/errno.ts'
import { ExplicitMmu } from '../mmu/explicit/explicit-mmu.ts'
import {
  MADV_DONTNEED,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_HUGETLB,
  MAP_POPULATE,
  MAP_PRIVATE,
  MAP_SHARED,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PROT_READ,
  PROT_WRITE,
} from '../uapi/mman.ts'
import { dumpPte } from './dump.ts'
import { handleMmFault } from './fault.ts'
import { forkMm } from './fork.ts'
import { mmMadvise } from './madvise.ts'
import { MEMORY_DEVICE_COHERENT, MEMORY_DEVICE_PRIVATE, memremapPages } from './memremap.ts'
import { Mm } from './mm.ts'
import { mmMmap, mmMunmap, mmput } from './mmap.ts'
import { mmMprotect } from './mprotect.ts'
import { mmMremap } from './mremap.ts'
import { PTE_DIRTY } from './pte.ts'
import { collectWrites, shareForRead } from './share.ts'
import { ShmemFile } from './shmem.ts'
import { System } from './system.ts'
import { validateSystem } from './validate.ts'
import { FAULT_FLAG_WRITE, VM_FAULT_OOM } from './vm-fault.ts'

const NPAGES = 64
const RW = PROT_READ | PROT_WRITE
const ANON = MAP_PRIVATE | MAP_ANONYMOUS
const page = (vpn: number) => vpn * PAGE_SIZE

let mmu: ExplicitMmu
let sys: System
let mm: Mm

beforeEach(() => {
  mmu = new ExplicitMmu(new ArrayBuffer(NPAGES * PAGE_SIZE))
  sys = new System(mmu)
  mm = new Mm(sys)
})

/** Anonymous memory at pages [vpn, vpn + npages). */
function map(vpn: number, npages: number, flags = 0): number {
  const addr = mmMmap(mm, page(vpn), page(npages), RW, ANON | MAP_FIXED | flags)
  check()
  return addr
}

function touch(vpn: number, write: boolean): number {
  const vma = mm.vmaLookup(page(vpn))
  if (vma === null) return -1
  return reading(() => handleMmFault(vma, page(vpn), write ? FAULT_FLAG_WRITE : 0))
}

/** Runs a call that wants mmapLock held for reading. */
function reading<T>(call: () => T): T {
  expect(mm.mmapLock.tryRead()).toBe(true)
  const result = call()
  mm.mmapLock.unlockRead()
  check()
  return result
}

function check(): void {
  validateSystem(sys, { level: 'full', heldReferences: () => 0 })
}

/** Whose each page is: `w` and `r` are the CPU's, for writing or reading. */
function owners(vpn: number, npages: number): string {
  const letters = { none: '-', read: 'r', write: 'w' }
  return Array.from({ length: npages }, (_, i) => letters[mmu.cpuAccess(page(vpn + i))]).join('')
}

function entryIsDirty(vpn: number): boolean {
  const table = mm.pageTable.findPte(page(vpn))
  return table !== null && (table.words[2 * pteIndex(page(vpn)) + 1] & PTE_DIRTY) !== 0
}

describe('mm with home frames', () => {
  it('an address space is as large as the heap, and mappings without an address lie in it', () => {
    expect(mm.taskSize).toBe(NPAGES * PAGE_SIZE)
    expect(mmMmap(mm, 0, page(4), RW, ANON)).toBe(page(NPAGES - 4))
    expect(mmMmap(mm, 0, page(4), RW, ANON)).toBe(page(NPAGES - 8))
    expect(mmMmap(mm, page(NPAGES - 1), page(2), RW, ANON | MAP_FIXED)).toBe(-ENOMEM)
    expect(mmMmap(mm, 0, page(NPAGES), RW, ANON)).toBe(-ENOMEM)
    expect(mmMunmap(mm, page(NPAGES - 1), page(2))).toBe(-EINVAL)
    check()
  })

  it('a read fault allocates the home frame, as there is no zero page', () => {
    map(2, 3)
    expect(sys.zeroPfn).toBe(-1)
    expect([touch(3, false), touch(4, true)]).toEqual([0, 0])
    expect([dumpPte(mm, page(2), 3), owners(2, 3)]).toEqual(['-ww', '-ww'])
    expect([sys.pages.mapcount[3], sys.pages.mapcount[4], mmu.nfree]).toEqual([1, 1, NPAGES - 2])
  })

  it('MAP_POPULATE hands all pages to the CPU for writing', () => {
    map(1, 3, MAP_POPULATE)
    expect([dumpPte(mm, page(1), 3), owners(0, 5)]).toEqual(['www', '-www-'])
  })

  it('memory that is mapped again is zero, and the CPU does not have it before it asks', () => {
    map(1, 2, MAP_POPULATE)
    new Uint8Array(mmu.buffer).fill(7, page(1), page(3))
    expect([mmMunmap(mm, page(1), page(2)), owners(1, 2), mmu.nfree]).toEqual([0, '--', NPAGES])
    map(1, 2, MAP_POPULATE)
    expect(new Uint8Array(mmu.buffer, page(1), page(2)).every((byte) => byte === 0)).toBe(true)
    expect(mmMadvise(mm, page(1), page(1), MADV_DONTNEED)).toBe(0)
    check()
    expect([owners(1, 2), dumpPte(mm, page(1), 2)]).toEqual(['-w', '-w'])
  })

  it('a page that the CPU only reads is not dirty, one that it had for writing is', () => {
    map(1, 1, MAP_POPULATE)
    // As after a migration back: present, clean, and nobody's.
    expect(reading(() => shareForRead(mm, page(1), page(2)))).toBe(1)
    expect([touch(1, false), owners(1, 1), entryIsDirty(1)]).toEqual([0, 'r', false])
    expect(mmMprotect(mm, page(1), page(1), PROT_READ)).toBe(0)
    expect(entryIsDirty(1)).toBe(false)
    expect(mmMprotect(mm, page(1), page(1), RW)).toBe(0)
    expect([touch(1, true), owners(1, 1)]).toEqual([0, 'w'])
    expect(mmMprotect(mm, page(1), page(1), PROT_READ)).toBe(0)
    expect([entryIsDirty(1), owners(1, 1)]).toEqual([true, expect.stringMatching(/[r-]/)])
    check()
  })

  it('a writable entry is handed over for reading until a write fault makes it dirty', () => {
    map(1, 1, MAP_POPULATE)
    const table = mm.pageTable.findPte(page(1))
    if (table === null) throw new Error('the page is there')
    mmu.unmap(mm.space, page(1), 1, new Uint8Array(1))
    table.words[2 * pteIndex(page(1)) + 1] &= ~PTE_DIRTY
    expect([touch(1, false), owners(1, 1)]).toEqual([0, 'r'])
    expect([touch(1, true), owners(1, 1)]).toEqual([0, 'w'])
    expect([touch(1, false), owners(1, 1)]).toEqual([0, 'w'])
  })

  it('shareForRead() leaves the CPU reading; collectWrites() counts what sync handed out for writing', () => {
    map(1, 3, MAP_POPULATE)
    expect(reading(() => shareForRead(mm, page(1), page(4)))).toBe(3)
    check()
    expect([owners(1, 3), dumpPte(mm, page(1), 3)]).toEqual(['rrr', 'rrr'])
    expect(reading(() => collectWrites(mm, page(1), page(4)))).toBe(0)
    expect([touch(2, true), owners(1, 3)]).toEqual([0, 'rwr'])
    // The write fault has dropped the duplicate already.
    expect(reading(() => collectWrites(mm, page(1), page(4)))).toBe(0)
    expect(entryIsDirty(2)).toBe(true)
    check()
  })

  it('refuses what needs another frame for an address, and changes nothing', () => {
    map(1, 4, MAP_POPULATE)
    const before = dumpPte(mm, page(0), 20)
    const file = new ShmemFile(sys, 'file', 4)
    expect(forkMm(mm)).toBe(-EOPNOTSUPP)
    expect(mmMremap(mm, page(1), page(4), page(4), MREMAP_MAYMOVE | MREMAP_FIXED, page(10))).toBe(-EOPNOTSUPP)
    expect(mmMremap(mm, page(1), page(2), page(8), MREMAP_MAYMOVE)).toBe(-EOPNOTSUPP)
    expect(mmMmap(mm, page(2), page(2), RW, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED)).toBe(-EOPNOTSUPP)
    expect(mmMmap(mm, page(2), page(2), RW, MAP_PRIVATE | MAP_FIXED, file)).toBe(-EOPNOTSUPP)
    expect(mmMmap(mm, 0, page(4), RW, ANON | MAP_HUGETLB)).toBeLessThan(0)
    expect([dumpPte(mm, page(0), 20), owners(1, 4)]).toEqual([before, 'wwww'])
    check()
  })

  it('grows and shrinks a mapping in place', () => {
    map(1, 2, MAP_POPULATE)
    expect(mmMremap(mm, page(1), page(2), page(4), 0)).toBe(page(1))
    expect([touch(4, true), dumpPte(mm, page(1), 5)]).toEqual([0, 'ww-w_'])
    expect(mmMremap(mm, page(1), page(4), page(1), 0)).toBe(page(1))
    check()
    expect([dumpPte(mm, page(1), 5), owners(1, 4), mmu.nfree]).toEqual(['w____', 'w---', NPAGES - 1])
  })

  it('takes private device memory and no coherent memory', () => {
    const ops = { pageFree: () => {}, migrateToRam: () => 0 }
    const request = { npages: 4, ops, owner: {} }
    expect(memremapPages(sys, { type: MEMORY_DEVICE_COHERENT, ...request })).toBe(-EOPNOTSUPP)
    expect(memremapPages(sys, { type: MEMORY_DEVICE_PRIVATE, ...request })).toMatchObject({ npages: 4 })
    check()
  })

  it('a fault in a mapping whose home frame is in other use is out of memory, not a crash', () => {
    map(1, 1)
    expect(mmu.allocFrame(mm.space, page(1), 0)).toBe(1)
    const vma = mm.vmaLookup(page(1))
    if (vma === null) throw new Error('the page is mapped')
    expect(mm.mmapLock.tryRead()).toBe(true)
    expect(handleMmFault(vma, page(1), FAULT_FLAG_WRITE)).toBe(VM_FAULT_OOM)
    mm.mmapLock.unlockRead()
    mmu.freeFrame(1, 0)
    expect(touch(1, true)).toBe(0)
  })

  it('transparent huge pages do not exist where a backend has none', () => {
    const large = new ExplicitMmu(new ArrayBuffer(4 * 0x20_0000))
    sys = new System(large, { thp: 'always' })
    mm = new Mm(sys)
    expect(mmMmap(mm, 0x20_0000, 0x40_0000, RW, ANON | MAP_FIXED | MAP_POPULATE)).toBe(0x20_0000)
    check()
    expect([dumpPte(mm, 0x20_0000, 2), sys.pages.compound.size]).toEqual(['ww', 0])
  })

  it('the last user leaves nothing behind', () => {
    map(1, 8, MAP_POPULATE)
    expect(mmput(mm)).toBe(0)
    check()
    expect([mmu.nfree, owners(1, 8)]).toEqual([NPAGES, '--------'])
    mm = new Mm(sys)
    map(1, 1, MAP_POPULATE)
  })
})
