// The calls of Linux v5.1 to v5.3: ranges that are registered with an address space and carry `valid`, mirrors that are
// called back, and the wrappers `hmm_vma_fault` and `hmm_vma_get_pfns` (spec section 3.10, RF-90 to RF-98). New drivers use
// hmm.ts. These are thin layers: a registered range is an interval notifier, and every walk is `hmmRangeFault` with version
// '5.7', default flags and mask set as each call had it:
//
//   hmmVmaFault               default 0, mask all ones: the entries alone say what is requested
//   hmmVmaGetPfns             default 0, mask 0: a snapshot
//   hmmRangeSnapshot          default 0, mask 0
//   hmmRegisteredRangeFault   the caller's default and mask (`hmm_range_fault(range, block)`)
//
// Two differences. Nothing sleeps, so where the kernel waits these calls return at once with `sys.waitFor` set, and the
// arguments `block` and `timeout` are gone. And a range does not become valid again by itself once it was filled: the kernel
// declared it valid when the invalidation had ended, which hid invalidations that came and went between the walk and the
// driver's look at `valid`. Here `hmmRangeWaitUntilValid` begins anew.

import { type Addr, PAGE_SHIFT, PAGE_SIZE } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { EAGAIN, EBUSY, EFAULT, EINVAL, EPERM } from '../base/errno.ts'
import type { Mm } from '../mm/mm.ts'
import {
  ADDR_MAX,
  MMU_NOTIFIER_RANGE_BLOCKABLE,
  MMU_NOTIFY_RELEASE,
  type MmuIntervalNotifier,
  type MmuNotifierRange,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
} from '../mm/mmu-notifier.ts'
import { VM_HUGETLB, VM_READ, VM_SPECIAL } from '../mm/vm-flags.ts'
import type { Vma } from '../mm/vma.ts'
import { hmmRangeFault } from './hmm.ts'
import { HMM_PFN_VALUE_NONE, HMM_PFN_VALUE_SPECIAL } from './hmm-range.ts'

const ALL_ONES = 2n ** 64n - 1n

/** What the driver chooses about a registered range. */
export interface HmmVmaRangeOptions {
  /** One mapping that contains the range; only the `hmmVma*` calls need it. */
  readonly vma?: Vma
  /** Page-aligned. */
  readonly start: Addr
  /** Exclusive. */
  readonly end: Addr
  /** One entry per page, in the driver's own bits (HmmRange). */
  readonly pfns: BigUint64Array
  readonly flags: readonly bigint[]
  readonly values: readonly bigint[]
  readonly pfnShift: number
  readonly defaultFlags?: bigint
  readonly pfnFlagsMask?: bigint
  /** Device-private pages of this owner are reported. */
  readonly devPrivateOwner?: unknown
}

/** `struct hmm_range` of v5.1 to v5.3. */
export class HmmVmaRange {
  readonly vma: Vma | null
  start: Addr
  end: Addr
  readonly pfns: BigUint64Array
  readonly flags: readonly bigint[]
  readonly values: readonly bigint[]
  readonly pfnShift: number
  defaultFlags: bigint
  pfnFlagsMask: bigint
  readonly devPrivateOwner: unknown
  /** The subscription that stands for the registration; null while not registered. */
  notifier: MmuIntervalNotifier | null = null
  /** From the read section that filled the array; -1 if none has since the range was last waited for. */
  filledSeq = -1

  constructor(options: HmmVmaRangeOptions) {
    this.vma = options.vma ?? null
    this.start = options.start
    this.end = options.end
    this.pfns = options.pfns
    this.flags = options.flags
    this.values = options.values
    this.pfnShift = options.pfnShift
    this.defaultFlags = options.defaultFlags ?? 0n
    this.pfnFlagsMask = options.pfnFlagsMask ?? 0n
    this.devPrivateOwner = options.devPrivateOwner ?? null
  }
}

const RANGE_OPS = {
  invalidate(sub: MmuIntervalNotifier, _range: MmuNotifierRange, curSeq: number): boolean {
    mmuIntervalSetSeq(sub, curSeq)
    return true
  },
}

