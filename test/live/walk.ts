// Walks over arrays that a device has written. What a walk has not reached yet comes back ahead of it, copied by a thread of its own.

import type { Heap } from '../../src/heap/heap.ts'
import type { HeapOptions } from '../../src/heap/heap-options.ts'
import { argument, openProgramHeap, runCase, startThread } from './program.ts'

const NPAGES = 12 * 1024 // 48 MiB
const PAGE_WORDS = 1024
const ROUNDS = 4

async function open(options: HeapOptions) {
  const fixture = await openProgramHeap({ size: '1 GiB', device: { kind: 'memory', memory: '64 MiB' }, ...options })
  return { ...fixture, fixture, x: fixture.heap.alloc(Int32Array, NPAGES * PAGE_WORDS, { name: 'x' }) }
}

/** Words at the ends of pages that are not `value`. */
function countWrong(x: Int32Array, value: number, from = 0, to = x.length): number {
  let wrong = 0
  for (let i = from; i < to; i += PAGE_WORDS) if (x[i] !== value || x[i + PAGE_WORDS - 1] !== value) wrong++
  return wrong
}

/** Pages that touches have brought back themselves. */
async function touched(heap: Heap): Promise<number> {
  return (await heap.stats()).counters.bytesDeviceToHost.fault / 4096
}

/** One thread looks at everything, then a second one adds to another word of each page at the same time. */
async function walks(options: HeapOptions) {
  const { fixture, heap, x } = await open(options)
  let wrong = 0
  let ntouches = 0
  for (let round = 1; round <= ROUNDS; round++) {
    await fixture.run('addOne', { write: [x] })
    const before = await touched(heap)
    const isShared = round % 2 === 0
    const thread = isShared
      ? await startThread(
          { x, PAGE_WORDS },
          '({ x, PAGE_WORDS }) => { for (let i = 1; i < x.length; i += PAGE_WORDS) x[i] += 1000 }',
        )
      : null
    wrong += countWrong(x, round)
    await thread?.next()
    for (let i = 1; i < x.length; i += PAGE_WORDS) if (x[i] !== round + 1000 * Math.floor(round / 2)) wrong++
    if (!isShared) ntouches = (await touched(heap)) - before
    await fixture.check()
  }
  await heap.close()
  return { wrong, ntouches }
}

/** Adds one to a word of each page, walk after walk, and counts what is not as it left it. */
const WALKER = `({ x, word, until, PAGE_WORDS }) => {
  const seen = new Int32Array(x.length / PAGE_WORDS)
  let wrong = 0
  while (Date.now() < until) {
    for (let page = 0; page < seen.length; page++) {
      if (x[page * PAGE_WORDS + word] !== seen[page]) wrong++
      x[page * PAGE_WORDS + word] = ++seen[page]
    }
  }
  return wrong + seen.filter((value, page) => x[page * PAGE_WORDS + word] !== value).length
}`

await runCase({
  /** The system frames wait for their pages. */
  kept: () => walks({}),

  /** They are gone, and pages are made anew. */
  freed: () => walks({ memory: '64 MiB', swap: '128 MiB' }),

  /** Two threads walk, while launches take parts of the array again and again, for `--seconds`. */
  async contested() {
    const { fixture, heap, x } = await open({})
    const until = Date.now() + 1000 * Number(argument('seconds') ?? 1)
    const walkers = await Promise.all([1, 2].map((word) => startThread({ x, word, until, PAGE_WORDS }, WALKER)))
    while (Date.now() < until) {
      const first = Math.floor(Math.random() * NPAGES)
      await fixture.run('nothing', { write: [x.subarray(first * PAGE_WORDS)] })
    }
    const wrong = await Promise.all(walkers.map((walker) => walker.next()))
    await fixture.check()
    await heap.close()
    return { wrong }
  },

  /** The device fails in the middle of a walk: what has not come by then is filled, and nothing else. */
  async lost() {
    const { fixture, heap, x } = await open({ device: { kind: 'memory', memory: '64 MiB', onLost: 'fill' } })
    await fixture.run('addOne', { write: [x] })
    const reached = (NPAGES / 4) * PAGE_WORDS
    const wrong = countWrong(x, 1, 0, reached)
    const lost = fixture.extension('lose', 'it was switched off')
    let i = reached
    while (i < x.length && x[i] === 1) i += PAGE_WORDS
    await lost
    const wrongBehind = countWrong(x, -1, Math.max(i, x.length - 1024 * PAGE_WORDS))
    const mixed = x.subarray(reached).some((value) => value !== 1 && value !== -1)
    await fixture.check()
    await heap.close()
    return { wrong, wrongBehind, mixed }
  },
})
