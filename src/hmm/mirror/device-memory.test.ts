// Mirrors of devices with private memory that run their own migrations: entries with VALID_DEV, the owner filter and what a
// driver owes in return (MN-51, MN-52, MR-50, MR-90 to MR-93).

import { describe, expect, it } from 'vitest'
import { MirrorDevice } from '../../../test/helpers/mirror-device.ts'
import { MemoryDevice } from '../../../test/helpers/mirror-memory-device.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import { Machine } from '../../machine/machine.ts'
import { PG_DIRTY } from '../../mm/page.ts'
import { PROT_READ } from '../../uapi/mman.ts'
import { HMM_PFN_VALID, makeHmmPfn } from '../hmm-pfn.ts'
import type { HmmMirror } from './hmm-device.ts'
import { HMM_COPY_FROM_DEVICE, HmmEvent } from './hmm-event.ts'
import { hmmCollectDirty, hmmMirrorRangeDirty, hmmMirrorRangeEnter, hmmMirrorUnregister } from './hmm-mirror.ts'
import { hmmMirrorRangeCopied } from './hmm-mirror-fault.ts'
import { formatHmmPte, hmmPteDevPfn, hmmPtePfn } from './hmm-pte.ts'
import { validateHmmMirror } from './validate.ts'

const NPAGES = 4

function setUp(options: { filterOwnEvents?: boolean; npages?: number } = {}) {
  const { filterOwnEvents = true, npages = 16 } = options
  const machine = new Machine()
  const process = machine.createProcess()
  const addr = process.mmap({ length: NPAGES * PAGE_SIZE })
  const gpu = new MemoryDevice(machine, npages, { filterOwnEvents })
  const mirror = gpu.mirror(process)
  for (let i = 0; i < NPAGES; i++) process.store32(addr + i * PAGE_SIZE, i)
  return { machine, process, mm: process.mm, addr, gpu, mirror, pages: machine.sys.pages }
}

function entries(mirror: HmmMirror, addr: number): string {
  const text = (i: number) => formatHmmPte(mirror.pt.entry(addr + i * PAGE_SIZE)).replace(/ 0x\w+/, '')
  return Array.from({ length: NPAGES }, (_, i) => text(i)).join(', ')
}

