// The memory of one dmirror device: chunks of device frames and the list of those that are free. Follows the allocator of
// lib/test_hmm.c, Linux 6.1 (spec TD-1, TD-2). Frames are handed out from the top of a chunk downwards, last freed first.
//
// A page of private memory has no bytes that anybody could address, as it would be on a card behind a bus. The kernel's
// driver simulates them by a system page that it hides behind each device page in use, and so does this one. A page of
// coherent memory holds its own data. `dataPage` names the frame with the bytes in both cases.

import type { Pfn } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EAGAIN, ENOMEM } from '../../base/errno.ts'
import {
  type DevPagemap,
  MEMORY_DEVICE_COHERENT,
  MEMORY_DEVICE_PRIVATE,
  memremapPages,
  memunmapPages,
  pagemapOf,
  zoneDevicePageInit,
} from '../../mm/memremap.ts'
import { allocKernelPage, putPage } from '../../mm/page-alloc.ts'
import type { System } from '../../mm/system.ts'
import type { VmFault } from '../../mm/vm-fault.ts'

export const DMIRROR_KINDS = ['private', 'coherent'] as const
export type DmirrorKind = (typeof DMIRROR_KINDS)[number]

/** One `memremapPages` area. */
export class Chunk {
  readonly pagemap: DevPagemap
  /** Private memory: the hidden system frame behind each page in use, by offset in the chunk. */
  readonly backing: Int32Array
  /** Lowest frame that was ever handed out: everything in use lies at it or above. */
  lowestUsed: Pfn
  /** The chunk is going away: its frames do not return to the free list. */
  removed = false

  constructor(pagemap: DevPagemap) {
    this.pagemap = pagemap
    this.backing = new Int32Array(pagemap.type === MEMORY_DEVICE_PRIVATE ? pagemap.npages : 0)
    this.lowestUsed = pagemap.pfn + pagemap.npages
  }

  get end(): Pfn {
    return this.pagemap.pfn + this.pagemap.npages
  }

  /** Whether a frame is one of this chunk. */
  has(pfn: Pfn): boolean {
    return pfn >= this.pagemap.pfn && pfn < this.end
  }
}

export interface DeviceMemoryRequest {
  readonly kind: DmirrorKind
  /** Identity of the memory (TD-2). */
  readonly owner: unknown
  /** Pages per chunk. */
  readonly chunkPages: number
  /** Chunks that the device can have at a time. */
  readonly chunksMax: number
  /** The CPU touched a page of private memory. */
  migrateToRam(vmf: VmFault): number
}

/** The memory of a test device, in chunks of frames. */
export class DeviceMemory {
  readonly sys: System
  /** Chunks that pages are taken from. */
  chunks: Chunk[] = []
  private readonly request: DeviceMemoryRequest
  /** A stack: the frame freed last is the next one taken. */
  private free: Pfn[] = []
  /** Chunks that `removeChunks` could not give back yet, because somebody still holds a page of them. */
  private leaving: Chunk[] = []

  constructor(sys: System, request: DeviceMemoryRequest) {
    this.sys = sys
    this.request = request
  }

  /** Pages in use. */
  get npagesUsed(): number {
    let npages = 0
    for (const chunk of this.chunks) npages += chunk.pagemap.live
    for (const chunk of this.leaving) npages += chunk.pagemap.live
    return npages
  }

  /** Adds a chunk. Returns 0, -ENOMEM if the device has all that it can have, or what memremap refuses. */
  addChunk(): number {
    const { kind, owner, chunkPages, chunksMax, migrateToRam } = this.request
    if (this.chunks.length + this.leaving.length >= chunksMax) return -ENOMEM
    const isPrivate = kind === 'private'
    const pageFree = (pfn: Pfn): void => this.pageFree(pfn)
    const pagemap = memremapPages(this.sys, {
      type: isPrivate ? MEMORY_DEVICE_PRIVATE : MEMORY_DEVICE_COHERENT,
      npages: chunkPages,
      owner,
      ops: isPrivate ? { pageFree, migrateToRam } : { pageFree },
    })
    if (typeof pagemap === 'number') return pagemap
    this.chunks.push(new Chunk(pagemap))
    for (let pfn = pagemap.pfn; pfn < pagemap.pfn + pagemap.npages; pfn++) this.free.push(pfn)
    return 0
  }

  /** Takes a page into use: one reference, locked, contents undefined. Returns -1 if there is no room. */
  allocPage(): Pfn {
    const isPrivate = this.request.kind === 'private'
    const backing = isPrivate ? allocKernelPage(this.sys) : -1
    if (isPrivate && backing < 0) return -1
    if (this.free.length === 0 && this.addChunk() !== 0) {
      if (isPrivate) putPage(this.sys, backing)
      return -1
    }
    const pfn = this.free.pop() as Pfn
    const chunk = this.getChunk(pfn)
    chunk.lowestUsed = Math.min(chunk.lowestUsed, pfn)
    if (isPrivate) chunk.backing[pfn - chunk.pagemap.pfn] = backing
    zoneDevicePageInit(this.sys, pfn)
    return pfn
  }

  /** The frame that holds the bytes of a page of this device. */
  dataPage(pfn: Pfn): Pfn {
    if (this.request.kind === 'coherent') return pfn
    const chunk = this.getChunk(pfn)
    return chunk.backing[pfn - chunk.pagemap.pfn]
  }

  /** The frame is part of this device's memory. */
  isOwnPage(pfn: Pfn): boolean {
    return pagemapOf(this.sys, pfn)?.owner === this.request.owner
  }

  /**
   * Gives all chunks back, each after `evict` moved its pages away.
   *
   * Returns 0, or -EAGAIN while somebody still holds a page (the kernel would wait here): the chunk is out of service, call
   * again to have it taken away.
   */
  removeChunks(evict: (chunk: Chunk) => void): number {
    this.leaving = [...this.leaving, ...this.chunks]
    this.chunks = []
    this.free = []
    for (const chunk of this.leaving) {
      chunk.removed = true
      evict(chunk)
    }
    this.leaving = this.leaving.filter((chunk) => memunmapPages(this.sys, chunk.pagemap) !== 0)
    return this.leaving.length === 0 ? 0 : -EAGAIN
  }

  private pageFree(pfn: Pfn): void {
    const chunk = this.getChunk(pfn)
    this.sys.pages.zoneDeviceData.delete(pfn)
    if (this.request.kind === 'private') putPage(this.sys, chunk.backing[pfn - chunk.pagemap.pfn])
    if (!chunk.removed) this.free.push(pfn)
  }

  private getChunk(pfn: Pfn): Chunk {
    const chunk = this.chunks.find((c) => c.has(pfn)) ?? this.leaving.find((c) => c.has(pfn))
    assert(chunk !== undefined, () => `frame ${pfn} belongs to this device`)
    return chunk
  }
}
