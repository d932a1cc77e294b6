// The heap and its engine, with a way in between that only takes plain data and answers later, as the one to a worker does.

import { afterEach, beforeEach, expect, it } from 'vitest'
import { HeapFixture } from '../../../test/helpers/heap-fixture.ts'
import { findOwnAdapter } from '../../devices/webgpu/own-adapter.ts'
import { Arena, addressPages } from '../arena.ts'
import { GrowingSegments } from '../growing-segments.ts'
import { Heap } from '../heap.ts'
import { registerEngine } from '../heap-engines.ts'
import { HeapError, OwnershipError } from '../heap-error.ts'
import { parseHeapOptions } from '../heap-options.ts'
import { ArrayTable } from './array-table.ts'
import { Engine } from './engine.ts'
import { ExplicitBackend } from './explicit-backend.ts'
import { makeDevice } from './make-device.ts'
import type { EngineCall, EngineCalls, EnginePort, Reply } from './protocol.ts'

const SIZE = 2 ** 20

/** Clones whatever passes. Calls arrive in order, some turns of the event loop later, and so do the answers. */
class RemotePort implements EnginePort {
  readonly calls: string[] = []
  readonly #engine: EnginePort
  #last: Promise<void> = Promise.resolve()

  constructor(engine: EnginePort) {
    this.#engine = engine
  }

  call<C extends EngineCall>(call: C, args: EngineCalls[C]['args'], reply: (reply: Reply<C>) => void): void {
    this.calls.push(call)
    const message = call === 'segment' ? args : structuredClone(args)
    this.#last = this.#last
      .then(() => new Promise(setImmediate))
      .then(() => {
        this.#engine.call(call, message, (answer) => {
          const copy = structuredClone(answer)
          setImmediate(() => reply(copy))
        })
      })
  }

  /** Everything that was sent has arrived. */
  async arrived(): Promise<void> {
    await this.#last
  }
}

let heap: Heap
let port: RemotePort
let fixture: HeapFixture

beforeEach(async () => {
  const [device] = parseHeapOptions({ device: { kind: 'memory', memory: '64 KiB', latency: 600 } }).devices
  const arrays = new ArrayTable()
  const backend = new ExplicitBackend(addressPages(SIZE, SIZE), (pfn) => arrays.useTag(pfn))
  const engine = new Engine({ backend, arrays, devicePages: 16, verbose: false, sinks: [] })
  await engine.addDevice((site) => makeDevice(site, device, findOwnAdapter))
  port = new RemotePort(engine)
  const makeBuffer = (nbytes: number) => new SharedArrayBuffer(nbytes)
  const source = new GrowingSegments({ size: SIZE, segmentMax: SIZE, makeBuffer })
  const arena = new Arena(source, ({ addr, buffer }) => port.call('segment', { addr, buffer }, () => {}))
  heap = new Heap({ mode: 'explicit', arena, port, unfreed: 'ignore', onNotice: (text) => expect(text).toBe('') })
  registerEngine(heap, engine)
  fixture = new HeapFixture(heap)
})

afterEach(async () => {
  await port.arrived()
  fixture.check()
  await heap.close().catch(() => {})
})

it('arrays can be used before the engine knows of them, and memory again only when it is free', async () => {
  const x = heap.alloc(Float32Array, 2000).fill(1)
  heap.free(x)
  const y = heap.alloc(Float32Array, 2000).fill(2)
  expect(y.byteOffset).not.toBe(x.byteOffset)
  await heap.stats()
  // Zero at once, and what is stored now stays, although the engine hears of the array later.
  const z = heap.alloc(Float32Array, 2000)
  expect([z.byteOffset, z.every((value) => value === 0)]).toEqual([x.byteOffset, true])
  z.fill(3)
  await port.arrived()
  await fixture.launch({ read: [z], write: [y] }, ([ys], [zs]) => {
    ys[5] = Number(zs[1999])
  })
  await heap.sync(y, z)
  fixture.check()
  expect([y[5], y[6], z[0]]).toEqual([3, 2, 3])
})

it('every call and every answer is plain data', async () => {
  const x = heap.alloc(Int32Array, 3000, { name: 'x' })
  await heap.prefetch(x, { access: 'readWrite' })
  expect(`${await heap.where(x)}`).toBe('"x": 3 pages on memory')
  const pin = await heap.pin(x)
  expect(await heap.withResident([x.subarray(9)], () => x[9], 'read')).toBe(0)
  pin.unpin()
  await heap.advise(x, 'cold')
  await heap.discard(x)
  expect((await heap.stats()).counters.bytesHostToDevice.prefetch).toBe(3 * 4096)
  const sent = new Set(port.calls)
  expect(sent).toEqual(
    new Set(['segment', 'map', 'prefetch', 'where', 'hold', 'release', 'advise', 'discard', 'stats']),
  )
})

it('refusals become errors of the heap', async () => {
  const x = heap.alloc(Int32Array, 3000, { name: 'x', readOnly: true })
  await expect(heap.prefetch(x, { to: 'gpu' })).rejects.toThrow(HeapError)
  await expect(heap.prefetch(x, { to: 'gpu' })).rejects.toMatchObject({ code: 'NO_DEVICE' })
  await expect(heap.prefetch(x, { access: 'readWrite' })).rejects.toMatchObject({ code: 'READ_ONLY' })
  await heap.prefetch(x)
  x[7] = 1
  const error: unknown = await heap.sync(x).catch((error) => error)
  expect(error).toBeInstanceOf(OwnershipError)
  expect(error).toMatchObject({ misuses: [{ misuse: 'store-shared', array: 'x', first: 0, last: 63 }] })
  await heap.sync(x)
})

it('what was found at the end is an error of close()', async () => {
  const x = heap.alloc(Int32Array, 3000, { name: 'x' })
  await heap.prefetch(x, { access: 'readWrite' })
  x[7] = 1
  await expect(heap.close()).rejects.toThrow('NOT_OWNED: the CPU stored to "x"[7] while a device had them')
  await expect(heap.close()).rejects.toThrow('NOT_OWNED')
})
