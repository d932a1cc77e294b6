// The driver of a WebGPU device: start here. Like a driver in the kernel it stands on mm and hmm alone. Its memory is
// device-private memory of the machine (device-memory.ts), its page table is a mirror of the 2015 layer, pages move by
// migrate_vma (migration.ts), and a launch binds the ranges it uses directly (direct-kernel.ts, direct-dispatch.ts).
//
//   launch ─> slices ─> pages on the device, in one piece? ──yes──> dispatch, and the written entries are dirty
//                          ^          │ no: evict the coldest blocks, migrate, look again
//                          └──────────┘
//
// What waits is here, at the edge. Three rules keep it from waiting for itself:
//   - Whoever holds mmapLock across an await waits for the device only, never for another lock or for frames.
//   - One operation at a time gets frames (`preparing`); what comes back from the device needs none.
//   - A launch claims its arguments when it is handed in. A CPU touch of a claimed page waits for the end of the claim, and
//     launches run in the order in which they were handed in.

import { type Addr, isPageAligned, PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EBUSY, EINVAL, ENODEV, ENOMEM, MmError } from '../../base/errno.ts'
import { WaitQueue } from '../../base/wait-queue.ts'
import {
  HMM_DEVICE_RFAULT,
  HMM_DEVICE_WFAULT,
  HMM_PTE_VALID_DEV,
  HMM_PTE_WRITE,
  HmmEvent,
  type HmmMirror,
  HmmPtIter,
  hmmDeviceRegister,
  hmmDeviceUnregister,
  hmmMirrorFault,
  hmmMirrorRangeDirty,
  hmmMirrorRegister,
  hmmMirrorUnregister,
  hmmPteFrame,
  HmmDevice as MirrorDevice,
} from '../../hmm/mirror/index.ts'
import type { Mm } from '../../mm/mm.ts'
import { GUP_PIN_COUNTING_BIAS } from '../../mm/page.ts'
import { waitForPage } from '../../mm/page-alloc.ts'
import type { System } from '../../mm/system.ts'
import { VM_FAULT_OOM, VM_FAULT_RETRY, VM_FAULT_SIGBUS, type VmFault } from '../../mm/vm-fault.ts'
import { NO_TRACE, type Tracer } from '../../trace/tracer.ts'
import type { HmmDevice, HmmDeviceHandle } from '../device.ts'
import { mmapReadLock, Serial, touchPages, waitForOther, withUser } from '../edge.ts'
import { type Block, WebGpuMemory } from './device-memory.ts'
import { DirectDispatcher } from './direct-dispatch.ts'
import {
  type DirectCall,
  type DirectKernel,
  type PageRange,
  pagesOfCall,
  planSlices,
  type Slice,
} from './direct-kernel.ts'
import { GpuContext } from './gpu-context.ts'
import { Migrator, type Move, type MoveCounts, makeMoveCounts } from './migration.ts'
import type { StagingOptions } from './staging.ts'
import { Transfers } from './transfers.ts'

/** Pages that a fault brings back at most, aligned: 64 KiB. Only the page of the fault is guaranteed. */
const FAULT_AROUND_BYTES = 16 * PAGE_SIZE

/** Pages that one migration back holds mmapLock for: 4 MiB. */
const BRING_BACK_PAGES = 1024

/**
 * Rounds of bringing a range in. One is enough where nobody interferes, and after each that was not, whoever did has been
 * waited for; more than a few mean pages that never move.
 */
const ROUNDS_MAX = 64

export interface WebGpuDeviceOptions {
  /** In events and labels. Default `webgpu`. */
  readonly name?: string
  /** Bytes of device memory, a multiple of 4096. */
  readonly memory: number
  /** Leave system pages in place while the device has their contents, so that clean pages come back for free. Default true. */
  readonly pinsSystemPages?: boolean
  /** Staging buffers for each direction. Default: three of 1 MiB. */
  readonly staging?: StagingOptions
  readonly tracer?: Tracer
}

/** What a launch did. */
export interface LaunchReceipt {
  readonly kernel: string
  readonly path: 'direct'
  readonly nslices: number
  /** Pages and bytes that moved for it, evictions included. */
  readonly moved: Readonly<MoveCounts>
}

/** What brings pages to the device, as errors name it. */
type Operation = 'launch' | 'prefetch'

