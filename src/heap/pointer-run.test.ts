// Kernels that follow heap pointers: structures that the CPU builds, walked and changed on a device with less memory.

import { beforeEach, describe, expect, it } from 'vitest'
import { suiteGpuHeaps } from '../../test/helpers/gpu-heap.ts'
import { permutation } from '../../test/helpers/paged-kernels/table.ts'
import { type Heap, kernel, ptr, ptr64, read, readWrite, struct, u32, uniform } from '../index.ts'

const openGpuHeap = suiteGpuHeaps('16 MiB')
let heap: Heap

beforeEach(async () => {
  heap = await openGpuHeap({ memory: '64 KiB', adapter: 'software' })
})

const Node = struct('Node', { key: u32, left: ptr, right: ptr, hits: u32 })
const WORDS = Node.stride / 4
// As a compiler for 64 bits lays it out: the pointers have eight bytes, and begin at multiples of eight.
const Wide = struct('Wide', { key: u32, left: ptr64, right: ptr64, hits: u32 })
const WIDE_WORDS = Wide.stride / 4
const COUNT = 6000

const LOOKUP = kernel({
  name: 'lookup',
  args: { keys: read(u32), found: readWrite(ptr), root: uniform(ptr) },
  code: `${declarationOf('Node')}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let key = keys[id.x];
  var p = root;
  while (p != 0u) {
    let node = loadNode(p);
    if (node.key == key) { break; }
    p = select(node.right, node.left, key < node.key);
  }
  found[id.x] = p;
}`,
})

/** The struct as WGSL declares it. */
function declarationOf(name: string): string {
  return Node.structs.get(name) ?? ''
}

/** A balanced search tree of the even numbers below 2 * COUNT, its nodes scattered over the heap. Returns the root. */
function buildTree(type: typeof Node | typeof Wide, nodes: Uint32Array): number {
  const places = permutation(COUNT)
  const base = heap.ptr(nodes)
  const build = (low: number, high: number): number => {
    if (low >= high) return 0
    const middle = (low + high) >>> 1
    const [left, right] = [build(low, middle), build(middle + 1, high)]
    type.set(nodes, places[middle], { key: 2 * middle, left, right, hits: 0 })
    return base + places[middle] * (type.stride / 4)
  }
  return build(0, COUNT)
}

describe('heap.run() of kernels that follow pointers', () => {
  it('looks up keys in a tree that is larger than the device', async () => {
    const nodes = heap.alloc(Uint32Array, COUNT * WORDS, { name: 'nodes' })
    const root = buildTree(Node, nodes)
    const keys = heap.alloc(Uint32Array, 300)
    const found = heap.alloc(Uint32Array, 300)
    keys.forEach((_, i) => {
      keys[i] = 10 * i + (i % 3 === 0 ? 1 : 0)
    })
    const receipt = await heap.run(LOOKUP, { keys, found, root }, 300, { reach: [nodes] })
    expect([receipt.mode, receipt.why]).toEqual(['paged', 'it follows pointers'])
    await heap.sync(found)
    for (let i = 0; i < 300; i++) {
      if (i % 3 === 0) expect(found[i]).toBe(0)
      else expect(heap.view(Uint32Array, found[i], WORDS)[0]).toBe(10 * i)
    }
  }, 120_000)

  it('stores through them, exactly once', async () => {
    const nodes = heap.alloc(Uint32Array, COUNT * WORDS, { name: 'nodes' })
    const base = heap.ptr(nodes)
    const order = heap.alloc(Uint32Array, 500)
    order.forEach((_, i) => {
      order[i] = (i * 11) % COUNT
    })
    const mark = kernel({
      name: 'mark',
      args: { order: read(u32), base: uniform(ptr) },
      code: `${declarationOf('Node')}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let p = base + order[id.x] * Node_words;
  storeU32(p + Node_hits, loadU32(p + Node_hits) + 1u);
  atomicAddU32(base + Node_key, 1u);
}`,
    })
    await heap.run(mark, { order, base }, 500, { reach: [nodes] })
    await heap.sync(nodes)
    expect(nodes[0]).toBe(500)
    const hits = Array.from({ length: COUNT }, (_, i) => Node.get(nodes, i).hits)
    expect(hits.reduce((sum, n) => sum + n, 0)).toBe(500)
    for (const place of order) expect(hits[place]).toBe(1)
  }, 120_000)

  it('names pointers that lead nowhere, and changes nothing there', async () => {
    const nodes = heap.alloc(Uint32Array, 1000, { name: 'nodes' })
    const other = heap.alloc(Uint32Array, 1000, { name: 'other' }).fill(5)
    const found = heap.alloc(Uint32Array, 64)
    const wild = kernel({
      name: 'wild',
      args: { found: readWrite(u32), at: uniform(ptr) },
      code: `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x == 9u) { storeU32(at, 1u); }
  found[id.x] = 1u; }`,
    })
    const runAt = (at: number) => heap.run(wild, { found, at }, 64, { reach: [nodes] })
    await expect(runAt(0)).rejects.toMatchObject({
      code: 'GPU_FAULT',
      message: expect.stringContaining('kernel "wild" invocation 9,0,0 wrote through a null pointer, in line 2'),
    })
    await expect(runAt(heap.ptr(other) + 7)).rejects.toMatchObject({ code: 'GPU_FAULT' })
    await heap.sync(other)
    expect(other.every((word) => word === 5)).toBe(true)
    await runAt(heap.ptr(nodes) + 999)
    await heap.sync(nodes)
    expect(nodes[999]).toBe(1)
  }, 60_000)

  it('wants to know what they may touch', async () => {
    const keys = heap.alloc(Uint32Array, 1)
    const found = heap.alloc(Uint32Array, 1)
    await expect(heap.run(LOOKUP, { keys, found, root: 0 }, 1)).rejects.toThrow(
      'run(lookup) follows pointers, wanted reach: the arrays that they may touch',
    )
    const plain = kernel({
      name: 'plain',
      args: { x: readWrite(u32) },
      code: '@compute @workgroup_size(1) fn main() { x[0] = 1u; }',
    })
    await expect(heap.run(plain, { x: keys }, { workgroups: 1 }, { reach: [found] })).rejects.toThrow(
      'run(plain): reach is given, and it follows no pointers',
    )
  })
})

