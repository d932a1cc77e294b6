// Lines that change while somebody watches: they are drawn over each other, as often as is pleasant to look at. Where nobody watches,
// as in a pipe or a log, nothing is drawn; what has to be in a log is printed as ordinary lines.

import { COLUMNS_MAX, type OutputStream } from './terminal.ts'

/** Narrower than this there is no room for a picture. */
const COLUMNS_LIVE = 60
/** Milliseconds between two pictures. */
const INTERVAL_MS = 80

export class LiveLines {
  readonly #stream: OutputStream
  readonly #now: () => number
  /** What pictures are made for. */
  readonly #columns: number
  /** Lines on the screen that are going to be drawn over. */
  #nlines = 0
  #drawnAt = Number.NEGATIVE_INFINITY

  constructor(stream: OutputStream, now: () => number = () => performance.now()) {
    this.#stream = stream
    this.#now = now
    this.#columns = Math.max(COLUMNS_LIVE, Math.min(COLUMNS_MAX, stream.columns || COLUMNS_MAX))
  }

  /**
   * Whether anybody watches, and lines are not cut in two, which nobody could draw over: a terminal that was made narrower gets no more
   * pictures.
   */
  get isLive(): boolean {
    const { isTTY, columns } = this.#stream
    return isTTY === true && (columns || COLUMNS_MAX) >= this.#columns
  }

  /** Draws the lines that `make` returns, unless it is too early for another picture. */
  draw(make: () => readonly string[]): void {
    const now = this.#now()
    if (!this.isLive || now - this.#drawnAt < INTERVAL_MS) return
    this.#drawnAt = now
    const lines = make()
    this.#stream.write(`${this.#erase()}${lines.map((line) => `${line}\n`).join('')}`)
    this.#nlines = lines.length
  }

  /** Takes the picture away; what is printed next takes its place. */
  clear(): void {
    if (this.#nlines > 0) this.#stream.write(this.#erase())
    this.#nlines = 0
    this.#drawnAt = Number.NEGATIVE_INFINITY
  }

  /** Goes to the first line of the picture, and erases from there on. */
  #erase(): string {
    return this.#nlines === 0 ? '' : `\x1b[${this.#nlines}F\x1b[J`
  }
}