/** A range that a launch in progress uses. */
interface Claim {
  readonly ranges: readonly PageRange[]
  readonly ended: WaitQueue
}

export class WebGpuDevice implements HmmDevice<WebGpuHandle> {
  readonly sys: System
  readonly name: string
  readonly context: GpuContext
  readonly memory: WebGpuMemory
  readonly migrator: Migrator
  readonly dispatcher: DirectDispatcher
  /** What the mirrors belong to. */
  readonly mirrorDevice: MirrorDevice
  /** One operation at a time takes frames. */
  readonly preparing = new Serial()
  /** Launches, in order. */
  readonly launches = new Serial()
  private readonly transfers: Transfers
  private readonly handles = new Map<Mm, WebGpuHandle>()
  /** Migrations that a CPU fault began. */
  private readonly returning = new Set<Promise<unknown>>()

  /** Adds a device to the machine. Rejects with a GpuError if it has not as much memory. */
  static async create(sys: System, device: GPUDevice, options: WebGpuDeviceOptions): Promise<WebGpuDevice> {
    const { memory } = options
    if (!Number.isSafeInteger(memory) || memory <= 0 || memory % PAGE_SIZE !== 0) {
      throw new RangeError(`device memory of ${memory} bytes, wanted a positive multiple of ${PAGE_SIZE}`)
    }
    const context = new GpuContext(device)
    const pool = await context.createPool(memory)
    return new WebGpuDevice(sys, context, pool, options)
  }

  /** Use `create`. */
  private constructor(sys: System, context: GpuContext, pool: GPUBuffer, options: WebGpuDeviceOptions) {
    const { name = 'webgpu', tracer = NO_TRACE, pinsSystemPages = true } = options
    this.sys = sys
    this.name = name
    this.context = context
    this.memory = new WebGpuMemory(sys, pool, this, (vmf) => this.migrateToRam(vmf))
    this.transfers = new Transfers(context, sys.mmu, pool, options.staging)
    this.dispatcher = new DirectDispatcher(context, pool)
    const { memory, transfers } = this
    this.migrator = new Migrator({ sys, name, owner: this, context, memory, transfers, tracer, pinsSystemPages })
    this.mirrorDevice = new MirrorDevice({
      name,
      owner: this,
      filterOwnEvents: true,
      // Each dispatch is bound anew from the mirror table, so there is nothing else to bring in line; and entries are
      // marked dirty when a dispatch that may write them is submitted.
      ops: { update: () => 0, release: () => {} },
    })
    assert(hmmDeviceRegister(this.mirrorDevice) === 0, 'the device is registered')
  }

  /** Identity of the device's memory. */
  get owner(): this {
    return this
  }

  get npagesUsed(): number {
    return this.memory.npagesUsed
  }

  /** Begins to mirror an address space. Returns the handle, or -EINVAL if it is dead or mirrored already. */
  open(mm: Mm): WebGpuHandle | number {
    const mirror = hmmMirrorRegister(this.mirrorDevice, mm)
    if (typeof mirror === 'number') return mirror
    const handle = new WebGpuHandle(this, mirror)
    this.handles.set(mm, handle)
    return handle
  }

  /** Moves every page to system memory that can be moved. */
  async evictAll(): Promise<void> {
    const move = { cause: 'user', counts: makeMoveCounts() } as const
    await this.preparing.run(() => this.evictWhere(() => true, move))
    await Promise.allSettled(this.returning)
  }

  /**
   * Takes the device away from the machine: everything comes back first.
   *
   * Returns 0, or -EBUSY while handles are open or pages cannot be moved; nothing is destroyed then. The GPUDevice is the
   * caller's.
   */
  async close(): Promise<number> {
    if (this.handles.size > 0) return -EBUSY
    await this.evictAll()
    const err = this.memory.remove()
    if (err !== 0) return err
    assert(hmmDeviceUnregister(this.mirrorDevice) === 0, 'a device without handles has no mirrors')
    this.dispatcher.destroy()
    this.transfers.destroy()
    this.memory.pool.destroy()
    this.context.close()
    return 0
  }

  /** How many references this driver holds on each frame while nothing is in progress: for `validateSystem`. */
  heldReferences(): (pfn: Pfn) => number {
    const pinned = this.memory.pinnedFrames()
    return (pfn) => (pinned.has(pfn) ? GUP_PIN_COUNTING_BIAS + 1 : 0)
  }

