import { describe, expect, it } from 'vitest'
import { PAGE_SIZE } from '../base/addr.ts'
import { SimulatedMmu } from '../mmu/simulated/simulated-mmu.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { handleMmFault } from './fault.ts'
import { MM_ANONPAGES, MM_SWAPENTS, Mm } from './mm.ts'
import { mmMmap } from './mmap.ts'
import { allocEvictionPage, allocPage, putPage } from './page-alloc.ts'
import { System } from './system.ts'
import { validateSystem } from './validate.ts'
import { FAULT_FLAG_WRITE, VM_FAULT_OOM } from './vm-fault.ts'

const START = 0x1000_0000

function makeMm(nframes: number, swapPages: number, reservePages: number): Mm {
  const mm = new Mm(new System(new SimulatedMmu({ nframes }), { swapPages, reservePages }))
  mmMmap(mm, START, 64 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
  return mm
}

function store(mm: Mm, page: number): number {
  const addr = START + page * PAGE_SIZE
  const vma = mm.vmaLookup(addr)
  if (vma === null) throw new Error(`page ${page} is mapped`)
  return handleMmFault(vma, addr, FAULT_FLAG_WRITE)
}

describe('allocPage()', () => {
  it('leaves the reserve to eviction', () => {
    const mm = makeMm(16, 0, 4)
    const pfns: number[] = []
    for (let pfn = allocPage(mm, START); pfn >= 0; pfn = allocPage(mm, START)) pfns.push(pfn)
    expect(mm.sys.mmu.nfree).toBe(4)
    const reserved = Array.from({ length: 4 }, () => allocEvictionPage(mm, START))
    expect(reserved.every((pfn) => pfn >= 0)).toBe(true)
    expect(allocEvictionPage(mm, START)).toBe(-1)
    for (const pfn of [...pfns, ...reserved]) putPage(mm.sys, pfn)
    expect(mm.sys.mmu.nfree).toBe(15) // one frame is the page of zeroes
  })

  it('writes cold pages to swap when memory is short', () => {
    const mm = makeMm(16, 64, 4)
    for (let page = 0; page < 64; page++) {
      expect(store(mm, page)).toBe(0)
      validateSystem(mm.sys)
    }
    expect(mm.rss[MM_ANONPAGES] + mm.rss[MM_SWAPENTS]).toBe(64)
    expect(mm.rss[MM_SWAPENTS]).toBeGreaterThanOrEqual(64 - 11)
    expect(mm.sys.mmu.nfree).toBeGreaterThanOrEqual(4)
  })

  it('ends in VM_FAULT_OOM without swap, and changes nothing', () => {
    const mm = makeMm(16, 0, 4)
    let page = 0
    while (store(mm, page) === 0) page++
    expect(store(mm, page)).toBe(VM_FAULT_OOM)
    expect(mm.rss[MM_ANONPAGES]).toBe(page)
    validateSystem(mm.sys)
  })
})