// ---- registered ranges ----

/**
 * Registers `[start, end)`: from now on the range knows of invalidations.
 *
 * Returns 0, -EINVAL if a border is not a multiple of 2^pageShift or the range is empty, -EFAULT if the address space is
 * dead (RF-90).
 */
export function hmmRangeRegister(
  range: HmmVmaRange,
  mm: Mm,
  start: Addr,
  end: Addr,
  pageShift: number = PAGE_SHIFT,
): number {
  const pageSize = 2 ** pageShift
  if (start % pageSize !== 0 || end % pageSize !== 0 || start >= end) return -EINVAL
  if (mm.users <= 0) return -EFAULT
  assert(range.notifier === null, 'hmmRangeRegister: the range is not registered yet')
  const notifier = mmuIntervalNotifierInsert(mm, start, end - start, RANGE_OPS)
  if (typeof notifier === 'number') return notifier
  range.start = start
  range.end = end
  range.notifier = notifier
  range.filledSeq = -1
  return 0
}

/** Ends the registration; the range is no longer valid. Does nothing for a range that is not registered. */
export function hmmRangeUnregister(range: HmmVmaRange): void {
  if (range.notifier === null) return
  // A removal that has to wait for a running invalidation completes by itself; the callback only counts.
  mmuIntervalNotifierRemove(range.notifier)
  range.notifier = null
}

/** No invalidation of the range is running, and none has been since it was filled. */
export function hmmRangeValid(range: HmmVmaRange): boolean {
  const { notifier, filledSeq } = range
  if (notifier === null || notifier.mm.users <= 0) return false
  if (mmuIntervalReadBegin(notifier) < 0) return false
  return filledSeq < 0 || !mmuIntervalReadRetry(notifier, filledSeq)
}

/**
 * Gives up what the range was filled with and begins anew. False while an invalidation of it runs (the caller waits for
 * `sys.waitFor` and asks again, up to its own time limit) or if the address space is dead.
 */
export function hmmRangeWaitUntilValid(range: HmmVmaRange): boolean {
  const { notifier } = range
  if (notifier === null) return false
  const { mm } = notifier
  range.filledSeq = -1
  if (mm.users <= 0) return false
  if (mmuIntervalReadBegin(notifier) >= 0) return true
  mm.sys.waitFor = mm.subscriptions?.wait ?? null
  return false
}

/**
 * Fills the entries without faulting anything; requests are ignored. The caller holds mmapLock for reading.
 *
 * Returns the number of pages, -EAGAIN if the range is not valid, -EFAULT if it has an address hole or touches a device
 * mapping, -EPERM with all entries NONE if a mapping cannot be read (RF-93).
 */
export function hmmRangeSnapshot(range: HmmVmaRange): number {
  const { notifier } = range
  assert(notifier !== null, 'hmmRangeSnapshot: the range is registered')
  if (!hmmRangeWaitUntilValid(range)) return -EAGAIN
  const err = checkMappings(range, notifier.mm)
  if (err !== 0) return err
  return fill(range, 0n, 0n)
}

/**
 * Fills the entries, faulting in what `defaultFlags`, `pfnFlagsMask` and the entries request. The caller holds mmapLock for
 * reading.
 *
 * Returns the number of pages, or what hmmRangeFault returns. -EAGAIN says that the range is not valid or a fault has to
 * wait; the lock has been released then (RF-93).
 */
export function hmmRegisteredRangeFault(range: HmmVmaRange): number {
  const { notifier } = range
  assert(notifier !== null, 'hmmRegisteredRangeFault: the range is registered')
  const result = hmmRangeWaitUntilValid(range) ? fill(range, range.defaultFlags, range.pfnFlagsMask) : -EAGAIN
  if (result === -EAGAIN) notifier.mm.mmapLock.unlockRead()
  return result
}

// ---- the wrappers of v4.14 to v5.1 ----

