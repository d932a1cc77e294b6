// The entry point `hetmem/hmm`: for people who write drivers, or want to see how heterogeneous memory works. It has what a
// driver in the kernel would have (mm's public face, hmm), a simulated machine to run it on, and the kernel's own test
// driver. The older designs have names of their own, because they used the same words for other things.
//
//   import { DmirrorDevice, hmmRangeFault, Machine, mmuIntervalNotifierInsert } from 'hetmem/hmm'

// ---- numbers and errors ----

export * from './base/addr.ts'
export { AssertionError, formatAddr } from './base/assert.ts'
export * from './base/errno.ts'
export { type WaitListener, WaitQueue } from './base/wait-queue.ts'
export * from './uapi/dmirror.ts'
export * from './uapi/mman.ts'

// ---- hmm ----

export { hmmRangeFault } from './hmm/hmm.ts'
export * from './hmm/hmm-pfn.ts'
export * from './hmm/hmm-range.ts'
/** Registered ranges and `hmm_vma_fault`, as Linux v5.1 to v5.3 had them. */
export * as hmmV51 from './hmm/hmm-vma.ts'
/** Mirror page tables with update events, as the patches of 2015 had them. */
export * as hmm2015 from './hmm/mirror/index.ts'

// ---- mm: what a driver uses ----

export { makeDeviceExclusiveRange } from './mm/exclusive.ts'
export { handleMmFault } from './mm/fault.ts'
export { type PinOptions, pinUserPages, unpinUserPage } from './mm/gup.ts'
export { insertPage, insertPfnMixed, remapPfnRange } from './mm/insert.ts'
export {
  DevPagemap,
  type DevPagemapOps,
  type DevPagemapRequest,
  isDeviceCoherentPage,
  isDevicePrivatePage,
  isZoneDevicePage,
  MEMORY_DEVICE_COHERENT,
  MEMORY_DEVICE_FS_DAX,
  MEMORY_DEVICE_GENERIC,
  MEMORY_DEVICE_PCI_P2PDMA,
  MEMORY_DEVICE_PRIVATE,
  memremapPages,
  memunmapPages,
  pagemapOf,
  zoneDevicePageInit,
} from './mm/memremap.ts'
export {
  allocEvictionTarget,
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
  unpinMigratedPage,
} from './mm/migrate-device.ts'
export * from './mm/migrate-pfn.ts'
export { MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, MM_SWAPENTS, Mm, mmget, mmgetNotZero } from './mm/mm.ts'
export * from './mm/mmu-notifier.ts'
export * from './mm/page.ts'
export {
  allocEvictionPage,
  allocKernelPage,
  allocPage,
  getPage,
  putPage,
  unlockPage,
  waitForPage,
} from './mm/page-alloc.ts'
export { collectWrites, shareForRead } from './mm/share.ts'
export { System, type SystemOptions, type ThpMode } from './mm/system.ts'
export * from './mm/vm-fault.ts'
export * from './mm/vm-flags.ts'
export { Vma, type VmFile, type VmOps } from './mm/vma.ts'

// ---- mm: system calls, state as text, invariants ----

export { dumpAttr, dumpPagemap, dumpPte, dumpSoftDirty, formatMaps, samePages } from './mm/dump.ts'
export { forkMm } from './mm/fork.ts'
export { madviseNeedsWrite, mmMadvise } from './mm/madvise.ts'
export { type MovePagesOptions, migratePage, movePages } from './mm/migrate.ts'
export { mlockPopulate, mmMlock, mmMunlock } from './mm/mlock.ts'
export { mmMmap, mmMunmap, mmput } from './mm/mmap.ts'
export { mmMprotect } from './mm/mprotect.ts'
export { mmMremap } from './mm/mremap.ts'
export { oomReapMm } from './mm/oom-reaper.ts'
export { ShmemFile } from './mm/shmem.ts'
export { clearSoftDirty } from './mm/soft-dirty.ts'
export {
  VALIDATE_LEVELS,
  type ValidateLevel,
  type ValidateOptions,
  validateMigrateVma,
  validateMm,
  validateSystem,
} from './mm/validate.ts'
export type { DeviceTranslation } from './mm/validate-devices.ts'
export { clearPageDirtyForIo, pageMkclean } from './mm/writeback.ts'

// ---- a machine to run on, and the kernel's test driver ----

export * from './devices/dmirror/index.ts'
export * from './machine/index.ts'
export type { Mmu, MmuCapabilities, SpaceId } from './mmu/mmu.ts'
export { SimulatedMmu, type SimulatedMmuOptions } from './mmu/simulated/simulated-mmu.ts'
