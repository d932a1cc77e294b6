// Adds up what a call came to: pages, the bytes that were copied for them, and what was left as it was.

import { rangesOverlap } from '../../devices/claims.ts'
import type { Direction, TraceEvent } from '../../trace/events.ts'
import type { Sink } from '../../trace/tracer.ts'
import type { MappedArray } from './array-table.ts'
import type { ByteRange, Outcome, Skipped, SkipReason } from './protocol.ts'

export class OutcomeBuilder {
  pages = 0
  readonly #skipped = new Map<string, { array: string; pages: number; why: SkipReason }>()

  skip(array: MappedArray, pages: number, why: SkipReason): void {
    if (pages === 0) return
    const key = `${array.id} ${why}`
    const skipped = this.#skipped.get(key)
    if (skipped === undefined) this.#skipped.set(key, { array: array.name, pages, why })
    else skipped.pages += pages
  }

  build(bytes: number): Outcome {
    const skipped: Skipped[] = [...this.#skipped.values()]
    return { pages: this.pages, bytes, skipped }
  }
}

/** Bytes that are copied in one direction for some ranges while a call is in progress. */
export interface CopyCount {
  readonly ranges: readonly ByteRange[]
  readonly direction: Direction
  nbytes: number
}

/** Listens to the trace on behalf of calls in progress. */
export class CopyCounts implements Sink {
  readonly #counts = new Set<CopyCount>()

  begin(ranges: readonly ByteRange[], direction: Direction): CopyCount {
    const count = { ranges, direction, nbytes: 0 }
    this.#counts.add(count)
    return count
  }

  end(count: CopyCount): void {
    this.#counts.delete(count)
  }

  write(event: TraceEvent): void {
    if (event.kind !== 'transfer') return
    for (const count of this.#counts) {
      if (event.direction !== count.direction || !count.ranges.some((range) => rangesOverlap(range, event))) continue
      count.nbytes += event.nbytes
    }
  }
}
