// A machine with everything on it that programs work with, and beside it the model of what its memory must contain. After
// every step all invariants of the machine are checked, with exact reference counts and with all that devices translate;
// every page of every process is compared with the model; and whoever has to wait is woken when there is reason to.

import { type Addr, PAGE_SIZE, type Pfn, vpnToAddr } from '../../src/base/addr.ts'
import { assert, formatAddr } from '../../src/base/assert.ts'
import type { WaitQueue } from '../../src/base/wait-queue.ts'
import { DmirrorDevice, type DmirrorHandle, TAG_READ } from '../../src/devices/dmirror/index.ts'
import { WouldWait } from '../../src/machine/index.ts'
import { Machine } from '../../src/machine/machine.ts'
import type { PinnedPages, Process } from '../../src/machine/process.ts'
import { pagemapOf } from '../../src/mm/memremap.ts'
import type { MmapLock } from '../../src/mm/mmap-lock.ts'
import { GUP_PIN_COUNTING_BIAS, PG_ALLOCATED, PG_HUGETLB } from '../../src/mm/page.ts'
import { putPage, waitForPage } from '../../src/mm/page-alloc.ts'
import type { ShmemFile } from '../../src/mm/shmem.ts'
import type { System } from '../../src/mm/system.ts'
import { validateSystem } from '../../src/mm/validate.ts'
import type { DeviceTranslation } from '../../src/mm/validate-devices.ts'
import { VM_FAULT_OOM, VM_FAULT_RETRY, VM_FAULT_SIGBUS, type VmFault } from '../../src/mm/vm-fault.ts'
import { AsyncDevice } from './async-device.ts'
import { Content, FileModel, type PageModel, type SpaceModel, unmapPage, ZEROES } from './contents.ts'
import { BROKEN, bytesOf, CONTENT, look, NOTHING, readFile, seen, wordAt } from './look.ts'
import type { Command } from './notation.ts'
import { OpenMigration } from './open-migration.ts'
import { type Setup, setupNamed } from './setups.ts'

/** Pages of a file when a program begins, and the most it can have. */
export const FILE_PAGES = 8
const PROCESSES_MAX = 4
const WAITERS_MAX = 4

/** A process, and what is known of it besides. */
export interface Actor {
  readonly name: string
  readonly process: Process
  readonly space: SpaceModel
  /** By device number; null while the device is not open. */
  readonly handles: (DmirrorHandle | null)[]
}

/** A file, and what it must contain. */
export interface KnownFile {
  readonly name: string
  readonly file: ShmemFile
  readonly model: FileModel
}

/** One page of a pin, and the page of the process that it is, as long as nothing parts the two. */
export interface PinnedPage {
  readonly pfn: Pfn
  readonly page: PageModel
  /** The page is the private copy of the process, not a page of a file. */
  readonly isOwn: boolean
  /** `FileModel.holes` and `PageModel.losses` when it was pinned. */
  readonly holes: number
  readonly losses: number
}

export interface Pin {
  readonly actor: Actor
  readonly write: boolean
  readonly pinned: PinnedPages
  readonly pages: readonly PinnedPage[]
}

/** The process let go of the page that it pinned, or has another one in its place. */
export function isParted({ page, isOwn, holes, losses }: PinnedPage): boolean {
  if (!page.isMapped || page.lazy || page.isMissing || page.borrowed || page.content.poisoned) return true
  return isOwn ? page.losses !== losses : page.own !== null || page.file?.holes !== holes
}

/** A command that has to wait, and for what. */
interface Waiter {
  readonly command: Command
  readonly queue: WaitQueue
  readonly listener: () => void
  /** The lock that it wants for writing. */
  readonly lock: MmapLock | null
  isWoken: boolean
}

