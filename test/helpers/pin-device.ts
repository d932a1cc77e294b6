// A driver whose device works on system pages where they are (MIGRATE_PFN_PIN, spec 4.11): the page leaves the CPU's tables,
// a device page stands for it there, and the bytes stay. It has to remember the pair, because nobody else does.
//
//   pin     setup with PIN, a device page for each, pages; the pair is noted; finalize
//   fault   the original is locked and given as destination with UNPIN; nothing is copied
//   free    munmap and exit free the device page without a fault: `pageFree` gives the original back

import { addrToVpn, PAGE_SIZE, type Pfn, vpnToAddr } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import type { Process } from '../../src/machine/process.ts'
import {
  MIGRATE_PFN_LOCKED,
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_PIN,
  MIGRATE_PFN_UNPIN,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  makeMigrateVma,
  migrateDeviceFinalize,
  migrateDevicePages,
  migrateDeviceRange,
  migratePfn,
  migratePfnToPfn,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
  unpinMigratedPage,
} from '../../src/mm/migrate-device.ts'
import type { Mm } from '../../src/mm/mm.ts'
import { MMU_NOTIFY_MIGRATE, mmuIntervalNotifierInsert, mmuIntervalSetSeq } from '../../src/mm/mmu-notifier.ts'
import { unlockPage, waitForPage } from '../../src/mm/page-alloc.ts'
import type { DeviceTranslation } from '../../src/mm/validate-devices.ts'
import { VM_FAULT_RETRY, VM_FAULT_SIGBUS, type VmFault } from '../../src/mm/vm-fault.ts'
import { BASE, type MigrateFixture } from './migrate-fixture.ts'
import { TestDevice } from './test-device.ts'

/** What the device reaches of an address space. */
interface Entry {
  /** What the CPU's table names. */
  readonly devicePage: Pfn
  /** Where the bytes are. */
  readonly original: Pfn
  readonly writable: boolean
}

export class PinDevice {
  readonly memory: TestDevice
  /** The system page that each device page stands for. */
  readonly originals = new Map<Pfn, Pfn>()
  /** CPU faults that came here. */
  nfaults = 0
  private readonly fixture: MigrateFixture
  private readonly tables = new Map<Mm, Map<number, Entry>>()

  constructor(fixture: MigrateFixture, number = 1, npages = 16) {
    this.fixture = fixture
    this.memory = new TestDevice(fixture.sys, number, { npages })
    this.memory.onFault = (vmf) => this.migrateToRam(vmf)
    this.memory.onFree = (pfn) => this.pageFree(pfn)
    fixture.translators.push(() => this.translations())
  }

  /** Takes what can be taken of a range. Returns `src` before finalize, to see what migrated. */
  pin(page: number, npages: number, process = this.fixture.process): bigint[] {
    const { fixture, memory } = this
    const { mm } = process
    const table = this.tableOf(mm)
    assert(mm.mmapLock.tryRead(), 'the mmapLock is free')
    const args = fixture.args(page, npages, { owner: memory.owner, process, pin: true })
    assert(migrateVmaSetup(args) === 0, 'the range can migrate')
    this.drop(table, args.start, args.end)
    args.src.forEach((entry, i) => {
      // A zero page is selected too, and has nothing to leave in place: it is declined.
      if (isMigrating(entry) && migratePfnToPfn(entry) >= 0) args.dst[i] = migratePfn(memory.take(), MIGRATE_PFN_LOCKED)
    })
    migrateVmaPages(args)
    const src = Array.from(args.src)
    src.forEach((entry, i) => {
      if (!isMigrating(entry)) return
      const [devicePage, original] = [migratePfnToPfn(args.dst[i]), migratePfnToPfn(entry)]
      this.originals.set(devicePage, original)
      fixture.inPlace.add(original)
      const writable = (entry & 8n) !== 0n
      table.set(addrToVpn(args.start) + i, { devicePage, original, writable })
    })
    migrateVmaFinalize(args)
    mm.mmapLock.unlockRead()
    fixture.validate()
    return src
  }

  /** Brings everything back by frame. Returns how many pages came. */
  evict(): number {
    const { sys } = this.fixture
    const { pfn, npages } = this.memory.pagemap
    const [src, dst] = [new BigUint64Array(npages), new BigUint64Array(npages)]
    migrateDeviceRange(sys, src, pfn, npages)
    src.forEach((entry, i) => {
      const original = this.originals.get(migratePfnToPfn(entry))
      if (isMigrating(entry) && original !== undefined && sys.pages.trylock(original)) dst[i] = unpin(original)
    })
    migrateDevicePages(sys, src, dst, npages)
    const ncame = src.filter((entry) => isMigrating(entry) && this.forget(migratePfnToPfn(entry))).length
    migrateDeviceFinalize(sys, src, dst, npages)
    this.fixture.validate()
    return ncame
  }

