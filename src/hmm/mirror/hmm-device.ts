// The objects of the mirror layer and the contract with a driver. Start here. Follows hmm_device, hmm and hmm_mirror of the
// 2015 HMM patches (MR-1 to MR-7, MR-20 to MR-29).
//
//   HmmDevice ──< HmmMirror >── Hmm ── Mm        one mirror per device and address space, each with a table of its own
//
// It differs in that ranges are announced by one interval notifier per address space instead of the classic notifier, that
// migration is today's (migrate_vma and friends, run by the driver) instead of copy_to_device and copy_from_device, and that
// nothing sleeps, so there are neither locks nor wait queues here.

import type { Addr, Pfn } from '../../base/addr.ts'
import { assert, formatAddr } from '../../base/assert.ts'
import { EBUSY, EEXIST, ENODEV } from '../../base/errno.ts'
import type { Mm } from '../../mm/mm.ts'
import type { MmuIntervalNotifier } from '../../mm/mmu-notifier.ts'
import type { HmmEvent } from './hmm-event.ts'
import type { HmmPt } from './hmm-pt.ts'

/** What a device does for its mirrors. */
export interface HmmDeviceOps {
  /**
   * The mirror is over: the address space died, `update` failed, or the driver unregistered it. Everything was taken away by
   * an `update` with MUNMAP over the whole space just before. Called once per mirror.
   */
  release(mirror: HmmMirror): void

  /** Nobody refers to the mirror any more. May come long after `release`, from wherever the last reference is dropped. */
  free?(mirror: HmmMirror): void

  /**
   * Brings the device in line with an event over `[event.start, event.end)`.
   *
   * It runs before the CPU page table changes (fault and copy events: after the pages are in place). The mirror table still
   * shows the old state; the core puts `event.pteMask` on its valid entries after the return, so the driver leaves them as
   * they are, but for two things: it sets DIRTY on each entry that the device wrote through, and may use the private bits.
   *
   * | etype           | when it returns, the device                               | DIRTY   | mask     | may free its tables |
   * |-----------------|-----------------------------------------------------------|---------|----------|---------------------|
   * | FORK            | cannot write the range; a write faults                    | report  | no WRITE | no                  |
   * | WRITE_PROTECT   | cannot write the range; a write faults                    | report  | no WRITE | no                  |
   * | ISDIRTY         | is unchanged                                              | report  | all      | no                  |
   * | MIGRATE         | cannot use the range; the same addresses come back soon   | report  | 0        | no, keep them       |
   * | MUNMAP          | cannot use the range; it is gone                          | report  | 0        | yes                 |
   * | DEVICE_RFAULT   | can read what the mirror table has there                  | -       | all      | no                  |
   * | DEVICE_WFAULT   | can read and write what the mirror table has there        | (below) | all      | no                  |
   * | COPY_TO_DEVICE  | uses what the mirror table has there, its own memory      | -       | all      | no                  |
   * | COPY_FROM_DEVICE| uses what the mirror table has there, system memory again | -       | all      | no                  |
   *
   * - The mask follows from the type. The type tells more in one respect: only MUNMAP says that the range will not be back.
   * - A device that cannot tell which pages it wrote sets DIRTY on every entry with WRITE, in each update (or once, with
   *   `hmmMirrorRangeDirty`, when it becomes able to write). DIRTY without WRITE is accepted as a late report if the entry had
   *   WRITE before; otherwise the page still counts as dirty, but it is reported as a driver bug.
   * - A device that does not touch a range is not called for it: only if the table has a valid entry there, and for MUNMAP
   *   also if it had one since the last MUNMAP, because the device may have kept tables.
   * - Devices see system memory coherently; there is nothing to flush.
   *
   * Returns 0, or -ENOMEM or -EIO. Any other value is a driver bug, reported and treated as -EIO. Failing ends the mirror: it
   * gets MUNMAP over everything and `release`. Only fault and copy events may fail without that; the error goes to the caller.
   */
  update(mirror: HmmMirror, event: HmmEvent): number
}

/** Makes system pages reachable for a device that does not use frame numbers (MR-53). */
export interface HmmDma {
  /** Returns the page-aligned bus address of the frame, or -ENOMEM. */
  mapPage(pfn: Pfn, writable: boolean): Addr
  /** The device no longer uses the address. */
  unmapPage(dmaAddr: Addr): void
}

export const HMM_WARNINGS = [
  'update-result', // update() returned something else than 0, -ENOMEM and -EIO
  'driver-threw', // update() or release() threw
  'dirty-without-write', // DIRTY on an entry that never had WRITE
  'stale-entry', // an entry outlived its page: the driver moved the page and did not discard the range
] as const
export type HmmWarningKind = (typeof HMM_WARNINGS)[number]

/** A mistake of a driver, found by the core. */
export interface HmmWarning {
  readonly kind: HmmWarningKind
  readonly device: string
  /** Range it is about: of the event, or from the first to the last page concerned. */
  readonly start: Addr
  readonly end: Addr
  /** Pages concerned. */
  readonly npages: number
  readonly message: string
  /** What the driver threw. */
  readonly error?: unknown
}

/** Warnings that a device without `onWarning` keeps, oldest dropped first. */
const WARNINGS_MAX = 256

