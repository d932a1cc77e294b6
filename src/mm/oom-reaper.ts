// The OOM reaper: takes memory from a process that is being killed but has not ended yet, so that others can go on. Follows
// `__oom_reap_task_mm` of mm/oom_kill.c, Linux 6.1 (spec MN-36, MN-80). The process is not asked and nobody may be waited
// for, so this is the one place that raises invalidations which a driver may refuse (MN-35).

import { EAGAIN } from '../base/errno.ts'
import type { Mm } from './mm.ts'
import {
  MMU_NOTIFIER_RANGE_BLOCKABLE,
  MMU_NOTIFY_UNMAP,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { VM_HUGETLB, VM_PFNMAP, VM_SHARED } from './vm-flags.ts'
import type { Vma } from './vma.ts'
import { unmapSingleVma } from './zap.ts'

/**
 * Drops all private memory of an address space, mapping by mapping; the mappings stay. What is dropped is lost: from now on
 * faults on private memory answer SIGBUS, so that nobody takes fresh zeroes for the data. The caller is certain that the
 * process will not run again.
 *
 * Returns 0, or -EAGAIN if a driver refused some mapping (the others are reaped) or, with `sys.waitFor` set, while somebody
 * changes the mappings. Call again later.
 */
export function oomReapMm(mm: Mm): number {
  if (!mm.mmapLock.tryRead()) {
    mm.sys.waitFor = mm.mmapLock.released
    return -EAGAIN
  }
  mm.isUnstable = true
  let ret = 0
  for (const vma of mm.vmas) if (isReapable(vma) && !reapVma(vma)) ret = -EAGAIN
  mm.mmapLock.unlockRead()
  return ret
}

/** Private memory of small or transparent huge pages: what is shared others may still need. */
function isReapable(vma: Vma): boolean {
  return (vma.flags & (VM_HUGETLB | VM_PFNMAP)) === 0 && (vma.isAnonymous || (vma.flags & VM_SHARED) === 0)
}

/** False if a driver refused: then nothing has changed. */
function reapVma(vma: Vma): boolean {
  const range = new MmuNotifierRange(MMU_NOTIFY_UNMAP, vma, vma.mm, vma.start, vma.end)
  range.flags &= ~MMU_NOTIFIER_RANGE_BLOCKABLE
  if (mmuNotifierInvalidateRangeStart(range) !== 0) return false
  unmapSingleVma(vma, vma.start, vma.end, null)
  mmuNotifierInvalidateRangeEnd(range)
  return true
}