describe('pointers of 64 bits', () => {
  const WIDE = kernel({
    name: 'wide lookup',
    pointers: 64,
    args: { keys: read(u32), found: readWrite(ptr64), root: uniform(ptr64) },
    code: `${Wide.structs.get('Wide')}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let key = keys[id.x];
  var p: ptr64 = root;
  while (!isNull64(p)) {
    let node = loadWide(p);
    if (node.key == key) { break; }
    p = select(node.right, loadPtr64(add64(p, Wide_left)), key < node.key);
  }
  if (!isNull64(p)) { atomicAddU32(add64(p, Wide_hits), 1u); }
  found[id.x] = p;
}`,
  })

  it('are what the CPU stored, in structures that are larger than the device', async () => {
    expect([Wide.offsets, Wide.stride]).toEqual([{ key: 0, left: 8, right: 16, hits: 24 }, 32])
    const nodes = heap.alloc(Uint32Array, COUNT * WIDE_WORDS, { name: 'nodes' })
    const root = buildTree(Wide, nodes)
    const keys = heap.alloc(Uint32Array, 300)
    const found = heap.alloc(Uint32Array, 600)
    keys.forEach((_, i) => {
      keys[i] = 10 * i + (i % 3 === 0 ? 1 : 0)
    })
    const receipt = await heap.run(WIDE, { keys, found, root }, 300, { reach: [nodes] })
    expect(receipt.why).toBe('it follows pointers; its atomics wait for the commit')
    await heap.sync(found, nodes)
    const view = new DataView(found.buffer, found.byteOffset, found.byteLength)
    for (let i = 0; i < 300; i++) {
      const pointer = ptr64.load(view, 8 * i)
      if (i % 3 === 0) expect(pointer).toBe(0)
      else expect(Wide.get(heap.view(Uint32Array, pointer, WIDE_WORDS), 0)).toMatchObject({ key: 10 * i, hits: 1 })
    }
  }, 120_000)

  it('are checked in both halves, and for their alignment', async () => {
    const nodes = heap.alloc(Uint32Array, 1000, { name: 'nodes' })
    const other = heap.alloc(Uint32Array, 1000, { name: 'other' }).fill(5)
    const found = heap.alloc(Uint32Array, 64)
    const wild = kernel({
      name: 'wild',
      pointers: 64,
      args: { found: readWrite(u32), at: uniform(ptr64) },
      code: `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x == 9u) { storePtr64(at, vec2u(1u, 2u)); }
  found[id.x] = 1u; }`,
    })
    const runAt = (at: number) => heap.run(wild, { found, at }, 64, { reach: [nodes] })
    const first = heap.ptr(nodes)
    const refused: readonly (readonly [pointer: number, message: string])[] = [
      [0, 'wrote through a null pointer, in line 2'],
      [heap.ptr(other), `word 0x${heap.ptr(other).toString(16)}, which no pointer may touch, in line 2`],
      [first + 2 ** 32, `word 0x${(first + 2 ** 32).toString(16)}, which no pointer may touch`],
      [2 ** 40, 'word 0x10000000000, which no pointer may touch'],
      [first + 3, `wrote word 0x${(first + 3).toString(16)}, wanted a multiple of 2`],
      [first + 999, 'wanted a multiple of 2'],
      [first + 1000, 'which no pointer may touch'],
    ]
    for (const [pointer, message] of refused) {
      const whole = expect.stringContaining('kernel "wild" invocation 9,0,0 wrote')
      await expect(runAt(pointer), `${pointer}`).rejects.toMatchObject({ code: 'GPU_FAULT', message: whole })
      await expect(runAt(pointer)).rejects.toThrow(message)
    }
    await heap.sync(other, nodes)
    expect(other.every((word) => word === 5)).toBe(true)
    expect(nodes.every((word) => word === 0)).toBe(true)
    await runAt(first + 998)
    await heap.sync(nodes)
    expect([...nodes.subarray(998)]).toEqual([1, 2])
  }, 60_000)

  it('are an option of kernels, and wanted where they are used', () => {
    const code = '@compute @workgroup_size(1) fn main() { x[0] = loadU32(p); }'
    const args = { x: readWrite(u32), p: uniform(ptr64) }
    expect(kernel({ pointers: 64, args, code }).whyNotPaged).toBe(null)
    expect(() => kernel({ args, code })).toThrow(/loadU32/)
    expect(() => kernel({ pointers: 64, args: { ...args, p: uniform(ptr) }, code })).toThrow(/loadU32/)
    expect(() => kernel({ pointers: 48 as 64, args, code })).toThrow('pointers is 48, wanted 32 or 64')
    const own = 'fn add64(p: vec2u, n: u32) -> u32 { return n; }\n'
    const named = kernel({ pointers: 64, args, code: `${own}${code.replace('loadU32(p)', 'add64(p, loadU32(p))')}` })
    expect(named.whyNotPaged).toBe(null)
  })
})
