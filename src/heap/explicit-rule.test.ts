import { afterEach, describe, expect, it } from 'vitest'
import { HeapFixture } from '../../test/helpers/heap-fixture.ts'
import { formatReceipt } from '../devices/memory/index.ts'
import type { TraceEvent } from '../trace/events.ts'
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

describe('launches', () => {
  it('take what they write and share what they read', async () => {
    await open()
    const x = heap.alloc(Float32Array, 3 * PAGE_FLOATS).fill(2)
    const y = heap.alloc(Float32Array, 2 * PAGE_FLOATS).fill(1)
    expect([await fixture.places(x), await fixture.places(y)]).toEqual(['ccc', 'cc'])
    const receipt = await fixture.launch({ name: 'add', read: [x], write: [y] }, ([ys], [xs]) => {
      for (let i = 0; i < ys.length; i++) ys[i] = Number(ys[i]) + Number(xs[i])
    })
    fixture.check()
    expect([await fixture.places(x), await fixture.places(y)]).toEqual(['sss', 'DD'])
    expect(formatReceipt(receipt)).toMatch(
      /^add on memory: direct, pages: 3 duplicated, 2 pinned; 20 KiB up, 0 B down;/,
    )
    // Reading what is shared is allowed, and y is a pattern.
    expect([x[5], y[5]]).toEqual([2, Number.NaN])
    expect(`${await heap.sync(y)}`).toBe('sync: 2 pages to the CPU, 8 KiB copied')
    fixture.check()
    expect([await fixture.places(y), y.every((value) => value === 3)]).toEqual(['cc', true])
  })

  it('leave devices their copies when the CPU reads, and take them when it writes', async () => {
    await open()
    const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' }).fill(2)
    const read = () => fixture.launch({ read: [x] }, () => {})
    expect((await read()).pages).toMatchObject({ duplicated: 2, resident: 0 })
    expect(`${await heap.sync(x, 'read')}`).toBe('sync: 0 pages to the CPU; 2 pages of "x" in place')
    expect((await read()).pages).toMatchObject({ duplicated: 0, resident: 2 })
    expect((await heap.sync(x.subarray(0, 1))).pages).toBe(1)
    x[0] = 7
    fixture.check()
    expect(await fixture.places(x)).toBe('cs')
    let seen: unknown
    const { pages } = await fixture.launch({ read: [x] }, (_, [xs]) => {
      seen = [xs[0], xs[1], xs[PAGE_FLOATS]]
    })
    expect([pages, seen]).toMatchObject([{ duplicated: 1, resident: 1 }, [7, 2, 2]])
  })

  it('push each other out of a device that is too small, and nothing is lost', async () => {
    await open({ device: { kind: 'memory', memory: '32 KiB' } })
    const arrays = [1, 2, 3, 4].map((seed) => heap.alloc(Float64Array, 5 * 512).map((_, i) => seed * i))
    const views = arrays.map((from, i) => {
      const view = heap.alloc(Float64Array, from.length, { name: `array ${i}` })
      view.set(from)
      return view
    })
    for (let round = 0; round < 3; round++) {
      for (const view of views) await fixture.launch({ write: [view] }, addOne as never)
      fixture.check()
    }
    expect((await heap.stats()).devices).toMatchObject([{ name: 'memory', memory: 32768, used: expect.any(Number) }])
    expect((await Promise.all(views.map((view) => fixture.places(view)))).join('')).toMatch(/-/)
    await heap.sync(...views)
    fixture.check()
    expect(views.every((view, seed) => view.every((value, i) => value === (seed + 1) * i + 3))).toBe(true)
  })

  it('follow each other across devices in the order in which they were handed in', async () => {
    await open({
      device: [
        { kind: 'memory', memory: '64 KiB', name: 'a', latency: 900 },
        { kind: 'memory', memory: '64 KiB', name: 'b' },
      ],
    })
    const x = heap.alloc(Float32Array, 3 * PAGE_FLOATS).fill(1)
    const y = heap.alloc(Float32Array, 3 * PAGE_FLOATS)
    const launches = [
      fixture.launch({ write: [x] }, ([xs]) => void (xs as Float32Array).fill(2)),
      fixture.launch({ read: [x], write: [y], device: 1 }, ([ys], [xs]) =>
        (ys as Float32Array).set(xs as Float32Array),
      ),
      fixture.launch({ write: [x], device: 1 }, ([xs]) => void (xs as Float32Array).fill(4)),
      fixture.launch({ read: [x], write: [y] }, ([ys], [xs]) => {
        for (let i = 0; i < ys.length; i++) ys[i] = 10 * Number(ys[i]) + Number(xs[i])
      }),
    ]
    await Promise.all(launches)
    fixture.check()
    await heap.sync(x, y, 'read')
    expect([x[7], y[7], y[3000]]).toEqual([4, 24, 24])
  })

  it('may not write what was allocated readOnly; the CPU may', async () => {
    await open()
    const table = heap.alloc(Float32Array, 4, { name: 'table', readOnly: true })
    table[1] = 5
    expect(await refused(() => fixture.launch({ write: [table] }, () => {}))).toBe(
      'READ_ONLY: "table" was allocated readOnly, and a launch writes it',
    )
    expect(await refusal(heap.prefetch(table, { access: 'readWrite' }))).toMatch(
      'READ_ONLY: "table" was allocated readOnly',
    )
    await fixture.launch({ read: [table] }, (_, [values]) => expect(values[1]).toBe(5))
    await heap.sync(table)
    table[1] = 6
  })
})

