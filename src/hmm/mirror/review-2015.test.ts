// The remarks of the 2015 review of the patch "add per mirror page table", each settled here by a test.

import { describe, expect, it } from 'vitest'
import { MirrorDevice, TestDma } from '../../../test/helpers/mirror-device.ts'
import { PAGE_SIZE, TASK_SIZE } from '../../base/addr.ts'
import { EACCES } from '../../base/errno.ts'
import { Machine } from '../../machine/machine.ts'
import {
  MMU_NOTIFY_CLEAR,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from '../../mm/mmu-notifier.ts'
import { PG_DIRTY } from '../../mm/page.ts'
import { MADV_DONTNEED, PROT_READ, PROT_WRITE } from '../../uapi/mman.ts'
import type { HmmMirror } from './hmm-device.ts'
import * as e from './hmm-event.ts'
import { hmmCollectDirty, hmmMirrorUnregister } from './hmm-mirror.ts'
import { HmmPtIter } from './hmm-pt-iter.ts'
import { hmmPtCount } from './hmm-pt-range.ts'
import { formatHmmPte, HMM_PTE_DIRTY, HMM_PTE_WRITE, hmmPteFlags, hmmPtePfn, hmmPteSetBit } from './hmm-pte.ts'
import { validateHmmMirror } from './validate.ts'

const RW = PROT_READ | PROT_WRITE

function setUp(report: 'exact' | 'late' = 'exact') {
  const machine = new Machine()
  const process = machine.createProcess()
  const addr = process.mmap({ length: 4 * PAGE_SIZE })
  const gpu = new MirrorDevice(machine, { report })
  const mirror = gpu.mirror(process)
  const { pages } = machine.sys
  const isDirty = (pfn: number) => (pages.flags[pfn] & PG_DIRTY) !== 0
  const clean = (pfn: number) => {
    pages.flags[pfn] &= ~PG_DIRTY
  }
  return { machine, process, mm: process.mm, addr, gpu, mirror, isDirty, clean }
}

function setDirtyAt(mirror: HmmMirror, addr: number): void {
  const iter = new HmmPtIter(mirror.pt)
  const i = iter.lookup(addr, addr + PAGE_SIZE)
  hmmPteSetBit(iter.words, i, HMM_PTE_DIRTY)
  iter.fini()
}

describe('"break down exactly what is required from the driver for each event type" (MR-74)', () => {
  /** Brings about each event over the first page, which the device has written. */
  const CAUSES: Record<string, (s: ReturnType<typeof setUp>) => void> = {
    FORK: ({ process }) => process.fork(),
    ISDIRTY: ({ mm, addr }) => hmmCollectDirty(mm, addr, addr + 1),
    MIGRATE: ({ process, addr }) => process.madvise(addr, PAGE_SIZE, MADV_DONTNEED),
    MUNMAP: ({ process, addr }) => process.munmap(addr, PAGE_SIZE),
    DEVICE_RFAULT: ({ gpu, mirror, addr }) => gpu.fault(mirror, addr, 1, 'read'),
    DEVICE_WFAULT: ({ gpu, mirror, addr }) => gpu.fault(mirror, addr, 1, 'write'),
    WRITE_PROTECT: ({ process, addr }) => process.mprotect(addr, PAGE_SIZE, PROT_READ),
  }

  it.each([
    // etype, the device may still read, may still write, the core learns that the page is dirty
    ['FORK', true, false, true],
    ['ISDIRTY', true, true, true],
    ['MIGRATE', false, false, true],
    ['MUNMAP', false, false, true],
    ['DEVICE_RFAULT', true, true, false],
    ['DEVICE_WFAULT', true, true, false],
    ['WRITE_PROTECT', true, false, true],
  ])('%s: reads %s, writes %s, reports what was written %s', (name, reads, writes, reports) => {
    const s = setUp()
    const { gpu, mirror, addr } = s
    gpu.store(mirror, addr, 1)
    let reported = false
    let etype = ''
    let mask = 0n
    // Runs before the device does its part; what it sets is seen when the core applies the mask.
    gpu.onUpdate = (_mirror, event) => {
      etype = e.HMM_ETYPES[event.etype]
      mask = event.pteMask
    }
    const { pages } = s.machine.sys
    const setDirty = pages.setDirty.bind(pages)
    pages.setDirty = (pfn) => {
      reported = true
      setDirty(pfn)
    }
    CAUSES[name](s)
    expect(etype).toBe(name)
    expect(gpu.tryLoad(mirror, addr) !== undefined).toBe(reads)
    expect(gpu.tryStore(mirror, addr, 2)).toBe(writes)
    expect(reported).toBe(reports)
    // What the mask says, the device has done.
    expect((mask & 4n) !== 0n).toBe(reads)
    expect((mask & BigInt(HMM_PTE_WRITE)) !== 0n).toBe(writes)
  })

  it('"what extra information is provided by the type": MUNMAP and MIGRATE have one mask, only MUNMAP frees tables', () => {
    expect(e.hmmEtypeMask(e.HMM_MUNMAP)).toBe(e.hmmEtypeMask(e.HMM_MIGRATE))
    const { process, addr, gpu, mirror } = setUp()
    gpu.store(mirror, addr, 1)
    const etypes: string[] = []
    gpu.onUpdate = (_mirror, event) => etypes.push(e.HMM_ETYPES[event.etype])
    process.madvise(addr, 4 * PAGE_SIZE, MADV_DONTNEED)
    process.munmap(addr, 4 * PAGE_SIZE)
    expect(etypes).toEqual(['MIGRATE', 'MUNMAP'])
  })
})

describe('"Why does each mirror have its own separate set of page tables" (MR-73)', () => {
  it('two devices with different permissions on one range', () => {
    const { machine, process, addr, gpu: a, mirror: inA } = setUp()
    const b = new MirrorDevice(machine)
    const inB = b.mirror(process)
    process.store32(addr, 1)
    process.mprotect(addr, PAGE_SIZE, PROT_READ)
    expect(b.load(inB, addr)).toBe(1)
    process.mprotect(addr, PAGE_SIZE, RW)
    a.store(inA, addr, 2) // the page becomes writable without an event: only A asked for it
    expect(formatHmmPte(inA.pt.entry(addr))).toMatch(/^pfn 0x\w+ W$/)
    expect(formatHmmPte(inB.pt.entry(addr))).toMatch(/^pfn 0x\w+$/)
    expect(hmmPtePfn(inA.pt.entry(addr))).toBe(hmmPtePfn(inB.pt.entry(addr)))
    expect([b.tryStore(inB, addr, 3), b.tryLoad(inB, addr)]).toEqual([false, 2])
    validateHmmMirror(inA)
    validateHmmMirror(inB)
  })

  it('a fault of device A does not create entries in the table of B', () => {
    const { machine, process, addr, gpu: a, mirror: inA } = setUp()
    const inB = new MirrorDevice(machine).mirror(process)
    a.store(inA, addr, 1)
    expect([inA.pt.nvalid, inB.pt.nvalid, inB.pt.ndirectories]).toEqual([1, 0, 0])
  })

  it('WRITE_PROTECT changes both', () => {
    const { machine, process, addr, gpu: a, mirror: inA } = setUp()
    const b = new MirrorDevice(machine)
    const inB = b.mirror(process)
    a.store(inA, addr, 1)
    b.store(inB, addr, 2)
    process.mprotect(addr, PAGE_SIZE, PROT_READ)
    for (const mirror of [inA, inB]) expect(hmmPteFlags(mirror.pt.entry(addr)) & HMM_PTE_WRITE).toBe(0)
    expect([a.tryStore(inA, addr, 3), b.tryStore(inB, addr, 3)]).toEqual([false, false])
  })

  it('bus addresses of one page differ between devices', () => {
    const { machine, process, addr } = setUp()
    const nics = [0x1_0000_0000, 0x2_0000_0000].map((base) => new MirrorDevice(machine, { dev: new TestDma(base) }))
    const mirrors = nics.map((nic) => nic.mirror(process))
    for (const [i, nic] of nics.entries()) nic.store(mirrors[i], addr, i)
    expect(mirrors.map((mirror) => formatHmmPte(mirror.pt.entry(addr)))).toEqual([
      'dma 0x100000000 W',
      'dma 0x200000000 W',
    ])
    expect(process.load32(addr)).toBe(1)
  })

  it('one device has a table for each address space', () => {
    const { process, addr, gpu, mirror } = setUp()
    gpu.store(mirror, addr, 1)
    const child = process.fork()
    const second = gpu.mirror(child)
    expect(gpu.load(second, addr)).toBe(1)
    gpu.store(second, addr, 2)
    expect([process.load32(addr), child.load32(addr), gpu.load(mirror, addr)]).toEqual([1, 2, 1])
    validateHmmMirror(mirror)
    validateHmmMirror(second)
  })
})

describe('"start is rounded down to a page boundary. Should end be rounded also?" (MR-70)', () => {
  it('yes, up: 0x1800 to 0x2801 is 0x1000 to 0x3000', () => {
    const event = new e.HmmEvent()
    expect(e.hmmEventInit(event, TASK_SIZE, 0x1800, 0x2801, e.HMM_WRITE_PROTECT)).toBe(0)
    expect([event.start, event.end]).toEqual([0x1000, 0x3000])
  })

  it('so that a page of which the event names one byte is taken away', () => {
    const { mm, addr, gpu, mirror } = setUp()
    for (let i = 0; i < 4; i++) gpu.store(mirror, addr + i * PAGE_SIZE, i)
    const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, mm.vmaLookup(addr), mm, addr + 0x800, addr + 0x1801)
    mmuNotifierInvalidateRangeStart(range)
    mmuNotifierInvalidateRangeEnd(range)
    expect([0, 1, 2, 3].map((i) => gpu.tryLoad(mirror, addr + i * PAGE_SIZE))).toEqual([undefined, undefined, 2, 3])
    expect(hmmPtCount(mirror.pt, addr, addr + 4 * PAGE_SIZE)).toBe(2)
  })
})

