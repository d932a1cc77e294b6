// Pages whose newest contents went with a device, or could not be read back from swap, and that were filled so that a touch could go
// on. Who asks for them by a call is told, until he gives them up: what is in them is nobody's data.

import { type Addr, PAGE_SIZE, pageAlignDown } from '../../base/addr.ts'
import type { ByteRange } from './protocol.ts'

export class LostPages {
  /** What became of the contents, as the end of a sentence, by address of the page. */
  readonly #reasons = new Map<Addr, string>()

  add(addr: Addr, reason: string): void {
    this.#reasons.set(addr, reason)
  }

  /** What became of something in a range, undefined if nothing of it is lost but what lies in `except`. */
  reasonOf({ start, end }: ByteRange, except: readonly ByteRange[] = []): string | undefined {
    if (this.#reasons.size === 0) return undefined
    for (let addr = pageAlignDown(start); addr < end; addr += PAGE_SIZE) {
      const reason = this.#reasons.get(addr)
      if (reason === undefined || except.some((each) => addr >= each.start && addr < each.end)) continue
      return reason
    }
    return undefined
  }

  /** The range has new contents, or none. */
  forget({ start, end }: ByteRange): void {
    if (this.#reasons.size === 0) return
    for (let addr = start; addr < end; addr += PAGE_SIZE) this.#reasons.delete(addr)
  }
}