describe('sync()', () => {
  it('gives whole pages, and those of a part of an array only', async () => {
    await open()
    const y = heap.alloc(Float32Array, 4 * PAGE_FLOATS, { name: 'y' })
    await fixture.launch({ write: [y] }, addOne as never)
    expect((await heap.sync(y.subarray(4 * PAGE_FLOATS - 1))).pages).toBe(1)
    expect([await fixture.places(y), y[3 * PAGE_FLOATS], y[0]]).toEqual(['DDDc', 1, Number.NaN])
    expect((await heap.sync(y.subarray(PAGE_FLOATS - 1, PAGE_FLOATS + 1))).pages).toBe(2)
    expect([await fixture.places(y), await fixture.places(y.subarray(2000))]).toEqual(['ccDc', 'cDc'])
    expect(`${await heap.sync(y)}`).toBe('sync: 1 page to the CPU, 4 KiB copied; 3 pages of "y" in place')
    expect(`${await heap.sync()}`).toBe('sync: 0 pages to the CPU')
  })

  it('does nothing for what only the CPU has had', async () => {
    await open()
    const x = heap.alloc(Float32Array, 100 * PAGE_FLOATS, { name: 'x' })
    expect(`${await heap.sync(x)}`).toBe('sync: 0 pages to the CPU; 100 pages of "x" in place')
    expect(fixture.engine.mm.pageTable.findPte(4096)).toBeNull()
  })

  it('waits for the launches that use the memory', async () => {
    await open({ device: { kind: 'memory', latency: 2000 } })
    const y = heap.alloc(Float32Array, PAGE_FLOATS)
    const launched = fixture.launch({ write: [y] }, addOne as never)
    const launchedAgain = fixture.launch({ write: [y] }, addOne as never)
    await heap.sync(y)
    expect(y[0]).toBe(2)
    await Promise.all([launched, launchedAgain])
    expect(await fixture.places(y)).toBe('c')
  })

  it('refuses what is no access, and views that are not of the heap', async () => {
    await open()
    const x = heap.alloc(Float32Array, 1)
    expect(await refusal(heap.sync(x, 'write' as 'read'))).toMatch('access is "write", wanted one of read, readWrite')
    expect(await refusal(heap.sync(x, new Float32Array(1)))).toMatch(
      'FOREIGN_VIEW: Float32Array of 4 bytes is not of this heap',
    )
    expect(await refusal(heap.sync(null as never))).toMatch('view is null')
  })
})

