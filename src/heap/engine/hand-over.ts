// Gives pages to the CPU where the hardware cannot ask for them: for each page that the CPU does not have yet, what a fault
// would do. Synchronous as long as nobody has to be waited for.

import { type Addr, PAGE_SIZE, pteIndex } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EFAULT, EIO } from '../../base/errno.ts'
import { mmapReadLock, waitForOther } from '../../devices/edge.ts'
import { handleMmFault } from '../../mm/fault.ts'
import { handlePresentFaults } from '../../mm/fault-present.ts'
import type { Mm } from '../../mm/mm.ts'
import { PTE_KIND_DEVICE_PRIVATE, PTE_KIND_MIGRATION, pteKind, ptePresent } from '../../mm/pte.ts'
import { endDuplicates } from '../../mm/share.ts'
import { FAULT_FLAG_WRITE, VM_FAULT_ERROR, VM_FAULT_RETRY, vmFaultToErrno } from '../../mm/vm-fault.ts'
import type { Vma } from '../../mm/vma.ts'
import type { HeapBackend } from './backend.ts'

/** Pages that are looked at under one hold of mmapLock: 4 MiB. */
const BATCH_PAGES = 1024

/** Faults on one page that may end without effect and without anybody to wait for. */
const FRUITLESS_FAULTS_MAX = 16

/** What became of the pages of a range. */
export interface HandOverCounts {
  /** Pages that were given to the CPU, and those that it had. */
  given: number
  inPlace: number
}

/**
 * Gives the pages of `[start, end)` to the CPU, for reading or for reading and writing. Page aligned; in one mapping.
 *
 * Returns 0, or with the pages before given
 * - -EFAULT the mapping is gone
 * - -ENOMEM, -EHWPOISON, -EFAULT as the fault says
 * - -EIO    the faults end without effect
 */
export async function handOver(
  backend: HeapBackend,
  mm: Mm,
  start: Addr,
  end: Addr,
  write: boolean,
  counts: HandOverCounts,
): Promise<number> {
  const has = (addr: Addr): boolean => {
    const access = backend.cpuAccess(mm, addr)
    return access === 'write' || (access === 'read' && !write)
  }
  const fault = (vma: Vma, addr: Addr): number =>
    backend.forCpu(() => handleMmFault(vma, addr, write ? FAULT_FLAG_WRITE : 0))
  const report = (isGiven: boolean): void => {
    if (isGiven) counts.given++
    else counts.inPlace++
  }
  // Pages that are all there take no fault each. What is not, up to here, does.
  let single = start
  const skip = (vma: Vma, addr: Addr, to: Addr): Addr => {
    if (addr < single) return addr
    const npages = backend.cpuRun(mm, addr, to, write)
    if (npages > 0) {
      counts.inPlace += npages
      return addr + npages * PAGE_SIZE
    }
    single = addr - npages * PAGE_SIZE
    const reached = backend.forCpu(() => handlePresentFaults(vma, addr, single, write ? FAULT_FLAG_WRITE : 0))
    counts.given += (reached - addr) / PAGE_SIZE
    return reached
  }
  return await faultPages(mm, start, end, fault, has, report, skip, write ? endDuplicates : () => 0)
}

/**
 * Brings the pages of `[start, end)` that are not in system memory there, without giving them to anybody. Returns like
 * `handOver`.
 */
export async function bringHome(mm: Mm, start: Addr, end: Addr): Promise<number> {
  const isHome = (addr: Addr): boolean => {
    const flags = entryFlags(mm, addr)
    const kind = pteKind(flags)
    if (ptePresent(flags)) return true
    return kind !== PTE_KIND_DEVICE_PRIVATE && kind !== PTE_KIND_MIGRATION
  }
  return await faultPages(
    mm,
    start,
    end,
    (vma, addr) => handleMmFault(vma, addr, 0),
    isHome,
    () => {},
    (_, addr) => addr,
    () => 0,
  )
}

/** Flags of the entry of a page, 0 for none. */
export function entryFlags(mm: Mm, addr: Addr): number {
  const table = mm.pageTable.findPte(addr)
  return table === null ? 0 : table.words[2 * pteIndex(addr) + 1]
}

/**
 * Faults on each page until it is `done`, and reports for each whether there was a fault, but for pages that `skip` gets behind it: it
 * returns the first that it does not. What is about to be faulted is `prepare`d, some MiB at a time, with mmapLock held.
 */
async function faultPages(
  mm: Mm,
  start: Addr,
  end: Addr,
  faultPage: (vma: Vma, addr: Addr) => number,
  done: (addr: Addr) => boolean,
  report: (isFaulted: boolean) => void,
  skip: (vma: Vma, addr: Addr, end: Addr) => Addr,
  prepare: (mm: Mm, start: Addr, end: Addr) => number,
): Promise<number> {
  let addr = start
  let nfaults = 0
  while (addr < end) {
    if (!mm.mmapLock.tryRead()) await mmapReadLock(mm)
    const vma = mm.vmaLookup(addr)
    const to = Math.min(end, addr + BATCH_PAGES * PAGE_SIZE)
    let err = vma === null ? -EFAULT : 0
    let wait: Promise<void> | null = null
    if (vma !== null) prepare(mm, addr, to)
    while (vma !== null && addr < to && err === 0 && wait === null) {
      if (nfaults === 0) {
        const next = skip(vma, addr, to)
        if (next > addr) {
          addr = next
          continue
        }
      }
      if (done(addr)) {
        report(nfaults > 0)
        nfaults = 0
        addr += PAGE_SIZE
        continue
      }
      assert(addr < vma.end, 'the range lies in one mapping')
      const fault = faultPage(vma, addr)
      nfaults++
      if ((fault & VM_FAULT_ERROR) !== 0) err = vmFaultToErrno(fault, true)
      else if ((fault & VM_FAULT_RETRY) !== 0) wait = waitForOther(mm.sys)
      else if (nfaults > FRUITLESS_FAULTS_MAX) err = -EIO
    }
    mm.mmapLock.unlockRead()
    if (err !== 0) return err
    if (wait !== null) {
      await wait
      nfaults = 1
    }
  }
  return 0
}
