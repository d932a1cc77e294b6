// What the code that all paged kernels share depends on, and how it writes numbers.

export interface RuntimeOptions {
  readonly argCount: number
  /** Atomics of the heap: then all of the pool is atomic, and plain accesses are atomic ones. */
  readonly isPoolAtomic: boolean
  /** Arguments are bound directly. */
  readonly hasBound: boolean
  readonly logEntryWords: 0 | 2 | 3
  /** There are several transactions in a dispatch of which each begins with an empty log; otherwise the host clears it. */
  readonly clearsChains: boolean
  readonly hasJournal: boolean
  readonly hasPointers: boolean
  /** See Foresight. */
  readonly vague: number
  /** The entry point and what it needs; see entryWgsl. */
  readonly usesScratch: boolean
}

/** A number as code. */
export const u = (value: number): string => `${value >>> 0}u`
