import { describe, expect, it } from 'vitest'
import { forEachValid, MirrorDevice, TestDma } from '../../../test/helpers/mirror-device.ts'
import { PAGE_SIZE, PMD_SIZE, TASK_SIZE } from '../../base/addr.ts'
import { AssertionError } from '../../base/assert.ts'
import { EBUSY, EEXIST, EINVAL, EIO, ENODEV, ENOMEM } from '../../base/errno.ts'
import { Machine } from '../../machine/machine.ts'
import {
  MMU_NOTIFY_CLEAR,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from '../../mm/mmu-notifier.ts'
import { PG_DIRTY } from '../../mm/page.ts'
import { HMM_PFN_VALID, HMM_PFN_WRITE, makeHmmPfn } from '../hmm-pfn.ts'
import {
  HmmDevice,
  type HmmDeviceOps,
  type HmmMirror,
  hmmDeviceRegister,
  hmmDeviceUnregister,
  hmmMirrorRef,
  hmmMirrorUnref,
} from './hmm-device.ts'
import { HMM_DEVICE_RFAULT, HmmEvent } from './hmm-event.ts'
import {
  hmmCollectDirty,
  hmmMirrorRangeDirty,
  hmmMirrorRangeDiscard,
  hmmMirrorRangeEnter,
  hmmMirrorRegister,
  hmmMirrorUnregister,
  hmmOf,
} from './hmm-mirror.ts'
import { hmmMirrorFault, hmmMirrorRangeCopied } from './hmm-mirror-fault.ts'
import { formatHmmPte, HMM_PTE_DIRTY, hmmPteFlags, hmmPtePfn, hmmPteSetBit } from './hmm-pte.ts'
import { validateHmmMirror } from './validate.ts'

const ALL = `MUNMAP 0x0-0x${TASK_SIZE.toString(16)}`

function setUp(npages = 4) {
  const machine = new Machine()
  const process = machine.createProcess()
  const addr = process.mmap({ length: npages * PAGE_SIZE })
  const gpu = new MirrorDevice(machine)
  const mirror = gpu.mirror(process)
  return { machine, process, addr, gpu, mirror, mm: process.mm, pages: machine.sys.pages }
}

function range(addr: number, npages: number): string {
  return `0x${addr.toString(16)}-0x${(addr + npages * PAGE_SIZE).toString(16)}`
}

function pteText(mirror: HmmMirror, addr: number): string {
  return formatHmmPte(mirror.pt.entry(addr)).replace(/ 0x\w+/, '')
}

describe('hmmDeviceRegister() and hmmDeviceUnregister() (MR-1)', () => {
  const ops: HmmDeviceOps = { release: () => {}, update: () => 0 }

  it('return 0, and an errno the second time', () => {
    const device = new HmmDevice({ name: 'd', ops })
    expect(hmmDeviceUnregister(device)).toBe(-ENODEV)
    expect(hmmDeviceRegister(device)).toBe(0)
    expect(hmmDeviceRegister(device)).toBe(-EEXIST)
    expect(hmmDeviceUnregister(device)).toBe(0)
    expect(hmmDeviceUnregister(device)).toBe(-ENODEV)
  })

  it('unregister returns -EBUSY while mirrors exist', () => {
    const { gpu, mirror } = setUp()
    expect(hmmDeviceUnregister(gpu.device)).toBe(-EBUSY)
    hmmMirrorUnregister(mirror)
    expect(hmmDeviceUnregister(gpu.device)).toBe(0)
  })

  it('missing ops, or missing ops.release, is a programming error', () => {
    for (const broken of [undefined, {}, { update: () => 0 }, { release: () => {} }]) {
      const device = new HmmDevice({ name: 'd', ops: broken as unknown as HmmDeviceOps })
      expect(() => hmmDeviceRegister(device)).toThrow(AssertionError)
    }
  })
})

describe('hmmMirrorRegister() (MR-2, MR-3, MR-4)', () => {
  it('makes a mirror with a table of its own that ends where the address space ends', () => {
    const { mirror, mm } = setUp()
    expect(mirror.pt.last).toBe(mm.taskSize - 1)
    expect(mirror.refcount).toBe(1)
    expect(mirror.hmm).toBe(hmmOf(mm))
    expect(mirror.hmm.vmEnd).toBe(mm.taskSize)
  })

  it('all mirrors of an address space share one object and one notifier', () => {
    const { machine, process, mirror, mm } = setUp()
    const other = new MirrorDevice(machine).mirror(process)
    expect(other.hmm).toBe(mirror.hmm)
    expect(mirror.hmm.mirrors).toEqual([mirror, other])
    expect(mm.subscriptions?.tree.size).toBe(1)
  })

  it('returns -EINVAL if the device mirrors the address space already', () => {
    const { gpu, mm, process } = setUp()
    expect(hmmMirrorRegister(gpu.device, mm)).toBe(-EINVAL)
    expect(hmmMirrorRegister(gpu.device, process.fork().mm)).toBeTypeOf('object')
  })

  it('returns -ENODEV for a device that is not registered, -EINVAL for a dead address space', () => {
    const { gpu, mirror, process, mm } = setUp()
    hmmMirrorUnregister(mirror)
    const stranger = new HmmDevice({ name: 'd', ops: gpu.device.ops })
    expect(hmmMirrorRegister(stranger, mm)).toBe(-ENODEV)
    process.exit()
    expect(hmmMirrorRegister(gpu.device, mm)).toBe(-EINVAL)
    expect(hmmOf(mm)).toBe(null)
    expect(gpu.device.mirrors.size).toBe(0)
  })
})

describe('hmmMirrorUnregister() (MR-5)', () => {
  it('unlinks, delivers one MUNMAP over the whole space, then release() and free()', () => {
    const { gpu, mirror, mm, addr } = setUp()
    gpu.store(mirror, addr, 7)
    gpu.takeLog()
    let wasListed = true
    gpu.onUpdate = (m) => {
      wasListed = m.registered || m.hmm.mirrors.includes(m) || gpu.device.mirrors.has(m)
    }
    hmmMirrorUnregister(mirror)
    expect(gpu.takeLog()).toEqual([ALL, 'release', 'free'])
    expect(wasListed).toBe(false)
    expect(mirror.pt.nvalid).toBe(0)
    expect(mirror.pt.ndirectories).toBe(0)
    expect(hmmOf(mm)).toBe(null)
    expect(mm.subscriptions?.tree.size).toBe(0)
  })

  it('delivers MUNMAP also to a mirror that has no entries', () => {
    const { gpu, mirror } = setUp()
    hmmMirrorUnregister(mirror)
    expect(gpu.takeLog()).toEqual([ALL, 'release', 'free'])
  })

  it('does not lose what the device wrote', () => {
    const { gpu, mirror, addr, process, pages } = setUp()
    gpu.store(mirror, addr, 7)
    const pfn = hmmPtePfn(mirror.pt.entry(addr))
    pages.flags[pfn] &= ~PG_DIRTY
    hmmMirrorUnregister(mirror)
    expect(pages.flags[pfn] & PG_DIRTY).not.toBe(0)
    expect(process.load32(addr)).toBe(7)
  })

  it('is safe to call more than once, and by then the device may mirror the space again', () => {
    const { gpu, mirror, process } = setUp()
    hmmMirrorUnregister(mirror)
    const again = gpu.mirror(process)
    hmmMirrorUnregister(mirror)
    expect(again.registered).toBe(true)
    expect(gpu.takeLog()).toEqual([ALL, 'release', 'free'])
  })

  it('gives the address space back: its structure count is what it was', () => {
    const machine = new Machine()
    const process = machine.createProcess()
    const before = process.mm.count
    const mirrors = [new MirrorDevice(machine).mirror(process), new MirrorDevice(machine).mirror(process)]
    expect(process.mm.count).toBe(before + 1)
    for (const mirror of mirrors) hmmMirrorUnregister(mirror)
    expect(process.mm.count).toBe(before)
  })

  it('free() waits for the references that the driver took (MR-7)', () => {
    const { gpu, mirror } = setUp()
    hmmMirrorRef(mirror)
    hmmMirrorUnregister(mirror)
    expect(gpu.takeLog()).toEqual([ALL, 'release'])
    hmmMirrorUnref(mirror)
    expect(gpu.takeLog()).toEqual(['free'])
    expect(() => hmmMirrorUnref(mirror)).toThrow(AssertionError)
    expect(() => hmmMirrorRef(mirror)).toThrow(AssertionError)
  })

  it('works inside update()', () => {
    const { gpu, mirror, addr, process, mm } = setUp()
    gpu.store(mirror, addr, 7)
    gpu.takeLog()
    gpu.onUpdate = (m) => {
      gpu.onUpdate = null
      hmmMirrorUnregister(m)
    }
    process.munmap(addr, PAGE_SIZE)
    expect(gpu.takeLog()).toEqual([`MUNMAP ${range(addr, 1)}`, ALL, 'release', 'free'])
    expect(hmmOf(mm)).toBe(null)
    expect(mm.subscriptions?.tree.size).toBe(0)
  })
})

describe('killing (MR-6)', () => {
  it.each([-ENOMEM, -EIO])('a mirror whose update() returns %i gets MUNMAP over everything and release()', (result) => {
    const { gpu, mirror, addr, process } = setUp()
    gpu.store(mirror, addr, 7)
    gpu.takeLog()
    gpu.results.push(result)
    process.mprotect(addr, PAGE_SIZE, 1)
    expect(gpu.takeLog().slice(1)).toEqual([ALL, 'release', 'free'])
    expect(mirror.registered).toBe(false)
    expect(mirror.pt.nvalid).toBe(0)
    expect(gpu.device.warnings).toEqual([])
    expect(process.load32(addr)).toBe(7)
  })

  it('an address space that dies kills its mirrors, before its pages are freed', () => {
    const { gpu, mirror, addr, process, mm, pages } = setUp()
    gpu.store(mirror, addr, 7)
    gpu.takeLog()
    const pfn = hmmPtePfn(mirror.pt.entry(addr))
    let refcount = 0
    gpu.onUpdate = () => {
      refcount = pages.refcount[pfn]
    }
    process.exit()
    expect(refcount).toBe(1)
    expect(pages.refcount[pfn]).toBe(0)
    expect(gpu.takeLog()).toEqual([ALL, 'release', 'free'])
    expect(mirror.pt.nvalid).toBe(0)
    expect(mm.subscriptions?.tree.size).toBe(0)
    expect(hmmDeviceUnregister(gpu.device)).toBe(0)
  })

  it('later calls with a killed mirror return -ENODEV', () => {
    const { gpu, mirror, addr } = setUp()
    hmmMirrorUnregister(mirror)
    expect(gpu.fault(mirror, addr, 1, 'read')).toBe(-ENODEV)
    expect(hmmMirrorRangeDiscard(mirror, addr, addr + PAGE_SIZE)).toBe(-ENODEV)
    expect(hmmMirrorRangeDirty(mirror, addr, addr + PAGE_SIZE)).toBe(-ENODEV)
    expect(hmmMirrorRangeEnter(mirror, addr, new BigUint64Array(1))).toBe(-ENODEV)
    expect(hmmMirrorRangeCopied(mirror, new HmmEvent(addr, addr + PAGE_SIZE, 9))).toBe(-ENODEV)
  })

  it('what the dying mirror answers to its MUNMAP does not matter', () => {
    const { gpu, mirror, addr, process } = setUp()
    gpu.store(mirror, addr, 7)
    gpu.results.push(-EIO, -EIO)
    process.munmap(addr, PAGE_SIZE)
    expect(mirror.registered).toBe(false)
    expect(mirror.pt.nvalid).toBe(0)
    expect(gpu.log.slice(-3)).toEqual([ALL, 'release', 'free'])
  })

  it('leaves the other mirrors alone, and each is told of the event once (MR-60)', () => {
    const { machine, process, addr, gpu, mirror } = setUp()
    const before = new MirrorDevice(machine)
    const after = new MirrorDevice(machine)
    hmmMirrorUnregister(mirror)
    const mirrors = [before.mirror(process), gpu.mirror(process), after.mirror(process)]
    const devices = [before, gpu, after]
    for (const [i, device] of devices.entries()) device.store(mirrors[i], addr, i)
    for (const device of devices) device.takeLog()
    gpu.results.push(-EIO)
    process.mprotect(addr, 4 * PAGE_SIZE, 1)
    const event = `WRITE_PROTECT ${range(addr, 4)}`
    expect(devices.map((device) => device.takeLog())).toEqual([[event], [event, ALL, 'release', 'free'], [event]])
    expect(mirrors.map(({ registered }) => registered)).toEqual([true, false, true])
    expect([pteText(mirrors[0], addr), pteText(mirrors[2], addr)]).toEqual(['pfn', 'pfn'])
  })

  it('the space can be mirrored anew while the event that killed the mirror still runs', () => {
    const { gpu, mirror, addr, process, mm } = setUp()
    gpu.store(mirror, addr, 7)
    const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, mm.vmaLookup(addr), mm, addr, addr + PAGE_SIZE)
    gpu.results.push(-EIO)
    expect(mmuNotifierInvalidateRangeStart(range)).toBe(0)
    expect(mirror.registered).toBe(false)
    const again = gpu.mirror(process)
    expect(gpu.fault(again, addr, 1, 'read')).toBe(-EBUSY)
    expect(mm.sys.waitFor).toBe(mm.subscriptions?.wait)
    mmuNotifierInvalidateRangeEnd(range)
    expect(mm.subscriptions?.tree.size).toBe(1)
    expect(gpu.load(again, addr)).toBe(7)
    gpu.takeLog()
    process.munmap(addr, PAGE_SIZE)
    expect(gpu.takeLog().length).toBe(1)
  })
})

