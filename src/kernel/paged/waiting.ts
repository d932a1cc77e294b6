// Transactions that wait for more pages than fit. They are put in the order of the pages that stopped them and cut into parts, each of which
// waits for as many as fit: a page that many wait for comes once for all of them, however they lie in the launch.
//
//   waits for page   7  2  9  7  4  2  9        2  2  4 │ 7  7  9  9        room for two pages at a time
//   transaction      0  1  2  3  4  5  6   ─>   1  5  4 │ 0  3  2  6
//
// Who goes along a row that lies in several pages waits for all of them. Those whose pages are all there come first; those that wait for something else, for room or for their turn,
// come last.

import {
  EVENT_FULL,
  EVENT_MISS,
  EVENT_PAGE_MASK,
  EVENT_WRITE,
  FULL_JOURNAL,
  FULL_LOG,
  FULL_READY,
} from './paged-program.ts'

/**
 * Words of an entry of the queue: the transaction, its place in journal or states, the event that stopped it (0: unknown), and if that is a
 * page of a row (rows.ts), how many pages the row has before it (in the high half) and behind it.
 */
export const ENTRY_WORDS = 4
const EVENT = 2
const ROW = 3

/** Pages of a row that are looked up, and waited for, at once, at most. */
export const ROW_PAGES_MAX = 64

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

/** What is before and behind all pages when transactions are put in order. */
const READY = -1
const NO_PAGE = EVENT_PAGE_MASK + 1

/** The page that stopped a transaction; READY if nothing is missing, NO_PAGE or more if it was something else. */
function pageOf(event: number): number {
  if ((event & EVENT_MISS) !== 0) return event & EVENT_PAGE_MASK
  if ((event & EVENT_FULL) === 0) return NO_PAGE + 1
  return (event & FULL_READY) !== 0 ? READY : NO_PAGE
}

/** The pages that the entry at a word waits for, no more of them than `pagesMax`: the first one, and the one behind the last. */
function rowOf(entries: Uint32Array, at: number, pagesMax: number): { page: number; end: number } {
  const missing = pageOf(entries[at + EVENT])
  if (missing < 0 || missing >= NO_PAGE) return { page: missing, end: missing }
  const before = Math.min(entries[at + ROW] >>> 16, pagesMax - 1)
  const page = missing - before
  return { page, end: Math.min(page + pagesMax, missing + (entries[at + ROW] & 0xffff) + 1) }
}

/** Describes transactions, whatever their order is. `pagesMax`: of a row. */
export function partOf(entries: Uint32Array<ArrayBuffer>, pagesMax: number): Part {
  const read = new Set<number>()
  const write = new Set<number>()
  let full = 0
  for (let at = 0; at < entries.length; at += ENTRY_WORDS) {
    const event = entries[at + EVENT]
    const { page: first, end } = rowOf(entries, at, pagesMax)
    if (first === NO_PAGE) full |= event & (FULL_LOG | FULL_JOURNAL)
    const pages = (event & EVENT_WRITE) !== 0 ? write : read
    for (let page = first; page < end; page++) pages.add(page)
  }
  for (const page of write) read.delete(page)
  return { entries, read: ascending(read), write: ascending(write), full }
}

/**
 * Cuts transactions into parts, each of which waits for at most as many pages as `pagesMax` says when it is asked for. There are at least two
 * parts if there are two transactions, so that whoever does not get on with all of them has less to do: where one part would do, its halves.
 */
export function* partsOf(entries: Uint32Array<ArrayBuffer>, pagesMax: () => number): Generator<Part> {
  const most = pagesMax()
  const sorted = inOrderOfPages(entries, most)
  const count = sorted.length / ENTRY_WORDS
  const groups = groupsOf(sorted, most)
  const part = (from: number, end: number): Part => partOf(sorted.slice(ENTRY_WORDS * from, ENTRY_WORDS * end), most)
  for (let k = 0; k < groups.length; ) {
    const next = endOfPart(groups, k, pagesMax())
    const [from, end] = [groups[k].from, groups[next]?.from ?? count]
    if (end - from < count || count === 1) yield part(from, end)
    else yield* [part(0, Math.ceil(count / 2)), part(Math.ceil(count / 2), count)]
    k = next
  }
}

/** Transactions that were stopped by the same page. */
interface Group {
  /** The number of the first. */
  readonly from: number
  readonly page: number
  /** The page behind all that they wait for. */
  end: number
}

/** The group behind the part that begins with a group. What waits for no page is a part of its own. */
function endOfPart(groups: readonly Group[], first: number, pagesMax: number): number {
  let npages = 0
  let last = groups[first].page
  for (let k = first; k < groups.length; k++) {
    const { page, end } = groups[k]
    npages += Math.max(0, end - Math.max(page, last))
    const isOther = groups[first].page === READY || page >= NO_PAGE
    if (k > first && (npages > pagesMax || isOther)) return k
    last = Math.max(last, end)
  }
  return groups.length
}

function groupsOf(sorted: Uint32Array, pagesMax: number): Group[] {
  const groups: Group[] = []
  for (let at = 0; at < sorted.length; at += ENTRY_WORDS) {
    const { page, end } = rowOf(sorted, at, pagesMax)
    const last = groups.at(-1)
    if (last?.page === page) last.end = Math.max(last.end, end)
    else groups.push({ from: at / ENTRY_WORDS, page, end })
  }
  return groups
}

function inOrderOfPages(entries: Uint32Array, pagesMax: number): Uint32Array<ArrayBuffer> {
  const count = entries.length / ENTRY_WORDS
  // Sorted as numbers, which are below 2^52.
  const keys = new Float64Array(count)
  for (let i = 0; i < count; i++) keys[i] = (1 + rowOf(entries, ENTRY_WORDS * i, pagesMax).page) * 2 ** 23 + i
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
