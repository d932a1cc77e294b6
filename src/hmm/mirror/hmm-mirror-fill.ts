// Enters what the CPU page table says into a mirror table (MR-53, MR-82). One loop over the words of a snapshot; it allocates
// nothing per page. A page that is in the table already keeps DIRTY and the driver's private bits.

import { type Addr, PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { ENOMEM } from '../../base/errno.ts'
import { framesOfMemory } from '../../mm/frame-runs.ts'
import type { System } from '../../mm/system.ts'
import { HMM_PFN_VALID_HI, HMM_PFN_WRITE_HI } from '../hmm-pfn.ts'
import { type HmmDevice, type HmmMirror, hmmMirrorBlock } from './hmm-device.ts'
import { HmmPtIter } from './hmm-pt-iter.ts'
import {
  HMM_PTE_DIRTY,
  HMM_PTE_HAD_WRITE_HI,
  HMM_PTE_PRIVATE_MASK,
  HMM_PTE_VALID,
  HMM_PTE_VALID_DEV,
  HMM_PTE_VALID_DMA,
  HMM_PTE_VALID_PFN,
  HMM_PTE_WRITE,
  hmmPteFrame,
  hmmPteHasFrame,
  hmmPteInvalidRun,
  hmmPteStore,
  hmmPteStoreRun,
} from './hmm-pte.ts'
import { hmmMirrorSettleDirty, PageList } from './hmm-update.ts'

/**
 * Enters `npages` pages from `start` on, as `pfnWords` (two words per page, hmm-pfn.ts) describes them. Pages that are not
 * valid there are left alone, or dropped from the table if `dropsOthers`.
 *
 * Returns 0, or -ENOMEM if there is no room for a directory or the DMA mapper has none; pages before are entered.
 */
export function hmmMirrorFill(
  mirror: HmmMirror,
  start: Addr,
  npages: number,
  pfnWords: Uint32Array,
  dropsOthers: boolean,
): number {
  const { pt } = mirror
  const end = start + npages * PAGE_SIZE
  const fill = new Fill(mirror, pfnWords, dropsOthers)
  const iter = new HmmPtIter(pt)
  let err = 0
  for (let at = start; at < end && err === 0; at = iter.next) {
    const index = iter.populate(at, end)
    if (index < 0) {
      err = -ENOMEM
      break
    }
    iter.directoryLock()
    const gained = fill.part(iter.words, index, iter.npages, (at - start) / PAGE_SIZE, at)
    err = fill.err
    iter.directoryUnlock()
    if (gained > 0) {
      iter.directoryRef(gained)
      mirror.touched.add(hmmMirrorBlock(mirror, at))
    } else if (gained < 0) {
      iter.directoryUnref(-gained)
    }
  }
  iter.fini()
  fill.warnOfStale()
  return err
}

class Fill {
  err = 0
  private readonly mirror: HmmMirror
  private readonly device: HmmDevice
  private readonly sys: System
  private readonly pfnWords: Uint32Array
  private readonly dropsOthers: boolean
  private readonly stale = new PageList()

  constructor(mirror: HmmMirror, pfnWords: Uint32Array, dropsOthers: boolean) {
    this.mirror = mirror
    this.device = mirror.device
    this.sys = mirror.hmm.mm.sys
    this.pfnWords = pfnWords
    this.dropsOthers = dropsOthers
  }

  /** Fills `npages` entries from `index` on with pages from `from` on. Returns how many more entries are valid now. */
  part(words: Uint32Array, index: number, npages: number, from: number, addr: Addr): number {
    const { pfnWords, dropsOthers } = this
    const { pagemap } = this.sys.pages
    const isPlainDevice = this.device.dev === null
    /** Memory that was found to be the device's. */
    let own = 0
    let gained = 0
    let w = (2 * index) | 0
    let p = (2 * from) | 0
    for (const stop = (w + 2 * npages) | 0; w < stop; w += 2, p += 2) {
      const low = words[w]
      const high = pfnWords[p + 1]
      const pfn = pfnWords[p]
      if ((high & HMM_PFN_VALID_HI) === 0) {
        if ((low & HMM_PTE_VALID) !== 0 && dropsOthers) {
          this.replaceStale(words, w >> 1, addr + ((w >> 1) - index) * PAGE_SIZE)
          words[w] = 0
          words[w + 1] = 0
          gained--
        }
        continue
      }
      const write = (high & HMM_PFN_WRITE_HI) !== 0 ? HMM_PTE_WRITE : 0
      const memory = pagemap[pfn]
      const isOwn = memory !== 0 && (memory === own || this.isOwnPage(pfn))
      if (isOwn) own = memory
      if (!isPlainDevice && !isOwn) {
        this.err = this.enterDma(words, w >> 1, pfn, write, addr + ((w >> 1) - index) * PAGE_SIZE)
        if (this.err !== 0) return gained
        if ((low & HMM_PTE_VALID) === 0) gained++
        continue
      }
      const kind = isOwn ? HMM_PTE_VALID_DEV : HMM_PTE_VALID_PFN
      if ((low & HMM_PTE_VALID) === kind && hmmPteHasFrame(words, w >> 1, pfn)) {
        words[w] = (low & ~HMM_PTE_WRITE) | write
        if (write !== 0) words[w + 1] |= HMM_PTE_HAD_WRITE_HI
        continue
      }
      if ((low & HMM_PTE_VALID) !== 0) this.replaceStale(words, w >> 1, addr + ((w >> 1) - index) * PAGE_SIZE)
      else gained++
      // Neighbours in the same state, where nothing was entered yet, need no look at what they are.
      let n = alikePages(pfnWords, p, (stop - w) >> 1)
      if (n > 1) n = 1 + hmmPteInvalidRun(words, (w >> 1) + 1, framesOfMemory(this.sys, pfn, n) - 1)
      hmmPteStoreRun(words, w >> 1, n, pfn, kind | write)
      gained += n - 1
      w += 2 * (n - 1)
      p += 2 * (n - 1)
    }
    return gained
  }

  warnOfStale(): void {
    const { start, end, npages } = this.stale
    if (npages === 0) return
    const message =
      `${this.device.name} kept ${npages} entries from 0x${start.toString(16)} on whose pages are gone: ` +
      'whoever moves pages discards the range first'
    this.device.warn({ kind: 'stale-entry', start, end, npages, message })
  }

  /** Maps the frame for the device. The same page may be there already, with less permission: it is mapped anew. */
  private enterDma(words: Uint32Array, index: number, pfn: Pfn, write: number, addr: Addr): number {
    const { dev } = this.device
    if (dev === null) return -ENOMEM
    const dmaAddr = dev.mapPage(pfn, write !== 0)
    if (dmaAddr < 0) return -ENOMEM
    const low = words[2 * index]
    const hadWrite = words[2 * index + 1] & HMM_PTE_HAD_WRITE_HI
    let keep = 0
    if ((low & HMM_PTE_VALID_DMA) !== 0) {
      dev.unmapPage(hmmPteFrame(words, index) * PAGE_SIZE)
      keep = low & (HMM_PTE_DIRTY | HMM_PTE_PRIVATE_MASK)
    } else if ((low & HMM_PTE_VALID) !== 0) {
      this.replaceStale(words, index, addr)
    }
    hmmPteStore(words, index, dmaAddr / PAGE_SIZE, HMM_PTE_VALID_DMA | write | keep)
    if ((low & HMM_PTE_VALID_DMA) !== 0) words[2 * index + 1] |= hadWrite
    return 0
  }

  /** The entry is about another page than the CPU has there: no event told the mirror, because its driver moved the page. */
  private replaceStale(words: Uint32Array, index: number, addr: Addr): void {
    const low = words[2 * index]
    if ((low & HMM_PTE_DIRTY) !== 0) hmmMirrorSettleDirty(this.mirror, words, index, addr)
    if ((low & HMM_PTE_VALID_DMA) !== 0) this.device.dev?.unmapPage(hmmPteFrame(words, index) * PAGE_SIZE)
    this.stale.add(addr)
  }

  private isOwnPage(pfn: Pfn): boolean {
    const { owner } = this.device
    return owner !== null && this.sys.pagemaps[this.sys.pages.pagemap[pfn]]?.owner === owner
  }
}

/** How many pages of a snapshot from word `first` on, at most `max`, lie in neighbouring frames and are in the same state. At least one. */
function alikePages(pfnWords: Uint32Array, first: number, max: number): number {
  const end = (first + 2 * max) | 0
  const high = pfnWords[first + 1] | 0
  let pfn = pfnWords[first] | 0
  let p = first + 2
  for (; p < end; p += 2) {
    pfn = (pfn + 1) | 0
    if (((pfnWords[p] ^ pfn) | (pfnWords[p + 1] ^ high)) !== 0) break
  }
  return (p - first) >> 1
}
