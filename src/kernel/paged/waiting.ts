// Transactions that wait for more pages than fit. They are put in the order of the pages that stopped them and cut into parts, each of which
// waits for as many as fit: a page that many wait for comes once for all of them, however they lie in the launch.
//
//   waits for page   7  2  9  7  4  2  9        2  2  4 │ 7  7  9  9        room for two pages at a time
//   transaction      0  1  2  3  4  5  6   ─>   1  5  4 │ 0  3  2  6
//
// Those that wait for something else, for room or for their turn, come last.

import { EVENT_FULL, EVENT_MISS, EVENT_PAGE_MASK, EVENT_WRITE, FULL_JOURNAL, FULL_LOG } from './paged-program.ts'

/** Words of an entry of the queue: the transaction, its place in journal or states, and the event that stopped it (0: unknown). */
export const ENTRY_WORDS = 3

/** Transactions that are run together, and what they wait for. */
export interface Part {
  /** As in the queue. */
  readonly entries: Uint32Array<ArrayBuffer>
  /** Pages, each once, ascending. */
  readonly read: readonly number[]
  readonly write: readonly number[]
  /** FULL_LOG, FULL_JOURNAL. */
  readonly full: number
}

/** What is behind all pages when transactions are put in order. */
const NO_PAGE = EVENT_PAGE_MASK + 1

/** The page that stopped a transaction, NO_PAGE or more if it was something else. */
function pageOf(event: number): number {
  if ((event & EVENT_MISS) !== 0) return event & EVENT_PAGE_MASK
  return (event & EVENT_FULL) !== 0 ? NO_PAGE : NO_PAGE + 1
}

/** Describes transactions, whatever their order is. */
export function partOf(entries: Uint32Array<ArrayBuffer>): Part {
  const read = new Set<number>()
  const write = new Set<number>()
  let full = 0
  for (let i = ENTRY_WORDS - 1; i < entries.length; i += ENTRY_WORDS) {
    const event = entries[i]
    const page = pageOf(event)
    if (page === NO_PAGE) full |= event & (FULL_LOG | FULL_JOURNAL)
    else if (page < NO_PAGE) ((event & EVENT_WRITE) !== 0 ? write : read).add(page)
  }
  for (const page of write) read.delete(page)
  return { entries, read: ascending(read), write: ascending(write), full }
}

/**
 * Cuts transactions into parts that wait for at most `pagesMax` pages each. There are at least two parts if there are two transactions, so
 * that whoever does not get on with all of them has less to do: where one part would do, its halves.
 */
export function partsOf(entries: Uint32Array<ArrayBuffer>, pagesMax: number): Part[] {
  const sorted = inOrderOfPages(entries)
  const count = sorted.length / ENTRY_WORDS
  const ends: number[] = []
  let npages = 0
  let last = -1
  for (let i = 0; i < count; i++) {
    const page = pageOf(sorted[ENTRY_WORDS * i + ENTRY_WORDS - 1])
    if (page === last) continue
    // What waits for no page is a part of its own.
    if (i > 0 && (npages === pagesMax || page >= NO_PAGE)) {
      ends.push(i)
      npages = 0
    }
    last = page
    npages++
  }
  if (ends.length === 0 && count > 1) ends.push(Math.ceil(count / 2))
  return [...ends, count].map((end, k) => {
    const first = k === 0 ? 0 : ends[k - 1]
    return partOf(sorted.slice(ENTRY_WORDS * first, ENTRY_WORDS * end))
  })
}

function inOrderOfPages(entries: Uint32Array): Uint32Array<ArrayBuffer> {
  const count = entries.length / ENTRY_WORDS
  // Sorted as numbers, which are below 2^52.
  const keys = new Float64Array(count)
  for (let i = 0; i < count; i++) keys[i] = pageOf(entries[ENTRY_WORDS * i + ENTRY_WORDS - 1]) * 2 ** 23 + i
  keys.sort()
  const sorted = new Uint32Array(entries.length)
  for (let i = 0; i < count; i++) {
    const from = ENTRY_WORDS * (keys[i] % 2 ** 23)
    for (let word = 0; word < ENTRY_WORDS; word++) sorted[ENTRY_WORDS * i + word] = entries[from + word]
  }
  return sorted
}

function ascending(pages: ReadonlySet<number>): number[] {
  return [...pages].sort((a, b) => a - b)
}
