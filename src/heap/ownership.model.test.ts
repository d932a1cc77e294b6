// Random programs on an explicit heap with two devices, against a model that knows every byte and whose each page is. Programs
// that call sync wherever it is needed find what they should and are never refused. Then one sync is left out, before a
// store or before a load: the next call that looks refuses, and names the array and the elements.
//
//   HETMEM_MODEL_RUNS   programs of each kind, default 200

import { describe, expect, it } from 'vitest'
import { HeapFixture } from '../../test/helpers/heap-fixture.ts'
import { ARRAY_TYPES, type ArrayType, type HeapArray } from './array-types.ts'
import { OwnershipError } from './heap-error.ts'

const RUNS = Number(process.env['HETMEM_MODEL_RUNS'] ?? 200)
/** Of those that forget something there are more: all of them have to be caught. */
const FORGETFUL_RUNS = 5 * RUNS
const TIMEOUT = RUNS * 1000

const PAGE = 4096
const NSTEPS = 8

type Owner = 'own' | 'shared' | 'away'

/** An array and what is known of it. */
interface Known {
  readonly name: string
  readonly array: HeapArray
  /** What is in it. */
  readonly bytes: Uint8Array
  /** Whose its pages are. */
  readonly owners: Owner[]
}

/** Bytes of an array. */
interface Part {
  readonly known: Known
  readonly start: number
  readonly end: number
}

class Program {
  readonly fixture: HeapFixture
  readonly random: (below: number) => number
  /** The program so far, to be read when it fails. */
  readonly log: string[] = []
  readonly arrays: Known[] = []
  #nnames = 0

  static async start(seed: number, check: boolean): Promise<Program> {
    const fixture = await HeapFixture.open({
      size: '1 MiB',
      check,
      device: [
        { kind: 'memory', memory: '24 KiB', name: 'a' },
        { kind: 'memory', memory: '64 KiB', name: 'b' },
      ],
    })
    return new Program(fixture, makeRandom(seed))
  }

  constructor(fixture: HeapFixture, random: (below: number) => number) {
    this.fixture = fixture
    this.random = random
    for (let i = 0; i < 3; i++) this.alloc()
  }

  pick<T>(from: readonly T[]): T {
    return from[this.random(from.length)]
  }

  /** Any part of an array, on element borders. */
  part(known = this.pick(this.arrays)): Part {
    const { length, BYTES_PER_ELEMENT } = known.array
    const first = this.random(length)
    const count = 1 + this.random(this.random(2) === 0 ? length - first : Math.min(length - first, 40))
    return { known, start: first * BYTES_PER_ELEMENT, end: (first + count) * BYTES_PER_ELEMENT }
  }

  // ---- steps ----

  alloc(type: ArrayType = this.pick(ARRAY_TYPES)): Known {
    const name = `x${++this.#nnames}`
    const length = 1 + this.random(Math.ceil((5 * PAGE) / type.BYTES_PER_ELEMENT))
    this.log.push(`${name} = alloc(${type.name}, ${length})`)
    const array = this.fixture.heap.alloc(type, length, { name })
    const npages = Math.ceil(array.byteLength / PAGE)
    const known = { name, array, bytes: new Uint8Array(array.byteLength), owners: Array<Owner>(npages).fill('own') }
    expect(raw({ known, start: 0, end: array.byteLength }).every((byte) => byte === 0)).toBe(true)
    this.arrays.push(known)
    return known
  }

  free(known: Known): void {
    this.log.push(`free(${known.name})`)
    this.fixture.heap.free(known.array)
    this.arrays.splice(this.arrays.indexOf(known), 1)
  }

  async sync(part: Part, access: 'read' | 'readWrite'): Promise<void> {
    this.log.push(`sync(${show(part)}, ${access})`)
    await this.fixture.heap.sync(view(part), access)
    for (const page of pagesOf(part)) {
      const { owners } = part.known
      owners[page] = access === 'readWrite' || owners[page] === 'own' ? 'own' : 'shared'
    }
  }

  async launch(written: readonly Part[], read: readonly Part[], device: number): Promise<void> {
    const by = 1 + this.random(250)
    this.log.push(`launch(write ${written.map(show)}, read ${read.map(show)}, device ${device}, ${by})`)
    const parts = { write: written.map(view), read: read.map(view), device }
    const seen: boolean[] = []
    await this.fixture.launch(parts, (writes, reads) => {
      for (const [i, array] of reads.entries()) seen.push(sameBytes(new Uint8Array(array.buffer), wanted(read[i])))
      for (const array of writes) {
        const bytes = new Uint8Array(array.buffer)
        for (let i = 0; i < bytes.length; i++) bytes[i] += by
      }
    })
    expect(seen).toEqual(read.map(() => true))
    for (const part of written) {
      const bytes = wanted(part)
      for (let i = 0; i < bytes.length; i++) bytes[i] += by
    }
    for (const part of read) {
      const { owners } = part.known
      for (const page of pagesOf(part)) if (owners[page] === 'own') owners[page] = 'shared'
    }
    for (const part of written) for (const page of pagesOf(part)) part.known.owners[page] = 'away'
  }

