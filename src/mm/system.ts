// What all address spaces of one machine share: the frames, the page caches, swap, the LRU and the backend that stands for
// memory and MMU. In the kernel these are global; here a program can have several machines side by side.

import type { Pfn } from '../base/addr.ts'
import type { WaitQueue } from '../base/wait-queue.ts'
import type { Mmu } from '../mmu/mmu.ts'
import { AddressSpace } from './address-space.ts'
import type { AnonVma } from './anon-vma.ts'
import { HugetlbPool } from './hugetlb-pool.ts'
import { Lru } from './lru.ts'
import type { DevPagemap } from './memremap.ts'
import type { Mm } from './mm.ts'
import { Pages, PG_ALLOCATED, PG_RESERVED, PG_UPTODATE } from './page.ts'
import { shrinkLru } from './reclaim.ts'
import { SwapArea } from './swap.ts'
import { MemorySwapDevice, type SwapDevice } from './swap-device.ts'

export type ThpMode = 'never' | 'madvise' | 'always'

/** What a System is made with. */
export interface SystemOptions {
  /** Transparent huge pages for anonymous memory. Default 'never'. */
  readonly thp?: ThpMode
  /**
   * Repeat the CLEAR events that the kernel raises when a new border of a mapping might cut a huge entry, also where there is
   * none (MN-90). Default: true unless `thp` is 'never'.
   */
  readonly splitEvents?: boolean
  /** Size of the swap area in pages. Default 0: no swap. */
  readonly swapPages?: number
  /** Where swapped pages are kept. Default: in memory. */
  readonly swapDevice?: SwapDevice
  /**
   * System frames that may be in use, at most those there are. Fewer are a limit: what exceeds it is counted, and goes on where
   * reclaim cannot help. Default: all there are.
   */
  readonly memoryPages?: number
  /** With fewer frames than this left `onLow` is called, so that somebody makes room before it is needed. Default 0: never. */
  readonly lowPages?: number
  /** Called when fewer than `lowPages` are left. */
  readonly onLow?: () => void
  /** Frames that only eviction may use: pages that come back from a device need a place. Default 0. */
  readonly reservePages?: number
  /** Pages of the page cache that a read fault on a file maps at once; a power of two. Default 16 (64 KiB). */
  readonly faultAroundPages?: number
  /** 2 MiB pages in the hugetlb pool; it gets fewer if there is not as much memory. Default 0. */
  readonly hugetlbPages?: number
  /** Frames of device memory that are going to be added: their books need not grow then. Default 0. */
  readonly devicePages?: number
  /** Takes warnings: what a driver must not do and what went on all the same. Default: they are kept in `warnings`. */
  readonly onWarning?: (text: string) => void
}

/** Warnings that a machine without `onWarning` keeps, oldest dropped first. */
const WARNINGS_MAX = 256

/** What all processes of a machine share: frames, swap, devices, notices. */
export class System {
  readonly mmu: Mmu
  readonly pages: Pages
  readonly thp: ThpMode
  readonly splitEvents: boolean
  readonly faultAroundPages: number
  readonly reservePages: number
  readonly memoryPages: number
  readonly lowPages: number
  /** Called when fewer than `lowPages` are left. */
  readonly onLow: () => void
  /** Frames that were taken beyond `memoryPages`, since the machine was made. */
  pagesOverLimit = 0
  readonly swap: SwapArea | null
  readonly lru: Lru
  readonly mms = new Set<Mm>()
  /** Anonymous and file mappings by id: what `Pages.mapping` refers to. */
  readonly mappings = new Map<number, AnonVma | AddressSpace>()
  /** Device memory by id; 0 is not used. */
  readonly pagemaps: (DevPagemap | null)[] = [null]
  /** The frame behind every untouched page that is only read; -1 where the backend cannot map one frame twice. */
  readonly zeroPfn: Pfn
  /** The same for 2 MiB, made on first use. */
  hugeZeroPfn: Pfn = -1
  /** Whom the last -EAGAIN or VM_FAULT_RETRY waits for; the edge waits, then calls again. */
  waitFor: WaitQueue | null = null
  /** Listeners for the unlocking of single pages. */
  readonly pageWaits = new Map<Pfn, WaitQueue>()
  /** The 2 MiB pages of hugetlb mappings. */
  readonly hugetlb: HugetlbPool
  /** Latest warnings, if nobody else takes them. */
  readonly warnings: string[] = []
  private readonly onWarning: ((text: string) => void) | null
  private lastMappingId = 0
  private reclaiming = false

  constructor(mmu: Mmu, options: SystemOptions = {}) {
    this.mmu = mmu
    this.pages = new Pages(mmu.nframes, mmu.nframes + (options.devicePages ?? 0))
    this.thp = options.thp ?? 'never'
    this.splitEvents = options.splitEvents ?? this.thp !== 'never'
    this.faultAroundPages = options.faultAroundPages ?? 16
    this.reservePages = options.reservePages ?? 0
    this.lru = new Lru(this.pages)
    this.memoryPages = options.memoryPages ?? mmu.nframes
    this.lowPages = options.lowPages ?? 0
    this.onLow = options.onLow ?? (() => {})
    const { swapPages = 0, swapDevice = new MemorySwapDevice(mmu) } = options
    this.swap = swapPages > 0 ? new SwapArea(swapPages, swapDevice) : null
    this.zeroPfn = -1
    if (mmu.capabilities.anyFrame) {
      this.zeroPfn = mmu.allocFrame(-1, 0, 0)
      mmu.clearFrame(this.zeroPfn)
      this.pages.refcount[this.zeroPfn] = 1
      this.pages.flags[this.zeroPfn] = PG_ALLOCATED | PG_RESERVED | PG_UPTODATE
    }
    this.hugetlb = new HugetlbPool(mmu, this.pages, options.hugetlbPages ?? 0)
    this.onWarning = options.onWarning ?? null
  }

  /** System frames that may still be taken; negative when the limit is exceeded. */
  get nfree(): number {
    return this.mmu.nfree - (this.mmu.nframes - this.memoryPages)
  }

  /** Reports what somebody did wrong without harm to the books (`WARN_ON`). */
  warn(text: string): void {
    if (this.onWarning !== null) {
      this.onWarning(text)
      return
    }
    if (this.warnings.length === WARNINGS_MAX) this.warnings.shift()
    this.warnings.push(text)
  }

  /** Frees frames by writing cold pages to swap; returns how many. Does nothing while it is already running. */
  reclaim(npages: number): number {
    if (this.reclaiming) return 0
    this.reclaiming = true
    const freed = shrinkLru(this, npages)
    this.reclaiming = false
    return freed
  }

  /** A number that no file of this machine has had. */
  allocMappingId(): number {
    this.lastMappingId++
    return this.lastMappingId
  }

  /** Makes an empty page cache of `npages` pages. */
  createAddressSpace(name: string, npages: number, isHugetlb = false): AddressSpace {
    const mapping = new AddressSpace(this.allocMappingId(), name, npages, isHugetlb)
    this.mappings.set(mapping.id, mapping)
    return mapping
  }
}
