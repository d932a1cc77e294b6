// Heap pointers: kernels that follow them, and what happens where they lead nowhere.

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
import { GpuFaultError } from './gpu-fault-error.ts'

const N = 256
// Nodes lie in the argument `n`, which begins at this word (placeArguments in paged-run.ts).
const BASE = 128 + 17

const main = (body: string): string =>
  `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { let i = id.x; ${body} }`

const kernel = (name: string, code: string, args: Record<string, string>, structs?: string): TestKernel => ({
  name,
  code,
  args,
  extent: [N],
  ...(structs === undefined ? {} : { structs }),
})

const NODE = 'struct Node { key: u32, left: u32, right: u32 }'
const nodeAt = (k: number): number => BASE + 3 * k

/** A search tree of the keys below N, as nodes in the order of `order`. */
function tree(order: Uint32Array): Uint32Array {
  const words = new Uint32Array(3 * N)
  const insert = (at: number, k: number): void => {
    const side = order[k] < words[3 * at] ? 1 : 2
    const child = words[3 * at + side]
    if (child === 0) words[3 * at + side] = nodeAt(k)
    else insert((child - BASE) / 3, k)
  }
  for (let k = 0; k < N; k++) {
    words[3 * k] = order[k]
    if (k > 0) insert(0, k)
  }
  return words
}

describe('heap pointers', () => {
  const gpu = suiteGpu()

  const everything: PagedTestOptions = {
    withPointers: true,
    frames: 24,
    reach: ({ n }) => [{ start: n, end: n + 3 * N, write: true }],
  }
  const run = async (k: TestKernel, contents: Contents, options: PagedTestOptions = {}): Promise<Contents> =>
    (await runPaged(gpu.device, k, contents, { ...everything, ...options })).contents

  it('looks keys up in a binary tree', async () => {
    const k = kernel(
      'lookup',
      main(`var p = roots[0]; var depth = 0u;
        while (p != 0u) { let node = loadNode(p); if (node.key == i) { break; } p = select(node.right, node.left, i < node.key); depth++; }
        out[i] = p + depth * 0x10000u;`),
      { n: 'read Node', roots: 'read u32', out: 'u32' },
      NODE,
    )
    const order = permutation(N, 5)
    const words = tree(order)
    const { out } = await run(k, { n: words, roots: Uint32Array.of(BASE), out: new Uint32Array(N) })
    for (let key = 0; key < N; key++) {
      let [at, depth] = [0, 0]
      while (words[3 * at] !== key) {
        at = (words[3 * at + (key < words[3 * at] ? 1 : 2)] - BASE) / 3
        depth++
      }
      expect(out[key]).toBe(nodeAt(at) + depth * 0x10000)
    }
  })

  it('loads and stores fields, words and vectors', async () => {
    const k = kernel(
      'fields',
      main(`let p = base[0] + i * Node_words; storeU32(p + Node_left, loadU32(p + Node_key) * 2u); storeF32(p + Node_right, 1.5);
        let v = loadNode(p); storeU32(p, v.key + v.left);`),
      { n: 'Node', base: 'read u32' },
      NODE,
    )
    const { n } = await run(k, { n: fill(3 * N, 1), base: Uint32Array.of(BASE) })
    const before = fill(3 * N, 1)
    for (let i = 0; i < N; i++) {
      const left = (before[3 * i] * 2) >>> 0
      expect([...n.subarray(3 * i, 3 * i + 3)]).toEqual([(before[3 * i] + left) >>> 0, left, 0x3fc00000])
    }
  })

  it('works on words with atomics', async () => {
    const k = kernel('count', main('atomicAddU32(base[0] + i % 8u, i); atomicMaxI32(base[0] + 8u, i32(i));'), {
      n: 'atomic<u32>',
      base: 'read u32',
    })
    const { n } = await run(
      k,
      { n: new Uint32Array(3 * N), base: Uint32Array.of(BASE) },
      { reach: ({ n: at }) => [{ start: at, end: at + 9, write: true }] },
    )
    const expected = new Uint32Array(8)
    for (let i = 0; i < N; i++) expected[i % 8] += i
    expect(n.subarray(0, 8)).toEqual(expected)
    expect(n[8]).toBe(N - 1)
  })

  const refused = async (body: string, options: PagedTestOptions = {}): Promise<GpuFaultError> => {
    const k = kernel('wild', main(body), { n: 'u32', out: 'u32' })
    const contents = { n: fill(3 * N, 2), out: new Uint32Array(N) }
    const error = await run(k, contents, options).then(
      () => null,
      (thrown: unknown) => thrown,
    )
    expect(error).toBeInstanceOf(GpuFaultError)
    return error as GpuFaultError
  }

  it('refuses null', async () => {
    const error = await refused('out[i] = 1u; if (i == 77u) { out[i] = loadU32(0u); }')
    expect(error.message).toBe('GPU fault: kernel "wild" invocation 77,0,0 read through a null pointer, in line 1')
    expect(error).toMatchObject({ reason: 'pointer', invocation: [77, 0, 0], value: 0 })
  })

  it('refuses what lies outside of all that pointers may touch', async () => {
    const error = await refused('if (i == 3u) { storeU32(5000000u, 1u); } out[i] = 1u;')
    expect(error.message).toContain('invocation 3,0,0 wrote word 0x4c4b40, which no pointer may touch, in line 1')
  })

  it('refuses a value that begins inside and ends outside', async () => {
    const last = BASE + 3 * N - 1
    await run(kernel('fits', main(`out[i] = loadU32(${last}u);`), { n: 'u32', out: 'u32' }), {
      n: fill(3 * N, 2),
      out: new Uint32Array(N),
    })
    const error = await refused(`let v = loadVec2U(${last}u); out[i] = v.x;`)
    expect(error).toMatchObject({ reason: 'pointer', value: last })
  })

  it('loads vectors where vectors may begin', async () => {
    const at = BASE + 1
    const k = kernel('vector', main(`let v = loadVec2U(${at}u + 2u * i); out[i] = v.x ^ v.y;`), {
      n: 'u32',
      out: 'u32',
    })
    const words = fill(3 * N, 2)
    const { out } = await run(k, { n: words, out: new Uint32Array(N) })
    expect(out).toEqual(Uint32Array.from({ length: N }, (_, i) => words[2 * i + 1] ^ words[2 * i + 2]))
    const error = await refused(`out[i] = loadVec2U(${BASE}u).y;`)
    expect(error.message).toContain(`read word 0x${BASE.toString(16)}, wanted a multiple of 2`)
  })

  it('refuses to store where pointers may only read', async () => {
    const readOnly: PagedTestOptions = { reach: ({ n }) => [{ start: n, end: n + 3 * N, write: false }] }
    const error = await refused(`if (i == 9u) { storeU32(${BASE}u, 1u); } out[i] = 1u;`, readOnly)
    expect(error).toMatchObject({ reason: 'pointer', invocation: [9, 0, 0], value: BASE })
    const atomic = await refused(`if (i == 9u) { atomicAddU32(${BASE}u, 1u); } out[i] = 1u;`, readOnly)
    expect(atomic).toMatchObject({ reason: 'pointer', invocation: [9, 0, 0], value: BASE })
  })
})
