// One address space on a device: what a program, or the heap on its behalf, asks of it.

import {
  type Addr,
  addrToVpn,
  HPAGE_PMD_NR,
  PAGE_SIZE,
  pageAlignDown,
  pageAlignUp,
  vpnToAddr,
} from '../../base/addr.ts'
import { EINVAL, ENODEV, ENOMEM, MmError } from '../../base/errno.ts'
import { hmmMirrorUnregister } from '../../hmm/mirror/index.ts'
import type { Mm } from '../../mm/mm.ts'
import type { Vma } from '../../mm/vma.ts'
import type { Counters } from '../../trace/counters.ts'
import type { Access } from '../../trace/events.ts'
import { type AddrRange, type Claim, claimRanges } from '../claims.ts'
import type { HmmDeviceHandle } from '../device.ts'
import { forEachConcurrent, mmapReadLock, withUser } from '../edge.ts'
import { DemandPages } from './demand-pages.ts'
import type { DeviceParts } from './device-parts.ts'
import type { DeviceSpace } from './device-space.ts'
import { flush } from './durable.ts'
import type { ProgramMemory } from './hardware.ts'
import { type LaunchSite, pagesOf, runLaunch } from './launch.ts'
import { checkRanges, checkSlices, collectStores } from './launch-checks.ts'
import type { DeviceLimits, LaunchRequest, LaunchSlice, Program } from './launch-request.ts'
import { Operation } from './operation.ts'
import { nmissing } from './range-use.ts'
import type { LaunchReceipt, PrefetchReceipt } from './receipt.ts'
import type { Room } from './room.ts'
import { makePurpose, type Purpose } from './traffic.ts'

/** Pages that come back at a time: so many that their books are kept in one go, and not between copies that push them out of the caches. */
const BACK_PAGES = 2048

/** Parts that are on their way back: one is copied, and the device has the next to begin with when that has ended. */
const PARTS_IN_FLIGHT = 2

/** The device behind a handle. */
export interface HandleHost<Memory extends ProgramMemory> extends LaunchSite {
  readonly parts: DeviceParts<Memory>
  readonly room: Room
  /** Does work when everything that was handed in before has ended. */
  enqueue<T>(work: () => Promise<T>): Promise<T>
}

export class DriverHandle<Memory extends ProgramMemory> implements HmmDeviceHandle {
  readonly mm: Mm
  /** @internal */
  readonly space: DeviceSpace
  private readonly host: HandleHost<Memory>
  private closing: Promise<number> | null = null

  /** @internal Use `DeviceDriver.open`. */
  constructor(host: HandleHost<Memory>, space: DeviceSpace) {
    this.host = host
    this.space = space
    this.mm = space.mm
  }

  /** What a slice of a launch must not exceed. */
  get limits(): DeviceLimits {
    const { pool, hardware } = this.host.parts
    return { npages: pool.npages, bankPages: pool.bankPages, pieceBytesMax: hardware.pieceBytesMax }
  }

  /**
   * Runs a program on the ranges that it declares. The claim on them begins with the call: launches that share data run in
   * the order of the calls, on however many devices. A touch of a written page by the CPU sees the value before or after.
   *
   *     await handle.run({ name: 'fill', write: [range] }, (memory) => memory.bytes(range, 'write').fill(1))
   *
   * Rejects with a TypeError or RangeError for ranges that are none, with what `slices` throws, and as `runLaunch` says.
   */
  async run<Slice extends LaunchSlice>(
    request: LaunchRequest<Slice>,
    program: Program<Memory, Slice>,
  ): Promise<LaunchReceipt> {
    const { mm } = this
    const { parts } = this.host
    const { name = 'kernel', read = [], write = [], signal, placement, after } = request
    checkRanges(mm, [...read, ...write], name)
    this.checkAlive()
    signal?.throwIfAborted()
    const { limits } = this
    // Without slices the launch itself is the only one.
    const slices = request.slices?.(limits) ?? [request as LaunchSlice as Slice]
    checkSlices(request, slices, name)
    const queuedAt = parts.clock.now()
    const { site } = parts.traffic
    const claim = claimRanges(mm, { reads: pagesAround(read), writes: pagesAround(write) })
    try {
      return await this.whenGranted(claim, { signal, after }, async () => {
        claim.isRunning = true
        const purpose = makePurpose('fault', site)
        const op = new Operation({ parts, space: this.space, purpose, holdsPages: true, signal, hint: placement })
        const begunAt = parts.clock.now()
        try {
          const receipt = await runLaunch(this.host, op, request, slices, program, queuedAt)
          parts.traffic.launched(receipt, queuedAt, purpose)
          return receipt
        } catch (error) {
          parts.traffic.launchFailed(name, error, queuedAt, begunAt, purpose)
          throw error
        } finally {
          op.release()
        }
      })
    } finally {
      claim.end()
    }
  }

