// What a dmirror device knows of one address space: its page table for it, the lock of that table, and the subscription
// that keeps it true. Follows `struct dmirror` and its notifier callback in lib/test_hmm.c, Linux 6.1 (spec TD-3 to TD-7).
//
// Quirk kept on purpose (TD-7): the callback takes the end of an event for its last page, so one entry too many goes. An
// event on page N costs the device a fault on page N + 1.

import { addrToVpn, PAGE_SIZE } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { type Mm, mmgetNotZero } from '../../mm/mm.ts'
import { mmput } from '../../mm/mmap.ts'
import {
  ADDR_MAX,
  MMU_NOTIFIER_RANGE_BLOCKABLE,
  MMU_NOTIFY_MIGRATE,
  type MmuIntervalNotifier,
  type MmuIntervalNotifierOps,
  type MmuNotifierRange,
  mmuIntervalNotifierInsert,
  mmuIntervalSetSeq,
} from '../../mm/mmu-notifier.ts'
import type { System } from '../../mm/system.ts'
import type { DeviceMemory, DmirrorKind } from './device-memory.ts'
import { MirrorTable } from './mirror-table.ts'

/** Pages that the driver handles at a time (TD-10). */
export const DMIRROR_BATCH_PAGES = 64

/** What a mirror needs of its device. */
export interface DmirrorHost {
  readonly sys: System
  readonly kind: DmirrorKind
  readonly owner: unknown
  readonly memory: DeviceMemory
  /** Those of all open handles. */
  readonly mirrors: Set<Mirror>
  /** Milliseconds; bounds the loop of a device fault. */
  now(): number
}

export class Mirror {
  readonly device: DmirrorHost
  readonly mm: Mm
  /** Protected by `lock`. */
  readonly table = new MirrorTable()
  /** The driver lock, taken by the callback. Nothing sleeps while it is held, so outside a batch it is free. */
  readonly lock = new MirrorLock()
  /** Over the whole address space; null before `subscribe` and after the handle is closed. */
  notifier: MmuIntervalNotifier | null = null

  constructor(device: DmirrorHost, mm: Mm) {
    this.device = device
    this.mm = mm
  }

  /** Returns 0 or the error of the insertion: -EINVAL for a dead address space. */
  subscribe(): number {
    const ops: MmuIntervalNotifierOps = { invalidate: (sub, range, curSeq) => this.invalidate(sub, range, curSeq) }
    const sub = mmuIntervalNotifierInsert(this.mm, 0, ADDR_MAX - PAGE_SIZE, ops)
    if (typeof sub === 'number') return sub
    this.notifier = sub
    this.device.mirrors.add(this)
    return 0
  }

  /** Takes a user reference on the address space; false if it is dead. */
  getMm(): boolean {
    return mmgetNotZero(this.mm)
  }

  /** Gives it back. */
  putMm(): void {
    mmput(this.mm)
  }

  private invalidate(sub: MmuIntervalNotifier, range: MmuNotifierRange, curSeq: number): boolean {
    // The device migrates pages itself and updates its table as it does so (MN-51).
    if (range.event === MMU_NOTIFY_MIGRATE && range.owner === this.device.owner) return true
    if ((range.flags & MMU_NOTIFIER_RANGE_BLOCKABLE) !== 0) this.lock.acquire()
    else if (!this.lock.tryAcquire()) return false
    mmuIntervalSetSeq(sub, curSeq)
    this.table.eraseRange(addrToVpn(range.start), addrToVpn(range.end)) // the end too: see above
    this.lock.release()
    return true
  }
}

/** A mutex that is never waited for: whoever meets it held has taken locks in the wrong order. */
export class MirrorLock {
  private held = false

  tryAcquire(): boolean {
    if (this.held) return false
    this.held = true
    return true
  }

  acquire(): void {
    assert(this.tryAcquire(), 'the mirror lock is free: nothing sleeps while it is held')
  }

  release(): void {
    assert(this.held, 'the mirror lock is held')
    this.held = false
  }
}
