// An open dmirror device: the eight commands of the kernel's HMM test driver on the address space that it was opened for.
// Follows dmirror_fops_open, _release and _unlocked_ioctl of lib/test_hmm.c, Linux 6.1 (spec TD-3, TD-4, TD-8 to TD-30).
//
// A command takes the address and the number of pages, and where the kernel has a pointer to user memory, a buffer. As in
// the kernel a buffer is written only when the command succeeded, and so are the counts: a command that fails tells
// nothing but its errno.

import { type Addr, addrToVpn, isPageAligned, PAGE_SIZE } from '../../base/addr.ts'
import { EFAULT, EINVAL, ENOENT, ENOMEM } from '../../base/errno.ts'
import type { Mm } from '../../mm/mm.ts'
import { mmuIntervalNotifierRemove } from '../../mm/mmu-notifier.ts'
import {
  HMM_DMIRROR_CHECK_EXCLUSIVE,
  HMM_DMIRROR_EXCLUSIVE,
  HMM_DMIRROR_MIGRATE_TO_DEV,
  HMM_DMIRROR_MIGRATE_TO_SYS,
  HMM_DMIRROR_READ,
  HMM_DMIRROR_RELEASE,
  HMM_DMIRROR_SNAPSHOT,
  HMM_DMIRROR_WRITE,
} from '../../uapi/dmirror.ts'
import type { HmmDeviceHandle } from '../device.ts'
import { deviceFault, deviceSnapshot } from './device-fault.ts'
import { checkExclusive, makeExclusive } from './exclusive.ts'
import { migrateToDevice, migrateToSystem } from './migration.ts'
import type { DmirrorHost, Mirror } from './mirror.ts'
import type { MirrorTable } from './mirror-table.ts'
import { TAG_WRITE } from './mirror-table.ts'

/** What a command answers. */
export interface DmirrorResult {
  /** 0 or a negative errno. */
  readonly ret: number
  /** Pages copied, migrated or looked at, by command; 0 after a failure. */
  readonly cpages: number
  /** Device faults that READ and WRITE needed; one may cover many pages. 0 after a failure. */
  readonly faults: number
}

/** A device that a handle can be open on. */
export interface DmirrorCommandHost extends DmirrorHost {
  evictAll(): void
  /** Gives all device memory back. Returns 0, or -EAGAIN while somebody still holds a page of it. */
  release(): number
}

/** A command as it runs: the counts are filled in on the way, and count only if the end is 0. */
interface Running {
  readonly start: Addr
  readonly end: Addr
  readonly buffer: Uint8Array | null
  cpages: number
  faults: number
}

/** An open test device: its operations on the memory of one process. */
export class DmirrorHandle implements HmmDeviceHandle {
  readonly mirror: Mirror
  private readonly device: DmirrorCommandHost
  private isOpen = true

  /** `mirror` is subscribed. Handles are made by `DmirrorDevice.open`. */
  constructor(device: DmirrorCommandHost, mirror: Mirror) {
    this.device = device
    this.mirror = mirror
  }

  get mm(): Mm {
    return this.mirror.mm
  }

  get table(): MirrorTable {
    return this.mirror.table
  }

  /**
   * Closes the handle. All pages of the device go back to system memory, those of other processes too (TD-4).
   *
   * Returns 0, or -EAGAIN while an invalidation is running: call again when `mm.subscriptions.wait` was woken.
   */
  close(): number {
    if (!this.isOpen) return 0
    const { notifier } = this.mirror
    if (notifier !== null) {
      const ret = mmuIntervalNotifierRemove(notifier)
      if (ret !== 0) return ret
      this.mirror.notifier = null
    }
    this.device.mirrors.delete(this.mirror)
    this.isOpen = false
    this.device.evictAll()
    this.mirror.table.clear()
    return 0
  }

  /** Copies what the device sees of `npages` pages to `buffer`, faulting in what it does not know. */
  read(addr: Addr, npages: number, buffer: Uint8Array | null): DmirrorResult {
    return this.ioctl(HMM_DMIRROR_READ, addr, npages, buffer)
  }

  /** Has the device overwrite `npages` pages with the bytes of `buffer`. */
  write(addr: Addr, npages: number, buffer: Uint8Array | null): DmirrorResult {
    return this.ioctl(HMM_DMIRROR_WRITE, addr, npages, buffer)
  }

