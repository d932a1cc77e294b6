// Heaps with WebGPU devices, on an adapter that the packages of this repository bring along.

import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { SAXPY } from '../../test/helpers/explicit-machine.ts'
import { ExtendedHeap } from '../../test/helpers/extended-heap.ts'
import { openGpu, whyNoGpu } from '../../test/helpers/gpu.ts'
import { checkGpuHeap, gpuDeviceOf } from '../../test/helpers/gpu-heap.ts'
import { findTestModes } from '../../test/helpers/mode-fixture.ts'
import { f32, type Heap, type HeapOptions, kernel, openHeap, readWrite, write } from '../index.ts'
import type { RunReceipt } from './run-receipt.ts'

const PAGE_FLOATS = 1024
const N = 10 * PAGE_FLOATS

const MAIN = '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u)'

let missing: string | null
let heap: Heap
const notices: string[] = []

beforeAll(async () => {
  missing = await whyNoGpu()
})

beforeEach((test) => {
  if (missing !== null) test.skip(missing)
  notices.length = 0
})

afterEach(() => {
  vi.unstubAllGlobals()
})

async function open(options: HeapOptions = {}): Promise<void> {
  const onNotice = (text: string): void => void notices.push(text)
  heap = await openHeap({ mode: 'explicit', size: '16 MiB', device: { memory: '1 MiB' }, onNotice, ...options })
}

/** `y = a * x + y`. */
function saxpy(a: number, x: Float32Array, y: Float32Array, index = 0): Promise<RunReceipt> {
  const { name } = gpuDeviceOf(heap, index)
  return heap.run(SAXPY, { x: x.subarray(0, y.length), y, a }, y.length, { device: name })
}

function arrays(length = N): { x: Float32Array; y: Float32Array } {
  const x = heap.alloc(Float32Array, length, { name: 'x' })
  for (let i = 0; i < length; i++) x[i] = i % 1000
  return { x, y: heap.alloc(Float32Array, length, { name: 'y' }).fill(1) }
}

const places = (array: Float32Array) => new ExtendedHeap(heap).places(array)

