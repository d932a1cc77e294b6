// Interval notifiers: how a driver learns that part of an address space changes. Follows mm/mmu_notifier.c of Linux 6.1
// (spec section 2). It differs in that nothing sleeps: where the kernel waits, `mmuIntervalReadBegin` and
// `mmuIntervalNotifierRemove` return -EAGAIN and `Subscriptions.wait` is woken when the running invalidations end.
//
//   seq   2 ──start──> 3 ──end──> 4 ──start──> 5        odd: at least one invalidation that overlaps a subscription runs
//   sub   1 ─callback─> 3 ............ 3 ─callback─> 5   always odd: the last event that the driver acknowledged

import type { Addr } from '../base/addr.ts'
import { EAGAIN, EINVAL, EOVERFLOW } from '../base/errno.ts'
import { type IntervalNode, IntervalTree } from '../base/interval-tree.ts'
import type { PageRuns } from '../base/page-runs.ts'
import { WaitQueue } from '../base/wait-queue.ts'
import type { Mm } from './mm.ts'
import type { Vma } from './vma.ts'

export const MMU_NOTIFY_UNMAP = 0
export const MMU_NOTIFY_CLEAR = 1
export const MMU_NOTIFY_PROTECTION_VMA = 2
export const MMU_NOTIFY_PROTECTION_PAGE = 3
export const MMU_NOTIFY_SOFT_DIRTY = 4
export const MMU_NOTIFY_RELEASE = 5
export const MMU_NOTIFY_MIGRATE = 6
export const MMU_NOTIFY_EXCLUSIVE = 7

export const MMU_NOTIFIER_RANGE_BLOCKABLE = 1 << 0

/** End of everything, as RELEASE and the UNMAP of an exit name it: 2^64, where the kernel says 2^64 - 1 for want of a bit. */
export const ADDR_MAX = 2 ** 64

/** One invalidation of `[start, end)`. */
export class MmuNotifierRange {
  event: number
  start: Addr
  end: Addr
  vma: Vma | null
  mm: Mm
  flags: number
  /** Who runs it; meaningful only for MIGRATE and EXCLUSIVE (MN-3). */
  owner: unknown
  /**
   * An extension beyond Linux: the runs of pages of the range that are meant; null if all are. Whoever does not look takes more away
   * than is needed, which does no harm.
   */
  runs: PageRuns | null = null
  /** An extension beyond Linux: the owner of devices that do not drop their copies, as he makes them new (Renewal in share.ts). */
  renewedBy: unknown = null

  constructor(event: number, vma: Vma | null, mm: Mm, start: Addr, end: Addr, owner: unknown = null) {
    this.event = event
    this.start = start
    this.end = end
    this.vma = vma
    this.mm = mm
    this.flags = MMU_NOTIFIER_RANGE_BLOCKABLE
    this.owner = owner
  }
}

/** What the owner of an interval notifier is called for. */
export interface MmuIntervalNotifierOps {
  /**
   * Called for each event over the subscription, before the page table changes. The callback takes its driver lock, calls
   * `mmuIntervalSetSeq(sub, curSeq)` unless it filters the event out, drops its translations, and returns true. For an
   * event that is not blockable it may return false instead, which stops the event (MN-35).
   */
  invalidate(sub: MmuIntervalNotifier, range: MmuNotifierRange, curSeq: number): boolean
}

/** A driver's interest in the addresses `[start, end)` of one address space. */
export class MmuIntervalNotifier {
  readonly mm: Mm
  readonly ops: MmuIntervalNotifierOps
  readonly start: Addr
  /** Exclusive, where the kernel keeps the last byte: 2^64 - 4096 is a number, the byte before it is not. */
  readonly end: Addr
  /** Always odd (MN-2). */
  invalidateSeq = 0
  /** In the interval tree; null while only on the deferred list. */
  node: IntervalNode<MmuIntervalNotifier> | null = null

