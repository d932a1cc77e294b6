// Spans: the same kernels on a device that has room for everything and on one that has not, against the CPU.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { suiteGpuHeaps } from '../../test/helpers/gpu-heap.ts'
import { fill } from '../../test/helpers/paged-run.ts'
import type { Size } from '../base/size.ts'
import {
  atomic,
  type Heap,
  type KernelArguments,
  kernel,
  read,
  readWrite,
  struct,
  u32,
  uniform,
  vec2u,
  vec3u,
  write,
} from '../index.ts'

const openGpuHeap = suiteGpuHeaps('4 MiB')

function open(memory: Size): Promise<Heap> {
  return openGpuHeap({ memory, adapter: 'software' })
}

const main = (body: string) =>
  `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { ${body} }`

/** Each invocation sums some neighbours, from a place that the data says. */
const SUMS = kernel({
  name: 'sums',
  args: { at: read(u32), x: read(u32), sums: write(u32) },
  code: `fn sum(first: u32, count: u32) -> u32 {
  var sum = 0u;
  for (var i = first; i < first + count; ) {
    let n = x_span(i, first + count - i);
    for (var k = 0u; k < n; k++) { sum += x_at(k) * (i + k - first + 1u); }
    i += n;
  }
  return sum;
}
${main('sums[id.x] = sum(at[2u * id.x], at[2u * id.x + 1u]);')}`,
})

describe('spans of arrays that are read', () => {
  it('have the same elements in pieces as in one', async () => {
    const [large, small] = [await open('2 MiB'), await open('32 KiB')]
    const n = 12_000
    const modes = new Set<string>()
    const place = fc.tuple(
      fc.integer({ min: 0, max: n - 1 }),
      fc.integer({ min: 0, max: 3000 }),
      fc.integer({ min: 0, max: 40 }),
    )
    const run = async (heap: Heap, places: readonly number[], shift: number): Promise<number[]> => {
      const x = heap.alloc(Uint32Array, n + shift)
      const at = heap.alloc(Uint32Array, places.length)
      const sums = heap.alloc(Uint32Array, places.length / 2)
      x.set(fill(n, 1), shift)
      at.set(places)
      const { mode } = await heap.run(SUMS, { at, x: x.subarray(shift), sums }, sums.length)
      modes.add(mode)
      await heap.sync(sums)
      const result = [...sums]
      for (const array of [x, at, sums]) heap.free(array)
      return result
    }
    await fc.assert(
      fc.asyncProperty(
        fc.array(place, { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 0, max: 9 }),
        async (all, shift) => {
          const places = all.flatMap(([from, long, short]) => [
            from,
            Math.min(n - from, short % 3 === 0 ? long : short),
          ])
          const words = fill(n, 1)
          const expected = Array.from({ length: all.length }, (_, i) => {
            const [from, count] = [places[2 * i], places[2 * i + 1]]
            return words.subarray(from, from + count).reduce((sum, word, k) => (sum + Math.imul(word, k + 1)) >>> 0, 0)
          })
          expect(await run(large, places, shift)).toEqual(expected)
          expect(await run(small, places, shift)).toEqual(expected)
        },
      ),
      { numRuns: 25 },
    )
    expect([...modes].sort()).toEqual(['direct', 'paged'])
  }, 120_000)

  it('look a page up once', () => {
    const { paged } = SUMS.program([['at'], ['x'], ['sums']], false)
    const body = /fn x_at\(.*\n/.exec(paged!.wgsl)![0]
    expect(body).not.toMatch(/hm_r\b|hm_table|hm_at/)
    expect(/fn x_span\([^}]*}/.exec(paged!.wgsl)![0]).toContain('hm_r(a)')
  })
})

