// Kernels that go through a page table and count: their counters are bound directly where they are small, and lie among the pages where
// they are large. Each addition happens once either way, whatever is evicted, runs again, fails or is given up.

import { describe, expect, it } from 'vitest'
import { destroyAtSubmit, openGpu } from '../../test/helpers/gpu.ts'
import { suiteGpuHeaps } from '../../test/helpers/gpu-heap.ts'
import { fill } from '../../test/helpers/paged-run.ts'
import { atomic, kernel, read, readWrite, u32 } from '../index.ts'

const ROWS = 40_000
const MAIN = '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u)'

const HISTOGRAM = kernel({
  name: 'histogram',
  args: { x: read(u32), at: read(u32), bins: readWrite(atomic(u32)), sums: readWrite(u32) },
  code: `${MAIN} {
  let v = x[at[id.x]];
  atomicAdd(&bins[v % arrayLength(&bins)], 1u);
  sums[id.x] += v; }`,
})

const QUEUE = kernel({
  name: 'queue',
  args: { x: read(u32), at: read(u32), head: readWrite(atomic(u32)), items: readWrite(u32) },
  code: `${MAIN} {
  let v = x[at[id.x]];
  if (v % 3u == 0u) { items[atomicAdd(&head[0], 1u)] = id.x + 1u; } }`,
})

const openGpuHeap = suiteGpuHeaps('16 MiB')

/** Numbers and places of them, more than the device has room for. */
async function open(count: number, gpuDevice?: GPUDevice) {
  const device = {
    memory: '64 KiB' as const,
    ...(gpuDevice === undefined ? { adapter: 'software' as const } : { gpuDevice }),
  }
  const own = await openGpuHeap(device)
  const x = own.alloc(Uint32Array, ROWS, { name: 'x' })
  const at = own.alloc(Uint32Array, count, { name: 'at' })
  const sums = own.alloc(Uint32Array, count, { name: 'sums' })
  x.set(fill(ROWS, 3))
  at.set(fill(count, 1, 'small', ROWS))
  return { own, x, at, sums }
}

function histogram(x: Uint32Array, at: Uint32Array, nbins: number): Uint32Array {
  const bins = new Uint32Array(nbins)
  for (const place of at) bins[x[place] % nbins]++
  return bins
}

