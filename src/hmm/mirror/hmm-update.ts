// How an event reaches the mirrors of an address space, what it does to their tables, and how a mirror ends. Follows
// hmm_update, hmm_mirror_update_pt and hmm_mirror_kill of the 2015 HMM patches (MR-6, MR-60 to MR-63).
//
//   faults in progress back off  ->  for each mirror: driver's update()  ->  dirty bits to the pages, mask on the entries
//
// It differs in three ways. Nothing sleeps, so a fault is not waited for: it finds `backoff` set when it goes on, and has
// written nothing since. After a kill the loop goes on where the patches began anew, since mirrors told once need no second
// call. And DIRTY reaches the page whether or not the entry has WRITE (MR-71).

import { type Addr, PAGE_SIZE } from '../../base/addr.ts'
import { EIO, ENOMEM } from '../../base/errno.ts'
import type { MmuNotifierRange } from '../../mm/mmu-notifier.ts'
import { PG_ALLOCATED, PG_RESERVED } from '../../mm/page.ts'
import { cpuEntryPage } from './cpu-entry.ts'
import { type Hmm, type HmmMirror, hmmMirrorBlock, hmmMirrorBlockSize, hmmMirrorUnref } from './hmm-device.ts'
import { formatHmmEvent, HMM_MUNMAP, HmmEvent, hmmEtypeIsFault, hmmEventInit } from './hmm-event.ts'
import { hmmDeviceFilters } from './hmm-notify.ts'
import { HmmPtIter } from './hmm-pt-iter.ts'
import { hmmPtHasValid } from './hmm-pt-range.ts'
import {
  HMM_PTE_DIRTY,
  HMM_PTE_HAD_WRITE_HI,
  HMM_PTE_VALID,
  HMM_PTE_VALID_DMA,
  HMM_PTE_WRITE,
  hmmPteFrame,
  hmmPteRun,
} from './hmm-pte.ts'

/**
 * Delivers an event to every mirror, `cause` being the notifier range it was made from, null for one without. A mirror whose
 * driver fails is killed.
 */
export function hmmUpdate(hmm: Hmm, event: HmmEvent, cause: MmuNotifierRange | null): void {
  for (const fault of hmm.faults) {
    if (fault.event.start >= event.end || event.start >= fault.event.end) continue
    if (cause !== null && hmmDeviceFilters(fault.mirror.device, cause)) continue
    fault.event.backoff = true
    fault.restart = Math.min(fault.restart, Math.max(event.start, fault.event.start))
  }
  for (const mirror of hmm.mirrors.slice()) {
    if (!mirror.registered) continue
    if (cause !== null && hmmDeviceFilters(mirror.device, cause)) continue
    if (!concernsMirror(mirror, event)) continue
    const err = hmmMirrorCallUpdate(mirror, event)
    if (!mirror.registered) continue // the driver unregistered it
    if (err === 0) hmmMirrorUpdatePt(mirror, event)
    else hmmMirrorKill(mirror)
  }
}

/** Ends a mirror: MUNMAP over everything, then release(). Does nothing if it has ended before. */
export function hmmMirrorKill(mirror: HmmMirror): void {
  if (!mirror.registered) return
  const { hmm, device } = mirror
  mirror.registered = false
  hmm.mirrors.splice(hmm.mirrors.indexOf(mirror), 1)
  device.mirrors.delete(mirror)
  const event = new HmmEvent()
  hmmEventInit(event, hmm.vmEnd, 0, hmm.vmEnd, HMM_MUNMAP)
  hmmMirrorCallUpdate(mirror, event) // there is nothing left that an error could end
  hmmMirrorUpdatePt(mirror, event)
  try {
    device.ops.release(mirror)
  } catch (error) {
    const message = `release() of ${device.name} threw: ${String(error)}`
    device.warn({ kind: 'driver-threw', start: 0, end: hmm.vmEnd, npages: 0, message, error })
  }
  hmmMirrorUnref(mirror)
}

/** Calls the driver. Returns 0, -ENOMEM or -EIO; everything else that it may do becomes -EIO and a warning (MR-61). */
export function hmmMirrorCallUpdate(mirror: HmmMirror, event: HmmEvent): number {
  const { device } = mirror
  const { start, end } = event
  const npages = (end - start) / PAGE_SIZE
  let result: number
  try {
    result = device.ops.update(mirror, event)
  } catch (error) {
    // The caller is halfway through a change of the page table and cannot be thrown out of it.
    const message = `update() of ${device.name} threw for ${formatHmmEvent(event)}: ${String(error)}`
    device.warn({ kind: 'driver-threw', start, end, npages, message, error })
    return -EIO
  }
  if (result === 0 || result === -ENOMEM || result === -EIO) return result
  const message = `update() of ${device.name} returned ${result} for ${formatHmmEvent(event)}, wanted 0, -ENOMEM or -EIO`
  device.warn({ kind: 'update-result', start, end, npages, message })
  return -EIO
}

/**
 * Brings the mirror table in line with an event after the driver was told: for each valid entry, the page learns that it is
 * dirty, the mask is applied, and a directory loses its reference if the entry is no longer valid (MR-62).
 */