describe('hmmMirrorRangeDiscard() (MR-64)', () => {
  it('is the table update of MUNMAP without a call to the driver: dirty pages are known, entries gone', () => {
    const { gpu, mirror, addr, pages } = setUp()
    for (let i = 0; i < 4; i++) gpu.store(mirror, addr + i * PAGE_SIZE, i)
    const pfn = hmmPtePfn(mirror.pt.entry(addr + PAGE_SIZE))
    pages.flags[pfn] &= ~PG_DIRTY
    expect(hmmMirrorRangeDirty(mirror, addr + PAGE_SIZE, addr + 2 * PAGE_SIZE)).toBe(1)
    gpu.takeLog()
    expect(hmmMirrorRangeDiscard(mirror, addr + PAGE_SIZE, addr + 3 * PAGE_SIZE)).toBe(0)
    expect(gpu.takeLog()).toEqual([])
    expect([0, 1, 2, 3].map((i) => pteText(mirror, addr + i * PAGE_SIZE))).toEqual(['pfn W', '-', '-', 'pfn W'])
    expect(pages.flags[pfn] & PG_DIRTY).not.toBe(0)
    validateHmmMirror(mirror)
  })

  it('returns -EINVAL for an empty range or one outside', () => {
    const { mirror, addr } = setUp()
    expect(hmmMirrorRangeDiscard(mirror, addr, addr)).toBe(-EINVAL)
    expect(hmmMirrorRangeDiscard(mirror, TASK_SIZE, TASK_SIZE + PAGE_SIZE)).toBe(-EINVAL)
    expect(hmmMirrorRangeDiscard(mirror, Number.NaN, addr)).toBe(-EINVAL)
  })
})