describe.each([true, false])('a device with private memory, filterOwnEvents %s', (filterOwnEvents) => {
  it('has VALID_DEV entries for its own pages, VALID_PFN ones for system pages', () => {
    const { addr, gpu, mirror, process } = setUp({ filterOwnEvents, npages: 2 })
    expect(gpu.moveToDevice(mirror, addr, NPAGES)).toBe(2)
    expect(entries(mirror, addr)).toBe('dev W, dev W, pfn W, pfn W')
    const dev = hmmPteDevPfn(mirror.pt.entry(addr))
    expect(dev >= gpu.pagemap.pfn && dev < gpu.pagemap.pfn + 2).toBe(true)
    expect([0, 1, 2, 3].map((i) => gpu.tryLoad(mirror, addr + i * PAGE_SIZE))).toEqual([0, 1, 2, 3])
    for (let i = 0; i < NPAGES; i++) expect(gpu.tryStore(mirror, addr + i * PAGE_SIZE, 10 + i)).toBe(true)
    validateHmmMirror(mirror)
    expect([0, 1, 2, 3].map((i) => process.load32(addr + i * PAGE_SIZE))).toEqual([10, 11, 12, 13])
    expect(gpu.npagesUsed).toBe(0)
    validateHmmMirror(mirror)
    expect(gpu.device.warnings).toEqual([])
  })

  it('a page that the CPU touches comes back with what the device wrote', () => {
    const { addr, gpu, mirror, process } = setUp({ filterOwnEvents })
    gpu.moveToDevice(mirror, addr, NPAGES)
    gpu.store(mirror, addr + PAGE_SIZE, 77)
    expect(process.load32(addr + PAGE_SIZE)).toBe(77)
    expect(gpu.npagesUsed).toBe(NPAGES - 1)
    expect(gpu.tryLoad(mirror, addr + PAGE_SIZE)).toBe(undefined)
    expect(gpu.load(mirror, addr + PAGE_SIZE)).toBe(77)
    expect(entries(mirror, addr)).toBe('dev W, pfn W, dev W, dev W')
    validateHmmMirror(mirror)
  })

  it('dirty bits go to the page that is left, before it is copied, and so to its destination', () => {
    const { addr, gpu, mirror, pages } = setUp({ filterOwnEvents })
    expect(gpu.fault(mirror, addr, NPAGES, 'write')).toBe(0)
    hmmMirrorRangeDirty(mirror, addr, addr + 2 * PAGE_SIZE)
    const pfns = [0, 1, 2, 3].map((i) => hmmPtePfn(mirror.pt.entry(addr + i * PAGE_SIZE)))
    for (const pfn of pfns) pages.flags[pfn] &= ~PG_DIRTY
    const marked: number[] = []
    const setDirty = pages.setDirty.bind(pages)
    pages.setDirty = (pfn) => {
      marked.push(pfn)
      setDirty(pfn)
    }
    gpu.moveToDevice(mirror, addr, NPAGES)
    expect(marked.slice(0, 2)).toEqual(pfns.slice(0, 2))
    validateHmmMirror(mirror)
  })

  it('a device page that the device wrote is dirty itself', () => {
    const { addr, gpu, mirror, mm, pages } = setUp({ filterOwnEvents })
    gpu.moveToDevice(mirror, addr, NPAGES)
    const dev = hmmPteDevPfn(mirror.pt.entry(addr))
    pages.flags[dev] &= ~PG_DIRTY
    gpu.store(mirror, addr, 5)
    hmmCollectDirty(mm, addr, addr + NPAGES * PAGE_SIZE)
    expect(pages.flags[dev] & PG_DIRTY).not.toBe(0)
  })

  it('fork shares device pages read-only; a device write brings the page back and copies it (MR-92)', () => {
    const { addr, gpu, mirror, process } = setUp({ filterOwnEvents })
    gpu.moveToDevice(mirror, addr, NPAGES)
    const child = process.fork()
    expect(entries(mirror, addr)).toBe('dev, dev, dev, dev')
    expect(gpu.npagesUsed).toBe(NPAGES)
    expect(gpu.tryStore(mirror, addr, 9)).toBe(false)
    gpu.store(mirror, addr, 9)
    expect(entries(mirror, addr)).toBe('pfn W, dev, dev, dev')
    validateHmmMirror(mirror)
    expect([process.load32(addr), child.load32(addr)]).toEqual([9, 0])
    child.exit()
    gpu.store(mirror, addr + PAGE_SIZE, 8)
    expect(process.load32(addr + PAGE_SIZE)).toBe(8)
    validateHmmMirror(mirror)
  })

  it('munmap and exit give the device its frames back', () => {
    const { addr, gpu, mirror, process } = setUp({ filterOwnEvents })
    gpu.moveToDevice(mirror, addr, NPAGES)
    process.munmap(addr, PAGE_SIZE)
    expect(gpu.npagesUsed).toBe(NPAGES - 1)
    expect(entries(mirror, addr)).toBe('-, dev W, dev W, dev W')
    process.exit()
    expect(gpu.npagesUsed).toBe(0)
    expect(mirror.pt.nvalid).toBe(0)
    expect(gpu.device.warnings).toEqual([])
  })

  it('unregistering leaves the data where it is: the CPU fetches it', () => {
    const { addr, gpu, mirror, process } = setUp({ filterOwnEvents })
    gpu.moveToDevice(mirror, addr, NPAGES)
    gpu.store(mirror, addr, 6)
    hmmMirrorUnregister(mirror)
    expect(gpu.npagesUsed).toBe(NPAGES)
    expect(process.load32(addr)).toBe(6)
  })

  it('another device does not see private memory: its fault brings the page back (MR-73)', () => {
    const { addr, gpu, mirror, process, machine } = setUp({ filterOwnEvents })
    const other = new MemoryDevice(machine, 16, { filterOwnEvents })
    const second = other.mirror(process)
    gpu.moveToDevice(mirror, addr, NPAGES)
    gpu.store(mirror, addr, 5)
    expect(other.load(second, addr)).toBe(5)
    expect(entries(second, addr)).toBe('pfn W, -, -, -')
    expect(entries(mirror, addr)).toBe('-, dev W, dev W, dev W')
    other.moveToDevice(second, addr, NPAGES) // takes only system pages
    expect(entries(second, addr)).toBe('dev W, -, -, -')
    expect(gpu.load(mirror, addr)).toBe(5)
    expect(entries(second, addr)).toBe('-, -, -, -')
    validateHmmMirror(mirror)
    validateHmmMirror(second)
  })

  it('a write-protected range stays write-protected in device memory', () => {
    const { addr, gpu, mirror, process } = setUp({ filterOwnEvents })
    process.mprotect(addr, NPAGES * PAGE_SIZE, PROT_READ)
    gpu.moveToDevice(mirror, addr, NPAGES)
    expect(entries(mirror, addr)).toBe('dev, dev, dev, dev')
    expect(gpu.tryStore(mirror, addr, 1)).toBe(false)
    process.mprotect(addr, NPAGES * PAGE_SIZE, 3)
    gpu.store(mirror, addr, 1)
    expect(process.load32(addr)).toBe(1)
    validateHmmMirror(mirror)
  })
})

