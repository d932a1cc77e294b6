// Kernels that do what they may not, on a heap: no array changes that they may not change, the error says who did what, where and to which
// array, and the heap goes on.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  atomic,
  type Heap,
  type HeapArray,
  type HeapError,
  kernel,
  openHeap,
  ptr,
  type RunOptions,
  read,
  readWrite,
  u32,
  uniform,
} from '../../src/index.ts'
import { whyNoGpu } from '../helpers/gpu.ts'
import { checkGpuHeap } from '../helpers/gpu-heap.ts'
import { findTestModes } from '../helpers/mode-fixture.ts'

const missing = await whyNoGpu()
const modes = (await findTestModes()).filter(({ name }) => name !== 'live-user')

const MAIN = '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u)'
/** Words of `table`: 20 pages, on a device of 16. */
const LENGTH = 20 * 1024 - 3
const COUNT = 64

/** Each invocation counts at a place of its own, which nobody can declare, and then does something. */
const counting = (act: string) =>
  kernel({
    name: 'hostile',
    args: { at: read(u32), y: readWrite(u32) },
    code: `${MAIN} {\n  let i = id.x; y[at[i]] += 1u;\n  ${act} }`,
  })
/** The same for pointers; `goal` is for the ninth. */
const following = (act: string) =>
  kernel({
    name: 'hostile',
    args: { y: readWrite(u32), goal: uniform(ptr) },
    code: `${MAIN} {\n  let i = id.x; y[i] += 1u;\n  if (i == 9u) { ${act} } }`,
  })

const increment = kernel({ name: 'increment', args: { x: readWrite(u32) }, code: `${MAIN} { x[id.x] += 1u; }` })

