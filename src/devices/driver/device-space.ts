// One address space as a device sees it. The device page table is the mirror's: an entry that names a page of the device
// is a translation, one that names a system page is a translation if the device has a duplicate of that page.
//
//   mirror entry          duplicates     the device may
//   VALID_DEV             -              read, and with WRITE write, the frame of that page
//   VALID_PFN             frame          read the duplicate in that frame
//   VALID_PFN             -              nothing: the page was faulted in, and not copied yet
//
// Operations look translations up when they begin and keep the frames (FramePool.capture), as commands in the queue of a
// device keep addresses. So an event has only two things to do: tell what was written, and end duplicates.

import {
  type Addr,
  addrToVpn,
  HPAGE_PMD_NR,
  PAGE_SIZE,
  type Pfn,
  pmdAddrEnd,
  pteIndex,
  vpnToAddr,
} from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { hmmRangeFault } from '../../hmm/hmm.ts'
import { HMM_PFN_VALID_HI, hmmPfnWords } from '../../hmm/hmm-pfn.ts'
import {
  HMM_COPY_FROM_DEVICE,
  HMM_COPY_TO_DEVICE,
  HMM_PTE_DIRTY,
  HMM_PTE_VALID,
  HMM_PTE_VALID_DEV,
  HMM_PTE_VALID_PFN,
  HMM_PTE_WRITE,
  type HmmEvent,
  type HmmMirror,
  HmmPtIter,
  hmmEtypeIsFault,
  hmmMirrorRangeDiscard,
  hmmPteFrame,
  hmmPteRun,
} from '../../hmm/mirror/index.ts'
import { alikeBytes } from '../../mm/frame-runs.ts'
import type { Mm } from '../../mm/mm.ts'
import { MMU_NOTIFY_RELEASE, MMU_NOTIFY_UNMAP, mmuIntervalReadBegin } from '../../mm/mmu-notifier.ts'
import { PTE_KIND_DEVICE_PRIVATE, pteKind } from '../../mm/pte.ts'
import type { Access, Cause } from '../../trace/events.ts'
import type { DeviceParts } from './device-parts.ts'
import { CAPTURED_FOR_WRITING } from './frame-pool.ts'
import { FrameTable } from './frame-table.ts'
import { ReadBacks } from './read-backs.ts'
import { TouchHistory } from './touch-history.ts'

/** A run of pages: first page number, and how many. */
export interface VpnRun {
  readonly vpn: number
  readonly npages: number
}

/** Whether what is found of a range lies in one piece. */
class Pieces {
  /** Frame of the first page of the range if it does, -1 if not, or if nothing was found. */
  first = -1
  private isMixed = false

  /** Some was found, and the range would begin at this frame. */
  add(first: number): void {
    this.isMixed ||= first < 0 || (this.first >= 0 && this.first !== first)
    this.first = this.isMixed ? -1 : first
  }

  /** The same for all that was found of pages `[from, to)` of the range; NaN if they are part of what lies in several pieces. */
  addPart(frames: Int32Array, from: number, to: number, first: number): void {
    for (let k = from; k < to && !this.isMixed; k++) {
      if (frames[k] < 0) continue
      this.add(frames[k] - k)
      if (frames[k] - k === first) return
    }
  }
}

/** What a look at a range has found, besides the frames themselves. */
export interface Located {
  /** Frame of the first page of the range if all that was found lies in one piece with it, else -1. */
  readonly first: number
  /** Pages that have no frame. */
  readonly missing: readonly VpnRun[]
}

/** Pages that are missing, ascending, as runs. */
class MissingRuns {
  readonly runs: { vpn: number; npages: number }[] = []

  add(vpn: number, npages: number): void {
    const last = this.runs.at(-1)
    if (last !== undefined && last.vpn + last.npages === vpn) last.npages += npages
    else if (npages > 0) this.runs.push({ vpn, npages })
  }
}

export class DeviceSpace {
  readonly mirror: HmmMirror
  /** Frame of the copy of each duplicated page. */
  readonly duplicates = new FrameTable()
  readonly touches = new TouchHistory()
  readonly readBacks = new ReadBacks()
  /** Events that took entries of the mirror table away, so far. */
  nended = 0
  /** What `snapshot` answers with for up to 2 MiB. */
  private readonly looks = new BigUint64Array(HPAGE_PMD_NR)
  private readonly parts: DeviceParts

  constructor(parts: DeviceParts, mirror: HmmMirror) {
    this.parts = parts
    this.mirror = mirror
  }

  get mm(): Mm {
    return this.mirror.hmm.mm
  }