describe('the owner filter', () => {
  it('without it the MIGRATE event of the own migration arrives', () => {
    for (const filterOwnEvents of [true, false]) {
      const { addr, gpu, mirror } = setUp({ filterOwnEvents })
      gpu.load(mirror, addr)
      gpu.takeLog()
      gpu.moveToDevice(mirror, addr, NPAGES)
      const kinds = gpu.takeLog().map((line) => line.split(' ')[0])
      expect(kinds).toEqual(filterOwnEvents ? ['COPY_TO_DEVICE'] : ['MIGRATE', 'COPY_TO_DEVICE'])
    }
  })

  it('a driver that forgets to discard what it moves is found: its entries are replaced, with a warning (MN-52)', () => {
    const { addr, gpu, mirror } = setUp({ filterOwnEvents: true })
    expect(gpu.fault(mirror, addr, 2, 'write')).toBe(0)
    hmmMirrorRangeDirty(mirror, addr, addr + PAGE_SIZE)
    gpu.forgetsToDiscard = true
    gpu.moveToDevice(mirror, addr, NPAGES)
    expect(gpu.device.warnings.map(({ kind, start, end, npages }) => ({ kind, start, end, npages }))).toEqual([
      { kind: 'stale-entry', start: addr, end: addr + 2 * PAGE_SIZE, npages: 2 },
    ])
    expect(entries(mirror, addr)).toBe('dev W, dev W, dev W, dev W')
    validateHmmMirror(mirror)
  })

  it('the late dirty report of a page that is gone marks nobody: a free frame has no flags', () => {
    const { addr, gpu, mirror, process, pages } = setUp({ filterOwnEvents: true })
    gpu.moveToDevice(mirror, addr, NPAGES)
    const dev = hmmPteDevPfn(mirror.pt.entry(addr))
    gpu.forgetsToDiscard = true
    expect(process.load32(addr)).toBe(0) // the page comes back, the mirror keeps its entry
    expect(hmmPteDevPfn(mirror.pt.entry(addr))).toBe(dev)
    hmmMirrorRangeDirty(mirror, addr, addr + PAGE_SIZE)
    process.munmap(addr, PAGE_SIZE)
    expect([pages.refcount[dev], pages.flags[dev]]).toEqual([0, 0])
    expect(entries(mirror, addr)).toBe('-, dev W, dev W, dev W')
  })

  it('an entry where the CPU has nothing is dropped by the next copy, with a warning', () => {
    const { addr, gpu, mirror, process } = setUp({ filterOwnEvents: true })
    gpu.moveToDevice(mirror, addr, NPAGES)
    const hole = process.mmap({ length: PAGE_SIZE })
    const pfns = BigUint64Array.of(makeHmmPfn(gpu.pagemap.pfn, HMM_PFN_VALID))
    expect(hmmMirrorRangeEnter(mirror, hole, pfns)).toBe(0)
    expect(hmmMirrorRangeCopied(mirror, new HmmEvent(hole, hole + 1, HMM_COPY_FROM_DEVICE))).toBe(0)
    expect(mirror.pt.entry(hole)).toBe(0n)
    expect(gpu.device.warnings.map(({ kind, start }) => ({ kind, start }))).toEqual([
      { kind: 'stale-entry', start: hole },
    ])
    validateHmmMirror(mirror)
  })
})

it('a device that mirrors without memory of its own sees no owner', () => {
  const { addr, gpu, mirror, process, machine } = setUp()
  const plain = new MirrorDevice(machine)
  const second = plain.mirror(process)
  gpu.moveToDevice(mirror, addr, NPAGES)
  expect(plain.load(second, addr)).toBe(0)
  expect(entries(second, addr)).toBe('pfn W, -, -, -')
})
