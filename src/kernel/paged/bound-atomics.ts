// Arguments of atomics that are bound directly: counters, histograms, the heads of queues. For the time of a launch they lie in a buffer
// of their own, so that the pool beside it is plain memory and their accesses look no page up. What they were is copied there from their
// pages before the first round, and copied back before pages move and at the end. Their pages stay on the device for all of the launch.
//
//   pool   ... | page of c | ...          c[k] of the kernel is word boundWord(c) + k of the buffer
//                  │     ▲
//             load ▼     │ save
//   buffer      0 ... | c | ...           word 0 is what an index past the end is sent to; nothing happens there
//
// The buffer cannot be a part of the pool: one that is bound twice must not be written through overlapping bindings.

import type { PageAnswer, PageProvider, PageRequest } from './page-provider.ts'
import type { PagedBuffers } from './paged-buffers.ts'
import { boundLayout, type PagedLaunch, wordsOf } from './paged-launch.ts'
import type { PagedProgram } from './paged-program.ts'

/** Pages of bound arguments, at most. They are copied as a whole, so what is larger had better be brought as it is missed. */
const PAGES_MAX = 256

/**
 * The form in which a launch runs: with its atomics bound directly if they take no more than a quarter of the device, and if no pointer
 * may lead there; otherwise the one that has them in the pool.
 */
export function formFor(
  program: PagedProgram,
  launch: PagedLaunch,
  { pageBits, capacity }: Pick<PageProvider, 'pageBits' | 'capacity'>,
): PagedProgram {
  const { bound } = program
  if (bound === null) return program
  let pages = 0
  for (const arg of bound.boundArgs) {
    const start = launch.args[arg].word
    const end = start + wordsOf(program, launch, arg)
    pages += Math.ceil(end / 2 ** pageBits) - Math.floor(start / 2 ** pageBits)
    if ((launch.reach ?? []).some((range) => range.start < end && start < range.end)) return program
  }
  return pages <= Math.min(PAGES_MAX, capacity / 4) ? bound : program
}

/** As much of a bound argument as lies in one page. */
interface Piece {
  readonly page: number
  /** Words from the beginning of the page. */
  readonly offset: number
  readonly words: number
  /** Word of the buffer. */
  readonly at: number
}

/** The pages of a launch as its provider has them, with those of the bound arguments kept for all of the launch. */
export class BoundAtomics implements PageProvider {
  private readonly device: GPUDevice
  private readonly provider: PageProvider
  private readonly buffers: PagedBuffers
  private readonly pieces: readonly Piece[]
  private readonly pages: ReadonlySet<number>
  private readonly end: number
  /** The pages are where they were when they were last serviced. */
  private isThere = false

  constructor(
    parts: { device: GPUDevice; provider: PageProvider; buffers: PagedBuffers },
    program: PagedProgram,
    launch: PagedLaunch,
  ) {
    this.device = parts.device
    this.provider = parts.provider
    this.buffers = parts.buffers
    const { starts, end } = boundLayout(program, launch)
    this.end = end
    this.pieces = [...starts].flatMap(([arg, start]) => {
      return piecesOf(launch.args[arg].word, wordsOf(program, launch, arg), start, 2 ** this.pageBits)
    })
    this.pages = new Set(this.pieces.map(({ page }) => page))
  }

  /** Brings the arguments and copies them to the buffer. Rejects as PageProvider.service. */
  async load(): Promise<void> {
    this.buffers.reserveAtomics(this.end)
    // They are written in the end, so they come for writing at once.
    await this.service({ read: [], write: [...this.pages], pinned: this.pages })
    const { atomics } = this.buffers
    this.copy((encoder, { at, words }, pool, offset) => {
      encoder.copyBufferToBuffer(pool, offset, atomics, 4 * at, 4 * words)
    })
  }

  /** Copies what they are now to their pages; not after a failure of the provider, before which that was done. */
  save(): void {
    if (!this.isThere) return
    const { atomics } = this.buffers
    this.copy((encoder, { at, words }, pool, offset) => {
      encoder.copyBufferToBuffer(atomics, 4 * at, pool, offset, 4 * words)
    })
    this.noteDirty([...this.pages].map((page) => this.frameOf(page)))
  }

  private copy(encode: (encoder: GPUCommandEncoder, piece: Piece, pool: GPUBuffer, offset: number) => void): void {
    const pools = [this.pool, ...this.morePools]
    const pageBytes = 4 * 2 ** this.pageBits
    const bankFrames = this.pool.size / pageBytes
    const encoder = this.device.createCommandEncoder()
    for (const piece of this.pieces) {
      const frame = this.frameOf(piece.page)
      const bank = Math.floor(frame / bankFrames)
      encode(encoder, piece, pools[bank], (frame - bank * bankFrames) * pageBytes + 4 * piece.offset)
    }
    this.device.queue.submit([encoder.finish()])
  }

  // ---- the provider, with less room ----

  get capacity(): number {
    return this.provider.capacity - this.pages.size
  }

  /** What has committed is saved first: pages may move now, and whoever fails here has lost nothing. */
  async service({ read, write, pinned }: PageRequest): Promise<PageAnswer> {
    this.save()
    this.isThere = false
    const answer = await this.provider.service({ read, write, pinned: new Set([...pinned, ...this.pages]) })
    this.isThere = true
    return answer
  }

  get pageBits(): number {
    return this.provider.pageBits
  }

  get frameCount(): number {
    return this.provider.frameCount
  }

  get pageCount(): number {
    return this.provider.pageCount
  }

  get isWarm(): boolean {
    return this.provider.isWarm
  }

  get pool(): GPUBuffer {
    return this.provider.pool
  }

  get morePools(): readonly GPUBuffer[] {
    return this.provider.morePools ?? []
  }

  get table(): GPUBuffer {
    return this.provider.table
  }

  frameOf(page: number): number {
    return this.provider.frameOf(page)
  }

  finish(round: Promise<void>): Promise<void> {
    return this.provider.finish?.(round) ?? round
  }

  noteDirty(frames: readonly number[]): void {
    this.provider.noteDirty(frames)
  }
}

function piecesOf(word: number, words: number, start: number, pageWords: number): Piece[] {
  const pieces: Piece[] = []
  for (let done = 0; done < words; ) {
    const offset = (word + done) % pageWords
    const here = Math.min(words - done, pageWords - offset)
    pieces.push({ page: Math.floor((word + done) / pageWords), offset, words: here, at: start + done })
    done += here
  }
  return pieces
}
