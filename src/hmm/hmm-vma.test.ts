import { describe, expect, it } from 'vitest'
import { HmmFixture, RW } from '../../test/helpers/hmm-fixture.ts'
import { PAGE_SIZE } from '../base/addr.ts'
import { EAGAIN, EBUSY, EFAULT, EINVAL, EPERM } from '../base/errno.ts'
import {
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_RELEASE,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from '../mm/mmu-notifier.ts'
import { PTE_KIND_MIGRATION, PTE_WRITE } from '../mm/pte.ts'
import { VM_IO } from '../mm/vm-flags.ts'
import type { Vma } from '../mm/vma.ts'
import { PROT_NONE, PROT_READ } from '../uapi/mman.ts'
import {
  HmmMirror,
  HmmVmaRange,
  hmmMirrorRegister,
  hmmMirrorUnregister,
  hmmRangeRegister,
  hmmRangeSnapshot,
  hmmRangeUnregister,
  hmmRangeValid,
  hmmRangeWaitUntilValid,
  hmmRegisteredRangeFault,
  hmmVmaFault,
  hmmVmaGetPfns,
  hmmVmaRangeDone,
} from './hmm-vma.ts'

const TABLES = { flags: [1n, 2n], values: [4n, 16n, 8n], pfnShift: 12 } as const
const [ERROR, NONE, SPECIAL] = TABLES.values

function makeRange(fixture: HmmFixture, page: number, npages: number, vma?: Vma): HmmVmaRange {
  return new HmmVmaRange({
    ...TABLES,
    start: fixture.addr(page),
    end: fixture.addr(page + npages),
    pfns: new BigUint64Array(npages),
    ...(vma === undefined ? {} : { vma }),
  })
}

function registered(fixture: HmmFixture, page: number, npages: number): HmmVmaRange {
  const range = makeRange(fixture, page, npages)
  expect(hmmRangeRegister(range, fixture.mm, range.start, range.end)).toBe(0)
  return range
}

function eventOver(fixture: HmmFixture, page: number, npages: number): MmuNotifierRange {
  const { mm } = fixture
  return new MmuNotifierRange(MMU_NOTIFY_CLEAR, null, mm, fixture.addr(page), fixture.addr(page + npages))
}

function invalidate(fixture: HmmFixture, page: number, npages: number): void {
  const event = eventOver(fixture, page, npages)
  mmuNotifierInvalidateRangeStart(event)
  mmuNotifierInvalidateRangeEnd(event)
}

function lockRead(fixture: HmmFixture): void {
  expect(fixture.mm.mmapLock.tryRead()).toBe(true)
}

function withMirror(fixture: HmmFixture): HmmMirror {
  const mirror = new HmmMirror({ syncCpuDevicePagetables: () => 0 })
  expect(fixture.mm.mmapLock.tryWrite()).toBe(true)
  expect(hmmMirrorRegister(mirror, fixture.mm)).toBe(0)
  fixture.mm.mmapLock.unlockWrite()
  return mirror
}

describe('hmmRangeRegister()', () => {
  it('refuses borders that are not multiples of the page size, and empty ranges (RF-90)', () => {
    const fixture = new HmmFixture()
    const { mm } = fixture
    const range = makeRange(fixture, 0, 4)
    const at = fixture.addr(0)
    expect(hmmRangeRegister(range, mm, at + 1, at + PAGE_SIZE)).toBe(-EINVAL)
    expect(hmmRangeRegister(range, mm, at, at + 1)).toBe(-EINVAL)
    expect(hmmRangeRegister(range, mm, at, at)).toBe(-EINVAL)
    expect(hmmRangeRegister(range, mm, at, at + PAGE_SIZE, 13)).toBe(-EINVAL)
    expect(hmmRangeRegister(range, mm, at, at + 2 * PAGE_SIZE, 13)).toBe(0)
  })

  it('refuses a dead address space (RF-90)', () => {
    const fixture = new HmmFixture()
    fixture.mm.users = 0
    const range = makeRange(fixture, 0, 1)
    expect(hmmRangeRegister(range, fixture.mm, range.start, range.end)).toBe(-EFAULT)
  })

  it('makes a range that is valid unless an invalidation runs (RF-90)', () => {
    const fixture = new HmmFixture()
    expect(hmmRangeValid(registered(fixture, 0, 1))).toBe(true)
    const event = eventOver(fixture, 50, 1)
    mmuNotifierInvalidateRangeStart(event)
    const range = registered(fixture, 0, 1)
    expect(hmmRangeValid(range)).toBe(false)
    mmuNotifierInvalidateRangeEnd(event)
    expect(hmmRangeValid(range)).toBe(true)
  })
})

describe('hmmRangeValid()', () => {
  it('is false while an event over the range runs, and true after it (RF-91)', () => {
    const fixture = new HmmFixture()
    const range = registered(fixture, 0, 2)
    const elsewhere = registered(fixture, 8, 2)
    const event = eventOver(fixture, 1, 3)
    mmuNotifierInvalidateRangeStart(event)
    expect([hmmRangeValid(range), hmmRangeValid(elsewhere)]).toEqual([false, true])
    mmuNotifierInvalidateRangeEnd(event)
    expect(hmmRangeValid(range)).toBe(true)
  })

  it('stays false after an event once the range was filled, until it is waited for', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 2)
    const range = registered(fixture, 0, 2)
    lockRead(fixture)
    expect(hmmRangeSnapshot(range)).toBeGreaterThanOrEqual(0)
    expect(hmmRangeValid(range)).toBe(true)
    invalidate(fixture, 0, 1)
    expect(hmmRangeValid(range)).toBe(false)
    expect(hmmRangeWaitUntilValid(range)).toBe(true)
    expect(hmmRangeValid(range)).toBe(true)
  })

  it('is false once the range is unregistered or the address space is dead', () => {
    const fixture = new HmmFixture()
    const range = registered(fixture, 0, 2)
    const other = registered(fixture, 0, 2)
    hmmRangeUnregister(range)
    hmmRangeUnregister(range)
    fixture.mm.users = 0
    expect([hmmRangeValid(range), hmmRangeValid(other)]).toEqual([false, false])
    expect(hmmRangeWaitUntilValid(other)).toBe(false)
  })
})

