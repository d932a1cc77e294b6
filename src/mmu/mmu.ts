// The MMU interface: what a processor's memory management unit and its physical memory do for mm. Start here.
//
// mm owns the page table; a backend is told what becomes visible to the CPU and what is taken away, and reports what the
// hardware saw. A backend knows nothing of VMAs. Three implementations: `simulated` walks mm's own page table as hardware
// would, so taking a translation away needs no work there; `explicit` has no traps; `userfaultfd` drives a real MMU.
//
// The contract that keeps stores from being lost: `unmap` first makes sure that no CPU can use the translation, then reads
// its dirty bits. mm calls it before any byte of the page is copied and before the invalidation event that covers it ends.

import type { Addr, Pfn } from '../base/addr.ts'

/** What this hardware can do. */
export interface MmuCapabilities {
  /** Any frame can back any address. Without it a page has one home frame, and fork, COW and moving mappings are refused. */
  readonly anyFrame: boolean
  /** The CPU reads mm's page table itself, so `install`, `unmap` and `protect` have nothing to do and are not called. */
  readonly walksPageTable: boolean
  /** CPU accesses to absent pages are trapped; false in `explicit`, where `heap.sync` takes the place of the fault. */
  readonly traps: boolean
  /** Stores that `protect` forbids go through all the same, and `collectDirty` tells of them like of any other. Default false. */
  readonly letsStoresThrough?: boolean
  /** Frames of 2 MiB can be allocated and mapped as a whole. */
  readonly hugePages: boolean
}

/** Number that a backend knows an address space by; given by `attach`. */
export type SpaceId = number

/** Memory management hardware, as the core needs it. */
export interface Mmu {
  readonly capabilities: MmuCapabilities
  /** System frames are numbered 0 <= pfn < nframes. */
  readonly nframes: number

  /** Announces a new address space. */
  attach(): SpaceId
  /** The address space is gone; every translation has been unmapped before. */
  detach(space: SpaceId): void

  /**
   * Takes a free system frame of 2^order pages, contents undefined. `space` and `addr` say what for: a backend with home
   * frames returns that of the address. Returns -1 when there is none.
   */
  allocFrame(space: SpaceId, addr: Addr, order: number): Pfn
  /** Gives a frame back; its contents are dropped. */
  freeFrame(pfn: Pfn, order: number): void
  /** System frames that `allocFrame` can still return. */
  readonly nfree: number

  /**
   * Adds `npages` device frames and returns the number of the first, which is above all system frames.
   * `cpuAccessible` (coherent memory) gives them bytes; private memory has none here.
   */
  addDeviceFrames(npages: number, cpuAccessible: boolean): Pfn
  /** Takes device frames away again; nothing maps them any more. */
  removeDeviceFrames(pfn: Pfn, npages: number): void

  /** The 4096 bytes of a frame, for the engine: touching them never faults and never sets a dirty bit. */
  bytes(pfn: Pfn): Uint8Array
  /** The same for frames `pfn`, `pfn + 1`, ...: as many of `npages` as lie in one piece of memory, at least the first. */
  bytesOfRun(pfn: Pfn, npages: number): Uint8Array
  /** Fills system frames from `pfn` on with `contents`, whole pages. Only where that costs less than doing it through `bytes`. */
  fillFrames?(pfn: Pfn, contents: Uint8Array): void
  /** Copies the 4096 bytes of one frame to another. */
  copyFrame(dst: Pfn, src: Pfn): void
  /** Fills the 4096 bytes of a frame with zeroes. */
  clearFrame(pfn: Pfn): void

  /**
   * Makes `npages` translations visible: page i of the run maps frame `pfn + i`. Existing ones are replaced, and what was
   * written through them is still reported later.
   */
  install(space: SpaceId, addr: Addr, pfn: Pfn, npages: number, writable: boolean): void
  /**
   * Takes the translations of `npages` pages away. When it returns, no CPU access goes through any of them, and
   * `dirty[i]` is 1 if page i was written since it was installed or last collected.
   */
  unmap(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void
  /** Takes write permission away and reports dirty bits like `unmap`; reads go on. */
  protect(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void
  /** Reports and re-arms write tracking of pages that stay writable. Only `collectWrites` calls it. */
  collectDirty(space: SpaceId, addr: Addr, npages: number, dirty: Uint8Array): void
}
