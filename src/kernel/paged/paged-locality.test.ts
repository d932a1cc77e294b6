// Kernels that want more pages at once than there are frames: what waits is put in the order of pages, so that each page comes about once,
// however the transactions are spread over memory. Counted, not timed.

import { describe, expect, it } from 'vitest'
import { suiteGpu } from '../../../test/helpers/gpu.ts'
import { permutation } from '../../../test/helpers/paged-kernels/table.ts'
import { fill, runDirect, runPaged, type TestKernel } from '../../../test/helpers/paged-run.ts'

const PAGE_WORDS = 128
const N = 64 * PAGE_WORDS
const COUNT = 256
const main = (body: string, size = 64): string =>
  `@compute @workgroup_size(${size}) fn main(@builtin(global_invocation_id) id: vec3u) { let i = id.x; ${body} }`

const zeros = (n: number): Uint32Array => new Uint32Array(n)

describe('transactions that want more pages than fit', () => {
  const gpu = suiteGpu()

  const contents = () => ({ p: permutation(N, 3).slice(0, COUNT), x: fill(N, 4), y: zeros(COUNT) })
  const gather: TestKernel = {
    name: 'gather',
    code: main('y[i] = x[p[i]] + 1u;'),
    args: { p: 'read u32', x: 'read u32', y: 'u32' },
    extent: [COUNT],
  }
  // Arguments begin inside of a page.
  const [pagesOfX, beside] = [N / PAGE_WORDS + 1, COUNT / PAGE_WORDS + 1]

  it('bring each page of an array that is loaded from at random once', async () => {
    const before = contents()
    const { contents: after, receipt } = await runPaged(gpu.device, gather, before, { frames: 32 })
    expect(after['y']).toEqual(Uint32Array.from(before.p, (k) => before.x[k] + 1))
    expect(receipt.splits).toBeGreaterThan(0)
    // Those of p and y may go while a part of x comes, of which there are five.
    expect(receipt.faults).toBeLessThanOrEqual(pagesOfX + 5 * 2 * beside)
  })

  it('do so with a list of missed pages that has room for few', async () => {
    const before = contents()
    const short = await runPaged(gpu.device, gather, before, { frames: 32, faultCapacity: 16 })
    const long = await runPaged(gpu.device, gather, before, { frames: 32 })
    expect(short.contents).toEqual(long.contents)
    expect(short.receipt.faults).toBeLessThanOrEqual(pagesOfX + 5 * 2 * beside)
    // A round for every 16 pages would be more.
    expect(short.receipt.rounds).toBeLessThanOrEqual(long.receipt.rounds + 2)
  })

  it('bring pages that are also written once, as workgroups too', async () => {
    const scatter: TestKernel = {
      name: 'scatter',
      code: `var<workgroup> sum: u32;
        @compute @workgroup_size(16)
        fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) l: u32) {
          if (l == 0u) { sum = p[id.x]; }
          workgroupBarrier();
          if (l == 3u) { x[sum] += 5u; }
        }`,
      args: { p: 'read u32', x: 'u32' },
      extent: [COUNT],
    }
    const before = { p: contents().p, x: fill(N, 8) }
    const { contents: after, receipt } = await runPaged(gpu.device, scatter, before, { frames: 8 })
    expect(after).toEqual(await runDirect(gpu.device, scatter, before))
    expect(receipt.splits).toBeGreaterThan(0)
    expect(receipt.faults).toBeLessThanOrEqual(pagesOfX + 6 * beside)
  })

  it('get through where each wants several, whatever the room', async () => {
    const kernel: TestKernel = {
      name: 'several',
      code: main(`y[i] = x[p[i]] + x[p[(i * 7u + 1u) % ${COUNT}u]] * x[p[(i * 13u + 5u) % ${COUNT}u]];`),
      args: gather.args,
      extent: [COUNT],
    }
    const before = contents()
    const wanted = await runDirect(gpu.device, kernel, before)
    for (const frames of [12, 40, 90]) {
      const { contents: after } = await runPaged(gpu.device, kernel, before, { frames })
      expect(after).toEqual(wanted)
    }
  })

  it('tell all that they miss and know at once', async () => {
    const several: TestKernel = {
      name: 'rows of a table',
      code: main('var sum = 0u; for (var k = 0u; k < 8u; k++) { sum += x[p[i * 8u + k]]; } y[i] = sum;'),
      args: gather.args,
      extent: [COUNT / 8],
    }
    const before = contents()
    const wanted = await runDirect(gpu.device, several, { ...before, y: zeros(64) })
    const { contents: after, receipt } = await runPaged(
      gpu.device,
      several,
      { ...before, y: zeros(64) },
      { frames: 80 },
    )
    expect(after['y'].slice(0, COUNT / 8)).toEqual(wanted['y'].slice(0, COUNT / 8))
    // What is small comes first; all of x is missed in one round, and in the next one everything is there.
    expect(receipt.rounds).toBe(2)
    expect(receipt.faults).toBeLessThanOrEqual(pagesOfX)
  })

  it('look up a row as a whole before they go along it', async () => {
    const rows: TestKernel = {
      name: 'rows',
      code: main('var sum = 0u; for (var k = p[i]; k < p[i + 1u]; k++) { sum += x[k]; } y[i] = sum;', 4),
      args: gather.args,
      extent: [4],
    }
    const ends = Uint32Array.from({ length: 5 }, (_, i) => i * 2000)
    const before = { p: ends, x: fill(N, 4), y: zeros(4) }
    const wanted = await runDirect(gpu.device, rows, before)
    const { contents: after, receipt } = await runPaged(gpu.device, rows, before, { frames: 80 })
    expect(after).toEqual(wanted)
    expect(receipt.rounds).toBe(2)
    // A row that is longer than the device has room for comes part by part.
    expect((await runPaged(gpu.device, rows, before, { frames: 20 })).contents).toEqual(wanted)
  })

  it('bring each page of many rows about once, however long these are and however much is stored', async () => {
    const search: TestKernel = {
      name: 'search',
      code: main(`if (levels[i] != 2u) { return; }
        for (var k = p[i]; k < p[i + 1u]; k++) {
          let v = x[k];
          if (levels[v] == 9u) { levels[v] = 3u; found[0] = 1u; }
        }`),
      args: { p: 'read u32', x: 'read u32', levels: 'u32', found: 'u32' },
      extent: [COUNT],
    }
    // Rows of a third of a page, and every 32nd of five pages.
    const ends = new Uint32Array(COUNT + 1)
    for (let i = 0; i < COUNT; i++) ends[i + 1] = ends[i] + (i % 32 === 31 ? 5 * PAGE_WORDS : PAGE_WORDS / 3)
    const before = {
      p: ends,
      x: Uint32Array.from(fill(ends[COUNT], 7), (word) => word % COUNT),
      levels: Uint32Array.from({ length: COUNT }, (_, i) => (i % 3 === 0 ? 2 : 9)),
      found: zeros(1),
    }
    const wanted = await runDirect(gpu.device, search, before)
    expect(wanted['found'][0]).toBe(1)
    const npages = Math.ceil(ends[COUNT] / PAGE_WORDS)
    for (const frames of [24, 40, npages + 20]) {
      const { contents: after, receipt } = await runPaged(gpu.device, search, before, { frames })
      expect(after, `${frames} frames`).toEqual(wanted)
      expect(receipt.faults, `${frames} frames`).toBeLessThanOrEqual(1.25 * npages)
      expect(receipt.refaults, `${frames} frames`).toBeLessThanOrEqual(npages / 8)
    }
  })

  it('tell nothing that depends on what is not there', async () => {
    const dependent: TestKernel = {
      name: 'dependent',
      code: main('if (p[i] < 4u) { return; } y[i] = x[p[i]] + x[p[(i + 1u) % 256u] % 8192u];'),
      args: gather.args,
      extent: [COUNT],
    }
    const before = { ...contents(), p: fill(COUNT, 1, 'small', 4) }
    const { receipt } = await runPaged(gpu.device, dependent, before, { frames: 15 })
    expect(receipt.faults).toBeLessThanOrEqual(beside)
  })

  it('find what they have stored themselves, however much that is', async () => {
    const kernel: TestKernel = {
      name: 'own stores',
      code: main(
        'for (var k = 0u; k < 40u * (i % 8u); k++) { let j = (i * 512u + p[k]) % 8192u; x[j] += x[j ^ 1u] + k; }',
        8,
      ),
      args: { p: 'read u32', x: 'u32' },
      extent: [16],
    }
    const before = { p: Uint32Array.from(fill(320, 5), (word) => word % 97), x: fill(N, 6, 'small', 1000) }
    expect((await runPaged(gpu.device, kernel, before, { frames: 16 })).contents).toEqual(
      await runDirect(gpu.device, kernel, before),
    )
  })
})
