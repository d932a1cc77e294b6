// One launch of a paged program on its way: slices, rounds, replays.
//
// Transactions that are stopped wait in a queue on the device for the pages that they miss. Where all of these fit, they come, and all that wait
// run again. Where they do not, the queue is read back, put in the order of pages and cut into parts (waiting.ts), which run one
// after the other: so a page comes once for all that wait for it, as if somebody had sorted them into buckets beforehand.
//
// Why it ends: pages that stopped transactions stay pinned until a transaction commits. So a round in which none commits adds
// at least one page to the pinned ones; when they do not fit any more, the transactions are cut into parts that have fewer of them. A
// single one either fits, or is an error.

import { faultAt, GpuFaultError, tornFault } from './gpu-fault-error.ts'
import { LaunchPages, pagesIn } from './launch-pages.ts'
import type { PageProvider, PageRequest } from './page-provider.ts'
import type { PagedBuffers, UniformBuffers } from './paged-buffers.ts'
import { invocationId, invocationsOf, launchBlock, type PagedLaunch, transactionCount } from './paged-launch.ts'
import type { PagedPipeline } from './paged-pipeline.ts'
import {
  chainsOf,
  EVENT_PAGE_MASK,
  FAULT_AHEAD,
  FAULT_BAD,
  FAULT_BAD_HIGH,
  FAULT_BAD_ID,
  FAULT_BAD_SITE,
  FAULT_BAD_VALUE,
  FAULT_COUNT,
  FAULT_FULL,
  FAULT_PROGRESS,
  FAULT_REPLAY,
  FAULT_TORN,
  FAULT_WANTED,
  FAULT_WORDS,
  FULL_JOURNAL,
  FULL_LOG,
  FULL_READY,
  FULL_STEPS,
  INVOCATION_WORKGROUP,
  LAUNCH,
  logWords,
  MODE_FRESH,
  MODE_REPLAY,
  OPTIMISTIC_WORDS_MAX,
  type PagedProgram,
} from './paged-program.ts'
import { optimisticRound, type RoundParts, thoroughRound } from './paged-round.ts'
import { SliceSize } from './slice-size.ts'
import { ENTRY_WORDS, partOf, partsOf } from './waiting.ts'

/** What a launch did. */
export interface PagedReceipt {
  readonly slices: number
  /** Dispatches. */
  readonly rounds: number
  /** Pages that were missed, each time it happened. */
  readonly faults: number
  /** Of these, pages that had been taken from the same transactions. */
  readonly refaults: number
  /** Transactions that were run again. */
  readonly replays: number
  /** Times that transactions were split because their pages did not fit together. */
  readonly splits: number
}

/** Transactions that are run together: fresh ones, or some that were stopped before, from the queue. */
interface Batch {
  readonly mode: typeof MODE_FRESH | typeof MODE_REPLAY
  readonly base: number
  readonly count: number
  /** Which half of the queue they are in. */
  readonly half: 0 | 1
  /** As they are in the queue, if that is known here. */
  readonly entries?: Uint32Array<ArrayBuffer>
}

interface Round {
  /** Transactions that were stopped. */
  readonly replay: number
  /** Pages that they miss. */
  readonly read: readonly number[]
  readonly write: readonly number[]
  /** Events of what they will miss next, as far as that is known. */
  readonly ahead: readonly number[]
  /** There are more than the list had room for. */
  readonly isCut: boolean
  /** FULL_LOG, FULL_JOURNAL. */
  readonly full: number
  /** Entries of a log that would have been long enough, 0 if that is not known. */
  readonly wanted: number
  /** Some transaction has committed. */
  readonly hasProgress: boolean
  /** The entries of those that were stopped, if they are known here. */
  readonly entries?: Uint32Array<ArrayBuffer>
}

/** What is brought at the beginning is at most such a part of the device. */
const SMALL_PART = 2
/** And so many pages. */
const SMALL_PAGES_MAX = 256

/** So many transactions, for which everything that is known was brought, are replayed in the form that costs less: fewer are not worth a round. */
const REPLAYS_MIN = 4

/** After a part that missed nothing besides what it waited for, the next one waits for so many times as much. */
const PARTS_GROW = 1.5

const LOG_ENTRIES_MIN = 8

/** Words of logs that cost next to nothing. */
const ROOMY_LOG_WORDS = 2 ** 18