describe('hmmMirrorRangeDirty() (MR-64, MR-75)', () => {
  it('sets DIRTY on valid and writable entries; the pages learn of it at the next update', () => {
    const { gpu, mirror, addr, process, pages } = setUp()
    process.load32(addr) // the zero page: read-only
    gpu.load(mirror, addr)
    gpu.store(mirror, addr + 2 * PAGE_SIZE, 1)
    const pfn = hmmPtePfn(mirror.pt.entry(addr + 2 * PAGE_SIZE))
    pages.flags[pfn] &= ~PG_DIRTY
    expect(hmmMirrorRangeDirty(mirror, addr, addr + 4 * PAGE_SIZE)).toBe(1)
    expect([0, 1, 2].map((i) => pteText(mirror, addr + i * PAGE_SIZE))).toEqual(['pfn', '-', 'pfn W D'])
    expect(pages.flags[pfn] & PG_DIRTY).toBe(0)
    process.mprotect(addr, 4 * PAGE_SIZE, 1)
    expect(pages.flags[pfn] & PG_DIRTY).not.toBe(0)
    expect(hmmPteFlags(mirror.pt.entry(addr + 2 * PAGE_SIZE)) & HMM_PTE_DIRTY).toBe(0)
  })

  it('returns -EINVAL for an empty range or one outside', () => {
    const { mirror, addr } = setUp()
    expect(hmmMirrorRangeDirty(mirror, addr, addr)).toBe(-EINVAL)
    expect(hmmMirrorRangeDirty(mirror, -PAGE_SIZE, addr)).toBe(-EINVAL)
  })
})