describe('"If the pte is dirty, why bother checking that it\'s writable?" (MR-71)', () => {
  it('no check: write by the device, WRITE_PROTECT whose update comes before dirty is reported, MIGRATE: not lost', () => {
    const { process, addr, gpu, mirror, mm, isDirty, clean } = setUp('late')
    gpu.store(mirror, addr, 7)
    const pfn = hmmPtePfn(mirror.pt.entry(addr))
    clean(pfn)

    process.mprotect(addr, PAGE_SIZE, PROT_READ)
    expect(gpu.log.at(-1)).toMatch(/^WRITE_PROTECT /)
    expect(isDirty(pfn)).toBe(false) // the device has not said so yet
    expect(hmmPteFlags(mirror.pt.entry(addr)) & HMM_PTE_WRITE).toBe(0)

    const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, mm.vmaLookup(addr), mm, addr, addr + PAGE_SIZE)
    mmuNotifierInvalidateRangeStart(range)
    mmuNotifierInvalidateRangeEnd(range)
    expect(gpu.log.at(-1)).toMatch(/^MIGRATE /)
    expect(isDirty(pfn)).toBe(true)
    expect(gpu.device.warnings).toEqual([]) // the page was writable once: a late report is no bug
  })

  it('the page was dirtied in the past and made read-only later: by FORK too', () => {
    const { process, addr, gpu, mirror, isDirty, clean } = setUp('late')
    gpu.store(mirror, addr, 7)
    const pfn = hmmPtePfn(mirror.pt.entry(addr))
    clean(pfn)
    process.fork()
    expect(isDirty(pfn)).toBe(false)
    hmmMirrorUnregister(mirror)
    expect(isDirty(pfn)).toBe(true)
    expect(gpu.device.warnings).toEqual([])
  })
})