/** Pages that the transactions of a part wait for: what comes next to them needs room too, as far as anybody knows. */
function partPagesOf({ capacity }: PageProvider): number {
  return Math.max(1, Math.floor(capacity / 2))
}

/** One launch on its way. */
export class PagedRun {
  private readonly device: GPUDevice
  private readonly provider: PageProvider
  private readonly buffers: PagedBuffers
  private readonly pipeline: PagedPipeline
  private readonly program: PagedProgram
  private readonly launch: PagedLaunch
  private readonly scratchWordsMax: number
  private readonly stepsMax: number
  private readonly block: Uint32Array<ArrayBuffer>
  private readonly uniforms: UniformBuffers
  private readonly counts = { slices: 0, rounds: 0, faults: 0, refaults: 0, replays: 0, splits: 0 }
  private readonly size: SliceSize
  private readonly pages: LaunchPages
  // Entries that each transaction may log and note; they grow when one needs more.
  private logEntries = LOG_ENTRIES_MIN
  private journalWords = 8
  /** Places of the journal: the transactions of the slice, times their invocations. */
  private slots = 0
  /** Most transactions of the next slice may find all they need. */
  private isHopeful: boolean
  /** Transactions of the last slice that did not. */
  private stopped = 0
  /** Those that are replayed store more than the optimistic form has registers for. */
  private replaysStoreMuch = false
  /** Bits of the arguments that are all there, if fresh transactions only look up their rows beside them; else null. */
  private present: number | null = null
  private smallArrays: ReturnType<LaunchPages['small']> | null = null
  /** Pages that the transactions of a part wait for, at most. */
  private partPages: number
  /** The transactions of this slice have taken pages from each other. */
  private hasThrashed = false

  constructor(parts: {
    device: GPUDevice
    provider: PageProvider
    buffers: PagedBuffers
    pipeline: PagedPipeline
    launch: PagedLaunch
    scratchWordsMax: number
    stepsMax: number
  }) {
    this.device = parts.device
    this.provider = parts.provider
    this.buffers = parts.buffers
    this.pipeline = parts.pipeline
    this.program = parts.pipeline.program
    this.launch = parts.launch
    this.scratchWordsMax = parts.scratchWordsMax
    this.stepsMax = parts.stepsMax
    this.block = launchBlock(this.program, this.launch)
    this.uniforms = this.buffers.uniforms(this.launch.uniforms, this.block)
    this.isHopeful = parts.provider.isWarm || parts.pipeline.isHopeful
    this.pages = new LaunchPages(this.program, this.launch, this.provider.pageBits)
    const words = this.provider.capacity * 2 ** this.provider.pageBits
    this.partPages = partPagesOf(this.provider)
    this.size = new SliceSize(words, invocationsOf(this.program))
  }

  async all(): Promise<PagedReceipt> {
    const total = transactionCount(this.program, this.launch)
    await this.bringSmall()
    for (let base = 0; base < total; ) {
      const count = Math.min(this.size.next(), total - base, this.mostTransactions())
      await this.slice(base, count)
      base += count
    }
    this.pipeline.isHopeful = this.isHopeful
    return this.counts
  }

  /** Brings arrays that are small beside the device: their pages are not worth rounds in which they are found out. */
  private async bringSmall(): Promise<void> {
    const { provider } = this
    if (provider.isWarm) return
    const { read, write, args } = this.small()
    const isScouted = this.program.scope === 'invocation' && this.program.rows.some((others) => (others & ~args) === 0)
    this.present = isScouted ? args : null
    if (read.length + write.length > 0) await provider.service({ read, write, pinned: new Set([...read, ...write]) })
  }

  /** Arrays that are small beside the device: their pages stay, unless a single transaction needs their room. */
  private small(): ReturnType<LaunchPages['small']> {
    const most = Math.min(Math.floor(this.provider.capacity / SMALL_PART), SMALL_PAGES_MAX)
    this.smallArrays ??= this.pages.small(most)
    return this.smallArrays
  }

