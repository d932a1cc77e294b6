// A worker thread makes numbers, the main thread uses them, and nothing is copied in between: a heap array can be posted to any
// thread, and is the same memory there.
//
// Whose turn it is has to be said, as with any shared memory: here by counting the blocks that were filled and used, with Atomics. The
// counts are not in the heap, because a thread that sleeps on a word wants it to stay where it is. There is room for two blocks, so
// the worker fills one while the other is used.
//
// Prints:
//   block 0 from 0 to 65535
//   block 1 from 65536 to 131071
//   block 2 from 131072 to 196607
//   block 3 from 196608 to 262143
//   the sum of all is 34359607296

import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { openHeap } from 'hetmem'

const BLOCKS = 4
const ROOM = 2
const BLOCK_LENGTH = 65_536

/** Places in `counts`. */
const FILLED = 0
const USED = 1

interface Shared {
  /** Room for two blocks, one behind the other. */
  readonly numbers: Int32Array
  readonly counts: Int32Array
}

function blockIn({ numbers }: Shared, block: number): Int32Array {
  const start = (block % ROOM) * BLOCK_LENGTH
  return numbers.subarray(start, start + BLOCK_LENGTH)
}

/** Counts one more, and wakes whoever waits for it. */
function countUp({ counts }: Shared, place: number): void {
  Atomics.add(counts, place, 1)
  Atomics.notify(counts, place)
}

/** The worker. It may block. */
function produce(shared: Shared): void {
  const { counts } = shared
  for (let block = 0; block < BLOCKS; block++) {
    for (let used = Atomics.load(counts, USED); used + ROOM <= block; used = Atomics.load(counts, USED)) {
      Atomics.wait(counts, USED, used)
    }
    const numbers = blockIn(shared, block)
    for (let i = 0; i < BLOCK_LENGTH; i++) numbers[i] = block * BLOCK_LENGTH + i
    countUp(shared, FILLED)
  }
}

/** The main thread. It must not block, so it waits with a promise. */
async function consume(shared: Shared): Promise<number> {
  const { counts } = shared
  let sum = 0
  for (let block = 0; block < BLOCKS; block++) {
    while (Atomics.load(counts, FILLED) <= block) await Atomics.waitAsync(counts, FILLED, block).value
    const numbers = blockIn(shared, block)
    console.log(`block ${block} from ${numbers[0]} to ${numbers[BLOCK_LENGTH - 1]}`)
    for (const number of numbers) sum += number
    countUp(shared, USED)
  }
  return sum
}

if (isMainThread) {
  const heap = await openHeap()
  const shared: Shared = {
    numbers: heap.alloc(Int32Array, ROOM * BLOCK_LENGTH, { name: 'numbers' }),
    counts: new Int32Array(new SharedArrayBuffer(8)),
  }
  const worker = new Worker(new URL(import.meta.url), { workerData: shared })
  const ended = new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))
  const sum = await consume(shared)
  await ended
  console.log(`the sum of all is ${sum}`)
  const count = BLOCKS * BLOCK_LENGTH
  if (sum !== (count * (count - 1)) / 2) throw new Error(`the sum of the numbers below ${count} is another`)
  await heap.close()
} else {
  produce(workerData as Shared)
}