describe('prefetch()', () => {
  it('brings memory to a device for reading or writing, and says what it did', async () => {
    await open()
    const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' }).fill(1)
    expect(`${await heap.prefetch(x)}`).toBe('prefetch: 2 pages to the device, 8 KiB copied')
    expect([await fixture.places(x), x[0]]).toEqual(['ss', 1])
    expect(`${await heap.prefetch(x)}`).toBe('prefetch: 0 pages to the device; 2 pages of "x" in place')
    expect((await heap.prefetch(x.subarray(0, 9), { to: 'memory', access: 'readWrite' })).pages).toBe(1)
    expect(await fixture.places(x)).toBe('Ds')
    expect((await fixture.launch({ write: [x] }, addOne as never)).pages).toMatchObject({ resident: 1, pinned: 1 })
    expect(`${await heap.prefetch(x, { to: 'cpu' })}`).toBe('prefetch: 2 pages to the CPU, 8 KiB copied')
    expect([await fixture.places(x), x[0]]).toEqual(['ss', 2])
    fixture.check()
  })

  it('is a hint: without a device, or room, it does less', async () => {
    await open({ device: { kind: 'memory', memory: '8 KiB' } })
    const x = heap.alloc(Float32Array, 3 * PAGE_FLOATS, { name: 'x' })
    expect((await heap.prefetch(x)).skipped).toEqual([{ array: 'x', pages: 3, why: 'no room' }])
    await fixture.close()
    await open({ device: [] })
    expect(`${await heap.prefetch(heap.alloc(Int8Array, 1, { name: 'x' }))}`).toBe(
      'prefetch: 0 pages to the device; 1 page of "x" no device',
    )
  })

  it('refuses a device that is not there, and options that are none', async () => {
    await open()
    const x = heap.alloc(Int8Array, 1)
    expect(await refusal(heap.prefetch(x, { to: 'gpu' }))).toBe('NO_DEVICE: there is no device "gpu", only "memory"')
    expect(await refusal(heap.prefetch(x, { too: 'gpu' } as never))).toMatch('options.too is no option')
    expect(await refusal(heap.prefetch(x, { to: 1 } as never))).toMatch(`to is 1, wanted 'cpu' or the name of a device`)
  })
})

describe('pin() and withResident()', () => {
  it('keep memory with the CPU: launches are refused by name', async () => {
    await open()
    const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' })
    await fixture.launch({ write: [x] }, addOne as never)
    const pin = await heap.pin(x.subarray(PAGE_FLOATS))
    fixture.check()
    expect([`${pin}`, x[PAGE_FLOATS]]).toEqual(['pin: 1 page to the CPU, 4 KiB copied', 1])
    const launch = (array: Float32Array) => refused(() => fixture.launch({ read: [array] }, () => {}))
    expect(await launch(x)).toBe(
      'HELD: "x" is held by withResident or pin, so a launch that uses it would wait for itself',
    )
    expect(await launch(x.subarray(0, PAGE_FLOATS))).toBe('none')
    expect((await heap.prefetch(x)).skipped).toEqual([{ array: 'x', pages: 2, why: 'held' }])
    expect(await refusal(heap.discard(x))).toMatch('HELD: "x" is held by withResident or pin, so discard would wait')
    x[PAGE_FLOATS] = 9
    pin.unpin()
    pin.unpin()
    fixture.check()
    expect(await launch(x)).toBe('none')
  })

  it('a pin holds fresh memory too', async () => {
    await open()
    const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS).fill(3)
    const pin = await heap.pin(x, 'read')
    fixture.check()
    expect(x.every((value) => value === 3)).toBe(true)
    pin.unpin()
    fixture.check()
    await fixture.launch({ read: [x] }, (_, [xs]) => expect(xs[2000]).toBe(3))
  })

  it('withResident() hands out what the function returns, and lets go whatever happens', async () => {
    await open()
    const x = heap.alloc(Float32Array, 4, { name: 'x' })
    const y = heap.alloc(Float32Array, 4, { name: 'y' })
    await fixture.launch({ write: [x, y] }, addOne as never)
    const sum = await heap.withResident([x, y], async () => {
      await null
      expect(await refused(() => fixture.launch({ write: [y] }, () => {}))).toMatch('HELD: "y" is held')
      return x[0] + y[0]
    })
    expect(sum).toBe(2)
    const wrong = heap.withResident(x, () => {
      throw new Error('wrong')
    })
    await expect(wrong).rejects.toThrow('wrong')
    fixture.check()
    await fixture.launch({ write: [x, y] }, addOne as never)
    expect(await refusal(heap.withResident(x, 1 as never))).toMatch('body is 1, wanted a function')
  })

  it('an array that is freed while it is held goes when it is let go', async () => {
    await open()
    const x = heap.alloc(Float32Array, PAGE_FLOATS)
    const pin = await heap.pin(x)
    heap.free(x)
    const y = heap.alloc(Float32Array, PAGE_FLOATS)
    expect(y.byteOffset).not.toBe(x.byteOffset)
    pin.unpin()
    await new Promise(setImmediate)
    fixture.check()
    expect(heap.alloc(Float32Array, PAGE_FLOATS).byteOffset).toBe(x.byteOffset)
  })
})

