// The notifier of a driver that has nothing to drop: it acknowledges each event, and nothing else.

import type { Addr } from '../../src/base/addr.ts'
import type { Mm } from '../../src/mm/mm.ts'
import { type MmuIntervalNotifier, mmuIntervalNotifierInsert, mmuIntervalSetSeq } from '../../src/mm/mmu-notifier.ts'

export function subscribe(mm: Mm, start: Addr, end: Addr): MmuIntervalNotifier {
  const notifier = mmuIntervalNotifierInsert(mm, start, end - start, {
    invalidate(sub, _range, curSeq) {
      mmuIntervalSetSeq(sub, curSeq)
      return true
    },
  })
  if (typeof notifier === 'number') throw new Error(`bench: no subscription, errno ${notifier}`)
  return notifier
}
