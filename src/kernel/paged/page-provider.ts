// What paged execution needs of whoever has the pages: start here to run paged kernels over another kind of memory. The provider owns
// the pool and the page table; PagedDispatch (paged-dispatch.ts) tells it which pages are missed and which must stay.

/** Pages by number, each once. */
export interface PageRequest {
  /** Pages to be made present. */
  readonly read: readonly number[]
  /** Pages to be made present and writable. */
  readonly write: readonly number[]
  /** Pages that must not be taken away: those that the same invocations have missed before, and the ones asked for now. */
  readonly pinned: ReadonlySet<number>
}

export interface PageAnswer {
  /** Pages that are not present any more. */
  readonly evicted: readonly number[]
}

export interface PageProvider {
  /** A page has 2^pageBits words. */
  readonly pageBits: number
  /** Frames of the pool. */
  readonly frameCount: number
  /** Pages that can be pinned at once. */
  readonly capacity: number
  /** Pages of the address space; the table has as many entries. */
  readonly pageCount: number
  /** Many of a launch's pages are there already: it may find all it needs. */
  readonly isWarm: boolean
  readonly pool: GPUBuffer
  /** The others, where the pool is in several buffers: all but the last are as long as the first. */
  readonly morePools?: readonly GPUBuffer[]
  readonly table: GPUBuffer

  /**
   * Makes pages present, all of them: there are never more than `capacity` pinned. Commands that use them may be submitted when it
   * resolves. Rejects if a page cannot be had, which ends the launch.
   */
  service(request: PageRequest): Promise<PageAnswer>
  /** Settles like `round`, for which the kernel is on the device; whoever watches over the device may end it. Default: `round`. */
  finish?(round: Promise<void>): Promise<void>
  /** The frame of a page that is present: since it was serviced, nothing else has been. */
  frameOf(page: number): number
  /** What kernels have written since the last call, as frames: before anything is serviced. */
  noteDirty(frames: readonly number[]): void
  /** What kernels have looked up since the last call, as frames; some of them may have no page. */
  noteUsed?(frames: readonly number[]): void
}
