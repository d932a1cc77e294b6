// Pages whose newest contents went with a device, and that were filled so that a touch could go on. Who asks for them by a call is
// told, until he gives them up: what is in them is nobody's data.

import { type Addr, PAGE_SIZE, pageAlignDown } from '../../base/addr.ts'
import type { ByteRange } from './protocol.ts'

export class LostPages {
  /** Name of the device, by address of the page. */
  readonly #devices = new Map<Addr, string>()

  add(addr: Addr, device: string): void {
    this.#devices.set(addr, device)
  }

  /** The device that took something of a range along, undefined for none. */
  deviceOf({ start, end }: ByteRange): string | undefined {
    if (this.#devices.size === 0) return undefined
    for (let addr = pageAlignDown(start); addr < end; addr += PAGE_SIZE) {
      const device = this.#devices.get(addr)
      if (device !== undefined) return device
    }
    return undefined
  }

  /** The range has new contents, or none. */
  forget({ start, end }: ByteRange): void {
    if (this.#devices.size === 0) return
    for (let addr = start; addr < end; addr += PAGE_SIZE) this.#devices.delete(addr)
  }
}
