// Time in bins, for a trace whose end nobody knows yet: when the bins are full, two become one, and there is room again.
//
//   width 1   |a|b|c|d|      time 4 comes      width 2   |ab|cd|  |  |
//
// So a trace of any length is read once, in constant memory, and has between half and all of its bins in the end.

/** Bins of a new timeline. A multiple of two. */
export const NBINS = 240

export class Timeline {
  /** Where the first bin begins. */
  readonly origin: number
  readonly #series: Series[] = []
  #width: number
  #end: number

  /** `width` is that of the first bins, in the unit of the clock, like all times here. */
  constructor(origin: number, width: number) {
    this.origin = origin
    this.#width = width
    this.#end = origin
  }

  get width(): number {
    return this.#width
  }

  /** The latest time that was seen. */
  get end(): number {
    return this.#end
  }

  /** Bins that something lies in; at least one. */
  get nbins(): number {
    return this.binOf(this.#end) + 1
  }

  /** Amounts that belong to a moment. */
  amounts(): AmountSeries {
    const series = new AmountSeries(this)
    this.#series.push(series)
    return series
  }

  /** A level that holds until it changes; 0 at first. */
  level(): LevelSeries {
    const series = new LevelSeries(this)
    this.#series.push(series)
    return series
  }

  /** Makes room for a time. Returns it, or the origin if it is before that. */
  reach(time: number): number {
    this.#end = Math.max(this.#end, time)
    while (time >= this.origin + NBINS * this.#width) {
      this.#width *= 2
      for (const series of this.#series) series.fold()
    }
    return Math.max(time, this.origin)
  }

  binOf(time: number): number {
    return Math.floor((time - this.origin) / this.#width)
  }

  /** How much of a bin has passed. */
  covered(bin: number): number {
    const begin = this.origin + bin * this.#width
    return Math.min(this.#width, Math.max(0, this.#end - begin))
  }
}

class Series {
  protected readonly timeline: Timeline
  protected readonly bins = new Float64Array(NBINS)

  constructor(timeline: Timeline) {
    this.timeline = timeline
  }

  /** Two bins become one. */
  fold(): void {
    const { bins } = this
    for (let i = 0; i < NBINS / 2; i++) bins[i] = bins[2 * i] + bins[2 * i + 1]
    bins.fill(0, NBINS / 2)
  }
}

export class AmountSeries extends Series {
  add(time: number, amount: number): void {
    const at = this.timeline.reach(time)
    this.bins[this.timeline.binOf(at)] += amount
  }

  /** The sum in each bin. */
  values(): number[] {
    return [...this.bins.subarray(0, this.timeline.nbins)]
  }
}

export class LevelSeries extends Series {
  #level = 0
  #since: number | null = null
  #peak = 0

  get peak(): number {
    return this.#peak
  }

  set(time: number, level: number): void {
    const at = this.timeline.reach(time)
    this.#settle(at)
    this.#level = level
    this.#peak = Math.max(this.#peak, level)
  }

  /** The mean level in each bin, over what has passed of it. */
  values(): number[] {
    const { timeline } = this
    this.#settle(timeline.end)
    return Array.from({ length: timeline.nbins }, (_, bin) => {
      const covered = timeline.covered(bin)
      return covered > 0 ? this.bins[bin] / covered : this.#level
    })
  }

  /** The mean level from the origin to the end. */
  mean(): number {
    const { timeline } = this
    this.#settle(timeline.end)
    const duration = timeline.end - timeline.origin
    return duration > 0 ? this.bins.reduce((sum, integral) => sum + integral, 0) / duration : this.#level
  }

  /** Adds what the level came to since it was set: level times time, in each bin. */
  #settle(time: number): void {
    const { timeline, bins } = this
    const from = this.#since ?? time
    this.#since = time
    if (this.#level === 0) return
    // Bins are counted, not looked up by their beginnings, which may be rounded into the bin before.
    let bin = timeline.binOf(from)
    for (let at = from; at < time; bin++) {
      const next = timeline.origin + (bin + 1) * timeline.width
      const end = bin < NBINS - 1 ? Math.min(time, Math.max(at, next)) : time
      bins[bin] += this.#level * (end - at)
      at = end
    }
  }
}
