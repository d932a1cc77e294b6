// A mirror device with private memory: it migrates pages there and back itself, through migrate_vma and the mirror layer, in
// the order that a driver with `filterOwnEvents` has to keep. Bytes of its frames are its own; the CPU cannot reach them.

import { type Addr, PAGE_SIZE, type Pfn } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import { EAGAIN } from '../../src/base/errno.ts'
import {
  HMM_COPY_FROM_DEVICE,
  HMM_COPY_TO_DEVICE,
  HmmEvent,
  type HmmMirror,
  hmmMirrorRangeCopied,
  hmmMirrorRangeDiscard,
} from '../../src/hmm/mirror/index.ts'
import type { Machine } from '../../src/machine/machine.ts'
import { type DevPagemap, MEMORY_DEVICE_PRIVATE, memremapPages, zoneDevicePageInit } from '../../src/mm/memremap.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type MigrateVma,
  makeMigrateVma,
  migratePfn,
  migratePfnToPfn,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from '../../src/mm/migrate-device.ts'
import type { Mm } from '../../src/mm/mm.ts'
import { allocPage, waitForPage } from '../../src/mm/page-alloc.ts'
import { VM_FAULT_OOM, VM_FAULT_RETRY, VM_FAULT_SIGBUS, type VmFault } from '../../src/mm/vm-fault.ts'
import { MirrorDevice, type MirrorDeviceOptions } from './mirror-device.ts'

export class MemoryDevice extends MirrorDevice {
  readonly pagemap: DevPagemap
  /** Bytes of the frames in use. */
  readonly contents = new Map<Pfn, Uint8Array>()
  /** Leaves its entries in the mirror table when it moves pages: the mistake that MN-52 warns of. */
  forgetsToDiscard = false
  private readonly free: Pfn[] = []

  constructor(machine: Machine, npages: number, options: MirrorDeviceOptions = {}) {
    const owner = options.owner ?? { name: 'device memory' }
    super(machine, { ...options, owner })
    const pagemap = memremapPages(machine.sys, {
      type: MEMORY_DEVICE_PRIVATE,
      npages,
      owner,
      ops: {
        pageFree: (pfn) => {
          this.contents.delete(pfn)
          this.free.push(pfn)
        },
        migrateToRam: (vmf) => this.migrateToRam(vmf),
      },
    })
    assert(typeof pagemap !== 'number', 'the device memory is added')
    this.pagemap = pagemap
    for (let i = npages - 1; i >= 0; i--) this.free.push(pagemap.pfn + i)
  }

  override frameBytes(frame: Pfn): Uint8Array {
    return this.contents.get(frame) ?? super.frameBytes(frame)
  }

  get npagesUsed(): number {
    return this.contents.size
  }

  /** Moves what can be moved of `npages` pages to the device. Returns how many moved. */
  moveToDevice(mirror: HmmMirror, addr: Addr, npages: number): number {
    const { mm } = mirror.hmm
    const end = addr + npages * PAGE_SIZE
    assert(mm.mmapLock.tryRead(), 'the mmapLock is free')
    const args = makeMigrateVma(mm.vmaLookup(addr), addr, end, this.device.owner, MIGRATE_VMA_SELECT_SYSTEM)
    let moved = 0
    if (migrateVmaSetup(args) === 0) {
      this.dropMoving(mirror, addr, end)
      moved = forEachMoving(args, (spage) => this.takeFrame(spage))
      migrateVmaPages(args)
      migrateVmaFinalize(args)
      const err = hmmMirrorRangeCopied(mirror, new HmmEvent(addr, end, HMM_COPY_TO_DEVICE))
      assert(err === 0, () => `hmmMirrorRangeCopied returned ${err}`)
    }
    mm.mmapLock.unlockRead()
    return moved
  }

