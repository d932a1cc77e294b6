// Devices under a heap, in every mode: what programs that keep the rule of explicit mode see, and what receipts say.

import { afterEach, describe, expect, it } from 'vitest'
import { describeModes, ModeFixture, requires } from '../../test/helpers/mode-fixture.ts'
import type { TraceEvent } from '../trace/events.ts'
import type { Heap } from './heap.ts'
import { HeapError } from './heap-error.ts'
import type { HeapOptions } from './heap-options.ts'

const PAGE_FLOATS = 1024

await describeModes((mode) => {
  let fixture: ModeFixture
  let heap: Heap

  async function open(options: HeapOptions = {}): Promise<void> {
    fixture = await ModeFixture.open(mode, options)
    heap = fixture.heap
  }

  async function refusal(promise: Promise<unknown>): Promise<string> {
    return await promise.then(
      () => 'none',
      async (error: unknown) => {
        await fixture.check()
        return error instanceof HeapError ? error.message : `${error}`
      },
    )
  }

  afterEach(async () => {
    await fixture.close()
  })

  describe('launches', () => {
    it('take what they write and share what they read', async () => {
      await open()
      const x = heap.alloc(Float32Array, 3 * PAGE_FLOATS).fill(2)
      const y = heap.alloc(Float32Array, 2 * PAGE_FLOATS).fill(1)
      expect([await fixture.places(x), await fixture.places(y)]).toEqual(['ccc', 'cc'])
      const { pages, text } = await fixture.run('add', { read: [x], write: [y] })
      await fixture.check()
      expect([await fixture.places(x), await fixture.places(y)]).toEqual(['sss', 'DD'])
      expect(pages).toMatchObject({ duplicated: 3 })
      expect(text).toMatch(/^add on memory: direct, pages: 3 duplicated, 2 \w+; 20 KiB up, 0 B down;/)
      // Reading what is shared is allowed.
      expect([x[5], await fixture.places(x)]).toEqual([2, 'sss'])
      expect(`${await heap.sync(y)}`).toBe('sync: 2 pages to the CPU, 8 KiB copied')
      await fixture.check()
      expect([await fixture.places(y), y.every((value) => value === 3)]).toEqual(['cc', true])
    })

    it('leave devices their copies when the CPU reads, and take them when it writes', async () => {
      await open()
      const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' }).fill(2)
      expect((await fixture.run('nothing', { read: [x] })).pages).toMatchObject({ duplicated: 2, resident: 0 })
      expect(`${await heap.sync(x, 'read')}`).toBe('sync: 0 pages to the CPU; 2 pages of "x" in place')
      expect((await fixture.run('nothing', { read: [x] })).pages).toMatchObject({ duplicated: 0, resident: 2 })
      expect((await heap.sync(x.subarray(0, 1))).pages).toBe(1)
      x[0] = 7
      await fixture.check()
      expect(await fixture.places(x)).toBe('cs')
      const { pages, value } = await fixture.run('look', { read: [x], data: [0, 1, PAGE_FLOATS] })
      expect([pages, value]).toMatchObject([{ duplicated: 1, resident: 1 }, [7, 2, 2]])
    })

    it('push each other out of a device that is too small, and nothing is lost', async () => {
      await open({ device: { kind: 'memory', memory: '32 KiB' } })
      const views = [1, 2, 3, 4].map((seed, i) => {
        const view = heap.alloc(Float64Array, 5 * 512, { name: `array ${i}` })
        for (let k = 0; k < view.length; k++) view[k] = seed * k
        return view
      })
      for (let round = 0; round < 3; round++) {
        for (const view of views) await fixture.run('addOne', { write: [view] })
        await fixture.check()
      }
      const { devices } = await heap.stats()
      expect(devices).toMatchObject([{ name: 'memory', memory: 32768 }])
      expect(devices[0].used).toBeLessThanOrEqual(32768)
      expect((await Promise.all(views.map((view) => fixture.places(view)))).join('')).toMatch(/-/)
      await heap.sync(...views)
      await fixture.check()
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
      await Promise.all([
        fixture.run('fill', { write: [x], data: 2 }),
        fixture.run('copy', { read: [x], write: [y], device: 1 }),
        fixture.run('fill', { write: [x], device: 1, data: 4 }),
        fixture.run('append', { read: [x], write: [y] }),
      ])
      await fixture.check()
      await heap.sync(x, y, 'read')
      expect([x[7], y[7], y[3000]]).toEqual([4, 24, 24])
    })

    it('may not write what was allocated readOnly; the CPU may', async () => {
      await open()
      const table = heap.alloc(Float32Array, 4, { name: 'table', readOnly: true })
      table[1] = 5
      expect(await refusal(fixture.run('nothing', { write: [table] }))).toBe(
        'READ_ONLY: "table" was allocated readOnly, and a launch writes it',
      )
      expect(await refusal(heap.prefetch(table, { access: 'readWrite' }))).toMatch(
        'READ_ONLY: "table" was allocated readOnly',
      )
      expect((await fixture.run('look', { read: [table], data: [1] })).value).toEqual([5])
      await heap.sync(table)
      table[1] = 6
    })
  })

  describe('sync()', () => {
    it('gives whole pages, and those of a part of an array only', async () => {
      await open()
      const y = heap.alloc(Float32Array, 4 * PAGE_FLOATS, { name: 'y' })
      await fixture.run('addOne', { write: [y] })
      expect((await heap.sync(y.subarray(4 * PAGE_FLOATS - 1))).pages).toBe(1)
      expect([await fixture.places(y), y[3 * PAGE_FLOATS]]).toEqual(['DDDc', 1])
      expect((await heap.sync(y.subarray(PAGE_FLOATS - 1, PAGE_FLOATS + 1))).pages).toBe(2)
      expect([await fixture.places(y), await fixture.places(y.subarray(2000))]).toEqual(['ccDc', 'cDc'])
      expect(`${await heap.sync(y)}`).toBe('sync: 1 page to the CPU, 4 KiB copied; 3 pages of "y" in place')
      expect(`${await heap.sync()}`).toBe('sync: 0 pages to the CPU')
    })

    it('does nothing for what only the CPU has had', async () => {
      await open()
      const x = heap.alloc(Float32Array, 100 * PAGE_FLOATS, { name: 'x' })
      expect(`${await heap.sync(x)}`).toBe('sync: 0 pages to the CPU; 100 pages of "x" in place')
      expect((await heap.stats()).counters.cpuFaults).toBe(0)
    })

    it('waits for the launches that use the memory', async () => {
      await open({ device: { kind: 'memory', latency: 2000 } })
      const y = heap.alloc(Float32Array, PAGE_FLOATS)
      const launched = fixture.run('addOne', { write: [y] })
      const launchedAgain = fixture.run('addOne', { write: [y] })
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
      expect((await fixture.run('addOne', { write: [x] })).pages).toMatchObject({ resident: 1 })
      expect(`${await heap.prefetch(x, { to: 'cpu' })}`).toBe('prefetch: 2 pages to the CPU, 8 KiB copied')
      expect(x[0]).toBe(2)
      await fixture.check()
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
      expect(await refusal(heap.prefetch(x, { to: 1 } as never))).toMatch(`to is 1, wanted 'cpu' or the name`)
    })
  })

  describe('pin() and withResident()', () => {
    it('keep memory with the CPU: launches are refused by name', async () => {
      await open()
      const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' })
      await fixture.run('addOne', { write: [x] })
      const pin = await heap.pin(x.subarray(PAGE_FLOATS))
      await fixture.check()
      expect([`${pin}`, x[PAGE_FLOATS]]).toEqual(['pin: 1 page to the CPU, 4 KiB copied', 1])
      const launch = (array: Float32Array) => refusal(fixture.run('nothing', { read: [array] }))
      expect(await launch(x)).toBe(
        'HELD: "x" is held by withResident or pin, so a launch that uses it would wait for itself',
      )
      expect(await launch(x.subarray(0, PAGE_FLOATS))).toBe('none')
      expect((await heap.prefetch(x)).skipped).toEqual([{ array: 'x', pages: 2, why: 'held' }])
      expect(await refusal(heap.discard(x))).toMatch('HELD: "x" is held by withResident or pin, so discard would wait')
      x[PAGE_FLOATS] = 9
      pin.unpin()
      pin.unpin()
      await fixture.check()
      expect(await launch(x)).toBe('none')
    })

    it('a pin holds fresh memory too', async () => {
      await open()
      const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS).fill(3)
      const pin = await heap.pin(x, 'read')
      await fixture.check()
      expect(x.every((value) => value === 3)).toBe(true)
      pin.unpin()
      await fixture.check()
      expect((await fixture.run('look', { read: [x], data: [2000] })).value).toEqual([3])
    })

    it('withResident() hands out what the function returns, and lets go whatever happens', async () => {
      await open()
      const x = heap.alloc(Float32Array, 4, { name: 'x' })
      const y = heap.alloc(Float32Array, 4, { name: 'y' })
      await fixture.run('addOne', { write: [x, y] })
      const sum = await heap.withResident([x, y], async () => {
        await null
        expect(await refusal(fixture.run('nothing', { write: [y] }))).toMatch('HELD: "y" is held')
        return x[0] + y[0]
      })
      expect(sum).toBe(2)
      const wrong = heap.withResident(x, () => {
        throw new Error('wrong')
      })
      await expect(wrong).rejects.toThrow('wrong')
      await fixture.check()
      await fixture.run('addOne', { write: [x, y] })
      expect(await refusal(heap.withResident(x, 1 as never))).toMatch('body is 1, wanted a function')
    })

    it('an array that is freed while it is held goes when it is let go', async () => {
      await open()
      const x = heap.alloc(Float32Array, PAGE_FLOATS)
      const pin = await heap.pin(x)
      heap.free(x)
      await fixture.settled()
      const y = heap.alloc(Float32Array, PAGE_FLOATS)
      expect(y.byteOffset).not.toBe(x.byteOffset)
      pin.unpin()
      await fixture.settled()
      await fixture.check()
      expect(heap.alloc(Float32Array, PAGE_FLOATS).byteOffset).toBe(x.byteOffset)
    })
  })

  describe('discard() and free()', () => {
    it('discard() makes memory zero, and nobody copies it again', async () => {
      await open()
      const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' })
      await fixture.run('addOne', { write: [x] })
      expect(`${await heap.discard(x)}`).toBe('discard: 2 pages discarded')
      await fixture.check()
      expect([await fixture.places(x), x.every((value) => value === 0)]).toEqual(['cc', true])
      expect((await heap.stats()).byArray['x'].bytesDeviceToHost).toMatchObject({ user: 0, fault: 0, eviction: 0 })
      x[0] = 4
      expect((await fixture.run('look', { read: [x], data: [0, 1] })).value).toEqual([4, 0])
      await heap.discard(x)
      expect(x[0]).toBe(0)
    })

    it('discard() leaves pages that have other elements too', async () => {
      await open()
      const x = heap.alloc(Float32Array, 4 * PAGE_FLOATS, { name: 'x' }).fill(1)
      const receipt = await heap.discard(x.subarray(10, 3 * PAGE_FLOATS + 10))
      expect([receipt.pages, receipt.skipped]).toEqual([2, [{ array: 'x', pages: 2, why: 'in part' }]])
      expect([x[0], x[20], x[PAGE_FLOATS], x[3 * PAGE_FLOATS - 1], x[3 * PAGE_FLOATS]]).toEqual([1, 1, 0, 0, 1])
      // The last page of an array has no elements of others.
      const y = heap.alloc(Int8Array, 5).fill(1)
      expect([(await heap.discard(y)).pages, y[0]]).toEqual([1, 0])
    })

    it('discard() takes effect after the launches that use the memory', async () => {
      await open({ device: { kind: 'memory', latency: 2000 } })
      const x = heap.alloc(Float32Array, PAGE_FLOATS)
      const launched = fixture.run('lookAndSet', { write: [x], data: 5 })
      await heap.discard(x)
      expect(x[0]).toBe(0)
      expect((await launched).value).toBe(0)
    })

    it('free() takes effect after the launches that use the array', async () => {
      await open()
      await fixture.extension('silence')
      const x = heap.alloc(Float32Array, PAGE_FLOATS).fill(6)
      const launched = fixture.run('lookWhenTold', { read: [x], data: [5] })
      heap.free(x)
      await fixture.settled()
      const y = heap.alloc(Float32Array, PAGE_FLOATS)
      expect(y.byteOffset).not.toBe(x.byteOffset)
      await fixture.extension('tell')
      expect((await launched).value).toEqual([6])
      await fixture.settled()
      await fixture.check()
      expect(heap.alloc(Float32Array, PAGE_FLOATS).byteOffset).toBe(x.byteOffset)
    })

    it('free() gives device memory back', async () => {
      await open()
      const x = heap.alloc(Float32Array, 10 * PAGE_FLOATS)
      await fixture.run('addOne', { write: [x] })
      expect((await heap.stats()).devices[0].used).toBe(40960)
      heap.free(x)
      await fixture.check()
      expect((await heap.stats()).devices[0].used).toBe(0)
      const again = heap.alloc(Float32Array, 10 * PAGE_FLOATS)
      expect([again.byteOffset, again.every((value) => value === 0)]).toEqual([x.byteOffset, true])
    })
  })

  describe('a migration that takes its time', () => {
    it('does not keep new arrays from being used, by devices either', async () => {
      await open({ device: { kind: 'memory', latency: 5000 } })
      const x = heap.alloc(Float32Array, 4 * PAGE_FLOATS)
      await fixture.run('addOne', { write: [x] })
      const syncing = heap.sync(x)
      await fixture.settled()
      const y = heap.alloc(Float32Array, 4 * PAGE_FLOATS).fill(8)
      const launched = fixture.run('add', { read: [y], write: [x] })
      expect((await syncing).pages).toBe(4)
      await launched
      await heap.sync(x)
      await fixture.check()
      expect([x[0], x[4095]]).toEqual([9, 9])
    })

    it('close() waits for what is in progress', async () => {
      await open({ device: { kind: 'memory', latency: 3000 } })
      const x = heap.alloc(Float32Array, PAGE_FLOATS)
      const launched = fixture.run('lookAndSet', { write: [x], data: 1 })
      const syncing = heap.sync(x)
      await heap.close()
      expect([(await launched).value, (await syncing).operation]).toEqual([0, 'sync'])
      await open()
    })
  })

  describe('where(), advise() and stats()', () => {
    it('where() tells element by element', async () => {
      await open()
      const x = heap.alloc(Float64Array, 4 * 512, { name: 'x' })
      await fixture.run('nothing', { write: [x.subarray(512, 1024)], read: [x.subarray(1500)] })
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

    it('advise() cold frees device memory', async () => {
      await open()
      const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' })
      await fixture.run('addOne', { write: [x] })
      expect(`${await heap.advise(x, 'cold')}`).toBe('advise: 2 pages to system memory, 8 KiB copied')
      await fixture.check()
      expect((await heap.stats()).devices[0].used).toBe(0)
      expect(`${await heap.advise(x, 'cold')}`).toBe('advise: 0 pages to system memory; 2 pages of "x" in place')
      await heap.sync(x)
      expect(x[0]).toBe(1)
      expect(await refusal(heap.advise(x, 'hot' as 'cold'))).toMatch(
        'advice is "hot", wanted one of normal, sequential',
      )
    })

    it('stats() and traces have the names of arrays', async () => {
      const events: TraceEvent[] = []
      await open({ trace: { sinks: [{ write: (event) => void events.push(event) }], verbose: true } })
      const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' })
      const y = heap.alloc(Float32Array, PAGE_FLOATS, { name: 'y' })
      await fixture.run('addOne', { read: [x], write: [y] })
      await heap.sync(y)
      const stats = await heap.stats()
      expect(stats).toMatchObject({ mode: mode.name, arrays: 2, allocated: 12288, reserved: 4 * 2 ** 20, waiting: [] })
      expect(stats.byArray['x'].pagesDuplicated).toBe(2)
      expect(stats.byArray['y'].bytesDeviceToHost.user).toBe(4096)
      expect(stats.counters.pagesDuplicated).toBe(2)
      expect(`${stats}`).toBe(`heap, ${mode.name}: 2 arrays, 12 KiB; memory 0 B of 64 KiB`)
      await fixture.run('nothing', { read: [y] })
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
      await fixture.run('addOne', { read: [x], write: [y] })
      await fixture.extension('lose', 'pulled out')
      expect(await refusal(heap.sync(y))).toBe(
        'LOST: the newest contents of "y" went with memory, which is lost; discard them to go on',
      )
      await heap.sync(x)
      expect(x[0]).toBe(1)
      await heap.discard(y)
      expect([(await heap.sync(y)).pages, y[0]]).toEqual([0, 0])
    })
  })

  describe('a touch', () => {
    it('brings what a device has, without sync', async (test) => {
      requires(test, mode, 'traps')
      await open()
      const x = heap.alloc(Float32Array, 8 * PAGE_FLOATS, { name: 'x' }).fill(1)
      for (let round = 0; round < 5; round++) {
        await fixture.run('addOne', { write: [x] })
        expect(await fixture.places(x)).toBe('DDDDDDDD')
        expect(x[3 * PAGE_FLOATS]).toBe(round + 2)
        expect((await fixture.places(x))[3]).toBe('c')
      }
      expect(x.every((value) => value === 6)).toBe(true)
      await fixture.check()
      const { counters } = await heap.stats()
      expect([counters.cpuFaults > 5, counters.bytesDeviceToHost.fault > 0]).toEqual([true, true])
    })

    it('of what a launch writes sees the value after it', async (test) => {
      requires(test, mode, 'traps')
      await open()
      const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' })
      const launched = fixture.run('addOneToImpatience', { write: [x], data: 60 })
      while ((await fixture.places(x)) !== 'DD') await new Promise((resolve) => setTimeout(resolve, 5))
      // This thread waits here, and the engine goes on.
      expect([x[0], x[2047]]).toEqual([1, 1])
      await launched
      const { byArray, waiting } = await heap.stats()
      expect([byArray['x'].stalls, waiting]).toEqual([1, []])
    })

    it('store reaches the next launch, also beside a copy that the device has', async (test) => {
      requires(test, mode, 'traps')
      await open()
      const x = heap.alloc(Float32Array, 2 * PAGE_FLOATS, { name: 'x' }).fill(1)
      for (let round = 2; round < 9; round++) {
        expect((await fixture.run('look', { read: [x], data: [0, 2000] })).value).toEqual([round - 1, 1])
        x[0] = round
      }
      await fixture.check()
    })
  })
})
