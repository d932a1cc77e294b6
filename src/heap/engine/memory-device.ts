// A memory device as the engine sees it.

import { PAGE_SIZE } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { MmError } from '../../base/errno.ts'
import { rangesOverlap } from '../../devices/claims.ts'
import { MemoryDevice, type MemoryDeviceHandle } from '../../devices/memory/index.ts'
import type { Access } from '../../trace/events.ts'
import type { MemoryDeviceSettings } from '../heap-options.ts'
import type { EngineDevice } from './device.ts'
import type { DeviceSite } from './engine.ts'
import type { ByteRange } from './protocol.ts'

export class MemoryEngineDevice implements EngineDevice {
  readonly device: MemoryDevice
  /** What launches are handed to. */
  readonly handle: MemoryDeviceHandle
  readonly nbytes: number

  constructor({ sys, mm, policy, tracer, nameAt }: DeviceSite, settings: MemoryDeviceSettings) {
    const { name, memory, latency, bandwidth, onLost } = settings
    this.device = new MemoryDevice(sys, {
      name,
      memory,
      latency,
      onLost,
      tracer,
      policy,
      nameAt: (_, addr) => nameAt(addr),
      ...(bandwidth !== undefined && { bandwidth }),
    })
    const handle = this.device.open(mm)
    assert(typeof handle !== 'number', () => `mirroring the heap returned ${handle}`)
    this.handle = handle
    this.nbytes = memory
  }

  get name(): string {
    return this.device.name
  }

  get hardware(): string {
    return 'RAM'
  }

  get owner(): unknown {
    return this.device.owner
  }

  get nbytesUsed(): number {
    return this.device.npagesUsed * PAGE_SIZE
  }

  async prefetch(range: ByteRange, access: Access): Promise<{ moved: number; resident: number }> {
    const { resident, duplicated, pinned, migrated } = (await this.handle.prefetch(range, access)).pages
    return { moved: duplicated + pinned + migrated, resident }
  }

  async bringBack(range: ByteRange): Promise<void> {
    await this.handle.bringBack(range)
  }

  lostIn(range: ByteRange): string | null {
    const names = new Set<string>()
    for (const lost of this.device.lostRanges()) if (rangesOverlap(lost, range)) names.add(`"${lost.name}"`)
    if (names.size === 0) return null
    return `the newest contents of ${[...names].join(', ')} went with ${this.name}, which is lost; discard them to go on`
  }

  async close(): Promise<void> {
    await this.handle.close()
    const err = await this.device.close()
    if (err !== 0) throw new MmError(err, 'close', { detail: `device "${this.name}" still has pages` })
  }
}
