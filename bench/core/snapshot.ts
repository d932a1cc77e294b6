// Snapshots of a populated range: `hmmRangeFault` in the form of Linux 6.1 with no page requested: it only reads.

import { PAGE_SIZE } from '../../src/base/addr.ts'
import { hmmRangeFault } from '../../src/hmm/hmm.ts'
import { HMM_PFN_VALID, HMM_PFN_WRITE } from '../../src/hmm/hmm-pfn.ts'
import type { HmmRange61 } from '../../src/hmm/hmm-range.ts'
import { mmuIntervalReadBegin } from '../../src/mm/mmu-notifier.ts'
import { cpuTimeNs, type Measure } from '../harness.ts'
import { type ArenaOptions, check, makePopulatedArena } from './arena.ts'
import { subscribe } from './subscription.ts'

/** Rounds take one snapshot of the whole arena, `repeats` times. In nanoseconds per populated page. */
export function prepareSnapshot(options: ArenaOptions, repeats = 1): Measure {
  const arena = makePopulatedArena(options)
  const { mm, start, end } = arena
  const notifier = subscribe(mm, start, end)
  const range: HmmRange61 = {
    notifier,
    notifierSeq: 0,
    start,
    end,
    hmmPfns: new BigUint64Array((end - start) / PAGE_SIZE),
    defaultFlags: 0n,
    pfnFlagsMask: 0n,
    devPrivateOwner: null,
  }
  check(mm.mmapLock.tryRead(), 'the mmapLock')

  const takeSnapshots = () => {
    for (let i = 0; i < repeats; i++) {
      range.notifierSeq = mmuIntervalReadBegin(notifier)
      check(hmmRangeFault(range) === 0, 'the result of the snapshot')
    }
  }
  takeSnapshots()
  const writable = HMM_PFN_VALID | HMM_PFN_WRITE
  const npages = range.hmmPfns.reduce((sum, entry) => sum + ((entry & writable) === writable ? 1 : 0), 0)
  check(npages === arena.npages, 'the number of pages in the snapshot')
  return () => cpuTimeNs(takeSnapshots) / (repeats * arena.npages)
}
