// The interval notifier by the numbers of the specification (section 2): sequence numbers, deferral, retry, and the worked
// timeline. Which operation raises which event is in events.test.ts.

import { describe, expect, it } from 'vitest'
import { type Addr, PAGE_SIZE } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { EAGAIN, EINVAL, EOVERFLOW } from '../base/errno.ts'
import { HMM_RANGE_DEFAULT_TIMEOUT } from '../hmm/hmm-range.ts'
import { SimulatedMmu } from '../mmu/simulated/simulated-mmu.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { forkMm } from './fork.ts'
import { Mm } from './mm.ts'
import { mmMmap, mmput } from './mmap.ts'
import {
  ADDR_MAX,
  MMU_NOTIFIER_RANGE_BLOCKABLE,
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_EXCLUSIVE,
  MMU_NOTIFY_MIGRATE,
  MMU_NOTIFY_PROTECTION_PAGE,
  MMU_NOTIFY_PROTECTION_VMA,
  MMU_NOTIFY_RELEASE,
  MMU_NOTIFY_SOFT_DIRTY,
  MMU_NOTIFY_UNMAP,
  MmuIntervalNotifier,
  MmuNotifierRange,
  mmuIntervalCheckRetry,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
  mmuNotifierRangeUpdateToReadOnly,
  type Subscriptions,
} from './mmu-notifier.ts'
import { System } from './system.ts'
import { validateSystem } from './validate.ts'

function makeMm(): Mm {
  return new Mm(new System(new SimulatedMmu({ nframes: 64 })))
}

function subscriptionsOf(mm: Mm): Subscriptions {
  assert(mm.subscriptions !== null, 'there are subscriptions')
  return mm.subscriptions
}

/** A subscription that writes down what it hears. */
class Recorder {
  readonly sub: MmuIntervalNotifier
  /** `cur_seq` of each call. */
  readonly calls: number[] = []
  /** What the callback answers. */
  answer = true
  /** Leaves the sequence number as it is: events are filtered out (MN-37). */
  filters = false
  onCall: (range: MmuNotifierRange) => void = () => {}

  constructor(mm: Mm, start: Addr, length: number) {
    const sub = mmuIntervalNotifierInsert(mm, start, length, {
      invalidate: (self, range, curSeq) => {
        this.calls.push(curSeq)
        if (!this.filters) mmuIntervalSetSeq(self, curSeq)
        this.onCall(range)
        return this.answer
      },
    })
    assert(sub instanceof MmuIntervalNotifier, 'the notifier is inserted')
    this.sub = sub
  }
}

function subscribe(mm: Mm, start: Addr, length: number): Recorder {
  return new Recorder(mm, start, length)
}

/** A blockable CLEAR over `[start, end)` that has begun. */
function begin(mm: Mm, start: Addr, end: Addr, event = MMU_NOTIFY_CLEAR): MmuNotifierRange {
  const range = new MmuNotifierRange(event, null, mm, start, end)
  expect(mmuNotifierInvalidateRangeStart(range)).toBe(0)
  validateSystem(mm.sys)
  return range
}

function end(range: MmuNotifierRange): void {
  mmuNotifierInvalidateRangeEnd(range)
  validateSystem(range.mm.sys)
}

const A = 0x10000
const B = 0x20000
const LENGTH = 0x10000
const AFTER = 0x40000

