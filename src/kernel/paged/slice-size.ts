// How many transactions are run together. Too many share too little memory and take pages from each other; too few make many rounds.
// The working set is not known beforehand, so the size follows what happens: it doubles until transactions took pages from each
// other for the first time, and from then on it goes back to what worked, and grows slowly.

/** Transactions of a slice, at most. */
const TRANSACTIONS_MAX = 2 ** 20

/** Words with a bit for each of them, and one more. */
export const MARK_WORDS = TRANSACTIONS_MAX / 32 + 1

export class SliceSize {
  private size: number
  private hasThrashed = false

  /** For so many words of device memory, and transactions of so many invocations. */
  constructor(words: number, invocations: number) {
    const first = Math.min(words / 4, 262144) / invocations
    this.size = Math.max(1, Math.floor(first))
  }

  /** Transactions of the next slice. */
  next(): number {
    return this.size
  }

  /** A slice went through as a whole. */
  grow(): void {
    const larger = this.hasThrashed ? Math.ceil(this.size * 1.25) : this.size * 2
    this.size = Math.min(TRANSACTIONS_MAX, larger)
  }

  /** So many transactions were too many. */
  shrink(count: number): void {
    this.hasThrashed = true
    this.size = Math.max(1, Math.min(this.size, Math.floor(count / 2)))
  }
}
