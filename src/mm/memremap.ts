// Device memory: a driver adds frames of its own to the machine (`memremap_pages`, mm/memremap.c of Linux 6.1; spec
// section 6). Free device frames have refcount 0; the driver hands them out with `zoneDevicePageInit` and gets them back
// through `pageFree` when the last reference goes.

import type { Pfn } from '../base/addr.ts'
import { EBUSY, EINVAL, ENOMEM, EOPNOTSUPP } from '../base/errno.ts'
import { setFrames } from './frame-runs.ts'
import { badFrame, PG_ALLOCATED, PG_LOCKED } from './page.ts'
import type { System } from './system.ts'
import type { VmFault } from './vm-fault.ts'

/** The CPU cannot access it: mapped by device-private entries only. */
export const MEMORY_DEVICE_PRIVATE = 1
/** The CPU can access it, cache coherent: mapped by ordinary entries. */
export const MEMORY_DEVICE_COHERENT = 2
export const MEMORY_DEVICE_FS_DAX = 3
export const MEMORY_DEVICE_GENERIC = 4
export const MEMORY_DEVICE_PCI_P2PDMA = 5

/** What the driver of a pagemap is called for. */
export interface DevPagemapOps {
  /** The last reference of a device frame is gone: it belongs to the driver again. Runs in any context (DM-6). */
  pageFree?(pfn: Pfn): void
  /** In place of `pageFree`, for neighbours that become free together. */
  pagesFree?(first: Pfn, npages: number): void
  /**
   * The CPU touched a page of private memory: `vmf.page`. The driver migrates it back (MG-91).
   * Returns 0 to have the access repeated, VM_FAULT_SIGBUS if it cannot, or VM_FAULT_RETRY with `sys.waitFor` set.
   *
   * A driver that has to wait for its device begins the migration here, takes a further read lock of mmapLock (`finishing`),
   * returns VM_FAULT_RETRY, and goes on later. The reference that the fault held on the page ends with the return, so it sets
   * `args.faultPage` to -1 before `migrateVmaPages`.
   */
  migrateToRam?(vmf: VmFault): number
}

/** What a pagemap is asked for with. */
export interface DevPagemapRequest {
  readonly type: number
  readonly npages: number
  readonly ops: DevPagemapOps
  /** Identity of the memory, compared only for equality; several pagemaps may share one (DM-4). */
  readonly owner: unknown
}

/** A range of frame numbers that belongs to a device; `struct dev_pagemap`. */
export class DevPagemap {
  readonly type: number
  readonly ops: DevPagemapOps
  readonly owner: unknown
  /** First frame. */
  readonly pfn: Pfn
  readonly npages: number
  /** Index in `System.pagemaps`. */
  readonly id: number
  /** Frames in use. */
  live = 0

  constructor(request: DevPagemapRequest, pfn: Pfn, id: number) {
    this.type = request.type
    this.ops = request.ops
    this.owner = request.owner
    this.pfn = pfn
    this.npages = request.npages
    this.id = id
  }
}

/** Frame numbers have 31 bits, and the number of a pagemap 16. */
const NFRAMES_MAX = 2 ** 31 - 1
const PAGEMAPS_MAX = 2 ** 16 - 1

/**
 * Adds device frames, wherever there is room among the frame numbers.
 *
 * Returns the pagemap, or
 * - -EINVAL     no number of pages, no such type, or a type without its callbacks or owner (DM-3)
 * - -ENOMEM     more frames or areas than can be numbered, or no memory for their books
 * - -EOPNOTSUPP memory that the CPU can access on a backend that cannot map it: pages have home frames there
 */
