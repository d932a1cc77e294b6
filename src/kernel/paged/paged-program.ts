// What a device is given to run a kernel through a page table: plain data. Start here for the layout of everything that the
// generated code and the host exchange; paged-dispatch.ts is the host's side of it, runtime.wgsl.ts the device's.
//
// Addresses are words of 4 bytes from the beginning of the heap; a page has 2^pageBits of them. An entry of the page table is 0 where the
// page is absent, and otherwise
//
//   31 .................. pageBits  ...............  0
//   first word behind the frame in the pool          READ_ONLY
//
// The place of a word in the pool is the entry and the distance of the word from the end of its page, which is negative. So in a pool
// of 8 GiB a place is below 2^31, and that of a word of an absent page is not, which takes no comparison to find out; the optimistic form is for
// such pools. A load from there reads something, without a branch, and the miss is remembered; whatever is computed from then on counts for nothing.

import type { Position } from '../../wgsl/index.ts'

/** The page may not be written yet. */
export const ENTRY_READ_ONLY = 1

/** Words of a pool for the optimistic form, at most: half of the numbers that there are is for what is absent. */
export const OPTIMISTIC_WORDS_MAX = 2 ** 31
/** Words of a pool from which on entries have no room for the end of a frame. */
export const POOL_WORDS_END = 2 ** 32

/** The entry of a page that is in a frame. */
export function tableEntry(frame: number, pageBits: number, isWritable: boolean): number {
  return (frame + 1) * 2 ** pageBits + (isWritable ? 0 : ENTRY_READ_ONLY)
}

/** The bit that says in the optimistic form that something has stopped an invocation. */
export const STOPPED = 0x80000000

/** The word in which an invocation remembers what stopped it first: one of these, with a page or a site below. */
export const EVENT_MISS = 0x40000000
/** With EVENT_MISS: the page was to be written. */
export const EVENT_WRITE = 0x80000000
/** An access that is not allowed: the number of its site is below. */
export const EVENT_BAD = 0x20000000
/** The log of stores or the journal is full. */
export const EVENT_FULL = 0x10000000
export const FULL_LOG = 1
export const FULL_JOURNAL = 2
/** Nothing is full: the row that it is about to go along is there, as the form that scouts has found out. */
export const FULL_READY = 8
/** Nothing is full: the steps of one dispatch are used up. */
export const FULL_STEPS = 4
export const EVENT_PAGE_MASK = 0x0fffffff
/** Among the bits of places at which something was missed (foresight.ts), the one on which everything depends: an index was wrong. */
export const ASTRAY = 2 ** 30

/**
 * Words of the fault buffer before its two lists of pages, those that stopped somebody and those that somebody will miss next; behind the
 * lists are four bits per page, read and write for each of the two.
 */
export const FAULT_WORDS = 13
/** What those words are, by index. */
export const FAULT_COUNT = 0
export const FAULT_REPLAY = 1
export const FAULT_STOP = 2
export const FAULT_BAD = 3
export const FAULT_FULL = 4
/** Whether a step has committed. */
export const FAULT_PROGRESS = 8
/** The first access that was not allowed: site, invocation, and the index or address that it had. */
export const FAULT_BAD_SITE = 5
export const FAULT_BAD_ID = 6
export const FAULT_BAD_VALUE = 7
/** Its high half, of a pointer of 64 bits. */
export const FAULT_BAD_HIGH = 9
/** Some transaction was stopped after it had begun to store; in the optimistic form, MARK_TORN. */
export const FAULT_TORN = 12
/** The same words in the optimistic form: that one, and the first of those that have a bit for each transaction. */
export const MARK_TORN = 0
export const MARK_FIRST = 1
/** Entries of the second list. */
export const FAULT_AHEAD = 10
/** Stores of the transaction that has most of them, where a log was too short. */
export const FAULT_WANTED = 11

/** Words of the launch block before its arguments. */
export const LAUNCH_WORDS = 20
/** What those words are, by index. */
export const LAUNCH = {
  mode: 0,
  base: 1,
  count: 2,
  capacity: 3,
  queueIn: 4,
  queueOut: 5,
  logEntries: 6,
  journalWords: 7,
  slots: 8,
  logBase: 9,
  reachCount: 10,
  stepsMax: 11,
  extent: 12,
  frames: 15,
  groups: 16,
  chainMask: 19,
} as const
export const MODE_FRESH = 0
export const MODE_REPLAY = 1

/** The bit of what is no argument, or has no bit of its own. */
export const UNKNOWN_ARGUMENT = 2 ** 31

/** The bit of an argument in a word, by its index. */
export const argumentBit = (arg: number): number => (arg >= 0 && arg < 31 ? 2 ** arg : UNKNOWN_ARGUMENT)

/** Ranges that pointers may touch, at most. */
export const REACH_MAX = 8

/** Bindings of group 0. */
export const PAGED_BINDINGS = {
  pool: 0,
  table: 1,
  faults: 2,
  queue: 3,
  dirty: 4,
  scratch: 5,
  launch: 6,
  uniforms: 7,
  /** Of arguments that are bound directly. */
  atomics: 99,
  /** And the number of the buffer: those of a pool in several buffers, from the second one on. */
  banks: 100,
} as const

