// One thing that a device does: a launch or a prefetch. It knows the ranges it is about, collects the frames that hold them,
// and keeps these until it has ended, whatever happens to the pages meanwhile.
//
// A frame that is captured keeps its bytes. A page that is captured for writing stays on the device: a touch by the CPU waits
// for the end of the operation. One that is only read may leave; the operation goes on with the bytes that it found.

import { type Addr, addrToVpn, PAGE_SIZE, pageAlignDown, pageAlignUp, vpnToAddr } from '../../base/addr.ts'
import type { Placement } from '../../hmm/policy.ts'
import type { Access } from '../../trace/events.ts'
import type { AddrRange } from '../claims.ts'
import type { DeviceParts } from './device-parts.ts'
import type { DeviceSpace, Located, VpnRun } from './device-space.ts'
import { CAPTURED, CAPTURED_FOR_WRITING, type FrameRun } from './frame-pool.ts'
import type { ProgramMemory } from './hardware.ts'
import { RangeUse } from './range-use.ts'
import type { Purpose } from './traffic.ts'

/** Every launch looks at all of its pages, and what it finds is soon forgotten. */
let peeked = new Int32Array()

export interface OperationOptions<Memory extends ProgramMemory> {
  readonly parts: DeviceParts<Memory>
  readonly space: DeviceSpace
  readonly purpose: Purpose
  /** Pages that are written stay until the end. False for a prefetch, which nobody has to wait for. */
  readonly holdsPages: boolean
  readonly signal: AbortSignal | undefined
  readonly hint: Placement | undefined
}

export class Operation<Memory extends ProgramMemory = ProgramMemory> {
  readonly parts: DeviceParts<Memory>
  readonly space: DeviceSpace
  readonly purpose: Purpose
  readonly hint: Placement | undefined
  /** Ranges that are used at the moment. */
  uses: RangeUse[] = []
  /** Pages that were found on the device, and those that came for it, by how. */
  nresident = 0
  readonly placed: Record<Placement, number> = { duplicate: 0, pin: 0, migrate: 0 }
  /** Pages whose duplicates end with the use, as others may change them unnoticed. */
  readonly transient: number[] = []
  private readonly signal: AbortSignal | undefined
  private readonly holdsPages: boolean
  private captured: FrameRun[] = []
  private hasWarmed = false

  constructor(options: OperationOptions<Memory>) {
    const { parts, space, purpose, holdsPages, signal, hint } = options
    this.parts = parts
    this.space = space
    this.purpose = purpose
    this.holdsPages = holdsPages
    this.signal = signal
    this.hint = hint
    parts.pool.uses++
  }

  /** Adds a range. */
  use(range: AddrRange, access: Access, inOnePiece = false): RangeUse {
    const start = pageAlignDown(range.start)
    const npages = (pageAlignUp(range.end) - start) / PAGE_SIZE
    const use = new RangeUse(access, start, npages, inOnePiece)
    this.uses.push(use)
    return use
  }

  /** Throws if the device is lost or the program gave up. */
  check(): void {
    if (this.parts.failure !== null) throw this.parts.failure
    this.signal?.throwIfAborted()
  }

  /** Some frames are captured. */
  get holdsFrames(): boolean {
    return this.captured.length > 0
  }

  /** Captures the frames of a range that are there, or of its pages in `[start, end)`. */
  look(use: RangeUse, start: Addr = use.start, end: Addr = use.end): void {
    const { pool } = this.parts
    const bits = this.bitsFor(use)
    const capture = (frame: number, npages: number): void => pool.capture(frame, npages, bits, this.captured)
    const from = Math.max(start, use.start)
    const first = addrToVpn(from - use.start)
    const frames = use.frames.subarray(first, addrToVpn(Math.min(end, use.end) - use.start))
    this.space.translate(
      from,
      use.access === 'write',
      frames,
      capture,
      use.firstFrame < 0 ? -1 : use.firstFrame + first,
    )
  }