describe('mmuIntervalNotifierInsert()', () => {
  it('makes the subscriptions of the address space with sequence number 2 (MN-1), also if it fails (MN-10)', () => {
    const mm = makeMm()
    expect(mm.subscriptions).toBe(null)
    expect(mmuIntervalNotifierInsert(mm, A, 0, { invalidate: () => true })).toBe(-EOVERFLOW)
    const { invalidateSeq, activeInvalidateRanges, hasInterval, deferred } = subscriptionsOf(mm)
    expect([invalidateSeq, activeInvalidateRanges, hasInterval, deferred]).toEqual([2, 0, false, []])
    const { sub } = subscribe(mm, A, LENGTH)
    expect([sub.start, sub.end, sub.invalidateSeq]).toEqual([A, A + LENGTH, 1]) // MN-2, MN-12
    expect(subscriptionsOf(mm).invalidateSeq).toBe(2)
    expect(mm.count).toBe(2) // MN-11
  })

  it.each([
    [A, 0],
    [A, -PAGE_SIZE],
    [-PAGE_SIZE, 2 * PAGE_SIZE],
    [A, Number.NaN],
    [Number.NaN, PAGE_SIZE],
    [A, Number.POSITIVE_INFINITY],
    [0.5, PAGE_SIZE],
    [0, ADDR_MAX + 4096],
    [PAGE_SIZE, ADDR_MAX],
    [ADDR_MAX - PAGE_SIZE, PAGE_SIZE + 1], // the sum is 2^64 when it is rounded
    [1, ADDR_MAX - PAGE_SIZE], // the end is no number
  ])('returns -EOVERFLOW for start %d and length %d, and subscribes nothing (MN-10)', (start, length) => {
    const mm = makeMm()
    expect(mmuIntervalNotifierInsert(mm, start, length, { invalidate: () => true })).toBe(-EOVERFLOW)
    expect([subscriptionsOf(mm).hasInterval, mm.count]).toEqual([false, 1])
  })

  it('returns -EINVAL for a dead address space, with a warning (MN-11)', () => {
    const mm = makeMm()
    expect(mmput(mm)).toBe(0)
    expect(mmuIntervalNotifierInsert(mm, A, LENGTH, { invalidate: () => true })).toBe(-EINVAL)
    expect([mm.count, mm.sys.warnings]).toEqual([1, ['mmuIntervalNotifierInsert: the address space is dead']])
  })

  it('while an event runs that overlapped somebody: deferred, and waits for its end (MN-13, TS-52)', () => {
    const mm = makeMm()
    subscribe(mm, A, LENGTH)
    const event = begin(mm, A, A + PAGE_SIZE)
    const late = subscribe(mm, A, LENGTH)
    expect([late.sub.node, late.sub.invalidateSeq]).toEqual([null, 3])
    expect(subscriptionsOf(mm).deferred).toEqual([late.sub])
    expect(mmuIntervalReadBegin(late.sub)).toBe(-EAGAIN)
    end(begin(mm, A, A + PAGE_SIZE)) // a second event inside the first does not reach it either
    expect(late.calls).toEqual([])
    end(event)
    expect(late.sub.node).not.toBe(null)
    expect([late.calls, mmuIntervalReadBegin(late.sub)]).toEqual([[], 3])
    end(begin(mm, A, A + PAGE_SIZE))
    expect(late.calls).toEqual([5])
  })

  it('while an event runs that overlapped nobody: at once, and waits for its end (MN-14, TS-52)', () => {
    const mm = makeMm()
    subscribe(mm, A, LENGTH)
    const event = begin(mm, B, B + PAGE_SIZE)
    expect(subscriptionsOf(mm).invalidateSeq).toBe(2) // MN-31
    const late = subscribe(mm, B, LENGTH)
    expect(subscriptionsOf(mm).invalidateSeq).toBe(3)
    expect([late.sub.node === null, late.sub.invalidateSeq, late.calls]).toEqual([false, 3, []])
    expect(mmuIntervalReadBegin(late.sub)).toBe(-EAGAIN)
    const nested = begin(mm, B, B + PAGE_SIZE)
    expect(late.calls).toEqual([3])
    end(nested)
    expect(mmuIntervalReadBegin(late.sub)).toBe(-EAGAIN)
    end(event)
    expect(mmuIntervalReadBegin(late.sub)).toBe(3)
  })

  it('does not replay events that have ended (MN-18)', () => {
    const mm = makeMm()
    subscribe(mm, A, LENGTH)
    end(begin(mm, A, A + PAGE_SIZE))
    const late = subscribe(mm, A, LENGTH)
    expect([late.calls, late.sub.invalidateSeq, mmuIntervalReadBegin(late.sub)]).toEqual([[], 3, 3])
  })

  it('several subscriptions are called in ascending order of their starts; a child has none (MN-19)', () => {
    const mm = makeMm()
    const order: string[] = []
    const watch = (name: string, start: Addr) => {
      subscribe(mm, start, LENGTH).onCall = () => order.push(name)
    }
    watch('third', B)
    watch('first', A)
    watch('second', A + PAGE_SIZE)
    watch('fourth', B)
    end(begin(mm, A, AFTER))
    expect(order).toEqual(['first', 'second', 'third', 'fourth'])
    const child = forkMm(mm)
    expect(child instanceof Mm && child.subscriptions).toBe(null)
  })
})