  constructor(mm: Mm, start: Addr, end: Addr, ops: MmuIntervalNotifierOps) {
    this.mm = mm
    this.start = start
    this.end = end
    this.ops = ops
  }
}

/** All interval subscriptions of one address space (MN-1). */
export class Subscriptions {
  readonly tree = new IntervalTree<MmuIntervalNotifier>()
  invalidateSeq = 2
  activeInvalidateRanges = 0
  /** Inserts and removals that wait for the running invalidations. */
  deferred: MmuIntervalNotifier[] = []
  /** Woken when `invalidateSeq` becomes even. */
  readonly wait = new WaitQueue()

  get hasInterval(): boolean {
    return this.tree.size > 0 || this.deferred.length > 0
  }

  /** Enters a notifier under its range, at once: nobody invalidates. */
  insert(sub: MmuIntervalNotifier): void {
    sub.node = this.tree.insert(sub.start, lastBelow(sub.end), sub)
  }

  /** Takes a notifier out, at once; one that is in no tree is left as it is. */
  remove(sub: MmuIntervalNotifier): void {
    if (sub.node === null) return
    this.tree.remove(sub.node)
    sub.node = null
    sub.mm.count--
  }
}

/**
 * The greatest number below an end. The tree compares inclusive bounds, and beyond 2^53 `end - 1` may be `end` again; a
 * start lies below `end` exactly if it is not above this.
 */
function lastBelow(end: Addr): number {
  return end * (1 - 2 ** -53)
}

/**
 * Subscribes to `[start, start + length)`. While an event runs whose callbacks were already called, the subscription counts as
 * being invalidated too (MN-13, MN-14), and `mmuIntervalReadBegin` waits for the end.
 *
 * Returns the subscription, or -EOVERFLOW for a range that is empty, ends above 2^64, or is no range of exact numbers, -EINVAL
 * if the address space is dead.
 */
export function mmuIntervalNotifierInsert(
  mm: Mm,
  start: Addr,
  length: number,
  ops: MmuIntervalNotifierOps,
): MmuIntervalNotifier | number {
  if (mm.subscriptions === null) mm.subscriptions = new Subscriptions()
  const subscriptions = mm.subscriptions
  const end = start + length
  if (!Number.isInteger(start) || !Number.isInteger(length) || start < 0 || length <= 0) return -EOVERFLOW
  if (end > ADDR_MAX || end - start !== length || end - length !== start) return -EOVERFLOW
  if (mm.users <= 0) {
    mm.sys.warn('mmuIntervalNotifierInsert: the address space is dead')
    return -EINVAL
  }
  const sub = new MmuIntervalNotifier(mm, start, end, ops)
  mm.count++
  if (subscriptions.activeInvalidateRanges === 0) {
    sub.invalidateSeq = subscriptions.invalidateSeq - 1
    subscriptions.insert(sub)
    return sub
  }
  if ((subscriptions.invalidateSeq & 1) !== 0) {
    subscriptions.deferred.push(sub)
  } else {
    subscriptions.invalidateSeq |= 1
    subscriptions.insert(sub)
  }
  sub.invalidateSeq = subscriptions.invalidateSeq
  return sub
}

/**
 * Ends a subscription; afterwards no callback of it runs any more (MN-17).
 *
 * Returns 0, or -EAGAIN while an invalidation that may still call it runs: the removal is queued, and complete when
 * `mm.subscriptions.wait` is woken (MN-16). So a callback may remove subscriptions, its own too, which the kernel forbids as
 * it would wait for itself; but it must not count on silence before the event has ended.
 */
export function mmuIntervalNotifierRemove(sub: MmuIntervalNotifier): number {
  const subscriptions = sub.mm.subscriptions
  if (subscriptions === null) return -EINVAL
  if ((subscriptions.invalidateSeq & 1) === 0) {
    subscriptions.remove(sub)
    return 0
  }
  const at = subscriptions.deferred.indexOf(sub)
  if (sub.node === null) {
    if (at >= 0) {
      subscriptions.deferred.splice(at, 1)
      sub.mm.count--
    }
    return 0
  }
  if (at < 0) subscriptions.deferred.push(sub)
  return -EAGAIN
}