describe('atomics of kernels that go through a page table', () => {
  it.each([
    ['few', 100, 'its atomics wait for the commit, in a buffer of their own'],
    ['many', 12_000, 'its atomics wait for the commit'],
  ])(
    'happen once: %s counters',
    async (_, nbins, how) => {
      const { own, x, at, sums } = await open(1000)
      // Behind others of the same array, so that the counters begin within a page that holds other data too.
      const array = own.alloc(Uint32Array, nbins + 64, { name: 'bins' }).fill(5)
      const bins = array.subarray(64)
      const receipt = await own.run(HISTOGRAM, { x, at, bins, sums }, 1000)
      expect(receipt.mode).toBe('paged')
      expect(receipt.why).toMatch(new RegExp(`; ${how}$`))
      expect(receipt.counters.replays).toBeGreaterThan(0)
      await own.sync(x, at, array, sums)
      expect(array.subarray(0, 64).every((word) => word === 5)).toBe(true)
      expect(bins).toEqual(histogram(x, at, nbins).map((n) => n + 5))
      expect(sums).toEqual(at.map((place) => x[place]))
    },
    60_000,
  )

  it('have results that happen once: the head of a queue', async () => {
    const { own, x, at } = await open(1000)
    const head = own.alloc(Uint32Array, 1, { name: 'head' })
    const items = own.alloc(Uint32Array, 1000, { name: 'items' })
    const receipt = await own.run(QUEUE, { x, at, head, items }, 1000)
    expect(receipt.why).toMatch(/; its atomics happen once and are noted, in a buffer of their own$/)
    await own.sync(x, at, head, items)
    const expected = [...at.keys()].filter((i) => x[at[i]] % 3 === 0).map((i) => i + 1)
    expect(head[0]).toBe(expected.length)
    expect([...items.subarray(0, head[0])].sort((a, b) => a - b)).toEqual(expected)
  }, 60_000)

  it('add up over launches that are on their way together, and the CPU sees them after each', async () => {
    const { own, x, at, sums } = await open(500)
    const bins = own.alloc(Uint32Array, 64, { name: 'bins' })
    const others = own.alloc(Uint32Array, 64, { name: 'others' })
    const runs = [bins, others, bins].map((counters) => own.run(HISTOGRAM, { x, at, bins: counters, sums }, 500))
    await Promise.all(runs)
    await own.sync(bins, others, x, at)
    expect(bins).toEqual(histogram(x, at, 64).map((n) => 2 * n))
    expect(others).toEqual(histogram(x, at, 64))
    bins.fill(7)
    await own.run(HISTOGRAM, { x, at, bins, sums }, 500, { durable: true })
    await own.sync(bins)
    expect(bins).toEqual(histogram(x, at, 64).map((n) => n + 7))
  }, 60_000)

  it.each([
    ['few', 64],
    ['many', 12_000],
  ])(
    'stay in step with the stores of a launch that faults: %s counters',
    async (_, nbins) => {
      const { own, x, at, sums } = await open(1000)
      const bins = own.alloc(Uint32Array, nbins, { name: 'bins' })
      at[990] = ROWS + 3
      x.forEach((_, i) => {
        x[i] = i + 1
      })
      const running = own.run(HISTOGRAM, { x, at, bins, sums }, 1000, { strict: true })
      await expect(running).rejects.toMatchObject({
        code: 'GPU_FAULT',
        message: expect.stringContaining(`"x"[${ROWS + 3}]`),
      })
      await own.sync(bins, sums)
      const done = [...sums.keys()].filter((i) => sums[i] !== 0)
      expect(bins).toEqual(
        histogram(
          x,
          Uint32Array.from(done, (i) => at[i]),
          nbins,
        ),
      )
      await expect(own.run(HISTOGRAM, { x, at, bins, sums }, 1000)).rejects.toMatchObject({ code: 'GPU_FAULT' })
    },
    60_000,
  )

  it('name the counter that is not there', async () => {
    const { own, x, at } = await open(64)
    const head = own.alloc(Uint32Array, 10, { name: 'head' }).fill(1)
    const beyond = kernel({
      name: 'beyond',
      args: { x: read(u32), at: read(u32), head: readWrite(atomic(u32)) },
      code: `${MAIN} {\n  atomicAdd(&head[x[at[id.x]] * 0u + id.x], 1u); }`,
    })
    await expect(own.run(beyond, { x, at, head }, 64)).rejects.toMatchObject({
      code: 'GPU_FAULT',
      message: expect.stringMatching(/changed "head"\[\d+\], which has 10 elements, in line 2/),
    })
  }, 60_000)

  it('stay in step with the stores of a launch that is given up', async () => {
    const { own, x, at, sums } = await open(4000)
    const bins = own.alloc(Uint32Array, 64, { name: 'bins' })
    x.forEach((_, i) => {
      x[i] = i + 1
    })
    const controller = new AbortController()
    const running = own.run(HISTOGRAM, { x, at, bins, sums }, 4000, { signal: controller.signal })
    setTimeout(() => controller.abort(new Error('enough')), 60)
    const error = await running.then(
      () => null,
      (thrown: Error) => thrown.message,
    )
    expect(error === null || error === 'enough').toBe(true)
    await own.sync(bins, sums)
    const done = [...sums.keys()].filter((i) => sums[i] !== 0)
    expect(bins).toEqual(
      histogram(
        x,
        Uint32Array.from(done, (i) => at[i]),
        64,
      ),
    )
  }, 60_000)

  it('are what they were, or lost by name, when the device goes away', async () => {
    const gpu = await openGpu()
    const { own, x, at, sums } = await open(4000, gpu)
    const bins = own.alloc(Uint32Array, 64, { name: 'bins' }).fill(9)
    destroyAtSubmit(gpu, 5)
    await expect(own.run(HISTOGRAM, { x, at, bins, sums }, 4000)).rejects.toMatchObject({ code: 'LOST' })
    const synced = await own.sync(bins).then(
      () => null,
      (error: { code: string }) => error.code,
    )
    if (synced === null) expect(bins.every((word) => word === 9)).toBe(true)
    else expect(synced).toBe('LOST')
  }, 60_000)
})
