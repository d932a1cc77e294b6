// Moving pages between system memory and the memory of a dmirror device: on command, when the CPU touches a private page,
// and page by frame when the device is emptied. Follows dmirror_migrate_to_device, dmirror_migrate_to_system,
// dmirror_devmem_fault and dmirror_device_evict_chunk of lib/test_hmm.c, Linux 6.1 (spec TD-22 to TD-24, TD-31).
//
// The table of the mirror is written between `migrateVmaPages` and `migrateVmaFinalize`, while the pages are locked: an own
// migration raises no event that the callback would look at (MN-52).

import { type Addr, addrToVpn, PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { EAGAIN, EINVAL } from '../../base/errno.ts'
import { isZoneDevicePage } from '../../mm/memremap.ts'
import {
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type MigrateVma,
  makeMigrateVma,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from '../../mm/migrate-device.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  migratePfnAt,
  migratePfnWords,
  setMigratePfn,
} from '../../mm/migrate-pfn.ts'
import { PG_DIRTY } from '../../mm/page.ts'
import { allocEvictionPage, allocKernelPage } from '../../mm/page-alloc.ts'
import type { System } from '../../mm/system.ts'
import { VM_FAULT_OOM, VM_FAULT_RETRY, VM_FAULT_SIGBUS, type VmFault } from '../../mm/vm-fault.ts'
import { VM_READ, VM_WRITE } from '../../mm/vm-flags.ts'
import type { Vma } from '../../mm/vma.ts'
import type { Chunk, DeviceMemory } from './device-memory.ts'
import { DMIRROR_BATCH_PAGES, type DmirrorHost, type Mirror } from './mirror.ts'
import { TAG_READ, TAG_WRITE } from './mirror-table.ts'

/**
 * Migrates what can be migrated of `[start, end)` to the device and enters it in the mirror table. Pages that stay where
 * they are are no error.
 *
 * Returns 0, or with the parts before the failing one migrated
 * - -EINVAL the address space is dead, or a part has no mapping, or one that cannot be read or migrated at all
 * - -EAGAIN wait for `sys.waitFor`, then call again
 */
export function migrateToDevice(mirror: Mirror, start: Addr, end: Addr): number {
  return forEachPart(mirror, start, end, MIGRATE_VMA_SELECT_SYSTEM, (args) => {
    allocAndCopyToDevice(mirror, args)
    migrateVmaPages(args)
    enterMigrated(mirror, args)
    migrateVmaFinalize(args)
  })
}

/** Migrates the pages of this device in `[start, end)` back. Returns their number or as `migrateToDevice`. */
export function migrateToSystem(mirror: Mirror, start: Addr, end: Addr): number {
  let cpages = 0
  const ret = forEachPart(mirror, start, end, selectDevice(mirror.device), (args) => {
    allocAndCopyToSystem(mirror, args)
    migrateVmaPages(args)
    cpages += countMigrated(args)
    migrateVmaFinalize(args)
  })
  return ret === 0 ? cpages : ret
}

/**
 * The CPU touched a page of private memory (TD-31). `mirror` is the one that migrated it to the device.
 *
 * Returns 0, also if the page could not be moved now (the access is repeated), or VM_FAULT_SIGBUS, _OOM, _RETRY.
 */
export function migrateFaultToRam(mirror: Mirror, vmf: VmFault): number {
  const { device } = mirror
  const args = makeMigrateVma(vmf.vma, vmf.address, vmf.address + PAGE_SIZE, device.owner, selectDevice(device))
  args.faultPage = vmf.page
  const ret = setup(mirror, args)
  if (ret === -EAGAIN) return VM_FAULT_RETRY
  if (ret !== 0) return VM_FAULT_SIGBUS
  const hadRoom = allocAndCopyToSystem(mirror, args)
  migrateVmaPages(args)
  migrateVmaFinalize(args)
  return hadRoom ? 0 : VM_FAULT_OOM
}

/** Moves every page of a chunk to system memory, whoever it belongs to. The mirrors hear of it by the events of the unmapping. */
export function evictChunk(sys: System, memory: DeviceMemory, chunk: Chunk): void {
  if (chunk.pagemap.live === 0) return
  const first = chunk.lowestUsed
  const npages = chunk.end - first
  const src = new BigUint64Array(npages)
  const dst = new BigUint64Array(npages)
  migrateDeviceRange(sys, src, first, npages)
  const srcWords = migratePfnWords(src)
  const dstWords = migratePfnWords(dst)
  for (let i = 0; i < npages; i++) {
    if ((srcWords[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
    const spage = migratePfnAt(srcWords, i)
    if (spage < 0) continue
    const dpage = allocKernelPage(sys, true)
    if (dpage < 0) continue // no room: the page stays
    sys.pages.trylock(dpage)
    copyBack(sys, memory, dpage, spage)
    setMigratePfn(dstWords, i, dpage, MIGRATE_PFN_VALID | (srcWords[2 * i] & MIGRATE_PFN_WRITE))
  }
  migrateDevicePages(sys, src, dst, npages)
  migrateDeviceFinalize(sys, src, dst, npages)
}

/** Cuts `[start, end)` into parts of one mapping and at most 64 pages, and migrates each: setup, then `rest`. */
function forEachPart(mirror: Mirror, start: Addr, end: Addr, flags: number, rest: (args: MigrateVma) => void): number {
  const { mm } = mirror
  if (!mirror.getMm()) return -EINVAL
  let ret = 0
  if (mm.mmapLock.tryRead()) {
    for (let addr = start; addr < end && ret === 0; ) {
      const vma = mm.vmaLookup(addr)
      if (vma === null || (vma.flags & VM_READ) === 0) {
        ret = -EINVAL
        break
      }
      const next = Math.min(end, vma.end, addr + DMIRROR_BATCH_PAGES * PAGE_SIZE)
      const args = makeMigrateVma(vma, addr, next, mirror.device.owner, flags)
      ret = setup(mirror, args)
      if (ret === 0) rest(args)
      addr = next
    }
    mm.mmapLock.unlockRead()
  } else {
    mm.sys.waitFor = mm.mmapLock.released
    ret = -EAGAIN
  }
  mirror.putMm()
  return ret
}

/**
 * Collects the pages. The device's other mirrors of the address space (those of a parent, or of a second handle) forget what
 * is going to move: no event tells them either. The kernel's driver leaves their entries, which then name freed pages.
 */
function setup(mirror: Mirror, args: MigrateVma): number {
  const ret = migrateVmaSetup(args)
  if (ret !== 0) return ret
  const src = migratePfnWords(args.src)
  const vpn = addrToVpn(args.start)
  for (const other of mirror.device.mirrors) {
    if (other === mirror || other.mm !== args.vma?.mm) continue
    other.lock.acquire()
    for (let i = 0; i < args.npages; i++) {
      if ((src[2 * i] & MIGRATE_PFN_MIGRATE) !== 0) other.table.erase(vpn + i)
    }
    other.lock.release()
  }
  return 0
}

/** Gives every collected page a device page with its contents, or with zeroes where there was no page. */
function allocAndCopyToDevice(mirror: Mirror, args: MigrateVma): void {
  const src = migratePfnWords(args.src)
  const dst = migratePfnWords(args.dst)
  const vma = args.vma as Vma
  const { sys, memory } = mirror.device
  for (let i = 0; i < args.npages; i++) {
    if ((src[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
    const spage = migratePfnAt(src, i)
    if (spage >= 0 && isZoneDevicePage(sys, spage)) continue
    const dpage = memory.allocPage()
    if (dpage < 0) continue
    const data = memory.dataPage(dpage)
    if (spage >= 0) sys.mmu.copyFrame(data, spage)
    else sys.mmu.clearFrame(data)
    sys.pages.zoneDeviceData.set(dpage, mirror)
    const isWritable = spage < 0 ? (vma.flags & VM_WRITE) !== 0 : (src[2 * i] & MIGRATE_PFN_WRITE) !== 0
    setMigratePfn(dst, i, dpage, MIGRATE_PFN_VALID | (isWritable ? MIGRATE_PFN_WRITE : 0))
  }
}

/** Enters what migrated, by the frame that holds the data. */
function enterMigrated(mirror: Mirror, args: MigrateVma): void {
  const src = migratePfnWords(args.src)
  const dst = migratePfnWords(args.dst)
  const vpn = addrToVpn(args.start)
  mirror.lock.acquire()
  for (let i = 0; i < args.npages; i++) {
    if ((src[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
    const dpage = migratePfnAt(dst, i)
    if (dpage < 0) continue
    const tag = (dst[2 * i] & MIGRATE_PFN_WRITE) !== 0 ? TAG_WRITE : TAG_READ
    mirror.table.store(vpn + i, mirror.device.memory.dataPage(dpage), tag)
  }
  mirror.lock.release()
}

/**
 * Gives every collected page of the device a system page with its contents, and takes it out of the mirror table. Returns
 * false if there were not enough system pages; what got none stays on the device.
 */
function allocAndCopyToSystem(mirror: Mirror, args: MigrateVma): boolean {
  const src = migratePfnWords(args.src)
  const dst = migratePfnWords(args.dst)
  const { sys, memory } = mirror.device
  const { mm } = args.vma as Vma
  let hadRoom = true
  mirror.lock.acquire()
  for (let i = 0; i < args.npages; i++) {
    if ((src[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
    const spage = migratePfnAt(src, i)
    if (spage < 0) continue // a hole is collected too, and stays one
    const addr = args.start + i * PAGE_SIZE
    const dpage = allocEvictionPage(mm, addr)
    if (dpage < 0) {
      hadRoom = false
      continue
    }
    sys.pages.trylock(dpage)
    mirror.table.erase(addrToVpn(addr))
    copyBack(sys, memory, dpage, spage)
    setMigratePfn(dst, i, dpage, MIGRATE_PFN_VALID | (src[2 * i] & MIGRATE_PFN_WRITE))
  }
  mirror.lock.release()
  return hadRoom
}

/** Copies a page of the device to a system page; what the device has written makes that dirty. */
function copyBack(sys: System, memory: DeviceMemory, dpage: Pfn, spage: Pfn): void {
  const data = memory.dataPage(spage)
  sys.mmu.copyFrame(dpage, data)
  if ((sys.pages.flags[data] & PG_DIRTY) !== 0) sys.pages.setDirty(dpage)
}

function countMigrated(args: MigrateVma): number {
  const src = migratePfnWords(args.src)
  const migrated = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE
  let count = 0
  for (let i = 0; i < args.npages; i++) if ((src[2 * i] & migrated) === migrated) count++
  return count
}

function selectDevice(device: DmirrorHost): number {
  return device.kind === 'private' ? MIGRATE_VMA_SELECT_DEVICE_PRIVATE : MIGRATE_VMA_SELECT_DEVICE_COHERENT
}
