// Kernels that use all of an array larger than device memory: `heap.run` sends them through a page table, on a real heap.

import { describe, expect, it } from 'vitest'
import { destroyAtSubmit, openGpu } from '../../test/helpers/gpu.ts'
import { checkGpuHeap, suiteGpuHeaps } from '../../test/helpers/gpu-heap.ts'
import { permutation } from '../../test/helpers/paged-kernels/table.ts'
import { fill } from '../../test/helpers/paged-run.ts'
import type { Size } from '../base/size.ts'
import { atomic, f32, type Heap, kernel, read, readWrite, u32, uniform } from '../index.ts'

const openGpuHeap = suiteGpuHeaps('16 MiB')

function open(memory: Size, deadline = 120_000): Promise<Heap> {
  return openGpuHeap({ memory, adapter: 'software', deadline })
}

/** Of two devices. */
const NAMES = ['one', 'other']

const GATHER = kernel({
  name: 'gather',
  args: { x: read(f32), at: read(u32), y: readWrite(f32), a: uniform(f32) },
  code: `@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] += a * x[at[id.x]]; }`,
})

// What a sum needs is all over x, so no order of the sums brings a page once.
const SEVERAL = kernel({
  name: 'several',
  args: { x: read(f32), at: read(u32), y: readWrite(f32) },
  code: `@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) id: vec3u) {
  var sum = 0.0;
  for (var k = 0u; k < 5u; k++) { sum += x[at[id.x * 5u + k]]; }
  y[id.x] = sum;
}`,
})

const TICKETS = kernel({
  name: 'tickets',
  args: { counter: readWrite(atomic(u32)), order: read(u32), taken: readWrite(u32) },
  code: `@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) { let k = atomicAdd(&counter[0], 1u); taken[order[k]] = id.x + 1u; }`,
})

