// A device whose copies take time: a migration that it begins stays open until it is told to go on, whatever happens in
// between. It has a little memory of its own, private or coherent, takes pages away by copy or pinned in place
// (MIGRATE_PFN_PIN), keeps read duplicates, and reads and writes what it has. A driver as devices/device.ts wants it, with
// each wait of a real one turned into a command of the program.

import { type Addr, addrToVpn, PAGE_SIZE, type Pfn, vpnToAddr } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import type { Machine } from '../../src/machine/machine.ts'
import { type DevPagemap, MEMORY_DEVICE_COHERENT, MEMORY_DEVICE_PRIVATE, memremapPages } from '../../src/mm/memremap.ts'
import { unpinMigratedPage } from '../../src/mm/migrate-device.ts'
import type { Mm } from '../../src/mm/mm.ts'
import {
  ADDR_MAX,
  MMU_NOTIFY_MIGRATE,
  type MmuIntervalNotifier,
  type MmuNotifierRange,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalSetSeq,
} from '../../src/mm/mmu-notifier.ts'
import { shareForRead } from '../../src/mm/share.ts'
import type { System } from '../../src/mm/system.ts'
import type { DeviceTranslation } from '../../src/mm/validate-devices.ts'
import type { VmFault } from '../../src/mm/vm-fault.ts'

export interface AsyncDeviceOptions {
  readonly name: string
  readonly kind: 'private' | 'coherent'
  /** Pages of memory. */
  readonly npages: number
  /** The CPU touched a page of private memory. Returns VM_FAULT_* bits. */
  migrateToRam(device: AsyncDevice, vmf: VmFault): number
}

/** What the device has of one page of an address space. */
export interface Translation {
  readonly pfn: Pfn
  readonly writable: boolean
  /** Bytes of a read duplicate of the system page `pfn`; null for a page of the device's own memory. */
  readonly duplicate: Uint8Array | null
}

export class AsyncDevice {
  readonly name: string
  readonly kind: 'private' | 'coherent'
  readonly sys: System
  readonly pagemap: DevPagemap
  readonly mirrors = new Map<Mm, AsyncMirror>()
  /** Pages that are pinned in place: frame of the device -> system frame with the bytes. */
  readonly pinned = new Map<Pfn, Pfn>()
  private readonly memory = new Map<Pfn, Uint8Array>()
  private readonly free: Pfn[] = []

  constructor(machine: Machine, options: AsyncDeviceOptions) {
    const { name, kind, npages } = options
    this.name = name
    this.kind = kind
    this.sys = machine.sys
    const pageFree = (pfn: Pfn): void => this.pageFree(pfn)
    const pagemap = memremapPages(machine.sys, {
      type: kind === 'private' ? MEMORY_DEVICE_PRIVATE : MEMORY_DEVICE_COHERENT,
      npages,
      owner: this,
      ops: kind === 'private' ? { pageFree, migrateToRam: (vmf) => options.migrateToRam(this, vmf) } : { pageFree },
    })
    assert(typeof pagemap !== 'number', 'the device memory is added')
    this.pagemap = pagemap
    for (let i = npages - 1; i >= 0; i--) this.free.push(pagemap.pfn + i)
  }

  get npagesUsed(): number {
    return this.pagemap.live
  }

  /** A free frame of the device, -1 if there is none; the caller takes it into use. */
  takeFrame(): Pfn {
    return this.free.pop() ?? -1
  }

  /** The bytes of a frame of the device. */
  data(pfn: Pfn): Uint8Array {
    const original = this.pinned.get(pfn)
    if (original !== undefined) return this.sys.mmu.bytes(original)
    if (this.kind === 'coherent') return this.sys.mmu.bytes(pfn)
    let bytes = this.memory.get(pfn)
    if (bytes === undefined) {
      bytes = new Uint8Array(PAGE_SIZE)
      this.memory.set(pfn, bytes)
    }
    return bytes
  }

  mirror(mm: Mm): AsyncMirror {
    let mirror = this.mirrors.get(mm)
    if (mirror === undefined) {
      mirror = new AsyncMirror(this, mm)
      this.mirrors.set(mm, mirror)
    }
    return mirror
  }

  /** Ends the mirror of an address space, if there is one. */
  close(mm: Mm): void {
    const mirror = this.mirrors.get(mm)
    if (mirror === undefined) return
    const err = mmuIntervalNotifierRemove(mirror.notifier)
    assert(err === 0, () => `the notifier of ${this.name} is removed: ${err}`)
    this.mirrors.delete(mm)
  }

  private pageFree(pfn: Pfn): void {
    const original = this.pinned.get(pfn)
    this.pinned.delete(pfn)
    this.memory.delete(pfn)
    this.free.push(pfn)
    if (original !== undefined) unpinMigratedPage(this.sys, original)
  }
}

/** The page table of an asynchronous device for one address space, kept true by an interval notifier. */
export class AsyncMirror {
  readonly device: AsyncDevice
  readonly mm: Mm
  readonly table = new Map<number, Translation>()
  readonly notifier: MmuIntervalNotifier

  constructor(device: AsyncDevice, mm: Mm) {
    this.device = device
    this.mm = mm
    const notifier = mmuIntervalNotifierInsert(mm, 0, ADDR_MAX - PAGE_SIZE, {
      invalidate: (sub, range, curSeq) => this.invalidate(sub, range, curSeq),
    })
    assert(typeof notifier !== 'number', 'the notifier is inserted')
    this.notifier = notifier
  }

  private invalidate(sub: MmuIntervalNotifier, range: MmuNotifierRange, curSeq: number): boolean {
    if (range.event === MMU_NOTIFY_MIGRATE && range.owner === this.device) return true
    mmuIntervalSetSeq(sub, curSeq)
    this.drop(range.start, range.end)
    return true
  }

  /** Forgets the pages of `[start, end)`. */
  drop(start: Addr, end: Addr): void {
    for (const vpn of this.table.keys()) {
      if (vpnToAddr(vpn) >= start && vpnToAddr(vpn) < end) this.table.delete(vpn)
    }
  }

  /** Takes copies of the present system pages of `[start, end)`. The caller holds mmapLock for reading. */
  duplicate(start: Addr, end: Addr, frameAt: (addr: Addr) => Pfn): void {
    const marked = shareForRead(this.mm, start, end)
    if (marked <= 0) return
    for (let addr = start; addr < end; addr += PAGE_SIZE) {
      const pfn = frameAt(addr)
      if (pfn < 0) continue
      const duplicate = this.device.sys.mmu.bytes(pfn).slice()
      this.table.set(addrToVpn(addr), { pfn, writable: false, duplicate })
    }
  }

  *translations(): Iterable<DeviceTranslation> {
    for (const [vpn, { pfn, writable, duplicate }] of this.table) {
      yield { mm: this.mm, addr: vpnToAddr(vpn), pfn, writable, isDuplicate: duplicate !== null }
    }
  }
}