describe('hmmRangeWaitUntilValid()', () => {
  it('says whom to wait for while an invalidation runs (RF-92)', () => {
    const fixture = new HmmFixture()
    const range = registered(fixture, 0, 2)
    const event = eventOver(fixture, 0, 1)
    mmuNotifierInvalidateRangeStart(event)
    expect(hmmRangeWaitUntilValid(range)).toBe(false)
    let woken = 0
    fixture.sys.waitFor?.add(() => woken++)
    mmuNotifierInvalidateRangeEnd(event)
    expect(woken).toBe(1)
    expect(hmmRangeWaitUntilValid(range)).toBe(true)
  })
})

describe('hmmRangeSnapshot()', () => {
  it('ignores requests and returns a page count (RF-93, RF-98)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 3)
    fixture.touch(0, 1, 'write')
    fixture.touch(2, 1, 'read')
    const range = registered(fixture, 0, 3)
    range.defaultFlags = 3n
    range.pfnFlagsMask = 3n
    lockRead(fixture)
    expect(hmmRangeSnapshot(range)).toBe(3)
    expect([...range.pfns].map((entry) => entry & 0xfffn)).toEqual([3n, NONE, 1n])
    expect(fixture.populated(0, 3)).toEqual([0, 2])
  })

  it('refuses an invalid range, address holes, device mappings, and mappings without READ (RF-93)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 2)
    fixture.map(2, 2, PROT_NONE)
    fixture.map(6, 1).flags |= VM_IO
    lockRead(fixture)
    const range = registered(fixture, 1, 3)
    expect(hmmRangeSnapshot(range)).toBe(-EPERM)
    expect([...range.pfns]).toEqual([NONE, NONE, NONE])
    expect(hmmRangeSnapshot(registered(fixture, 5, 1))).toBe(-EFAULT)
    expect(hmmRangeSnapshot(registered(fixture, 6, 1))).toBe(-EFAULT)
    const event = eventOver(fixture, 1, 1)
    mmuNotifierInvalidateRangeStart(event)
    expect(hmmRangeSnapshot(range)).toBe(-EAGAIN)
  })
})

describe('hmmRegisteredRangeFault()', () => {
  it('uses default and mask of the caller (RF-98)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 2)
    const range = registered(fixture, 0, 2)
    range.defaultFlags = 3n
    lockRead(fixture)
    expect(hmmRegisteredRangeFault(range)).toBe(2)
    expect([...range.pfns].map((entry) => entry & 0xfffn)).toEqual([3n, 3n])
    expect(fixture.mm.mmapLock.isHeld).toBe(true)
  })

  it('releases the lock with -EAGAIN (RF-93)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 1)
    const range = registered(fixture, 0, 1)
    const event = eventOver(fixture, 0, 1)
    mmuNotifierInvalidateRangeStart(event)
    lockRead(fixture)
    expect(hmmRegisteredRangeFault(range)).toBe(-EAGAIN)
    expect(fixture.mm.mmapLock.isHeld).toBe(false)
  })
})