describe('heap.run() of kernels that use all of an array', () => {
  it('goes through a page table where the arrays do not fit', async () => {
    const own = await open('128 KiB')
    const n = 40_000
    const x = own.alloc(Float32Array, n, { name: 'x' })
    const at = own.alloc(Uint32Array, 2000, { name: 'at' })
    const y = own.alloc(Float32Array, 2000, { name: 'y' })
    // Some elements of each page, so that pages are shared by neighbours.
    x.forEach((_, i) => {
      x[i] = i
    })
    at.set(fill(2000, 1, 'small', n))
    at.sort()
    y.fill(1)
    const receipt = await own.run(GATHER, { x, at, y, a: 2 }, 2000)
    expect(receipt.mode).toBe('paged')
    expect(receipt.why).toMatch(/one workgroup of gather needs \d+ pages, the device has 32/)
    await own.sync(y)
    for (let i = 0; i < 2000; i++) expect(y[i]).toBe(1 + 2 * at[i])
  }, 60_000)

  it('goes on while others want the same pages: launches in flight, and another device that takes them away', async () => {
    const n = 40_000
    const own = await openGpuHeap(NAMES.map((name) => ({ name, memory: '128 KiB', adapter: 'software' as const })))
    const x = own.alloc(Uint32Array, n, { name: 'x' })
    x.forEach((_, i) => {
      x[i] = i
    })
    const orders = [3, 5, 7].map((seed) => permutation(n, seed).slice(0, 3000))
    const at = orders.map((order, k) => {
      const array = own.alloc(Uint32Array, 3000, { name: `at ${k}` })
      array.set(order)
      return array
    })
    const taken = orders.map((_, k) => own.alloc(Uint32Array, 3000, { name: `taken ${k}` }))
    const take = kernel({
      name: 'take',
      args: { x: read(u32), at: read(u32), taken: readWrite(u32) },
      code: `@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) { taken[id.x] += x[at[id.x]]; }`,
    })
    const raise = kernel({
      name: 'raise',
      args: { x: readWrite(u32), at: read(u32) },
      code: `@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) { x[at[id.x]] += 100000u; }`,
    })
    // Those that only read x are on their way at once, on the same device and on another; who writes it takes it from all of them.
    const launches = [0, 1].flatMap((turn) => [
      ...at.map((places, k) => own.run(take, { x, at: places, taken: taken[k] }, 3000, { device: NAMES[k % 2] })),
      own.prefetch(x.subarray(0, 20_000), { access: 'readWrite', to: 'other' }),
      own.run(raise, { x, at: at[turn] }, 3000, { device: NAMES[turn] }),
    ])
    const receipts = await Promise.all(launches)
    expect(receipts.filter((each) => 'mode' in each && each.mode === 'paged')).toHaveLength(8)
    await own.sync(x, ...taken)
    const wanted = Uint32Array.from({ length: n }, (_, i) => i)
    const sums = orders.map(() => new Uint32Array(3000))
    for (const turn of [0, 1]) {
      for (const [k, order] of orders.entries()) {
        for (const [place, i] of order.entries()) sums[k][place] += wanted[i]
      }
      for (const i of orders[turn]) wanted[i] += 100_000
    }
    expect(taken.map((array) => [...array])).toEqual(sums.map((array) => [...array]))
    expect([...x]).toEqual([...wanted])
    checkGpuHeap(own)
  }, 120_000)

  it('and loses the device if one of its rounds does not end in time', async () => {
    const own = await open('128 KiB', 50)
    const x = own.alloc(Float32Array, 40_000, { name: 'x' })
    const at = own.alloc(Uint32Array, 64, { name: 'at' })
    const y = own.alloc(Float32Array, 64, { name: 'y' })
    const slow = kernel({
      name: 'slow',
      args: { x: read(f32), at: read(u32), y: readWrite(f32) },
      code: `@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  var sum = id.x;
  for (var i = 0u; i < 3000000u; i++) { sum = sum * 1664525u + 1013904223u; }
  y[id.x] = x[at[id.x]] + f32(sum);
}`,
    })
    const launched = own.run(slow, { x, at, y }, 64)
    await expect(launched).rejects.toThrow(/webgpu is lost: kernel "slow" made no progress for 50 ms/)
  }, 60_000)

  it('says what came along, and which arrays thrash', async () => {
    const own = await open('64 KiB')
    const x = own.alloc(Float32Array, 40_000, { name: 'x' }).fill(1)
    const at = own.alloc(Uint32Array, 2000, { name: 'at' })
    const y = own.alloc(Float32Array, 2000, { name: 'y' })
    at.forEach((_, i) => {
      at[i] = i % 500
    })
    const near = await own.run(GATHER, { x, at, y, a: 1 }, 2000)
    expect(near.bytesToDevice.prefetch).toBeGreaterThan(0)
    expect(near.thrashing).toEqual([])
    await own.sync(at)
    at.set(fill(2000, 1, 'small', 40_000))
    const far = await own.run(SEVERAL, { x, at, y }, 400)
    const thrashed = far.thrashing.find(({ array }) => array === 'x')
    expect(thrashed?.refaults).toBeGreaterThan(thrashed!.faults / 4)
    expect(`${far}`).toContain(`"x" thrashed, ${thrashed!.refaults} of ${thrashed!.faults} faults`)
    expect(far.counters).toMatchObject({ thrashing: far.thrashing.length })
    expect(far.counters.replays).toBeGreaterThan(0)
  }, 60_000)

  it('finds what an earlier launch has left on the device', async () => {
    const own = await open('256 KiB')
    const x = own.alloc(Float32Array, 100_000, { name: 'x' }).fill(1)
    const at = own.alloc(Uint32Array, 2000, { name: 'at' })
    const y = own.alloc(Float32Array, 2000, { name: 'y' })
    at.forEach((_, i) => {
      at[i] = i % 5000
    })
    const first = await own.run(GATHER, { x, at, y, a: 1 }, 2000)
    const second = await own.run(GATHER, { x, at, y, a: 1 }, 2000)
    expect([first.mode, second.mode]).toEqual(['paged', 'paged'])
    expect(first.counters.replays).toBeGreaterThan(0)
    // The first dispatch is the only one.
    expect([second.counters.replays, second.counters.deviceFaults]).toEqual([0, 0])
    expect(second.pages.resident).toBeGreaterThan(5)
    await own.sync(y)
    expect([...new Set(y)]).toEqual([2])
  })

  it('and is bound directly where they do', async () => {
    const own = await open('1 MiB')
    const x = own.alloc(Float32Array, 5000).fill(3)
    const at = own.alloc(Uint32Array, 100)
    const y = own.alloc(Float32Array, 100)
    const receipt = await own.run(GATHER, { x, at, y, a: 2 }, 100)
    expect(receipt.mode).toBe('direct')
    await own.sync(y)
    expect(y[99]).toBe(6)
  })

  it('happens exactly once, also what has a result', async () => {
    const own = await open('64 KiB')
    const n = 20_000
    const used = 1000
    const counter = own.alloc(Uint32Array, 1)
    const order = own.alloc(Uint32Array, n)
    const taken = own.alloc(Uint32Array, n)
    order.set(permutation(n))
    order.subarray(0, used).sort()
    const receipt = await own.run(TICKETS, { counter, order, taken }, used)
    expect(receipt.mode).toBe('paged')
    await own.sync(counter, taken)
    expect(counter[0]).toBe(used)
    const drawn = [...taken].filter((id) => id !== 0).sort((a, b) => a - b)
    expect(drawn).toEqual(Array.from({ length: used }, (_, i) => i + 1))
    for (let k = 0; k < used; k++) expect(taken[order[k]]).not.toBe(0)
  }, 60_000)

  it('stores as much as an invocation likes, after a dry run where nothing of it is read', async () => {
    const own = await open('256 KiB')
    const rows = kernel({
      name: 'rows',
      args: { x: read(u32), at: read(u32), y: readWrite(u32) },
      code: `@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  for (var k = 0u; k < 200u; k++) { y[200u * id.x + k] = x[at[id.x] + k]; } }`,
    })
    const x = own.alloc(Uint32Array, 100_000, { name: 'x' })
    x.forEach((_, i) => {
      x[i] = i
    })
    const at = own.alloc(Uint32Array, 300, { name: 'at' })
    at.set(fill(300, 4, 'small', 99_800))
    const y = own.alloc(Uint32Array, 60_000, { name: 'y' })
    const receipt = await own.run(rows, { x, at, y }, 300)
    expect([receipt.mode, receipt.why]).toEqual(['paged', expect.stringMatching(/; its stores follow a dry run$/)])
    expect(receipt.counters.replays).toBeGreaterThan(0)
    await own.sync(y, at)
    expect(y.findIndex((word, i) => word !== at[Math.floor(i / 200)] + (i % 200))).toBe(-1)
  }, 60_000)

  it('names what a kernel does that it may not', async () => {
    const own = await open('64 KiB')
    const x = own.alloc(Float32Array, 40_000)
    const at = own.alloc(Uint32Array, 64)
    const y = own.alloc(Float32Array, 64)
    at[7] = 40_000
    await expect(own.run(GATHER, { x, at, y, a: 1 }, 64)).rejects.toMatchObject({
      code: 'GPU_FAULT',
      message: expect.stringContaining(
        'kernel "gather" invocation 7,0,0 read "x"[40000], which has 40000 elements, in line 2',
      ),
    })
  })

  it('says why a kernel cannot go that way', async () => {
    const own = await open('64 KiB')
    const x = own.alloc(Float32Array, 40_000)
    const y = own.alloc(Float32Array, 64)
    const kernels = { never: 'never', auto: 'auto' } as const
    const locked = (paging: 'never' | 'auto') =>
      kernel({
        name: 'picky',
        paging,
        args: { x: read(f32), y: readWrite(f32) },
        code: `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
          if (x[0] > 1.0) { workgroupBarrier(); }
          y[id.x] = x[u32(x[id.x])]; }`,
      })
    const count = { workgroups: 1 }
    await expect(own.run(locked(kernels.never), { x, y }, count)).rejects.toMatchObject({
      code: 'TOO_LARGE',
      message: expect.stringContaining("cannot go through a page table: its paging is 'never'"),
    })
    await expect(own.run(locked(kernels.auto), { x, y }, count)).rejects.toMatchObject({
      code: 'TOO_LARGE',
      message: expect.stringContaining(
        'cannot go through a page table: line 2: a barrier depends on the condition in line 2',
      ),
    })
  })
})

