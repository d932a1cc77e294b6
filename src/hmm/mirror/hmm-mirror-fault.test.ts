import { describe, expect, it } from 'vitest'
import { MirrorDevice } from '../../../test/helpers/mirror-device.ts'
import { MemoryDevice } from '../../../test/helpers/mirror-memory-device.ts'
import { PAGE_SIZE, PMD_SIZE, TASK_SIZE } from '../../base/addr.ts'
import { EACCES, EBUSY, EFAULT, EINVAL, EIO, ENODEV, ENOMEM } from '../../base/errno.ts'
import { Machine, type MachineOptions } from '../../machine/machine.ts'
import { mmMadvise } from '../../mm/madvise.ts'
import {
  MMU_NOTIFY_CLEAR,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from '../../mm/mmu-notifier.ts'
import { unlockPage } from '../../mm/page-alloc.ts'
import { VM_HUGETLB, VM_IO, VM_MIXEDMAP, VM_PFNMAP } from '../../mm/vm-flags.ts'
import type { Vma } from '../../mm/vma.ts'
import { MADV_DONTNEED, PROT_NONE, PROT_READ, PROT_WRITE } from '../../uapi/mman.ts'
import type { HmmMirror } from './hmm-device.ts'
import { HMM_COPY_TO_DEVICE, HMM_DEVICE_RFAULT, HMM_DEVICE_WFAULT, HMM_MIGRATE, HmmEvent } from './hmm-event.ts'
import { hmmMirrorRangeDirty, hmmMirrorUnregister } from './hmm-mirror.ts'
import { hmmMirrorFault, hmmMirrorRangeCopied } from './hmm-mirror-fault.ts'
import { hmmPtCount } from './hmm-pt-range.ts'
import { formatHmmPte, HMM_PTE_WRITE, hmmPtePfn } from './hmm-pte.ts'
import { validateHmmMirror } from './validate.ts'

const RW = PROT_READ | PROT_WRITE

function setUp(npages = 4, options: MachineOptions = {}) {
  const machine = new Machine(options)
  const process = machine.createProcess()
  const addr = process.mmap({ length: npages * PAGE_SIZE })
  const gpu = new MirrorDevice(machine)
  const mirror = gpu.mirror(process)
  const { mm } = process
  return { machine, process, addr, gpu, mirror, mm, sys: machine.sys, vma: mm.vmaLookup(addr) as Vma }
}

function entries(mirror: HmmMirror, addr: number, npages = 4): string {
  const text = (i: number) => formatHmmPte(mirror.pt.entry(addr + i * PAGE_SIZE))
  return Array.from({ length: npages }, (_, i) =>
    text(i)
      .replace(/^(pfn|dev) \w+/, 'r')
      .replace(/^r W/, 'w'),
  ).join(' ')
}

describe('arguments (MR-80)', () => {
  it('-ENODEV when the mirror is dead, whatever else is wrong', () => {
    const { mirror } = setUp()
    hmmMirrorUnregister(mirror)
    expect(hmmMirrorFault(mirror, new HmmEvent(TASK_SIZE, 0, HMM_MIGRATE))).toBe(-ENODEV)
  })

  it.each([
    ['start at vm_end', TASK_SIZE, TASK_SIZE + PAGE_SIZE, HMM_DEVICE_RFAULT],
    ['an empty range', 0x1000, 0x1000, HMM_DEVICE_RFAULT],
    ['a negative start', -1, 0x1000, HMM_DEVICE_WFAULT],
    ['a start that is no number', Number.NaN, 0x1000, HMM_DEVICE_WFAULT],
    ['the wrong type', 0x1000, 0x2000, HMM_MIGRATE],
    ['a copy event', 0x1000, 0x2000, HMM_COPY_TO_DEVICE],
  ])('-EINVAL for %s', (_name, start, end, etype) => {
    const { gpu, mirror } = setUp()
    expect(hmmMirrorFault(mirror, new HmmEvent(start, end, etype))).toBe(-EINVAL)
    expect(gpu.log).toEqual([])
    expect(mirror.hmm.faults).toEqual([])
  })

  it('the range is rounded to pages', () => {
    const { addr, mirror } = setUp()
    const event = new HmmEvent(addr + PAGE_SIZE + 5, addr + 2 * PAGE_SIZE + 1, HMM_DEVICE_RFAULT)
    expect(hmmMirrorFault(mirror, event)).toBe(0)
    expect([event.start, event.end]).toEqual([addr + PAGE_SIZE, addr + 3 * PAGE_SIZE])
    expect(entries(mirror, addr)).toBe('- r r -')
  })
})

describe('mappings (MR-81)', () => {
  it('-EFAULT without any mapping at or above the start', () => {
    const { machine, gpu } = setUp()
    const mirror = gpu.mirror(machine.createProcess())
    const event = new HmmEvent(0x1000, 0x2000, HMM_DEVICE_RFAULT)
    expect(hmmMirrorFault(mirror, event)).toBe(-EFAULT)
    expect(event.end).toBe(0x2000)
  })

  it('-EFAULT in a hole, with the end set to the start of the next mapping', () => {
    const { addr, gpu, mirror } = setUp()
    const event = new HmmEvent(addr - 3 * PAGE_SIZE, addr + PAGE_SIZE, HMM_DEVICE_RFAULT)
    expect(hmmMirrorFault(mirror, event)).toBe(-EFAULT)
    expect(event.end).toBe(addr)
    expect(gpu.log).toEqual([])
    event.start = event.end // where a driver goes on
    event.end = addr + PAGE_SIZE
    expect(hmmMirrorFault(mirror, event)).toBe(0)
  })

  it.each([
    ['IO', VM_IO],
    ['PFNMAP', VM_PFNMAP],
    ['MIXEDMAP', VM_MIXEDMAP],
    ['HUGETLB', VM_HUGETLB],
  ])('-EFAULT in a mapping with %s', (_name, flag) => {
    const { addr, gpu, mirror, vma } = setUp()
    vma.flags |= flag
    expect(gpu.fault(mirror, addr, 1, 'read')).toBe(-EFAULT)
    expect(gpu.log).toEqual([])
    expect(mirror.pt.nvalid).toBe(0)
  })

  it('the end is cut at the end of the mapping, and a driver goes on from there', () => {
    const { process, addr, mirror } = setUp(4)
    process.mprotect(addr + 2 * PAGE_SIZE, 2 * PAGE_SIZE, PROT_READ)
    const event = new HmmEvent(addr, addr + 4 * PAGE_SIZE, HMM_DEVICE_WFAULT)
    expect(hmmMirrorFault(mirror, event)).toBe(0)
    expect(event.end).toBe(addr + 2 * PAGE_SIZE)
    expect(entries(mirror, addr)).toBe('w w - -')
  })

  it('-EACCES for a write in a mapping without WRITE, nothing is faulted', () => {
    const { process, addr, gpu, mirror } = setUp()
    process.mprotect(addr, 4 * PAGE_SIZE, PROT_READ)
    expect(gpu.fault(mirror, addr, 4, 'write')).toBe(-EACCES)
    expect(process.dumpPte(addr, 4)).toMatch(/^[-t]{4}$/)
    expect(gpu.fault(mirror, addr, 4, 'read')).toBe(0)
  })

  it('-EFAULT for a read in a mapping without READ', () => {
    const { process, addr, gpu, mirror } = setUp()
    process.store32(addr, 1)
    process.mprotect(addr, 4 * PAGE_SIZE, PROT_NONE)
    expect(gpu.fault(mirror, addr, 1, 'read')).toBe(-EFAULT)
    expect(mirror.pt.nvalid).toBe(0)
  })
})

describe('filling the table (MR-82)', () => {
  it('an entry has WRITE iff the CPU entry is writable, whatever was asked', () => {
    const { process, addr, gpu, mirror } = setUp()
    process.store32(addr, 1)
    process.load32(addr + PAGE_SIZE)
    expect(gpu.fault(mirror, addr, 2, 'read')).toBe(0)
    expect(entries(mirror, addr, 2)).toBe('w r')
    expect(gpu.fault(mirror, addr, 2, 'write')).toBe(0)
    expect(entries(mirror, addr, 2)).toBe('w w')
    validateHmmMirror(mirror)
  })

  it('only what is missing goes through the CPU fault handler: pages outside stay as they are', () => {
    const { process, addr, gpu, mirror } = setUp(6)
    process.store32(addr + 2 * PAGE_SIZE, 1)
    expect(gpu.fault(mirror, addr + PAGE_SIZE, 3, 'read')).toBe(0)
    expect(entries(mirror, addr, 6)).toBe('- r w r - -')
    expect(hmmPtePfn(mirror.pt.entry(addr + PAGE_SIZE))).toBe(process.mm.sys.zeroPfn)
    for (const i of [0, 4, 5]) expect(process.dumpPte(addr + i * PAGE_SIZE, 1)).toBe('-')
  })

  it('a page shared with a child is copied for writing', () => {
    const { process, addr, gpu, mirror } = setUp()
    for (let i = 0; i < 4; i++) process.store32(addr + i * PAGE_SIZE, i)
    const child = process.fork()
    expect(gpu.fault(mirror, addr, 4, 'read')).toBe(0)
    expect(entries(mirror, addr)).toBe('r r r r')
    gpu.takeLog()
    expect(gpu.fault(mirror, addr, 4, 'write')).toBe(0)
    expect(entries(mirror, addr)).toBe('w w w w')
    // The copies took the old pages away from the device first.
    expect(gpu.takeLog().every((line) => line.startsWith('MIGRATE '))).toBe(true)
    for (let i = 0; i < 4; i++) gpu.store(mirror, addr + i * PAGE_SIZE, 10 + i)
    expect([process.load32(addr), child.load32(addr)]).toEqual([10, 0])
    validateHmmMirror(mirror)
  })

  it('swapped-out pages come back', () => {
    const { process, addr, gpu, mirror, machine } = setUp(4, { swap: '1 MiB' })
    for (let i = 0; i < 4; i++) gpu.store(mirror, addr + i * PAGE_SIZE, 40 + i)
    process.madvise(addr, 4 * PAGE_SIZE, 21) // MADV_PAGEOUT
    expect(mirror.pt.nvalid).toBe(0)
    expect([0, 1, 2, 3].map((i) => gpu.load(mirror, addr + i * PAGE_SIZE))).toEqual([40, 41, 42, 43])
    expect(machine.sys.swap).not.toBe(null)
    validateHmmMirror(mirror)
  })

  it('a page that is in the table already keeps DIRTY', () => {
    const { process, addr, gpu, mirror } = setUp()
    process.store32(addr, 1)
    expect(gpu.fault(mirror, addr, 1, 'read')).toBe(0)
    hmmMirrorRangeDirty(mirror, addr, addr + PAGE_SIZE)
    expect(gpu.fault(mirror, addr, 1, 'write')).toBe(0)
    expect(entries(mirror, addr, 1)).toBe('w D')
  })

  it('ranges of many parts and directories are entered whole', () => {
    const npages = 3 * 4096 + 100
    const { addr, gpu, mirror } = setUp(npages, { memory: '64 MiB', contents: false })
    expect(gpu.fault(mirror, addr, npages, 'write')).toBe(0)
    expect(hmmPtCount(mirror.pt, addr, addr + npages * PAGE_SIZE, HMM_PTE_WRITE)).toBe(npages)
    expect(gpu.log.length).toBe(1)
    validateHmmMirror(mirror)
  })

  it('transparent huge pages are entered page by page', () => {
    const { process, machine, gpu, mirror } = setUp(1, { thp: 'always' })
    const base = process.mmap({ length: 3 * PMD_SIZE })
    const block = base + PMD_SIZE - (base % PMD_SIZE)
    process.store32(block + 7 * PAGE_SIZE, 5)
    expect(machine.sys.pages.isCompound(machine.sys.pages.head(framesAt(process, block)))).toBe(true)
    expect(gpu.fault(mirror, block, 512, 'read')).toBe(0)
    expect(hmmPtCount(mirror.pt, block, block + PMD_SIZE, HMM_PTE_WRITE)).toBe(512)
    expect(gpu.load(mirror, block + 7 * PAGE_SIZE)).toBe(5)
    validateHmmMirror(mirror)
    process.munmap(block + 3 * PAGE_SIZE, PAGE_SIZE)
    expect(gpu.tryLoad(mirror, block + 3 * PAGE_SIZE)).toBe(undefined)
    validateHmmMirror(mirror)
  })

  it('-ENOMEM without room for a directory; the table stays consistent', () => {
    const { process, gpu, machine } = setUp()
    const other = new MirrorDevice(machine)
    const small = other.mirror(process, { directoriesMax: 3 })
    const base = process.mmap({ length: 3 * PMD_SIZE })
    const block = base + PMD_SIZE - (base % PMD_SIZE)
    expect(other.fault(small, block - PAGE_SIZE, 2, 'write')).toBe(-ENOMEM)
    expect(entries(small, block - PAGE_SIZE, 2)).toBe('w -')
    expect(other.log).toEqual([])
    validateHmmMirror(small)
    expect(gpu.log).toEqual([])
  })
})

describe('answers of the fault handler (MR-83)', () => {
  it('out of memory is -ENOMEM', () => {
    const { addr, gpu, mirror } = setUp(64, { memory: '128 KiB' })
    expect(gpu.fault(mirror, addr, 64, 'write')).toBe(-ENOMEM)
    expect(mirror.hmm.mm.mmapLock.isHeld).toBe(false)
    validateHmmMirror(mirror)
  })

  it('beyond the end of a file, and a poisoned page: -EFAULT', () => {
    const { machine, process, gpu, mirror } = setUp()
    const file = machine.createFile('f', 2)
    const at = process.mmap({ length: 4 * PAGE_SIZE, shared: true, file })
    expect(gpu.fault(mirror, at, 4, 'read')).toBe(-EFAULT)
    expect(gpu.fault(mirror, at, 2, 'read')).toBe(0)
    const anon = process.mmap({ length: PAGE_SIZE })
    process.store32(anon, 1)
    process.madvise(anon, PAGE_SIZE, 100) // MADV_HWPOISON
    expect(gpu.fault(mirror, anon, 1, 'read')).toBe(-EFAULT)
  })

  it('a page that somebody works on is -EBUSY, with the queue to wait on; afterwards it succeeds', () => {
    const { machine, process, sys } = setUp()
    const gpu = new MemoryDevice(machine, 16)
    const addr = process.mmap({ length: PAGE_SIZE })
    const mirror = gpu.mirror(process)
    process.store32(addr, 3)
    // Another device's page that is locked: its driver cannot bring it back now.
    const other = new MirrorDevice(machine)
    const second = other.mirror(process)
    expect(gpu.moveToDevice(mirror, addr, 1)).toBe(1)
    const pfn = [...gpu.contents.keys()][0]
    expect(sys.pages.trylock(pfn)).toBe(true)
    expect(other.fault(second, addr, 1, 'read')).toBe(-EBUSY)
    let woken = false
    sys.waitFor?.add(() => {
      woken = true
    })
    unlockPage(sys, pfn)
    expect(woken).toBe(true)
    expect(other.load(second, addr)).toBe(3)
    validateHmmMirror(second)
  })

  it('-EBUSY while a writer has, or waits for, the mmapLock', () => {
    const { addr, gpu, mirror, mm, sys } = setUp()
    expect(mm.mmapLock.tryWrite()).toBe(true)
    expect(gpu.fault(mirror, addr, 1, 'read')).toBe(-EBUSY)
    expect(sys.waitFor).toBe(mm.mmapLock.released)
    mm.mmapLock.unlockWrite()
    mm.mmapLock.waitingWriters++
    expect(gpu.fault(mirror, addr, 1, 'read')).toBe(-EBUSY)
    mm.mmapLock.waitingWriters--
    expect(gpu.fault(mirror, addr, 1, 'read')).toBe(0)
    expect(mm.mmapLock.isHeld).toBe(false)
  })

  it('-EBUSY while an event that the mirror was told of runs', () => {
    const { process, addr, gpu, mirror, mm, sys } = setUp()
    process.store32(addr, 1)
    gpu.load(mirror, addr)
    const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, mm.vmaLookup(addr), mm, addr, addr + PAGE_SIZE)
    mmuNotifierInvalidateRangeStart(range)
    expect(gpu.fault(mirror, addr, 1, 'read')).toBe(-EBUSY)
    expect(sys.waitFor).toBe(mm.subscriptions?.wait)
    expect(mirror.pt.nvalid).toBe(0)
    mmuNotifierInvalidateRangeEnd(range)
    expect(gpu.load(mirror, addr)).toBe(1)
  })
})