describe('hmmMirrorRangeEnter()', () => {
  it('enters pages that the driver knows of, and leaves out what is not valid', () => {
    const { mirror, addr } = setUp()
    const pfns = BigUint64Array.of(makeHmmPfn(100, HMM_PFN_VALID | HMM_PFN_WRITE), 0n, makeHmmPfn(102, HMM_PFN_VALID))
    expect(hmmMirrorRangeEnter(mirror, addr, pfns)).toBe(0)
    expect([0, 1, 2].map((i) => formatHmmPte(mirror.pt.entry(addr + i * PAGE_SIZE)))).toEqual([
      'pfn 0x64 W',
      '-',
      'pfn 0x66',
    ])
    mirror.pt.validate()
  })

  it('returns -EINVAL for a range that is empty, not aligned or outside, -ENOMEM without room', () => {
    const { gpu, mirror, addr, machine } = setUp()
    const one = BigUint64Array.of(makeHmmPfn(100, HMM_PFN_VALID))
    expect(hmmMirrorRangeEnter(mirror, addr, new BigUint64Array(0))).toBe(-EINVAL)
    expect(hmmMirrorRangeEnter(mirror, addr + 1, one)).toBe(-EINVAL)
    expect(hmmMirrorRangeEnter(mirror, TASK_SIZE, one)).toBe(-EINVAL)
    expect(hmmMirrorRangeEnter(mirror, -PAGE_SIZE, one)).toBe(-EINVAL)
    const small = gpu.mirror(machine.createProcess(), { directoriesMax: 2 })
    expect(hmmMirrorRangeEnter(small, addr, one)).toBe(-ENOMEM)
    small.pt.validate()
  })
})