describe('"a driver setting the dirty bit without the write bit being set? ... that\'s a driver bug" (MR-72)', () => {
  it('is reported, and the page counts as dirty all the same', () => {
    const { process, addr, gpu, mirror, mm, isDirty, clean } = setUp()
    for (let i = 0; i < 3; i++) process.store32(addr + i * PAGE_SIZE, i)
    process.mprotect(addr, 4 * PAGE_SIZE, PROT_READ)
    for (let i = 0; i < 3; i++) gpu.load(mirror, addr + i * PAGE_SIZE)
    const pfns = [0, 1, 2].map((i) => hmmPtePfn(mirror.pt.entry(addr + i * PAGE_SIZE)))
    pfns.forEach(clean)
    setDirtyAt(mirror, addr)
    setDirtyAt(mirror, addr + 2 * PAGE_SIZE)

    hmmCollectDirty(mm, addr, addr + 4 * PAGE_SIZE)
    expect(pfns.map(isDirty)).toEqual([true, false, true])
    expect(gpu.device.warnings).toEqual([
      {
        kind: 'dirty-without-write',
        device: 'gpu',
        start: addr,
        end: addr + 3 * PAGE_SIZE,
        npages: 2,
        message: `gpu set DIRTY on 2 pages that it had no permission to write, from 0x${addr.toString(16)}: counted as dirty`,
      },
    ])
    expect(mirror.registered).toBe(true)
  })

  it('is not forgiven because another page, or the same page in an earlier life, was writable', () => {
    const { process, addr, gpu, mirror, mm } = setUp()
    gpu.store(mirror, addr, 1)
    process.mprotect(addr, PAGE_SIZE, PROT_READ)
    process.madvise(addr, PAGE_SIZE, MADV_DONTNEED)
    gpu.load(mirror, addr)
    setDirtyAt(mirror, addr)
    hmmCollectDirty(mm, addr, addr + 1)
    expect(gpu.device.warnings.map(({ kind }) => kind)).toEqual(['dirty-without-write'])
  })

  it('a fault for writing makes it right again', () => {
    const { process, addr, gpu, mirror, mm } = setUp()
    process.store32(addr, 1)
    process.mprotect(addr, PAGE_SIZE, PROT_READ)
    gpu.load(mirror, addr)
    process.mprotect(addr, PAGE_SIZE, RW)
    expect(gpu.fault(mirror, addr, 1, 'write')).toBe(0)
    setDirtyAt(mirror, addr)
    hmmCollectDirty(mm, addr, addr + 1)
    expect(gpu.device.warnings).toEqual([])
  })
})

describe('"when write protection is turned on device driver must make sure the hardware will no longer be able to write" (MR-76)', () => {
  it('a write after WRITE_PROTECT or FORK faults, and the fault is refused or copies', () => {
    const { process, addr, gpu, mirror } = setUp()
    gpu.store(mirror, addr, 1)
    const child = process.fork()
    expect(gpu.tryStore(mirror, addr, 2)).toBe(false)
    gpu.store(mirror, addr, 2)
    expect([process.load32(addr), child.load32(addr)]).toEqual([2, 1])
    process.mprotect(addr, PAGE_SIZE, PROT_READ)
    expect(gpu.tryStore(mirror, addr, 3)).toBe(false)
    expect(gpu.fault(mirror, addr, 1, 'write')).toBe(-EACCES)
    expect(process.load32(addr)).toBe(2)
  })
})