/**
 * Faults in what the entries of the range request, each for itself, and registers the range. The caller holds mmapLock for
 * reading, and `range.vma` contains the range. To be followed by `hmmVmaRangeDone`.
 *
 * Returns 0 with the lock held and the range registered. On failure the range is not registered: -EAGAIN an invalidation is
 * running, -EBUSY something changed or has to wait; both have released the lock. Otherwise what hmmRangeFault returns, with the
 * lock held (RF-94).
 */
export function hmmVmaFault(range: HmmVmaRange): number {
  assert(range.vma !== null, 'hmmVmaFault: range.vma is set')
  const { mm } = range.vma
  range.defaultFlags = 0n
  range.pfnFlagsMask = ALL_ONES
  const err = hmmRangeRegister(range, mm, range.start, range.end)
  if (err !== 0) return err
  if (!hmmRangeWaitUntilValid(range)) {
    mm.mmapLock.unlockRead()
    hmmRangeUnregister(range)
    return -EAGAIN
  }
  const result = hmmRegisteredRangeFault(range)
  if (result > 0) return 0
  hmmRangeUnregister(range)
  if (result === -EAGAIN) return -EBUSY // the lock is released already
  if (result !== -EBUSY && result !== 0) return result
  mm.mmapLock.unlockRead()
  return -EBUSY
}

/**
 * Fills the entries of a range inside one mapping without faulting anything, and registers the range. The caller holds
 * mmapLock for reading. To be followed by `hmmVmaRangeDone`.
 *
 * Returns 0, or -EINVAL if the range is not inside `range.vma` or the address space has no mirror; -EINVAL with all entries
 * SPECIAL for a special or hugetlb mapping; -EPERM with all entries NONE for a mapping that cannot be read (RF-96).
 */
export function hmmVmaGetPfns(range: HmmVmaRange): number {
  const { vma, start, end } = range
  if (vma === null || start < vma.start || start >= vma.end || end < vma.start || end > vma.end) return -EINVAL
  if (!hmmHasMirrors(vma.mm)) return -EINVAL
  if ((vma.flags & (VM_SPECIAL | VM_HUGETLB)) !== 0) {
    fillValue(range, HMM_PFN_VALUE_SPECIAL)
    return -EINVAL
  }
  if ((vma.flags & VM_READ) === 0) {
    fillValue(range, HMM_PFN_VALUE_NONE)
    return -EPERM
  }
  const err = hmmRangeRegister(range, vma.mm, start, end)
  if (err !== 0) return err
  const result = fill(range, 0n, 0n)
  if (result >= 0) return 0
  hmmRangeUnregister(range)
  return result
}

/** Ends what `hmmVmaFault` or `hmmVmaGetPfns` began. True if the entries may be used: nothing changed since (RF-95). */
export function hmmVmaRangeDone(range: HmmVmaRange): boolean {
  const valid = hmmRangeValid(range)
  hmmRangeUnregister(range)
  return valid
}

// ---- mirrors ----

/** What a mirror is told: `[start, end)` of the CPU page table is about to change. */
export interface HmmUpdate {
  readonly start: Addr
  readonly end: Addr
  /** The only event there was in that era. */
  readonly event: 'invalidate'
  readonly blockable: boolean
}

/** What the owner of a mirror is called for. */
export interface HmmMirrorOps {
  /** Drops the device's translations. Returns 0, or -EAGAIN for an update that is not blockable. */
  syncCpuDevicePagetables(mirror: HmmMirror, update: HmmUpdate): number
  /** The address space is about to die; no further call comes. */
  release?(mirror: HmmMirror): void
}

/** `struct hmm_mirror`: a device that follows one address space. */
export class HmmMirror {
  readonly ops: HmmMirrorOps
  /** null while not registered. */
  notifier: MmuIntervalNotifier | null = null

  constructor(ops: HmmMirrorOps) {
    this.ops = ops
  }
}

const mirrorsOf = new WeakMap<Mm, Set<HmmMirror>>()

/** Length of a subscription to a whole address space, in bytes: all but the last page, so that its end is exact. */
const WHOLE_SPACE = ADDR_MAX - PAGE_SIZE

/**
 * Lets a mirror follow an address space. The caller holds mmapLock for writing.
 *
 * Returns 0, or -EINVAL if the address space is dead (RF-97).
 */