describe('hmmCollectDirty()', () => {
  it('asks every mirror, takes nothing away, and returns -EINVAL for a bad range', () => {
    const { machine, gpu, mirror, addr, process, pages, mm } = setUp()
    const other = new MirrorDevice(machine, { report: 'unconditional' })
    const second = other.mirror(process)
    gpu.store(mirror, addr, 1)
    expect(other.fault(second, addr, 1, 'write')).toBe(0)
    const pfn = hmmPtePfn(mirror.pt.entry(addr))
    pages.flags[pfn] &= ~PG_DIRTY
    gpu.takeLog()
    expect(hmmCollectDirty(mm, addr, addr + 1)).toBe(0)
    expect(pages.flags[pfn] & PG_DIRTY).not.toBe(0)
    expect(gpu.takeLog()).toEqual([`ISDIRTY ${range(addr, 1)}`])
    expect(pteText(mirror, addr)).toBe('pfn W')
    expect(pteText(second, addr)).toBe('pfn W')
    expect(hmmCollectDirty(mm, addr, addr)).toBe(-EINVAL)
    expect(hmmCollectDirty(machine.createProcess().mm, addr, addr + 1)).toBe(0)
  })
})

describe('warnings', () => {
  it('are recorded without a sink, the latest 256, and handed to the sink otherwise', () => {
    const seen: string[] = []
    const machine = new Machine()
    const quiet = new MirrorDevice(machine)
    const loud = new MirrorDevice(machine, {
      name: 'loud',
      onWarning: (warning) => seen.push(`${warning.device} ${warning.kind}`),
    })
    const warning = { kind: 'stale-entry', start: 0, end: PAGE_SIZE, npages: 1, message: 'm' } as const
    for (let i = 0; i < 300; i++) quiet.device.warn({ ...warning, start: i })
    loud.device.warn(warning)
    expect(quiet.device.warnings.length).toBe(256)
    expect(quiet.device.warnings[0].start).toBe(44)
    expect(seen).toEqual(['loud stale-entry'])
    expect(loud.device.warnings).toEqual([])
  })

  it('an exception of the driver does not reach the mm: it is a warning, and the mirror is killed', () => {
    const { gpu, mirror, addr, process } = setUp()
    gpu.store(mirror, addr, 7)
    gpu.onUpdate = () => {
      throw new Error('driver broke')
    }
    process.munmap(addr, PAGE_SIZE)
    expect(mirror.registered).toBe(false)
    expect(mirror.pt.nvalid).toBe(0)
    expect(gpu.device.warnings.map(({ kind, error }) => `${kind}: ${error}`)).toEqual([
      'driver-threw: Error: driver broke',
      'driver-threw: Error: driver broke',
    ])
  })

  it('an exception in release() is a warning too', () => {
    const machine = new Machine()
    const process = machine.createProcess()
    const release = () => {
      throw new Error('no')
    }
    const gpu = new MirrorDevice(machine, { ops: { release, update: () => 0 } })
    const mirror = gpu.mirror(process)
    process.exit()
    expect(mirror.registered).toBe(false)
    expect(gpu.device.warnings.map(({ kind }) => kind)).toEqual(['driver-threw'])
  })
})