/** What an HmmDevice is made with. */
export interface HmmDeviceOptions {
  readonly name: string
  readonly ops: HmmDeviceOps
  /** Entries hold bus addresses made by this mapper; null (the default) makes them frame numbers. */
  readonly dev?: HmmDma | null
  /** Owner of the device's own memory, as given to memremapPages; null (the default) if it has none. */
  readonly owner?: unknown
  /**
   * The driver runs migrations and exclusive access itself and keeps its mirrors right while it does: MIGRATE and EXCLUSIVE
   * events with its own owner are not delivered (MN-51), and it must discard what it moves (MN-52). Default false: they are
   * delivered like those of others.
   */
  readonly filterOwnEvents?: boolean
  /** Takes warnings; default: they are recorded in `warnings`. */
  readonly onWarning?: (warning: HmmWarning) => void
}

/** A device with mirrors, in the interface of 2015. */
export class HmmDevice {
  readonly name: string
  readonly ops: HmmDeviceOps
  readonly dev: HmmDma | null
  readonly owner: unknown
  readonly filterOwnEvents: boolean
  readonly mirrors = new Set<HmmMirror>()
  /** Latest warnings, if nobody else takes them. */
  readonly warnings: HmmWarning[] = []
  registered = false
  private readonly onWarning: ((warning: HmmWarning) => void) | null

  constructor(options: HmmDeviceOptions) {
    this.name = options.name
    this.ops = options.ops
    this.dev = options.dev ?? null
    this.owner = options.owner ?? null
    this.filterOwnEvents = options.filterOwnEvents ?? false
    this.onWarning = options.onWarning ?? null
  }

  /** Reports a mistake of the driver. */
  warn(warning: Omit<HmmWarning, 'device'>): void {
    const full = { device: this.name, ...warning }
    if (this.onWarning !== null) {
      this.onWarning(full)
      return
    }
    if (this.warnings.length === WARNINGS_MAX) this.warnings.shift()
    this.warnings.push(full)
  }
}

/** All mirrors of one address space. Made with the first one, gone with the last. */
export class Hmm {
  readonly mm: Mm
  /** Addresses from here on are not mirrored. */
  readonly vmEnd: Addr
  /** In order of registration, which is the order of updates. */
  readonly mirrors: HmmMirror[] = []
  /** Device faults in progress. */
  readonly faults: HmmFault[] = []
  /** Covers `[0, vmEnd)`; null only while the object is being made. */
  notifier: MmuIntervalNotifier | null = null

  constructor(mm: Mm) {
    this.mm = mm
    this.vmEnd = mm.taskSize
  }
}

/** One address space as one device sees it. */
export class HmmMirror {
  readonly device: HmmDevice
  readonly hmm: Hmm
  /** Changed by the core alone; see `HmmDeviceOps.update` for the bits that a driver may set. */
  readonly pt: HmmPt
  /** One while the mirror is registered, one per fault in progress, and those that the driver took. */
  refcount = 1
  /** False once it was unregistered or killed: calls with it return -ENODEV. */
  registered = true
  /** Last-level directories (by number: address / 2 MiB) that had entries since the range was last unmapped. */
  readonly touched = new Set<number>()

  constructor(device: HmmDevice, hmm: Hmm, pt: HmmPt) {
    this.device = device
    this.hmm = hmm
    this.pt = pt
  }
}

/** Number of the last-level directory that covers an address. */
export function hmmMirrorBlock(mirror: HmmMirror, addr: Addr): number {
  return Math.floor(addr / hmmMirrorBlockSize(mirror))
}

/** Bytes that a last-level directory covers. */
export function hmmMirrorBlockSize(mirror: HmmMirror): number {
  const { coverage, llevel } = mirror.pt
  return llevel === 0 ? Number.MAX_SAFE_INTEGER : coverage[llevel - 1]
}

/** A device fault in progress (MR-82). */
export class HmmFault {
  readonly mirror: HmmMirror
  readonly event: HmmEvent
  /** Where to go on after a backoff: what the fault did below is still good. */
  restart: Addr

  constructor(mirror: HmmMirror, event: HmmEvent) {
    this.mirror = mirror
    this.event = event
    this.restart = event.end
  }
}

/** Announces a device. Returns 0, or -EEXIST if it is registered already. A device without ops.release is a broken driver. */
export function hmmDeviceRegister(device: HmmDevice): number {
  const { ops } = device
  assert(typeof ops?.release === 'function', () => `device ${device.name} has no ops.release`)
  assert(typeof ops.update === 'function', () => `device ${device.name} has no ops.update`)
  if (device.registered) return -EEXIST
  device.registered = true
  return 0
}

/** Returns 0, -EBUSY while the device has mirrors, or -ENODEV if it is not registered. */
export function hmmDeviceUnregister(device: HmmDevice): number {
  if (!device.registered) return -ENODEV
  if (device.mirrors.size > 0) return -EBUSY
  device.registered = false
  return 0
}

/** Takes a reference, which keeps the mirror and its page table (`hmm_mirror_ref`). */
export function hmmMirrorRef(mirror: HmmMirror): void {
  assert(mirror.refcount > 0, 'a mirror that was freed is not referred to again')
  mirror.refcount++
}

/** Gives a reference back; with the last one the mirror is gone (`hmm_mirror_unref`). */
export function hmmMirrorUnref(mirror: HmmMirror): void {
  assert(mirror.refcount > 0, 'a mirror has a reference for every unref')
  mirror.refcount--
  if (mirror.refcount > 0) return
  const { pt, device } = mirror
  assert(
    pt.nvalid === 0,
    () => `mirror of ${device.name} is freed with ${pt.nvalid} entries below ${formatAddr(pt.last)}`,
  )
  device.ops.free?.(mirror)
}