  // ---- used by handles ----

  forget(handle: WebGpuHandle): void {
    this.handles.delete(handle.mm)
  }

  /**
   * Reserves neighbouring frames, evicting the coldest blocks until there are enough. The caller runs inside `preparing`
   * and holds no lock. Returns null if everything that can go is gone and there still is no run of that length.
   */
  async reserve(mm: Mm, npages: number, counts: MoveCounts): Promise<Block | null> {
    const { memory, sys } = this
    const move = { cause: 'eviction', counts } as const
    const evicted: Block[] = []
    const release = (): void => {
      for (const block of evicted.splice(0)) memory.release(block)
    }
    try {
      for (;;) {
        const found = memory.allocBlock(mm, npages)
        if (found !== null) return found
        const coldest = memory.coldest()
        if (coldest !== null) {
          // Held for now: what could not leave is not asked a second time.
          coldest.holds++
          evicted.push(coldest)
          await this.evictBlock(coldest, move)
          continue
        }
        // Pages that somebody else is bringing back will be gone soon.
        const moving = evicted.flatMap((block) => memory.framesOf(block)).find((frame) => this.isMoving(frame))
        if (moving === undefined) return null
        release()
        waitForPage(sys, memory.pfnOf(moving))
        await waitForOther(sys)
      }
    } finally {
      release()
    }
  }

  private isMoving(frame: number): boolean {
    return this.sys.pages.isLocked(this.memory.pfnOf(frame))
  }

  /** Evicts all blocks that nobody works with and `wanted` accepts. */
  async evictWhere(wanted: (block: Block) => boolean, move: Move): Promise<void> {
    const { memory } = this
    for (const block of memory.idleBlocks()) {
      if (!wanted(block) || block.holds > 0) continue
      block.holds++
      try {
        await this.evictBlock(block, move)
      } finally {
        memory.release(block)
      }
    }
  }

  private async evictBlock(block: Block, move: Move): Promise<void> {
    const { mm } = block
    await withUser(mm, async () => {
      await mmapReadLock(mm)
      try {
        await this.migrator.evict(block, move)
      } finally {
        mm.mmapLock.unlockRead()
      }
    })
  }

  /** The CPU touched a page that is here (MG-91). The fault holds mmapLock for reading. */
  private migrateToRam(vmf: VmFault): number {
    const { vma, address } = vmf
    const { mm } = vma
    const handle = this.handles.get(mm) ?? null
    const claim = handle?.claimAt(address) ?? null
    if (claim !== null) {
      this.sys.waitFor = claim.ended
      return VM_FAULT_RETRY
    }
    const from = address - (address % FAULT_AROUND_BYTES)
    let start = Math.max(from, vma.start)
    let end = Math.min(from + FAULT_AROUND_BYTES, vma.end)
    if (handle?.isClaimed(start, end)) {
      start = address
      end = address + PAGE_SIZE
    }
    const move = { cause: 'fault', counts: makeMoveCounts() } as const
    const { err, missed, done } = this.migrator.bringBack(handle?.mirror ?? null, vma, start, end, vmf.page, move)
    if (done === null && missed) return err === -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS
    if (done === null) return 0
    // The fault gives its lock back when it returns; the migration keeps one of its own.
    assert(mm.mmapLock.tryRead(true), 'a fault holds mmapLock for reading')
    this.finishLater(withUser(mm, () => done).finally(() => mm.mmapLock.unlockRead()))
    waitForPage(this.sys, vmf.page)
    return VM_FAULT_RETRY
  }

  private finishLater(work: Promise<unknown>): void {
    const settled = work.catch((error: unknown) => {
      this.context.uncaptured.push(`a migration to system memory failed: ${String(error)}`)
    })
    this.returning.add(settled)
    void settled.then(() => this.returning.delete(settled))
  }
}

/** One address space as the device sees it. */
export class WebGpuHandle implements HmmDeviceHandle {
  readonly device: WebGpuDevice
  readonly mirror: HmmMirror
  private readonly claims = new Set<Claim>()
  /** The device faults: its own claims do not stop it. */
  private faulting = false
  private closed = false

  /** Use `WebGpuDevice.open`. */
  constructor(device: WebGpuDevice, mirror: HmmMirror) {
    this.device = device
    this.mirror = mirror
  }

