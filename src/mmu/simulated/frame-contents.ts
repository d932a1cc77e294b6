/**
 * The bytes of the simulated machine's frames, made when somebody first looks at them.
 *
 * A frame that was only cleared is remembered as zero and holds no bytes; one that was only allocated holds whatever it
 * holds, which here is POISON, so that a missing clear shows. Bytes are made in blocks of 16 frames, because many small
 * buffers cost the engine more than their contents, and a block goes when none of its frames has bytes any more.
 *
 *              clear              bytes
 *   undefined ───────> zero ──────────────> has bytes       Freeing a frame makes it undefined again.
 *       └────────────────bytes (POISON)─────────^           Clearing one that has bytes fills them with zero.
 *
 * Once made, the view of a frame stays the same until the frame is freed, so a CPU or a driver may keep it that long.
 */

import { PAGE_SIZE, type Pfn } from '../../base/addr.ts'

/** Byte that frames are filled with whose contents nobody has defined, as the kernel's page poisoning does. */
export const POISON = 0xaa

const BLOCK_SHIFT = 4
const BLOCK_FRAMES = 1 << BLOCK_SHIFT
const BLOCK_BYTES = BLOCK_FRAMES * PAGE_SIZE

class Block {
  readonly buffer = new ArrayBuffer(BLOCK_BYTES)
  /** View of each frame that has bytes. */
  readonly views: (Uint8Array | null)[] = new Array(BLOCK_FRAMES).fill(null)
  nviews = 0
  /** One bit per frame: set once it had bytes. The others are still zero, as the buffer came. */
  touched = 0
}

export class FrameContents {
  /** By block number. Grows to the highest block that ever had bytes. */
  readonly #blocks: (Block | null)[] = []
  /** One bit per frame: set if the frame is zero and has no bytes. */
  #zero: Uint32Array
  #nbytes = 0

  constructor(nframes: number) {
    this.#zero = new Uint32Array(Math.ceil(nframes / 32))
  }

  /** Memory of the host that the contents take up. */
  get nbytes(): number {
    return this.#nbytes
  }

  /** Makes room for frames up to `nframes`. */
  grow(nframes: number): void {
    const nwords = Math.ceil(nframes / 32)
    if (nwords <= this.#zero.length) return
    const zero = new Uint32Array(nwords)
    zero.set(this.#zero)
    this.#zero = zero
  }

  /** The view of a frame that has bytes, null of any other. */
  find(pfn: Pfn): Uint8Array | null {
    const at = pfn >>> BLOCK_SHIFT
    if (at >= this.#blocks.length) return null
    const block = this.#blocks[at]
    return block === null ? null : block.views[pfn & (BLOCK_FRAMES - 1)]
  }

  /** The bytes of a frame, made if it has none. */
  bytes(pfn: Pfn): Uint8Array {
    const found = this.find(pfn)
    if (found !== null) return found
    return this.#make(pfn, this.#isZero(pfn) ? 0 : POISON)
  }

  clear(pfn: Pfn): void {
    const view = this.find(pfn)
    if (view !== null) view.fill(0)
    else this.#zero[pfn >>> 5] |= 1 << (pfn & 31)
  }

  copy(dst: Pfn, src: Pfn): void {
    const from = this.find(src)
    if (from !== null) {
      const to = this.find(dst) ?? this.#make(dst, null)
      to.set(from)
    } else if (this.#isZero(src)) {
      this.clear(dst)
    } else {
      const to = this.find(dst)
      if (to !== null) to.fill(POISON)
      else this.#setUndefined(dst)
    }
  }

  /** The frame is free: what it held is gone. */
  drop(pfn: Pfn): void {
    this.#setUndefined(pfn)
    const at = pfn >>> BLOCK_SHIFT
    if (at >= this.#blocks.length) return
    const block = this.#blocks[at]
    const i = pfn & (BLOCK_FRAMES - 1)
    if (block === null || block.views[i] === null) return
    block.views[i] = null
    block.nviews--
    if (block.nviews > 0) return
    this.#blocks[at] = null
    this.#nbytes -= BLOCK_BYTES
  }

  #isZero(pfn: Pfn): boolean {
    return (this.#zero[pfn >>> 5] & (1 << (pfn & 31))) !== 0
  }

  #setUndefined(pfn: Pfn): void {
    this.#zero[pfn >>> 5] &= ~(1 << (pfn & 31))
  }

  /** Gives a frame bytes, all of them `value`; null for anything. */
  #make(pfn: Pfn, value: number | null): Uint8Array {
    const at = pfn >>> BLOCK_SHIFT
    while (this.#blocks.length <= at) this.#blocks.push(null)
    let block = this.#blocks[at]
    if (block === null) {
      block = new Block()
      this.#blocks[at] = block
      this.#nbytes += BLOCK_BYTES
    }
    const i = pfn & (BLOCK_FRAMES - 1)
    const view = new Uint8Array(block.buffer, i * PAGE_SIZE, PAGE_SIZE)
    const isFresh = (block.touched & (1 << i)) === 0
    if (value !== null && !(isFresh && value === 0)) view.fill(value)
    block.views[i] = view
    block.nviews++
    block.touched |= 1 << i
    this.#setUndefined(pfn)
    return view
  }
}