  private async slice(base: number, count: number): Promise<void> {
    this.counts.slices++
    this.logEntries = LOG_ENTRIES_MIN
    this.buffers.reserveQueue(count)
    this.open(count)
    this.hasThrashed = false
    const { faults } = this.counts
    const isHopeful = this.isHopeful && this.mayHope
    const fresh: Batch = { mode: MODE_FRESH, base, count, half: 0 }
    const left = isHopeful ? await this.hope(fresh) : fresh
    if (left !== null) await this.finish(left, true)
    if (!this.hasThrashed) this.size.grow()
    // Who is stopped is run again by the thorough form, which costs twice as much, and has to be waited for.
    this.isHopeful = 4 * this.stopped < count
    const isForNothing = left !== null && faults === this.counts.faults
    if (!isHopeful || !isForNothing || this.program.logEntryWords === 0) return
    this.pipeline.storesTooMuch = this.pipeline.storesMuch
    this.pipeline.storesMuch = true
  }

  /** Runs a fresh batch in the optimistic form. Those that were stopped, null if nobody was. */
  private async hope(batch: Batch): Promise<Batch | null> {
    const stopped = await optimisticRound(this.prepare(batch), this.pipeline.storesMuch)
    this.stopped = stopped.length
    if (stopped.length === 0) return null
    this.counts.replays += stopped.length
    const entries = new Uint32Array(ENTRY_WORDS * stopped.length)
    stopped.forEach((place, i) => {
      entries[ENTRY_WORDS * i] = batch.base + place
      entries[ENTRY_WORDS * i + 1] = place
    })
    return this.queued(entries)
  }

  /**
   * Runs transactions that were stopped in the optimistic form, and those that are stopped by it once more with a log in memory if they store
   * to a log. Those that were stopped again, null if nobody was.
   */
  private async hopeAgain(batch: Batch, full: number): Promise<Batch | null> {
    const hasLog = this.program.logEntryWords > 0
    let left: Batch | null = batch
    if ((full & FULL_LOG) === 0 && !this.replaysStoreMuch) {
      left = await this.hopeOnce(batch, false)
      this.replaysStoreMuch = hasLog && left !== null && 2 * left.count > batch.count
    }
    return hasLog && left !== null ? await this.hopeOnce(left, true) : left
  }

  private async hopeOnce(batch: Batch, isRoomy: boolean): Promise<Batch | null> {
    const stopped = await optimisticRound(this.prepare(batch), isRoomy)
    if (stopped.length === 0) return null
    this.counts.replays += stopped.length
    const all = batch.entries ?? (await this.waiting(batch.half, batch.count))
    const entries = new Uint32Array(ENTRY_WORDS * stopped.length)
    stopped.forEach((place, i) => {
      entries.set(all.subarray(ENTRY_WORDS * place, ENTRY_WORDS * (place + 1)), ENTRY_WORDS * i)
    })
    return this.queued(entries)
  }

  /** Whether so many are stopped that it pays, and all that is known to be missing, beside so many pages, has come. */
  private mayHopeAgain({ replay, isCut, ahead }: Round, npages: number): boolean {
    if (replay < REPLAYS_MIN || isCut || this.program.scope !== 'invocation' || !this.hasNearPlaces) return false
    return npages + ahead.length <= this.provider.capacity
  }

  /** Puts transactions into the queue. */
  private queued(entries: Uint32Array<ArrayBuffer>): Batch {
    this.device.queue.writeBuffer(this.buffers.queue, 0, entries)
    return { mode: MODE_REPLAY, base: 0, count: entries.length / ENTRY_WORDS, half: 0, entries }
  }

  /** Whether the optimistic form has room for what fresh transactions store. */
  private get mayHope(): boolean {
    return !this.pipeline.storesTooMuch && this.program.scope !== 'step' && this.hasNearPlaces
  }

  /** The optimistic form takes the highest bit of an index for a mistake, and that of a place in the pool for a missing page. */
  private get hasNearPlaces(): boolean {
    const { frameCount, pageBits } = this.provider
    if (frameCount * 2 ** pageBits > OPTIMISTIC_WORDS_MAX) return false
    return this.launch.args.every(({ length }) => length <= 2 ** 31)
  }