  get mm(): Mm {
    return this.mirror.hmm.mm
  }

  /**
   * Runs a kernel on ranges of the address space, in slices that fit. Resolves when the device is done.
   *
   * Rejects with a TypeError or RangeError for arguments that do not fit the kernel, with a GpuError if the kernel does not
   * compile or the device fails, and with an MmError: ENOMEM if one invocation needs more than the device has, EFAULT or
   * EACCES for ranges that are not mapped or not writable, EBUSY for pages that cannot move, ENODEV after close.
   */
  launch(kernel: DirectKernel, call: DirectCall): Promise<LaunchReceipt> {
    return this.run(() => {
      this.device.context.checkAlive()
      const slices = planSlices(kernel, call, this.limits())
      const claim = this.claim(pagesOfCall(kernel, call))
      const launched = this.device.launches.run(() => this.runSlices(kernel, call, slices))
      return launched.finally(() => this.release(claim))
    })
  }

  /**
   * Brings `[start, end)` to the device in one piece, as a launch that uses it would. Rejects like `launch`.
   *
   * Returns what moved.
   */
  prefetch(start: Addr, end: Addr, access: 'read' | 'readWrite' = 'readWrite'): Promise<MoveCounts> {
    return this.run(async () => {
      this.checkRange('prefetch', start, end)
      this.device.context.checkAlive()
      const move = { cause: 'prefetch', counts: makeMoveCounts() } as const
      await this.whenResident('prefetch', [{ start, end, write: access === 'readWrite' }], move, () => {})
      return move.counts
    })
  }

  /**
   * Gives `[start, end)` to the CPU, for reading or for reading and writing, after the launches that use it.
   *
   * Rejects with an MmError: EFAULT if a page is not mapped or cannot be accessed like that, EIO if the device failed and
   * only it had the contents of some page, ENOMEM. Returns what moved.
   */
  sync(start: Addr, end: Addr, access: 'read' | 'readWrite' = 'readWrite'): Promise<MoveCounts> {
    return this.run(async () => {
      this.checkRange('sync', start, end)
      const move = { cause: 'user', counts: makeMoveCounts() } as const
      await this.untilUnclaimed(start, end)
      const err = await this.bringBack(start, end, move)
      if (err !== 0) throw new MmError(err, 'sync', { addr: start })
      const touched = await touchPages(this.mm, start, end, access === 'readWrite')
      if (touched !== 0) throw new MmError(touched, 'sync', { addr: start })
      return move.counts
    })
  }

  /** Ends the mirroring, after what is in progress; the pages come back first. Returns 0. May be called more than once. */
  async close(): Promise<number> {
    if (this.closed) return 0
    this.closed = true
    const { device, mm } = this
    await device.launches.run(async () => {})
    const move = { cause: 'user', counts: makeMoveCounts() } as const
    await device.preparing.run(() => device.evictWhere((block) => block.mm === mm, move))
    hmmMirrorUnregister(this.mirror)
    device.forget(this)
    return 0
  }

  /** The claim that keeps the CPU from the page at `addr`, null for none. */
  claimAt(addr: Addr): Claim | null {
    return this.faulting ? null : this.claimOn(addr, addr + 1)
  }

  /** A launch uses some of the range. */
  isClaimed(start: Addr, end: Addr): boolean {
    return !this.faulting && this.claimOn(start, end) !== null
  }

  // ---- launches ----

  private async runSlices(kernel: DirectKernel, call: DirectCall, slices: readonly Slice[]): Promise<LaunchReceipt> {
    const { device } = this
    const { context, dispatcher } = device
    const move = { cause: 'fault', counts: makeMoveCounts() } as const
    const compiled = await dispatcher.compile(kernel)
    for (const slice of slices) {
      await this.whenResident('launch', slice.pages, move, (frames) => {
        const offsets = slice.args.map(({ start }) => {
          const k = slice.pages.findIndex((range) => start >= range.start && start < range.end)
          return frames[k] * PAGE_SIZE + (start - slice.pages[k].start)
        })
        dispatcher.submit(compiled, slice, offsets, call.uniforms ?? null)
        for (const { start, end, write } of slice.args) if (write) hmmMirrorRangeDirty(this.mirror, start, end)
      })
    }
    await context.fence()
    return { kernel: kernel.name, path: 'direct', nslices: slices.length, moved: move.counts }
  }