  async prefetch(part: Part, access: 'read' | 'readWrite'): Promise<void> {
    this.log.push(`prefetch(${show(part)}, ${access})`)
    await this.fixture.heap.prefetch(view(part), { to: this.pick(['a', 'b']), access })
    // How far it went is for mm to say: it is a hint.
    await this.look(part.known)
  }

  async cold(part: Part): Promise<void> {
    this.log.push(`advise(${show(part)}, cold)`)
    await this.fixture.heap.advise(view(part), 'cold')
  }

  async discard(part: Part): Promise<void> {
    this.log.push(`discard(${show(part)})`)
    await this.fixture.heap.discard(view(part))
    const { bytes, owners } = part.known
    const last = part.end === bytes.length ? owners.length : Math.floor(part.end / PAGE)
    for (let page = Math.ceil(part.start / PAGE); page < last; page++) {
      bytes.fill(0, page * PAGE, (page + 1) * PAGE)
      owners[page] = 'own'
    }
  }

  /** The CPU loads, and finds what should be there. */
  load(part: Part): void {
    this.log.push(`load(${show(part)})`)
    expect(sameBytes(raw(part), wanted(part))).toBe(true)
  }

  store(part: Part): void {
    this.log.push(`store(${show(part)})`)
    const by = 1 + this.random(250)
    const [bytes, known] = [raw(part), wanted(part)]
    for (let i = 0; i < bytes.length; i++) bytes[i] += by
    for (let i = 0; i < known.length; i++) known[i] += by
  }

  /** Takes over whose the pages of an array are. */
  async look(known: Known): Promise<void> {
    const { runs } = await this.fixture.heap.where(known.array)
    const owners = {
      cpu: 'own',
      shared: 'shared',
      device: 'away',
      system: 'away',
      swap: 'away',
      moving: 'away',
    } as const
    known.owners.splice(0, known.owners.length, ...runs.flatMap(({ place, pages }) => Array(pages).fill(owners[place])))
  }

  /** A step of a program that does everything right. */
  async step(): Promise<void> {
    const part = this.part()
    switch (this.random(12)) {
      case 0:
        if (this.arrays.length > 2) this.free(part.known)
        if (this.arrays.length < 5) this.alloc()
        break
      case 1:
        await this.discard(part)
        break
      case 2:
        await this.prefetch(part, this.pick(['read', 'readWrite']))
        break
      case 3:
        await this.cold(part)
        break
      case 4:
      case 5:
        await this.sync(part, 'read')
        this.load(part)
        break
      case 6:
      case 7:
        await this.sync(part, 'readWrite')
        this.store(part)
        break
      default: {
        const others = this.arrays.filter((known) => known !== part.known)
        const read = others.length > 0 && this.random(2) === 0 ? [this.part(this.pick(others))] : []
        await this.launch([part], read, this.fits([part, ...read]) ? this.random(2) : 1)
      }
    }
  }

  fits(parts: readonly Part[]): boolean {
    return parts.reduce((sum, part) => sum + pagesOf(part).length, 0) <= 6
  }

  /** The next call that looks. */
  async next(): Promise<unknown> {
    const part = this.part()
    const calls = [
      () => this.fixture.heap.sync(view(part)),
      () => this.fixture.heap.sync(view(part), 'read'),
      () => this.fixture.launch({ write: [view(part)], device: 1 }, () => {}),
      () => this.fixture.heap.close(),
    ]
    const which = this.random(calls.length)
    this.log.push(`${['sync', 'sync read', 'launch', 'close'][which]}(${which < 3 ? show(part) : ''})`)
    try {
      await calls[which]()
    } catch (error) {
      return error
    }
    return null
  }
}