describe('hmmVmaFault() and hmmVmaRangeDone()', () => {
  it('requests by entry alone: default 0, mask all ones (RF-94)', () => {
    const fixture = new HmmFixture()
    const vma = fixture.map(0, 4)
    fixture.touch(0, 1, 'read')
    const range = makeRange(fixture, 0, 4, vma)
    range.defaultFlags = 3n // replaced
    range.pfns.set([1n, 0n, 0n, 3n])
    lockRead(fixture)
    expect(hmmVmaFault(range)).toBe(0)
    expect([range.defaultFlags, range.pfnFlagsMask]).toEqual([0n, 2n ** 64n - 1n])
    expect([...range.pfns].map((entry) => entry & 0xfffn)).toEqual([1n, NONE, NONE, 3n])
    expect(fixture.mm.mmapLock.isHeld).toBe(true)
    expect(hmmVmaRangeDone(range)).toBe(true)
    expect(range.notifier).toBeNull()
  })

  it('reports by hmmVmaRangeDone that the entries are stale (RF-95)', () => {
    const fixture = new HmmFixture()
    const range = makeRange(fixture, 0, 1, fixture.map(0, 1))
    range.pfns[0] = 3n
    lockRead(fixture)
    expect(hmmVmaFault(range)).toBe(0)
    invalidate(fixture, 0, 1)
    expect(hmmVmaRangeDone(range)).toBe(false)
  })

  it('returns -EBUSY without lock and registration when the fault invalidates the range itself (RF-94)', () => {
    const fixture = new HmmFixture()
    const range = makeRange(fixture, 0, 1, fixture.map(0, 1))
    fixture.touch(0, 1, 'read')
    range.pfns[0] = 3n
    lockRead(fixture)
    expect(hmmVmaFault(range)).toBe(-EBUSY)
    expect([fixture.mm.mmapLock.isHeld, range.notifier]).toEqual([false, null])
    range.pfns[0] = 3n
    lockRead(fixture)
    expect(hmmVmaFault(range)).toBe(0)
  })

  it('returns -EBUSY for a count of 0: nothing there and nothing requested (RF-94, RF-110)', () => {
    const fixture = new HmmFixture()
    const range = makeRange(fixture, 0, 2, fixture.map(0, 2))
    lockRead(fixture)
    expect(hmmVmaFault(range)).toBe(-EBUSY)
    expect(fixture.mm.mmapLock.isHeld).toBe(false)
  })

  it('returns -EBUSY without lock where a fault has to wait', () => {
    const fixture = new HmmFixture()
    const range = makeRange(fixture, 0, 1, fixture.map(0, 1))
    fixture.touch(0, 1, 'write')
    fixture.setEntry(0, PTE_KIND_MIGRATION | PTE_WRITE, fixture.entryPfn(0))
    range.pfns[0] = 1n
    lockRead(fixture)
    expect(hmmVmaFault(range)).toBe(-EBUSY)
    expect([fixture.mm.mmapLock.isHeld, range.notifier]).toEqual([false, null])
    expect(fixture.sys.waitFor).not.toBeNull()
  })

  it('returns -EAGAIN without lock and registration while an invalidation runs (RF-94, VR-45)', () => {
    const fixture = new HmmFixture()
    const range = makeRange(fixture, 0, 1, fixture.map(0, 1))
    const event = eventOver(fixture, 0, 1)
    mmuNotifierInvalidateRangeStart(event)
    lockRead(fixture)
    expect(hmmVmaFault(range)).toBe(-EAGAIN)
    expect([fixture.mm.mmapLock.isHeld, range.notifier]).toEqual([false, null])
  })

  it('keeps the lock with any other error', () => {
    const fixture = new HmmFixture()
    const range = makeRange(fixture, 0, 1, fixture.map(0, 1, PROT_READ))
    range.pfns[0] = 3n
    lockRead(fixture)
    expect(hmmVmaFault(range)).toBe(-EPERM)
    expect([fixture.mm.mmapLock.isHeld, range.notifier]).toEqual([true, null])
  })
})