describe('heap.batch() with launches through a page table', () => {
  const ADD = kernel({
    name: 'add',
    args: { x: readWrite(f32), n: uniform(f32) },
    code: '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { x[id.x] += n; }',
  })

  async function arrays(own: Heap) {
    const x = own.alloc(Float32Array, 40_000, { name: 'x' })
    const at = own.alloc(Uint32Array, 64, { name: 'at' })
    const y = own.alloc(Float32Array, 64, { name: 'y' })
    at.forEach((_, i) => {
      at[i] = i * 600
    })
    return { x, at, y }
  }

  it('runs them in order, between those that are bound directly', async () => {
    const own = await open('64 KiB')
    const { x, at, y } = await arrays(own)
    const receipt = await own.batch((b) => {
      b.run(ADD, { x, n: 1 }, x.length)
      b.run(GATHER, { x, at, y, a: 1 }, 64)
      b.run(ADD, { x, n: 10 }, x.length)
      b.run(ADD, { x: y, n: 100 }, 64)
      b.run(GATHER, { x, at, y, a: 1 }, 64)
    })
    // Later than the batch, also in parts.
    const after = own.run(ADD, { x: y, n: 1000 }, 64)
    expect(receipt).toMatchObject({ name: 'add, gather', mode: 'paged' })
    expect(receipt.slices).toBeGreaterThan(5)
    await after
    await own.sync(x, y)
    expect([x[0], x[39_999]]).toEqual([11, 11])
    expect([...y]).toEqual(Array.from({ length: 64 }, () => 1 + 100 + 11 + 1000))
  }, 60_000)

  it('begins nothing behind a part that fails, and says which launch it was', async () => {
    const own = await open('64 KiB')
    const { x, at, y } = await arrays(own)
    const good = own.alloc(Uint32Array, 64)
    at[5] = 40_001
    const batch = own.batch((b) => {
      b.run(ADD, { x, n: 1 }, x.length)
      b.run(GATHER, { x, at: good, y, a: 1 }, 64)
      b.run(GATHER, { x, at, y, a: 1 }, 64)
      b.run(ADD, { x, n: 10 }, x.length)
    })
    await expect(batch).rejects.toMatchObject({
      code: 'GPU_FAULT',
      message: expect.stringContaining('kernel "gather" invocation 5,0,0 read "x"[40001]'),
    })
    await own.sync(x, y)
    expect([x[0], y[5]]).toEqual([1, 1])
  }, 60_000)

  it('can be given up between them', async () => {
    const own = await open('64 KiB')
    const { x, at, y } = await arrays(own)
    const controller = new AbortController()
    const batch = own.batch(
      (b) => {
        b.run(GATHER, { x, at, y, a: 1 }, 64)
        b.run(ADD, { x, n: 1 }, x.length)
      },
      { signal: controller.signal },
    )
    controller.abort(new Error('not needed'))
    await expect(batch).rejects.toThrow('not needed')
    await own.sync(x)
    expect(x[39_999]).toBe(0)
  }, 60_000)
})

