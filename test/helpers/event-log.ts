// Writes down every invalidation of an address space, exactly as it was raised: event, range, mapping, owner. One notifier
// over everything, like that of the kernel's test driver; it acknowledges what it hears.

import { type Addr, PAGE_SIZE } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import type { Mm } from '../../src/mm/mm.ts'
import {
  ADDR_MAX,
  MMU_NOTIFIER_RANGE_BLOCKABLE,
  MMU_NOTIFY_EXCLUSIVE,
  MMU_NOTIFY_MIGRATE,
  type MmuIntervalNotifier,
  type MmuNotifierRange,
  mmuIntervalNotifierInsert,
  mmuIntervalSetSeq,
} from '../../src/mm/mmu-notifier.ts'
import { NOTIFY_EVENTS } from '../../src/trace/events.ts'

export class EventLog {
  readonly sub: MmuIntervalNotifier
  /** What the callback answers. */
  answer: (range: MmuNotifierRange) => boolean = () => true
  private readonly base: Addr
  private readonly nameOf: (owner: unknown) => string
  private lines: string[] = []

  /** Addresses are written as pages from `base` on; owners of MIGRATE and EXCLUSIVE by `nameOf`. */
  constructor(mm: Mm, base: Addr, nameOf: (owner: unknown) => string = () => 'somebody') {
    this.base = base
    this.nameOf = nameOf
    const sub = mmuIntervalNotifierInsert(mm, 0, ADDR_MAX - PAGE_SIZE, {
      invalidate: (self, range, curSeq) => {
        mmuIntervalSetSeq(self, curSeq)
        this.lines.push(this.format(range))
        return this.answer(range)
      },
    })
    assert(typeof sub !== 'number', () => `the notifier is inserted: ${sub}`)
    this.sub = sub
  }

  /**
   * The events since the last call, oldest first: `CLEAR 2-3 of 0-8` is one over page 2 in the mapping of pages 0 to 7, as it
   * was at that time. `all` is everything, `of none` no mapping, `by nobody` an owner of null.
   */
  take(): string[] {
    return this.lines.splice(0)
  }

  private format(range: MmuNotifierRange): string {
    const { event, start, end, vma, flags, owner } = range
    const where = start === 0 && end === ADDR_MAX ? 'all' : `${this.page(start)}-${this.page(end)}`
    const of = vma === null ? 'none' : `${this.page(vma.start)}-${this.page(vma.end)}`
    const owned = event === MMU_NOTIFY_MIGRATE || event === MMU_NOTIFY_EXCLUSIVE
    const by = owned ? ` by ${owner === null ? 'nobody' : this.nameOf(owner)}` : ''
    const refusable = (flags & MMU_NOTIFIER_RANGE_BLOCKABLE) === 0 ? ', may be refused' : ''
    return `${NOTIFY_EVENTS[event]} ${where} of ${of}${by}${refusable}`
  }

  private page(addr: Addr): number {
    return (addr - this.base) / PAGE_SIZE
  }
}
