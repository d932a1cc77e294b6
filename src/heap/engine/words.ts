// What the heaps of several threads and their engine know of each other at any moment: words of shared memory, each with one meaning.
// Nobody waits for them with a lock; the engine only stores.

/** One of the states below. */
export const STATE = 0
/** Live mode: pages of nobody that programs have touched, and that are still mapped. */
export const STRAYS = 1
/** The last number that an array got, and the last one that a heap got besides the first. */
export const LAST_ARRAY = 2
export const LAST_CLIENT = 3
/** Pages of all arrays where memory is bounded; of all segments where these are made when they are needed. */
export const USED_PAGES = 4
/** Live mode: goes up as long as the engine's loop goes round. */
export const HEARTBEAT = 5
/** First page of the address space that has no segment, where these are made when they are needed. */
export const NEXT_PAGE = 6
/** How many arrays have been mapped by calls that are on their way, or have arrived. */
export const MAPS_SENT = 7
/** Live mode: 1 when the engine stands still for good, as the process ends. */
export const PARKED = 8
/** Live mode: threads that load their native library, during which nobody may end them: the process would abort. */
export const LOADING = 9
const COUNT = 10

export const ENGINE_LIVES = 0
export const ENGINE_CLOSED = 1
export const ENGINE_DIED = 2

/** The words of an engine that lives. They are in shared memory if other threads can join. */
export function makeWords(shared: true): Int32Array<SharedArrayBuffer>
export function makeWords(shared: boolean): Int32Array
export function makeWords(shared: boolean): Int32Array {
  const nbytes = COUNT * Int32Array.BYTES_PER_ELEMENT
  return new Int32Array(shared ? new SharedArrayBuffer(nbytes) : new ArrayBuffer(nbytes))
}