  /** Moves the device's pages among `npages` pages back. Returns how many moved. */
  moveToSystem(mirror: HmmMirror, addr: Addr, npages: number): number {
    const { mm } = mirror.hmm
    const end = addr + npages * PAGE_SIZE
    assert(mm.mmapLock.tryRead(), 'the mmapLock is free')
    const moved = this.moveBack(mm, addr, end, -1)
    const err = hmmMirrorRangeCopied(mirror, new HmmEvent(addr, end, HMM_COPY_FROM_DEVICE))
    assert(err === 0, () => `hmmMirrorRangeCopied returned ${err}`)
    mm.mmapLock.unlockRead()
    return moved
  }

  private migrateToRam(vmf: VmFault): number {
    const { mm } = vmf.vma
    if (mm.sys.pages.isLocked(vmf.page)) {
      waitForPage(mm.sys, vmf.page)
      return VM_FAULT_RETRY
    }
    const result = this.moveBack(mm, vmf.address, vmf.address + PAGE_SIZE, vmf.page)
    if (result === -EAGAIN) return VM_FAULT_RETRY
    if (result < 0) return VM_FAULT_SIGBUS
    return result === 0 && this.machine.mmu.nfree === 0 ? VM_FAULT_OOM : 0
  }

  /** The caller holds the mmapLock. */
  private moveBack(mm: Mm, addr: Addr, end: Addr, faultPage: Pfn): number {
    const args = makeMigrateVma(mm.vmaLookup(addr), addr, end, this.device.owner, MIGRATE_VMA_SELECT_DEVICE_PRIVATE)
    args.faultPage = faultPage
    const err = migrateVmaSetup(args)
    if (err !== 0) return err
    for (const mirror of this.device.mirrors) if (mirror.hmm.mm === mm) this.dropMoving(mirror, addr, end)
    const moved = forEachMoving(args, (spage, at) => {
      if (spage < 0) return -1 // a hole: setup collects them whatever it was asked for (MG-24)
      const dpage = allocPage(mm, at)
      if (dpage < 0) return -1
      mm.sys.pages.trylock(dpage)
      mm.sys.mmu.bytes(dpage).set(this.contents.get(spage) as Uint8Array)
      return dpage
    })
    migrateVmaPages(args)
    migrateVmaFinalize(args)
    return moved
  }

  /** MN-52: nobody tells a device of the migrations that it runs itself. */
  private dropMoving(mirror: HmmMirror, start: Addr, end: Addr): void {
    if (!this.device.filterOwnEvents) return
    const table = this.tables.get(mirror)
    if (table !== undefined) this.reportDirty(mirror, table, { start, end })
    for (const addr of [...(table?.keys() ?? [])]) if (addr >= start && addr < end) table?.delete(addr)
    if (this.forgetsToDiscard) return
    const err = hmmMirrorRangeDiscard(mirror, start, end)
    assert(err === 0, () => `hmmMirrorRangeDiscard returned ${err}`)
  }

  /** A frame of its own with the contents of a system page, or zeroes for a hole (-1). */
  private takeFrame(spage: Pfn): Pfn {
    const dpage = this.free.pop()
    if (dpage === undefined) return -1
    zoneDevicePageInit(this.machine.sys, dpage)
    const bytes = spage < 0 ? new Uint8Array(PAGE_SIZE) : this.machine.mmu.bytes(spage).slice()
    this.contents.set(dpage, bytes)
    return dpage
  }
}

/** Asks for a destination of each page that migrates. Returns how many got one. */
function forEachMoving(args: MigrateVma, destination: (spage: Pfn, addr: Addr) => Pfn): number {
  let moved = 0
  for (let i = 0; i < args.npages; i++) {
    if ((args.src[i] & BigInt(MIGRATE_PFN_MIGRATE)) === 0n) continue
    const spage = migratePfnToPfn(args.src[i])
    const dpage = destination(spage, args.start + i * PAGE_SIZE)
    if (dpage < 0) continue
    const write = spage < 0 ? ((args.vma?.flags ?? 0) & 2) !== 0 : (args.src[i] & BigInt(MIGRATE_PFN_WRITE)) !== 0n
    args.dst[i] = migratePfn(dpage, write ? MIGRATE_PFN_WRITE : 0)
    moved++
  }
  return moved
}
