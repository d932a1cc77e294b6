// The interval notifiers of one replayed process and what they saw: slot 0 lies over the arena, slots 1 to 3 are those of
// `watch`. Every callback acknowledges every event, whatever its owner, and writes it down.

import { type Addr, PAGE_SIZE } from '../../../src/base/addr.ts'
import { AssertionError, assert } from '../../../src/base/assert.ts'
import { DmirrorDevice } from '../../../src/devices/dmirror/index.ts'
import type { Mm } from '../../../src/mm/mm.ts'
import {
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_EXCLUSIVE,
  MMU_NOTIFY_MIGRATE,
  MMU_NOTIFY_PROTECTION_PAGE,
  MMU_NOTIFY_PROTECTION_VMA,
  MMU_NOTIFY_RELEASE,
  MMU_NOTIFY_SOFT_DIRTY,
  MMU_NOTIFY_UNMAP,
  type MmuIntervalNotifier,
  type MmuNotifierRange,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
} from '../../../src/mm/mmu-notifier.ts'
import { NSLOTS } from '../../trace.ts'

/** Event, first page, end page, owner. */
export type LoggedEvent = [string, number, number, string]

export const ARENA_SLOT = 0

const EVENT_NAMES: Readonly<Record<number, string>> = {
  [MMU_NOTIFY_UNMAP]: 'UNMAP',
  [MMU_NOTIFY_CLEAR]: 'CLEAR',
  [MMU_NOTIFY_PROTECTION_VMA]: 'PROTECTION_VMA',
  [MMU_NOTIFY_PROTECTION_PAGE]: 'PROTECTION_PAGE',
  [MMU_NOTIFY_SOFT_DIRTY]: 'SOFT_DIRTY',
  [MMU_NOTIFY_RELEASE]: 'RELEASE',
  [MMU_NOTIFY_MIGRATE]: 'MIGRATE',
  [MMU_NOTIFY_EXCLUSIVE]: 'EXCLUSIVE',
}

class Slot {
  notifier: MmuIntervalNotifier | null = null
  /** What `readBegin` returned last. */
  seq = 0
  events: LoggedEvent[] = []
}

export class EventLog {
  private readonly mm: Mm
  private readonly arena: Addr
  private readonly slots = Array.from({ length: NSLOTS }, () => new Slot())
  private isRecording = true

  /** Registers the notifier of slot 0 over `npages` pages from `arena` on. */
  constructor(mm: Mm, arena: Addr, npages: number) {
    this.mm = mm
    this.arena = arena
    const ret = this.insert(ARENA_SLOT, 0, npages)
    assert(ret === 0, () => `no notifier over the arena: ${ret}`)
  }

  /** Registers a notifier over arena pages. Returns 0 or a negative errno. */
  insert(slot: number, page: number, npages: number): number {
    const sub = mmuIntervalNotifierInsert(this.mm, this.arena + page * PAGE_SIZE, npages * PAGE_SIZE, {
      invalidate: (self, range, curSeq) => {
        mmuIntervalSetSeq(self, curSeq)
        if (this.isRecording) this.slots[slot].events.push(this.describe(range))
        return true
      },
    })
    if (typeof sub === 'number') return sub
    this.slots[slot].notifier = sub
    return 0
  }

  /** Returns 0 or a negative errno. */
  remove(slot: number): number {
    const ret = mmuIntervalNotifierRemove(this.notifier(slot))
    this.slots[slot].notifier = null
    return ret
  }

  readBegin(slot: number): void {
    this.slots[slot].seq = mmuIntervalReadBegin(this.notifier(slot))
  }

  readRetry(slot: number): boolean {
    return mmuIntervalReadRetry(this.notifier(slot), this.slots[slot].seq)
  }

  notifier(slot: number): MmuIntervalNotifier {
    const { notifier } = this.slots[slot]
    assert(notifier !== null, () => `slot ${slot} has no notifier`)
    return notifier
  }

  /** What a slot saw since the last call. */
  take(slot: number): LoggedEvent[] {
    const { events } = this.slots[slot]
    if (events.length > 0) this.slots[slot].events = []
    return events
  }

  /** From here on nothing is written down: the process dies. */
  stop(): void {
    this.isRecording = false
  }

  private describe(range: MmuNotifierRange): LoggedEvent {
    const name = EVENT_NAMES[range.event]
    if (name === undefined) throw new AssertionError(`event ${range.event} has no name`)
    const page = (addr: Addr) => (addr - this.arena) / PAGE_SIZE
    return [name, page(range.start), page(range.end), ownerText(range)]
  }
}

/** Only the events that a driver raises for its own pages have an owner. */
function ownerText({ event, owner }: MmuNotifierRange): string {
  if (event !== MMU_NOTIFY_MIGRATE && event !== MMU_NOTIFY_EXCLUSIVE) return ''
  if (owner instanceof DmirrorDevice) return `dev${owner.number}`
  return owner === null || owner === undefined ? '' : String(owner)
}