export class World {
  readonly setup: Setup
  readonly machine: Machine
  readonly sys: System
  readonly dmirrors: readonly DmirrorDevice[]
  readonly asyncDevices: readonly AsyncDevice[]
  readonly actors = new Map<string, Actor>()
  readonly files: readonly KnownFile[]
  readonly pins = new Map<string, Pin>()
  readonly migrations = new Map<string, OpenMigration>()
  /** Frames that the kernel took for itself. */
  readonly hogged: Pfn[] = []
  /** Frames of the machine's I/O memory, and what they contain. */
  readonly ioFrames: readonly Pfn[]
  readonly ioModel: FileModel
  /** Broken frames, and the references that keep them from being used again. */
  readonly broken = new Map<Pfn, number>()
  /** Hugetlb pages may stay promised to nobody. */
  hasLostPromises = false
  private readonly nfreeAtStart: number
  private lastValue = 0
  private lastName = 0
  private waiters: Waiter[] = []

  constructor(machineName: string) {
    this.setup = setupNamed(machineName)
    this.machine = new Machine(this.setup.options)
    this.sys = this.machine.sys
    this.dmirrors = [0, 1, 2].map((number) => new DmirrorDevice(this.sys, number, { chunkPages: 16 }))
    this.asyncDevices = [
      new AsyncDevice(this.machine, { name: 'a0', kind: 'private', npages: 12, migrateToRam: this.migrateAtOnce }),
      new AsyncDevice(this.machine, { name: 'a1', kind: 'private', npages: 12, migrateToRam: this.migrateLater }),
      new AsyncDevice(this.machine, { name: 'a2', kind: 'coherent', npages: 6, migrateToRam: () => VM_FAULT_SIGBUS }),
    ]
    this.files = ['f1', 'f2'].map((name) => ({
      name,
      file: this.machine.createFile(name, FILE_PAGES),
      model: new FileModel(FILE_PAGES),
    }))
    this.ioFrames = [0, 1].map(() => this.sys.mmu.allocFrame(-1, 0, 0))
    this.ioModel = new FileModel(this.ioFrames.length)
    for (const [i, pfn] of this.ioFrames.entries()) {
      this.sys.pages.refcount[pfn] = 1
      this.sys.pages.flags[pfn] = PG_ALLOCATED
      this.sys.mmu.clearFrame(pfn)
      this.ioModel.set(i, ZEROES)
    }
    this.nfreeAtStart = this.machine.mmu.nfree
    this.adopt('p1', this.machine.createProcess('p1'), new Map())
  }

  // ---- what commands need ----

  /** A content that nothing had before. */
  newContent(): Content {
    this.lastValue += 2
    return new Content(this.lastValue - 1, this.lastValue)
  }

  newValue(): number {
    this.lastValue++
    return this.lastValue
  }

  get canAdopt(): boolean {
    return this.actors.size < PROCESSES_MAX
  }

  adopt(name: string, process: Process, space: SpaceModel): void {
    this.actors.set(name, { name, process, space, handles: this.dmirrors.map(() => null) })
  }

  dmirror(name: string): DmirrorDevice | undefined {
    return this.dmirrors.find(({ number }) => `d${number}` === name)
  }

  asyncDevice(name: string): AsyncDevice | undefined {
    return this.asyncDevices.find((device) => device.name === name)
  }

  file(name: string): KnownFile | undefined {
    return this.files.find((each) => each.name === name)
  }

  /** The handle of a process on a device, opened if it is not. */
  handle(actor: Actor, device: DmirrorDevice): DmirrorHandle {
    const open = actor.handles[device.number]
    if (open !== null) return open
    const handle = device.open(actor.process.mm)
    assert(typeof handle !== 'number', () => `device ${device.number} does not open: ${handle}`)
    actor.handles[device.number] = handle
    return handle
  }

  /** Memory is so short that an operation may fail. */
  get isShort(): boolean {
    return this.machine.mmu.nfree <= this.sys.reservePages + 2
  }

  /** `process.exit` succeeded. */
  forget(actor: Actor): void {
    this.actors.delete(actor.name)
    for (const handle of actor.handles) {
      const err = handle?.close() ?? 0
      assert(err === 0, () => `a device of ${actor.name} does not close: ${err}`)
    }
    for (const device of this.asyncDevices) device.close(actor.process.mm)
    for (const [name, pin] of this.pins) if (pin.actor === actor) this.pins.delete(name)
  }