export function hmmMirrorRegister(mirror: HmmMirror, mm: Mm): number {
  assert(mm.mmapLock.writer, 'hmmMirrorRegister: the mmapLock is held for writing')
  assert(mirror.notifier === null, 'hmmMirrorRegister: the mirror is not registered yet')
  const notifier = mmuIntervalNotifierInsert(mm, 0, WHOLE_SPACE, {
    invalidate: (sub, range, curSeq) => updateMirror(mirror, sub, range, curSeq),
  })
  if (typeof notifier === 'number') return notifier
  mirror.notifier = notifier
  const mirrors = mirrorsOf.get(mm)
  if (mirrors === undefined) mirrorsOf.set(mm, new Set([mirror]))
  else mirrors.add(mirror)
  return 0
}

/** The mirror is not called any more. Does nothing for a mirror that is not registered. Not from a callback. */
export function hmmMirrorUnregister(mirror: HmmMirror): void {
  if (mirror.notifier === null) return
  mirrorsOf.get(mirror.notifier.mm)?.delete(mirror)
  mmuIntervalNotifierRemove(mirror.notifier)
  mirror.notifier = null
}

function hmmHasMirrors(mm: Mm): boolean {
  return (mirrorsOf.get(mm)?.size ?? 0) > 0
}

function updateMirror(mirror: HmmMirror, sub: MmuIntervalNotifier, range: MmuNotifierRange, curSeq: number): boolean {
  const mirrors = mirrorsOf.get(sub.mm)
  if (mirrors === undefined || !mirrors.has(mirror)) {
    mmuIntervalSetSeq(sub, curSeq)
    return true // unregistered, or released: the removal of the notifier is under way
  }
  if (range.event === MMU_NOTIFY_RELEASE) {
    mmuIntervalSetSeq(sub, curSeq)
    mirrors.delete(mirror)
    mirror.ops.release?.(mirror)
    return true
  }
  const blockable = (range.flags & MMU_NOTIFIER_RANGE_BLOCKABLE) !== 0
  const update: HmmUpdate = { start: range.start, end: range.end, event: 'invalidate', blockable }
  const accepted = mirror.ops.syncCpuDevicePagetables(mirror, update) === 0
  // An event that is not blockable ends with the refusal; any other goes on, whatever the mirror says.
  if (accepted || blockable) mmuIntervalSetSeq(sub, curSeq)
  return accepted
}

// ---- shared ----

/** One walk in a read section of its own; remembers the section if the entries may be used. */
function fill(range: HmmVmaRange, defaultFlags: bigint, pfnFlagsMask: bigint): number {
  const { notifier } = range
  assert(notifier !== null, 'only a registered range is filled')
  const { mm } = notifier
  const notifierSeq = mmuIntervalReadBegin(notifier)
  if (notifierSeq < 0) {
    mm.sys.waitFor = mm.subscriptions?.wait ?? null
    return -EAGAIN
  }
  const result = hmmRangeFault({
    notifier,
    notifierSeq,
    start: range.start,
    end: range.end,
    pfns: range.pfns,
    flags: range.flags,
    values: range.values,
    pfnShift: range.pfnShift,
    defaultFlags,
    pfnFlagsMask,
    devPrivateOwner: range.devPrivateOwner,
    version: '5.7',
  })
  if (result >= 0) range.filledSeq = notifierSeq
  return result
}

/** What a snapshot of v5.2 refused (RF-93). */
function checkMappings(range: HmmVmaRange, mm: Mm): number {
  for (let addr = range.start; addr < range.end; ) {
    const vma = mm.vmaLookup(addr)
    if (vma === null || (vma.flags & VM_SPECIAL) !== 0) return -EFAULT
    if ((vma.flags & VM_READ) === 0) {
      fillValue(range, HMM_PFN_VALUE_NONE)
      return -EPERM
    }
    addr = vma.end
  }
  return 0
}

function fillValue(range: HmmVmaRange, value: number): void {
  range.pfns.fill(range.values[value], 0, (range.end - range.start) / PAGE_SIZE)
}
