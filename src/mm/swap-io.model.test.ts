// Random programs on a machine that is too small for them, with a swap device whose reads and writes end in any order and
// sometimes fail. Every load is compared with what the program stored last; a page may be lost only after its read failed.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AsyncSwap } from '../../test/helpers/async-swap.ts'
import { PAGE_SIZE } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { EBADMSG, EIO } from '../base/errno.ts'
import { ACCESS_OUT_OF_MEMORY, ACCESS_SIGBUS, ACCESS_WOULD_WAIT, Machine, type Process } from '../machine/index.ts'
import { MADV_DONTNEED, MADV_PAGEOUT } from '../uapi/mman.ts'
import { validateSystem } from './validate.ts'

const NPAGES = 40
const BASE = 0x1000_0000
const LOST = 'lost'

interface Program {
  readonly process: Process
  /** Word of each page; pages of the file stand for all programs. */
  readonly words: (number | typeof LOST)[]
}

class World {
  readonly machine: Machine
  readonly swap: AsyncSwap
  readonly programs: Program[] = []
  /** What happened, to see that programs do what they are for. */
  readonly seen = { waits: 0, lost: 0, writeErrors: 0, readAhead: 0, forks: 0 }

  constructor() {
    let swap: AsyncSwap | undefined
    this.machine = new Machine({
      memory: 32 * PAGE_SIZE,
      swap: 200 * PAGE_SIZE,
      swapDevice: (mmu) => {
        swap = new AsyncSwap(mmu)
        return swap
      },
    })
    this.swap = swap as AsyncSwap
    const process = this.machine.createProcess('first')
    process.mmap({ addr: BASE, fixed: true, length: NPAGES * PAGE_SIZE })
    this.programs.push({ process, words: Array(NPAGES).fill(0) })
  }

  program(pick: number): Program {
    return this.programs[pick % this.programs.length]
  }

  /** Repeats an access until nothing has to be waited for; what it waits for ends in the order that `picks` says. */
  access(run: () => number, picks: () => number): number {
    for (let round = 0; round < 10_000; round++) {
      const result = run()
      this.validate()
      if (result !== ACCESS_WOULD_WAIT) return result
      this.seen.waits++
      assert(this.swap.pending.length > 0, 'what is waited for is under way')
      this.end(picks(), 0)
    }
    throw new Error('an access waits forever')
  }

  end(pick: number, err: number): void {
    const { pending } = this.swap
    if (pending.length === 0) return
    const index = pick % pending.length
    const { kind, page } = pending[index]
    // Whoever has an entry for the slot has lost the page.
    if (err !== 0 && kind === 'read') this.markLost(page.slot)
    if (err !== 0 && kind === 'write') this.seen.writeErrors++
    this.swap.end(index, err)
    this.validate()
  }

  markLost(slot: number): void {
    for (const { process, words } of this.programs) {
      for (let page = 0; page < NPAGES; page++) {
        const table = process.mm.pageTable.findPte(BASE + page * PAGE_SIZE)
        const i = ((BASE / PAGE_SIZE + page) % 512) * 2
        if (table === null || process.dumpPte(BASE + page * PAGE_SIZE, 1) !== 's') continue
        if (table.words[i] !== slot) continue
        words[page] = LOST
        this.seen.lost++
      }
    }
  }

  validate(): void {
    validateSystem(this.machine.sys, { level: 'full', heldReferences: () => 0 })
  }
}

type Step = (world: World) => void

class Named {
  readonly run: Step
  readonly #text: string
  constructor(text: string, run: Step) {
    this.#text = text
    this.run = run
  }
  toString(): string {
    return this.#text
  }
}

const natural = fc.nat(1000)
const aPage = fc.nat(NPAGES - 1)

const store = fc.tuple(natural, aPage, fc.integer({ min: 1, max: 1e9 }), natural).map(
  ([who, page, value, pick]) =>
    new Named(`store(${who}, ${page}, ${value}, ${pick})`, (world) => {
      const { process, words } = world.program(who)
      const result = world.access(() => process.tryStore32(BASE + page * PAGE_SIZE, value), counting(pick))
      check(result, words[page])
      if (result === 0) words[page] = value
    }),
)

const load = fc.tuple(natural, aPage, fc.integer({ min: 1, max: 12 }), natural).map(
  ([who, first, npages, pick]) =>
    new Named(`load(${who}, ${first}, ${npages} pages, ${pick})`, (world) => {
      const { process, words } = world.program(who)
      for (let page = first; page < Math.min(NPAGES, first + npages); page++) {
        const result = world.access(() => process.tryLoad32(BASE + page * PAGE_SIZE), counting(pick))
        check(result, words[page])
        if (result >= 0) expect(result).toBe(words[page])
      }
    }),
)