  /**
   * @internal Runs a program that finds out while it runs which pages of its ranges it needs (demand-pages.ts). `why` is for the receipt.
   *
   * Rejects as `run`.
   */
  async runOnDemand(
    request: Pick<LaunchRequest, 'name' | 'read' | 'write' | 'signal' | 'durable' | 'after'>,
    why: string,
    program: (pages: DemandPages) => Promise<{ nslices: number; nreplays: number }>,
  ): Promise<LaunchReceipt> {
    const { mm } = this
    const { parts, toDevice, toSystem, migrations } = this.host
    const { name = 'kernel', read = [], write = [], signal, durable = false, after } = request
    checkRanges(mm, [...read, ...write], name)
    this.checkAlive()
    signal?.throwIfAborted()
    const { clock } = parts
    const queuedAt = clock.now()
    const { site } = parts.traffic
    const claim = claimRanges(mm, { reads: pagesAround(read), writes: pagesAround(write) })
    try {
      return await this.whenGranted(claim, { signal, after }, async () => {
        claim.isRunning = true
        const purpose = makePurpose('fault', site)
        const op = new Operation({ parts, space: this.space, purpose, holdsPages: true, signal, hint: undefined })
        const begunAt = clock.now()
        const times = { queued: begunAt - queuedAt, service: 0, transfer: 0, kernel: 0, flush: 0 }
        const pages = new DemandPages(op, toDevice, name, { read, write })
        try {
          await collectStores(op, request, name, false)
          let did = { nslices: 0, nreplays: 0 }
          const running = program(pages).then((done) => {
            did = done
          })
          await this.host.unlessLost(running)
          op.check()
          times.kernel = clock.now() - begunAt
          if (durable) {
            pages.hold(write)
            await flush(op, toSystem, migrations)
          }
          times.flush = clock.now() - begunAt - times.kernel
          times.transfer = purpose.copying.time
          parts.traffic.repeated(did.nreplays, purpose)
          const receipt: LaunchReceipt = {
            ...{ name, device: parts.name, mode: 'paged', why, nslices: did.nslices, thrashing: pages.thrashing() },
            ...{ pages: pagesOf(op), counters: purpose.counters.total, times },
          }
          parts.traffic.launched(receipt, queuedAt, purpose)
          return receipt
        } catch (error) {
          parts.traffic.launchFailed(name, error, queuedAt, begunAt, purpose)
          throw error
        } finally {
          pages.release()
        }
      })
    } finally {
      claim.end()
    }
  }

  /**
   * Brings the pages of a range to the device before a launch needs them, as many as there is room for. Whoever changes or takes
   * the range after this call waits for it, as for a launch that reads the range.
   *
   * Rejects with a RangeError, or with an MmError or DeviceLostError as `run`.
   */
  async prefetch(range: AddrRange, access: Access): Promise<PrefetchReceipt> {
    const { parts, toDevice } = this.host
    checkRanges(this.mm, [range], 'prefetch')
    this.checkAlive()
    const { site } = parts.traffic
    const claim = claimRanges(this.mm, { reads: pagesAround([range]), writes: [] })
    const prefetched = this.whenGranted(claim, {}, async () => {
      const purpose = makePurpose('prefetch', site)
      const options = { holdsPages: false, signal: undefined, hint: undefined }
      const op = new Operation({ parts, space: this.space, purpose, ...options })
      let nskipped = 0
      try {
        // Where there may not be room for all, what comes is as much as there is room for, block by block.
        const fits = (range.end - range.start) / PAGE_SIZE < parts.pool.nfree
        for (const part of fits ? partsOf(range, parts.hardware.uploadPages) : blocksOf(range)) {
          const use = op.use(part, access)
          if (nskipped === 0) await toDevice.bringIn(op, use).catch(unlessFull)
          nskipped += nmissing(use)
        }
        await parts.hardware.uploaded()
      } finally {
        op.release()
      }
      return { device: parts.name, pages: pagesOf(op), counters: purpose.counters.total, nskipped }
    })
    return await prefetched.finally(() => claim.end())
  }

