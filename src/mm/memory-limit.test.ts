// A limit below the memory that there is, and pages whose contents are in swap before anybody has put them there.

import { beforeEach, describe, expect, it } from 'vitest'
import { AsyncSwap } from '../../test/helpers/async-swap.ts'
import { type Addr, addrToVpn, PAGE_SIZE } from '../base/addr.ts'
import { EIO } from '../base/errno.ts'
import { SimulatedMmu } from '../mmu/simulated/simulated-mmu.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { handleMmFault } from './fault.ts'
import { MM_SWAPENTS, Mm } from './mm.ts'
import { mmMmap, mmMunmap, mmput } from './mmap.ts'
import { adoptSwapped } from './swap-in.ts'
import { System, type SystemOptions } from './system.ts'
import { validateSystem } from './validate.ts'
import { FAULT_FLAG_WRITE, VM_FAULT_RETRY, VM_FAULT_SIGBUS } from './vm-fault.ts'
import type { Vma } from './vma.ts'

const NFRAMES = 64
const BASE: Addr = 8 * PAGE_SIZE

let mmu: SimulatedMmu
let swap: AsyncSwap
let sys: System
let mm: Mm
let vma: Vma

function start(options: SystemOptions, hasHomeSlots = false): void {
  mmu = new SimulatedMmu({ nframes: NFRAMES })
  swap = new AsyncSwap(mmu, hasHomeSlots)
  sys = new System(mmu, { swapPages: NFRAMES, swapDevice: swap, ...options })
  mm = new Mm(sys)
  const mapped = mmMmap(mm, BASE, 40 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
  expect(mapped).toBe(BASE)
  vma = mm.vmaLookup(BASE) as Vma
}

/** Touches a page. Returns VM_FAULT_* bits. */
function touch(page: number, flags = FAULT_FLAG_WRITE): number {
  const fault = handleMmFault(vma, BASE + page * PAGE_SIZE, flags)
  validate()
  return fault
}

function validate(): void {
  validateSystem(sys, { level: 'full', heldReferences: () => 0 })
}

function finish(): void {
  mmput(mm)
  swap.endAll()
  validate()
  expect([mmu.nfree, sys.swap?.nfree]).toEqual([NFRAMES - 1, NFRAMES])
}

describe('memoryPages', () => {
  it('is kept: a touch beyond it waits for a write, although there are frames', () => {
    start({ memoryPages: 11 })
    for (let page = 0; page < 10; page++) expect(touch(page)).toBe(0)
    expect([sys.nfree, mmu.nfree]).toEqual([0, NFRAMES - 11])
    expect([touch(10), sys.waitFor]).toEqual([VM_FAULT_RETRY, sys.swap?.progress])
    swap.endAll()
    expect([touch(10), sys.pagesOverLimit]).toEqual([0, 0])
    finish()
  })

  it('is exceeded, and that is counted, where no write can help', () => {
    start({ memoryPages: 4, swapPages: 0 })
    for (let page = 0; page < 5; page++) expect(touch(page)).toBe(0)
    expect([sys.nfree, sys.pagesOverLimit]).toEqual([-2, 2])
    mmput(mm)
    expect(sys.nfree).toBe(3)
  })

  it('is exceeded without a wait while writes fail, until one works', () => {
    start({ memoryPages: 4 })
    for (let page = 0; page < 3; page++) touch(page)
    expect(touch(3)).toBe(VM_FAULT_RETRY)
    while (swap.pending.length > 0) swap.end(0, -EIO)
    expect([touch(3), touch(4), sys.pagesOverLimit, sys.swap?.isFailing]).toEqual([0, 0, 2, true])
    sys.reclaim(2)
    swap.endAll()
    expect([sys.swap?.isFailing, sys.nfree]).toEqual([false, 0])
    expect(touch(5)).toBe(VM_FAULT_RETRY)
    swap.endAll()
    finish()
  })

  it('comes with a warning before it is reached', () => {
    let nlow = 0
    start({
      memoryPages: 11,
      lowPages: 4,
      onLow: () => {
        nlow++
      },
    })
    for (let page = 0; page < 6; page++) touch(page)
    expect([sys.nfree, nlow]).toEqual([4, 0])
    touch(6)
    touch(7)
    expect([sys.nfree, nlow]).toEqual([2, 2])
    finish()
  })
})

describe('adoptSwapped()', () => {
  const end = BASE + 4 * PAGE_SIZE

  beforeEach(() => {
    start({}, true)
    for (let page = 0; page < 4; page++) {
      swap.contents.set(addrToVpn(BASE) + page + 1, new Uint8Array(PAGE_SIZE).fill(page + 1))
    }
    adoptSwapped(vma, BASE, end)
    validate()
  })

  /** First byte of a page. */
  function load(page: number): number {
    while (touch(page, 0) === VM_FAULT_RETRY) swap.endAll()
    const table = mm.pageTable.findPte(BASE)
    const pfn = table?.words[2 * (addrToVpn(BASE) + page)] ?? -1
    return mmu.bytes(pfn)[17]
  }

  it('makes pages that are read when they are touched, and dropped without being written', () => {
    expect(mm.rss[MM_SWAPENTS]).toBe(4)
    expect([load(2), load(0)]).toEqual([3, 1])
    for (let i = 0; i < 8; i++) sys.reclaim(8)
    expect([swap.calls.some((call) => call.startsWith('write')), mm.rss[MM_SWAPENTS]]).toEqual([false, 4])
    expect([load(2), load(3)]).toEqual([3, 4])
    finish()
  })

  it('leaves nothing behind, read or not', () => {
    load(1)
    expect(mmMunmap(mm, BASE, 2 * PAGE_SIZE)).toBe(0)
    swap.endAll()
    finish()
    expect(swap.contents.size).toBe(0)
  })

  it('makes pages that can be lost', () => {
    expect(touch(0, 0)).toBe(VM_FAULT_RETRY)
    while (swap.pending.length > 0) swap.end(0, -EIO)
    expect(touch(0, 0)).toBe(VM_FAULT_SIGBUS)
    finish()
  })
})
