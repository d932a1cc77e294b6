// Random numbers that are the same on every machine: one seed is one program, today and in a year.

export class Random {
  #state: number

  constructor(seed: number) {
    // Neighbouring seeds are to be strangers.
    this.#state = scramble(scramble(seed) ^ 0x9e37_79b9)
  }

  /** A whole number from 0 to n - 1. */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0
    return Math.floor((scramble(this.#state) / 2 ** 32) * n)
  }

  /** A whole number from `min` to `max`, both included. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1)
  }

  /** True so many times out of a hundred. */
  percent(percent: number): boolean {
    return this.below(100) < percent
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]
  }

  /** 1 more often than 2, 2 more often than 3, up to `max`. */
  small(max: number): number {
    return 1 + Math.min(this.below(max), this.below(max))
  }
}

/** The finishing steps of mulberry32. */
function scramble(value: number): number {
  let t = Math.imul(value ^ (value >>> 15), value | 1)
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
  return (t ^ (t >>> 14)) >>> 0
}