  /**
   * Runs transactions until all of them have committed: a batch, or what is in the first half of the queue, of which is known what it
   * waits for. `isWhole`: these are all of a slice.
   */
  private async finish(first: Batch | Round, isWhole: boolean): Promise<void> {
    const pinned = new Set<number>()
    // Pages that were brought for these transactions, and those of them that were taken away again.
    const brought = new Set<number>()
    const evicted = new Set<number>()
    let half: 0 | 1 = 0
    for (let next = first; ; ) {
      const round = 'mode' in next ? await this.round(next) : next
      if ('mode' in next) {
        if (next.mode === MODE_FRESH) this.stopped = round.replay
        half = (1 - next.half) as 0 | 1
        this.counts.replays += round.replay
      }
      if (round.replay === 0) return
      const entries = round.isCut ? await this.waiting(half, round.replay) : round.entries
      const missing = round.isCut && entries !== undefined ? partOf(entries, this.partPages) : round
      const { read, write } = this.pages.of(missing)
      // Somebody got through: whoever is left may need other pages.
      if (round.hasProgress) pinned.clear()
      for (const page of [...read, ...write]) pinned.add(page)
      // Steps need their pages only once.
      const isWithSmall = round.replay > 1 && this.program.scope !== 'step'
      const npages = isWithSmall ? this.withSmall(pinned).size : pinned.size
      const isTooMuch = npages > this.provider.capacity || !this.makeRoom(round)
      if (isTooMuch && round.replay === 1) throw this.tooMuch(pinned.size, round.full)
      const isThrashing = this.isThrashing([...read, ...write], round.hasProgress, evicted)
      if ((isTooMuch || isThrashing) && round.replay > 1) {
        if (isThrashing && isWhole) this.shrink(round.replay)
        await this.finishInParts(entries ?? (await this.waiting(half, round.replay)))
        return
      }
      const request = this.withNext({ read, write, pinned }, round.ahead)
      for (const page of [...request.read, ...request.write]) brought.add(page)
      for (const page of await this.service(request)) if (brought.has(page)) evicted.add(page)
      next = { mode: MODE_REPLAY, base: 0, count: round.replay, half, ...(round.entries && { entries: round.entries }) }
      if (!this.mayHopeAgain(round, pinned.size)) continue
      const left = await this.hopeAgain(next, round.full)
      if (left === null) return
      if (left.count < next.count) pinned.clear()
      next = left
    }
  }

  /** So many transactions took pages from each other. */
  private shrink(count: number): void {
    this.hasThrashed = true
    this.size.shrink(count)
  }

  /** Runs transactions in parts, one after the other, each with pages of its own. */
  private async finishInParts(entries: Uint32Array<ArrayBuffer>): Promise<void> {
    this.counts.splits++
    const { device, buffers, program, slots, logEntries } = this
    const firstPages = partPagesOf(this.provider)
    const { read, write } = this.small()
    const pagesMax = Math.max(firstPages, this.provider.capacity - read.length - write.length)
    const journal = program.hasJournal
      ? await buffers.read(this.provider, buffers.scratch, 0, this.journalSize())
      : null
    for (const part of partsOf(entries, () => this.partPages)) {
      if (journal !== null) this.loadJournal(journal, slots, part.entries)
      device.queue.writeBuffer(buffers.queue, 0, part.entries)
      const replay = part.entries.length / ENTRY_WORDS
      const { faults } = this.counts
      await this.finish({ ...part, ahead: [], replay, isCut: false, wanted: 0, hasProgress: true }, false)
      // Few transactions may have needed more.
      this.logEntries = logEntries
      const isAll = this.counts.faults === faults + part.read.length + part.write.length
      this.partPages = isAll ? Math.min(pagesMax, Math.ceil(this.partPages * PARTS_GROW)) : firstPages
    }
  }

  /** The transactions in a half of the queue. */
  private async waiting(half: 0 | 1, count: number): Promise<Uint32Array<ArrayBuffer>> {
    const { queue, queueHalf } = this.buffers
    return await this.buffers.read(this.provider, queue, half * queueHalf, ENTRY_WORDS * count)
  }

  /** Makes the journal that of some transactions alone, and gives them places in it from 0 on. */
  private loadJournal(journal: Uint32Array, slots: number, entries: Uint32Array): void {
    const invocations = invocationsOf(this.program)
    const count = entries.length / ENTRY_WORDS
    this.slots = count * invocations
    const words = new Uint32Array(this.journalSize())
    for (let i = 0; i < count; i++) {
      const from = entries[ENTRY_WORDS * i + 1] * invocations
      for (let k = 0; k < invocations; k++) {
        for (let j = 0; j * slots < journal.length; j++) {
          words[j * this.slots + i * invocations + k] = journal[j * slots + from + k]
        }
      }
      entries[ENTRY_WORDS * i + 1] = i
    }
    this.buffers.reserveScratch(words.length, 0)
    this.device.queue.writeBuffer(this.buffers.scratch, 0, words)
  }

