// Where arrays get their room from besides addresses, in modes that bound it.

/** Addresses are those of the heap; arrays begin with a page. */
export interface Room {
  /** Throws a HeapError OUT_OF_SPACE; `what` says for what, in the message. */
  take(addr: number, npages: number, what: string): void
  /** The program has freed an array: others may have as much. */
  free(npages: number): void
  /** The engine has given its pages up too. */
  unmapped(addr: number, npages: number): void
}