describe('a heap with a GPU', () => {
  it('computes on arrays larger than its memory', async () => {
    await open({ device: { memory: '64 KiB' } })
    const { x, y } = arrays(50 * PAGE_FLOATS + 1)
    const receipt = await saxpy(2, x, y)
    checkGpuHeap(heap)
    expect([receipt.mode, receipt.slices > 5]).toEqual(['direct', true])
    await heap.sync(y, 'read')
    expect(y.findIndex((value, i) => value !== 2 * (i % 1000) + 1)).toBe(-1)
    // Nothing of x was away.
    expect(x[50 * PAGE_FLOATS]).toBe((50 * PAGE_FLOATS) % 1000)
    await heap.close()
  })

  it('shares what launches read and takes what they write', async () => {
    await open()
    const { x, y } = arrays()
    await saxpy(1, x, y)
    checkGpuHeap(heap)
    expect([await places(x), await places(y)]).toEqual(['s'.repeat(10), 'D'.repeat(10)])
    expect(`${await heap.sync(y.subarray(0, 1))}`).toBe('sync: 1 page to the CPU, 4 KiB copied')
    expect(await places(y)).toBe(`c${'D'.repeat(9)}`)
    expect(`${await heap.prefetch(y, { access: 'readWrite' })}`).toBe(
      'prefetch: 1 page to the device, 4 KiB copied; 9 pages of "y" in place',
    )
    await heap.close()
  })

  it('finds out when the CPU touches what it does not own', async () => {
    await open({ check: true })
    const { x, y } = arrays()
    await saxpy(1, x, y)
    x[3] = 7
    await expect(heap.sync(x)).rejects.toMatchObject({
      code: 'NOT_OWNED',
      misuses: [{ misuse: 'store-shared', array: 'x', first: 0, last: 63 }],
    })
    y[PAGE_FLOATS] = 5
    const misuse = { misuse: 'store-away', array: 'y', first: PAGE_FLOATS }
    await expect(saxpy(1, x, y)).rejects.toMatchObject({ code: 'NOT_OWNED', misuses: [misuse] })
    await heap.sync(x, y)
    await heap.close()
  })

  it('says once that a GPU is software, and what it is in its statistics', async () => {
    await open({ device: { adapter: 'software', name: 'soft' } })
    const [device] = (await heap.stats()).devices
    expect(device).toMatchObject({ name: 'soft', memory: 256 * 2 ** 20, used: 0, note: null })
    expect(device.hardware).toMatch(/software|SwiftShader/i)
    await heap.close()
    await open({ device: { memory: '1 MiB', name: 'any' } })
    const { note } = (await heap.stats()).devices[0]
    await heap.close()
    if (note === null) return // a GPU of this machine
    expect(note).toMatch(/^it is .*, software on the CPU and slow$/)
    expect(notices).toEqual([`hetmem: device "any": ${note}`])
    await open({ device: { memory: '1 MiB', name: 'any' } })
    expect(notices).toHaveLength(1)
    await heap.close()
  })

  it('without an adapter is refused with the command that brings one along', async () => {
    vi.stubGlobal('navigator', { gpu: { requestAdapter: async () => null } })
    vi.stubGlobal('Deno', {})
    await expect(open()).rejects.toMatchObject({
      code: 'NO_DEVICE',
      message: expect.stringMatching(
        /^NO_DEVICE: device "webgpu": there is no WebGPU adapter here: navigator.gpu has no/,
      ),
    })
  })

  it('uses a GPUDevice of the program, and leaves it as it was', async () => {
    const own = await openGpu()
    await open({ mode: 'auto', device: own })
    expect([heap.mode, (await heap.stats()).devices[0]]).toMatchObject([
      'explicit',
      { name: 'webgpu', hardware: 'a GPUDevice of the program', note: null },
    ])
    const { x, y } = arrays()
    await saxpy(3, x, y)
    await heap.sync(y)
    expect(y[5]).toBe(16)
    await heap.close()
    const buffer = own.createBuffer({ size: 16, usage: 8 })
    own.queue.writeBuffer(buffer, 0, new Uint32Array(4))
    await own.queue.onSubmittedWorkDone()
    expect(await Promise.race([own.lost, Promise.resolve('works')])).toBe('works')
    own.destroy()
  })

  it('follows the order of launches across two GPUs', async () => {
    await open({
      device: [
        { memory: '64 KiB', name: 'a' },
        { memory: '128 KiB', name: 'b' },
      ],
    })
    const { x, y } = arrays(20 * PAGE_FLOATS)
    const rounds = [0, 1, 1, 0, 1, 0, 0, 1]
    await Promise.all(rounds.map((device) => saxpy(1, x, y, device)))
    checkGpuHeap(heap)
    await heap.sync(y, 'read')
    expect(y.findIndex((value, i) => value !== rounds.length * (i % 1000) + 1)).toBe(-1)
    await heap.close()
  })

  it('lends arrays as ranges of a buffer', async () => {
    await open({ device: [{ kind: 'memory' }, { memory: '1 MiB' }] })
    const { x, y } = arrays()
    const seen = await heap.withBuffer(x.subarray(2, 6), 'read', async ({ device, buffer, offset, size }) => {
      expect([offset % 4096, size]).toEqual([8, 16])
      const staging = device.createBuffer({ size, usage: 1 | 8 })
      const encoder = device.createCommandEncoder()
      encoder.copyBufferToBuffer(buffer, offset, staging, 0, size)
      device.queue.submit([encoder.finish()])
      await staging.mapAsync(1)
      const values = [...new Float32Array(staging.getMappedRange())]
      staging.destroy()
      return values
    })
    expect([seen, await places(x)]).toEqual([[2, 3, 4, 5], `s${'c'.repeat(9)}`])
    const written = heap.withBuffer(y, 'readWrite', ({ device, buffer, offset }) => {
      device.queue.writeBuffer(buffer, offset + 4, new Float32Array([8]))
    })
    await heap.sync(y)
    expect([...y.subarray(0, 3)]).toEqual([1, 8, 1])
    await written
    const failing = heap.withBuffer(x, 'read', () => Promise.reject(new RangeError('no such texture')))
    await expect(failing).rejects.toThrow(RangeError)
    const nothing = (): void => {}
    await expect(heap.withBuffer(x, 'read', nothing, { device: 'memory' })).rejects.toMatchObject({
      message: 'NO_DEVICE: withBuffer: the heap has no GPU behind "memory"',
    })
    await expect(heap.withBuffer(x, 'write' as 'read', nothing)).rejects.toThrow(
      'access is "write", wanted one of read',
    )
    await heap.close()
  })

  it('lends several arrays at once, and says what it means to keep them', async () => {
    await open()
    const { x, y } = arrays()
    const timers = vi.spyOn(globalThis, 'setTimeout')
    const seen = await heap.withBuffer([x, y.subarray(3)], 'readWrite', async ([one, other]) => {
      const notice = timers.mock.calls.find(([, ms]) => ms === 10_000)
      expect(notice).toBeDefined()
      ;(notice![0] as () => void)()
      one.device.queue.writeBuffer(one.buffer, one.offset, new Float32Array([7]))
      other.device.queue.writeBuffer(other.buffer, other.offset, new Float32Array([8]))
      return [one.size, other.size]
    })
    timers.mockRestore()
    expect(seen).toEqual([x.byteLength, y.byteLength - 12])
    expect(notices.at(-1)).toMatch(/^hetmem: the callback of withBuffer has had "x", "y" for 10 s: everything else on/)
    await heap.sync(x, y)
    expect([x[0], x[1], y[2], y[3]]).toEqual([7, 1, 1, 8])
    const nothing = (): void => {}
    const refused: [() => Promise<unknown>, object][] = [
      [
        () => heap.withBuffer(x.subarray(2, 2), 'read', nothing),
        { code: 'BAD_VALUE', message: 'withBuffer: a view of "x" has no elements, wanted at least one' },
      ],
      [
        () => heap.withBuffer(x, 'read', undefined as never),
        { code: 'WRONG_TYPE', message: 'use is undefined, wanted a function' },
      ],
      [() => heap.withBuffer(heap.alloc(Float32Array, 1e6), 'read', nothing), { code: 'TOO_LARGE' }],
      [() => heap.withBuffer(x, 'read', ({ device }) => device.destroy()), { code: 'LOST' }],
    ]
    for (const [act, error] of refused) await expect(act()).rejects.toMatchObject(error)
    await heap.close()
  })

  it('refuses a GPUDevice that is lost', async () => {
    const lost = await openGpu()
    lost.destroy()
    await expect(open({ device: lost })).rejects.toMatchObject({
      code: 'NO_DEVICE',
      message: expect.stringContaining('device "webgpu": '),
    })
  })

  it('lends a device that takes heap arrays, which lie in shared memory', async () => {
    await open()
    const { x, y } = arrays()
    expect(x.buffer).toBeInstanceOf(SharedArrayBuffer)
    await heap.withBuffer(y, 'readWrite', ({ device: { queue }, buffer, offset }) => {
      queue.writeBuffer(buffer, offset, x)
      queue.writeBuffer(buffer, offset, x, 900, 2)
      queue.writeBuffer(buffer, offset + 8, x.buffer, x.byteOffset + 4 * 700, 4)
      queue.writeBuffer(buffer, offset + 12, new DataView(x.buffer, x.byteOffset + 4 * 500), 4, 4)
      expect(() => queue.writeBuffer(buffer, offset, x, N - 1, 2)).toThrow('2 elements from 10239 on of data that has')
    })
    await heap.sync(y)
    expect([...y.subarray(0, 6)]).toEqual([900, 901, 700, 501, 4, 5])
    await heap.close()
  })

  it.each([true, false])('sees what is stored after a prefetch (memory shared: %s)', async (shared) => {
    await open({ size: '64 MiB', shared, device: { memory: '48 MiB' } })
    await prefetchAndStore(async (x, prefetched) => {
      // The CPU gets the page when the prefetch is through with it.
      await heap.sync(x.subarray(-1))
      x[x.length - 1] = 8
      await prefetched
      await heap.sync(x.subarray(0, 1))
      x[0] = 7
    })
    checkGpuHeap(heap)
    await heap.close()
  })

  it('names what a lost GPU took along, until that is discarded', async () => {
    await open()
    const { x, y } = arrays()
    await saxpy(1, x, y)
    const { device } = gpuDeviceOf(heap).device.hardware.context
    device.destroy()
    await device.lost
    await expect(heap.sync(y)).rejects.toMatchObject({ code: 'LOST', message: expect.stringContaining('"y"') })
    await expect(saxpy(1, x, y)).rejects.toMatchObject({ code: 'LOST', message: expect.stringContaining('"y"') })
    await heap.sync(x)
    expect(x[7]).toBe(7)
    await heap.discard(y)
    await heap.sync(y)
    expect(y[0]).toBe(0)
    await heap.close()
  })
})