  /**
   * Migrates to the device, then copies the whole range to `buffer` through the mirror table: -ENOENT if a page is not in
   * it. So 0 means that every page is in the table, not that it is in device memory (TD-23).
   */
  migrateToDev(addr: Addr, npages: number, buffer: Uint8Array | null): DmirrorResult {
    return this.ioctl(HMM_DMIRROR_MIGRATE_TO_DEV, addr, npages, buffer)
  }

  /** Migrates pages of this device to system memory; `cpages` is how many did. */
  migrateToSys(addr: Addr, npages: number): DmirrorResult {
    return this.ioctl(HMM_DMIRROR_MIGRATE_TO_SYS, addr, npages, null)
  }

  /** Writes one HMM_DMIRROR_PROT byte per page to `perms`, and faults nothing. */
  snapshot(addr: Addr, npages: number, perms: Uint8Array | null): DmirrorResult {
    return this.ioctl(HMM_DMIRROR_SNAPSHOT, addr, npages, perms)
  }

  /** Makes the pages exclusive to the device, then copies the range to `buffer` as `migrateToDev` does. */
  exclusive(addr: Addr, npages: number, buffer: Uint8Array | null): DmirrorResult {
    return this.ioctl(HMM_DMIRROR_EXCLUSIVE, addr, npages, buffer)
  }

  /** -EPERM while a page is exclusive to the device. */
  checkExclusive(addr: Addr, npages: number): DmirrorResult {
    return this.ioctl(HMM_DMIRROR_CHECK_EXCLUSIVE, addr, npages, null)
  }

  /** Takes all memory of the device away; the range is checked and otherwise ignored (TD-30). */
  release(addr: Addr, npages: number): DmirrorResult {
    return this.ioctl(HMM_DMIRROR_RELEASE, addr, npages, null)
  }

  /**
   * Runs a command by its HMM_DMIRROR number.
   *
   * Errors of every command (TD-9):
   * - -EINVAL the command is unknown, `addr` is not page aligned, or the range is empty or overflows
   * - -EFAULT `buffer` is missing or too small
   *
   * Throws a TypeError for a buffer that is none.
   */
  ioctl(command: number, addr: Addr, npages: number, buffer: Uint8Array | null): DmirrorResult {
    if (buffer !== null && !(buffer instanceof Uint8Array)) {
      throw new TypeError(`buffer is ${String(buffer)}, wanted a Uint8Array`)
    }
    if (!Number.isSafeInteger(addr) || addr < 0 || !isPageAligned(addr)) return failure(-EINVAL)
    const end = addr + npages * PAGE_SIZE
    if (!Number.isSafeInteger(npages) || !(npages > 0) || !Number.isSafeInteger(end)) return failure(-EINVAL)
    const cmd: Running = { start: addr, end, buffer, cpages: 0, faults: 0 }
    const ret = this.isOpen ? this.run(command, cmd) : -EINVAL
    return ret === 0 ? { ret, cpages: cmd.cpages, faults: cmd.faults } : failure(ret)
  }

  private run(command: number, cmd: Running): number {
    const { mirror } = this
    switch (command) {
      case HMM_DMIRROR_READ:
        return this.runRead(cmd)
      case HMM_DMIRROR_WRITE:
        return this.runWrite(cmd)
      case HMM_DMIRROR_MIGRATE_TO_DEV: {
        const ret = migrateToDevice(mirror, cmd.start, cmd.end)
        return ret === 0 ? this.readThroughTable(cmd) : ret
      }
      case HMM_DMIRROR_MIGRATE_TO_SYS: {
        const ret = migrateToSystem(mirror, cmd.start, cmd.end)
        if (ret < 0) return ret
        cmd.cpages = ret
        return 0
      }
      case HMM_DMIRROR_SNAPSHOT:
        return this.runSnapshot(cmd)
      case HMM_DMIRROR_EXCLUSIVE: {
        const ret = makeExclusive(mirror, cmd.start, cmd.end)
        return ret === 0 ? this.readThroughTable(cmd) : ret
      }
      case HMM_DMIRROR_CHECK_EXCLUSIVE:
        return checkExclusive(mirror, cmd.start, cmd.end)
      case HMM_DMIRROR_RELEASE:
        return this.device.release()
      default:
        return -EINVAL
    }
  }

