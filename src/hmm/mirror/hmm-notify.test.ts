import { describe, expect, it } from 'vitest'
import { MirrorDevice } from '../../../test/helpers/mirror-device.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import { Machine } from '../../machine/machine.ts'
import { makeDeviceExclusiveRange } from '../../mm/exclusive.ts'
import {
  ADDR_MAX,
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_EXCLUSIVE,
  MMU_NOTIFY_MIGRATE,
  MMU_NOTIFY_PROTECTION_PAGE,
  MMU_NOTIFY_PROTECTION_VMA,
  MMU_NOTIFY_RELEASE,
  MMU_NOTIFY_SOFT_DIRTY,
  MMU_NOTIFY_UNMAP,
  MmuNotifierRange,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from '../../mm/mmu-notifier.ts'
import { putPage, unlockPage } from '../../mm/page-alloc.ts'
import { endDuplicates, shareForRead } from '../../mm/share.ts'
import type { Vma } from '../../mm/vma.ts'
import {
  MADV_DONTNEED,
  MADV_FREE,
  MREMAP_MAYMOVE,
  PROT_EXEC,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from '../../uapi/mman.ts'
import type { HmmMirror } from './hmm-device.ts'
import { HMM_ETYPES } from './hmm-event.ts'
import { hmmDeviceFilters, hmmEtypeOf } from './hmm-notify.ts'
import { formatHmmPte } from './hmm-pte.ts'
import { validateHmmMirror } from './validate.ts'

const RW = PROT_READ | PROT_WRITE

/** A process with `npages` pages that a device has written, and the events that the device is told of from then on. */
function setUp(npages = 4, options: { shared?: boolean; owner?: unknown; filterOwnEvents?: boolean } = {}) {
  const { shared = false, ...deviceOptions } = options
  const machine = new Machine()
  const process = machine.createProcess()
  const addr = process.mmap({ length: npages * PAGE_SIZE, shared })
  const gpu = new MirrorDevice(machine, deviceOptions)
  const mirror = gpu.mirror(process)
  for (let i = 0; i < npages; i++) gpu.store(mirror, addr + i * PAGE_SIZE, i)
  gpu.takeLog()
  const vma = process.mm.vmaLookup(addr) as Vma
  /** Events since the last call, with ranges in pages from `addr`. */
  const events = () =>
    gpu.takeLog().map((line) => line.replace(/0x(\w+)-0x(\w+)/, (_, a, b) => `${page(a)}-${page(b)}`))
  const page = (hex: string) => (Number.parseInt(hex, 16) - addr) / PAGE_SIZE
  return { machine, process, mm: process.mm, addr, gpu, mirror, vma, events }
}

function kinds(mirror: HmmMirror, addr: number, npages = 4): string {
  const text = (i: number) => formatHmmPte(mirror.pt.entry(addr + i * PAGE_SIZE)).replace(/^pfn \w+ ?/, 'r')
  return Array.from({ length: npages }, (_, i) => text(i)).join(' ')
}

describe('hmmEtypeOf() (MR-15, MR-93)', () => {
  const { mm, vma, addr } = setUp()
  const etype = (event: number, on: Vma | null, start = addr, end = addr + PAGE_SIZE) =>
    HMM_ETYPES[hmmEtypeOf(new MmuNotifierRange(event, on, mm, start, end))]
  const withFlags = (flags: number) => Object.assign(Object.create(vma), { flags }) as Vma

  it.each([
    ['UNMAP', MMU_NOTIFY_UNMAP, 'MUNMAP'],
    ['RELEASE', MMU_NOTIFY_RELEASE, 'MUNMAP'],
    ['CLEAR', MMU_NOTIFY_CLEAR, 'MIGRATE'],
    ['MIGRATE', MMU_NOTIFY_MIGRATE, 'MIGRATE'],
    ['EXCLUSIVE', MMU_NOTIFY_EXCLUSIVE, 'MIGRATE'],
    ['SOFT_DIRTY', MMU_NOTIFY_SOFT_DIRTY, 'WRITE_PROTECT'],
    ['an event of tomorrow', 8, 'MIGRATE'],
  ])('%s is %3$s', (_name, event, wanted) => {
    expect(etype(event, vma)).toBe(wanted)
    expect(etype(event, null)).toBe(wanted)
  })

  it('PROTECTION_VMA goes by the new flags: no READ is MUNMAP, no WRITE is WRITE_PROTECT, else nothing', () => {
    const READ = 1
    const WRITE = 2
    expect(etype(MMU_NOTIFY_PROTECTION_VMA, null)).toBe('MUNMAP')
    expect(etype(MMU_NOTIFY_PROTECTION_VMA, withFlags(0))).toBe('MUNMAP')
    expect(etype(MMU_NOTIFY_PROTECTION_VMA, withFlags(WRITE))).toBe('MUNMAP')
    expect(etype(MMU_NOTIFY_PROTECTION_VMA, withFlags(READ))).toBe('WRITE_PROTECT')
    expect(etype(MMU_NOTIFY_PROTECTION_VMA, withFlags(READ | WRITE))).toBe('NONE')
  })

  it('PROTECTION_PAGE is FORK for a whole private mapping, else WRITE_PROTECT', () => {
    expect(etype(MMU_NOTIFY_PROTECTION_PAGE, vma, vma.start, vma.end)).toBe('FORK')
    expect(etype(MMU_NOTIFY_PROTECTION_PAGE, vma, vma.start, vma.start + PAGE_SIZE)).toBe('WRITE_PROTECT')
    expect(etype(MMU_NOTIFY_PROTECTION_PAGE, null)).toBe('WRITE_PROTECT')
    const VM_SHARED = 8
    expect(etype(MMU_NOTIFY_PROTECTION_PAGE, withFlags(vma.flags | VM_SHARED), vma.start, vma.end)).toBe(
      'WRITE_PROTECT',
    )
  })
})

describe('what the mm does reaches the driver as (MR-15)', () => {
  it('munmap: MUNMAP', () => {
    const { process, addr, mirror, events } = setUp()
    process.munmap(addr + PAGE_SIZE, 2 * PAGE_SIZE)
    expect(events()).toEqual(['MUNMAP 1-3'])
    expect(kinds(mirror, addr)).toBe('rW - - rW')
    validateHmmMirror(mirror)
  })

  it('mmap over it: MUNMAP', () => {
    const { process, addr, events } = setUp()
    process.mmap({ addr, length: 2 * PAGE_SIZE, fixed: true })
    expect(events()).toEqual(['MUNMAP 0-2'])
  })

  it('mprotect without WRITE: WRITE_PROTECT; without READ: MUNMAP; to something that allows both: nothing', () => {
    const { process, addr, mirror, events } = setUp()
    process.mprotect(addr, 4 * PAGE_SIZE, PROT_READ)
    expect(events()).toEqual(['WRITE_PROTECT 0-4'])
    expect(kinds(mirror, addr)).toBe('r r r r')
    process.mprotect(addr, 4 * PAGE_SIZE, RW)
    expect(events()).toEqual([])
    expect(kinds(mirror, addr)).toBe('r r r r')
    process.mprotect(addr, 4 * PAGE_SIZE, RW | PROT_EXEC)
    expect(events()).toEqual([])
    process.mprotect(addr + PAGE_SIZE, PAGE_SIZE, PROT_NONE)
    expect(events()).toEqual(['MUNMAP 1-2'])
    expect(kinds(mirror, addr)).toBe('r - r r')
    validateHmmMirror(mirror)
  })

  it('an event that takes nothing away makes no reader begin again (MN-37)', () => {
    const { process, addr, mirror } = setUp()
    process.mprotect(addr, 4 * PAGE_SIZE, PROT_READ)
    const sub = mirror.hmm.notifier
    if (sub === null) throw new Error('no notifier')
    const seq = mmuIntervalReadBegin(sub)
    process.mprotect(addr, 4 * PAGE_SIZE, RW)
    expect(mmuIntervalReadRetry(sub, seq)).toBe(false)
    process.munmap(addr, PAGE_SIZE)
    expect(mmuIntervalReadRetry(sub, seq)).toBe(true)
  })

  it('fork: FORK over the private mapping, nothing over a shared one', () => {
    const priv = setUp()
    priv.process.fork()
    expect(priv.events()).toEqual(['FORK 0-4'])
    expect(kinds(priv.mirror, priv.addr)).toBe('r r r r')
    validateHmmMirror(priv.mirror)
    const shared = setUp(4, { shared: true })
    shared.process.fork()
    expect(shared.events()).toEqual([])
    expect(kinds(shared.mirror, shared.addr)).toBe('rW rW rW rW')
    validateHmmMirror(shared.mirror)
  })

  it('a write that copies the page: MIGRATE of that page', () => {
    const { process, addr, mirror, events } = setUp()
    process.fork()
    events()
    process.store32(addr + 2 * PAGE_SIZE, 9)
    expect(events()).toEqual(['MIGRATE 2-3'])
    expect(kinds(mirror, addr)).toBe('r r - r')
    validateHmmMirror(mirror)
  })

  it('madvise DONTNEED and FREE: MIGRATE', () => {
    const { process, addr, mirror, events } = setUp()
    process.madvise(addr, PAGE_SIZE, MADV_DONTNEED)
    process.madvise(addr + PAGE_SIZE, 2 * PAGE_SIZE, MADV_FREE)
    expect(events()).toEqual(['MIGRATE 0-1', 'MIGRATE 1-3'])
    expect(kinds(mirror, addr)).toBe('- - - rW')
    validateHmmMirror(mirror)
  })

  it('mlock and munlock: nothing', () => {
    const { process, addr, mirror, events } = setUp()
    process.mlock(addr, 4 * PAGE_SIZE)
    process.munlock(addr, 4 * PAGE_SIZE)
    expect(events()).toEqual([])
    expect(kinds(mirror, addr)).toBe('rW rW rW rW')
  })

  it('mremap that moves: MUNMAP of the old place', () => {
    const { process, addr, mirror, events } = setUp()
    process.mremap(addr, 4 * PAGE_SIZE, 4 * PAGE_SIZE, { to: addr + 64 * PAGE_SIZE })
    expect(new Set(events())).toEqual(new Set(['MUNMAP 0-4']))
    expect(kinds(mirror, addr)).toBe('- - - -')
    validateHmmMirror(mirror)
    expect(MREMAP_MAYMOVE).toBe(1)
  })

  it('a file that is truncated: MIGRATE', () => {
    const { machine, process, gpu, mirror, addr, events } = setUp()
    const file = machine.createFile('f', 4)
    const at = process.mmap({ length: 4 * PAGE_SIZE, shared: true, file })
    for (let i = 0; i < 4; i++) gpu.store(mirror, at + i * PAGE_SIZE, i)
    gpu.takeLog()
    file.truncate(2)
    expect(events().length).toBe(1)
    expect(kinds(mirror, at)).toBe('rW rW - -')
    expect(kinds(mirror, addr)).toBe('rW rW rW rW')
  })

  it('pages shared for reading with a duplicate (our extension): WRITE_PROTECT, then MIGRATE when one is written', () => {
    const { process, mm, addr, mirror, events } = setUp(4)
    mm.mmapLock.tryRead()
    expect(shareForRead(mm, addr, addr + 2 * PAGE_SIZE)).toBe(2)
    mm.mmapLock.unlockRead()
    expect(events()).toEqual(['WRITE_PROTECT 0-2'])
    expect(kinds(mirror, addr)).toBe('r r rW rW')
    process.store32(addr, 1)
    expect(events()).toEqual(['MIGRATE 0-1'])
    validateHmmMirror(mirror)
  })

  it('duplicates of many pages that end together (our extension): one MIGRATE for them alone, and none when they are written', () => {
    const { process, mm, addr, mirror, events } = setUp(6)
    mm.mmapLock.tryRead()
    expect(shareForRead(mm, addr, addr + 2 * PAGE_SIZE)).toBe(2)
    expect(shareForRead(mm, addr + 3 * PAGE_SIZE, addr + 5 * PAGE_SIZE)).toBe(2)
    events()
    expect(endDuplicates(mm, addr, addr + 4 * PAGE_SIZE)).toBe(3)
    expect(endDuplicates(mm, addr, addr + 4 * PAGE_SIZE)).toBe(0)
    mm.mmapLock.unlockRead()
    expect(events()).toEqual(['MIGRATE 0-4 (3 pages)'])
    // This device does not look at the holes, so it has reported the page in one as well.
    expect(kinds(mirror, addr, 6)).toBe('- - rW D - r rW')
    for (let i = 0; i < 6; i++) process.store32(addr + i * PAGE_SIZE, 7 * i)
    expect(events()).toEqual(['MIGRATE 4-5'])
    for (let i = 0; i < 6; i++) expect(process.load32(addr + i * PAGE_SIZE)).toBe(7 * i)
    validateHmmMirror(mirror)
  })

  it('clearing soft-dirty bits: WRITE_PROTECT of the whole space, cut at its end', () => {
    const { mm, addr, mirror, gpu } = setUp()
    const range = new MmuNotifierRange(MMU_NOTIFY_SOFT_DIRTY, null, mm, 0, ADDR_MAX)
    expect(mmuNotifierInvalidateRangeStart(range)).toBe(0)
    mmuNotifierInvalidateRangeEnd(range)
    expect(gpu.takeLog()).toEqual([`WRITE_PROTECT 0x0-0x${mm.taskSize.toString(16)}`])
    expect(kinds(mirror, addr)).toBe('r r r r')
  })

  it('an event that starts at or above the end of the space: nothing', () => {
    const { mm, mirror, addr, gpu } = setUp()
    const seq = mirror.hmm.notifier?.invalidateSeq
    for (const start of [mm.taskSize, mm.taskSize + PAGE_SIZE, 2 ** 63]) {
      const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, null, mm, start, ADDR_MAX)
      expect(mmuNotifierInvalidateRangeStart(range)).toBe(0)
      mmuNotifierInvalidateRangeEnd(range)
    }
    expect(gpu.takeLog()).toEqual([])
    expect(mirror.hmm.notifier?.invalidateSeq).toBe(seq)
    expect(kinds(mirror, addr)).toBe('rW rW rW rW')
  })

  it('an event of one page that is not aligned: the page', () => {
    const { mm, addr, vma, events } = setUp()
    const range = new MmuNotifierRange(MMU_NOTIFY_CLEAR, vma, mm, addr + 0x1800, addr + 0x1801)
    mmuNotifierInvalidateRangeStart(range)
    mmuNotifierInvalidateRangeEnd(range)
    expect(events()).toEqual(['MIGRATE 1-2'])
  })
})

describe('the owner filter (MN-51, MN-53)', () => {
  const owner = { name: 'gpu memory' }

  it('is asked of MIGRATE and EXCLUSIVE with the own owner, from drivers that want it', () => {
    const { mm, addr } = setUp()
    const machine = new Machine()
    const device = (filterOwnEvents: boolean, who: unknown) =>
      new MirrorDevice(machine, { filterOwnEvents, owner: who }).device
    const range = (event: number, who: unknown) => new MmuNotifierRange(event, null, mm, addr, addr + PAGE_SIZE, who)
    for (const event of [MMU_NOTIFY_MIGRATE, MMU_NOTIFY_EXCLUSIVE]) {
      expect(hmmDeviceFilters(device(true, owner), range(event, owner))).toBe(true)
      expect(hmmDeviceFilters(device(true, owner), range(event, { ...owner }))).toBe(false)
      expect(hmmDeviceFilters(device(true, owner), range(event, null))).toBe(false)
      expect(hmmDeviceFilters(device(false, owner), range(event, owner))).toBe(false)
      expect(hmmDeviceFilters(device(true, null), range(event, null))).toBe(false)
    }
    // The owner of other events is not initialised (MN-3).
    expect(hmmDeviceFilters(device(true, owner), range(MMU_NOTIFY_CLEAR, owner))).toBe(false)
    expect(hmmDeviceFilters(device(true, owner), range(MMU_NOTIFY_UNMAP, owner))).toBe(false)
  })

  it.each([true, false])('exclusive access that the device takes itself, filter %s', (filterOwnEvents) => {
    const { process, mm, addr, mirror, events, gpu } = setUp(4, { owner, filterOwnEvents })
    const seq = mirror.hmm.notifier?.invalidateSeq
    const pages: number[] = []
    mm.mmapLock.tryRead()
    expect(makeDeviceExclusiveRange(mm, addr, addr + PAGE_SIZE, pages, owner)).toBe(1)
    mm.mmapLock.unlockRead()
    unlockPage(mm.sys, pages[0])
    putPage(mm.sys, pages[0])
    expect(events()).toEqual(filterOwnEvents ? [] : ['MIGRATE 0-1'])
    expect(kinds(mirror, addr)).toBe(filterOwnEvents ? 'rW rW rW rW' : '- rW rW rW')
    expect(mirror.hmm.notifier?.invalidateSeq === seq).toBe(filterOwnEvents)
    validateHmmMirror(mirror)
    // The CPU takes the page back: owner null, for everybody.
    expect(process.load32(addr)).toBe(0)
    expect(events()).toEqual(filterOwnEvents ? ['MIGRATE 0-1'] : [])
    expect(kinds(mirror, addr)).toBe('- rW rW rW')
    expect(gpu.device.warnings).toEqual([])
  })

  it('is one for each device: another one that mirrors the same space is told', () => {
    const { machine, process, mm, addr, mirror, events } = setUp(4, { owner, filterOwnEvents: true })
    const other = new MirrorDevice(machine, { owner: { name: 'other' }, filterOwnEvents: true })
    const second = other.mirror(process)
    other.store(second, addr, 1)
    other.takeLog()
    const pages: number[] = []
    mm.mmapLock.tryRead()
    makeDeviceExclusiveRange(mm, addr, addr + PAGE_SIZE, pages, owner)
    mm.mmapLock.unlockRead()
    unlockPage(mm.sys, pages[0])
    putPage(mm.sys, pages[0])
    expect(events()).toEqual([])
    expect(other.takeLog().length).toBe(1)
    expect(kinds(second, addr, 1)).toBe('-')
    expect(kinds(mirror, addr, 1)).toBe('rW')
    validateHmmMirror(mirror)
    validateHmmMirror(second)
  })
})