/** `y = x` for 20 MiB that the GPU is given by a prefetch, while the program goes on: after `store` it sees what was stored. */
async function prefetchAndStore(
  store: (x: Float32Array, prefetched: Promise<unknown>) => Promise<void>,
): Promise<void> {
  const n = 5120 * PAGE_FLOATS
  const { x } = arrays(n)
  const y = heap.alloc(Float32Array, n, { name: 'y' })
  await store(x, heap.prefetch(x))
  await heap.run(SAXPY, { x, y, a: 1 }, n)
  await heap.sync(y)
  expect([...y.subarray(0, 2), y[n - 1]]).toEqual([7, 1, 8])
  const stored = new Map([
    [0, 7],
    [n - 1, 8],
  ])
  expect(y.findIndex((value, i) => value !== (stored.get(i) ?? i % 1000))).toBe(-1)
}

describe('a live heap with a GPU', () => {
  async function openLive(test: { skip(note: string): void }, options: HeapOptions): Promise<void> {
    const live = (await findTestModes()).find(({ name, missing: why }) => name !== 'explicit' && why === null)
    if (live === undefined) test.skip('live: this machine has no live mode')
    else await open({ mode: live.name, ...options })
  }

  it('takes pages whose contents are lost for new where a kernel overwrites all of them', {
    timeout: 60_000,
  }, async (test) => {
    await openLive(test, { device: [{ kind: 'memory', memory: '1 MiB', onLost: 'fill' }, { memory: '1 MiB' }] })
    const fixture = new ExtendedHeap(heap)
    const y = heap.alloc(Float32Array, 3000, { name: 'y' })
    await fixture.run('addOne', { write: [y] })
    await fixture.extension('lose', 'pulled out')
    expect([y[0], y[2999]]).toEqual([NaN, NaN])
    const set = kernel({ name: 'set', args: { y: write(f32) }, code: `${MAIN} { y[id.x] = f32(id.x); }` })
    const add = kernel({ name: 'add', args: { y: readWrite(f32) }, code: `${MAIN} { y[id.x] += 1; }` })
    const refused = /^LOST: the newest contents of "y" went with memory, which is lost; discard them to go on/
    await expect(heap.run(add, { y }, 3000)).rejects.toThrow(refused)
    await expect(heap.run(set, { y }, 2999)).rejects.toThrow(refused)
    // A page that is overwritten in part is not new.
    await expect(heap.run(set, { y: y.subarray(1000) }, 2000)).rejects.toThrow(refused)
    await heap.run(set, { y }, 3000)
    await heap.run(add, { y }, 3000)
    expect([y[0], y[2999], y.every((value, i) => value === i + 1)]).toEqual([1, 3000, true])
    await heap.close()
  })

  it('sees what is stored while a prefetch runs, and after it', { timeout: 60_000 }, async (test) => {
    await openLive(test, { size: '64 MiB', device: { memory: '48 MiB' } })
    await prefetchAndStore(async (x, prefetched) => {
      x[x.length - 1] = 8
      await prefetched
      x[0] = 7
    })
    await heap.close()
  })

  it('prefetches to it and brings pages back by touches', { timeout: 60_000 }, async (test) => {
    await openLive(test, { device: { memory: '4 MiB' } })
    const x = heap.alloc(Float32Array, 100 * PAGE_FLOATS, { name: 'x' })
    for (let i = 0; i < x.length; i++) x[i] = i
    const [device] = (await heap.stats()).devices
    expect(device.name).toBe('webgpu')
    expect((await heap.prefetch(x, { access: 'readWrite' })).pages).toBe(100)
    expect((await heap.where(x)).pages).toEqual({ webgpu: 100 })
    let wrong = 0
    for (let i = 0; i < x.length; i++) if (x[i] !== i) wrong++
    expect(wrong).toBe(0)
    await heap.close()
  })
})