describe('a subscription to everything', () => {
  it('ends exactly where it says, also where a number has no neighbour 1 below it', () => {
    const mm = makeMm()
    const last = ADDR_MAX - PAGE_SIZE // the test driver of the kernel mirrors [0, 2^64 - 4096)
    const all = subscribe(mm, 0, last)
    expect(all.sub.end).toBe(last)
    end(begin(mm, last, ADDR_MAX)) // begins where it ends
    expect(all.calls).toEqual([])
    end(begin(mm, last - PAGE_SIZE, last))
    expect(all.calls).toEqual([3])
    const top = subscribe(mm, last, PAGE_SIZE)
    end(begin(mm, 0, last))
    expect([all.calls, top.calls]).toEqual([[3, 5], []])
    end(begin(mm, 0, ADDR_MAX, MMU_NOTIFY_RELEASE))
    expect([all.calls, top.calls]).toEqual([[3, 5, 7], [7]])
  })

  it('small ones end exactly too, at any byte', () => {
    const mm = makeMm()
    const odd = subscribe(mm, A + 1, 1)
    end(begin(mm, A, A + 1))
    end(begin(mm, A + 2, A + 3))
    expect(odd.calls).toEqual([])
    end(begin(mm, A + 1, A + 2))
    expect(odd.calls).toEqual([3])
  })
})

