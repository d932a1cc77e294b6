// The operation `range-fault`: hmmRangeFault in the loop of every driver (MN-45), and its entries as text.

import { type Addr, PAGE_SIZE, type Pfn } from '../../../src/base/addr.ts'
import { assert } from '../../../src/base/assert.ts'
import { EBUSY, errnoName } from '../../../src/base/errno.ts'
import { DmirrorDevice } from '../../../src/devices/dmirror/index.ts'
import { hmmRangeFault } from '../../../src/hmm/hmm.ts'
import {
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  type HmmPfn,
  hmmPfnAt,
  hmmPfnIsError,
  hmmPfnToMapOrder,
  hmmPfnToPfn,
  hmmPfnValid,
  hmmPfnWritable,
} from '../../../src/hmm/hmm-pfn.ts'
import type { HmmRange61 } from '../../../src/hmm/hmm-range.ts'
import { pagemapOf } from '../../../src/mm/memremap.ts'
import { type MmuIntervalNotifier, mmuIntervalReadBegin, mmuIntervalReadRetry } from '../../../src/mm/mmu-notifier.ts'
import type { System } from '../../../src/mm/system.ts'
import type { OperationOf, OperationResult, Request } from '../../trace.ts'

/** Frame bits of an entry that the call has not written: no frame has this number, and requests leave these bits alone. */
const UNWRITTEN = 0xffff_ffffn

/** A call that is busy so often never ends: nothing else runs meanwhile. */
const ATTEMPTS_MAX = 100

export interface RangeFaultTarget {
  /** The arena notifier. */
  readonly notifier: MmuIntervalNotifier
  /** Request of each entry. */
  readonly requests: readonly Request[]
  /** Address of arena page 0. */
  readonly arena: Addr
  /** What `op.owner` names. */
  readonly owner: unknown
}

/** Executes the operation. */
export function executeRangeFault(op: OperationOf<'range-fault'>, target: RangeFaultTarget): OperationResult {
  const { notifier } = target
  const { sys, mmapLock } = notifier.mm
  const requests = target.requests.map(requestBits)
  const start = target.arena + op.page * PAGE_SIZE
  const range: HmmRange61 = {
    notifier,
    notifierSeq: 0,
    start,
    end: start + op.n * PAGE_SIZE,
    hmmPfns: new BigUint64Array(op.n),
    defaultFlags: requestBits(op.default),
    pfnFlagsMask: requestBits(op.mask),
    devPrivateOwner: target.owner,
  }
  let ret = -EBUSY
  let busy = 0
  while (ret === -EBUSY && busy < ATTEMPTS_MAX) {
    requests.forEach((request, i) => {
      range.hmmPfns[i] = unwrittenEntry(request)
    })
    range.notifierSeq = mmuIntervalReadBegin(notifier)
    assert(mmapLock.tryRead(), 'the mmapLock is free: nothing runs beside a replay')
    ret = hmmRangeFault(range)
    mmapLock.unlockRead()
    if (ret === 0 && mmuIntervalReadRetry(notifier, range.notifierSeq)) ret = -EBUSY
    if (ret === -EBUSY) busy++
  }
  const pfns = formatEntries(sys, range.hmmPfns, requests)
  return ret === 0 ? { ret, busy, pfns } : { errno: errnoName(ret), busy, pfns }
}

function requestBits(request: Request): bigint {
  return (request.includes('F') ? HMM_PFN_REQ_FAULT : 0n) | (request.includes('W') ? HMM_PFN_REQ_WRITE : 0n)
}

/** One token per entry, as traces/README.md describes them. `requests` is what the entries held before the call. */
export function formatEntries(sys: System, entries: BigUint64Array, requests: readonly bigint[]): string[] {
  const numbers = new Map<Pfn, number>()
  const numberOf = (pfn: Pfn): number => {
    const number = numbers.get(pfn) ?? numbers.size
    numbers.set(pfn, number)
    return number
  }
  return requests.map((request, i) => formatEntry(sys, hmmPfnAt(entries, i), request, numberOf))
}

/** What an entry looks like while the call has not written it. */
export function unwrittenEntry(request: bigint): bigint {
  return request | UNWRITTEN
}

function formatEntry(sys: System, entry: HmmPfn, request: bigint, numberOf: (pfn: Pfn) => number): string {
  if (entry === unwrittenEntry(request)) {
    const fault = (request & HMM_PFN_REQ_FAULT) !== 0n ? 'f' : ''
    return `u${fault}${(request & HMM_PFN_REQ_WRITE) !== 0n ? 'w' : ''}`
  }
  if (hmmPfnIsError(entry)) return 'E'
  const pfn = hmmPfnToPfn(entry)
  if (!hmmPfnValid(entry)) return pfn === 0 ? '0' : `?${pfn.toString(16)}`
  const order = hmmPfnToMapOrder(entry)
  return `V${hmmPfnWritable(entry) ? 'W' : ''}:${formatPage(sys, pfn, numberOf)}${order === 0 ? '' : `:o${order}`}`
}

function formatPage(sys: System, pfn: Pfn, numberOf: (pfn: Pfn) => number): string {
  if (pfn === sys.zeroPfn) return 'z'
  const owner = pagemapOf(sys, pfn)?.owner
  return owner instanceof DmirrorDevice ? `d${owner.number}:${numberOf(pfn)}` : `${numberOf(pfn)}`
}