  /** TD-20: copies until a page is missing, faults from there to the end, and goes on. */
  private runRead(cmd: Running): number {
    const bounce = makeBounce(cmd)
    if (bounce === null) return -ENOMEM
    for (;;) {
      if (this.copyFromTable(cmd, bounce)) return copyToUser(cmd, bounce)
      const ret = deviceFault(this.mirror, cmd.start + cmd.cpages * PAGE_SIZE, cmd.end, false)
      if (ret !== 0) return ret
      cmd.faults++
    }
  }

  /** TD-21. */
  private runWrite(cmd: Running): number {
    const { buffer } = cmd
    if (buffer === null || buffer.length < cmd.end - cmd.start) return -EFAULT
    for (;;) {
      if (this.copyThroughTable(cmd, buffer)) return 0
      const ret = deviceFault(this.mirror, cmd.start + cmd.cpages * PAGE_SIZE, cmd.end, true)
      if (ret !== 0) return ret
      cmd.faults++
    }
  }

  private runSnapshot(cmd: Running): number {
    const npages = (cmd.end - cmd.start) / PAGE_SIZE
    const { buffer } = cmd
    if (buffer === null || buffer.length < npages) return -EFAULT
    const ret = deviceSnapshot(this.mirror, cmd.start, cmd.end, buffer)
    if (ret === 0) cmd.cpages = npages
    return ret
  }

  /** Reads the whole range without faulting: what MIGRATE_TO_DEV and EXCLUSIVE end with. */
  private readThroughTable(cmd: Running): number {
    const bounce = makeBounce(cmd)
    if (bounce === null) return -ENOMEM
    return this.copyFromTable(cmd, bounce) ? copyToUser(cmd, bounce) : -ENOENT
  }

  /** Copies pages to `bounce`, from page `cmd.cpages` on; false at the first one without an entry. */
  private copyFromTable(cmd: Running, bounce: Uint8Array): boolean {
    const { table, lock } = this.mirror
    const { mmu } = this.device.sys
    const vpn = addrToVpn(cmd.start)
    const npages = bounce.length / PAGE_SIZE
    lock.acquire()
    while (cmd.cpages < npages) {
      const pfn = table.find(vpn + cmd.cpages)
      if (pfn < 0) break
      bounce.set(mmu.bytes(pfn), cmd.cpages * PAGE_SIZE)
      cmd.cpages++
    }
    lock.release()
    return cmd.cpages === npages
  }

  /** Copies pages from `buffer`, from page `cmd.cpages` on; false at the first one that the device may not write. */
  private copyThroughTable(cmd: Running, buffer: Uint8Array): boolean {
    const { table, lock } = this.mirror
    const { mmu, pages } = this.device.sys
    const vpn = addrToVpn(cmd.start)
    const npages = (cmd.end - cmd.start) / PAGE_SIZE
    lock.acquire()
    while (cmd.cpages < npages) {
      // An exclusive page is not writable in this sense: the kernel's driver wants the WRITE tag and no other.
      if (table.tagOf(vpn + cmd.cpages) !== TAG_WRITE) break
      const offset = cmd.cpages * PAGE_SIZE
      const pfn = table.find(vpn + cmd.cpages)
      mmu.bytes(pfn).set(buffer.subarray(offset, offset + PAGE_SIZE))
      pages.setDirty(pfn)
      cmd.cpages++
    }
    lock.release()
    return cmd.cpages === npages
  }
}

function failure(ret: number): DmirrorResult {
  return { ret, cpages: 0, faults: 0 }
}

/** Room for the whole range, so that the caller's buffer is written only in the end; null if there is none. */
function makeBounce(cmd: Running): Uint8Array | null {
  try {
    return new Uint8Array(cmd.end - cmd.start)
  } catch {
    return null // RangeError: more than an array can hold
  }
}

function copyToUser(cmd: Running, bounce: Uint8Array): number {
  const { buffer } = cmd
  if (buffer === null || buffer.length < bounce.length) return -EFAULT
  buffer.set(bounce)
  return 0
}
