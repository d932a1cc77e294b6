import { beforeEach, describe, expect, it } from 'vitest'
import type { Pfn } from '../../base/addr.ts'
import { EAGAIN, EINVAL, ENOMEM } from '../../base/errno.ts'
import { isDeviceCoherentPage, isDevicePrivatePage } from '../../mm/memremap.ts'
import { getPage, putPage, unlockPage } from '../../mm/page-alloc.ts'
import { System } from '../../mm/system.ts'
import { SimulatedMmu } from '../../mmu/simulated/simulated-mmu.ts'
import { DeviceMemory, type DeviceMemoryRequest } from './device-memory.ts'

const OWNER = { name: 'owner' }

let mmu: SimulatedMmu
let sys: System

beforeEach(() => {
  mmu = new SimulatedMmu({ nframes: 16 })
  sys = new System(mmu)
})

function make(request: Partial<DeviceMemoryRequest> = {}): DeviceMemory {
  const memory = new DeviceMemory(sys, {
    kind: 'private',
    owner: OWNER,
    chunkPages: 4,
    chunksMax: 2,
    migrateToRam: () => 0,
    ...request,
  })
  expect(memory.addChunk()).toBe(0)
  return memory
}

function take(memory: DeviceMemory, npages: number): Pfn[] {
  return Array.from({ length: npages }, () => memory.allocPage())
}

function free(pfn: Pfn): void {
  unlockPage(sys, pfn)
  putPage(sys, pfn)
}

/** Everything can be moved away: what eviction is to `removeChunks`. */
function freeAll(pfns: readonly Pfn[]): void {
  for (const pfn of pfns) free(pfn)
}

describe('DeviceMemory', () => {
  it('hands out pages from the top of the chunk, locked and with one reference', () => {
    const memory = make()
    const first = memory.chunks[0].pagemap.pfn
    const pfns = take(memory, 3)
    expect(pfns).toEqual([first + 3, first + 2, first + 1])
    expect(pfns.map((pfn) => [sys.pages.refcount[pfn], sys.pages.isLocked(pfn)])).toEqual(Array(3).fill([1, true]))
    expect([memory.npagesUsed, memory.chunks[0].lowestUsed]).toEqual([3, first + 1])
  })

  it('takes the page that was freed last next', () => {
    const memory = make()
    const [a, b] = take(memory, 2)
    free(a)
    free(b)
    expect(take(memory, 2)).toEqual([b, a])
  })

  it('hides a system page behind each private page in use, and only then', () => {
    const memory = make()
    const nfree = mmu.nfree
    const pfns = take(memory, 2)
    expect(mmu.nfree).toBe(nfree - 2)
    expect(pfns.every((pfn) => isDevicePrivatePage(sys, pfn))).toBe(true)
    const data = pfns.map((pfn) => memory.dataPage(pfn))
    expect(new Set(data).size).toBe(2)
    expect(data.every((pfn) => pfn < mmu.nframes)).toBe(true)
    freeAll(pfns)
    expect(mmu.nfree).toBe(nfree)
  })

  it('keeps the data of a coherent page in the page itself', () => {
    const memory = make({ kind: 'coherent' })
    const nfree = mmu.nfree
    const [pfn] = take(memory, 1)
    expect([isDeviceCoherentPage(sys, pfn), memory.dataPage(pfn), mmu.nfree]).toEqual([true, pfn, nfree])
    mmu.bytes(pfn)[0] = 1
    free(pfn)
  })

  it('grows by a chunk when it is full, up to its limit', () => {
    const memory = make()
    expect(new Set(take(memory, 8)).size).toBe(8)
    expect(memory.chunks).toHaveLength(2)
    expect(memory.addChunk()).toBe(-ENOMEM)
    const nfree = mmu.nfree
    expect(memory.allocPage()).toBe(-1)
    expect(mmu.nfree).toBe(nfree) // the page that was to hide behind it went back
  })

  it('has no page when the machine has none to hide behind it', () => {
    const memory = make({ chunkPages: 64 })
    take(memory, mmu.nfree)
    expect(memory.allocPage()).toBe(-1)
  })

  it('tells its own pages from those of another owner', () => {
    const memory = make()
    const other = make({ owner: { name: 'other' } })
    const [own] = take(memory, 1)
    const [foreign] = take(other, 1)
    expect([memory.isOwnPage(own), memory.isOwnPage(foreign), memory.isOwnPage(0)]).toEqual([true, false, false])
  })

  it('addChunk() hands out what memremap says of impossible sizes', () => {
    const memory = new DeviceMemory(sys, {
      kind: 'private',
      owner: OWNER,
      chunkPages: 0,
      chunksMax: 1,
      migrateToRam: () => 0,
    })
    expect(memory.addChunk()).toBe(-EINVAL)
  })
})

describe('DeviceMemory.removeChunks()', () => {
  it('evicts and takes away every chunk, after which memory can be added again', () => {
    const memory = make()
    const pfns = take(memory, 6)
    const evicted: Pfn[] = []
    const ret = memory.removeChunks((chunk) => {
      evicted.push(chunk.pagemap.pfn)
      freeAll(pfns.filter((pfn) => chunk.has(pfn)))
    })
    expect(ret).toBe(0)
    expect(evicted).toHaveLength(2)
    expect([memory.chunks, memory.npagesUsed, sys.pagemaps.filter((pagemap) => pagemap !== null)]).toEqual([[], 0, []])
    expect(memory.allocPage()).toBeGreaterThanOrEqual(mmu.nframes)
  })

  it('returns -EAGAIN while a page is held; the page does not come back into use', () => {
    const memory = make({ chunksMax: 1 })
    const [held] = take(memory, 1)
    getPage(sys, held)
    unlockPage(sys, held)
    const evict = (): void => {
      if (sys.pages.refcount[held] === 2) putPage(sys, held) // the mapping goes, the other reference stays
    }
    expect(memory.removeChunks(evict)).toBe(-EAGAIN)
    expect([memory.npagesUsed, memory.allocPage()]).toEqual([1, -1])
    putPage(sys, held)
    expect(memory.removeChunks(evict)).toBe(0)
    expect(memory.npagesUsed).toBe(0)
    expect(memory.allocPage()).toBeGreaterThanOrEqual(mmu.nframes)
  })
})
