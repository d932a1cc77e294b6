// Devices: start here. What an HMM driver is, as far as all of them agree.
//
// A driver stands between a device with memory and translations of its own and the address spaces that it mirrors. It uses
// only what a driver of the kernel could use:
//
//   mm/mmu-notifier     to be told before a translation goes away, and to find out whether what it read is still true
//   hmm/hmm             to fault pages in and to learn which frame is behind an address
//   mm/memremap         to add its memory to the machine and get its pages back when the last user is gone
//   mm/migrate-device   to move pages between system memory and its own
//   mm/exclusive        to have a page for itself
//   mm/page-alloc       references and locks of pages
//
// What cannot be said with these is missing there, and is added there. Nothing in mm knows a device.
//
// Three duties come with it. The invalidation callback acknowledges every event (`mmuIntervalSetSeq`) that it does not
// filter out, and drops the translations before it returns. What was read from the page table is used only after
// `mmuIntervalReadRetry` said under the driver's lock that nothing came in between. Who migrates with its own owner sees no
// event for it, and updates its own table (MN-37, MN-45, MN-52 of the specification).
//
// Nothing in a driver of the core sleeps: where the kernel would, a call returns -EAGAIN and `sys.waitFor` says for what. A real
// device takes time, so what its driver does on its own initiative is asynchronous; what mm calls (`migrateToRam`, the
// invalidation callback) is not, and begins work that ends later.

import type { Mm } from '../mm/mm.ts'
import type { System } from '../mm/system.ts'

/** One device of a machine. */
export interface HmmDevice<Handle extends HmmDeviceHandle = HmmDeviceHandle> {
  readonly sys: System
  readonly name: string
  /** Identity of the device's memory: `pgmapOwner` of its migrations, `devPrivateOwner` of its range faults (DM-4). */
  readonly owner: unknown
  /** Pages of device memory in use, whoever they belong to. */
  readonly npagesUsed: number
  /** Begins to mirror an address space. Returns the handle or a negative errno. */
  open(mm: Mm): Handle | number
  /** Moves every page that can be moved to system memory, whoever it belongs to. */
  evictAll(): void | Promise<void>
}

/** A device's view of one address space. */
export interface HmmDeviceHandle {
  readonly mm: Mm
  /**
   * Ends the mirroring. Returns 0, or -EAGAIN while an invalidation that may still call the handle is running: call again
   * after `mm.subscriptions.wait` was woken.
   */
  close(): number | Promise<number>
}
