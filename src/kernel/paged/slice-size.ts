// How many transactions are run together. Too many share too little memory and take pages from each other; too few make many rounds.
// The working set is not known beforehand, so the size follows what happens: half after a split, double after a slice without one.

const TRANSACTIONS_MAX = 2 ** 20

export class SliceSize {
  private size: number

  /** For so many words of device memory, and transactions of so many invocations. */
  constructor(words: number, invocations: number) {
    const first = Math.min(words / 4, 65536) / invocations
    this.size = Math.max(1, Math.floor(first))
  }

  /** Transactions of the next slice. */
  next(): number {
    return this.size
  }

  grow(): void {
    this.size = Math.min(TRANSACTIONS_MAX, this.size * 2)
  }

  shrink(): void {
    this.size = Math.max(1, Math.floor(this.size / 2))
  }
}
