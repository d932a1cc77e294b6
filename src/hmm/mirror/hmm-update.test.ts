// The contract of update() per event type (MR-20 to MR-29), and what the core does to the table around it.

import { describe, expect, it } from 'vitest'
import { type DirtyReport, forEachValid, MirrorDevice } from '../../../test/helpers/mirror-device.ts'
import { MemoryDevice } from '../../../test/helpers/mirror-memory-device.ts'
import { PAGE_SIZE, PMD_SIZE } from '../../base/addr.ts'
import { EBUSY, EINVAL, EIO, ENOMEM } from '../../base/errno.ts'
import { Machine } from '../../machine/machine.ts'
import {
  MMU_NOTIFY_CLEAR,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from '../../mm/mmu-notifier.ts'
import { PG_DIRTY } from '../../mm/page.ts'
import { MADV_DONTNEED, PROT_NONE, PROT_READ, PROT_WRITE } from '../../uapi/mman.ts'
import type { HmmMirror } from './hmm-device.ts'
import * as e from './hmm-event.ts'
import { hmmCollectDirty, hmmMirrorRangeDirty } from './hmm-mirror.ts'
import { hmmMirrorFault, hmmMirrorRangeCopied } from './hmm-mirror-fault.ts'
import {
  formatHmmPte,
  HMM_PTE_DIRTY,
  HMM_PTE_PRIVATE_SHIFT,
  hmmPteFlags,
  hmmPtePfn,
  hmmPteSetBit,
  hmmPteTestBit,
} from './hmm-pte.ts'
import { validateHmmMirror } from './validate.ts'

const RW = PROT_READ | PROT_WRITE
const NPAGES = 4

/** A process with pages that a device has written: the device says what it wrote when it is asked. */
function setUp(options: { report?: DirtyReport; written?: boolean } = {}) {
  const { written = true, report = 'exact' } = options
  const machine = new Machine()
  const process = machine.createProcess()
  const addr = process.mmap({ length: NPAGES * PAGE_SIZE })
  const gpu = new MirrorDevice(machine, { report })
  const mirror = gpu.mirror(process)
  for (let i = 0; i < NPAGES; i++) process.store32(addr + i * PAGE_SIZE, i)
  expect(gpu.fault(mirror, addr, NPAGES, 'write')).toBe(0)
  if (written) for (let i = 0; i < NPAGES; i++) gpu.store(mirror, addr + i * PAGE_SIZE, 100 + i)
  gpu.takeLog()
  const { pages } = machine.sys
  const pfns = Array.from({ length: NPAGES }, (_, i) => hmmPtePfn(mirror.pt.entry(addr + i * PAGE_SIZE)))
  for (const pfn of pfns) pages.flags[pfn] &= ~PG_DIRTY
  /** Which of the pages that were there at the start are marked dirty. */
  const dirty = () => pfns.map((pfn) => ((pages.flags[pfn] & PG_DIRTY) !== 0 ? 'D' : '-')).join('')
  return { machine, process, mm: process.mm, addr, gpu, mirror, pages, pfns, dirty }
}

/** Entries from `addr` on: `-`, or `r`, `w`, with `D`. */
function entries(mirror: HmmMirror, addr: number, npages = NPAGES): string {
  const text = (i: number) =>
    formatHmmPte(mirror.pt.entry(addr + i * PAGE_SIZE))
      .replace(/^(pfn|dev) \w+/, 'r')
      .replace(/^r W/, 'w')
  return Array.from({ length: npages }, (_, i) => text(i)).join(' ')
}

describe('what each event demands of the driver', () => {
  it('NONE is never delivered (MR-20)', () => {
    const { process, mm, addr, gpu, mirror } = setUp()
    process.mprotect(addr, PAGE_SIZE, PROT_READ)
    gpu.takeLog()
    process.mprotect(addr, PAGE_SIZE, RW) // nothing is taken away
    process.mlock(addr, PAGE_SIZE)
    expect(gpu.log).toEqual([])
    const event = new e.HmmEvent(addr, addr + PAGE_SIZE, e.HMM_NONE)
    expect(hmmMirrorFault(mirror, event)).toBe(-EINVAL)
    expect(hmmMirrorRangeCopied(mirror, event)).toBe(-EINVAL)
    expect(e.hmmEventInit(event, mm.taskSize, addr, addr + 1, e.HMM_NONE)).toBe(-EINVAL)
    expect(gpu.log).toEqual([])
  })

  it('FORK: no more writes, what was written is reported, entries stay readable (MR-21, MR-76)', () => {
    const { process, addr, gpu, mirror, dirty } = setUp()
    const child = process.fork()
    expect(gpu.takeLog().length).toBe(1)
    expect(entries(mirror, addr)).toBe('r r r r')
    expect(dirty()).toBe('DDDD')
    expect(gpu.tryStore(mirror, addr, 5)).toBe(false)
    expect(gpu.tryLoad(mirror, addr)).toBe(100)
    gpu.store(mirror, addr, 5) // faults, and gets a copy
    expect([process.load32(addr), child.load32(addr)]).toEqual([5, 100])
    validateHmmMirror(mirror)
  })

  it('ISDIRTY: what was written is reported, nothing is taken away (MR-22)', () => {
    const { mm, addr, gpu, mirror, dirty } = setUp()
    expect(hmmCollectDirty(mm, addr + PAGE_SIZE, addr + 3 * PAGE_SIZE)).toBe(0)
    expect(dirty()).toBe('-DD-')
    expect(entries(mirror, addr)).toBe('w w w w')
    expect(gpu.tryStore(mirror, addr + PAGE_SIZE, 5)).toBe(true)
  })

  it('MIGRATE: the range is unusable but will be back, tables may not be freed (MR-23)', () => {
    const { mm, addr, gpu, mirror, dirty } = setUp()
    const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, mm.vmaLookup(addr), mm, addr, addr + 2 * PAGE_SIZE)
    expect(mmuNotifierInvalidateRangeStart(range)).toBe(0)
    mmuNotifierInvalidateRangeEnd(range)
    expect(gpu.takeLog().map((line) => line.split(' ')[0])).toEqual(['MIGRATE'])
    expect(entries(mirror, addr)).toBe('- - w w')
    expect(dirty()).toBe('DD--')
    expect(gpu.tryLoad(mirror, addr)).toBe(undefined)
    expect(gpu.load(mirror, addr)).toBe(100)
    validateHmmMirror(mirror)
  })

  it('MUNMAP: the range is unusable and gone, tables may be freed (MR-24)', () => {
    const { process, addr, gpu, mirror, dirty } = setUp()
    process.munmap(addr, NPAGES * PAGE_SIZE)
    expect(gpu.takeLog().map((line) => line.split(' ')[0])).toEqual(['MUNMAP'])
    expect(entries(mirror, addr)).toBe('- - - -')
    expect(mirror.pt.ndirectories).toBe(0)
    expect(dirty()).toBe('----') // dirty, and then freed
    expect(gpu.tryLoad(mirror, addr)).toBe(undefined)
  })

  it('MUNMAP comes also for a range that MIGRATE emptied, because the driver kept tables (MR-23, MR-24)', () => {
    const { process, addr, gpu, mirror } = setUp()
    process.madvise(addr, NPAGES * PAGE_SIZE, MADV_DONTNEED)
    gpu.takeLog()
    expect(mirror.pt.nvalid).toBe(0)
    process.munmap(addr, NPAGES * PAGE_SIZE)
    expect(gpu.takeLog().map((line) => line.split(' ')[0])).toEqual(['MUNMAP'])
  })

  it('but not for blocks of 2 MiB that were unmapped as a whole before, or never mirrored', () => {
    const { process, gpu, mirror } = setUp()
    const base = process.mmap({ length: 5 * PMD_SIZE })
    const block = base + PMD_SIZE - (base % PMD_SIZE)
    gpu.store(mirror, block, 1)
    gpu.store(mirror, block + PMD_SIZE, 1)
    gpu.takeLog()
    process.munmap(block + 2 * PMD_SIZE, PMD_SIZE)
    expect(gpu.takeLog()).toEqual([])
    process.munmap(block, 2 * PMD_SIZE)
    expect(gpu.takeLog().length).toBe(1)
    process.mmap({ addr: block, length: 2 * PMD_SIZE, fixed: true })
    process.munmap(block, 2 * PMD_SIZE)
    expect(gpu.takeLog()).toEqual([])
  })

  it('DEVICE_RFAULT: the mirror table has the pages, the driver programs them for reading (MR-25)', () => {
    const { process, gpu, mirror } = setUp()
    const at = process.mmap({ length: 2 * PAGE_SIZE })
    process.store32(at, 7)
    expect(gpu.fault(mirror, at, 2, 'read')).toBe(0)
    expect(gpu.log).toEqual([`DEVICE_RFAULT 0x${at.toString(16)}-0x${(at + 2 * PAGE_SIZE).toString(16)}`])
    expect(entries(mirror, at, 2)).toBe('w r') // the second is the zero page
    expect(gpu.tryLoad(mirror, at)).toBe(7)
    expect(gpu.tryLoad(mirror, at + PAGE_SIZE)).toBe(0)
    validateHmmMirror(mirror)
  })

  it('DEVICE_WFAULT: the same for writing (MR-26)', () => {
    const { process, gpu, mirror } = setUp()
    const at = process.mmap({ length: 2 * PAGE_SIZE })
    expect(gpu.fault(mirror, at, 2, 'write')).toBe(0)
    expect(gpu.log).toEqual([`DEVICE_WFAULT 0x${at.toString(16)}-0x${(at + 2 * PAGE_SIZE).toString(16)}`])
    expect(entries(mirror, at, 2)).toBe('w w')
    expect(gpu.tryStore(mirror, at, 9)).toBe(true)
    expect(process.load32(at)).toBe(9)
  })

  it('WRITE_PROTECT: no more writes, what was written is reported (MR-27, MR-76)', () => {
    const { process, addr, gpu, mirror, dirty } = setUp()
    process.mprotect(addr, 2 * PAGE_SIZE, PROT_READ)
    expect(gpu.takeLog().map((line) => line.split(' ')[0])).toEqual(['WRITE_PROTECT'])
    expect(entries(mirror, addr)).toBe('r r w w')
    expect(dirty().slice(0, 2)).toBe('DD')
    expect(gpu.tryStore(mirror, addr, 5)).toBe(false)
    expect(gpu.fault(mirror, addr, 1, 'write')).toBe(-13) // EACCES
    expect(gpu.tryLoad(mirror, addr)).toBe(100)
  })

  it('COPY_TO_DEVICE and COPY_FROM_DEVICE: the driver programs the entries after the copy (MR-28)', () => {
    const machine = new Machine()
    const process = machine.createProcess()
    const gpu = new MemoryDevice(machine, 16, { filterOwnEvents: true })
    const mirror = gpu.mirror(process)
    const addr = process.mmap({ length: NPAGES * PAGE_SIZE })
    process.store32(addr, 7)
    const range = `0x${addr.toString(16)}-0x${(addr + NPAGES * PAGE_SIZE).toString(16)}`
    expect(gpu.moveToDevice(mirror, addr, NPAGES)).toBe(NPAGES)
    expect(gpu.log).toEqual([`COPY_TO_DEVICE ${range}`])
    expect(formatHmmPte(mirror.pt.entry(addr))).toMatch(/^dev 0x\w+ W$/)
    expect(gpu.tryLoad(mirror, addr)).toBe(7)
    expect(gpu.tryStore(mirror, addr, 8)).toBe(true)
    expect(gpu.moveToSystem(mirror, addr, NPAGES)).toBe(NPAGES)
    expect(gpu.log.slice(1)).toEqual([`COPY_FROM_DEVICE ${range}`])
    expect(formatHmmPte(mirror.pt.entry(addr))).toMatch(/^pfn 0x\w+ W$/)
    expect(gpu.tryLoad(mirror, addr)).toBe(8)
    expect(process.load32(addr)).toBe(8)
    validateHmmMirror(mirror)
  })

  it('the type tells more than the mask: only MUNMAP is for good (MR-29)', () => {
    const { process, addr, gpu } = setUp()
    const seen: [string, bigint][] = []
    gpu.onUpdate = (_mirror, event) => seen.push([e.HMM_ETYPES[event.etype], event.pteMask])
    process.madvise(addr, PAGE_SIZE, MADV_DONTNEED)
    process.mprotect(addr + PAGE_SIZE, PAGE_SIZE, PROT_NONE)
    process.munmap(addr, 3 * PAGE_SIZE)
    expect(seen).toEqual([
      ['MIGRATE', 0n],
      ['MUNMAP', 0n],
      ['MUNMAP', 0n],
    ])
  })
})

