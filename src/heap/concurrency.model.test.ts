// Random programs that wait for nothing until the end: launches, syncs, hints and frees of the same arrays are all in progress
// at once, on devices that take time and are too small. Everything ends, no store of a launch is lost, and nothing is left.
//
//   HETMEM_MODEL_RUNS   programs, default 40

import { describe, expect, it } from 'vitest'
import { HeapFixture } from '../../test/helpers/heap-fixture.ts'

const RUNS = Number(process.env['HETMEM_MODEL_RUNS'] ?? 40)

const PAGE_WORDS = 1024
const NOPS = 40

describe('calls in progress at once', () => {
  it('all end, and lose nothing', { timeout: RUNS * 5000 }, async () => {
    for (let seed = 1; seed <= RUNS; seed++) await run(seed)
  })
})

async function run(seed: number): Promise<void> {
  const random = makeRandom(seed)
  const fixture = await HeapFixture.open({
    size: '2 MiB',
    check: seed % 2 === 0,
    device: [
      { kind: 'memory', memory: '24 KiB', name: 'a', latency: 700 },
      { kind: 'memory', memory: '40 KiB', name: 'b' },
    ],
  })
  const { heap } = fixture
  const arrays = Array.from({ length: 4 }, (_, i) => heap.alloc(Uint32Array, (i + 1) * PAGE_WORDS, { name: `x${i}` }))
  /** What launches added to each page. */
  const sums = arrays.map(({ length }) => new Uint32Array(length / PAGE_WORDS))
  const log: string[] = []
  const running: Promise<unknown>[] = []
  for (let i = 0; i < NOPS; i++) {
    const which = random(arrays.length)
    const first = random(sums[which].length)
    const npages = 1 + random(sums[which].length - first)
    const part = arrays[which].subarray(first * PAGE_WORDS, (first + npages) * PAGE_WORDS)
    const other = heap.alloc(Uint32Array, 1 + random(3 * PAGE_WORDS), { name: 'other' })
    const op = random(12)
    log.push(`${op} on x${which}, pages ${first} to ${first + npages - 1}`)
    if (op < 5) {
      const device = random(2)
      const by = 1 + random(100)
      for (let page = first; page < first + npages; page++) sums[which][page] += by
      const read = random(2) === 0 && npages + 3 <= 6 ? [other] : []
      const launched = fixture.launch({ write: [part], read, device }, async ([words], copies) => {
        if (random(2) === 0) await null
        for (let k = 0; k < words.length; k++) words[k] = Number(words[k]) + by
        for (const copy of copies) expect((copy as Uint32Array).every((word) => word === 0)).toBe(true)
      })
      running.push(launched)
    } else if (op === 5) running.push(heap.sync(part))
    else if (op === 6) running.push(heap.sync(part, 'read'))
    else if (op === 7) running.push(heap.prefetch(part, { to: 'a', access: 'readWrite' }))
    else if (op === 8) running.push(heap.prefetch(part, { to: 'b' }))
    else if (op === 9) running.push(heap.advise(part, 'cold'))
    else if (op === 10) running.push(heap.discard(other))
    else running.push(heap.where(part), heap.stats())
    heap.free(other)
    if (random(6) === 0) await new Promise(setImmediate)
  }
  try {
    const results = await Promise.allSettled(running)
    const reasons = results.filter((each) => each.status === 'rejected').map(({ reason }) => reason)
    // An array that is freed at once may be gone before it is discarded.
    expect(reasons.filter((reason) => !/freed meanwhile/.test(String(reason)))).toEqual([])
    fixture.check()
    await heap.sync(...arrays)
    arrays.forEach((array, i) => {
      for (const [k, word] of array.entries()) {
        if (word !== sums[i][Math.floor(k / PAGE_WORDS)])
          expect([i, k, word]).toEqual([i, k, sums[i][Math.floor(k / PAGE_WORDS)]])
      }
    })
    expect(heap.arrays.length).toBe(4)
    expect(fixture.engine.mm.vmas.length).toBe(4)
    await fixture.close()
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}\n  ${log.join('\n  ')}`, { cause: error })
  }
}

function makeRandom(seed: number): (below: number) => number {
  let state = Math.imul(seed, 0x9e37_79b1) >>> 0
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}
