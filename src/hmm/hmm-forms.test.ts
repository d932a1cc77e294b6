// The two forms of a range decide alike and differ in encoding only; and what every call keeps, over random programs.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Answer, F, HmmFixture, type Request61, W } from '../../test/helpers/hmm-fixture.ts'
import { EBUSY, EFAULT, EPERM } from '../base/errno.ts'
import { allocKernelPage } from '../mm/page-alloc.ts'
import {
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_HWPOISON,
  PTE_KIND_MARKER,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SPECIAL,
  PTE_WRITE,
  pteKind,
} from '../mm/pte.ts'
import { PROT_NONE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'

/** First page of the arena that the programs use: a border between two last-level tables lies in the middle. */
const FIRST = 512 - 12
const NPAGES = 24
const STATES = ['-', 'z', 'w', 'r', 'D', 'd', 'e', 'h', 'S', 'n', '*'] as const
type State = (typeof STATES)[number]
const OWNER = 'me'

interface Program {
  /** Mappings one after the other. */
  readonly maps: readonly (readonly [skip: number, npages: number, prot: number])[]
  readonly states: readonly State[]
  readonly hasTables: boolean
  readonly start: number
  readonly npages: number
  readonly default: number
  readonly mask: number
  readonly requests: readonly number[]
}

const program: fc.Arbitrary<Program> = fc.record({
  maps: fc.array(
    fc.tuple(
      fc.constantFrom(0, 0, 0, 1, 3),
      fc.integer({ min: 1, max: 14 }),
      fc.constantFrom(PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE),
    ),
    { minLength: 1, maxLength: 4 },
  ),
  states: fc.array(
    fc.oneof(
      { arbitrary: fc.constantFrom(...STATES.slice(0, 3)), weight: 5 },
      { arbitrary: fc.constantFrom(...STATES), weight: 1 },
    ),
    { minLength: NPAGES, maxLength: NPAGES },
  ),
  hasTables: fc.boolean(),
  start: fc.nat(NPAGES - 1),
  npages: fc.integer({ min: 1, max: NPAGES }),
  default: fc.constantFrom(0, 0, 1, 2, 3),
  mask: fc.constantFrom(0, 1, 2, 3),
  requests: fc.array(fc.constantFrom(0, 1, 2, 3), { minLength: NPAGES, maxLength: NPAGES }),
})

function build({ maps, states, hasTables }: Program): HmmFixture {
  const fixture = new HmmFixture({ nframes: 256 })
  const own = fixture.addDevice(OWNER)
  const other = fixture.addDevice('other')
  let page = FIRST
  for (const [skip, npages, prot] of maps) {
    page += skip
    const n = Math.min(npages, FIRST + NPAGES - page)
    if (n <= 0) break
    fixture.map(page, n, prot)
    if (hasTables) {
      for (let i = page; i < page + n; i++) {
        const state = states[i - FIRST]
        if (prot !== PROT_NONE && state === 'z') fixture.touch(i, 1, 'read')
        else if ((prot & PROT_WRITE) !== 0 && (state === 'w' || state === 'n')) {
          fixture.touch(i, 1, 'write')
          if (state === 'n') fixture.setEntry(i, fixture.entryFlags(i) | PTE_PROTNONE, fixture.entryPfn(i))
        } else setState(fixture, i, state, own.pfn, other.pfn)
      }
    }
    page += n
  }
  return fixture
}

/** States that take a long way to reach are put into the table as they are, without accounting. */
function setState(fixture: HmmFixture, page: number, state: State, own: number, other: number): void {
  const entries: Partial<Record<State, readonly [flags: number, pfn: number]>> = {
    D: [PTE_KIND_DEVICE_PRIVATE | PTE_WRITE, own],
    d: [PTE_KIND_DEVICE_PRIVATE, own],
    e: [PTE_KIND_DEVICE_PRIVATE, other],
    h: [PTE_KIND_HWPOISON, 9],
    S: [PTE_PRESENT | PTE_SPECIAL, state === 'S' ? allocKernelPage(fixture.sys) : 0],
    '*': [PTE_KIND_MARKER, 0],
  }
  const [flags, pfn] = entries[state] ?? [0, 0]
  fixture.setEntry(page, flags, pfn)
}

/** Set in every input, outside the request bits: an entry that still has it was not written. */
const INPUT = 1n << 40n

function inputs61({ requests }: Program): bigint[] {
  return requests.map((bits) => bits61(bits) | INPUT)
}

function bits61(bits: number): bigint {
  return (bits & 1 ? F : 0n) | (bits & 2 ? W : 0n)
}

function request61(program: Program): Request61 {
  return {
    default: bits61(program.default),
    mask: bits61(program.mask),
    requests: inputs61(program).slice(0, program.npages),
    owner: OWNER,
  }
}

/** A driver's tables: flags below the shift, ERROR and SPECIAL alike, so that an entry of 6.1 says what it has to be. */
const TABLES = {
  flags: [1n << 4n, 1n << 1n],
  values: [0x0fff_0000_0000_0008n, 0x800n, 0x0fff_0000_0000_0008n],
  pfnShift: 7,
}

function to57(bits: number): bigint {
  return (bits & 1 ? TABLES.flags[0] : 0n) | (bits & 2 ? TABLES.flags[1] : 0n)
}

/** What an entry of the 6.1 form is in the driver's bits (RF-33). */
function translate(entry: bigint): bigint {
  if ((entry & INPUT) !== 0n) return to57(Number(entry >> 63n) | (Number((entry >> 62n) & 1n) << 1)) | INPUT
  if (entry === 0n) return TABLES.values[1]
  if ((entry & (1n << 61n)) !== 0n) return TABLES.values[0]
  const pfn = entry & ((1n << 56n) - 1n)
  return (pfn << 7n) | to57(Number(entry >> 63n) | (Number((entry >> 62n) & 1n) << 1))
}

function run61(fixture: HmmFixture, program: Program): Answer {
  return fixture.fault61(FIRST + program.start, program.npages, request61(program))
}

function run57(fixture: HmmFixture, program: Program): Answer {
  return fixture.fault57(FIRST + program.start, program.npages, {
    ...TABLES,
    default: to57(program.default),
    mask: to57(program.mask),
    requests: program.requests.slice(0, program.npages).map((bits) => to57(bits) | INPUT),
    owner: OWNER,
  })
}

function entriesOf(fixture: HmmFixture): string {
  const entries: string[] = []
  for (let page = FIRST; page < FIRST + NPAGES; page++)
    entries.push(`${fixture.entryFlags(page)}:${fixture.entryPfn(page)}`)
  return entries.join(' ')
}

describe('hmmRangeFault()', () => {
  it('decides alike in both forms, call after call', () => {
    fc.assert(
      fc.property(program, (program) => {
        const a = build(program)
        const b = build(program)
        for (let call = 0; call < 3; call++) {
          const answer61 = run61(a, program)
          const answer57 = run57(b, program)
          expect(answer57.result).toBe(answer61.result)
          expect(answer57.entries).toEqual(answer61.entries.map(translate))
          expect(entriesOf(b)).toBe(entriesOf(a))
          expect(b.events).toEqual(a.events)
          if (answer61.result !== -EBUSY) break
        }
      }),
      { numRuns: 300 },
    )
  })

  it('fills from the front and leaves inputs from where it stopped (RF-41, RF-106)', () => {
    fc.assert(
      fc.property(program, (program) => {
        const { result, entries } = run61(build(program), program)
        expect([0, -EBUSY, -EFAULT, -EPERM]).toContain(result)
        const written = entries.map((entry) => (entry & INPUT) === 0n)
        const first = written.indexOf(false)
        if (result === 0) expect(first).toBe(-1)
        else expect(written.lastIndexOf(true)).toBeLessThan(first)
      }),
      { numRuns: 300 },
    )
  })

  it('satisfies every request when it returns 0, but for own device memory (INV-11)', () => {
    fc.assert(
      fc.property(program, (program) => {
        const fixture = build(program)
        const { result, entries } = run61(fixture, program)
        if (result !== 0) return
        entries.forEach((entry, i) => {
          const page = FIRST + program.start + i
          if (pteKind(fixture.entryFlags(page)) === PTE_KIND_DEVICE_PRIVATE) return
          const request = (program.requests[i] & program.mask) | program.default
          if ((request & 1) === 0) return
          expect(entry & F).not.toBe(0n)
          if ((request & 2) !== 0) expect(entry & W).not.toBe(0n)
        })
      }),
      { numRuns: 300 },
    )
  })

  it('without a request changes no entry, raises nothing and returns 0 (INV-10)', () => {
    fc.assert(
      fc.property(program, (program) => {
        const fixture = build(program)
        const before = entriesOf(fixture)
        const { result } = run61(fixture, { ...program, default: program.default & 2, mask: program.mask & 2 })
        expect(result).toBe(0)
        expect(entriesOf(fixture)).toBe(before)
        expect(fixture.events).toEqual([])
      }),
      { numRuns: 200 },
    )
  })
})