describe('devices with a DMA mapper (MR-53)', () => {
  it('see bus addresses; without one they see frame numbers', () => {
    const { machine, process, addr, gpu, mirror } = setUp()
    const dma = new TestDma(0x4000_0000)
    const nic = new MirrorDevice(machine, { name: 'nic', dev: dma })
    const other = nic.mirror(process)
    gpu.store(mirror, addr, 7)
    expect(nic.load(other, addr)).toBe(7)
    expect(formatHmmPte(other.pt.entry(addr))).toBe('dma 0x40000000 W')
    expect(pteText(mirror, addr)).toBe('pfn W')
    expect(dma.mapped.get(0x4000_0000)?.pfn).toBe(hmmPtePfn(mirror.pt.entry(addr)))
  })

  it('the address ends with the entry', () => {
    const { machine, process, addr } = setUp()
    const dma = new TestDma(0x4000_0000)
    const nic = new MirrorDevice(machine, { dev: dma })
    const mirror = nic.mirror(process)
    for (let i = 0; i < 4; i++) nic.store(mirror, addr + i * PAGE_SIZE, i)
    expect(dma.mapped.size).toBe(4)
    process.munmap(addr, 2 * PAGE_SIZE)
    expect(dma.mapped.size).toBe(2)
    hmmMirrorUnregister(mirror)
    expect(dma.mapped.size).toBe(0)
  })

  it('is mapped anew when the page becomes writable, and keeps DIRTY', () => {
    const { machine, process, addr } = setUp()
    const dma = new TestDma(0x4000_0000)
    const nic = new MirrorDevice(machine, { dev: dma })
    const mirror = nic.mirror(process)
    process.store32(addr, 1)
    process.mprotect(addr, PAGE_SIZE, 1)
    nic.load(mirror, addr)
    expect([...dma.mapped.values()].map(({ writable }) => writable)).toEqual([false])
    process.mprotect(addr, PAGE_SIZE, 3)
    nic.store(mirror, addr, 2)
    expect([...dma.mapped.values()].map(({ writable }) => writable)).toEqual([true])
    hmmMirrorRangeDirty(mirror, addr, addr + PAGE_SIZE)
    expect(nic.fault(mirror, addr, 1, 'write')).toBe(0)
    expect(pteText(mirror, addr)).toBe('dma W D')
    expect(dma.mapped.size).toBe(1)
    validateHmmMirror(mirror)
  })

  it('a mapper without room fails the fault with -ENOMEM; what was mapped before stays', () => {
    const { machine, process, addr } = setUp()
    const dma = new TestDma(0x4000_0000)
    dma.limit = 2
    const nic = new MirrorDevice(machine, { dev: dma })
    const mirror = nic.mirror(process)
    expect(nic.fault(mirror, addr, 4, 'write')).toBe(-ENOMEM)
    expect([0, 1, 2, 3].map((i) => pteText(mirror, addr + i * PAGE_SIZE))).toEqual(['dma W', 'dma W', '-', '-'])
    validateHmmMirror(mirror)
    process.munmap(addr, 4 * PAGE_SIZE)
    expect(dma.mapped.size).toBe(0)
  })

  it('pages are found through the CPU page table when they are dirty; none, zero and special entries are skipped (MR-63)', () => {
    const { machine, process, addr, pages } = setUp()
    const dma = new TestDma(0x4000_0000)
    const nic = new MirrorDevice(machine, { dev: dma })
    const mirror = nic.mirror(process)
    nic.store(mirror, addr, 1)
    process.load32(addr + PAGE_SIZE)
    nic.load(mirror, addr + PAGE_SIZE) // the zero page
    const [{ pfn }, zero] = [...dma.mapped.values()]
    expect(zero.pfn).toBe(machine.sys.zeroPfn)
    pages.flags[pfn] &= ~PG_DIRTY
    nic.onUpdate = (m, event) => forEachValid(m, event, (words, i) => hmmPteSetBit(words, i, HMM_PTE_DIRTY))
    process.munmap(addr, 2 * PAGE_SIZE)
    expect(nic.log.at(-1)).toBe(`MUNMAP ${range(addr, 2)}`)
    expect(pages.flags[machine.sys.zeroPfn] & PG_DIRTY).toBe(0)
    expect(nic.device.warnings.map(({ kind, npages }) => [kind, npages])).toEqual([['dirty-without-write', 1]])
    expect(dma.mapped.size).toBe(0)
  })

  it('marks the page that the CPU has at the address, of huge mappings too', () => {
    const machine = new Machine({ thp: 'always' })
    const process = machine.createProcess()
    const base = process.mmap({ length: 3 * PMD_SIZE })
    const addr = base + PMD_SIZE - (base % PMD_SIZE) + 5 * PAGE_SIZE
    const dma = new TestDma(0x4000_0000)
    const nic = new MirrorDevice(machine, { dev: dma })
    const mirror = nic.mirror(process)
    nic.store(mirror, addr, 1)
    const { pages } = machine.sys
    const head = pages.head([...dma.mapped.values()][0].pfn)
    expect(pages.isCompound(head)).toBe(true)
    pages.flags[head] &= ~PG_DIRTY
    expect(hmmCollectDirty(process.mm, addr, addr + 1)).toBe(0)
    expect(pages.flags[head] & PG_DIRTY).not.toBe(0)
  })
})

it('hmmMirrorFault() works from a fresh event each time', () => {
  const { mirror, addr } = setUp()
  const event = new HmmEvent(addr, addr + PAGE_SIZE, HMM_DEVICE_RFAULT)
  expect(hmmMirrorFault(mirror, event)).toBe(0)
  expect(hmmMirrorFault(mirror, event)).toBe(0)
})