  /** A system call that `Process` does not have, under the lock for writing. Returns 0 or more, or a negative errno. */
  underWriteLock(what: string, { process: { mm } }: Actor, call: () => number): number {
    const { mmapLock, sys } = mm
    if (!mmapLock.tryWrite()) throw new WouldWait(what, mmapLock.released, mmapLock)
    sys.waitFor = null
    const ret = call()
    mmapLock.unlockWrite()
    if (ret === -11 && sys.waitFor !== null) throw new WouldWait(what, sys.waitFor)
    return ret
  }

  /** Takes the lock for reading, for a migration that keeps it. */
  lockForReading(what: string, { process: { mm } }: Actor): void {
    if (!mm.mmapLock.tryRead()) throw new WouldWait(what, mm.mmapLock.released)
  }

  /** The call just before said -EAGAIN or the like: throws what that means. */
  wait(what: string): never {
    const { waitFor } = this.sys
    if (waitFor === null) throw new Error(`${what} has to wait, and nobody says for whom`)
    throw new WouldWait(what, waitFor)
  }

  addMigration(name: string, migration: OpenMigration): void {
    if (migration.isEmpty) migration.finish()
    else this.migrations.set(name, migration)
  }

  finishMigration(name: string): void {
    const migration = this.migrations.get(name)
    if (migration === undefined) return
    this.migrations.delete(name)
    migration.finish()
  }

  // ---- contents ----

  /**
   * After an operation that may have given a process pages of its own: private pages of files stop following the file where
   * that happened.
   */
  settleCopies(actor: Actor, start: Addr, npages: number): void {
    for (let addr = start; addr < start + npages * PAGE_SIZE; addr += PAGE_SIZE) {
      const page = actor.space.get(addr / PAGE_SIZE)
      if (page === undefined || page.shared || page.own !== null) continue
      look(actor.process.mm, addr)
      if (!seen.isOwn) continue
      page.own = new Content(page.content.first, page.content.last)
      page.gone = false
    }
  }

  /** After an operation that stored `content` or did not: finds out. */
  settleStore(actor: Actor, addr: Addr, content: Content): void {
    const page = actor.space.get(addr / PAGE_SIZE)
    if (page === undefined || page.isMissing) return
    if (look(actor.process.mm, addr) !== CONTENT) return
    if (seen.first === content.first && seen.last === content.last) page.store(content)
  }

  /** Pages that an operation was allowed to unmap, and that are not mapped any more. */
  forgetUnmapped(actor: Actor, start: Addr, npages: number): void {
    for (let vpn = start / PAGE_SIZE; vpn < start / PAGE_SIZE + npages; vpn++) {
      if (actor.process.mm.vmaLookup(vpnToAddr(vpn)) === null) unmapPage(actor.space, vpn)
    }
  }

  // ---- steps ----

  /** Does one thing, then whatever waited for it, and checks everything. */
  step(command: Command): void {
    this.attempt(command)
    this.runWoken()
    this.validate()
  }

  private attempt(command: Command): void {
    try {
      command.run(this)
    } catch (error) {
      if (!(error instanceof WouldWait)) throw error
      this.postpone(command, error)
    }
  }

  private postpone(command: Command, { waitFor, wantsWrite }: WouldWait): void {
    this.checkReasonToWait(command, waitFor)
    if (this.waiters.length === WAITERS_MAX) return // given up
    const waiter: Waiter = {
      command,
      queue: waitFor,
      lock: wantsWrite,
      isWoken: false,
      listener: () => {
        waiter.isWoken = true
      },
    }
    wantsWrite?.joinQueue()
    waitFor.add(waiter.listener)
    this.waiters.push(waiter)
  }