describe('mmuIntervalNotifierRemove()', () => {
  it('outside of events removes at once (MN-15, MN-17)', () => {
    const mm = makeMm()
    const { sub, calls } = subscribe(mm, A, LENGTH)
    expect(mmuIntervalNotifierRemove(sub)).toBe(0)
    expect([subscriptionsOf(mm).hasInterval, mm.count]).toEqual([false, 1])
    end(begin(mm, A, A + PAGE_SIZE))
    expect([calls, subscriptionsOf(mm).invalidateSeq]).toEqual([[], 2])
    expect(mmuIntervalNotifierRemove(sub)).toBe(0) // once more changes nothing
    expect(mm.count).toBe(1)
  })

  it('while an event runs that overlapped nobody removes at once (MN-15)', () => {
    const mm = makeMm()
    const { sub } = subscribe(mm, A, LENGTH)
    const event = begin(mm, B, B + PAGE_SIZE)
    expect(mmuIntervalNotifierRemove(sub)).toBe(0)
    expect(mm.count).toBe(1)
    end(event)
  })

  it('while an event runs that overlapped somebody is queued, and the caller waits (MN-16, TS-52)', () => {
    const mm = makeMm()
    const { sub, calls } = subscribe(mm, A, LENGTH)
    subscribe(mm, B, LENGTH)
    const event = begin(mm, B, B + PAGE_SIZE)
    let woken = 0
    subscriptionsOf(mm).wait.add(() => woken++)
    expect(mmuIntervalNotifierRemove(sub)).toBe(-EAGAIN)
    expect(mmuIntervalNotifierRemove(sub)).toBe(-EAGAIN) // asked again, queued once
    expect(subscriptionsOf(mm).deferred).toEqual([sub])
    const nested = begin(mm, A, A + PAGE_SIZE)
    expect(calls).toEqual([3]) // not gone yet
    end(nested)
    expect([woken, mm.count]).toEqual([0, 3])
    end(event)
    expect([woken, mm.count, sub.node, subscriptionsOf(mm).deferred]).toEqual([1, 2, null, []])
    expect(mmuIntervalNotifierRemove(sub)).toBe(0)
    end(begin(mm, A, A + PAGE_SIZE))
    expect([calls, mm.count]).toEqual([[3], 2])
  })

  it('of one that waits to be inserted takes it off the list and does not wait (MN-16, TS-52)', () => {
    const mm = makeMm()
    subscribe(mm, A, LENGTH)
    const event = begin(mm, A, A + PAGE_SIZE)
    const late = subscribe(mm, A, LENGTH)
    expect(mmuIntervalNotifierRemove(late.sub)).toBe(0)
    expect([subscriptionsOf(mm).deferred, mm.count]).toEqual([[], 2])
    end(event)
    expect([late.sub.node, subscriptionsOf(mm).tree.size]).toEqual([null, 1])
  })

  it('from a callback is queued: the others of the event are still called, and it ends with the event', () => {
    const mm = makeMm()
    const first = subscribe(mm, A, LENGTH)
    const second = subscribe(mm, A + PAGE_SIZE, LENGTH)
    const answers: number[] = []
    first.onCall = () => answers.push(mmuIntervalNotifierRemove(first.sub), mmuIntervalNotifierRemove(second.sub))
    const event = begin(mm, A, AFTER)
    expect([answers, second.calls]).toEqual([[-EAGAIN, -EAGAIN], [3]])
    end(event)
    expect([mm.count, subscriptionsOf(mm).hasInterval]).toEqual([1, false])
    end(begin(mm, A, AFTER))
    expect([first.calls, second.calls]).toEqual([[3], [3]])
  })

  it('a callback may insert too: deferred like any other', () => {
    const mm = makeMm()
    const first = subscribe(mm, A, LENGTH)
    const inserted: Recorder[] = []
    first.onCall = () => {
      if (inserted.length === 0) inserted.push(subscribe(mm, A, LENGTH))
    }
    const event = begin(mm, A, AFTER)
    expect([inserted[0].sub.node, mm.count]).toEqual([null, 3])
    end(event)
    expect(inserted[0].calls).toEqual([])
    end(begin(mm, A, AFTER))
    expect(inserted[0].calls).toEqual([5])
  })

  it('on an address space without any is -EINVAL', () => {
    const stray = new MmuIntervalNotifier(makeMm(), A, B, { invalidate: () => true })
    expect(mmuIntervalNotifierRemove(stray)).toBe(-EINVAL)
  })
})

describe('the worked timeline (MN-95 to MN-99)', () => {
  it('goes as written', () => {
    const mm = makeMm()
    const a = subscribe(mm, A, LENGTH)
    const seqs = () => [subscriptionsOf(mm).invalidateSeq, a.sub.invalidateSeq]
    expect(seqs()).toEqual([2, 1]) // MN-95
    const first = mmuIntervalReadBegin(a.sub) // MN-40
    expect([first, mmuIntervalReadRetry(a.sub, first)]).toEqual([1, false])

    const event = begin(mm, A, A + PAGE_SIZE)
    expect([seqs(), a.calls]).toEqual([[3, 3], [3]]) // MN-96
    expect(mmuIntervalReadRetry(a.sub, first)).toBe(true)
    expect(mmuIntervalReadBegin(a.sub)).toBe(-EAGAIN)
    let woken = false
    subscriptionsOf(mm).wait.add(() => {
      woken = true
    })

    end(event)
    expect([seqs(), woken]).toEqual([[4, 3], true]) // MN-97
    const second = mmuIntervalReadBegin(a.sub)
    expect([second, mmuIntervalReadRetry(a.sub, second)]).toEqual([3, false])

    const elsewhere = begin(mm, AFTER, AFTER + PAGE_SIZE)
    expect([seqs(), mmuIntervalReadBegin(a.sub)]).toEqual([[4, 3], 3]) // MN-98, nobody overlaps
    end(elsewhere)
    expect(seqs()).toEqual([4, 3])
    const b = subscribe(mm, AFTER, LENGTH)
    const overB = begin(mm, AFTER, AFTER + PAGE_SIZE)
    expect([seqs(), mmuIntervalReadBegin(a.sub)]).toEqual([[5, 3], 3]) // MN-98, B overlaps
    end(overB)
    expect([seqs(), b.calls, mmuIntervalReadRetry(a.sub, second)]).toEqual([[6, 3], [5], false])

    a.filters = true
    const filtered = begin(mm, A, A + PAGE_SIZE)
    expect([seqs(), mmuIntervalReadBegin(a.sub)]).toEqual([[7, 3], 3]) // MN-99: no wait
    end(filtered)
    expect([seqs(), mmuIntervalReadRetry(a.sub, second)]).toEqual([[8, 3], false]) // no retry
  })
})