/**
 * Begins a read section of the driver: the number to give to `mmuIntervalReadRetry` later.
 *
 * Returns -EAGAIN while an event that this subscription acknowledged is running: wait on `mm.subscriptions.wait` (MN-40).
 */
export function mmuIntervalReadBegin(sub: MmuIntervalNotifier): number {
  const subscriptions = sub.mm.subscriptions
  if (subscriptions !== null && sub.invalidateSeq === subscriptions.invalidateSeq) return -EAGAIN
  return sub.invalidateSeq
}

/** True if an event came since `seq` was read: begin again. The caller holds the driver lock (MN-42). */
export function mmuIntervalReadRetry(sub: MmuIntervalNotifier, seq: number): boolean {
  return sub.invalidateSeq !== seq
}

/** The same without the lock; a false answer proves nothing (MN-43). */
export function mmuIntervalCheckRetry(sub: MmuIntervalNotifier, seq: number): boolean {
  return sub.invalidateSeq !== seq
}

/** Acknowledges an event, from the callback and under the driver lock (MN-37). */
export function mmuIntervalSetSeq(sub: MmuIntervalNotifier, curSeq: number): void {
  sub.invalidateSeq = curSeq
}

/** The event only takes write permission away (MN-47). */
export function mmuNotifierRangeUpdateToReadOnly(range: MmuNotifierRange): boolean {
  return range.vma !== null && range.event === MMU_NOTIFY_PROTECTION_VMA && (range.vma.flags & 1) !== 0
}

/** True if anybody listens, so that callers can skip building a range. */
export function mmHasNotifiers(mm: Mm): boolean {
  return mm.subscriptions !== null
}

/**
 * Starts an invalidation: every overlapping subscription is called before this returns.
 *
 * Returns 0, or -EAGAIN if a callback refused a range that is not blockable; the caller then changes nothing and does not
 * call the end (MN-35).
 */
export function mmuNotifierInvalidateRangeStart(range: MmuNotifierRange): number {
  const subscriptions = range.mm.subscriptions
  if (subscriptions === null) return 0
  subscriptions.activeInvalidateRanges++
  const overlapping: MmuIntervalNotifier[] = []
  subscriptions.tree.forEachOverlap(range.start, lastBelow(range.end), (node) => {
    overlapping.push(node.value)
  })
  if (overlapping.length === 0) return 0
  subscriptions.invalidateSeq |= 1
  const curSeq = subscriptions.invalidateSeq
  const blockable = (range.flags & MMU_NOTIFIER_RANGE_BLOCKABLE) !== 0
  for (const sub of overlapping) {
    if (sub.ops.invalidate(sub, range, curSeq)) continue
    if (!blockable) {
      mmuNotifierInvalidateRangeEnd(range)
      return -EAGAIN
    }
    range.mm.sys.warn(`a notifier callback refused event ${range.event}, which cannot be stopped`)
  }
  return 0
}

/** Ends what `mmuNotifierInvalidateRangeStart` began; the page table has changed in between. */
export function mmuNotifierInvalidateRangeEnd(range: MmuNotifierRange): void {
  const subscriptions = range.mm.subscriptions
  if (subscriptions === null || subscriptions.activeInvalidateRanges === 0) return
  subscriptions.activeInvalidateRanges--
  if (subscriptions.activeInvalidateRanges > 0 || (subscriptions.invalidateSeq & 1) === 0) return
  subscriptions.invalidateSeq++
  const deferred = subscriptions.deferred
  subscriptions.deferred = []
  for (const sub of deferred) {
    if (sub.node === null) subscriptions.insert(sub)
    else subscriptions.remove(sub)
  }
  subscriptions.wait.wake()
}