describe('discard()', () => {
  it('makes memory zero, and nobody copies it again', async () => {
    await open()
    const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' })
    await fixture.launch({ write: [x] }, addOne as never)
    expect(`${await heap.discard(x)}`).toBe('discard: 2 pages discarded')
    fixture.check()
    expect([await fixture.places(x), x.every((value) => value === 0)]).toEqual(['cc', true])
    expect((await heap.stats()).byArray['x'].bytesDeviceToHost).toMatchObject({ user: 0, fault: 0, eviction: 0 })
    x[0] = 4
    await fixture.launch({ read: [x] }, (_, [xs]) => expect([xs[0], xs[1]]).toEqual([4, 0]))
    await heap.discard(x)
    expect(x[0]).toBe(0)
  })

  it('leaves pages that have other elements too', async () => {
    await open()
    const x = heap.alloc(Float32Array, 4 * PAGE_FLOATS, { name: 'x' }).fill(1)
    const receipt = await heap.discard(x.subarray(10, 3 * PAGE_FLOATS + 10))
    expect([receipt.pages, receipt.skipped]).toEqual([2, [{ array: 'x', pages: 2, why: 'in part' }]])
    expect([x[0], x[20], x[PAGE_FLOATS], x[3 * PAGE_FLOATS - 1], x[3 * PAGE_FLOATS]]).toEqual([1, 1, 0, 0, 1])
    // The last page of an array has no elements of others.
    const y = heap.alloc(Int8Array, 5).fill(1)
    expect([(await heap.discard(y)).pages, y[0]]).toEqual([1, 0])
  })

  it('takes effect after the launches that use the memory', async () => {
    await open({ device: { kind: 'memory', latency: 2000 } })
    const x = heap.alloc(Float32Array, PAGE_FLOATS)
    const seen: number[] = []
    const launched = fixture.launch({ write: [x] }, async ([xs]) => {
      await null
      seen.push(Number(xs[0]))
      xs[0] = 5
    })
    x[0] = 3
    await heap.discard(x)
    expect([seen.length, x[0]]).toEqual([1, 0])
    await launched
  })
})

