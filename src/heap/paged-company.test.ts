// Launches that go through a page table while another device uses the same array: its pages come and go in the middle of them. What every
// element must be afterwards is known to the bit, whoever came first.

import { afterEach, describe, expect, it, vi } from 'vitest'
import { checkGpuHeap, suiteGpuHeaps } from '../../test/helpers/gpu-heap.ts'
import { permutation } from '../../test/helpers/paged-kernels/table.ts'
import { DemandPages } from '../devices/driver/demand-pages.ts'
import { type Heap, kernel, read, readWrite, u32 } from '../index.ts'

const openGpuHeap = suiteGpuHeaps('16 MiB')

/** Two devices with an eighth of the memory that x takes. */
const openTwo = (): Promise<Heap> =>
  openGpuHeap(['one', 'other'].map((name) => ({ name, memory: '64 KiB', adapter: 'software' as const })))

const N = 128 * 1024
const PICKS = 2000
/** Elements at the border of two halves that are used in any case. */
const SHARED = 40

const raise = kernel({
  name: 'raise',
  args: { x: readWrite(u32), at: read(u32) },
  code: `@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) { x[at[id.x]] += 1000000u + id.x; }`,
})

const take = kernel({
  name: 'take',
  args: { x: read(u32), at: read(u32), y: readWrite(u32) },
  code: `@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] += x[at[id.x]]; }`,
})

/** So long the first launch gives another one that has to wait for pages which the first one keeps, and goes on after it. */
const PATIENCE_MS = 100
/** The other one goes on without the first, however long it takes on a busy machine. */
const UNTIL_IT_ENDS = 2 ** 30

/**
 * Begins a launch each time that the one which is on its way has brought pages, before its kernel goes on with them, `times` times. Returns their
 * receipts, and how many of them had brought pages before the first launch went on, which gives each of them so many milliseconds.
 */
function begunInTheMiddle(
  times: number,
  patience: number,
  begin: () => Promise<unknown>,
): { receipts: Promise<unknown>[]; inside: number } {
  const { bring } = DemandPages.prototype
  const begun = { receipts: [] as Promise<unknown>[], inside: 0 }
  let first: DemandPages | null = null
  let isOpen = false
  vi.spyOn(DemandPages.prototype, 'bring').mockImplementation(async function (this: DemandPages, demand) {
    first ??= this
    const gone = await bring.call(this, demand)
    if (this !== first) begun.inside += isOpen ? 1 : 0
    else if (begun.receipts.length < times) {
      const receipt = begin()
      begun.receipts.push(receipt)
      isOpen = true
      await Promise.race([receipt, new Promise((resolve) => setTimeout(resolve, patience).unref())])
      isOpen = false
    }
    return gone
  })
  return begun
}

/** So many elements of x, each once. */
function pick(length: number, seed: number): Uint32Array {
  return Uint32Array.from(permutation(length, seed).subarray(0, PICKS))
}

describe('a launch through a page table, in the middle of which another device', () => {
  afterEach(() => {
    vi.restoreAllMocks()
  })

  /** A heap with x, of which element i is i, and lists of places in it. */
  async function prepare(places: readonly Uint32Array[]) {
    const heap = await openTwo()
    const x = heap.alloc(Uint32Array, N, { name: 'x' })
    x.forEach((_, i) => {
      x[i] = i
    })
    const lists = places.map((list, k) => {
      const at = heap.alloc(Uint32Array, PICKS, { name: `at ${k}` })
      at.set(list)
      return at
    })
    return { heap, x, lists }
  }

  it.each([
    ['has pages of its own, and goes on meanwhile', N / 2, UNTIL_IT_ENDS],
    ['has a page in common, and waits', N / 2 + 100, PATIENCE_MS],
  ])('writes the other half of the array: it %s', async (_, half, patience) => {
    const places = [pick(half - SHARED, 3), pick(N - half - SHARED, 5).map((i) => SHARED + i)]
    // Both use what lies at the border, from the first to the last.
    for (let k = 0; k < SHARED; k++) {
      places[0][k * (PICKS / SHARED)] = half - 1 - k
      places[1][k * (PICKS / SHARED)] = k
    }
    const { heap, x, lists } = await prepare(places)
    const [low, high] = [x.subarray(0, half), x.subarray(half)]
    const begun = begunInTheMiddle(4, patience, () =>
      heap.run(raise, { x: high, at: lists[1] }, PICKS, { device: 'other' }),
    )
    const receipt = await heap.run(raise, { x: low, at: lists[0] }, PICKS, { device: 'one' })
    expect(receipt.mode).toBe('paged')
    await Promise.all(begun.receipts)
    expect(begun.receipts).toHaveLength(4)
    expect(begun.inside > 0).toBe(half % 1024 === 0)
    await heap.sync(x)
    const wanted = Uint32Array.from(x, (_, i) => i)
    places[0].forEach((i, id) => {
      wanted[i] += 1_000_000 + id
    })
    for (let k = 0; k < begun.receipts.length; k++) {
      places[1].forEach((i, id) => {
        wanted[half + i] += 1_000_000 + id
      })
    }
    expect([...x].filter((value, i) => value !== wanted[i])).toEqual([])
    checkGpuHeap(heap)
  })

  it('reads the array, parts of which are nowhere but on the first', async () => {
    const places = [pick(N, 3), pick(N, 5), pick(N, 7)]
    const { heap, x, lists } = await prepare(places)
    const sums = [0, 1].map((k) => heap.alloc(Uint32Array, PICKS, { name: `sums ${k}` }))
    // What was written last is on that device only.
    await heap.run(raise, { x, at: lists[2] }, PICKS, { device: 'one' })
    const begun = begunInTheMiddle(4, UNTIL_IT_ENDS, () =>
      heap.run(take, { x, at: lists[1], y: sums[1] }, PICKS, { device: 'other' }),
    )
    await heap.run(take, { x, at: lists[0], y: sums[0] }, PICKS, { device: 'one' })
    await Promise.all(begun.receipts)
    expect(begun.receipts).toHaveLength(4)
    expect(begun.inside).toBeGreaterThan(0)
    await heap.sync(...sums)
    const raised = Uint32Array.from({ length: N }, (_, i) => i)
    places[2].forEach((i, id) => {
      raised[i] += 1_000_000 + id
    })
    expect([...sums[0]]).toEqual(Array.from(places[0], (i) => raised[i]))
    expect([...sums[1]]).toEqual(Array.from(places[1], (i) => (4 * raised[i]) >>> 0))
    checkGpuHeap(heap)
  })
})