describe.each(modes)('hostile kernels in $name mode', (mode) => {
  let heap: Heap
  let at: Uint32Array
  let table: Uint32Array
  let weights: Uint32Array
  let others: Uint32Array[]

  const why = missing ?? mode.missing
  beforeAll(async () => {
    if (why !== null) return
    heap = await openHeap({ mode: mode.name, size: '16 MiB', device: { memory: '64 KiB' }, onNotice: () => {} })
  })
  afterAll(() => heap?.close())

  beforeEach((test) => {
    if (why !== null) test.skip(why)
    const alloc = (name: string, length: number, readOnly = false) =>
      heap.alloc(Uint32Array, length, { name, readOnly })
    const before = alloc('before', 1021).fill(5)
    at = alloc('places', COUNT)
    table = alloc('table', LENGTH)
    const after = alloc('after', 1021).fill(6)
    weights = alloc('weights', 1024, true).fill(7)
    others = [before, after, weights]
    at.forEach((_, i) => {
      at[i] = 300 * i
    })
  })
  afterEach(() => {
    for (const array of [...others, at, table]) heap.free(array)
  })

  /** Runs what must end in an error, and holds that every other array is what it was. Returns the message. */
  async function refusal(run: Promise<unknown>, code = 'GPU_FAULT'): Promise<string> {
    const error = await run.then(
      () => expect.fail('it went through'),
      (reason: HeapError) => reason,
    )
    expect(error).toMatchObject({ code })
    await heap.sync(...others, at, table)
    expect(others.map((array) => [...new Set(array)])).toEqual([[5], [6], [7]])
    expect(at.every((place, i) => place === 300 * i)).toBe(true)
    await goesOn()
    return error.message
  }

  /** Invocations that ended before have counted, once, and no place has changed that is nobody's. */
  function expectCounts(counts: Uint32Array, places: readonly number[]): void {
    const mine = new Set(places)
    const wrong = counts.findIndex((count, place) => count > (mine.has(place) ? 1 : 0))
    expect(wrong).toBe(-1)
  }

  /** The heap and its device work as before. */
  async function goesOn(): Promise<void> {
    if (mode.name === 'explicit') checkGpuHeap(heap)
    const x = heap.alloc(Uint32Array, 5000).fill(1)
    await heap.run(increment, { x }, x.length)
    await heap.sync(x)
    expect(x.every((value) => value === 2)).toBe(true)
    heap.free(x)
  }

  const inTable = (index: number): string => `0x${(4 * (heap.ptr(table) + index)).toString(16)}`

  it.each([
    ['stores past the end', 'if (i == 9u) { y[i + 30000u] = 1u; }', 'wrote "y"[30009]', 30009],
    ['stores right behind the end', `if (i == 9u) { y[${LENGTH}u] = 1u; }`, `wrote "y"[${LENGTH}]`, LENGTH],
    ['loads before the beginning', 'if (i == 9u) { y[at[i]] = y[i32(i) - 10]; }', 'read "y"[-1]', -1],
    [
      'stores where bytes overflow',
      'if (i == 9u) { y[i * 0x40000000u + 0x40000000u] = 1u; }',
      'wrote "y"[-2147483648]',
      -(2 ** 31),
    ],
  ])('one that %s', async (_, act, what, index) => {
    const message = await refusal(heap.run(counting(act), { at, y: table }, COUNT))
    const { byteLength } = table
    const far = index < 0 ? `${-4 * index} B before "table"` : `${4 * index - byteLength} B past the end of "table"`
    const place = 4 * (heap.ptr(table) + index)
    const addr = place < 0 ? `-0x${(-place).toString(16)}` : `0x${place.toString(16)}`
    const where = `has ${LENGTH} elements, in line 3; ${addr} is`
    expect(message).toContain(`GPU fault: kernel "hostile" invocation 9,0,0 ${what}, which ${where} `)
    if (Math.abs(index) < 25_000) expect(message).toContain(far)
    expect(message).toContain('"table"')
    expectCounts(table, [...at])
  })

  it('one that changes by an atomic what is not there', async () => {
    const wild = kernel({
      name: 'hostile',
      args: { at: read(u32), y: readWrite(atomic(u32)) },
      code: `${MAIN} { atomicAdd(&y[at[id.x]], 1u); if (id.x == 9u) { atomicAdd(&y[at[id.x] + 20000u], 1u); } }`,
    })
    const message = await refusal(heap.run(wild, { at, y: table }, COUNT))
    expect(message).toContain('invocation 9,0,0 changed "y"[22700]')
    expectCounts(table, [...at])
  })

  it('one whose indices leave a part of an array, though not the array', async () => {
    const part = table.subarray(100, 100 + 19_001)
    const message = await refusal(heap.run(counting('if (i == 9u) { y[19001] = 1u; }'), { at, y: part }, COUNT))
    expect(message).toContain(`wrote "y"[19001], which has 19001 elements, in line 3; ${inTable(19_101)} is in "table"`)
    expectCounts(part, [...at])
    expect(table[19_101]).toBe(0)
  })

  it('direct ones stay inside of their arguments', async () => {
    const stray = kernel({
      name: 'stray',
      args: { y: readWrite(u32) },
      code: `${MAIN} { y[id.x] += 1u; y[id.x + 1000000u] = 9u; y[id.x - 70u] = 9u; y[(id.x + 1u) * 0x40000000u] = 9u; }`,
    })
    const y = table.subarray(64, 128)
    await heap.run(stray, { y }, COUNT)
    await heap.sync(...others, table)
    expect(others.map((array) => [...new Set(array)])).toEqual([[5], [6], [7]])
    expect(table.every((value, i) => value === 0 || (i >= 64 && i < 128))).toBe(true)
    await goesOn()
  })

  describe('that follow pointers', () => {
    let y: Uint32Array
    const run = (act: string, goal: number, reach: HeapArray[] = [table, weights], options: RunOptions = {}) =>
      heap.run(following(act), { y, goal }, COUNT, { reach, ...options })

    beforeEach(() => {
      y = heap.alloc(Uint32Array, COUNT, { name: 'y' })
    })

    const STORE = 'storeU32(goal, 1u);'
    const hex = (word: number): string => `word 0x${word.toString(16)}`
    const addr = (word: number): string => `0x${(4 * word).toString(16)}`

    it.each([
      ['null', () => 0, () => 'wrote through a null pointer, in line 3'],
      [
        'an array that is not within reach',
        () => heap.ptr(others[1]) + 7,
        (p: number) => `wrote ${hex(p)}, which no pointer may touch, in line 3; ${addr(p)} is in "after"`,
      ],
      [
        'memory behind an array',
        () => heap.ptr(table) + LENGTH,
        (p: number) => `which no pointer may touch, in line 3; ${addr(p)} is 0 B past the end of "table"`,
      ],
      [
        'what is nobody’s',
        () => heap.ptr(table) + LENGTH + 3,
        (p: number) => `which no pointer may touch, in line 3; ${addr(p)} is in no array`,
      ],
      ['the end of the world', () => 0xffff_fffc, (p: number) => `wrote ${hex(p)}, which no pointer may touch`],
      [
        'an array that was allocated readOnly',
        () => heap.ptr(weights) + 5,
        (p: number) => `in line 3; ${addr(p)} is in "weights", which was allocated readOnly`,
      ],
    ])('one that stores to %s', async (_, goal, wanted) => {
      const place = goal()
      const message = await refusal(run(STORE, place))
      expect(message).toContain(`GPU fault: kernel "hostile" invocation 9,0,0 `)
      expect(message).toContain(wanted(place))
      await heap.sync(y)
      expectCounts(y, [...y.keys()])
      expect(table.every((value) => value === 0)).toBe(true)
    })

    it('may load what was allocated readOnly, and store elsewhere', async () => {
      await run('storeU32(goal, loadU32(goal) + 1u);', heap.ptr(table) + 5)
      await run(`y[0] = loadU32(goal);`, heap.ptr(weights))
      await heap.sync(y, table)
      expect([y[0], table[5]]).toEqual([7, 1])
    })

    it('one that loads, or changes by an atomic, where it may not', async () => {
      const place = heap.ptr(others[0])
      expect(await refusal(run('y[i] = loadU32(goal);', place))).toContain(`read ${hex(place)}, which no pointer`)
      expect(await refusal(run('atomicAddU32(goal, 1u);', place))).toContain(`changed ${hex(place)}, which no pointer`)
    })

    it('one that begins inside and ends outside', async () => {
      const last = heap.ptr(weights) + 1020
      await run('y[i] = loadVec4U(goal).w;', last)
      expect(await refusal(run('y[i] = loadVec4U(goal + 4u).w;', last))).toContain('which no pointer may touch')
      expect(await refusal(run('y[i] = loadVec4U(goal + 1u).x;', last))).toContain('wanted a multiple of 4')
    })

    it('one that keeps a pointer to what was freed', async () => {
      const gone = heap.alloc(Uint32Array, 5000, { name: 'gone' }).fill(8)
      const place = heap.ptr(gone) + 100
      heap.free(gone)
      await expect(run(STORE, place, [gone])).rejects.toMatchObject({ code: 'USE_AFTER_FREE' })
      expect(await refusal(run(STORE, place))).toContain(`${addr(place)} is in no array`)
    })

    it('an array that is freed under a launch stays until that has ended', async () => {
      const going = heap.alloc(Uint32Array, 5000, { name: 'going' }).fill(8)
      const running = run('y[i] = loadU32(goal); storeU32(goal, 1u);', heap.ptr(going) + 4999, [going])
      heap.free(going)
      await running
      await heap.sync(y)
      expect(y[9]).toBe(8)
      await goesOn()
    })
  })

  describe('without end', () => {
    it('one that needs all pages at once', async () => {
      const greedy = counting(
        'var n = 0u; for (var k = 0u; ; k += 1024u) { n += y[k % 20000u]; if (n == 7u) { break; } }',
      )
      expect(await refusal(heap.run(greedy, { at, y: table }, COUNT))).toMatch(
        /^GPU_FAULT: GPU fault: kernel "hostile" needs 17 pages or more in one invocation, the device has 16$/,
      )
      expectCounts(table, [...at])
    })

    it('one that goes round in a ring of pointers', async () => {
      const y = heap.alloc(Uint32Array, COUNT)
      for (let page = 0; page < 19; page++) table[1024 * page] = heap.ptr(table) + 1024 * (page + 1)
      table[1024 * 19] = heap.ptr(table)
      const ring = following('var p = goal; while (p != 0u) { p = loadU32(p); } y[i] = p;')
      const run = heap.run(ring, { y, goal: heap.ptr(table) }, COUNT, { reach: [table] })
      expect(await refusal(run)).toContain('kernel "hostile" needs 17 pages or more in one invocation')
    })

    it('one that stores more than can be kept', async () => {
      const hoarder = counting('if (i == 9u) { for (var k = 0u; k < 0xffffffffu; k++) { y[k % 5000u] = k; } }')
      expect(await refusal(heap.run(hoarder, { at, y: table }, COUNT))).toMatch(
        /GPU fault: kernel "hostile" keeps more than \d+ words in one invocation, for which there is no room$/,
      )
      expectCounts(table, [...at])
    })

    it('steps that never end are given up when they are told to', async () => {
      const steps = kernel({
        name: 'wanderer',
        step: 'go',
        args: { next: read(u32), y: readWrite(u32) },
        code: `struct Place { at: u32, n: u32 }
          fn go(id: vec3u, s: ptr<function, Place>) -> bool { s.at = next[s.at]; y[id.x] = s.n; s.n++; return true; }`,
      })
      table.forEach((_, i) => {
        table[i] = (i + 1031) % LENGTH
      })
      const y = heap.alloc(Uint32Array, COUNT)
      const controller = new AbortController()
      const run = heap.run(steps, { next: table, y }, COUNT, { signal: controller.signal })
      setTimeout(() => controller.abort(new RangeError('enough')), 100)
      await expect(run).rejects.toThrow(RangeError)
      await goesOn()
    })
  })
})