  /** Somebody holds the lock or the page that is waited for, so that somebody will let it go. */
  private checkReasonToWait(command: Command, queue: WaitQueue): void {
    for (const { process } of this.actors.values()) {
      const { mmapLock } = process.mm
      if (mmapLock.released === queue && (mmapLock.isHeld || mmapLock.waitingWriters > 0)) return
    }
    for (const [pfn, pageQueue] of this.sys.pageWaits) {
      if (pageQueue === queue && this.sys.pages.isLocked(pfn)) return
    }
    throw new Error(`${command} waits for something that nobody holds`)
  }

  private runWoken(): void {
    for (let i = this.waiters.findIndex(isWoken); i >= 0; i = this.waiters.findIndex(isWoken)) {
      const [{ command, lock }] = this.waiters.splice(i, 1)
      this.attempt(command)
      lock?.leaveQueue() // it kept its place until now
    }
  }

  /** Lets everything end, and expects that nothing is left. */
  finish(): void {
    while (this.migrations.size > 0 || this.waiters.length > 0) {
      const { done, value: name } = this.migrations.keys().next()
      if (done) throw new Error(`never woken: ${this.waiters.map(({ command }) => command).join(', ')}`)
      this.finishMigration(name)
      this.runWoken()
      this.validate()
    }
    for (const { pinned } of this.pins.values()) pinned.unpin()
    this.pins.clear()
    for (const pfn of this.hogged.splice(0)) putPage(this.sys, pfn)
    for (const actor of [...this.actors.values()]) {
      actor.process.exit()
      this.forget(actor)
      this.validate()
    }
    for (const { file, model } of this.files) {
      file.truncate(0)
      model.npages = 0
    }
    // As in the kernel a page that lost its last mapping while it was locked may stay in the swap cache until reclaim finds it.
    this.sys.reclaim(this.sys.lru.size)
    this.validate()
    this.checkNothingLeft()
  }

  private checkNothingLeft(): void {
    const { sys, machine } = this
    for (const device of this.dmirrors) {
      assert(device.npagesUsed === 0, () => `device ${device.number} still has ${device.npagesUsed} pages`)
    }
    for (const device of this.asyncDevices) {
      assert(device.npagesUsed === 0, () => `device ${device.name} still has ${device.npagesUsed} pages`)
    }
    const isSmall = (pfn: Pfn): boolean => (sys.pages.flags[pfn] & PG_HUGETLB) === 0
    const broken = [...this.broken].filter(([pfn, count]) => count > 0 && isSmall(pfn)).length
    const huge = sys.hugeZeroPfn >= 0 ? 512 : 0 // made once, stays with the machine
    const dissolved = (this.setup.options.hugetlbPages ?? 0) - sys.hugetlb.npages
    const nfree = machine.mmu.nfree + broken + huge - dissolved * 512
    assert(nfree === this.nfreeAtStart, () => `${nfree} frames are free in the end, ${this.nfreeAtStart} were at first`)
    const { swap, hugetlb } = sys
    for (const [slot, pfn] of swap?.cache ?? []) {
      assert(this.broken.has(pfn), () => `frame ${pfn} is left in the swap cache, slot ${slot}`)
    }
    const nslots = swap === null ? 0 : swap.npages - swap.nfree - swap.cache.size
    assert(nslots === 0, () => `${nslots} swap slots are in use in the end`)
    assert(
      hugetlb.reserved === 0 || this.hasLostPromises,
      () => `${hugetlb.reserved} hugetlb pages are promised to nobody`,
    )
    assert(sys.mms.size === 0, () => `${sys.mms.size} address spaces are left`)
    assert(sys.mappings.size === this.files.length, () => `${sys.mappings.size} files and AnonVmas are left`)
  }

  // ---- what must be true ----

  validate(): void {
    const held = this.heldReferences()
    validateSystem(this.sys, {
      level: 'full',
      heldReferences: (pfn) => held.get(pfn) ?? 0,
      translations: this.translations(),
    })
    for (const actor of this.actors.values()) this.checkContents(actor)
    for (const known of this.files) this.checkFile(known)
    this.checkPins()
    this.checkDuplicates()
  }