  private limits(): { npages: number; bindingBytes: number; workgroups: number } {
    const { limits } = this.device.context.device
    return {
      npages: this.device.memory.npages,
      bindingBytes: limits.maxStorageBufferBindingSize,
      workgroups: limits.maxComputeWorkgroupsPerDimension,
    }
  }

  // ---- residence ----

  /**
   * Calls `use` at a moment at which each range lies on the device in one piece and the mirror allows the access, with the
   * first frame of each. Nothing happens between the look and the call; where pages had to be brought in, mmapLock is still
   * held, so that a waiting writer cannot take them away again before they were used.
   */
  private whenResident(
    what: Operation,
    ranges: readonly PageRange[],
    move: Move,
    use: (frames: readonly number[]) => void,
  ): Promise<void> {
    const { preparing, memory } = this.device
    return preparing.run(async () => {
      const held = new Set<Block>()
      const release = (): void => {
        for (const block of held) memory.release(block)
        held.clear()
      }
      /** Uses the ranges if all are there. Returns the first that is missing, -1 for none. */
      const tryUse = (): number => {
        const frames = ranges.map((range) => this.residentFrame(range))
        frames.forEach((first, k) => {
          if (first >= 0) this.hold(first, ranges[k], held)
        })
        const missing = frames.findIndex((first) => first < 0)
        if (missing < 0) use(frames)
        return missing
      }
      try {
        let missing = tryUse()
        for (let round = 0; missing >= 0 && round < ROUNDS_MAX * ranges.length; round++) {
          const range = ranges[missing]
          await this.bringIn(what, range, move, held, release, () => {
            missing = tryUse()
          })
          // Not as it has to be: somebody else moves some of it, or it lacks a permission.
          if (missing >= 0 && this.residentFrame(range) < 0) await this.deviceFault(what, range)
        }
        if (missing < 0) return
        throw new MmError(-EBUSY, what, { addr: ranges[missing].start, detail: 'pages do not move to the device' })
      } finally {
        release()
      }
    })
  }

  /** First frame of a range that lies in the pool in one piece with the permission it needs; -1 if it does not. */
  private residentFrame({ start, end, write }: PageRange): number {
    const wanted = write ? HMM_PTE_VALID_DEV | HMM_PTE_WRITE : HMM_PTE_VALID_DEV
    const iter = new HmmPtIter(this.mirror.pt)
    let first = -1
    let next = -1
    let at = start
    for (let i = iter.walk(start, end); i >= 0 && iter.addr === at; i = iter.walk(iter.next, end)) {
      const { words, npages } = iter
      for (let k = 0; k < npages && (words[2 * (i + k)] & wanted) === wanted; k++) {
        const pfn = hmmPteFrame(words, i + k)
        if (first < 0) first = pfn
        else if (pfn !== next) break
        next = pfn + 1
        at += PAGE_SIZE
      }
      if (at !== iter.next) break
    }
    iter.fini()
    return at === end ? this.device.memory.frameOf(first) : -1
  }

  /** Keeps the blocks of a range from being evicted. */
  private hold(first: number, range: PageRange, held: Set<Block>): void {
    const { memory } = this.device
    const end = first + (range.end - range.start) / PAGE_SIZE
    for (let frame = first; frame < end; ) {
      const block = memory.blockAt(frame)
      memory.touch(block)
      if (!held.has(block)) {
        held.add(block)
        block.holds++
      }
      frame = block.first + block.npages
    }
  }

  /** One attempt to bring a range in; `look` runs before mmapLock is released. Throws an MmError if it cannot succeed. */
  private async bringIn(
    what: Operation,
    range: PageRange,
    move: Move,
    held: Set<Block>,
    release: () => void,
    look: () => void,
  ): Promise<void> {
    const { device, mm, mirror } = this
    const { start, end, write } = range
    const npages = (end - start) / PAGE_SIZE
    let block = await device.reserve(mm, npages, move.counts)
    if (block === null && held.size > 0) {
      // Free frames lie between the blocks of this very launch: begin again with an empty device.
      release()
      await device.evictWhere(() => true, { cause: 'eviction', counts: move.counts })
      block = await device.reserve(mm, npages, move.counts)
    }
    device.context.checkAlive()
    if (block === null) {
      const detail = `${npages} pages in one piece, the device has ${device.memory.npages}`
      throw new MmError(-ENOMEM, what, { addr: start, detail })
    }
    held.add(block)
    const reserved = block
    let err: number
    await mmapReadLock(mm)
    try {
      err = await device.migrator.fill(mirror, reserved, start, end, write, move)
      if (err === 0) look()
    } finally {
      mm.mmapLock.unlockRead()
      device.memory.closeBlock(reserved)
    }
    device.context.checkAlive()
    if (err !== 0) throw new MmError(err, what, { addr: start })
  }