describe('an event', () => {
  it('that overlaps nobody leaves the sequence number and counts as running (MN-30, MN-31, MN-32)', () => {
    const mm = makeMm()
    subscribe(mm, A, LENGTH)
    const event = begin(mm, B, B + PAGE_SIZE)
    const subscriptions = subscriptionsOf(mm)
    expect([subscriptions.invalidateSeq, subscriptions.activeInvalidateRanges]).toEqual([2, 1])
    let woken = 0
    subscriptions.wait.add(() => woken++)
    end(event)
    expect([subscriptions.invalidateSeq, subscriptions.activeInvalidateRanges, woken]).toEqual([2, 0, 0])
  })

  it('inside or across another shares its odd number until the last has ended (MN-32, MN-33, MN-44)', () => {
    const mm = makeMm()
    const a = subscribe(mm, A, LENGTH)
    const seq = mmuIntervalReadBegin(a.sub)
    const first = begin(mm, A, A + PAGE_SIZE, MMU_NOTIFY_MIGRATE)
    const second = begin(mm, A, A + PAGE_SIZE)
    expect(a.calls).toEqual([3, 3])
    end(first)
    expect([subscriptionsOf(mm).invalidateSeq, mmuIntervalReadBegin(a.sub)]).toEqual([3, -EAGAIN])
    end(second)
    expect([subscriptionsOf(mm).invalidateSeq, mmuIntervalReadBegin(a.sub)]).toEqual([4, 3])
    expect(mmuIntervalReadRetry(a.sub, seq)).toBe(true) // who read before the first has an older number
  })

  it('makes a reader retry that overlaps it, however it lies (MN-38, MN-41, MN-42, MN-43)', () => {
    const mm = makeMm()
    const a = subscribe(mm, A, LENGTH)
    const before = mmuIntervalReadBegin(a.sub)
    expect(mmuIntervalCheckRetry(a.sub, before)).toBe(false)
    let inside = 0
    a.filters = true
    a.onCall = (range) => {
      inside = mmuIntervalReadBegin(a.sub) // running, and not acknowledged yet: does not wait
      mmuIntervalSetSeq(a.sub, subscriptionsOf(range.mm).invalidateSeq)
    }
    const event = begin(mm, A, A + PAGE_SIZE)
    expect(inside).toBe(1)
    expect([mmuIntervalReadRetry(a.sub, before), mmuIntervalCheckRetry(a.sub, inside)]).toEqual([true, true])
    end(event)
    const after = mmuIntervalReadBegin(a.sub)
    expect([mmuIntervalReadRetry(a.sub, after), mmuIntervalReadRetry(a.sub, before)]).toEqual([false, true])
  })

  it('that a callback refuses goes on with a warning if it is blockable (MN-34)', () => {
    const mm = makeMm()
    const first = subscribe(mm, A, LENGTH)
    const second = subscribe(mm, B, LENGTH)
    first.answer = false
    const event = begin(mm, A, AFTER)
    expect(event.flags).toBe(MMU_NOTIFIER_RANGE_BLOCKABLE)
    expect([first.calls, second.calls, mm.sys.warnings.length]).toEqual([[3], [3], 1])
    end(event)
    expect(subscriptionsOf(mm).invalidateSeq).toBe(4)
  })

  it('that a callback refuses is stopped if it is not blockable: -EAGAIN, as after an end (MN-35)', () => {
    const mm = makeMm()
    const [first, second, third] = [A, A + PAGE_SIZE, B].map((start) => subscribe(mm, start, LENGTH))
    second.answer = false
    second.filters = true // a driver that could not take its lock
    const range = new MmuNotifierRange(MMU_NOTIFY_UNMAP, null, mm, A, AFTER)
    range.flags &= ~MMU_NOTIFIER_RANGE_BLOCKABLE
    expect(mmuNotifierInvalidateRangeStart(range)).toBe(-EAGAIN)
    validateSystem(mm.sys)
    expect([first.calls, second.calls, third.calls]).toEqual([[3], [3], []])
    const { invalidateSeq, activeInvalidateRanges } = subscriptionsOf(mm)
    expect([invalidateSeq, activeInvalidateRanges]).toEqual([4, 0])
    expect([first, second, third].map(({ sub }) => sub.invalidateSeq)).toEqual([3, 1, 1])
    expect(mm.sys.warnings).toEqual([])
  })

  it('in an address space that nobody subscribed to costs nothing and changes nothing', () => {
    const mm = makeMm()
    end(begin(mm, A, AFTER))
    expect(mm.subscriptions).toBe(null)
  })

  it('whose end comes after the first subscription was inserted is not counted', () => {
    const mm = makeMm()
    const event = begin(mm, A, AFTER) // there was nobody to count it
    const { sub } = subscribe(mm, A, LENGTH)
    end(event)
    expect([subscriptionsOf(mm).activeInvalidateRanges, mmuIntervalReadBegin(sub)]).toEqual([0, 1])
  })
})

