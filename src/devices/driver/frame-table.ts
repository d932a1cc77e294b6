// Which frame of the device holds the copy of a page, by page number. Entries of a mirror table name the page that was copied;
// this says where the copy is. It has no rights of its own: an entry here counts only beside a valid one there.

const BLOCK_PAGES = 512

const NONE = -1

/** Frames lie in several pieces. */
const MIXED = Number.NaN

/** Empty blocks that a table keeps: half a MiB, for 512 MiB of pages. */
const SPARE_MAX = 256

/** Entries of 2 MiB of addresses. */
class TableBlock {
  key: number
  readonly frames = new Int32Array(BLOCK_PAGES).fill(NONE)
  /** What all frames have in common if they lie in one piece: frame less page number. Else MIXED; null if nobody has looked. */
  origin: number | null = null
  /** Pages that have an entry. */
  count = 0

  constructor(key: number) {
    this.key = key
  }
}

function originOf({ key, frames }: TableBlock): number {
  const base = key * BLOCK_PAGES
  let origin: number | null = null
  for (let i = 0; i < BLOCK_PAGES; i++) {
    if (frames[i] === NONE) continue
    origin ??= frames[i] - base - i
    if (frames[i] - base - i !== origin) return MIXED
  }
  return origin ?? MIXED
}

/** The same for entries `[from, to)`; MIXED if one of them is missing. */
function originOfPart(block: TableBlock, from: number, to: number): number {
  block.origin ??= originOf(block)
  const { origin, key, frames } = block
  if (block.count === BLOCK_PAGES && !Number.isNaN(origin)) return origin
  const first = frames[from]
  if (first === NONE) return MIXED
  for (let i = from; i < to; i++) if (frames[i] !== first + i - from) return MIXED
  return first - key * BLOCK_PAGES - from
}

export class FrameTable {
  private readonly blocks = new Map<number, TableBlock>()
  /** The block that was looked up last: pages are looked at in order. */
  private recent: TableBlock | null = null
  private readonly spare: TableBlock[] = []
  /** Entries in the table. */
  size = 0

  /** The frame for page `vpn`, -1 for none. */
  find(vpn: number): number {
    const block = this.blockOf(Math.floor(vpn / BLOCK_PAGES))
    return block === null ? NONE : block.frames[vpn % BLOCK_PAGES]
  }

  /** Frames of the 2 MiB of pages that `vpn` lies in, by page number modulo 512; null if none of them has an entry. To be read only. */
  framesAround(vpn: number): Int32Array | null {
    const block = this.blockOf(Math.floor(vpn / BLOCK_PAGES))
    return block === null ? null : block.frames
  }

  /** Frame less page number where that is the same for all frames around `vpn`, which has some; else NaN. */
  originAround(vpn: number): number {
    const block = this.blockOf(Math.floor(vpn / BLOCK_PAGES))
    if (block === null) return MIXED
    block.origin ??= originOf(block)
    return block.origin
  }

  /** The frame of page `vpn` if so many pages from there on have entries and lie in one piece, else -1. */
  runFrom(vpn: number, npages: number): number {
    const end = vpn + npages
    let origin = MIXED
    for (let at = vpn; at < end; ) {
      const block = this.blockOf(Math.floor(at / BLOCK_PAGES))
      if (block === null) return NONE
      const base = block.key * BLOCK_PAGES
      const stop = Math.min(end, base + BLOCK_PAGES)
      const found = originOfPart(block, at - base, stop - base)
      if (at === vpn) origin = found
      // What is mixed is different from everything, itself included.
      if (found !== origin) return NONE
      at = stop
    }
    return vpn + origin
  }

  /** All pages around `vpn` have an entry. */
  isFullAround(vpn: number): boolean {
    return this.blockOf(Math.floor(vpn / BLOCK_PAGES))?.count === BLOCK_PAGES
  }

  /** Enters neighbouring pages that have no entry, in neighbouring frames. */
  add(vpn: number, frame: number, npages: number): void {
    for (let done = 0; done < npages; ) {
      const block = this.makeBlock(Math.floor((vpn + done) / BLOCK_PAGES))
      const at = (vpn + done) % BLOCK_PAGES
      const n = Math.min(npages - done, BLOCK_PAGES - at)
      const { frames } = block
      for (let i = at | 0, end = (at + n) | 0, next = (frame + done) | 0; i < end; i++) frames[i] = next++
      if (block.count === 0) block.origin = frame - vpn
      else if (block.origin !== frame - vpn) block.origin = null
      block.count += n
      done += n
    }
    this.size += npages
  }

  /** Names another frame for a page that has an entry. */
  replace(vpn: number, frame: number): void {
    const block = this.blockOf(Math.floor(vpn / BLOCK_PAGES))
    if (block === null) return
    block.frames[vpn % BLOCK_PAGES] = frame
    if (block.origin !== frame - vpn) block.origin = null
  }

  /** Takes every entry of the pages `[first, end)` out and calls `visit` with each run of them, ascending within 2 MiB. */
  take(first: number, end: number, visit: (vpn: number, frame: number, npages: number) => void): void {
    if (this.size === 0) return
    for (const block of this.blocksIn(first, end)) {
      const base = block.key * BLOCK_PAGES
      const stop = Math.min(end - base, BLOCK_PAGES) | 0
      const { frames } = block
      for (let i = Math.max(first - base, 0) | 0; i < stop; ) {
        const frame = frames[i]
        let next = i + 1
        if (frame !== NONE) {
          for (let wanted = frame + 1; next < stop && frames[next] === wanted; next++) wanted++
          frames.fill(NONE, i, next)
          block.count -= next - i
          this.size -= next - i
          visit(base + i, frame, next - i)
        }
        i = next
      }
      if (block.count > 0) continue
      this.blocks.delete(block.key)
      if (this.recent === block) this.recent = null
      if (this.spare.length < SPARE_MAX) this.spare.push(block)
    }
  }

  *[Symbol.iterator](): IterableIterator<[vpn: number, frame: number]> {
    for (const { key, frames } of this.blocks.values()) {
      for (let i = 0; i < BLOCK_PAGES; i++) if (frames[i] !== NONE) yield [key * BLOCK_PAGES + i, frames[i]]
    }
  }

  private makeBlock(key: number): TableBlock {
    const found = this.blockOf(key)
    if (found !== null) return found
    const block = this.spare.pop() ?? new TableBlock(key)
    block.key = key
    this.blocks.set(key, block)
    return block
  }

  private blockOf(key: number): TableBlock | null {
    if (this.recent?.key === key) return this.recent
    const block = this.blocks.get(key) ?? null
    if (block !== null) this.recent = block
    return block
  }

  /** Blocks that may hold pages of `[first, end)`. The whole address space costs no more than what is in the table. */
  private blocksIn(first: number, end: number): TableBlock[] {
    const firstKey = Math.floor(first / BLOCK_PAGES)
    const lastKey = Math.floor((end - 1) / BLOCK_PAGES)
    if (firstKey === lastKey) {
      const block = this.blockOf(firstKey)
      return block === null ? [] : [block]
    }
    if (lastKey - firstKey >= this.blocks.size) {
      return [...this.blocks.values()].filter(({ key }) => key >= firstKey && key <= lastKey)
    }
    const found: TableBlock[] = []
    for (let key = firstKey; key <= lastKey; key++) {
      const block = this.blocks.get(key)
      if (block !== undefined) found.push(block)
    }
    return found
  }
}