  /** Brings the device in line with an event (HmmDeviceOps.update). */
  update(event: HmmEvent): number {
    const { etype, start, end } = event
    // Nothing to program: translations are looked up when they are used.
    if (hmmEtypeIsFault(etype) || etype === HMM_COPY_TO_DEVICE || etype === HMM_COPY_FROM_DEVICE) return 0
    this.reportDirty(event)
    if ((event.maskLow & HMM_PTE_VALID) !== 0) return 0
    this.nended++
    const isGone = event.notify === MMU_NOTIFY_UNMAP || event.notify === MMU_NOTIFY_RELEASE
    if (event.runs === null) this.dropDuplicates(start, end, isGone ? 'user' : 'coherence')
    else this.dropScattered(event)
    return 0
  }

  /**
   * Fills in `frames`, one per page from `start` on, what the device may use; entries that are there already stay. Calls
   * `found` for each run of new ones. With `first` only pages that lie in the run of frames which begins there count.
   */
  translate(
    start: Addr,
    write: boolean,
    frames: Int32Array,
    found: (frame: number, npages: number) => void,
    first = -1,
  ): void {
    const end = start + frames.length * PAGE_SIZE
    const base = this.parts.pool.pagemap.pfn
    const iter = new HmmPtIter(this.mirror.pt)
    for (let i = iter.walk(start, end); i >= 0; i = iter.walk(iter.next, end)) {
      const { words, npages } = iter
      const at = (iter.addr - start) / PAGE_SIZE
      // A directory covers the same 2 MiB as a block of the other table, so both have one index.
      const copies = write ? null : this.duplicates.framesAround(addrToVpn(iter.addr))
      let runAt = -1
      let runLength = 0
      for (let k = 0; k < npages; k++) {
        if (frames[at + k] >= 0) continue
        const flags = words[2 * (i + k)]
        let frame = -1
        if ((flags & HMM_PTE_VALID_DEV) !== 0) {
          if (!write || (flags & HMM_PTE_WRITE) !== 0) frame = hmmPteFrame(words, i + k) - base
        } else if (copies !== null && (flags & HMM_PTE_VALID_PFN) !== 0) frame = copies[i + k]
        if (frame < 0 || (first >= 0 && frame !== first + at + k)) continue
        frames[at + k] = frame
        if (frame === runAt + runLength) runLength++
        else {
          if (runLength > 0) found(runAt, runLength)
          runAt = frame
          runLength = 1
        }
      }
      if (runLength > 0) found(runAt, runLength)
    }
    iter.fini()
  }

  /**
   * Fills in `frames`, all of which are -1, as `translate` does, and looks at each page only where not all of its 2 MiB is duplicated.
   */
  locate(start: Addr, write: boolean, frames: Int32Array): Located {
    const startVpn = addrToVpn(start)
    const end = start + frames.length * PAGE_SIZE
    const base = this.parts.pool.pagemap.pfn
    const pieces = new Pieces()
    const missing = new MissingRuns()
    let seen = 0
    const iter = new HmmPtIter(this.mirror.pt)
    for (let i = iter.walk(start, end); i >= 0; i = iter.walk(iter.next, end)) {
      const { words, npages, addr } = iter
      const vpn = addrToVpn(addr)
      const at = vpn - startVpn
      const stop = at + npages
      missing.add(startVpn + seen, at - seen)
      seen = stop
      const copies = write ? null : this.duplicates.framesAround(vpn)
      if (copies !== null) {
        frames.set(copies.subarray(i, i + npages), at)
        pieces.addPart(frames, at, stop, this.duplicates.originAround(vpn) + startVpn)
        if (this.duplicates.isFullAround(vpn)) continue
      }
      for (let k = at; k < stop; k++) {
        if (frames[k] >= 0) {
          k = frames.indexOf(-1, k)
          if (k < 0 || k >= stop) break
        }
        const flags = words[2 * (i + k - at)]
        if ((flags & HMM_PTE_VALID_DEV) === 0 || (write && (flags & HMM_PTE_WRITE) === 0)) {
          missing.add(startVpn + k, 1)
          continue
        }
        frames[k] = hmmPteFrame(words, i + k - at) - base
        pieces.add(frames[k] - k)
      }
    }
    iter.fini()
    missing.add(startVpn + seen, frames.length - seen)
    return { first: pieces.first, missing: missing.runs }
  }

