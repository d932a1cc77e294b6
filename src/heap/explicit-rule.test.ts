// The rule of explicit mode: whose a page is, what the CPU sees of those that are not its own, and how a touch of them is found.

import { afterEach, describe, expect, it } from 'vitest'
import { HeapFixture } from '../../test/helpers/heap-fixture.ts'
import type { Heap } from './heap.ts'
import { HeapError, OwnershipError } from './heap-error.ts'
import type { HeapOptions } from './heap-options.ts'

const PAGE_FLOATS = 1024

let fixture: HeapFixture
let heap: Heap

async function open(options: HeapOptions = {}): Promise<void> {
  fixture = await HeapFixture.open(options)
  heap = fixture.heap
}

afterEach(async () => {
  await fixture.close()
})

/** Adds 1 to each element that is written, and all that is read. */
function addOne(written: { [i: number]: number; length: number }[]): void {
  for (const array of written) for (let i = 0; i < array.length; i++) array[i] += 1
}

async function refusal(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'none',
    (error: unknown) => {
      fixture.check()
      return error instanceof HeapError ? error.message : `${error}`
    },
  )
}

/** What a launch is refused with, which is before anything has happened. */
function refused(run: () => Promise<unknown>): Promise<string> {
  try {
    return refusal(run())
  } catch (error) {
    return Promise.resolve(`${(error as { failure?: { code: string } }).failure?.code}: ${(error as Error).message}`)
  }
}

describe('pages of devices', () => {
  it('show a pattern until they are given back, in whole pages', async () => {
    await open()
    const x = heap.alloc(Float32Array, 3 * PAGE_FLOATS).fill(2)
    const y = heap.alloc(Float32Array, 2 * PAGE_FLOATS)
    await fixture.launch({ read: [x], write: [y] }, addOne as never)
    expect([x[5], y[5]]).toEqual([2, Number.NaN])
    await heap.sync(y.subarray(2000))
    expect([await fixture.places(y), y[5], y[2000]]).toEqual(['Dc', Number.NaN, 1])
  })

  it('that were pushed out are in system memory, and still nobody’s', async () => {
    await open()
    const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' })
    await fixture.launch({ write: [x] }, addOne as never)
    await heap.advise(x, 'cold')
    fixture.check()
    expect([await fixture.places(x), x[0]]).toEqual(['--', Number.NaN])
    await heap.sync(x)
    expect(x[0]).toBe(1)
    expect((await heap.advise(x, 'random')).skipped).toEqual([{ array: 'x', pages: 2, why: 'only live' }])
  })

  it('are unknown to mm as long as only the CPU has had them', async () => {
    await open()
    const x = heap.alloc(Float32Array, 100 * PAGE_FLOATS, { name: 'x' }).fill(1)
    expect((await heap.sync(x)).pages).toBe(0)
    expect(fixture.engine.mm.pageTable.findPte(4096)).toBeNull()
  })

  it('kernels are functions, and what one says is an error of its launch', async () => {
    await open()
    const x = heap.alloc(Float32Array, 4, { name: 'x' })
    const wrong = fixture.launch({ write: [x] }, () => {
      throw new Error('wrong')
    })
    await expect(wrong).rejects.toThrow('wrong')
    fixture.check()
  })
})

describe('a migration that takes its time', () => {
  it('does not keep new arrays from being used, by devices either', async () => {
    await open({ device: { kind: 'memory', latency: 5000 } })
    const x = heap.alloc(Float32Array, 4 * PAGE_FLOATS)
    await fixture.launch({ write: [x] }, addOne as never)
    const syncing = heap.sync(x)
    await new Promise(setImmediate)
    const { mm } = fixture.engine
    expect(mm.mmapLock.isHeld).toBe(true)
    const y = heap.alloc(Float32Array, PAGE_FLOATS).fill(8)
    const launched = fixture.launch({ read: [y], write: [x] }, ([xs], [ys]) => {
      xs[0] = Number(xs[0]) + Number(ys[0])
    })
    expect([mm.vmas.length, (await syncing).pages]).toEqual([2, 4])
    await launched
    await heap.sync(x)
    fixture.check()
    expect([x[0], x[1]]).toEqual([9, 1])
  })

  it('keeps the memory of freed arrays until it is over', async () => {
    await open({ device: { kind: 'memory', latency: 5000 } })
    const x = heap.alloc(Float32Array, 4 * PAGE_FLOATS)
    const y = heap.alloc(Float32Array, PAGE_FLOATS).fill(1)
    await fixture.launch({ write: [x] }, addOne as never)
    const syncing = heap.sync(x)
    await new Promise(setImmediate)
    heap.free(y)
    expect(fixture.engine.mm.vmas.length).toBe(2)
    const z = heap.alloc(Float32Array, PAGE_FLOATS)
    expect(z.byteOffset).not.toBe(y.byteOffset)
    await syncing
    await new Promise(setImmediate)
    fixture.check()
    expect(heap.alloc(Float32Array, PAGE_FLOATS).byteOffset).toBe(y.byteOffset)
  })
})

