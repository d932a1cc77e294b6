// Whole algorithms through a page table, against the CPU bit by bit, with device memory from four times the data down to the least
// with which a transaction can end.

import { describe, expect, it } from 'vitest'
import { suiteGpu } from '../../../test/helpers/gpu.ts'
import { permutation } from '../../../test/helpers/paged-kernels/table.ts'
import {
  type Contents,
  fill,
  type PagedTestOptions,
  runPaged,
  type TestKernel,
} from '../../../test/helpers/paged-run.ts'

const N = 512
const zeros = (n: number): Uint32Array => new Uint32Array(n)
const floats = (words: Uint32Array): Float32Array => new Float32Array(words.buffer, words.byteOffset, words.length)

interface Algorithm {
  readonly kernel: TestKernel
  readonly contents: () => Contents
  /** Checks what is left; `before` is what it began with. */
  readonly check: (after: Contents, before: Contents) => void
  /** Frames with which a transaction can end. */
  readonly minimum: number
  readonly options?: PagedTestOptions
}

const main = (body: string, size = 64): string =>
  `@compute @workgroup_size(${size}) fn main(@builtin(global_invocation_id) id: vec3u) { let i = id.x; ${body} }`

const random = fill(N, 11)
const next = permutation(N, 3)

const ALGORITHMS: readonly Algorithm[] = [
  {
    kernel: {
      name: 'update that must happen once',
      code: main('x[i] = 2.0 * x[i] + 1.0;'),
      args: { x: 'f32' },
      extent: [N - 7],
    },
    contents: () => ({ x: fill(N, 1, 'f32') }),
    check: (after, before) => {
      const expected = floats(before['x'].slice())
      for (let i = 0; i < N - 7; i++) expected[i] = 2 * expected[i] + 1
      expect(floats(after['x'])).toEqual(expected)
    },
    minimum: 1,
  },
  {
    kernel: {
      name: 'permutation with two stores',
      code: main('let k = p[i]; a[k] = i; b[i] += a2[k];'),
      args: { p: 'read u32', a: 'u32', b: 'u32', a2: 'read u32' },
      extent: [N],
    },
    contents: () => ({ p: next.slice(), a: zeros(N), b: fill(N, 5), a2: fill(N, 6) }),
    check: (after, before) => {
      const [a, b] = [zeros(N), before['b'].slice()]
      before['p'].forEach((k, i) => {
        a[k] = i
        b[i] = b[i] + before['a2'][k]
      })
      expect(after['a']).toEqual(a)
      expect(after['b']).toEqual(b)
    },
    minimum: 4,
  },
  {
    kernel: {
      name: 'scatter with atomics',
      code: main('atomicAdd(&c[u[i] % 128u], u[i] >> 20u); atomicMax(&c[128u + u[i] % 128u], i);'),
      args: { u: 'read u32', c: 'atomic<u32>' },
      extent: [N],
    },
    contents: () => ({ u: random.slice(), c: zeros(256) }),
    check: (after) => {
      const c = zeros(256)
      random.forEach((word, i) => {
        c[word % 128] += word >>> 20
        c[128 + (word % 128)] = Math.max(c[128 + (word % 128)], i)
      })
      expect(after['c']).toEqual(c)
    },
    minimum: 3,
  },
  {
    kernel: {
      name: 'ticket counter',
      code: main('let k = atomicAdd(&c[0], 1u); t[order[k]] = i + 1u;'),
      args: { c: 'atomic<u32>', order: 'read u32', t: 'u32' },
      extent: [N],
    },
    contents: () => ({ c: zeros(4), order: next.slice(), t: zeros(N) }),
    check: (after) => {
      expect(after['c'][0]).toBe(N)
      // Every place has one ticket: none was drawn twice, none was lost.
      expect([...after['t']].sort((a, b) => a - b)).toEqual(Array.from({ length: N }, (_, i) => i + 1))
    },
    minimum: 3,
  },
  {
    kernel: {
      name: 'workgroup reduction',
      code: `var<workgroup> s: array<u32, 64>;
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) l: u32, @builtin(workgroup_id) g: vec3u, @builtin(global_invocation_id) id: vec3u) {
  s[l] = x[id.x]; workgroupBarrier();
  for (var d = 32u; d > 0u; d >>= 1u) { if (l < d) { s[l] += s[l + d]; } workgroupBarrier(); }
  if (l == 0u) { y[g.x] += s[0]; } }`,
      args: { x: 'read u32', y: 'u32' },
      extent: [N],
    },
    contents: () => ({ x: random.slice(), y: fill(N / 64, 9) }),
    check: (after, before) => {
      const y = before['y'].slice()
      random.forEach((word, i) => {
        y[i >> 6] += word
      })
      expect(after['y']).toEqual(y)
    },
    minimum: 5,
  },
  {
    kernel: {
      name: 'linked list',
      code: main(
        'var k = i; var sum = 0u; for (var n = 0u; n < 12u; n++) { sum += list[k].value; k = list[k].next; } out[i] = sum;',
      ),
      structs: 'struct Link { value: u32, next: u32 }',
      args: { list: 'read Link', out: 'u32' },
      extent: [64],
    },
    contents: () => ({
      list: Uint32Array.from({ length: 2 * N }, (_, i) => (i % 2 === 0 ? random[i >> 1] : next[i >> 1])),
      out: zeros(64),
    }),
    check: (after) => {
      const out = zeros(64).map((_, i) => {
        let [k, sum] = [i, 0]
        for (let n = 0; n < 12; n++) {
          sum = (sum + random[k]) >>> 0
          k = next[k]
        }
        return sum
      })
      expect(after['out']).toEqual(out)
    },
    minimum: 26,
  },
  {
    kernel: {
      name: 'hash table build',
      // Linear probing; the key is the value plus one, 0 is empty.
      code: main(`let key = keys[i]; var h = (key * 2654435761u) >> 20u;
        loop { let r = atomicCompareExchangeWeak(&table[h % 1024u], 0u, key);
          if (r.exchanged || r.old_value == key) { where_[i] = h % 1024u; break; } if (r.old_value == 0u) { continue; } h++; }`),
      args: { keys: 'read u32', table: 'atomic<u32>', where_: 'u32' },
      extent: [N],
    },
    contents: () => ({ keys: random.map((word) => (word % 700) + 1), table: zeros(1024), where_: zeros(N) }),
    check: (after, before) => {
      const keys = before['keys']
      for (let i = 0; i < N; i++) expect(after['table'][after['where_'][i]]).toBe(keys[i])
      const stored = [...after['table']].filter((key) => key !== 0).sort((a, b) => a - b)
      expect(stored).toEqual([...new Set(keys)].sort((a, b) => a - b))
    },
    minimum: 6,
  },
]