  /** The first word of a page, as the device reads it. */
  load(page: number, process = this.fixture.process): number {
    return this.wordOf(page, process).getUint32(0, true)
  }

  store(page: number, value: number, process = this.fixture.process): void {
    this.wordOf(page, process).setUint32(0, value, true)
  }

  /** Takes a page out of the device's table, as who migrates it has to (MN-52). */
  stopUsing(page: number): void {
    this.tableOf(this.fixture.mm).delete(addrToVpn(this.fixture.addr(page)))
  }

  /** The device reaches the page without help. */
  has(page: number, process = this.fixture.process): boolean {
    return this.tableOf(process.mm).has(addrToVpn(this.fixture.addr(page)))
  }

  private migrateToRam(vmf: VmFault): number {
    const { sys } = this.fixture
    this.nfaults++
    const original = this.originals.get(vmf.page)
    if (original === undefined) return VM_FAULT_SIGBUS
    if (!sys.pages.trylock(original)) {
      waitForPage(sys, original)
      return VM_FAULT_RETRY
    }
    const end = vmf.address + PAGE_SIZE
    const args = makeMigrateVma(vmf.vma, vmf.address, end, this.memory.owner, MIGRATE_VMA_SELECT_DEVICE_PRIVATE)
    args.faultPage = vmf.page
    if (migrateVmaSetup(args) !== 0 || args.cpages === 0) {
      unlockPage(sys, original)
      return VM_FAULT_SIGBUS
    }
    this.drop(this.tableOf(vmf.vma.mm), args.start, args.end)
    args.dst[0] = unpin(original)
    migrateVmaPages(args)
    const came = isMigrating(args.src[0])
    // From here on the original belongs to whoever maps it, and the end of the device page is no business of ours.
    if (came) this.forget(vmf.page)
    migrateVmaFinalize(args)
    return came ? 0 : VM_FAULT_SIGBUS
  }

  private pageFree(pfn: Pfn): void {
    const original = this.originals.get(pfn)
    if (original === undefined) return
    this.forget(pfn)
    unpinMigratedPage(this.fixture.sys, original)
  }

  private forget(devicePage: Pfn): boolean {
    const original = this.originals.get(devicePage)
    assert(original !== undefined, () => `device page ${devicePage} stands for something`)
    this.originals.delete(devicePage)
    this.fixture.inPlace.delete(original)
    return true
  }

  private tableOf(mm: Mm): Map<number, Entry> {
    const found = this.tables.get(mm)
    if (found !== undefined) return found
    const table = new Map<number, Entry>()
    this.tables.set(mm, table)
    const sub = mmuIntervalNotifierInsert(mm, BASE, 2 ** 40, {
      invalidate: (self, range, curSeq) => {
        if (range.event === MMU_NOTIFY_MIGRATE && range.owner === this.memory.owner) return true
        mmuIntervalSetSeq(self, curSeq)
        this.drop(table, range.start, range.end)
        return true
      },
    })
    assert(typeof sub !== 'number', 'the notifier is inserted')
    return table
  }

  private drop(table: Map<number, Entry>, start: number, end: number): void {
    for (const vpn of table.keys()) if (vpnToAddr(vpn) >= start && vpnToAddr(vpn) < end) table.delete(vpn)
  }

  private wordOf(page: number, process: Process): DataView {
    const entry = this.tableOf(process.mm).get(addrToVpn(this.fixture.addr(page)))
    assert(entry !== undefined, () => `the device reaches page ${page}`)
    const bytes = this.fixture.machine.mmu.bytes(entry.original)
    return new DataView(bytes.buffer, bytes.byteOffset, 4)
  }

  private *translations(): Iterable<DeviceTranslation> {
    for (const [mm, table] of this.tables) {
      for (const [vpn, { devicePage, writable }] of table) {
        yield { mm, addr: vpnToAddr(vpn), pfn: devicePage, writable }
      }
    }
  }
}

function isMigrating(entry: bigint): boolean {
  return (entry & BigInt(MIGRATE_PFN_MIGRATE)) !== 0n
}

function unpin(original: Pfn): bigint {
  return migratePfn(original, MIGRATE_PFN_LOCKED | MIGRATE_PFN_UNPIN)
}

/** Entries of src as `VMWP`: those that are left in place have P. */
export function pinned(src: readonly bigint[]): string {
  const [m, p] = [BigInt(MIGRATE_PFN_MIGRATE), BigInt(MIGRATE_PFN_PIN)]
  return src.map((entry) => ((entry & (m | p)) === (m | p) ? 'P' : (entry & m) !== 0n ? 'm' : '-')).join('')
}
