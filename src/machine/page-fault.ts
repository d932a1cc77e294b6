// From a CPU access to the frame it reaches, through as many page faults as it takes, or to the signal that ends it. The
// part of arch/x86/mm/fault.c (Linux 6.1) that stands between the processor and `handleMmFault`.

import { type Addr, PAGE_SIZE, type Pfn } from '../base/addr.ts'
import { AssertionError, formatAddr } from '../base/assert.ts'
import { handleMmFault } from '../mm/fault.ts'
import type { Mm } from '../mm/mm.ts'
import {
  FAULT_FLAG_WRITE,
  VM_FAULT_ERROR,
  VM_FAULT_HWPOISON,
  VM_FAULT_HWPOISON_LARGE,
  VM_FAULT_OOM,
  VM_FAULT_RETRY,
  VM_FAULT_SIGBUS,
} from '../mm/vm-fault.ts'
import { VM_ACCESS_FLAGS, VM_WRITE } from '../mm/vm-flags.ts'
import { PAGE_FAULT, translate } from './cpu.ts'

/** How an access can end. The negative number of an outcome is its place in this list. */
export const ACCESS_OUTCOMES = ['ok', 'segv', 'sigbus', 'sigbus-poison', 'out-of-memory', 'would-wait'] as const
export type AccessOutcome = (typeof ACCESS_OUTCOMES)[number]

/** No mapping there, or it does not allow the access. */
export const ACCESS_SEGV = -1
/** The mapping has no page there: beyond the end of the file, or its driver cannot get at it. */
export const ACCESS_SIGBUS = -2
/** The memory behind the page is broken. */
export const ACCESS_SIGBUS_POISON = -3
export const ACCESS_OUT_OF_MEMORY = -4
/** Somebody else must finish first: wait on `sys.waitFor`, then do it again. */
export const ACCESS_WOULD_WAIT = -5

/** Name of what `accessPage` and the `try` functions of a process return; 'ok' for anything that is not negative. */
export function accessOutcome(result: number): AccessOutcome {
  return result >= 0 ? 'ok' : ACCESS_OUTCOMES[-result]
}

/** An access that still faults after so many faults will fault forever: hardware would hang here. */
const FAULTS_MAX = 100

/** The frame that the CPU reaches at `addr`, faulted in if need be, or a negative ACCESS_* number. */
export function accessPage(mm: Mm, addr: Addr, write: boolean): Pfn {
  // The walk uses 48 bits of an address; hardware refuses the others too.
  if (!(addr >= 0 && addr < mm.taskSize)) return ACCESS_SEGV
  for (let nfaults = 0; nfaults < FAULTS_MAX; nfaults++) {
    const pfn = translate(mm.pageTable, addr, write)
    if (pfn !== PAGE_FAULT) return pfn
    const result = doUserAddrFault(mm, addr, write)
    if (result < 0) return result
  }
  throw new AssertionError(`${FAULTS_MAX} page faults at ${formatAddr(addr)} did not make the access possible`)
}

/** One page fault of the program. Returns 0 when the access can be repeated, or a negative ACCESS_* number. */
function doUserAddrFault(mm: Mm, addr: Addr, write: boolean): number {
  if (!mm.mmapLock.tryRead()) {
    mm.sys.waitFor = mm.mmapLock.released
    return ACCESS_WOULD_WAIT
  }
  const vma = mm.vmaLookup(addr)
  // Memory that can be used at all can be read: x86 has no way to forbid that.
  const allowed = vma !== null && (vma.flags & (write ? VM_WRITE : VM_ACCESS_FLAGS)) !== 0
  const fault = allowed ? handleMmFault(vma, addr - (addr % PAGE_SIZE), write ? FAULT_FLAG_WRITE : 0) : 0
  mm.mmapLock.unlockRead()
  if (!allowed) return ACCESS_SEGV
  if ((fault & VM_FAULT_RETRY) !== 0) return ACCESS_WOULD_WAIT
  if ((fault & VM_FAULT_ERROR) === 0) return 0
  if ((fault & VM_FAULT_OOM) !== 0) return ACCESS_OUT_OF_MEMORY
  if ((fault & (VM_FAULT_HWPOISON | VM_FAULT_HWPOISON_LARGE)) !== 0) return ACCESS_SIGBUS_POISON
  return (fault & VM_FAULT_SIGBUS) !== 0 ? ACCESS_SIGBUS : ACCESS_SEGV
}
