// The asynchronous edge: where promises meet the core that never waits. A call into the core that cannot go on names whom to
// wait for (`sys.waitFor`); these functions wait there and call again. mmapLock is real state, so whoever holds it across an
// await keeps the mappings as they are: writers queue up here, and no new reader passes a writer that waits.

import { type Addr, PAGE_SIZE, pageAlignDown, pmdIndex, pteIndex } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { EFAULT, EIO } from '../base/errno.ts'
import { handleMmFault } from '../mm/fault.ts'
import { type Mm, mmgetNotZero } from '../mm/mm.ts'
import { mmput } from '../mm/mmap.ts'
import { PTE_PRESENT, PTE_PROTNONE, PTE_WRITE } from '../mm/pte.ts'
import type { System } from '../mm/system.ts'
import { FAULT_FLAG_WRITE, VM_FAULT_ERROR, VM_FAULT_RETRY, vmFaultToErrno } from '../mm/vm-fault.ts'
import { VM_ACCESS_FLAGS, VM_WRITE } from '../mm/vm-flags.ts'

/** Faults on one page that may end without the access being possible. Hardware would go on forever. */
const FRUITLESS_FAULTS_MAX = 100

/** Waits for whom the call just before named. To be called without anything in between: there is one `waitFor` for all. */
export function waitForOther(sys: System): Promise<void> {
  const queue = sys.waitFor
  assert(queue !== null, 'somebody was named to wait for')
  sys.waitFor = null
  return queue.promise()
}

/** Takes mmapLock for reading. The caller ends it with `mm.mmapLock.unlockRead()`. */
export async function mmapReadLock(mm: Mm): Promise<void> {
  while (!mm.mmapLock.tryRead()) await mm.mmapLock.released.promise()
}

/**
 * Runs a call that changes mappings (munmap, mprotect, ...) once nothing holds them, and before any reader that comes later. Hands out
 * what it returns. Nobody else gets a turn while the lock is held.
 */
export async function withMmapWriteLock<T>(mm: Mm, call: () => T): Promise<T> {
  const { mmapLock } = mm
  if (!mmapLock.tryWrite()) {
    mmapLock.waitingWriters++
    while (!mmapLock.tryWrite()) await mmapLock.released.promise()
    mmapLock.waitingWriters--
  }
  try {
    return call()
  } finally {
    mmapLock.unlockWrite()
  }
}

/** Keeps the address space alive while `work` runs, which ends with undefined if it is dead already. */
export async function withUser<T>(mm: Mm, work: () => Promise<T>): Promise<T | undefined> {
  if (!mmgetNotZero(mm)) return undefined
  try {
    return await work()
  } finally {
    mmput(mm)
  }
}

/** Machines of which a device is in a page fault. */
const deviceFaults = new WeakSet<System>()

/** Runs a fault on behalf of a device. What a launch works on is kept from the CPU, and not from the device that runs it. */
export function asDeviceFault<T>(sys: System, fault: () => T): T {
  deviceFaults.add(sys)
  try {
    return fault()
  } finally {
    deviceFaults.delete(sys)
  }
}

export function isDeviceFault(sys: System): boolean {
  return deviceFaults.has(sys)
}

/** Runs work one after the other, in the order in which it was handed in. */
export class Serial {
  private last: Promise<unknown> = Promise.resolve()

  /** Begins `work` when everything before has ended, well or not. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.last.then(work)
    this.last = result.catch(() => {})
    return result
  }
}

/** Waits until all have settled, also after a failure; rejects with the first one. */
export async function allSettled(parts: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(parts)).find((part) => part.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}

/** Does work for each item, for at most `limit` of them at a time. After a failure nothing new begins, and it rejects with that. */
export async function forEachConcurrent<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0
  const workOn = async (): Promise<void> => {
    while (next < items.length) {
      await work(items[next++]).catch((error: unknown) => {
        next = items.length
        throw error
      })
    }
  }
  await allSettled(Array.from({ length: Math.min(limit, items.length) }, workOn))
}

/**
 * Does for each page of `[start, end)` what a touch by the CPU does: fetches it from wherever it is and hands it to the CPU.
 * Where nobody traps (mmu/explicit) this takes the place of the fault.
 *
 * Returns 0, or with the pages before handed over
 * - -EFAULT no mapping there, or one that does not allow the access
 * - -ENOMEM, -EHWPOISON, -EFAULT as the fault says
 * - -EIO    the faults end without effect
 */
export async function touchPages(mm: Mm, start: Addr, end: Addr, write: boolean): Promise<number> {
  for (let addr = pageAlignDown(start); addr < end; addr += PAGE_SIZE) {
    const err = await touchPage(mm, addr, write)
    if (err !== 0) return err
  }
  return 0
}

async function touchPage(mm: Mm, addr: Addr, write: boolean): Promise<number> {
  for (let fruitless = 0; fruitless < FRUITLESS_FAULTS_MAX; fruitless++) {
    if (!mm.mmapLock.tryRead()) await mmapReadLock(mm)
    const vma = mm.vmaLookup(addr)
    const isAllowed = vma !== null && (vma.flags & (write ? VM_WRITE : VM_ACCESS_FLAGS)) !== 0
    const fault = isAllowed ? handleMmFault(vma, addr, write ? FAULT_FLAG_WRITE : 0) : 0
    const isReached = canAccess(mm, addr, write)
    // The lock wakes its own queue, and with it whoever calls the core next: the queue is taken before that.
    const wait = (fault & VM_FAULT_RETRY) !== 0 ? waitForOther(mm.sys) : null
    mm.mmapLock.unlockRead()
    if (!isAllowed) return -EFAULT
    if ((fault & VM_FAULT_ERROR) !== 0) return vmFaultToErrno(fault, true)
    if (wait !== null) {
      await wait
      fruitless = 0
    } else if (isReached) return 0
  }
  return -EIO
}

/** The entry lets the CPU through. */
function canAccess(mm: Mm, addr: Addr, write: boolean): boolean {
  const table = mm.pageTable.findPte(addr)
  const huge = mm.pageTable.findPmd(addr)?.hugeFlags(pmdIndex(addr)) ?? 0
  const flags = table === null ? huge : table.words[2 * pteIndex(addr) + 1]
  const wanted = write ? PTE_PRESENT | PTE_WRITE : PTE_PRESENT
  return (flags & (wanted | PTE_PROTNONE)) === wanted
}