  /** Captures neighbouring pages that were missing, and have just come to neighbouring frames. */
  gain(use: RangeUse, vpn: number, first: number, npages: number): void {
    const { frames } = use
    const from = (vpn - addrToVpn(use.start)) | 0
    for (let i = from, end = (from + npages) | 0, frame = first | 0; i < end; i++) frames[i] = frame++
    this.parts.pool.capture(first, npages, this.bitsFor(use), this.captured)
  }

  /** Captures those of some pages of a range, in ascending order, that are in their place in its run of frames. Returns the others. */
  lookAt(use: RangeUse, vpns: readonly number[]): number[] {
    const { pool } = this.parts
    const first = addrToVpn(use.start)
    const bits = this.bitsFor(use)
    this.space.forEachOf(vpns, use.access, (k, frame) => {
      const at = vpns[k] - first
      if (use.frames[at] >= 0 || frame !== use.firstFrame + at) return
      use.frames[at] = frame
      pool.capture(frame, 1, bits, this.captured)
    })
    return vpns.filter((vpn) => use.frames[vpn - first] < 0)
  }

  /**
   * Fills in the frames that hold a range at the moment, none of which was captured, as DeviceSpace.locate does. Before anybody else gets
   * a turn they are captured with `take`, or taken out again.
   */
  find({ start, frames, access }: RangeUse): Located {
    return this.space.locate(start, access === 'write', frames)
  }

  /** Captures all that `find` has just found, but for what was missing, in the run of frames that begins at `use.firstFrame`. */
  take(use: RangeUse, missing: readonly VpnRun[]): void {
    const { pool } = this.parts
    const { start, firstFrame } = use
    const bits = this.bitsFor(use)
    let from = 0
    for (const { vpn, npages } of missing) {
      const to = vpn - addrToVpn(start)
      if (to > from) pool.capture(firstFrame + from, to - from, bits, this.captured)
      from = to + npages
    }
    if (use.npages > from) pool.capture(firstFrame + from, use.npages - from, bits, this.captured)
  }

  /** Captures a range that lies in neighbouring frames from `first` on, all of it. */
  takeWhole(use: RangeUse, first: number): void {
    use.setWhole(first)
    this.parts.pool.capture(first, use.npages, this.bitsFor(use), this.captured)
  }

  /**
   * The frames that hold a range at the moment, -1 where there is none, without keeping them. To be used before the next look, of
   * whomever.
   */
  peek({ start, npages, access }: Pick<RangeUse, 'start' | 'npages' | 'access'>): Int32Array {
    if (npages > peeked.length) peeked = new Int32Array(2 * npages)
    const found = peeked.subarray(0, npages).fill(-1)
    this.space.locate(start, access === 'write', found)
    return found
  }

  /**
   * Makes the blocks of what is read the last ones to be evicted, without keeping them. To be called before something is evicted for
   * a range: the others of the operation are not there yet, and what they find need not come again.
   */
  warmReads(): void {
    if (this.hasWarmed) return
    this.hasWarmed = true
    const { pool } = this.parts
    for (const use of this.uses) {
      if (use.access !== 'read') continue
      const found = this.peek(use)
      for (let i = 0; i < found.length; i++) if (found[i] >= 0) pool.blockAt(found[i]).lastUse = pool.uses
    }
  }

  private bitsFor({ access }: RangeUse): number {
    return access === 'write' && this.holdsPages ? CAPTURED | CAPTURED_FOR_WRITING : CAPTURED
  }

  /** Ends the use of all ranges; whoever calls it releases their frames, all of them. */
  handOver(): void {
    this.captured = []
    this.endUses()
  }

  /** Ends the use of all ranges, and lets their frames go. */
  release(): void {
    const { pool } = this.parts
    for (const run of this.captured) pool.release(run)
    this.captured = []
    this.hasWarmed = false
    this.endUses()
    for (const vpn of this.transient.splice(0)) {
      this.space.discardDuplicates(vpnToAddr(vpn), vpnToAddr(vpn + 1), 'coherence')
    }
    pool.released.wake()
  }
  private endUses(): void {
    for (const use of this.uses) use.drop()
    this.uses = []
  }
}