describe('events during a fault (MR-60, MR-84)', () => {
  it('set backoff on overlapping faults before update() is called, and not on others', () => {
    const { process, addr, gpu, mirror } = setUp()
    for (let i = 0; i < 4; i++) process.store32(addr + i * PAGE_SIZE, i)
    process.fork()
    expect(gpu.fault(mirror, addr, 4, 'read')).toBe(0)
    const seen: [string, boolean][] = []
    gpu.onUpdate = (m, event) => {
      for (const fault of m.hmm.faults)
        seen.push([event.etype === HMM_MIGRATE ? 'event' : 'fault', fault.event.backoff])
    }
    const event = new HmmEvent(addr, addr + 2 * PAGE_SIZE, HMM_DEVICE_WFAULT)
    expect(hmmMirrorFault(mirror, event)).toBe(0)
    expect(seen).toEqual([
      ['event', true],
      ['event', true],
      ['fault', false],
    ])
    expect(event.backoff).toBe(false)
    expect(mirror.hmm.faults).toEqual([])
  })

  it('a fault that has its pages is repeated when one is taken away before the driver is done', () => {
    const { process, addr, gpu, mirror } = setUp()
    for (let i = 0; i < 4; i++) process.store32(addr + i * PAGE_SIZE, i)
    let rounds = 0
    gpu.onUpdate = (_mirror, event) => {
      if (event.etype === HMM_DEVICE_RFAULT && rounds++ === 0)
        mmMadvise(process.mm, addr + PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED)
    }
    expect(gpu.fault(mirror, addr, 4, 'read')).toBe(0)
    expect(rounds).toBe(2)
    expect(gpu.log.map((line) => line.split(' ')[0])).toEqual(['DEVICE_RFAULT', 'MIGRATE', 'DEVICE_RFAULT'])
    expect(entries(mirror, addr)).toBe('w r w w')
    expect([0, 1, 2, 3].map((i) => gpu.tryLoad(mirror, addr + i * PAGE_SIZE))).toEqual([0, 0, 2, 3])
    validateHmmMirror(mirror)
  })

  it('an event over other pages does not repeat it', () => {
    const { process, addr, gpu, mirror } = setUp()
    for (let i = 0; i < 4; i++) gpu.store(mirror, addr + i * PAGE_SIZE, i)
    gpu.takeLog()
    gpu.onUpdate = (_mirror, event) => {
      if (event.etype === HMM_DEVICE_RFAULT) mmMadvise(process.mm, addr + 3 * PAGE_SIZE, PAGE_SIZE, MADV_DONTNEED)
    }
    expect(gpu.fault(mirror, addr, 3, 'read')).toBe(0)
    expect(gpu.log.filter((line) => line.startsWith('DEVICE_')).length).toBe(1)
  })

  it('a range that is taken away again and again ends with -EBUSY and nothing to wait for', () => {
    const { process, addr, gpu, mirror, sys } = setUp()
    process.store32(addr, 1)
    let rounds = 0
    gpu.onUpdate = (_mirror, event) => {
      if (event.etype !== HMM_DEVICE_RFAULT) return
      rounds++
      mmMadvise(process.mm, addr, PAGE_SIZE, MADV_DONTNEED)
    }
    expect(gpu.fault(mirror, addr, 1, 'read')).toBe(-EBUSY)
    expect(sys.waitFor).toBe(null)
    expect(rounds).toBeGreaterThan(4)
    expect(mirror.hmm.faults).toEqual([])
    validateHmmMirror(mirror)
  })

  it('a mirror that is killed meanwhile ends it with -ENODEV', () => {
    const { process, addr, gpu, mirror } = setUp()
    for (let i = 0; i < 4; i++) process.store32(addr + i * PAGE_SIZE, i)
    process.fork()
    expect(gpu.fault(mirror, addr, 4, 'read')).toBe(0)
    gpu.results.push(-EIO) // the answer to the first copy-on-write event
    expect(gpu.fault(mirror, addr, 4, 'write')).toBe(-ENODEV)
    expect(gpu.log.slice(-3).map((line) => line.split(' ')[0])).toEqual(['MUNMAP', 'release', 'free'])
    expect(mirror.pt.nvalid).toBe(0)
    expect(mirror.refcount).toBe(0)
    expect(process.mm.mmapLock.isHeld).toBe(false)
  })
})