describe('heap.run() of resumable kernels', () => {
  const CHASE = kernel({
    name: 'chase',
    step: 'hop',
    args: { next: read(u32), sums: readWrite(u32), hops: uniform(u32) },
    code: `struct Chase { hops: u32, cursor: u32, sum: u32 }
fn hop(id: vec3u, s: ptr<function, Chase>) -> bool {
  if (s.hops == hops) { sums[id.x] += s.sum; return false; }
  if (s.hops == 0u) { s.cursor = id.x; }
  s.cursor = next[s.cursor];
  s.sum += s.cursor;
  s.hops++;
  return true;
}`,
  })

  it('needs the pages of one step only', async () => {
    // A chase through sixty pages, on a device that has four.
    const own = await open('16 KiB')
    const next = own.alloc(Uint32Array, 60_000)
    const sums = own.alloc(Uint32Array, 8).fill(1)
    next.forEach((_, i) => {
      next[i] = (i + 1021) % 60_000
    })
    const receipt = await own.run(CHASE, { next, sums, hops: 58 }, 8)
    expect([receipt.mode, receipt.why]).toEqual(['paged', 'it runs in steps'])
    await own.sync(sums)
    for (let i = 0; i < 8; i++) {
      let sum = 1
      for (let n = 1; n <= 58; n++) sum += (i + 1021 * n) % 60_000
      expect(sums[i]).toBe(sum)
    }
  }, 60_000)

  it('is refused by name where a step keeps what it cannot', async () => {
    const own = await open('64 KiB')
    const x = own.alloc(Uint32Array, 10)
    const bad = (code: string) => kernel({ name: 'bad', step: 'go', args: { x: readWrite(u32) }, code })
    const count = 1
    await expect(async () =>
      own.run(
        bad('var<private> n: u32; fn go(id: vec3u, s: ptr<function, u32>) -> bool { n++; x[0] = n; return false; }'),
        { x },
        count,
      ),
    ).rejects.toThrow('"n" is gone after a step: keep it in the state')
    expect(() => bad('fn walk(id: vec3u) { x[0] = 1u; }')).toThrow('no function "go", which is to be the step')
    expect(() => kernel({ step: 'a', entry: 'b', args: {}, code: '' })).toThrow('entry and step are given')
  })
})

describe('a paged launch', () => {
  it('rejects by name when the device goes away under it', async () => {
    const gpu = await openGpu()
    const heap = await openGpuHeap({ gpuDevice: gpu, memory: '64 KiB' })
    const x = heap.alloc(Float32Array, 60_000)
    const at = heap.alloc(Uint32Array, 4000)
    const y = heap.alloc(Float32Array, 4000)
    at.set(fill(4000, 3, 'small', 60_000))
    destroyAtSubmit(gpu, 5)
    await expect(heap.run(GATHER, { x, at, y, a: 1 }, 4000)).rejects.toMatchObject({ code: 'LOST' })
  }, 60_000)
})