/** Entries of the log of stores for each chain that they are in; there is one chain at least. */
export const CHAIN_ENTRIES = 8

/** Chains of a log with so many entries. */
export const chainsOf = (entries: number): number => Math.max(1, entries / CHAIN_ENTRIES)

/** Words of a log with so many entries, which are a power of two: the stores, for each the one before it in its chain, the ends of the chains. */
export function logWords({ logEntryWords }: Pick<PagedProgram, 'logEntryWords'>, entries: number): number {
  return logEntryWords === 0 ? 0 : entries * (logEntryWords + 1) + chainsOf(entries)
}

/** Where the ends of the chains are behind a log, and how many words, for so many invocations. */
export function chainWords(
  program: PagedProgram,
  block: Uint32Array,
  invocations: number,
): [at: number, words: number] {
  const entries = block[LAUNCH.logEntries]
  const stores = entries * (program.logEntryWords + 1)
  return [block[LAUNCH.logBase] + stores * invocations, (logWords(program, entries) - stores) * invocations]
}

/** Invocations of a workgroup of a kernel whose transactions are invocations. */
export const INVOCATION_WORKGROUP = 64

export const SITE_KINDS = ['load', 'store', 'atomic', 'address', 'span'] as const

/** A place in the code that accesses the heap. */
export interface PagedSite extends Position {
  readonly kind: (typeof SITE_KINDS)[number]
  /** Name of the argument; null for what goes through a pointer. */
  readonly arg: string | null
  /** Words of which a pointer has to be a multiple; 1 for every other access. */
  readonly align: number
}

/** An array argument; its order is that of the launch block. */
export interface PagedArgument {
  readonly name: string
  readonly write: boolean
  /** Bytes from one element to the next. */
  readonly stride: number
  /** Bytes; the argument has to begin at a multiple of it. */
  readonly align: number
}

export interface PagedUniform {
  readonly name: string
  readonly binding: number
  /** Bytes. */
  readonly size: number
}

export interface PagedProgram {
  /** Name of the kernel. */
  readonly name: string
  /** A module with an entry point `hm_main`. */
  readonly wgsl: string
  /**
   * What commits its stores as a whole: an invocation, or a workgroup where its invocations talk to each other. A `step` is a part of
   * an invocation of a resumable kernel.
   */
  readonly scope: 'invocation' | 'workgroup' | 'step'
  /** Of the user's entry point. */
  readonly workgroupSize: readonly [number, number, number]
  readonly args: readonly PagedArgument[]
  readonly uniforms: readonly PagedUniform[]
  /** What it does through pointers, null if it follows none; it wants the ranges that they may touch. */
  readonly pointers: 'read' | 'write' | null
  /** Words of an entry of the log of stores, 0 if stores are held in registers. */
  readonly logEntryWords: 0 | 2 | 3
  /** Whether results of atomics are kept in a journal for replays. */
  readonly hasJournal: boolean
  /** For each of its loops that go along rows, bits of the arguments that it accesses besides. */
  readonly rows: readonly number[]
  /** Words of the state of an invocation that are kept between steps; 0 for other scopes. */
  readonly stateWords: number
  /** Arguments, by index, that lie in a buffer of their own for the launch (bound-atomics.ts) instead of the pool. */
  readonly boundArgs: readonly number[]
  /** The same kernel with all its atomics in such a buffer, for launches in which they are small. Null where that cannot be. */
  readonly bound: PagedProgram | null
  /** How its atomics, and stores that do not wait, happen, as a phrase; null if it has none. */
  readonly how: string | null
  /** What an EVENT_BAD names. */
  readonly sites: readonly PagedSite[]
  /** Values of overrides. */
  readonly constants: Readonly<Record<string, number>>
}

/** The override for devices whose shifts cost no more than other operations, and where floating-point numbers would not be exact. */
export const SHIFTS_OVERRIDE = 'hm_shifts'
/** The override that has the words of a page, as a power of two. */
export const PAGE_BITS_OVERRIDE = 'hm_page_bits'
/** The override that has the part of a page that a word is. */
export const PAGE_PART_OVERRIDE = 'hm_page_part'
/** The override of the form in which nothing is expected to be missing. */
export const OPTIMISTIC_OVERRIDE = 'hm_optimistic'
/** The override of the optimistic form for transactions that were stopped before, which are in the queue. */
export const REPLAY_OVERRIDE = 'hm_replays'
/** The override of the optimistic form that has the log in memory, for transactions that store more than the other one has room for. */
export const ROOMY_OVERRIDE = 'hm_roomy'
/** The override of the form that only finds out which pages of rows are missing; the bits of arguments that are all there are another. */
export const SCOUT_OVERRIDE = 'hm_scouts'
export const PRESENT_OVERRIDE = 'hm_present'
/** The override for launches of one dimension. */
export const LINEAR_OVERRIDE = 'hm_linear'
