// heap.run and heap.batch on a WebGPU device, in every mode.

import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { whyNoGpu } from '../../test/helpers/gpu.ts'
import { KERNEL_CASES } from '../../test/helpers/kernel-cases.ts'
import { describeModes, requires } from '../../test/helpers/mode-fixture.ts'
import { programUrl } from '../../test/helpers/programs.ts'
import {
  array,
  atomic,
  type Batch,
  f16,
  f32,
  type Heap,
  type HeapArray,
  type HeapOptions,
  type HeapView,
  indirect,
  KernelError,
  kernel,
  openHeap,
  read,
  readWrite,
  struct,
  u16x2,
  u32,
  uniform,
  vec4f,
  write,
} from '../index.ts'

const missing = await whyNoGpu()

const MAIN = '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u)'
const saxpy = kernel({
  name: 'saxpy',
  args: { x: read(f32), y: readWrite(f32), a: uniform(f32) },
  code: `${MAIN} { y[id.x] += a * x[id.x]; }`,
})
const increment = kernel({
  name: 'increment',
  args: { x: readWrite(u32) },
  code: `${MAIN} { x[id.x] += 1u; }`,
})

await describeModes((mode) => {
  let heap: Heap

  beforeEach((test) => {
    if (missing !== null) test.skip(missing)
  })
  afterEach(async () => {
    await heap?.close()
  })

  async function open(options: HeapOptions = {}): Promise<void> {
    heap = await openHeap({
      mode: mode.name,
      size: '64 MiB',
      device: { memory: '1 MiB' },
      onNotice: () => {},
      ...options,
    })
  }

  it('runs a kernel on arrays larger than the device, in slices, and says what it did', async () => {
    await open()
    const n = 500_001
    const x = heap.alloc(Float32Array, n, { name: 'x' })
    const y = heap.alloc(Float32Array, n, { name: 'y' })
    x.forEach((_, i) => {
      x[i] = i % 1000
      y[i] = i % 77
    })
    const receipt = await heap.run(saxpy, { x, y, a: 2 }, n)
    expect(receipt).toMatchObject({ name: 'saxpy', device: 'webgpu', mode: 'direct' })
    expect(receipt.slices).toBeGreaterThan(3)
    // Every page of both went there once; `y` has to make room for itself.
    expect(receipt.bytesToDevice.fault).toBe(2 * Math.ceil((4 * n) / 4096) * 4096)
    expect(receipt.bytesFromDevice.eviction).toBeGreaterThan(4096 * 100)
    expect(`${receipt}`).toMatch(
      /^saxpy: direct, \d+ slices; 3\.8 MiB to webgpu \(fault\), [\d.]+ MiB back \(eviction\); [\d.]+ ms(: .*)?$/,
    )
    const { launches, launchDuration, launchQueued, launchCompute } = receipt.counters
    expect([launches, launchQueued / 1000, launchCompute / 1000]).toEqual([
      1,
      receipt.times.queued,
      receipt.times.kernel,
    ])
    expect(launchDuration).toBeGreaterThanOrEqual(launchQueued + launchCompute)
    await heap.sync(y)
    expect(y.findIndex((value, i) => value !== 2 * (i % 1000) + (i % 77))).toBe(-1)
  })

  it('copies nothing the second time', async () => {
    await open()
    const x = heap.alloc(Uint32Array, 1000)
    await heap.run(increment, { x }, 1000)
    const receipt = await heap.run(increment, { x }, 999)
    expect(`${receipt}`).toMatch(/^increment: direct, 1 slice; nothing copied; /)
    expect(receipt.pages).toEqual({ resident: 1, duplicated: 0, pinned: 0, migrated: 0 })
    await heap.sync(x)
    expect([x[0], x[998], x[999]]).toEqual([2, 2, 1])
  })

  it('a kernel that is made again is the same to the device', async () => {
    await open()
    const x = heap.alloc(Uint32Array, 100)
    for (let i = 0; i < 5; i++) {
      const again = kernel({ name: 'increment', args: { x: readWrite(u32) }, code: increment.code })
      await heap.run(again, { x }, 100)
      await heap.run(again.with({}).entry('main'), { x }, 50)
    }
    await heap.sync(x)
    expect([x[0], x[49], x[50], x[99]]).toEqual([10, 10, 5, 5])
  })

  it('runs launches in the order of the calls, awaited or not', async () => {
    await open()
    const x = heap.alloc(Uint32Array, 5000)
    const y = heap.alloc(Uint32Array, 5000)
    const double = kernel({ args: { x: read(u32), y: write(u32) }, code: `${MAIN} { y[id.x] = 2u * x[id.x]; }` })
    const all: Promise<unknown>[] = []
    for (let i = 0; i < 10; i++) all.push(heap.run(increment, { x }, 5000))
    all.push(heap.run(double, { x, y }, 5000), heap.run(increment, { x }, 5000), heap.run(increment, { x: y }, 5000))
    await heap.sync(x, y)
    expect([x[0], x[4999], y[0], y[4999]]).toEqual([11, 11, 21, 21])
    await Promise.all(all)
  })

  it('keeps the order of launches that go through a page table, too', async () => {
    await open({ device: { memory: '64 KiB' } })
    const index = heap.alloc(Uint32Array, 1000)
    const table = heap.alloc(Uint32Array, 30_000)
    const out = heap.alloc(Uint32Array, 1000)
    for (let i = 0; i < 1000; i++) index[i] = (i * 7919) % 30_000
    for (let i = 0; i < 30_000; i++) table[i] = i
    const gather = kernel({
      name: 'gather',
      args: { index: read(u32), table: read(u32), out: write(u32) },
      code: `${MAIN} { out[id.x] = table[index[id.x]]; }`,
    })
    const runs = [
      heap.run(gather, { index, table, out }, 1000),
      heap.run(increment, { x: out }, 1000),
      heap.run(increment, { x: index.subarray(0, 500) }, 500),
    ]
    await heap.sync(out, index)
    expect(out.findIndex((value, i) => value !== ((i * 7919) % 30_000) + 1)).toBe(-1)
    expect([index[1], index[999]]).toEqual([7920, (999 * 7919) % 30_000])
    expect((await Promise.all(runs)).map(({ mode: how }) => how)).toEqual(['paged', 'direct', 'direct'])
  })

  it('the CPU and the device take turns on parts of arrays', async () => {
    await open()
    const x = heap.alloc(Uint32Array, 10_000)
    for (let round = 0; round < 20; round++) {
      const [from, to] = [(round * 397) % 5000, 5000 + ((round * 611) % 5000)]
      const part = x.subarray(from, to)
      await heap.sync(part)
      part.forEach((value, i) => {
        part[i] = value + 1
      })
      await heap.run(increment, { x: part }, part.length)
    }
    const expected = new Uint32Array(10_000)
    for (let round = 0; round < 20; round++) {
      const [from, to] = [(round * 397) % 5000, 5000 + ((round * 611) % 5000)]
      for (let i = from; i < to; i++) expected[i] += 2
    }
    await heap.sync(x, 'read')
    expect(x).toEqual(expected)
  })

  it('a batch runs in order, as one launch', async () => {
    await open()
    const x = heap.alloc(Uint32Array, 3000)
    const total = heap.alloc(Uint32Array, 1)
    const sum = kernel({
      name: 'sum',
      args: { x: read(u32), total: readWrite(atomic(u32)) },
      code: `${MAIN} { atomicAdd(&total[0], x[id.x]); }`,
    })
    const receipt = await heap.batch((b) => {
      for (let i = 0; i < 50; i++) {
        b.run(increment, { x }, 3000)
        b.run(sum, { x, total }, 3000)
      }
    })
    expect(receipt).toMatchObject({ name: 'increment, sum', slices: 1 })
    await heap.sync(total)
    expect(total[0]).toBe((3000 * 50 * 51) / 2)
    expect(await heap.batch(() => {})).toMatchObject({ name: 'batch', slices: 0 })
  })

  it('a batch of launches that do not fit together runs them one after the other', async () => {
    await open({ device: { memory: '256 KiB' } })
    const arrays = Array.from({ length: 6 }, () => heap.alloc(Uint32Array, 30_000))
    const receipt = await heap.batch((b) => {
      for (let round = 0; round < 3; round++) for (const x of arrays) b.run(increment, { x }, 30_000)
    })
    expect(receipt.slices).toBeGreaterThan(6)
    await heap.sync(...arrays)
    for (const x of arrays) expect(x.findIndex((value) => value !== 3)).toBe(-1)
  })

  it('an indirect launch is as large as the launches before it say', async () => {
    await open()
    const x = heap.alloc(Uint32Array, 1000)
    const count = heap.alloc(Uint32Array, 3)
    const size = kernel({
      args: { count: write(u32), n: uniform(u32) },
      code: `${MAIN} { count[id.x] = n; }`,
    })
    const runs = [
      heap.run(size, { count, n: 300 }, 1),
      heap.run(increment, { x }, indirect(count.subarray(0, 1))),
      // Comes after it although it was called before the count was known.
      heap.run(size, { count, n: 0 }, 1),
      heap.run(increment, { x }, indirect(count.subarray(0, 1))),
      heap.batch((b) => {
        b.run(size, { count, n: 500 }, 1)
        b.run(increment, { x }, indirect(count.subarray(0, 1)))
        b.run(size, { count, n: 2 }, 3)
        b.run(increment, { x }, { workgroups: indirect(count.subarray(0, 1)) })
      }),
    ]
    await heap.sync(x)
    const seen = [x[0], x[127], x[128], x[299], x[300], x[499], x[500]]
    expect(seen).toEqual([3, 3, 2, 2, 1, 1, 0])
    const receipts = await Promise.all(runs)
    expect(receipts[3]).toMatchObject({ slices: 0, device: '' })
  })

  it('a kernel is known to an indirect launch whatever was called while that waited', async () => {
    await open()
    const x = heap.alloc(Uint32Array, 1000)
    const count = heap.alloc(Uint32Array, 1).fill(500)
    await Promise.all([heap.run(increment, { x }, indirect(count)), heap.run(increment, { x }, 1000)])
    await heap.sync(x)
    expect([x[499], x[500]]).toEqual([2, 1])
  })

  it('rejects what does not fit before anything has happened', async () => {
    await open()
    const x = heap.alloc(Float32Array, 100)
    const y = heap.alloc(Float32Array, 100)
    const gone = heap.alloc(Float32Array, 100)
    heap.free(gone)
    const args = { x, y, a: 1 }
    const cases: [string, () => Promise<unknown>, object][] = [
      [
        'type',
        () => heap.run(saxpy, { ...args, x: new Int32Array(4) as never }, 1),
        {
          name: 'TypeError',
          code: 'WRONG_TYPE',
          message: 'run(saxpy): argument "x" is Int32Array, wanted Float32Array of the heap',
        },
      ],
      ['foreign', () => heap.run(saxpy, { ...args, x: new Float32Array(4) }, 1), { code: 'FOREIGN_VIEW' }],
      ['freed', () => heap.run(saxpy, { ...args, x: gone }, 1), { code: 'USE_AFTER_FREE' }],
      [
        'missing',
        () => heap.run(saxpy, { x, a: 1 } as never, 1),
        { name: 'TypeError', message: 'run(saxpy): argument "y" is missing' },
      ],
      [
        'unknown',
        () => heap.run(saxpy, { ...args, z: 1 } as never, 1),
        { name: 'TypeError', message: 'run(saxpy): there is no argument "z", wanted x, y, a' },
      ],
      [
        'uniform',
        () => heap.run(saxpy, { ...args, a: '2' as never }, 1),
        { name: 'TypeError', message: 'run(saxpy): argument "a" is "2", wanted a number' },
      ],
      [
        'empty',
        () => heap.run(saxpy, { ...args, x: x.subarray(5, 5) }, 1),
        {
          name: 'RangeError',
          code: 'BAD_VALUE',
          message: 'run(saxpy): argument "x" has no elements, wanted at least one',
        },
      ],
      [
        'count',
        () => heap.run(saxpy, args, -1),
        { name: 'RangeError', message: 'run(saxpy): the count is -1, wanted a whole number below 2^32' },
      ],
      [
        'counts',
        () => heap.run(saxpy, args, [1, 2, 3, 4] as never),
        { name: 'RangeError', message: 'run(saxpy): the count has 4 dimensions, wanted 1 to 3' },
      ],
      [
        'kernel',
        () => heap.run({} as never, args as never, 1),
        { name: 'TypeError', message: 'kernel is Object, wanted what kernel() returns' },
      ],
      ['option', () => heap.run(saxpy, args, 1, { durabel: true } as never), { name: 'TypeError' }],
      [
        'device',
        () => heap.run(saxpy, args, 1, { device: 'gpu 2' }),
        { code: 'NO_DEVICE', message: 'NO_DEVICE: there is no device "gpu 2", wanted "webgpu"' },
      ],
      [
        'batch',
        () =>
          heap.batch((b) => {
            b.run(saxpy, args, 5)
            b.run(saxpy, args, 0.5)
          }),
        { name: 'RangeError' },
      ],
      ['async batch', () => heap.batch((async () => {}) as () => never), { name: 'TypeError' }],
      [
        'overlap',
        () =>
          heap.run(
            kernel({ name: 'two', args: { x: read(f32), n: write(u32) }, code: `${MAIN} { n[id.x] = u32(x[id.x]); }` }),
            { x, n: heap.view(Uint32Array, heap.ptr(x), 100) },
            1,
          ),
        {
          name: 'RangeError',
          message:
            'run(two): arguments "x" and "n" overlap, or lie in the same 256 bytes: f32 and u32, wanted the same type',
        },
      ],
    ]
    for (const [what, act, error] of cases) await expect(act(), what).rejects.toMatchObject(error)
    const read_ = heap.alloc(Float32Array, 4, { name: 'weights', readOnly: true })
    await expect(heap.run(saxpy, { ...args, y: read_ }, 1)).rejects.toMatchObject({ code: 'READ_ONLY' })
    await heap.withResident(y, async () => {
      await expect(heap.run(saxpy, args, 1)).rejects.toMatchObject({ code: 'HELD' })
    })
    expect(`${await heap.where(x)}`).not.toContain('webgpu')
  })

  it('says at which line of the user the device does not take the code', async () => {
    await open()
    const x = heap.alloc(Float32Array, 100)
    // The front end does not know the values that built-in functions take; the compiler of the device does.
    const bad = kernel({
      name: 'bad',
      args: { x: readWrite(f32) },
      code: `
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
          x[id.x] = x[id.x] + 1.0; x[0] = ldexp(1.0, 500);
        }`,
    })
    for (const view of [x, x.subarray(3)]) {
      const error = await heap.run(bad, { x: view }, 4).catch((reason) => reason)
      expect(error).toBeInstanceOf(KernelError)
      expect(error).toMatchObject({ kernel: 'bad', line: 3, column: 43 })
      expect(error.message).toContain('x[0] = ldexp(1.0, 500);')
    }
    // The heap goes on.
    await heap.run(saxpy, { x, y: x, a: 1 }, 100)
  })

  it('says what the device lacks', async () => {
    await open()
    const words = heap.alloc(Uint16Array, 64)
    const code = `${MAIN} { h[id.x] = 2.0h * h[id.x]; }`
    const run = heap.run(kernel({ name: 'halves', args: { h: readWrite(f16) }, code }), { h: words }, 64)
    // Where it has them, they are used.
    const error: unknown = await run.then(
      () => null,
      (reason) => reason,
    )
    if (error !== null) expect(error).toMatchObject({ name: 'KernelError', reason: 'the device has no shader-f16' })
    const enabled = `// halves\n  enable f16; ${MAIN} { h[id.x] += u32(f16(id.x)); }`
    const enabling = heap.run(kernel({ args: { h: readWrite(u16x2) }, code: enabled }), { h: words }, 32)
    if (error === null) await enabling
    else await expect(enabling).rejects.toMatchObject({ reason: 'the device has no shader-f16', line: 2, column: 3 })
    const spoken = `/* Not yet:\n  enable f16; */ diagnostic(off, derivative_uniformity); ${MAIN} { h[id.x] = 0x10001u; }`
    await heap.run(kernel({ args: { h: write(u16x2) }, code: spoken }), { h: words }, 32)
    const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`a${i}`, readWrite(u32)]))
    const sum = Object.keys(many).join('[id.x] + ')
    const arrays = Object.fromEntries(Object.keys(many).map((name) => [name, heap.alloc(Uint32Array, 4)]))
    await expect(
      heap.run(kernel({ name: 'many', args: many, code: `${MAIN} { a0[id.x] = ${sum}[id.x]; }` }), arrays, 4),
    ).rejects.toMatchObject({ message: expect.stringMatching(/many binds 40 arrays, the device has \d+$/) })
    const large = struct('Large', { values: array(vec4f, 5000) })
    const use = kernel({
      name: 'large',
      args: { x: write(f32), table: uniform(large) },
      code: `${MAIN} { x[id.x] = table.values[id.x].x; }`,
    })
    const table = { values: Array.from({ length: 5000 }, () => [0, 0, 0, 0] as const) }
    await expect(heap.run(use, { x: heap.alloc(Float32Array, 4), table }, 4)).rejects.toMatchObject({
      message: expect.stringMatching(/uniform "table" of large has 80000 bytes, the device takes \d+$/),
    })
  })

  it('strict: tells who left an argument, and where to', async () => {
    await open()
    const all = heap.alloc(Float32Array, 200, { name: 'levels' })
    const stray = kernel({
      name: 'bfs',
      args: { levels: readWrite(f32), far: uniform(u32) },
      code: `${MAIN} { if (id.x == 17u) { levels[id.x + far] = 1.0; } }`,
    })
    const levels = all.subarray(50, 150)
    await heap.run(stray, { levels, far: 82 }, 64, { strict: true })
    const addr = (4 * (heap.ptr(levels) + 100)).toString(16)
    await expect(heap.run(stray, { levels, far: 83 }, 64, { strict: true })).rejects.toMatchObject({
      code: 'OUT_OF_BOUNDS',
      message: `OUT_OF_BOUNDS: kernel "bfs" invocation 17,0,0 wrote element 100 (0x${addr}), 0 B past the end of "levels" (readWrite, 400 B)`,
    })
    // Confined, not strict: nothing beside the argument changes.
    await heap.run(stray, { levels, far: 83 }, 64)
    await heap.sync(all)
    expect(all.subarray(150).every((value) => value === 0)).toBe(true)
  })

  it('refuses a launch of which one workgroup needs more than the device has', async () => {
    await open({ device: { memory: '64 KiB' } })
    const index = heap.alloc(Uint32Array, 1000)
    const table = heap.alloc(Float32Array, 100_000)
    const gather = kernel({
      name: 'gather',
      paging: 'never',
      args: { index: read(u32), table: read(f32), out: write(f32) },
      code: `${MAIN} { out[id.x] = table[index[id.x]]; }`,
    })
    const out = heap.alloc(Float32Array, 1000)
    await expect(heap.run(gather, { index, table, out }, 1000)).rejects.toMatchObject({
      code: 'TOO_LARGE',
      message: expect.stringContaining('one workgroup of gather needs 100 pages, the device has 16'),
    })
    await heap.run(gather, { index, table: table.subarray(0, 5000), out }, 1000)
    // Nothing of a batch has happened when a part of it cannot.
    const x = heap.alloc(Uint32Array, 10)
    const batch = heap.batch((b) => {
      b.run(increment, { x }, 10)
      b.run(gather, { index, table, out }, 1000)
    })
    await expect(batch).rejects.toMatchObject({ code: 'TOO_LARGE' })
    await heap.sync(x)
    expect(x[0]).toBe(0)
    const paged = kernel({ name: 'gather', args: gather.args, code: gather.code })
    expect(await heap.run(paged, { index, table, out }, 1000)).toMatchObject({ mode: 'paged' })
  })

  it('a launch that was given up rejects with the reason', async () => {
    await open()
    const x = heap.alloc(Uint32Array, 1_000_000)
    const reason = new Error('not needed')
    const early = AbortSignal.abort(reason)
    await expect(heap.run(increment, { x }, 1000, { signal: early })).rejects.toBe(reason)
    const controller = new AbortController()
    const run = heap.run(increment, { x }, 1_000_000, { signal: controller.signal, slice: 100 })
    controller.abort(reason)
    await expect(run).rejects.toBe(reason)
    await heap.run(increment, { x: x.subarray(0, 10) }, 10)
  })

  it('a launch that was given up rejects also if it waits to be sent, or for the word that says how large it is', async () => {
    await open()
    const [x, y] = [heap.alloc(Uint32Array, 1000), heap.alloc(Uint32Array, 1000)]
    const count = heap.alloc(Uint32Array, 1).fill(1000)
    const reason = new Error('not needed')
    const given = new AbortController()
    // The second one waits until it is known how large the first one is.
    const runs = [
      heap.run(increment, { x }, indirect(count), { signal: given.signal }),
      heap.run(increment, { x: y }, 1000, { signal: given.signal }),
    ]
    given.abort(reason)
    const outcomes = await Promise.allSettled(runs)
    expect(outcomes).toEqual([
      { status: 'rejected', reason },
      { status: 'rejected', reason },
    ])
    await heap.sync(x)
    expect([x[0], x[999]]).toEqual([0, 0])
  })

  it('a batch takes no launches after its body has ended', async () => {
    await open()
    const x = heap.alloc(Uint32Array, 1000)
    let batch: Batch | undefined
    await heap.batch((b) => {
      batch = b
      b.run(increment, { x }, 1000)
    })
    expect(() => batch?.run(increment, { x }, 1000)).toThrow('CLOSED: batch.run after the body of the batch has ended')
    // The error of an asynchronous body is heard by nobody else.
    const unheard = vi.fn()
    process.on('unhandledRejection', unheard)
    const body = async (b: Batch): Promise<void> => {
      await null
      b.run(increment, { x }, 1000)
    }
    const late = heap.batch(body as () => never)
    await expect(late).rejects.toThrow('body of the batch is asynchronous')
    await setImmediate()
    process.off('unhandledRejection', unheard)
    expect(unheard).not.toHaveBeenCalled()
    await heap.sync(x)
    expect(x[0]).toBe(1)
  })

  it('durable: what was written is in system memory when the launch has ended', async () => {
    await open()
    const x = heap.alloc(Uint32Array, 5000)
    const receipt = await heap.run(increment, { x }, 5000, { durable: true })
    expect(receipt.bytesFromDevice.user + receipt.bytesFromDevice.coherence).toBe(5 * 4096)
  })

  it('kernels of several threads run on the same arrays', async (test) => {
    requires(test, mode, 'traps')
    await open()
    const x = heap.alloc(Uint32Array, 3000)
    const other = new Worker(programUrl('test/helpers/kernel-thread.ts'), {
      workerData: { handle: heap.handle, x, times: 20 },
    })
    const ended = once(other, 'exit')
    for (let i = 0; i < 20; i++) await heap.run(increment, { x }, 3000)
    expect(await ended).toEqual([0])
    // No sync: a touch brings it.
    expect([x[0], x[2999]]).toEqual([220, 220])
  })

  it('a heap without a device that runs kernels says so', async (test) => {
    requires(test, mode, 'own thread')
    await open({ device: { kind: 'memory', memory: '1 MiB' } })
    const x = heap.alloc(Uint32Array, 10)
    await expect(heap.run(increment, { x }, 10)).rejects.toMatchObject({
      code: 'NO_DEVICE',
      message: 'NO_DEVICE: no device of the heap runs kernels',
    })
  })
})

describe.skipIf(missing !== null)('every kernel, on a heap', () => {
  let heap: Heap
  let npages = 0
  const arrays: HeapArray[] = []

  /** A heap whose device has so many pages. */
  async function openFor(wanted: number): Promise<void> {
    if (wanted === npages) return
    await heap?.close()
    npages = wanted
    const device = { memory: npages * 4096 }
    heap = await openHeap({ mode: 'explicit', size: '16 MiB', device, onNotice: () => {} })
  }

  afterAll(() => heap?.close())

  it.each(KERNEL_CASES)('$name', async ({ check, limits }) => {
    await openFor(limits.npages ?? 2048)
    await check(
      (type, length) => {
        const array = heap.alloc(type, length)
        arrays.push(array)
        return array
      },
      async (kernel, values, count, { sliceMax }) => {
        const receipt = await heap.run(kernel, values, count, sliceMax === undefined ? {} : { slice: sliceMax })
        await heap.sync(...(arrays as HeapView[]))
        return receipt.slices
      },
    )
    for (const array of arrays.splice(0)) heap.free(array)
  })
})