export function memremapPages(sys: System, request: DevPagemapRequest): DevPagemap | number {
  const { type, npages, ops, owner } = request
  if (!Number.isInteger(npages) || npages <= 0) return -EINVAL
  if (!Number.isInteger(type) || type < MEMORY_DEVICE_PRIVATE || type > MEMORY_DEVICE_PCI_P2PDMA) return -EINVAL
  const hasOwner = owner !== null && owner !== undefined
  if (type === MEMORY_DEVICE_PRIVATE && (!ops.migrateToRam || !ops.pageFree || !hasOwner)) return -EINVAL
  if (type === MEMORY_DEVICE_COHERENT && (!ops.pageFree || !hasOwner)) return -EINVAL
  if (type !== MEMORY_DEVICE_PRIVATE && !sys.mmu.capabilities.anyFrame) return -EOPNOTSUPP
  let id = 1
  while (id < sys.pagemaps.length && sys.pagemaps[id] !== null) id++
  if (id > PAGEMAPS_MAX || sys.pages.nframes + npages > NFRAMES_MAX) return -ENOMEM
  const pfn = sys.mmu.addDeviceFrames(npages, type !== MEMORY_DEVICE_PRIVATE)
  if (!tryGrow(sys, pfn + npages)) {
    sys.mmu.removeDeviceFrames(pfn, npages)
    return -ENOMEM
  }
  const pagemap = new DevPagemap(request, pfn, id)
  sys.pagemaps[id] = pagemap
  sys.pages.pagemap.fill(id, pfn, pfn + npages)
  return pagemap
}

/** Makes the books of frames; false if there is no memory for them. */
function tryGrow(sys: System, nframes: number): boolean {
  try {
    sys.pages.grow(nframes)
    return true
  } catch (error) {
    if (error instanceof RangeError) return false
    throw error
  }
}

/**
 * Takes device memory away. Returns 0, -EBUSY while frames are in use: the driver evicts first (DM-12), or -EINVAL if the
 * machine does not have it.
 */
export function memunmapPages(sys: System, pagemap: DevPagemap): number {
  if (sys.pagemaps[pagemap.id] !== pagemap) return -EINVAL
  if (pagemap.live > 0) return -EBUSY
  sys.pages.pagemap.fill(0, pagemap.pfn, pagemap.pfn + pagemap.npages)
  sys.pagemaps[pagemap.id] = null
  sys.mmu.removeDeviceFrames(pagemap.pfn, pagemap.npages)
  return 0
}

/** Takes a free device frame into use: one reference, locked (DM-5). */
export function zoneDevicePageInit(sys: System, pfn: Pfn): void {
  zoneDevicePagesInit(sys, pfn, 1)
}

/** The same for neighbouring frames of one device. */
export function zoneDevicePagesInit(sys: System, first: Pfn, npages: number): void {
  const { refcount, flags } = sys.pages
  const pagemap = pagemapOf(sys, first)
  if (pagemap === null) badFrame(first, 'is no free device frame')
  for (let pfn = first; pfn < first + npages; pfn++) {
    if (refcount[pfn] !== 0) badFrame(pfn, 'is no free device frame')
    refcount[pfn] = 1
    flags[pfn] = PG_ALLOCATED | PG_LOCKED
  }
  pagemap.live += npages
}

/** The last reference of neighbouring frames of one device is gone (`free_zone_device_page` for each). */
export function freeZoneDevicePages(sys: System, first: Pfn, npages: number): void {
  const { pages } = sys
  const pagemap = pagemapOf(sys, first)
  if (pagemap === null) badFrame(first, 'is no device frame')
  setFrames(pages.flags, 0, first, npages)
  setFrames(pages.mapping, 0, first, npages)
  pagemap.live -= npages
  const { ops } = pagemap
  if (ops.pagesFree !== undefined) ops.pagesFree(first, npages)
  else for (let pfn = first; pfn < first + npages; pfn++) ops.pageFree?.(pfn)
}

/** The device memory that a frame belongs to; null for system memory and for what is no frame. */
export function pagemapOf(sys: System, pfn: Pfn): DevPagemap | null {
  const id = sys.pages.pagemap[pfn]
  return id > 0 ? sys.pagemaps[id] : null // undefined for what is no frame number
}

/** Whether a frame is one of device memory, of whichever type (`is_zone_device_page`). */
export function isZoneDevicePage(sys: System, pfn: Pfn): boolean {
  return sys.pages.pagemap[pfn] > 0
}

/** Whether a frame is device memory that the CPU cannot reach (`is_device_private_page`). */
export function isDevicePrivatePage(sys: System, pfn: Pfn): boolean {
  return pagemapOf(sys, pfn)?.type === MEMORY_DEVICE_PRIVATE
}

/** Whether a frame is device memory that the CPU reaches as well (`is_device_coherent_page`). */
export function isDeviceCoherentPage(sys: System, pfn: Pfn): boolean {
  return pagemapOf(sys, pfn)?.type === MEMORY_DEVICE_COHERENT
}