describe('around the call of update()', () => {
  it('the table still shows the old state, the mask is applied after the return: new = old & pteMask (MR-14, MR-75)', () => {
    const { process, addr, gpu, mirror } = setUp({ written: false })
    const before = Array.from({ length: NPAGES }, (_, i) => mirror.pt.entry(addr + i * PAGE_SIZE))
    const during: bigint[] = []
    let mask = 0n
    gpu.onUpdate = (m, event) => {
      mask = event.pteMask
      for (let i = 0; i < NPAGES; i++) during.push(m.pt.entry(addr + i * PAGE_SIZE))
    }
    process.mprotect(addr, NPAGES * PAGE_SIZE, PROT_READ)
    expect(during).toEqual(before)
    for (let i = 0; i < NPAGES; i++) expect(mirror.pt.entry(addr + i * PAGE_SIZE)).toBe(before[i] & mask)
  })

  it('it runs before the CPU page table changes', () => {
    const { process, addr, gpu, pfns, pages } = setUp()
    let refcount = 0
    let value = 0
    gpu.onUpdate = () => {
      refcount = pages.refcount[pfns[0]]
      value = process.load32(addr)
    }
    process.munmap(addr, PAGE_SIZE)
    expect([refcount, value]).toEqual([1, 100])
    expect(pages.refcount[pfns[0]]).toBe(0)
  })

  it("the driver's private bits live as long as the entry (MR-54)", () => {
    const { process, addr, gpu, mirror } = setUp({ written: false })
    const mark = 5 << HMM_PTE_PRIVATE_SHIFT
    gpu.onUpdate = (m, event) => forEachValid(m, event, (words, i) => hmmPteSetBit(words, i, mark))
    process.mprotect(addr, PAGE_SIZE, PROT_READ)
    gpu.onUpdate = null
    expect(entries(mirror, addr, 1)).toBe('r driver 5')
    process.mprotect(addr, PAGE_SIZE, RW)
    expect(gpu.fault(mirror, addr, 1, 'write')).toBe(0)
    expect(entries(mirror, addr, 1)).toBe('w driver 5')
    process.madvise(addr, PAGE_SIZE, MADV_DONTNEED)
    gpu.load(mirror, addr)
    expect(hmmPteFlags(mirror.pt.entry(addr)) & mark).toBe(0)
  })

  it('a driver is not called for a range that it does not mirror (MR-73)', () => {
    const { machine, process, addr, gpu } = setUp()
    const other = new MirrorDevice(machine)
    const second = other.mirror(process)
    other.store(second, addr + 3 * PAGE_SIZE, 1)
    other.takeLog()
    process.mprotect(addr, 2 * PAGE_SIZE, PROT_READ)
    process.madvise(addr, 2 * PAGE_SIZE, MADV_DONTNEED)
    expect(gpu.takeLog().length).toBe(2)
    expect(other.takeLog()).toEqual([])
  })

  it('a directory is pruned when its last entry goes (MR-62, MR-35)', () => {
    const { process, addr, mirror } = setUp()
    expect(mirror.pt.ndirectories).toBeGreaterThan(0)
    process.madvise(addr, (NPAGES - 1) * PAGE_SIZE, MADV_DONTNEED)
    expect(mirror.pt.nvalid).toBe(1)
    expect(mirror.pt.ndirectories).toBeGreaterThan(0)
    process.madvise(addr + (NPAGES - 1) * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED)
    expect(mirror.pt.ndirectories).toBe(0)
  })
})