describe('free()', () => {
  it('takes effect after the launches that use the array', async () => {
    await open({ device: { kind: 'memory', latency: 2000 } })
    const x = heap.alloc(Float32Array, PAGE_FLOATS).fill(6)
    let seen = 0
    const launched = fixture.launch({ read: [x] }, (_, [xs]) => {
      seen = Number(xs[5])
    })
    heap.free(x)
    const y = heap.alloc(Float32Array, PAGE_FLOATS)
    expect(y.byteOffset).not.toBe(x.byteOffset)
    await launched
    await new Promise(setImmediate)
    fixture.check()
    expect(seen).toBe(6)
    expect(heap.alloc(Float32Array, PAGE_FLOATS).byteOffset).toBe(x.byteOffset)
  })

  it('gives device memory back', async () => {
    await open()
    const x = heap.alloc(Float32Array, 10 * PAGE_FLOATS)
    await fixture.launch({ write: [x] }, addOne as never)
    expect((await heap.stats()).devices[0].used).toBe(40960)
    heap.free(x)
    fixture.check()
    expect((await heap.stats()).devices[0].used).toBe(0)
    const again = heap.alloc(Float32Array, 10 * PAGE_FLOATS)
    expect([again.byteOffset, again.every((value) => value === 0)]).toEqual([x.byteOffset, true])
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

  it('close() waits for what is in progress', async () => {
    await open({ device: { kind: 'memory', latency: 3000 } })
    const x = heap.alloc(Float32Array, PAGE_FLOATS)
    let ran = false
    const launched = fixture.launch({ write: [x] }, () => {
      ran = true
    })
    const syncing = heap.sync(x)
    await heap.close()
    expect(ran).toBe(true)
    await Promise.all([launched, syncing])
  })
})

describe('where(), advise() and stats()', () => {
  it('where() tells element by element', async () => {
    await open()
    const x = heap.alloc(Float64Array, 4 * 512, { name: 'x' })
    await fixture.launch({ write: [x.subarray(512, 1024)], read: [x.subarray(1500)] }, () => {})
    const where = await heap.where(x)
    expect(where.runs).toEqual([
      { first: 0, last: 511, place: 'cpu', pages: 1 },
      { first: 512, last: 1023, place: 'device', device: 'memory', pages: 1 },
      { first: 1024, last: 2047, place: 'shared', pages: 2 },
    ])
    expect(`${where}`).toBe('"x": 1 page with the CPU, 1 page on memory, 2 pages shared for reading')
    expect((await heap.where(x.subarray(1000, 1030))).runs).toEqual([
      { first: 0, last: 23, place: 'device', device: 'memory', pages: 1 },
      { first: 24, last: 29, place: 'shared', pages: 1 },
    ])
    expect(`${await heap.where(x.subarray(3, 3))}`).toBe('"x": no pages')
  })

  it('advise() cold frees device memory, and the CPU still needs sync', async () => {
    await open()
    const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' })
    await fixture.launch({ write: [x] }, addOne as never)
    expect(`${await heap.advise(x, 'cold')}`).toBe('advise: 2 pages to system memory, 8 KiB copied')
    fixture.check()
    expect([await fixture.places(x), x[0]]).toEqual(['--', Number.NaN])
    expect((await heap.stats()).devices[0].used).toBe(0)
    expect(`${await heap.advise(x, 'cold')}`).toBe('advise: 0 pages to system memory; 2 pages of "x" in place')
    await heap.sync(x)
    expect(x[0]).toBe(1)
    expect((await heap.advise(x, 'random')).skipped).toEqual([{ array: 'x', pages: 2, why: 'only live' }])
    expect(await refusal(heap.advise(x, 'hot' as 'cold'))).toMatch('advice is "hot", wanted one of normal, sequential')
  })

  it('stats() and traces have the names of arrays', async () => {
    const events: TraceEvent[] = []
    await open({ trace: { sinks: [{ write: (event) => void events.push(event) }], verbose: true } })
    const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' })
    const y = heap.alloc(Float32Array, PAGE_FLOATS, { name: 'y' })
    await fixture.launch({ read: [x], write: [y] }, addOne as never)
    await heap.sync(y)
    const stats = await heap.stats()
    expect(stats).toMatchObject({ mode: 'explicit', arrays: 2, allocated: 12288, reserved: 4 * 2 ** 20 })
    expect(stats.byArray['x'].pagesDuplicated).toBe(2)
    expect(stats.byArray['y'].bytesDeviceToHost.user).toBe(4096)
    expect(stats.counters.pagesDuplicated).toBe(2)
    expect(`${stats}`).toBe('heap, explicit: 2 arrays, 12 KiB; memory 0 B of 64 KiB')
    await fixture.launch({ read: [y] }, () => {})
    // What was handed out stays as it is.
    expect([stats.counters.pagesDuplicated, (await heap.stats()).counters.pagesDuplicated]).toEqual([2, 3])
    expect(events.some(({ kind, allocation }) => kind === 'duplication' && allocation === 'x')).toBe(true)
  })
})

describe('a device that is lost', () => {
  it('what was only there is refused by name until it is discarded; all else goes on', async () => {
    await open()
    const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' }).fill(1)
    const y = heap.alloc(Float32Array, PAGE_FLOATS, { name: 'y' }).fill(2)
    await fixture.launch({ read: [x], write: [y] }, addOne as never)
    fixture.device().device.lose('pulled out')
    expect(await refusal(heap.sync(y))).toBe(
      'LOST: the newest contents of "y" went with memory, which is lost; discard them to go on',
    )
    expect(`${await heap.sync(x)}`).toMatch('sync: 2 pages to the CPU')
    expect(x[0]).toBe(1)
    await heap.discard(y)
    expect([(await heap.sync(y)).pages, y[0]]).toEqual([0, 0])
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