describe('memory that the CPU does not own', () => {
  const launch = (written: Float32Array) => fixture.launch({ write: [written] }, addOne as never)

  it('a store is reported by array and elements at the next launch, sync or close', async () => {
    await open()
    const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' })
    const y = heap.alloc(Float32Array, 8, { name: 'y' })
    await launch(x)
    x.fill(3, 1000, 1100)
    const error: unknown = await heap.sync(y).catch((error) => error)
    expect(error).toBeInstanceOf(OwnershipError)
    expect((error as OwnershipError).code).toBe('NOT_OWNED')
    // Two pages, so two findings.
    expect((error as OwnershipError).misuses).toEqual([
      { misuse: 'store-away', array: 'x', first: 1000, last: 1023 },
      { misuse: 'store-away', array: 'x', first: 1024, last: 1099 },
    ])
    expect((error as Error).message).toBe(
      'NOT_OWNED: the CPU stored to "x"[1000..1023] while a device had them: await heap.sync(x) before; ' +
        'the CPU stored to "x"[1024..1099] while a device had them: await heap.sync(x) before',
    )
    await heap.sync(y)
    x[5] = 1
    expect(await refused(() => launch(x))).toMatch('NOT_OWNED')
    x[6] = 1
    await heap.sync(x).catch(() => {})
    await heap.sync(x)
    // What was stored is lost, what the device had is there.
    expect(x.every((value) => value === 1)).toBe(true)
    await launch(x)
    x[7] = 1
    await expect(heap.close()).rejects.toThrow('NOT_OWNED: the CPU stored to "x"[7] while')
    expect(() => heap.alloc(Int8Array, 1)).toThrow('CLOSED')
    await open()
  })

  it('a store to what devices share is reported', async () => {
    await open()
    const x = heap.alloc(Uint16Array, 5000, { name: 'x' })
    await fixture.launch({ read: [x] }, () => {})
    x[3000] = 1
    const error: OwnershipError = await heap.sync(x).catch((error) => error)
    expect(error.misuses).toEqual([{ misuse: 'store-shared', array: 'x', first: 2944, last: 3071 }])
    expect(error.message).toMatch(
      'the CPU stored to "x"[2944..3071] while devices had copies: await heap.sync(x) before',
    )
    // The store counts, and nobody sees the old value any more.
    await fixture.launch({ read: [x] }, (_, [xs]) => expect([xs[2999], xs[3000]]).toEqual([0, 1]))
    fixture.check()
    await heap.sync(x)
    x[3000] = 2
    await heap.sync(x)
  })

  it('a load is reported when what was loaded is in the heap', async () => {
    await open()
    const x = heap.alloc(Float32Array, 8, { name: 'x' })
    const y = heap.alloc(Float64Array, 8, { name: 'y' })
    await launch(x)
    y[3] = x[0] * 2 + 1
    const error: OwnershipError = await heap.sync(y).catch((error) => error)
    expect(error.misuses).toEqual([
      { misuse: 'load-away', array: 'x', first: 0, last: 7, foundIn: { array: 'y', first: 3, last: 3 } },
    ])
    expect(error.message).toBe(
      `NOT_OWNED: the CPU loaded from "x" while a device had it, as "y"[3] show: await heap.sync(x, 'read') before`,
    )
    y[3] = 0
    await heap.sync(y)
  })

  it('a store is reported also after the array was freed', async () => {
    await open()
    const x = heap.alloc(Int32Array, 8, { name: 'x' })
    const y = heap.alloc(Int32Array, 8, { name: 'y' })
    await fixture.launch({ write: [x] }, () => {})
    x[2] = 1
    heap.free(x)
    expect(await refusal(heap.sync(y))).toBe(
      'NOT_OWNED: the CPU stored to "x"[2] while a device had them: await heap.sync(x) before',
    )
  })

  it('is not looked after without check', async () => {
    await open({ check: false })
    const x = heap.alloc(Float32Array, 8, { name: 'x' }).fill(5)
    await fixture.launch({ read: [x] }, () => {})
    x[0] = 6
    await launch(x)
    x[0] = 8
    await heap.sync(x)
    expect(x[1]).toBe(6)
  })
})
