// Events at level verbose: each time that the page table is about to change, and how many subscribers were told. The tracer is a
// subscriber itself, of all addresses, that has nothing to drop.

import { assert } from '../../base/assert.ts'
import type { Mm } from '../../mm/mm.ts'
import {
  type MmuIntervalNotifier,
  type MmuNotifierRange,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
} from '../../mm/mmu-notifier.ts'
import { NOTIFY_EVENTS } from '../../trace/events.ts'
import type { Tracer } from '../../trace/tracer.ts'

/** Begins to report invalidations. Returns what ends it; to be called before the address space goes. */
export function traceInvalidations(mm: Mm, tracer: Tracer): () => void {
  const sub = mmuIntervalNotifierInsert(mm, 0, mm.taskSize, {
    invalidate(self, range) {
      if (tracer.verbose) tracer.emit(eventOf(self, range))
      return true
    },
  })
  assert(typeof sub !== 'number', () => `subscribing to a fresh address space returned ${sub}`)
  return () => void mmuIntervalNotifierRemove(sub)
}

function eventOf(self: MmuIntervalNotifier, { mm, start, end, event }: MmuNotifierRange) {
  let nsubscribers = 0
  mm.subscriptions?.tree.forEachOverlap(start, end - 1, (node) => {
    if (node.value !== self) nsubscribers++
  })
  return { kind: 'invalidation', start, end, event: NOTIFY_EVENTS[event], nsubscribers } as const
}