const PAGE_BITS = 5

describe('algorithms through a page table', () => {
  const gpu = suiteGpu()

  for (const { kernel, contents, check, minimum, options } of ALGORITHMS) {
    const pages = Object.values(contents()).reduce(
      (sum, words) => sum + Math.ceil(words.length / 2 ** PAGE_BITS) + 1,
      0,
    )
    const sizes = [4, 1, 0.5, 0.25, 0.1].map((part) => Math.max(minimum, Math.ceil(part * pages)))
    for (const frames of new Set([...sizes, minimum])) {
      it(`${kernel.name}, ${frames} frames for ${pages} pages`, async () => {
        const before = contents()
        const { contents: after } = await runPaged(gpu.device, kernel, before, {
          ...options,
          frames,
          pageBits: PAGE_BITS,
        })
        check(after, before)
      }, 60_000)
    }
    it(`${kernel.name}, a list of 16 misses`, async () => {
      const before = contents()
      const frames = Math.max(minimum, Math.ceil(pages / 2))
      const { contents: after } = await runPaged(gpu.device, kernel, before, {
        ...options,
        frames,
        pageBits: 4,
        faultCapacity: 16,
        fraction: 0.5,
      })
      check(after, before)
    }, 60_000)
  }

  it('breadth-first search', async () => {
    const graph = randomGraph(512, 6)
    const kernel: TestKernel = {
      name: 'bfs step',
      code: main(`if (i >= sizes.count) { return; }
        let a = frontier[i];
        for (var e = rows[a]; e < rows[a + 1u]; e++) {
          let b = columns[e];
          let r = atomicCompareExchangeWeak(&levels[b], 0xffffffffu, sizes.level);
          if (r.exchanged) { found[atomicAdd(&total[0], 1u)] = b; }
        }`),
      structs: 'struct Sizes { count: u32, level: u32 }',
      args: {
        rows: 'read u32',
        columns: 'read u32',
        frontier: 'read u32',
        levels: 'atomic<u32>',
        found: 'u32',
        total: 'atomic<u32>',
      },
      uniforms: { sizes: ['Sizes', 0, 0] },
      extent: [1],
    }
    for (const options of [{ fraction: 1 }, { fraction: 0.5 }, { fraction: 0.5, faultCapacity: 16 }]) {
      let frontier = Uint32Array.of(0)
      let levels = new Uint32Array(512).fill(0xffffffff)
      levels[0] = 0
      for (let level = 1; frontier.length > 0; level++) {
        const step = {
          ...kernel,
          uniforms: { sizes: ['Sizes', frontier.length, level] as const },
          extent: [frontier.length] as const,
        }
        const contents = {
          rows: graph.rows,
          columns: graph.columns,
          frontier,
          levels,
          found: zeros(512),
          total: zeros(4),
        }
        const result = await runPaged(gpu.device, step, contents, { ...options, pageBits: 5 })
        levels = result.contents['levels'] as Uint32Array<ArrayBuffer>
        frontier = result.contents['found'].slice(0, result.contents['total'][0]) as Uint32Array<ArrayBuffer>
      }
      expect(levels).toEqual(levelsOf(graph))
    }
  }, 120_000)
})

interface Graph {
  readonly rows: Uint32Array
  readonly columns: Uint32Array
}

function randomGraph(vertices: number, degree: number): Graph {
  const columns = fill(vertices * degree, 21, 'small', vertices)
  return { rows: Uint32Array.from({ length: vertices + 1 }, (_, i) => i * degree), columns }
}

function levelsOf({ rows, columns }: Graph): Uint32Array {
  const levels = new Uint32Array(rows.length - 1).fill(0xffffffff)
  levels[0] = 0
  let frontier = [0]
  for (let level = 1; frontier.length > 0; level++) {
    const found: number[] = []
    for (const a of frontier) {
      for (const b of columns.subarray(rows[a], rows[a + 1])) {
        if (levels[b] !== 0xffffffff) continue
        levels[b] = level
        found.push(b)
      }
    }
    frontier = found
  }
  return levels
}
