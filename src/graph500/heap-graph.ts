// A graph in the arrays of a heap, and searches of it on the heap's device. The program writes and reads these arrays as any others;
// which parts of them are on the device at what time is not its concern.

import { pageAlignUp } from '../base/addr.ts'
import type { Heap } from '../index.ts'
import type { Csr } from './csr.ts'
import { NONE } from './edge-list.ts'
import { countBlocks, type LevelPlan, type LevelReport, planLevel } from './level-plan.ts'
import type { SearchTree } from './plain-search.ts'
import { PROGRESS_BLOCKS } from './search.wgsl.ts'
import { SEARCH_KERNELS } from './search-kernels.ts'
import { BLOCK, countStrips, cutIntoStrips, STRIP } from './strips.ts'

export interface HeapSearch {
  /** In the arrays of the graph: good until the next search. */
  readonly tree: SearchTree
  /** From the first launch until everything was in the CPU's memory. */
  readonly seconds: number
}

/** Bytes that the arrays of a graph take, in whole pages. */
export interface HeapGraphBytes {
  readonly all: number
  /** Of those arrays that a launch needs whole: what is said of vertices. */
  readonly whole: number
}

export function heapGraphBytes(csr: Csr): HeapGraphBytes {
  const nstrips = countStrips(csr)
  const pages = (nwords: number) => pageAlignUp(4 * nwords)
  const whole = pages(csr.nvertices + 1) + 2 * pages(csr.nvertices) + pages(PROGRESS_BLOCKS + countBlocks(nstrips))
  return { whole, all: whole + pages(nstrips) + pages(STRIP * nstrips) }
}

export class HeapGraph {
  readonly nvertices: number
  readonly nstrips: number
  readonly #heap: Heap
  readonly #owners: Uint32Array
  readonly #columns: Uint32Array
  readonly #firsts: Uint32Array
  readonly #parents: Uint32Array
  readonly #levels: Uint32Array
  readonly #progress: Uint32Array

  /** Makes the arrays, and fills them. Throws a HeapError if there is no room. */
  constructor(heap: Heap, csr: Csr) {
    this.#heap = heap
    this.nvertices = csr.nvertices
    this.nstrips = countStrips(csr)
    this.#columns = heap.alloc(Uint32Array, STRIP * this.nstrips, { name: 'columns' })
    this.#owners = heap.alloc(Uint32Array, this.nstrips, { name: 'owners' })
    this.#firsts = heap.alloc(Uint32Array, csr.nvertices + 1, { name: 'firsts' })
    this.#parents = heap.alloc(Uint32Array, csr.nvertices, { name: 'parents' })
    this.#levels = heap.alloc(Uint32Array, csr.nvertices, { name: 'levels' })
    this.#progress = heap.alloc(Uint32Array, PROGRESS_BLOCKS + countBlocks(this.nstrips), { name: 'progress' })
    cutIntoStrips(csr, { owners: this.#owners, columns: this.#columns, firsts: this.#firsts })
  }

  /** Searches from a vertex. `onLevel` is called after each level. */
  async search(root: number, onLevel: (level: LevelReport) => void = () => {}): Promise<HeapSearch> {
    await this.#reset(root)
    const begunAt = performance.now()
    let plan = this.#plan(1)
    for (let depth = 0; plan.runs.length > 0; depth++) {
      this.#progress.fill(0)
      await this.#launch(plan, depth)
      await this.#heap.sync(this.#progress)
      const nfound = this.#progress[0]
      onLevel({ depth, direction: plan.direction, nfound })
      plan = this.#plan(nfound)
    }
    await this.#heap.sync(this.#parents, this.#levels, 'read')
    const seconds = (performance.now() - begunAt) / 1000
    return { tree: { root, parents: this.#parents, levels: this.#levels }, seconds }
  }

  /** Nothing is reached but the root, which is found on level 0. */
  async #reset(root: number): Promise<void> {
    await this.#heap.sync(this.#parents, this.#levels, this.#progress)
    this.#parents.fill(NONE)
    this.#levels.fill(NONE)
    this.#parents[root] = root
    this.#levels[root] = 0
    this.#progress.fill(0)
    const [first, end] = [this.#firsts[root], this.#firsts[root + 1]]
    for (let block = Math.floor(first / BLOCK); block * BLOCK < end; block++)
      this.#progress[PROGRESS_BLOCKS + block] = 1
  }

  /** The next level, from what the last one left in `progress`. */
  #plan(nreached: number): LevelPlan {
    return planLevel(nreached, this.nvertices, this.#progress.subarray(PROGRESS_BLOCKS), this.nstrips)
  }

  async #launch({ direction, runs }: LevelPlan, depth: number): Promise<void> {
    const kernel = SEARCH_KERNELS[direction]
    await this.#heap.batch((batch) => {
      for (const { first, count } of runs) {
        const owners = this.#owners.subarray(first, first + count)
        const columns = this.#columns.subarray(STRIP * first, STRIP * (first + count))
        const [firsts, parents, levels, progress] = [this.#firsts, this.#parents, this.#levels, this.#progress]
        batch.run(kernel, { owners, columns, firsts, parents, levels, progress, depth }, count)
      }
    })
  }
}