export function hmmMirrorUpdatePt(mirror: HmmMirror, event: HmmEvent): void {
  const { pt, device } = mirror
  const { maskLow } = event
  const keeps = (maskLow & HMM_PTE_VALID) !== 0
  const bugs = new PageList()
  const iter = new HmmPtIter(pt)
  const updateRun = (start: Addr, end: Addr): void => {
    for (let i = iter.walk(start, end); i >= 0; i = iter.walk(iter.next, end)) updatePart(i)
  }
  const updatePart = (i: number): void => {
    const { words, addr } = iter
    const first = 2 * i
    const stop = first + 2 * iter.npages
    let ngone = 0
    iter.directoryLock()
    for (let w = first, n = 1; w < stop; w += 2 * n) {
      n = 1
      const low = words[w]
      if ((low & HMM_PTE_VALID) === 0) continue
      const isDma = (low & HMM_PTE_VALID_DMA) !== 0
      if (!isDma) n = hmmPteRun(words, w / 2, (stop - w) / 2)
      if ((low & HMM_PTE_DIRTY) !== 0) {
        const page = addr + ((w - first) / 2) * PAGE_SIZE
        if (!hmmMirrorSettleDirty(mirror, words, w / 2, page, n)) bugs.add(page, n)
      }
      if (keeps) {
        for (let k = 0; k < n; k++) words[w + 2 * k] &= maskLow & ~HMM_PTE_DIRTY
      } else {
        if (isDma) device.dev?.unmapPage(hmmPteFrame(words, w / 2) * PAGE_SIZE)
        words.fill(0, w, w + 2 * n)
        ngone += n
      }
    }
    iter.directoryUnlock()
    if (ngone > 0) iter.directoryUnref(ngone)
  }
  event.forEachRun(updateRun)
  iter.fini()
  if (event.etype === HMM_MUNMAP) forgetTouched(mirror, event.start, event.end)
  if (bugs.npages > 0) {
    const message =
      `${device.name} set DIRTY on ${bugs.npages} pages that it had no permission to write, ` +
      `from 0x${bugs.start.toString(16)}: counted as dirty`
    device.warn({ kind: 'dirty-without-write', start: bugs.start, end: bugs.end, npages: bugs.npages, message })
  }
}

/**
 * Marks the page behind a dirty entry as dirty, and those behind the `npages` - 1 that follow it in a run. Returns false if the entry never
 * had WRITE: then the device wrote what it must not, or reported too much (MR-72).
 */
export function hmmMirrorSettleDirty(
  mirror: HmmMirror,
  words: Uint32Array,
  index: number,
  addr: Addr,
  npages = 1,
): boolean {
  const { mm } = mirror.hmm
  const { pages } = mm.sys
  const isDma = (words[2 * index] & HMM_PTE_VALID_DMA) !== 0
  const first = isDma ? cpuEntryPage(mm, addr) : hmmPteFrame(words, index)
  const end = first < 0 ? 0 : (first + npages) | 0
  for (let pfn = first | 0; pfn < end; pfn++) {
    // The zero page belongs to everybody, and a free frame is what a driver left behind that moved the page away.
    if ((pages.flags[pages.head(pfn)] & (PG_ALLOCATED | PG_RESERVED)) === PG_ALLOCATED) pages.setDirty(pfn)
  }
  return (words[2 * index] & HMM_PTE_WRITE) !== 0 || (words[2 * index + 1] & HMM_PTE_HAD_WRITE_HI) !== 0
}

/** The mirror has something to do with the range of the event (MR-73). */
function concernsMirror(mirror: HmmMirror, event: HmmEvent): boolean {
  if (hmmEtypeIsFault(event.etype)) return true
  if (event.etype === HMM_MUNMAP) return hasTouched(mirror, event.start, event.end)
  return hmmPtHasValid(mirror.pt, event.start, event.end)
}

/** The mirror has, or had since the last MUNMAP, an entry in one of the blocks that the range touches. */
function hasTouched(mirror: HmmMirror, start: Addr, end: Addr): boolean {
  const { touched } = mirror
  if (touched.size === 0) return false
  const first = hmmMirrorBlock(mirror, start)
  const last = hmmMirrorBlock(mirror, end - 1)
  if (last - first < touched.size) {
    for (let block = first; block <= last; block++) if (touched.has(block)) return true
    return false
  }
  for (const block of touched) if (block >= first && block <= last) return true
  return false
}

/** Blocks that are gone as a whole. */
function forgetTouched(mirror: HmmMirror, start: Addr, end: Addr): void {
  const { touched } = mirror
  const size = hmmMirrorBlockSize(mirror)
  const first = Math.ceil(start / size)
  const limit = Math.floor(end / size)
  if (limit - first < touched.size) {
    for (let block = first; block < limit; block++) touched.delete(block)
    return
  }
  for (const block of touched) if (block >= first && block < limit) touched.delete(block)
}

/** First and last of some pages that are met in ascending order. */
export class PageList {
  start: Addr = 0
  end: Addr = 0
  npages = 0

  add(addr: Addr, npages = 1): void {
    if (this.npages === 0) this.start = addr
    this.end = addr + npages * PAGE_SIZE
    this.npages += npages
  }
}