describe("the driver's part (MR-85)", () => {
  it('update() runs with the fault event, still listed', () => {
    const { addr, gpu, mirror } = setUp()
    const event = new HmmEvent(addr, addr + PAGE_SIZE, HMM_DEVICE_WFAULT)
    const listed: boolean[] = []
    gpu.onUpdate = (m, got) => listed.push(got === event && m.hmm.faults.some((fault) => fault.event === event))
    expect(hmmMirrorFault(mirror, event)).toBe(0)
    expect(listed).toEqual([true])
  })

  it.each([
    [-ENOMEM, -ENOMEM, 0],
    [-EIO, -EIO, 0],
    [-EBUSY, -EIO, 1],
    [7, -EIO, 1],
  ])('its failure %i is returned as %i with %i warnings, and the mirror lives', (result, wanted, warnings) => {
    const { addr, gpu, mirror } = setUp()
    gpu.results.push(result)
    expect(gpu.fault(mirror, addr, 1, 'write')).toBe(wanted)
    expect(gpu.device.warnings.length).toBe(warnings)
    expect(mirror.registered).toBe(true)
    gpu.store(mirror, addr, 1)
    validateHmmMirror(mirror)
  })
})

describe('hmmMirrorRangeCopied() (MR-28)', () => {
  it('checks as a fault does, and takes copy events only', () => {
    const { addr, mirror, mm, sys } = setUp()
    expect(hmmMirrorRangeCopied(mirror, new HmmEvent(addr, addr + PAGE_SIZE, HMM_DEVICE_RFAULT))).toBe(-EINVAL)
    expect(hmmMirrorRangeCopied(mirror, new HmmEvent(addr, addr, HMM_COPY_TO_DEVICE))).toBe(-EINVAL)
    expect(mm.mmapLock.tryWrite()).toBe(true)
    expect(hmmMirrorRangeCopied(mirror, new HmmEvent(addr, addr + PAGE_SIZE, HMM_COPY_TO_DEVICE))).toBe(-EBUSY)
    expect(sys.waitFor).toBe(mm.mmapLock.released)
    mm.mmapLock.unlockWrite()
  })

  it('faults nothing in, and goes over mappings and holes', () => {
    const { process, addr, mirror, gpu } = setUp(4)
    process.store32(addr, 1)
    process.store32(addr + 3 * PAGE_SIZE, 1)
    process.munmap(addr + PAGE_SIZE, PAGE_SIZE)
    expect(hmmMirrorRangeCopied(mirror, new HmmEvent(addr, addr + 4 * PAGE_SIZE, HMM_COPY_TO_DEVICE))).toBe(0)
    expect(entries(mirror, addr)).toBe('w - - w')
    expect(process.dumpPte(addr + 2 * PAGE_SIZE, 1)).toBe('-')
    expect(gpu.log.map((line) => line.split(' ')[0])).toEqual(['COPY_TO_DEVICE'])
    validateHmmMirror(mirror)
  })

  it('works while a writer waits: it ends an operation that has begun', () => {
    const { addr, mirror, mm } = setUp()
    mm.mmapLock.waitingWriters++
    expect(hmmMirrorRangeCopied(mirror, new HmmEvent(addr, addr + PAGE_SIZE, HMM_COPY_TO_DEVICE))).toBe(0)
    mm.mmapLock.waitingWriters--
  })

  it('returns the error of the driver', () => {
    const { addr, mirror, gpu } = setUp()
    gpu.results.push(-EIO)
    expect(hmmMirrorRangeCopied(mirror, new HmmEvent(addr, addr + PAGE_SIZE, HMM_COPY_TO_DEVICE))).toBe(-EIO)
    expect(mirror.registered).toBe(true)
  })
})

function framesAt(process: ReturnType<typeof setUp>['process'], addr: number): number {
  const { pageTable } = process.mm
  const pmd = pageTable.findPmd(addr)
  return pmd?.hugePfn(Math.floor(addr / PMD_SIZE) % 512) ?? -1
}

it('read and write permission end where the CPU has none', () => {
  const { process, addr, gpu, mirror } = setUp()
  gpu.store(mirror, addr, 1)
  process.mprotect(addr, PAGE_SIZE, PROT_NONE)
  expect(gpu.tryLoad(mirror, addr)).toBe(undefined)
  process.mprotect(addr, PAGE_SIZE, RW)
  expect(gpu.load(mirror, addr)).toBe(1)
})