describe('spans of arrays that are written', () => {
  const SCALE = kernel({
    name: 'scale',
    args: { x: read(vec2u), y: readWrite(vec3u), per: uniform(u32), order: read(u32) },
    code: main(`
  let end = (order[id.x] + 1u) * per;
  for (var i = order[id.x] * per; i < end; ) {
    let n = min(x_span(i, end - i), y_span(i, end - i));
    for (var k = 0u; k < n; k++) {
      y_put(k, y_at(k) + vec3u(x_at(k), i + k));
      if ((i + k) % 5u == 0u) { y_put(k, y_at(k) * 3u); }
    }
    i += n;
  }`),
  })

  it.each(['2 MiB', '48 KiB'] as const)(
    'store once, and see what they have stored, with %s',
    async (memory) => {
      const heap = await open(memory)
      const [count, per] = [40, 100]
      const [x, y] = [heap.alloc(Uint32Array, 2 * count * per), heap.alloc(Uint32Array, 4 * count * per)]
      const order = heap.alloc(Uint32Array, count)
      x.set(fill(x.length, 2))
      y.set(fill(y.length, 3))
      const expected = y.slice()
      for (let i = 0; i < count * per; i++) {
        for (let c = 0; c < 3; c++) {
          expected[4 * i + c] += c < 2 ? x[2 * i + c] : i
          if (i % 5 === 0) expected[4 * i + c] *= 3
        }
      }
      order.forEach((_, i) => {
        order[i] = (i * 7) % count
      })
      const { mode } = await heap.run(SCALE, { x, y, per, order }, count)
      expect(mode).toBe(memory === '2 MiB' ? 'direct' : 'paged')
      await heap.sync(y)
      // What lies between vectors of three is nobody's, and stays.
      expect(y.slice()).toEqual(expected)
    },
    60_000,
  )

  it('fit atomics whose results are used, and are replayed with them', async () => {
    const heap = await open('24 KiB')
    const [count, per] = [150, 40]
    const take = kernel({
      name: 'take',
      args: { counter: readWrite(atomic(u32)), y: readWrite(u32) },
      code: main(`
  let place = (atomicAdd(&counter[0], 1u) * 7u) % ${count}u;
  for (var i = 0u; i < ${per}u; ) {
    let n = y_span(place * ${per}u + i, ${per}u - i);
    for (var k = 0u; k < n; k++) { y_put(k, y_at(k) + 1u); }
    i += n;
  }`),
    })
    const counter = heap.alloc(Uint32Array, 1)
    const y = heap.alloc(Uint32Array, count * per)
    y.forEach((_, i) => {
      y[i] = i
    })
    const { mode } = await heap.run(take, { counter, y }, count)
    await heap.sync(counter, y)
    expect([mode, counter[0]]).toEqual(['paged', count])
    expect(y.every((word, i) => word === i + 1)).toBe(true)
  }, 60_000)
})

describe('spans that are none', () => {
  it('end the launch by name, with the line of the call', async () => {
    const heap = await open('16 KiB')
    const x = heap.alloc(Uint32Array, 10_000, { name: 'x' })
    const y = heap.alloc(Uint32Array, 64, { name: 'y' }).fill(7)
    const pick = kernel({
      name: 'pick',
      args: { x: read(u32), y: readWrite(u32), first: uniform(u32), k: uniform(u32) },
      code: main(`let n = x_span(first + x[id.x * 100u], 5u);
  y[id.x] = x_at(k);`),
    })
    const runAt = (first: number, k: number) => heap.run(pick, { x, y, first, k }, 64)
    await expect(runAt(10_000, 0)).rejects.toMatchObject({
      code: 'GPU_FAULT',
      message: expect.stringMatching(
        /kernel "pick" invocation \d+,0,0 pointed to "x"\[10000\], which has 10000 elements, in line 1/,
      ),
    })
    await expect(runAt(9_998, 2)).rejects.toMatchObject({
      code: 'GPU_FAULT',
      message: expect.stringContaining('used element 2 of a span of "x" that has less, in line 2'),
    })
    await heap.sync(y)
    expect(y.every((word) => word === 7)).toBe(true)
    await runAt(9_998, 1)
  }, 60_000)

  it('are refused with the line where there cannot be any', () => {
    const make =
      (args: KernelArguments, body: string, step = false) =>
      () =>
        kernel({ name: 'k', args, code: body, ...(step && { step: 'go' }) })
    const Pair = struct('Pair', { a: u32, b: u32 })
    expect(make({ x: readWrite(Pair) }, main('x[0].a = x_span(0u, 5u);'))).toThrow(
      /^k:1:\d+: "x" has elements Pair, and spans are of numbers and vectors/,
    )
    expect(make({ x: write(u32) }, main('x[0] = x_at(1u);'))).toThrow('"x" is declared write, and is read here')
    expect(make({ x: read(u32) }, main('x_put(0u, x[0]);'))).toThrow('"x" is declared read, and is written here')
    const step = 'fn go(id: vec3u, s: ptr<function, u32>) -> bool { s += x_span(0u, 1u); return false; }'
    expect(make({ x: read(u32) }, step.replace('s +=', '*s +='), true)).toThrow('is gone after a step')
  })

  it('leave functions of that name alone', async () => {
    const own = kernel({
      args: { x: write(u32) },
      code: `fn x_at(k: u32) -> u32 { return 5u + k; }\n${main('x[id.x] = x_at(id.x);')}`,
    })
    const heap = await open('1 MiB')
    const x = heap.alloc(Uint32Array, 3)
    await heap.run(own, { x }, 3)
    await heap.sync(x)
    expect([...x]).toEqual([5, 6, 7])
  })
})