  private heldReferences(): Map<Pfn, number> {
    const { pages } = this.sys
    const held = new Map<Pfn, number>()
    const add = (pfn: Pfn, count: number): void => {
      held.set(pfn, (held.get(pfn) ?? 0) + count)
    }
    for (const { pinned } of this.pins.values()) {
      for (const pfn of pinned.pfns) {
        const head = pages.head(pfn)
        add(head, pages.isCompound(head) ? 1 : GUP_PIN_COUNTING_BIAS)
      }
    }
    for (const device of this.asyncDevices) {
      for (const original of device.pinned.values()) add(original, GUP_PIN_COUNTING_BIAS + 1)
    }
    for (const migration of this.migrations.values()) migration.heldReferences(add)
    for (const pfn of this.hogged) add(pfn, 1)
    for (const pfn of this.ioFrames) add(pfn, 1)
    for (const [pfn, count] of this.broken) add(pfn, count)
    for (const pagemap of this.sys.pagemaps) {
      if (!(pagemap?.owner instanceof DmirrorDevice) || pagemap.owner.kind !== 'private') continue
      for (let pfn = pagemap.pfn; pfn < pagemap.pfn + pagemap.npages; pfn++) {
        if (pages.refcount[pfn] > 0) add(pagemap.owner.memory.dataPage(pfn), 1)
      }
    }
    return held
  }

  /** What devices translate, by the frame that the page table names. */
  private translations(): DeviceTranslation[] {
    const translations: DeviceTranslation[] = []
    for (const { process, handles } of this.actors.values()) {
      for (const handle of handles) {
        if (handle === null) continue
        const { mm } = process
        const { device } = handle.mirror
        handle.table.forEach((vpn, pfn, tag) => {
          const dpage = device.kind === 'private' ? this.devicePageAt(process, vpn, pfn, device as DmirrorDevice) : pfn
          translations.push({ mm, addr: vpnToAddr(vpn), pfn: dpage, writable: tag !== TAG_READ })
        })
      }
    }
    for (const device of this.asyncDevices) {
      for (const mirror of device.mirrors.values()) translations.push(...mirror.translations())
    }
    return translations
  }

  /** The private page of the device at an address, if `data` is where its bytes are; else `data` itself. */
  private devicePageAt({ mm }: Process, vpn: number, data: Pfn, device: DmirrorDevice): Pfn {
    const table = mm.pageTable.findPte(vpnToAddr(vpn))
    if (table === null) return data
    const pfn = table.words[2 * (vpn % 512)]
    const isOwn = pagemapOf(this.sys, pfn)?.owner === device
    return isOwn && device.memory.dataPage(pfn) === data ? pfn : data
  }

  private checkContents(actor: Actor): void {
    const { mm } = actor.process
    for (const [vpn, page] of actor.space) {
      const kind = look(mm, vpnToAddr(vpn))
      if (kind === BROKEN && (page.isBroken || page.content.poisoned || this.isBrokenZero(page))) {
        page.isBroken = true
        continue
      }
      page.isBroken = false
      if (kind === CONTENT && !page.isMissing) {
        const { first, last } = page.content
        if (seen.first === first && seen.last === last) continue
        if (page.lazy && seen.first === 0 && seen.last === 0) {
          page.lose()
          continue
        }
      } else if (kind === NOTHING && (page.isMissing || page.borrowed)) continue
      this.complain(actor, vpn, page, kind)
    }
  }

  /** A page of zeroes broke that nobody stored to: nothing tells it from the others. */
  private isBrokenZero(page: PageModel): boolean {
    return this.broken.size > 0 && page.content.first === 0 && page.content.last === 0
  }

  private complain({ name, process }: Actor, vpn: number, page: PageModel, kind: number): never {
    const found = ['no page', `${seen.first}, ${seen.last}`, 'a broken page', 'a page lost in swap'][kind]
    const wanted = page.isMissing ? 'no page' : `${page.content.first}, ${page.content.last}`
    const entry = process.dumpPte(vpnToAddr(vpn), 1)
    throw new Error(`${name} has ${found} at ${formatAddr(vpnToAddr(vpn))} (entry ${entry}), wanted ${wanted}`)
  }

