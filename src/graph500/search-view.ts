// What one sees of the searches while they run. At a terminal: where every array is, drawn again and again. In a log: a line per search,
// and the picture once.

import type { LiveLines } from '../cli/live-lines.ts'
import type { Terminal } from '../cli/terminal.ts'
import type { TraceEvent } from '../trace/events.ts'
import type { Sink } from '../trace/sink.ts'
import { count } from './layout.ts'
import type { LevelReport } from './level-plan.ts'
import { ResidencyStrip } from './residency-strip.ts'
import type { TimedSearch } from './statistics.ts'

/** The level after which a log gets its picture: by then the whole graph passes through the device. */
const PICTURED_LEVEL = 2

const ARROWS = { fromAbove: 'from above', fromBelow: 'from below' } as const

/** What is going on in a row of searches, for whoever draws it. */
export interface SearchProgress {
  /** A level was searched. */
  level(search: number, level: LevelReport): void
  /** A search was validated. */
  search(search: number, timed: TimedSearch): void
}

export class SearchView implements SearchProgress, Sink {
  readonly #out: Terminal
  readonly #live: LiveLines
  readonly #nsearches: number
  readonly #strip: ResidencyStrip
  #search = 0
  #level: LevelReport | null = null
  #nreached = 1
  #hasEnded = false

  constructor(out: Terminal, live: LiveLines, nsearches: number) {
    this.#out = out
    this.#strip = new ResidencyStrip(out)
    this.#live = live
    this.#nsearches = nsearches
  }

  /** Events come from the heap that is searched. */
  write(event: TraceEvent): void {
    this.#strip.write(event)
    // The engine may have a thread of its own: its last events come when nobody looks any more.
    if (!this.#hasEnded) this.#live.draw(() => this.#picture())
  }

  level(search: number, level: LevelReport): void {
    if (level.depth === 0) this.#nreached = 1
    this.#search = search
    this.#level = level
    this.#nreached += level.nfound
    this.#live.draw(() => this.#picture())
    if (this.#live.isLive || search > 0 || level.depth !== PICTURED_LEVEL) return
    for (const line of this.#picture()) this.#out.line(line)
  }

  search(search: number, { seconds, nedges }: TimedSearch): void {
    if (this.#live.isLive) return
    const depth = this.#level === null ? 0 : this.#level.depth
    const speed = `${(nedges / seconds / 1e6).toFixed(1)} M edges/s`
    const found = `${count(this.#nreached)} vertices on ${depth} levels`
    this.#out.line(`  search ${search + 1} of ${this.#nsearches}: ${found}, ${seconds.toFixed(2)} s, ${speed}, valid`)
  }

  /** The searches are over, and are compared with others. */
  compare(): void {
    this.#hasEnded = true
    this.#live.clear()
    this.#live.draw(() => ['  comparing ...'])
  }

  /** Takes the picture away. */
  end(): void {
    this.#hasEnded = true
    this.#live.clear()
  }

  #picture(): string[] {
    const level = this.#level
    const doing = level === null ? '' : `, level ${level.depth + 1} ${ARROWS[level.direction]}`
    const found = `, ${count(this.#nreached)} ${this.#nreached === 1 ? 'vertex' : 'vertices'}`
    return ['', `  search ${this.#search + 1} of ${this.#nsearches}${doing}${found}`, '', ...this.#strip.rows(), '']
  }
}