  /** Has pages brought. Returns those that had to go for them. */
  private async service(request: PageRequest): Promise<readonly number[]> {
    const count = request.read.length + request.write.length
    if (count === 0) return []
    this.counts.faults += count
    return (await this.provider.service(request)).evicted
  }

  /** A request, with as many of the pages that will be missed next as there is room for. */
  private withNext(request: PageRequest, ahead: readonly number[]): PageRequest {
    const { capacity } = this.provider
    const kept = this.withSmall(request.pinned)
    const pinned = kept.size > capacity ? request.pinned : kept
    const next = ahead.filter((event) => !pinned.has(event & EVENT_PAGE_MASK))
    const { read, write } = this.pages.of(pagesIn(next.slice(0, capacity - pinned.size)))
    return {
      read: [...request.read, ...read],
      write: [...request.write, ...write],
      pinned: new Set([...pinned, ...read, ...write]),
    }
  }

  /** Some pages, and those of small arrays. */
  private withSmall(pages: ReadonlySet<number>): ReadonlySet<number> {
    const { read, write } = this.small()
    return new Set([...pages, ...read, ...write])
  }

  /** More than a quarter of what is missed was here a moment ago: too many transactions share too little memory. */
  private isThrashing(pages: readonly number[], hasProgress: boolean, evicted: ReadonlySet<number>): boolean {
    const refaults = pages.filter((page) => evicted.has(page)).length
    this.counts.refaults += refaults
    // Steps need their pages only once, and all of them go on together.
    if (this.program.scope === 'step' && hasProgress) return false
    return 4 * refaults > pages.length
  }

  // ---- One round ----

  private async round(batch: Batch): Promise<Round> {
    const present = batch.mode === MODE_FRESH ? this.present : null
    return await thoroughRound(this.prepare(batch), present, (words) => this.readRound(words, batch.count))
  }

  /** Sets what is special to a round. */
  private prepare(batch: Batch): RoundParts {
    this.counts.rounds++
    const { device, provider, buffers, pipeline, uniforms, block } = this
    const { queueHalf, faultCapacity } = buffers
    block[LAUNCH.mode] = batch.mode
    block[LAUNCH.base] = batch.base
    block[LAUNCH.count] = batch.count
    block[LAUNCH.capacity] = faultCapacity
    block[LAUNCH.queueIn] = batch.half * queueHalf
    block[LAUNCH.queueOut] = (1 - batch.half) * queueHalf
    this.logEntries = Math.max(this.logEntries, this.roomyLog(batch.count))
    block[LAUNCH.logEntries] = this.logEntries
    block[LAUNCH.chainMask] = chainsOf(this.logEntries) - 1
    block[LAUNCH.journalWords] = this.journalWords
    block[LAUNCH.slots] = this.slots
    block[LAUNCH.logBase] = this.keptSize()
    block[LAUNCH.stepsMax] = this.stepsMax
    block[LAUNCH.frames] = provider.frameCount
    buffers.reserveScratch(this.scratchSize(batch.count), this.keptSize())
    return { device, provider, buffers, pipeline, uniforms, block }
  }

  private readRound(words: Uint32Array, count: number): Round {
    const { faultCapacity } = this.buffers
    if (words[FAULT_BAD] !== 0) throw this.faultOf(words)
    if (words[FAULT_TORN] !== 0) throw tornFault(this.program.name)
    const nfaults = words[FAULT_COUNT]
    const { read, write } = pagesIn(words.subarray(FAULT_WORDS, FAULT_WORDS + Math.min(nfaults, faultCapacity)))
    const second = FAULT_WORDS + faultCapacity
    const ahead = [...words.subarray(second, second + Math.min(words[FAULT_AHEAD], faultCapacity))]
    const replay = words[FAULT_REPLAY]
    const full = words[FAULT_FULL] & (FULL_LOG | FULL_JOURNAL)
    const isForAnother = (words[FAULT_FULL] & (FULL_STEPS | FULL_READY)) !== 0
    const hasProgress = replay < count || words[FAULT_PROGRESS] !== 0
    if (replay > 0 && nfaults === 0 && full === 0 && !isForAnother) {
      throw new Error(`${this.program.name}: ${replay} invocations were stopped by nothing`)
    }
    // Steps need their pages only once, so some pages at a time are as good as all.
    const isCut = nfaults > faultCapacity && this.program.scope !== 'step'
    return { replay, read, write, ahead, isCut, full, wanted: words[FAULT_WANTED], hasProgress }
  }

