// A device of the shared driver as the engine sees it.

import { PAGE_SIZE } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { MmError } from '../../base/errno.ts'
import { rangesOverlap } from '../../devices/claims.ts'
import type { DeviceDriver, DriverHandle, ProgramMemory } from '../../devices/driver/index.ts'
import type { Mm } from '../../mm/mm.ts'
import type { Access } from '../../trace/events.ts'
import type { EngineDevice } from './device.ts'
import type { ByteRange } from './protocol.ts'

export abstract class DriverEngineDevice<Memory extends ProgramMemory> implements EngineDevice {
  abstract readonly hardware: string
  abstract readonly note: string | null
  /** What launches are handed to. */
  readonly handle: DriverHandle<Memory>
  readonly #driver: DeviceDriver<Memory>

  constructor(driver: DeviceDriver<Memory>, mm: Mm) {
    const handle = driver.open(mm)
    assert(typeof handle !== 'number', () => `mirroring the heap returned ${handle}`)
    this.handle = handle
    this.#driver = driver
  }

  get name(): string {
    return this.#driver.name
  }

  get owner(): unknown {
    return this.#driver.owner
  }

  get nbytes(): number {
    return this.#driver.parts.pool.npages * PAGE_SIZE
  }

  get nbytesUsed(): number {
    return this.#driver.npagesUsed * PAGE_SIZE
  }

  get fillsLost(): boolean {
    return this.#driver.parts.onLost === 'fill'
  }

  get isWatching(): boolean {
    return this.#driver.parts.watch.isWatching
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
    for (const lost of this.#driver.lostRanges()) if (rangesOverlap(lost, range)) names.add(`"${lost.name}"`)
    if (names.size === 0) return null
    return `the newest contents of ${[...names].join(', ')} went with ${this.name}, which is lost; discard them to go on`
  }

  async detach(): Promise<void> {
    await this.handle.close()
  }

  async close(): Promise<void> {
    const err = await this.#driver.close()
    if (err !== 0) throw new MmError(err, 'close', { detail: `device "${this.name}" still has pages` })
  }
}