describe('events', () => {
  it('have the numbers of the kernel (MN-50)', () => {
    const events = [
      MMU_NOTIFY_UNMAP,
      MMU_NOTIFY_CLEAR,
      MMU_NOTIFY_PROTECTION_VMA,
      MMU_NOTIFY_PROTECTION_PAGE,
      MMU_NOTIFY_SOFT_DIRTY,
      MMU_NOTIFY_RELEASE,
      MMU_NOTIFY_MIGRATE,
      MMU_NOTIFY_EXCLUSIVE,
    ]
    expect(events).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  })

  it('bound the loop of a driver to a second (MN-46)', () => {
    expect(HMM_RANGE_DEFAULT_TIMEOUT).toBe(1000) // milliseconds
  })

  it('mmuNotifierRangeUpdateToReadOnly() is true for PROTECTION_VMA of a mapping that can be read (MN-47)', () => {
    const mm = makeMm()
    const map = (prot: number) => {
      expect(mmMmap(mm, A, PAGE_SIZE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)).toBe(A)
      return mm.vmaLookup(A)
    }
    const readOnly = (event: number, vma: ReturnType<typeof map>) =>
      mmuNotifierRangeUpdateToReadOnly(new MmuNotifierRange(event, vma, mm, A, A + PAGE_SIZE))
    const readable = map(PROT_READ)
    expect(readOnly(MMU_NOTIFY_PROTECTION_VMA, readable)).toBe(true)
    expect(readOnly(MMU_NOTIFY_PROTECTION_PAGE, readable)).toBe(false)
    expect(readOnly(MMU_NOTIFY_PROTECTION_VMA, null)).toBe(false)
    expect(readOnly(MMU_NOTIFY_PROTECTION_VMA, map(PROT_READ | PROT_WRITE))).toBe(true)
    expect(readOnly(MMU_NOTIFY_PROTECTION_VMA, map(PROT_NONE))).toBe(false)
  })
})
