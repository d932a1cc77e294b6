// The HMM driver of devices with memory of their own: start here. It stands on mm and hmm alone, as a driver in the kernel would;
// what tells one device from another is behind DeviceHardware (hardware.ts).
//
//   DeviceDriver ──< DriverHandle >── Mm            one handle per address space: run, prefetch, bringBack
//        │ parts: pool (frames), hardware (bytes), policy, traffic (events)
//        ├ room, to-device, gather   bring pages in
//        └ to-system, cpu-touch      bring them back
//
// One operation at a time uses the device, in the order in which they were handed in; launches that share data with others,
// on this or on another device, wait for their claim first (claims.ts). What the CPU touches comes back at any time.

import type { Addr, Pfn } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EBUSY, ENODEV } from '../../base/errno.ts'
import {
  hmmDeviceRegister,
  hmmDeviceUnregister,
  hmmMirrorRegister,
  hmmMirrorUnregister,
  HmmDevice as MirrorDevice,
} from '../../hmm/mirror/index.ts'
import type { DevicePolicy } from '../../hmm/policy.ts'
import type { Mm } from '../../mm/mm.ts'
import { GUP_PIN_COUNTING_BIAS } from '../../mm/page.ts'
import type { System } from '../../mm/system.ts'
import type { Counters } from '../../trace/counters.ts'
import { NO_TRACE, type Tracer } from '../../trace/tracer.ts'
import type { HmmDevice } from '../device.ts'
import { Serial } from '../edge.ts'
import { answerTouch } from './cpu-touch.ts'
import { type DeviceClock, SYSTEM_CLOCK } from './device-clock.ts'
import { DeviceLostError, type LostRange } from './device-lost-error.ts'
import type { DeviceParts, OnLost } from './device-parts.ts'
import { DeviceSpace } from './device-space.ts'
import { DriverHandle, type HandleHost } from './driver-handle.ts'
import { FramePool } from './frame-pool.ts'
import type { DeviceHardware, ProgramMemory } from './hardware.ts'
import { findOnlyCopies } from './loss.ts'
import { OpenMigrations } from './open-migrations.ts'
import { ProgressWatch } from './progress.ts'
import { Room } from './room.ts'
import { ToDevice } from './to-device.ts'
import { ToSystem } from './to-system.ts'
import { makePurpose, Traffic } from './traffic.ts'

/** What all devices can be made with. */
export interface DriverOptions {
  /** Decides what goes where (src/policies). */
  readonly policy: DevicePolicy
  readonly tracer?: Tracer
  /** Default `sigbus`. */
  readonly onLost?: OnLost
  /** Called for each page that is filled because its newest contents went with the device. */
  readonly onFilled?: (mm: Mm, addr: Addr) => void
  /** Microseconds that a program may take without any progress before the device counts as hung. Default: as long as it likes. */
  readonly deadline?: number
  /** Name of the allocation at an address, for events and errors. Default: none has a name. */
  readonly nameAt?: (mm: Mm, addr: Addr) => string | undefined
}

interface NamedOptions extends DriverOptions {
  readonly name: string
  readonly clock?: DeviceClock
}

export class DeviceDriver<Memory extends ProgramMemory> implements HmmDevice<DriverHandle<Memory>>, HandleHost<Memory> {
  readonly sys: System
  /** @internal */
  readonly parts: DeviceParts<Memory>
  /** @internal */
  readonly room: Room
  /** @internal */
  readonly toDevice: ToDevice
  /** @internal */
  readonly toSystem: ToSystem
  /** @internal */
  readonly migrations: OpenMigrations
  /** @internal What the mirrors belong to. */
  readonly mirrorDevice: MirrorDevice
  private readonly operations = new Serial()
  private readonly spaces = new Map<Mm, DeviceSpace>()
  private nqueued = 0
  /** Ends of what cannot go on without the device. */
  private readonly failing = new Set<(reason: Error) => void>()