describe('return codes (MR-61)', () => {
  it.each([-ENOMEM, -EIO])('%i is documented: no warning, the mirror is killed', (result) => {
    const { process, addr, gpu, mirror } = setUp()
    gpu.results.push(result)
    process.munmap(addr, PAGE_SIZE)
    expect(mirror.registered).toBe(false)
    expect(gpu.device.warnings).toEqual([])
  })

  it.each([[1], [-1], [-11], [-EBUSY], [2 ** 31], [Number.NaN], [undefined], [null], ['0'], [true]])(
    '%s is not: a warning, taken as -EIO, the mirror is killed',
    (result) => {
      const { process, addr, gpu, mirror } = setUp()
      gpu.results.push(result)
      process.munmap(addr, PAGE_SIZE)
      expect(mirror.registered).toBe(false)
      expect(gpu.device.warnings.map(({ kind, device, npages, start }) => ({ kind, device, npages, start }))).toEqual([
        { kind: 'update-result', device: 'gpu', npages: 1, start: addr },
      ])
      expect(gpu.device.warnings[0].message).toContain(`returned ${result} for MUNMAP 0x${addr.toString(16)}`)
    },
  )

  it('the pages of a killed mirror are not lost: what its table says is dirty reaches them', () => {
    const { process, addr, gpu, mirror, dirty } = setUp()
    hmmMirrorRangeDirty(mirror, addr, addr + 2 * PAGE_SIZE)
    gpu.results.push(-EIO, -EIO) // it does not even report when it dies
    process.mprotect(addr, PAGE_SIZE, PROT_READ)
    expect(dirty()).toBe('DD--')
    expect([0, 1, 2, 3].map((i) => process.load32(addr + i * PAGE_SIZE))).toEqual([100, 101, 102, 103])
  })
})