  /**
   * Moves the pages of a range that are on the device back, after the launches that may write them.
   *
   * Rejects with a RangeError, with an MmError ENOMEM if there is no system memory for some, or with a DeviceLostError if some
   * are lost. Returns what moved.
   */
  async bringBack(range: AddrRange): Promise<Counters> {
    const { mm } = this
    checkRanges(mm, [range], 'bringBack')
    const purpose = makePurpose('user', this.host.parts.traffic.site)
    this.space.readBacks.asked(range.start, range.end)
    await this.withMm(async () => {
      await forEachConcurrent(partsOf(range, BACK_PAGES), PARTS_IN_FLIGHT, ({ start, end }) =>
        this.bringBackPart(pageAlignDown(start), pageAlignUp(end), purpose),
      )
    })
    const { failure, name } = this.host.parts
    const nskipped = purpose.counters.total.pagesSkipped
    if (nskipped > 0 && failure !== null) throw failure
    if (nskipped > 0)
      throw new MmError(-ENOMEM, name, { addr: range.start, detail: `${nskipped} pages stay on the device` })
    return purpose.counters.total
  }

  /** Ends the mirroring after what was handed in before; the pages come back first. Returns 0. May be called again. */
  close(): Promise<number> {
    this.closing ??= this.host.enqueue(async () => {
      if (this.host.parts.failure === null) await this.host.room.evictAll(makePurpose('user'), this.mm)
      hmmMirrorUnregister(this.space.mirror)
      return 0
    })
    return this.closing
  }

  /** Runs work when its turn and its claim have come. If the program gives up before that, nothing is left behind. */
  private whenGranted<T>(
    claim: Claim,
    { signal, after }: { signal?: AbortSignal | undefined; after?: Promise<unknown> | undefined },
    work: () => Promise<T>,
  ): Promise<T> {
    let hasBegun = false
    const result = this.inTurn(async () => {
      await claim.granted()
      await after
      signal?.throwIfAborted()
      this.checkAlive()
      hasBegun = true
      return await work()
    })
    if (signal === undefined) return result
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        if (!hasBegun) reject(signal.reason)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      result.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
    })
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.host.enqueue(() => this.withMm(work))
  }

  /** Keeps the address space alive while it is worked with. */
  private async withMm<T>(work: () => Promise<T>): Promise<T> {
    const result = await withUser(this.mm, async () => ({ value: await work() }))
    if (result === undefined) throw new MmError(-EINVAL, this.host.parts.name, { detail: 'the address space is gone' })
    return result.value
  }

  private checkAlive(): void {
    const { failure, name } = this.host.parts
    if (failure !== null) throw failure
    if (this.space.mirror.registered && this.closing === null) return
    throw new MmError(-ENODEV, name, { detail: 'the address space is not mirrored any more' })
  }

  /** Moves the pages of one part of a range back that are on the device, once no operation may write any of them. */
  private async bringBackPart(start: Addr, end: Addr, purpose: Purpose): Promise<void> {
    const { mm } = this
    const { pool } = this.host.parts
    for (;;) {
      await mmapReadLock(mm)
      if (pool.ncaptured === 0 || !this.space.isWritten(start, end)) break
      mm.mmapLock.unlockRead()
      await pool.released.promise()
    }
    try {
      for (const vma of mappingsIn(mm, start, end)) {
        const from = Math.max(start, vma.start)
        const to = Math.min(end, vma.end)
        // An event that takes nothing along would end duplicates for nothing.
        if (!this.space.hasOwn(from, to)) continue
        const { done } = this.host.toSystem.bringBack(vma, from, to, -1, purpose)
        if (done !== null) await done
      }
    } finally {
      mm.mmapLock.unlockRead()
    }
  }
}

/** Nobody else uses a part of a page while a device does: claims are on whole pages. */
function pagesAround(ranges: readonly AddrRange[]): AddrRange[] {
  return ranges.map(({ start, end }) => ({ start: pageAlignDown(start), end: pageAlignUp(end) }))
}

/** A range cut where 2 MiB of addresses end. */
function blocksOf(range: AddrRange): AddrRange[] {
  return partsOf(range, HPAGE_PMD_NR)
}

/** A range cut at multiples of so many pages. */
function partsOf({ start, end }: AddrRange, npages: number): AddrRange[] {
  const parts: AddrRange[] = []
  for (let from = start; from < end; ) {
    const vpn = addrToVpn(from)
    const to = Math.min(end, vpnToAddr(vpn - (vpn % npages) + npages))
    parts.push({ start: from, end: to })
    from = to
  }
  return parts
}

function mappingsIn(mm: Mm, start: Addr, end: Addr): Vma[] {
  return mm.vmas.filter((vma) => vma.start < end && start < vma.end)
}

/** A prefetch that finds no room has done what it could. */
function unlessFull(error: unknown): void {
  if (!(error instanceof MmError) || error.code !== 'ENOMEM') throw error
}
