// The page table of a dmirror handle: what the device would use to translate the addresses of the process that it mirrors.
// The kernel's driver keeps an xarray of tagged page pointers (`dmirror.pt`, lib/test_hmm.c of Linux 6.1). Here an entry is
// a frame number and a tag, in blocks of 512 pages, so that a block lines up with a last-level CPU table.
//
// The table holds no page references (TD-5): an entry is only good because the invalidation callback takes it away in time.

import type { Pfn } from '../../base/addr.ts'

/** May be read by the device. */
export const TAG_READ = 0
/** The device has the page for itself: exclusive access. */
export const TAG_ATOMIC = 1
/** May be read and written by the device. */
export const TAG_WRITE = 3

const BLOCK_PAGES = 512

class Block {
  /** Frame number plus one; 0 for no entry. */
  readonly frames = new Uint32Array(BLOCK_PAGES)
  readonly tags = new Uint8Array(BLOCK_PAGES)
  nentries = 0
}

/** Maps virtual page numbers to frames. */
export class MirrorTable {
  private readonly blocks = new Map<number, Block>()
  /** Entries in the table. */
  size = 0

  /** The frame that the device uses for page `vpn`, -1 if there is no entry. */
  find(vpn: number): Pfn {
    const block = this.blocks.get(Math.floor(vpn / BLOCK_PAGES))
    return block === undefined ? -1 : block.frames[vpn % BLOCK_PAGES] - 1
  }

  /** The tag of page `vpn`, -1 if there is no entry. */
  tagOf(vpn: number): number {
    const block = this.blocks.get(Math.floor(vpn / BLOCK_PAGES))
    if (block === undefined || block.frames[vpn % BLOCK_PAGES] === 0) return -1
    return block.tags[vpn % BLOCK_PAGES]
  }

  /** Maps a page to a frame, with a tag; what it was mapped to before is forgotten. */
  store(vpn: number, pfn: Pfn, tag: number): void {
    const key = Math.floor(vpn / BLOCK_PAGES)
    let block = this.blocks.get(key)
    if (block === undefined) {
      block = new Block()
      this.blocks.set(key, block)
    }
    const i = vpn % BLOCK_PAGES
    if (block.frames[i] === 0) {
      block.nentries++
      this.size++
    }
    block.frames[i] = pfn + 1
    block.tags[i] = tag
  }

  /** Takes the entry of a page out, if there is one. */
  erase(vpn: number): void {
    this.eraseRange(vpn, vpn)
  }

  /** Erases the pages `first` to `last`, both included. The whole address space costs no more than what is in the table. */
  eraseRange(first: number, last: number): void {
    for (const key of this.keysOf(first, last)) this.eraseInBlock(key, first, last)
  }

  /** Some page of `first` to `last`, both included, has this tag. */
  hasTag(first: number, last: number, tag: number): boolean {
    return this.keysOf(first, last).some((key) => {
      const block = this.blocks.get(key)
      if (block === undefined) return false
      const [from, to] = partOfBlock(key, first, last)
      for (let i = from; i <= to; i++) if (block.frames[i] !== 0 && block.tags[i] === tag) return true
      return false
    })
  }

  /** Takes all entries out. */
  clear(): void {
    this.blocks.clear()
    this.size = 0
  }

  /** Calls `visit` for each entry; in ascending order within 512 pages, the blocks in the order in which they were made. */
  forEach(visit: (vpn: number, pfn: Pfn, tag: number) => void): void {
    for (const [key, block] of this.blocks) {
      for (let i = 0; i < BLOCK_PAGES; i++) {
        if (block.frames[i] !== 0) visit(key * BLOCK_PAGES + i, block.frames[i] - 1, block.tags[i])
      }
    }
  }

  /** Keys of the blocks that may hold pages of `first` to `last`. */
  private keysOf(first: number, last: number): number[] {
    if (this.size === 0 || first > last) return []
    const firstKey = Math.floor(first / BLOCK_PAGES)
    const lastKey = Math.floor(last / BLOCK_PAGES)
    if (lastKey - firstKey >= this.blocks.size) {
      return [...this.blocks.keys()].filter((key) => key >= firstKey && key <= lastKey)
    }
    return Array.from({ length: lastKey - firstKey + 1 }, (_, i) => firstKey + i)
  }

  private eraseInBlock(key: number, first: number, last: number): void {
    const block = this.blocks.get(key)
    if (block === undefined) return
    const [from, to] = partOfBlock(key, first, last)
    for (let i = from; i <= to; i++) {
      if (block.frames[i] === 0) continue
      block.frames[i] = 0
      block.nentries--
      this.size--
    }
    if (block.nentries === 0) this.blocks.delete(key)
  }
}

/** First and last index in the block `key` of the pages `first` to `last`. */
function partOfBlock(key: number, first: number, last: number): [number, number] {
  const base = key * BLOCK_PAGES
  return [Math.max(first - base, 0), Math.min(last - base, BLOCK_PAGES - 1)]
}