  /**
   * Visits those of some pages, in ascending order, that the device may use now or, with `uncopied`, that have an entry in the mirror table and
   * no duplicate: index in `vpns`, and the frame of the device or of the system.
   */
  forEachOf(vpns: readonly number[], what: Access | 'uncopied', visit: (index: number, frame: number) => void): void {
    const end = vpnToAddr(vpns[vpns.length - 1] + 1)
    const iter = new HmmPtIter(this.mirror.pt)
    let k = 0
    for (let i = iter.walk(vpnToAddr(vpns[0]), end); i >= 0; i = iter.walk(vpnToAddr(vpns[k]), end)) {
      const { words } = iter
      const first = addrToVpn(iter.addr)
      const last = first + iter.npages
      while (vpns[k] < first) k++
      for (; vpns[k] < last; k++) {
        const entry = i + vpns[k] - first
        const frame =
          what === 'uncopied'
            ? this.uncopiedAt(words, entry, vpns[k])
            : this.frameOf(words, entry, vpns[k], what === 'write')
        if (frame >= 0) visit(k, frame)
      }
      if (k === vpns.length) break
    }
    iter.fini()
  }

  /** Visits the pages of `[start, end)` that the device may use now: page, and its frame. */
  forEachUsable(start: Addr, end: Addr, access: Access, visit: (vpn: number, frame: number) => void): void {
    const iter = new HmmPtIter(this.mirror.pt)
    for (let i = iter.walk(start, end); i >= 0; i = iter.walk(iter.next, end)) {
      const { words, npages } = iter
      const first = addrToVpn(iter.addr)
      for (let k = 0; k < npages; k++) {
        const frame = this.frameOf(words, i + k, first + k, access === 'write')
        if (frame >= 0) visit(first + k, frame)
      }
    }
    iter.fini()
  }

  /**
   * What the CPU page table says about `[start, end)` now, two words per page (hmm-pfn.ts). Pages of this device are named by
   * their frames. Nothing is faulted in. The caller holds mmapLock for reading,
   * and is done with the answer before anybody asks again.
   */
  snapshot(start: Addr, end: Addr): Uint32Array {
    const { notifier } = this.mirror.hmm
    assert(notifier !== null, 'a registered mirror has a notifier')
    const npages = (end - start) / PAGE_SIZE
    const hmmPfns = npages <= HPAGE_PMD_NR ? this.looks.subarray(0, npages) : new BigUint64Array(npages)
    const err = hmmRangeFault({
      notifier,
      notifierSeq: mmuIntervalReadBegin(notifier),
      start,
      end,
      hmmPfns,
      defaultFlags: 0n,
      pfnFlagsMask: 0n,
      devPrivateOwner: this.parts.owner,
    })
    assert(err === 0, () => `a look at the page table, which asks for nothing, ended with ${err}`)
    return hmmPfnWords(hmmPfns)
  }

  /** The device has pages of `[start, end)`. The caller holds mmapLock. */
  hasOwn(start: Addr, end: Addr): boolean {
    const { pool } = this.parts
    const { pageTable } = this.mm
    for (let addr = start; addr < end; addr = pmdAddrEnd(addr, end)) {
      const table = pageTable.findPte(addr)
      if (table === null) continue
      const { words } = table
      const stop = 2 * (pteIndex(addr) + (pmdAddrEnd(addr, end) - addr) / PAGE_SIZE)
      for (let w = 2 * pteIndex(addr); w < stop; w += 2) {
        if (pteKind(words[w + 1]) === PTE_KIND_DEVICE_PRIVATE && pool.has(words[w])) return true
      }
    }
    return false
  }

  /** An operation may write pages of the device in `[start, end)`. The caller holds mmapLock. */
  isWritten(start: Addr, end: Addr): boolean {
    if (!this.mirror.registered) return false
    const { pool } = this.parts
    const words = this.snapshot(start, end)
    let bits = 0
    for (let w = 0; w < words.length; w += 2) {
      if ((words[w + 1] & HMM_PFN_VALID_HI) !== 0 && pool.has(words[w])) bits |= pool.captured[pool.frameOf(words[w])]
    }
    return (bits & CAPTURED_FOR_WRITING) !== 0
  }

  /**
   * Visits the runs of neighbouring system pages of `[start, end)` that are in the mirror table, ascending, and where their duplicates begin,
   * which lie in neighbouring frames: -1 for pages that have none.
   */
  forEachSystemRun(
    start: Addr,
    end: Addr,
    visit: (vpn: number, pfn: Pfn, duplicate: number, npages: number) => void,
  ): void {
    const iter = new HmmPtIter(this.mirror.pt)
    for (let i = iter.walk(start, end); i >= 0; i = iter.walk(iter.next, end)) {
      const { words } = iter
      const first = addrToVpn(iter.addr)
      const stop = i + iter.npages
      // A directory covers the same 2 MiB as a block of the other table, so both have one index.
      const copies = this.duplicates.framesAround(first)
      for (let k = i, n = 1; k < stop; k += n) {
        n = 1
        if ((words[2 * k] & HMM_PTE_VALID_PFN) === 0) continue
        const max = hmmPteRun(words, k, stop - k)
        const duplicate = copies === null ? -1 : copies[k]
        const step = duplicate < 0 ? 0 : 1
        if (copies === null) n = max
        else while (n < max && copies[k + n] === duplicate + step * n) n++
        visit(first + k - i, hmmPteFrame(words, k), duplicate, n)
      }
    }
    iter.fini()
  }