/** A touch that nobody waits for: its read may end in any way. */
const touch = fc.tuple(natural, aPage).map(
  ([who, page]) =>
    new Named(`touch(${who}, ${page})`, (world) => {
      const { process, words } = world.program(who)
      const result = process.tryLoad32(BASE + page * PAGE_SIZE)
      if (result !== ACCESS_WOULD_WAIT) check(result, words[page])
      world.validate()
    }),
)

const end = fc.tuple(natural, fc.integer({ min: 1, max: 12 }), fc.constantFrom(0, 0, 0, 0, 0, -EIO, -EBADMSG)).map(
  ([pick, npages, err]) =>
    new Named(`end(${pick}, ${npages} pages, ${err})`, (world) => {
      for (let i = 0; i < npages; i++) world.end(pick + 7 * i, i === 0 ? err : 0)
    }),
)

const reclaim = fc.integer({ min: 1, max: 40 }).map(
  (npages) =>
    new Named(`reclaim(${npages})`, (world) => {
      world.machine.sys.reclaim(npages)
      world.validate()
    }),
)

const advise = fc.tuple(natural, aPage, fc.integer({ min: 1, max: 10 }), fc.boolean()).map(
  ([who, first, npages, isOut]) =>
    new Named(`${isOut ? 'pageOut' : 'dontNeed'}(${who}, ${first}, ${npages} pages)`, (world) => {
      const { process, words } = world.program(who)
      const end = Math.min(NPAGES, first + npages)
      process.madvise(BASE + first * PAGE_SIZE, (end - first) * PAGE_SIZE, isOut ? MADV_PAGEOUT : MADV_DONTNEED)
      if (!isOut) words.fill(0, first, end)
      world.validate()
    }),
)

const fork = natural.map(
  (who) =>
    new Named(`fork(${who})`, (world) => {
      if (world.programs.length >= 3) return
      const { process, words } = world.program(who)
      world.programs.push({ process: process.fork(), words: [...words] })
      world.seen.forks++
      world.validate()
    }),
)

const exit = natural.map(
  (who) =>
    new Named(`exit(${who})`, (world) => {
      if (world.programs.length === 1) return
      const [{ process }] = world.programs.splice(who % world.programs.length, 1)
      process.exit()
      world.validate()
    }),
)

/** A series of numbers that begins anywhere and is different every time. */
function counting(start: number): () => number {
  let next = start
  return () => {
    next += 7
    return next
  }
}

function check(result: number, word: number | typeof LOST): void {
  expect(result).not.toBe(ACCESS_OUT_OF_MEMORY)
  if (word === LOST) expect(result).toBe(ACCESS_SIGBUS)
  else expect(result).toBeGreaterThanOrEqual(0)
}

describe('swap on a device that takes its time', () => {
  it('never shows a wrong value, loses only what cannot be read, and leaves nothing behind', () => {
    const total = { waits: 0, lost: 0, writeErrors: 0, readAhead: 0, forks: 0 }
    const step = fc.oneof(
      { weight: 6, arbitrary: store },
      { weight: 4, arbitrary: load },
      { weight: 3, arbitrary: touch },
      { weight: 4, arbitrary: end },
      { weight: 2, arbitrary: reclaim },
      { weight: 2, arbitrary: advise },
      { weight: 1, arbitrary: fork },
      { weight: 1, arbitrary: exit },
    )
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 120 }), (program) => {
        const world = new World()
        for (const each of program) each.run(world)
        const { sys } = world.machine
        for (const { process, words } of world.programs) {
          words.forEach((word, page) => {
            const result = world.access(() => process.tryLoad32(BASE + page * PAGE_SIZE), counting(page))
            check(result, word)
            if (result >= 0) expect(result).toBe(word)
          })
        }
        for (const { process } of world.programs) process.exit()
        world.swap.endAll()
        world.validate()
        expect([sys.swap?.nfree, sys.mmu.nfree, world.swap.contents.size]).toEqual([200, 31, 0])
        world.seen.readAhead = sys.swap?.stats.readAheadHits ?? 0
        for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += world.seen[key]
      }),
      { numRuns: 240 },
    )
    for (const [what, times] of Object.entries(total)) expect(times, what).toBeGreaterThan(0)
  })
})
