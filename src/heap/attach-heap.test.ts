// The heap of another thread: what one allocates, both can use.

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AttachedTask } from '../../test/helpers/attached-thread.ts'
import { describeModes, ModeFixture } from '../../test/helpers/mode-fixture.ts'
import { programUrl } from '../../test/helpers/programs.ts'
import type { Heap } from './heap.ts'
import { attachHeap, openHeap } from './on-node.ts'

const PROGRAM = programUrl('test/helpers/attached-thread.ts')

class Attached {
  readonly worker: Worker
  /** Of the heap that it has attached. */
  notices: string[] = []
  readonly #answers: unknown[] = []

  constructor() {
    this.worker = new Worker(PROGRAM)
    this.worker.on('message', (message: { notice?: string }) => {
      if (message.notice === undefined) this.#answers.push(message)
      else this.notices.push(message.notice)
    })
  }

  async next(): Promise<unknown> {
    while (this.#answers.length === 0) await once(this.worker, 'message')
    const { answer, code, message } = this.#answers.shift() as { answer?: unknown; code?: string; message?: string }
    if (code !== undefined) throw Object.assign(new Error(message), { code })
    return answer
  }

  do(task: AttachedTask): Promise<unknown> {
    if (task.do === 'attach') this.notices = []
    this.worker.postMessage(task)
    return this.next()
  }
}

// A thread takes longer to begin than all that it does here.
const other = new Attached()
afterAll(() => other.worker.terminate())

await describeModes((mode) => {
  let fixture: ModeFixture
  let heap: Heap

  beforeEach(async () => {
    fixture = await ModeFixture.open(mode, { size: '64 MiB' })
    heap = fixture.heap
    expect(await other.do({ do: 'attach', handle: heap.handle })).toBe(mode.name)
  })

  afterEach(async () => {
    await fixture.close()
  })

  describe('attachHeap()', () => {
    it('arrays of one thread can be synced, prefetched and used by launches of the other', async () => {
      const x = heap.alloc(Float32Array, 2048, { name: 'x' }).fill(1)
      expect(await other.do({ do: 'prefetch', array: x })).toBe('prefetch: 2 pages to the device, 8 KiB copied')
      expect(await fixture.places(x)).toBe('DD')
      expect(await other.do({ do: 'sync', array: x })).toBe('sync: 2 pages to the CPU')
      expect(await other.do({ do: 'addOne', array: x })).toMatchObject({ resident: 0 })
      await other.do({ do: 'sync', array: x })
      expect(await other.do({ do: 'sum', array: x })).toBe(4096)
      expect(await other.do({ do: 'where', array: x })).toBe('"x": 2 pages with the CPU')
      expect(await other.do({ do: 'pointer', array: x.subarray(1000) })).toEqual([heap.ptr(x) + 1000, 2])
    })

    it('arrays of the other thread are known here, whatever buffer they came with', async () => {
      const y = (await other.do({ do: 'alloc', length: 3000, value: 2 })) as Float32Array
      expect(y.buffer).not.toBe(heap.alloc(Int8Array, 1).buffer)
      expect([y[0], y[2999], y.length]).toEqual([2, 2, 3000])
      await fixture.run('addOne', { write: [y] })
      expect(`${await heap.sync(y)}`).toBe('sync: 3 pages to the CPU, 12 KiB copied')
      expect(y.every((value) => value === 3)).toBe(true)
      // And back again.
      expect(await other.do({ do: 'sum', array: y })).toBe(9000)
      expect(await other.do({ do: 'arrays' })).toMatchObject([{ bytes: 12000 }])
      await fixture.check()
    })

    it('both allocate at the same time and never the same memory; numbers are given once', async () => {
      const mine: Float32Array[] = []
      const theirs: Float32Array[] = []
      for (let i = 0; i < 12; i++) {
        const coming = other.do({ do: 'alloc', length: 1000 + 700 * i, value: 100 + i })
        mine.push(heap.alloc(Float32Array, 1500 + 300 * i).fill(i))
        theirs.push((await coming) as Float32Array)
      }
      expect(mine.every((array, i) => array.every((value) => value === i))).toBe(true)
      expect(theirs.every((array, i) => array.every((value) => value === 100 + i))).toBe(true)
      await fixture.check()
      const names = [...heap.arrays, ...((await other.do({ do: 'arrays' })) as { name: string }[])].map(
        ({ name }) => name,
      )
      expect(new Set(names).size).toBe(24)
    })

    it('one frees what the other has allocated, who gets the room back', async () => {
      const x = heap.alloc(Float32Array, 3000)
      const y = (await other.do({ do: 'alloc', length: 3000, value: 2 })) as Float32Array
      expect(await other.do({ do: 'free', array: x })).toBeNull()
      await expect(heap.sync(x)).rejects.toMatchObject({ code: 'USE_AFTER_FREE' })
      heap.free(y)
      await fixture.settled()
      await expect(other.do({ do: 'sync', array: y })).rejects.toMatchObject({ code: 'USE_AFTER_FREE' })
      expect(heap.alloc(Float32Array, 3000).byteOffset).toBe(x.byteOffset)
      const again = (await other.do({ do: 'alloc', length: 3000, value: 4 })) as Float32Array
      expect([again.byteOffset, again[7]]).toEqual([y.byteOffset, 4])
      expect(await fixture.extension('countMappings')).toBe(2)
    })

    it('what is no whole array is not freed, and a second time neither', async () => {
      const x = heap.alloc(Float32Array, 3000)
      await other.do({ do: 'free', array: x.subarray(1) })
      await other.do({ do: 'free', array: x })
      await other.do({ do: 'free', array: x })
      expect(other.notices).toEqual([
        'hetmem: freeing an array of another thread failed: a view of 11996 bytes is not the whole of an array',
        'hetmem: freeing an array of another thread failed: a view of 12000 bytes is not the whole of an array',
      ])
      expect(() => heap.free(x)).toThrow('DOUBLE_FREE')
    })

    it('close() of the attached one leaves everything as it is', async () => {
      const y = (await other.do({ do: 'alloc', length: 3000, value: 2 })) as Float32Array
      const gone = (await other.do({ do: 'alloc', length: 10, value: 2 })) as Float32Array
      await other.do({ do: 'free', array: gone })
      expect(await other.do({ do: 'close' })).toBe(1)
      await expect(other.do({ do: 'stats' })).rejects.toMatchObject({ code: 'CLOSED' })
      expect([y[1], `${await heap.prefetch(y)}`]).toEqual([2, 'prefetch: 3 pages to the device, 12 KiB copied'])
      heap.free(y)
      await fixture.settled()
      expect(await fixture.extension('countMappings')).toBe(0)
    })

    it('with the heap closed, the attached one is refused', async () => {
      const { handle } = heap
      await heap.close()
      await expect(other.do({ do: 'stats' })).rejects.toMatchObject({ code: 'CLOSED' })
      await expect(attachHeap(handle)).rejects.toMatchObject({ code: 'CLOSED' })
      fixture = await ModeFixture.open(mode, { size: '64 MiB' })
    })

    it('the thread that has opened the heap can attach it too', async () => {
      const again = await attachHeap(heap.handle)
      const x = again.alloc(Float32Array, 10).fill(3)
      expect((await heap.where(x)).pages).toEqual({ cpu: 1 })
      expect(heap.ptr(x)).toBe(again.ptr(x))
      await again.close()
    })
  })
})

it('the engine of an explicit heap can be on a third thread', async () => {
  const engine = new Worker(programUrl('src/engine-worker-node-entry.ts'))
  const heap = await openHeap({ mode: 'explicit', engine, size: '64 MiB', device: { kind: 'memory' } })
  expect(await other.do({ do: 'attach', handle: heap.handle })).toBe('explicit')
  const x = heap.alloc(Float32Array, 2048, { name: 'x' }).fill(3)
  expect(await other.do({ do: 'prefetch', array: x })).toBe('prefetch: 2 pages to the device, 8 KiB copied')
  await heap.sync(x)
  const y = (await other.do({ do: 'alloc', length: 100, value: 4 })) as Float32Array
  expect([x[2047], y[99], (await heap.sync(y)).pages]).toEqual([3, 4, 0])
  heap.free(y)
  await heap.stats()
  await other.do({ do: 'free', array: x })
  expect(await other.do({ do: 'arrays' })).toEqual([])
  await heap.close()
  await expect(other.do({ do: 'stats' })).rejects.toMatchObject({ code: 'CLOSED' })
})

it('handle and attachHeap() refuse what makes no sense', async () => {
  const ordinary = await openHeap({ mode: 'explicit', shared: false })
  expect(() => ordinary.handle).toThrow('NOT_IN_MODE: handle in explicit mode')
  await ordinary.close()
  const shared = await openHeap({ mode: 'explicit', shared: true, device: [] })
  const { handle } = shared
  const others = [
    {},
    null,
    shared,
    JSON.parse(JSON.stringify(handle)),
    { ...handle, mode: 'live' },
    { ...handle, mode: 'x' },
  ]
  for (const other of others) {
    await expect(attachHeap(other as never)).rejects.toThrow(
      /^handle is \w+, wanted what `heap.handle` of another thread was$/,
    )
  }
  await shared.close()
})