describe('dirty bits', () => {
  it('reach the page and are cleared in the entry (MR-62)', () => {
    const { process, addr, mirror, dirty } = setUp()
    hmmMirrorRangeDirty(mirror, addr, addr + PAGE_SIZE)
    process.mprotect(addr, 2 * PAGE_SIZE, PROT_READ)
    expect(dirty().slice(0, 2)).toBe('DD')
    expect(hmmPteFlags(mirror.pt.entry(addr)) & HMM_PTE_DIRTY).toBe(0)
  })

  it('a clean page stays clean', () => {
    const { process, addr, gpu, dirty } = setUp({ written: false })
    gpu.store(gpu.tables.keys().next().value as HmmMirror, addr + PAGE_SIZE, 1)
    process.mprotect(addr, NPAGES * PAGE_SIZE, PROT_READ)
    expect(dirty()).toBe('-D--')
  })

  it('a device that cannot tell reports every page that it could have written (MR-75)', () => {
    const { process, addr, dirty, gpu } = setUp({ report: 'unconditional', written: false })
    process.mprotect(addr, NPAGES * PAGE_SIZE, PROT_READ)
    expect(dirty()).toBe('DDDD')
    expect(gpu.device.warnings).toEqual([])
  })

  it('are seen by the driver while update() runs, also those set before (MR-64)', () => {
    const { process, addr, gpu, mirror } = setUp({ written: false })
    hmmMirrorRangeDirty(mirror, addr, addr + PAGE_SIZE)
    let seen = false
    gpu.onUpdate = (m, event) =>
      forEachValid(m, event, (words, i) => {
        seen = hmmPteTestBit(words, i, HMM_PTE_DIRTY)
      })
    process.munmap(addr, PAGE_SIZE)
    expect(seen).toBe(true)
  })
})