  private checkFile({ name, file, model }: KnownFile): void {
    assert(file.mapping.npages === model.npages, () => `${name} has ${file.mapping.npages} pages`)
    for (let pgoff = 0; pgoff < model.npages; pgoff++) {
      const kind = readFile(this.sys, file.mapping, pgoff)
      const { first, last, poisoned } = model.at(pgoff)
      if (kind === CONTENT && seen.first === first && seen.last === last) continue
      if (kind === BROKEN && (poisoned || first === 0)) continue
      throw new Error(`page ${pgoff} of ${name} has ${seen.first}, ${seen.last}, wanted ${first}, ${last}`)
    }
  }

  /** A pinned page and the page of the process are the same, until the process lets its own go. */
  private checkPins(): void {
    for (const [name, pin] of this.pins) {
      for (const pinnedPage of pin.pages) {
        if (isParted(pinnedPage)) continue
        const { pfn, page } = pinnedPage
        const bytes = bytesOf(this.sys, pfn)
        const { first, last } = page.content
        if (wordAt(bytes, 0) === first && wordAt(bytes, PAGE_SIZE - 4) === last) continue
        throw new Error(`pin ${name}, frame ${pfn}: has ${wordAt(bytes, 0)}, the process ${first}`)
      }
    }
  }

  /** A duplicate is never stale. */
  private checkDuplicates(): void {
    for (const device of this.asyncDevices) {
      for (const { mm, table } of device.mirrors.values()) {
        for (const [vpn, { duplicate }] of table) {
          if (duplicate === null) continue
          look(mm, vpnToAddr(vpn))
          if (seen.first === wordAt(duplicate, 0) && seen.last === wordAt(duplicate, PAGE_SIZE - 4)) continue
          throw new Error(`${device.name} has a stale duplicate at ${formatAddr(vpnToAddr(vpn))}`)
        }
      }
    }
  }

  // ---- faults on the memory of asynchronous devices ----

  private migrateAtOnce = (device: AsyncDevice, { vma, address, page }: VmFault): number => {
    if (this.sys.pages.isLocked(page)) return this.waitForFinalize(page)
    const migration = OpenMigration.begin(device.mirror(vma.mm), vma, address, address + PAGE_SIZE, 'back', page)
    if (typeof migration === 'number') return VM_FAULT_SIGBUS
    migration.holdsLock = false
    const wasCollected = !migration.isEmpty
    migration.move(false)
    const hadRoom = migration.args.dst[0] !== 0n
    migration.finish()
    return wasCollected && !hadRoom ? VM_FAULT_OOM : 0
  }

  private migrateLater = (device: AsyncDevice, vmf: VmFault): number => {
    const { vma, address, page } = vmf
    const { mmapLock } = vma.mm
    if (this.sys.pages.isLocked(page)) return this.waitForFinalize(page)
    // Who changes mappings and touches pages on the way shares the lock with nobody, so this has to be done now.
    if (!mmapLock.tryRead(true)) return this.migrateAtOnce(device, vmf)
    const migration = OpenMigration.begin(device.mirror(vma.mm), vma, address, address + PAGE_SIZE, 'back', page)
    if (typeof migration === 'number' || migration.isEmpty) {
      mmapLock.unlockRead()
      return typeof migration === 'number' ? VM_FAULT_SIGBUS : 0
    }
    migration.outliveFault()
    this.lastName++
    this.migrations.set(`fault${this.lastName}`, migration)
    waitForPage(this.sys, page)
    return VM_FAULT_RETRY
  }

  /** The page was put into a hole a moment ago: its entry is there before its migration ends. */
  private waitForFinalize(page: Pfn): number {
    waitForPage(this.sys, page)
    return VM_FAULT_RETRY
  }
}

function isWoken(waiter: Waiter): boolean {
  return waiter.isWoken
}