describe('random programs', () => {
  it.each([true, false])(
    'that sync where they should find what they should, check %s',
    { timeout: TIMEOUT },
    async (check) => {
      for (let seed = 1; seed <= RUNS / 2; seed++) {
        await withLog(await Program.start(seed, check), async (program) => {
          for (let i = 0; i < 2 * NSTEPS; i++) await program.step()
          program.fixture.check()
          for (const known of program.arrays) {
            const whole = { known, start: 0, end: known.bytes.length }
            await program.sync(whole, 'read')
            program.load(whole)
          }
          await program.fixture.close()
        })
      }
    },
  )

  it('that forget a sync before a store are refused, with the array and the elements named', {
    timeout: TIMEOUT,
  }, async () => {
    for (let seed = 1; seed <= FORGETFUL_RUNS; seed++) {
      await withLog(await Program.start(seed, true), async (program) => {
        const part = await findPart(program, ['shared', 'away'])
        const { known } = part
        program.log.push(`store without sync(${show(part)})`)
        const bytes = raw(part)
        for (let i = 0; i < bytes.length; i++) bytes[i] ^= 0x55
        const error = await program.next()
        expect(error).toBeInstanceOf(Error)
        const misuses = misusesOf(error)
        expect(new Set(misuses.map(({ array }) => array))).toEqual(new Set([known.name]))
        const size = known.array.BYTES_PER_ELEMENT
        for (const page of pagesOf(part)) {
          if (known.owners[page] === 'own') continue
          // Elements of the page that were stored to, first and last.
          const first = Math.max(part.start, page * PAGE) / size
          const last = Math.min(part.end, (page + 1) * PAGE) / size - 1
          const misuse = known.owners[page] === 'away' ? 'store-away' : 'store-shared'
          for (const element of [first, last]) {
            expect(misuses).toContainEqual(
              expect.objectContaining({ misuse, first: within(0, element), last: within(element, known.array.length) }),
            )
          }
        }
      })
    }
  })

  it('that forget a sync before a load are refused, with the array named, once it is kept', {
    timeout: TIMEOUT,
  }, async () => {
    for (let seed = 1; seed <= FORGETFUL_RUNS; seed++) {
      await withLog(await Program.start(seed, true), async (program) => {
        const part = await findPart(program, ['away'], 16)
        const { known } = part
        const from = view(part)
        const isFloat = from instanceof Float32Array || from instanceof Float64Array
        // Where it is kept: as what it is, or for floats as the result of a computation, of either width.
        const type = isFloat ? program.pick([Float32Array, Float64Array]) : (known.array.constructor as ArrayType)
        const into = program.fixture.heap.alloc(type, from.length + 8, { name: 'kept' })
        const at = program.random(8)
        program.log.push(`kept = alloc(${type.name}); kept.set(f(${show(part)}), ${at})`)
        if (isFloat) {
          const compute = program.pick([(x: number) => x, (x: number) => 1 - x, (x: number) => Math.sqrt(x * x + 2)])
          const floats = into as Float32Array | Float64Array
          for (let i = 0; i < from.length; i++) floats[at + i] = compute(from[i] as number)
        } else (into as Int8Array).set(from as Int8Array, at)
        const misuses = misusesOf(await program.next())
        expect(new Set(misuses.map(({ misuse, array }) => `${misuse} ${array}`))).toEqual(
          new Set([`load-away ${known.name}`]),
        )
        for (const { foundIn } of misuses) {
          expect(foundIn?.array).toBe('kept')
          expect(foundIn?.first).toBeGreaterThanOrEqual(Math.max(0, at - 3))
          expect(foundIn?.last).toBeLessThan(at + from.length + 3)
        }
      })
    }
  })
})

/**
 * Goes on until there is a part of an array, of at least so many bytes, with a page that belongs to one of `owners`, and no
 * other page in it that a load from it would find right.
 */
async function findPart(program: Program, owners: readonly Owner[], nbytes = 1): Promise<Part> {
  for (let i = 0; ; i++) {
    if (i < NSTEPS) await program.step()
    else await program.launch([program.part()], [], 1)
    if (i < 2) continue
    for (let tries = 0; tries < 4; tries++) {
      const part = program.part()
      const pages = pagesOf(part)
      const isWhole = nbytes === 1 || pages.every((page) => owners.includes(part.known.owners[page]))
      const has = pages.some((page) => owners.includes(part.known.owners[page]))
      if (isWhole && has && part.end - part.start >= nbytes) return part
    }
  }
}

/** Runs a program; if it fails, says what it did. Closes its heap. */
async function withLog(program: Program, run: (program: Program) => Promise<void>): Promise<void> {
  try {
    await run(program)
  } catch (error) {
    throw new Error(`${(error as Error).message}\n  ${program.log.join('\n  ')}`, { cause: error })
  } finally {
    await program.fixture.heap.close().catch(() => {})
  }
}

function misusesOf(error: unknown): OwnershipError['misuses'] {
  if (error instanceof OwnershipError) return error.misuses
  // A launch is refused by the engine itself.
  const { failure } = error as { failure?: { code: string; misuses: OwnershipError['misuses'] } }
  expect(failure?.code).toBe('NOT_OWNED')
  return failure?.misuses ?? []
}

function view({ known: { array }, start, end }: Part): HeapArray {
  const size = array.BYTES_PER_ELEMENT
  return array.subarray(start / size, end / size)
}

/** The bytes as the CPU sees them. */
function raw({ known: { array }, start, end }: Part): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset + start, end - start)
}

function wanted({ known: { bytes }, start, end }: Part): Uint8Array {
  return bytes.subarray(start, end)
}

function pagesOf({ start, end }: Part): number[] {
  const first = Math.floor(start / PAGE)
  return Array.from({ length: Math.ceil(end / PAGE) - first }, (_, i) => first + i)
}

function show(part: Part): string {
  const { name, array } = part.known
  const size = array.BYTES_PER_ELEMENT
  return `${name}[${part.start / size}..${part.end / size - 1}]`
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

function within(low: number, high: number): unknown {
  return expect.toSatisfy((value: number) => value >= low && value <= high)
}

function makeRandom(seed: number): (below: number) => number {
  let state = Math.imul(seed, 0x9e37_79b1) >>> 0
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}
