// What is remembered of the CPU's touches of one address space, for the policy: the window of the last answer, and for each
// 2 MiB how often its pages changed sides lately.

import { HPAGE_PMD_NR } from '../../base/addr.ts'

export const SIDES = ['host', 'device'] as const
export type Side = (typeof SIDES)[number]

/** Moves of one region that are told apart. More are no more news. */
const MOVES_MAX = 32

/** Regions remembered; what was longest without a move is forgotten first. */
const REGIONS_MAX = 4096

interface Region {
  side: Side
  /** When it changed sides, oldest first. */
  readonly times: number[]
  /** A touch waits until then; 0 for none. */
  waitsUntil: number
}

export class TouchHistory {
  /** Pages of the last answer, 0 before the first. */
  window = 0
  /** The page whose touch goes on where the last answer ended. */
  private next = -1
  /** Where what was read ahead of that touch ends; not beyond it if nothing was. */
  private aheadEnd = -1
  /** By number of the 2 MiB; the last one that moved is the last. */
  private readonly regions = new Map<number, Region>()

  /** The touch follows the one before. */
  isSequential(vpn: number): boolean {
    return vpn === this.next
  }

  /**
   * A touch of the page `vpn` was answered with pages up to `end`, from a window of `window` pages. Returns the first page behind
   * those that have come by now.
   */
  answered(vpn: number, end: number, window: number): number {
    this.next = this.isSequential(vpn) ? Math.max(end, this.aheadEnd) : end
    this.aheadEnd = -1
    this.window = window
    return this.next
  }

  /** Pages up to `end` come without having been asked for. The first one was left behind: its touch says that the walk goes on. */
  readAhead(end: number): void {
    this.aheadEnd = end
  }

  /** Pages of `[vpn, end)` went to one side. */
  moved(vpn: number, end: number, side: Side, now: number): void {
    const last = Math.floor((end - 1) / HPAGE_PMD_NR)
    for (let number = Math.floor(vpn / HPAGE_PMD_NR); number <= last; number++) {
      const region = this.regions.get(number) ?? { side: 'host', times: [], waitsUntil: 0 }
      if (region.side === side) continue
      region.side = side
      region.times.push(now)
      if (region.times.length > MOVES_MAX) region.times.shift()
      this.regions.delete(number)
      this.regions.set(number, region)
    }
    for (const number of this.regions.keys()) {
      if (this.regions.size <= REGIONS_MAX) break
      this.regions.delete(number)
    }
  }

  /** Times that the 2 MiB around a page changed sides within the last `window` microseconds. */
  nmoves(vpn: number, now: number, window: number): number {
    const times = this.regions.get(Math.floor(vpn / HPAGE_PMD_NR))?.times ?? []
    return times.reduce((count, time) => (now - time <= window ? count + 1 : count), 0)
  }

  /** When a touch there may go on; 0 if nobody made it wait. */
  waitsUntil(vpn: number): number {
    return this.regions.get(Math.floor(vpn / HPAGE_PMD_NR))?.waitsUntil ?? 0
  }

  /** Touches there wait until `time`; 0 ends that. */
  setWait(vpn: number, time: number): void {
    const region = this.regions.get(Math.floor(vpn / HPAGE_PMD_NR))
    if (region !== undefined) region.waitsUntil = time
  }
}