  // ---- Log and journal ----

  private journalSize(): number {
    return this.program.hasJournal ? this.journalWords * this.slots : 0
  }

  /** Words that stay from round to round: a journal or states; no kernel has both. */
  private keptSize(): number {
    return this.journalSize() + this.program.stateWords * this.slots
  }

  /** Entries that one may want, as far as there is room for so many without asking. */
  private roomyLog(count: number): number {
    const { program, pipeline, scratchWordsMax } = this
    let entries = LOG_ENTRIES_MIN
    const wordsMax = Math.min(ROOMY_LOG_WORDS, scratchWordsMax) / (count * invocationsOf(program))
    while (entries < pipeline.logEntries && logWords(program, 2 * entries) <= wordsMax) entries *= 2
    return entries
  }

  private scratchSize(count: number): number {
    const invocations = count * invocationsOf(this.program)
    return this.keptSize() + logWords(this.program, this.logEntries) * invocations
  }

  /** How many transactions can be begun together, by the room for what they keep and by the limits of a dispatch. */
  private mostTransactions(): number {
    const invocations = invocationsOf(this.program)
    const perDispatch = this.program.scope === 'workgroup' ? 65535 : 65535 * INVOCATION_WORKGROUP
    const { hasJournal, stateWords } = this.program
    const words = logWords(this.program, this.logEntries) + (hasJournal ? this.journalWords : 0) + stateWords
    if (words === 0) return perDispatch
    return Math.max(1, Math.min(perDispatch, Math.floor(this.scratchWordsMax / (words * invocations))))
  }

  /** States begin as zeros, journals empty. */
  private open(count: number): void {
    this.slots = count * invocationsOf(this.program)
    const words = this.program.hasJournal ? this.slots : this.keptSize()
    if (words === 0) return
    this.buffers.reserveScratch(this.keptSize(), 0)
    const encoder = this.device.createCommandEncoder()
    encoder.clearBuffer(this.buffers.scratch, 0, 4 * words)
    this.device.queue.submit([encoder.finish()])
  }

  /** Lets each transaction log and note more. False if there is no room for that with so many of them. */
  private makeRoom({ full, wanted, replay }: Pick<Round, 'full' | 'wanted' | 'replay'>): boolean {
    const { logEntries, journalWords } = this
    const kept = this.keptSize()
    if ((full & FULL_JOURNAL) !== 0) this.journalWords *= 4
    // What is wanted was counted by somebody who did not see all of his own stores, so it may be more than he needs.
    const counted = 2 ** Math.ceil(Math.log2(Math.max(1, wanted)))
    this.pipeline.logEntries = Math.max(this.pipeline.logEntries, counted)
    const lengths = (full & FULL_LOG) !== 0 ? [Math.max(counted, 2 * logEntries), 4 * logEntries] : [logEntries]
    for (const entries of lengths) {
      this.logEntries = entries
      if (this.scratchSize(replay) > this.scratchWordsMax) continue
      this.buffers.reserveScratch(this.scratchSize(replay), kept)
      return true
    }
    this.logEntries = logEntries
    this.journalWords = journalWords
    return full === 0
  }

  // ---- Errors ----

  private faultOf(words: Uint32Array): GpuFaultError {
    const site = this.program.sites[words[FAULT_BAD_SITE]]
    const id = invocationId(this.launch, this.program, words[FAULT_BAD_ID])
    const arg = this.program.args.findIndex(({ name }) => name === site.arg)
    const length = arg === -1 ? null : this.launch.args[arg].length
    const value = words[FAULT_BAD_VALUE] + words[FAULT_BAD_HIGH] * 2 ** 32
    return faultAt(this.program.name, id, site, value, length)
  }

  private tooMuch(pages: number, full: number): GpuFaultError {
    const unit = this.program.scope
    const what = { kernel: this.program.name, invocation: null, site: null, value: null }
    if (pages > this.provider.capacity) {
      const detail = `needs ${pages} pages or more in one ${unit}, the device has ${this.provider.capacity}`
      return new GpuFaultError({ ...what, reason: 'working-set' }, detail)
    }
    const kept = (full & FULL_LOG) !== 0 ? this.logEntries : this.journalWords
    return new GpuFaultError(
      { ...what, reason: 'store-count' },
      `keeps more than ${kept} words in one ${unit}, for which there is no room`,
    )
  }
}