describe('hmmVmaGetPfns()', () => {
  it('takes a snapshot and registers the range (RF-96)', () => {
    const fixture = new HmmFixture()
    withMirror(fixture)
    const range = makeRange(fixture, 0, 2, fixture.map(0, 2, RW))
    fixture.touch(1, 1, 'write')
    range.pfns.fill(3n)
    lockRead(fixture)
    expect(hmmVmaGetPfns(range)).toBe(0)
    expect([...range.pfns].map((entry) => entry & 0xfffn)).toEqual([NONE, 3n])
    expect(hmmVmaRangeDone(range)).toBe(true)
  })

  it('refuses a range outside its mapping, and an address space without a mirror (RF-96)', () => {
    const fixture = new HmmFixture()
    const vma = fixture.map(0, 2)
    lockRead(fixture)
    expect(hmmVmaGetPfns(makeRange(fixture, 0, 2, vma))).toBe(-EINVAL)
    fixture.mm.mmapLock.unlockRead()
    const mirror = withMirror(fixture)
    lockRead(fixture)
    expect(hmmVmaGetPfns(makeRange(fixture, 1, 2, vma))).toBe(-EINVAL)
    expect(hmmVmaGetPfns(makeRange(fixture, 0, 2))).toBe(-EINVAL)
    expect(hmmVmaGetPfns(makeRange(fixture, 0, 2, vma))).toBe(0)
    hmmMirrorUnregister(mirror)
    expect(hmmVmaGetPfns(makeRange(fixture, 0, 2, vma))).toBe(-EINVAL)
  })

  it('fills with SPECIAL or NONE where it refuses the mapping (RF-96)', () => {
    const fixture = new HmmFixture()
    withMirror(fixture)
    const special = fixture.map(0, 2)
    special.flags |= VM_IO
    const hidden = makeRange(fixture, 4, 2, fixture.map(4, 2, PROT_NONE))
    const range = makeRange(fixture, 0, 2, special)
    lockRead(fixture)
    expect([hmmVmaGetPfns(range), ...range.pfns]).toEqual([-EINVAL, SPECIAL, SPECIAL])
    expect([hmmVmaGetPfns(hidden), ...hidden.pfns]).toEqual([-EPERM, NONE, NONE])
    expect(range.notifier).toBeNull()
    expect(ERROR).not.toBe(NONE)
  })
})

describe('hmmMirrorRegister()', () => {
  it('has the mirror told of every invalidation of the address space, until it unregisters (RF-91)', () => {
    const fixture = new HmmFixture()
    const told: [number, number, boolean][] = []
    const mirror = new HmmMirror({
      syncCpuDevicePagetables: (_mirror, { start, end, blockable }) => {
        told.push([start, end, blockable])
        return 0
      },
    })
    expect(fixture.mm.mmapLock.tryWrite()).toBe(true)
    expect(hmmMirrorRegister(mirror, fixture.mm)).toBe(0)
    fixture.mm.mmapLock.unlockWrite()
    invalidate(fixture, 3, 2)
    hmmMirrorUnregister(mirror)
    hmmMirrorUnregister(mirror)
    invalidate(fixture, 4, 2)
    expect(told).toEqual([[fixture.addr(3), fixture.addr(5), true]])
  })

  it('lets a mirror refuse an update that is not blockable, and no other (RF-91)', () => {
    const fixture = new HmmFixture()
    const mirror = new HmmMirror({ syncCpuDevicePagetables: () => -EAGAIN })
    expect(fixture.mm.mmapLock.tryWrite()).toBe(true)
    expect(hmmMirrorRegister(mirror, fixture.mm)).toBe(0)
    const event = eventOver(fixture, 0, 1)
    event.flags = 0
    expect(mmuNotifierInvalidateRangeStart(event)).toBe(-EAGAIN)
    const before = mirror.notifier?.invalidateSeq ?? 0
    const blockable = eventOver(fixture, 0, 1)
    expect(mmuNotifierInvalidateRangeStart(blockable)).toBe(0)
    mmuNotifierInvalidateRangeEnd(blockable)
    expect(mirror.notifier?.invalidateSeq).toBeGreaterThan(before) // the event took place
  })

  it('releases the mirror when the address space dies, and calls it no more (RF-97)', () => {
    const fixture = new HmmFixture()
    const calls: string[] = []
    const mirror = new HmmMirror({
      syncCpuDevicePagetables: () => {
        calls.push('sync')
        return 0
      },
      release: (released) => {
        expect(released).toBe(mirror)
        calls.push('release')
      },
    })
    expect(fixture.mm.mmapLock.tryWrite()).toBe(true)
    expect(hmmMirrorRegister(mirror, fixture.mm)).toBe(0)
    const death = new MmuNotifierRange(MMU_NOTIFY_RELEASE, null, fixture.mm, 0, 2 ** 64)
    mmuNotifierInvalidateRangeStart(death)
    mmuNotifierInvalidateRangeEnd(death)
    invalidate(fixture, 0, 1)
    expect(calls).toEqual(['release'])
    hmmMirrorUnregister(mirror)
  })

  it('refuses a dead address space (RF-97)', () => {
    const fixture = new HmmFixture()
    fixture.mm.users = 0
    expect(fixture.mm.mmapLock.tryWrite()).toBe(true)
    expect(hmmMirrorRegister(new HmmMirror({ syncCpuDevicePagetables: () => 0 }), fixture.mm)).toBe(-EINVAL)
  })
})
