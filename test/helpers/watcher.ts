// An interval notifier over an arena of pages that writes down what it hears, and makes the direct calls of a driver on that
// arena: one hmmRangeFault with the usual read-begin, and single steps of a migration.

import { type Addr, PAGE_SIZE } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import { errnoName } from '../../src/base/errno.ts'
import { hmmRangeFault } from '../../src/hmm/hmm.ts'
import {
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  hmmPfnAt,
  hmmPfnIsError,
  hmmPfnToPfn,
  hmmPfnValid,
  hmmPfnWritable,
} from '../../src/hmm/hmm-pfn.ts'
import type { Mm } from '../../src/mm/mm.ts'
import {
  MMU_NOTIFY_EXCLUSIVE,
  MMU_NOTIFY_MIGRATE,
  type MmuIntervalNotifier,
  mmuIntervalNotifierInsert,
  mmuIntervalReadBegin,
  mmuIntervalSetSeq,
} from '../../src/mm/mmu-notifier.ts'
import { NOTIFY_EVENTS } from '../../src/trace/events.ts'

export const F = HMM_PFN_REQ_FAULT
export const W = HMM_PFN_REQ_WRITE
export const FW = F | W

export interface RangeRequest {
  readonly default?: bigint
  readonly mask?: bigint
  /** Request of single pages, by page of the range. */
  readonly pages?: Readonly<Record<number, bigint>>
  readonly owner?: unknown
}

export class Watcher {
  readonly mm: Mm
  /** Address of page 0. */
  readonly base: Addr
  readonly sub: MmuIntervalNotifier

  private heard: string[] = []

  /** Events that carry an owner name it by `nameOf`. */
  constructor(mm: Mm, base: Addr, npages: number, nameOf: (owner: unknown) => string = () => 'somebody') {
    this.mm = mm
    this.base = base
    const sub = mmuIntervalNotifierInsert(mm, base, npages * PAGE_SIZE, {
      invalidate: (self, range, curSeq) => {
        mmuIntervalSetSeq(self, curSeq)
        const [start, end] = [range.start, range.end].map((addr) => (addr - base) / PAGE_SIZE)
        const owned = range.event === MMU_NOTIFY_MIGRATE || range.event === MMU_NOTIFY_EXCLUSIVE
        const owner = owned ? ` by ${range.owner === null ? 'nobody' : nameOf(range.owner)}` : ''
        this.heard.push(`${NOTIFY_EVENTS[range.event]} ${start}-${end}${owner}`)
        return true
      },
    })
    assert(typeof sub !== 'number', 'the notifier is inserted')
    this.sub = sub
  }

  /** What was heard since the last call. */
  takeEvents(): string[] {
    const events = this.heard
    this.heard = []
    return events
  }

  /**
   * One call of hmmRangeFault on pages `[page, page + npages)`: its result, then one word per page. `0` nothing there, `E`
   * error, `V` valid, `VW` valid and writable, with `z` behind it for the zero page; `u` not written by the call.
   */
  fault(page: number, npages: number, request: RangeRequest = {}): string {
    const hmmPfns = new BigUint64Array(npages).fill(UNTOUCHED)
    for (let i = 0; i < npages; i++) hmmPfns[i] |= request.pages?.[i] ?? 0n
    const before = hmmPfns.slice()
    assert(this.mm.mmapLock.tryRead(), 'the mmapLock is free')
    const ret = hmmRangeFault({
      notifier: this.sub,
      notifierSeq: mmuIntervalReadBegin(this.sub),
      start: this.base + page * PAGE_SIZE,
      end: this.base + (page + npages) * PAGE_SIZE,
      hmmPfns,
      defaultFlags: request.default ?? 0n,
      pfnFlagsMask: request.mask ?? 0n,
      devPrivateOwner: request.owner ?? null,
    })
    this.mm.mmapLock.unlockRead()
    const words = Array.from(hmmPfns, (entry, i) => {
      if (entry === before[i]) return 'u'
      const word = hmmPfnAt(hmmPfns, i)
      if (hmmPfnIsError(word)) return 'E'
      if (!hmmPfnValid(word)) return entry === 0n ? '0' : '?'
      const zero = hmmPfnToPfn(word) === this.mm.sys.zeroPfn ? 'z' : ''
      return `${hmmPfnWritable(word) ? 'VW' : 'V'}${zero}`
    })
    return `${ret === 0 ? 'ok' : errnoName(ret)}: ${words.join(' ')}`
  }
}

/** Put into every entry, so that one that the call did not write shows: no request bit, and no frame has this number. */
const UNTOUCHED = 0xab_cdef_0123n