  /** Ends the duplicates of `[start, end)` that the driver no longer wants. */
  discardDuplicates(start: Addr, end: Addr, cause: Cause): void {
    hmmMirrorRangeDiscard(this.mirror, start, end)
    this.dropDuplicates(start, end, cause)
  }

  /**
   * Ends duplicates, of pages in ascending order, that make room for others. Their entries stay in the mirror table, as nothing is wrong with
   * them: when they come again the fault finds them.
   */
  dropDuplicatesOf(vpns: readonly number[]): void {
    const { pool, traffic } = this.parts
    const dropped: number[] = []
    for (const vpn of vpns) {
      this.duplicates.take(vpn, vpn + 1, (_, frame) => {
        pool.dropDuplicates(frame, 1)
        dropped.push(vpn)
      })
    }
    traffic.forEachTold(this.mm, dropped, (run, npages) => traffic.duplicatesInvalidated(run, npages, 'eviction'))
  }

  /** The system page of an entry that has no duplicate, -1 for others. */
  private uncopiedAt(words: Uint32Array, index: number, vpn: number): number {
    if ((words[2 * index] & HMM_PTE_VALID_PFN) === 0 || this.duplicates.find(vpn) >= 0) return -1
    return hmmPteFrame(words, index)
  }

  private frameOf(words: Uint32Array, index: number, vpn: number, write: boolean): number {
    const flags = words[2 * index]
    if ((flags & HMM_PTE_VALID_DEV) !== 0) {
      return write && (flags & HMM_PTE_WRITE) === 0 ? -1 : this.parts.pool.frameOf(hmmPteFrame(words, index))
    }
    if ((flags & HMM_PTE_VALID_PFN) === 0 || write) return -1
    return this.duplicates.find(vpn)
  }

  /** Sets DIRTY where the device wrote since it was last asked; the core hands that on to the pages. */
  private reportDirty(event: HmmEvent): void {
    const { dirty, pagemap } = this.parts.pool
    const base = pagemap.pfn
    const iter = new HmmPtIter(this.mirror.pt)
    event.forEachRun((start, end) => {
      for (let i = iter.walk(start, end); i >= 0; i = iter.walk(iter.next, end)) {
        const { words } = iter
        const stop = i + iter.npages
        for (let k = i, n = 1; k < stop; k += n) {
          n = (words[2 * k] & HMM_PTE_VALID) === 0 ? 1 : hmmPteRun(words, k, stop - k)
          if ((words[2 * k] & HMM_PTE_VALID_DEV) === 0) continue
          const frame = hmmPteFrame(words, k) - base
          for (let at = 0, same = 1; at < n; at += same) {
            same = alikeBytes(dirty, frame + at, n - at)
            if (dirty[frame + at] === 0) continue
            const end = (2 * (k + at + same)) | 0
            for (let w = (2 * (k + at)) | 0; w < end; w += 2) words[w] |= HMM_PTE_DIRTY
            dirty.fill(0, frame + at, frame + at + same)
          }
        }
      }
    })
    iter.fini()
  }

  /** The pages of an event with holes were written. */
  private dropScattered(event: HmmEvent): void {
    const { pool, traffic } = this.parts
    const dropped: number[] = []
    event.forEachRun((start, end) => {
      this.duplicates.take(addrToVpn(start), addrToVpn(end), (vpn, frame, npages) => {
        pool.dropDuplicates(frame, npages)
        for (let i = 0; i < npages; i++) dropped.push(vpn + i)
      })
    })
    traffic.forEachTold(this.mm, dropped, (run, npages) => traffic.duplicatesInvalidated(run, npages, 'coherence'))
  }

  private dropDuplicates(start: Addr, end: Addr, cause: Cause): void {
    const { pool, traffic } = this.parts
    let ndropped = 0
    let first = 0
    let last = 0
    this.duplicates.take(addrToVpn(start), addrToVpn(end), (vpn, frame, npages) => {
      pool.dropDuplicates(frame, npages)
      first = ndropped === 0 ? vpn : Math.min(first, vpn)
      last = Math.max(last, vpn + npages - 1)
      ndropped += npages
    })
    const run = { mm: this.mm, start: vpnToAddr(first), end: vpnToAddr(last + 1) }
    traffic.duplicatesInvalidated(run, ndropped, cause)
  }
}