  /**
   * Faults the range in as the device would: waits for whoever moves its pages, and has the CPU's entries get the permission
   * that is missing. Afterwards the pages are somewhere, and can be brought in.
   */
  private async deviceFault(what: Operation, { start, end, write }: PageRange): Promise<void> {
    const { sys } = this.device
    const event = new HmmEvent(start, end, write ? HMM_DEVICE_WFAULT : HMM_DEVICE_RFAULT)
    while (event.start < end) {
      sys.waitFor = null
      const err = this.faultIn(event)
      if (err === -EBUSY && sys.waitFor !== null) {
        await waitForOther(sys)
        continue
      }
      if (err === -EBUSY) return // without anybody to wait for: another round
      if (err !== 0) throw new MmError(err, what, { addr: event.start })
      event.start = event.end
      event.end = end
    }
  }

  private faultIn(event: HmmEvent): number {
    this.faulting = true
    try {
      return hmmMirrorFault(this.mirror, event)
    } finally {
      this.faulting = false
    }
  }

  // ---- the way back ----

  private async bringBack(start: Addr, end: Addr, move: Move): Promise<number> {
    const { device, mm, mirror } = this
    for (let addr = start; addr < end; ) {
      const next = Math.min(end, addr + BRING_BACK_PAGES * PAGE_SIZE)
      const err = await this.locked(async () => {
        for (let vma = mm.findVmaIntersection(addr, next); vma !== null; vma = mm.findVmaIntersection(vma.end, next)) {
          const [from, to] = [Math.max(addr, vma.start), Math.min(next, vma.end)]
          const result = device.migrator.bringBack(mirror, vma, from, to, -1, move)
          const failed = result.err !== 0 ? result.err : ((await result.done) ?? 0)
          if (failed !== 0) return failed
          if (vma.end >= next) break
        }
        return 0
      })
      if (err !== 0) return err
      addr = next
    }
    return 0
  }

  // ---- claims ----

  private claim(ranges: readonly PageRange[]): Claim {
    const claim = { ranges, ended: new WaitQueue() }
    this.claims.add(claim)
    return claim
  }

  private release(claim: Claim): void {
    this.claims.delete(claim)
    claim.ended.wake()
  }

  private claimOn(start: Addr, end: Addr): Claim | null {
    for (const claim of this.claims) {
      if (claim.ranges.some((range) => range.start < end && start < range.end)) return claim
    }
    return null
  }

  private async untilUnclaimed(start: Addr, end: Addr): Promise<void> {
    for (let claim = this.claimOn(start, end); claim !== null; claim = this.claimOn(start, end)) {
      await claim.ended.promise()
    }
  }

  // ---- helpers ----

  /** Runs one operation of the public surface: the address space stays alive meanwhile. */
  private async run<T>(operation: () => Promise<T>): Promise<T> {
    if (this.closed) throw new MmError(-ENODEV, 'webgpu', { detail: 'the handle is closed' })
    const result = await withUser(this.mm, operation)
    if (result === undefined) throw new MmError(-EINVAL, 'webgpu', { detail: 'the address space is gone' })
    return result
  }

  /** Runs `work` with mmapLock held for reading. */
  private async locked(work: () => Promise<number>): Promise<number> {
    const { mm } = this
    await mmapReadLock(mm)
    try {
      return await work()
    } finally {
      mm.mmapLock.unlockRead()
    }
  }

  private checkRange(what: string, start: Addr, end: Addr): void {
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || !isPageAligned(start) || !isPageAligned(end)) {
      throw new RangeError(`${what} of [${start}, ${end}), wanted whole pages`)
    }
    if (start < 0 || start >= end) throw new RangeError(`${what} of [${start}, ${end}), wanted at least one page`)
  }
}