  /** @internal Adds a device to the machine. */
  constructor(sys: System, hardware: DeviceHardware<Memory>, options: NamedOptions) {
    const { name, policy, clock = SYSTEM_CLOCK, tracer = NO_TRACE, onLost = 'sigbus' } = options
    const { nameAt = () => undefined, onFilled = () => {}, deadline = Number.POSITIVE_INFINITY } = options
    this.sys = sys
    const pool = new FramePool(sys, hardware, this, (vmf) =>
      answerTouch(this.parts, this.toSystem, this.spaces.get(vmf.vma.mm) ?? null, this.nqueued, vmf),
    )
    const traffic = new Traffic(name, tracer, clock, nameAt)
    const watch = new ProgressWatch({ deadline, clock, lose: (reason) => void this.lose(reason) })
    const rest = { policy, clock, onLost, onFilled, watch, nameAt, failure: null, isFaulting: false }
    this.parts = { sys, name, owner: this, pool, hardware, traffic, ...rest }
    this.migrations = new OpenMigrations(sys)
    this.toSystem = new ToSystem(this.parts, this.migrations)
    this.room = new Room(this.parts, this.spaces, this.toSystem, this.migrations)
    this.toDevice = new ToDevice(this.room, this.migrations)
    this.mirrorDevice = new MirrorDevice({
      name,
      owner: this,
      ops: {
        update: (mirror, event) => this.spaces.get(mirror.hmm.mm)?.update(event) ?? 0,
        release: (mirror) => void this.spaces.delete(mirror.hmm.mm),
      },
    })
    assert(hmmDeviceRegister(this.mirrorDevice) === 0, 'the device is registered')
    hardware.onLost = (reason) => void this.lose(reason)
  }

  /** Identity of the device's memory. */
  get owner(): this {
    return this
  }

  get name(): string {
    return this.parts.name
  }

  get npagesUsed(): number {
    return this.parts.pool.pagemap.live
  }

  /** Sums over everything that the device has done. */
  get counters(): Counters {
    return this.parts.traffic.totals.total
  }

  /**
   * Begins to mirror an address space. Returns the handle, -ENODEV if the device is lost or closed, or -EINVAL if the address
   * space is dead or mirrored already.
   */
  open(mm: Mm): DriverHandle<Memory> | number {
    if (this.parts.failure !== null) return -ENODEV
    const mirror = hmmMirrorRegister(this.mirrorDevice, mm)
    if (typeof mirror === 'number') return mirror
    const space = new DeviceSpace(this.parts, mirror)
    this.spaces.set(mm, space)
    return new DriverHandle(this, space)
  }

  /** Moves every page that can be moved to system memory, after the operations that were handed in before. */
  async evictAll(): Promise<void> {
    await this.enqueue(() => this.room.evictAll(makePurpose('user')))
  }

  /**
   * Takes the device away from the machine: everything comes back first.
   *
   * Returns 0, or -EBUSY while address spaces are mirrored, or pages cannot be moved; the device goes on working then.
   */
  async close(): Promise<number> {
    if (this.spaces.size > 0) return -EBUSY
    if (this.parts.failure === null) await this.evictAll()
    const err = this.parts.pool.remove()
    if (err !== 0) return err
    assert(hmmDeviceUnregister(this.mirrorDevice) === 0, 'a device without address spaces has no mirrors')
    this.parts.hardware.destroy()
    return 0
  }

  /**
   * The device is gone, and everything in its memory. Operations reject with a DeviceLostError, touches of lost pages fail, all
   * the others find what they should.
   *
   * Returns what is lost. A second call changes nothing.
   */
  lose(reason: string): readonly LostRange[] {
    if (this.parts.failure !== null) return this.lostRanges()
    const lost = findOnlyCopies(this.parts)
    const error = new DeviceLostError(this.name, reason, lost)
    this.parts.failure = error
    this.parts.traffic.lost(reason)
    this.parts.hardware.fail(error)
    for (const end of [...this.failing]) end(error)
    for (const space of [...this.spaces.values()]) hmmMirrorUnregister(space.mirror)
    return lost
  }

  /** What is lost and was not discarded since. */
  lostRanges(): readonly LostRange[] {
    return this.parts.failure === null ? [] : findOnlyCopies(this.parts)
  }

  /** References that the driver holds on each frame: for `validateSystem`. Exact at any moment between two calls. */
  heldReferences(): (pfn: Pfn) => number {
    const held = new Map<Pfn, number>()
    for (const pfn of this.parts.pool.pinnedFrames()) held.set(pfn, GUP_PIN_COUNTING_BIAS + 1)
    this.migrations.addReferences(held)
    return (pfn) => held.get(pfn) ?? 0
  }

  /** @internal The address spaces that it mirrors. */
  mirrored(): Iterable<DeviceSpace> {
    return this.spaces.values()
  }

  // ---- used by handles ----

  /** @internal */
  async enqueue<T>(work: () => Promise<T>): Promise<T> {
    this.nqueued++
    try {
      return await this.operations.run(work)
    } finally {
      this.nqueued--
    }
  }

  /** @internal */
  async unlessLost(work: Promise<void>): Promise<void> {
    let end: (reason: Error) => void = () => {}
    const lost = new Promise<never>((_, reject) => {
      end = reject
    })
    this.failing.add(end)
    try {
      await Promise.race([work, lost])
    } finally {
      this.failing.delete(end)
    }
  }
}
