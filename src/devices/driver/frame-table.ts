// Which frame of the device holds the copy of a page, by page number. Entries of a mirror table name the page that was copied;
// this says where the copy is. It has no rights of its own: an entry here counts only beside a valid one there.

const BLOCK_PAGES = 512

const NONE = -1

export class FrameTable {
  private readonly blocks = new Map<number, Int32Array>()
  private readonly counts = new Map<number, number>()
  /** Entries in the table. */
  size = 0

  /** The frame for page `vpn`, -1 for none. */
  find(vpn: number): number {
    const block = this.blocks.get(Math.floor(vpn / BLOCK_PAGES))
    return block === undefined ? NONE : block[vpn % BLOCK_PAGES]
  }

  /** Enters a page that has none. */
  add(vpn: number, frame: number): void {
    const key = Math.floor(vpn / BLOCK_PAGES)
    let block = this.blocks.get(key)
    if (block === undefined) {
      block = new Int32Array(BLOCK_PAGES).fill(NONE)
      this.blocks.set(key, block)
    }
    block[vpn % BLOCK_PAGES] = frame
    this.counts.set(key, (this.counts.get(key) ?? 0) + 1)
    this.size++
  }

  /** Names another frame for a page that has an entry. */
  replace(vpn: number, frame: number): void {
    const block = this.blocks.get(Math.floor(vpn / BLOCK_PAGES))
    if (block !== undefined) block[vpn % BLOCK_PAGES] = frame
  }

  /** Takes every entry of the pages `[first, end)` out and calls `visit` with each, ascending within 2 MiB. */
  take(first: number, end: number, visit: (vpn: number, frame: number) => void): void {
    if (this.size === 0) return
    for (const key of this.keysOf(first, end)) {
      const block = this.blocks.get(key)
      if (block === undefined) continue
      const base = key * BLOCK_PAGES
      const stop = Math.min(end - base, BLOCK_PAGES)
      let ntaken = 0
      for (let i = Math.max(first - base, 0); i < stop; i++) {
        const frame = block[i]
        if (frame === NONE) continue
        block[i] = NONE
        ntaken++
        visit(base + i, frame)
      }
      this.drop(key, ntaken)
    }
  }

  *[Symbol.iterator](): IterableIterator<[vpn: number, frame: number]> {
    for (const [key, block] of this.blocks) {
      for (let i = 0; i < BLOCK_PAGES; i++) if (block[i] !== NONE) yield [key * BLOCK_PAGES + i, block[i]]
    }
  }

  private drop(key: number, ntaken: number): void {
    const left = (this.counts.get(key) ?? 0) - ntaken
    this.size -= ntaken
    if (left > 0) {
      this.counts.set(key, left)
      return
    }
    this.counts.delete(key)
    this.blocks.delete(key)
  }

  /** Blocks that may hold pages of `[first, end)`. The whole address space costs no more than what is in the table. */
  private keysOf(first: number, end: number): number[] {
    const firstKey = Math.floor(first / BLOCK_PAGES)
    const lastKey = Math.floor((end - 1) / BLOCK_PAGES)
    if (lastKey - firstKey < this.blocks.size) {
      return Array.from({ length: lastKey - firstKey + 1 }, (_, i) => firstKey + i)
    }
    return [...this.blocks.keys()].filter((key) => key >= firstKey && key <= lastKey)
  }
}
