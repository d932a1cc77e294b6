// Ways in which a program and its engine could wait for each other (rows of section 7 of the notes on live memory), and what
// programs do with memory that is not theirs. Each case ends.

import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, openSync, read, readSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import koffi from 'koffi'
import { attachHeap, openHeap } from '../../src/heap/on-node.ts'
import { SEGMENT_MAX } from '../../src/mmu/userfaultfd/segment.ts'
import type { ExtendedHeap } from '../helpers/extended-heap.ts'
import { argument, isAway, openProgramHeap, pause, runCase, startThread } from './program.ts'

const MIB = 2 ** 20
const PATIENCE = 150 // milliseconds that a launch makes touches wait

/** An array that a launch holds until somebody has waited for it. */
async function held(fixture: ExtendedHeap, length = 16 * 1024) {
  const x = fixture.heap.alloc(Int32Array, length, { name: 'x' })
  const launched = fixture.run('addOneToImpatience', { write: [x], data: PATIENCE })
  await isAway(fixture, x)
  return { x, launched }
}

function withFile<T>(text: string, use: (fd: number) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'hetmem-live-'))
  try {
    writeFileSync(join(folder, 'file'), text)
    return use(openSync(join(folder, 'file'), 'r+'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function attempt(call: () => number): number | string {
  try {
    return call()
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error)
  }
}

/** A thread runs `body` on an array whose pages nobody brings. */
async function waitForNever(body: string): Promise<string> {
  const fixture = await openProgramHeap({ patience: 1000 })
  const x = fixture.heap.alloc(Int32Array, 1024, { name: 'x' })
  void fixture.run('never', { write: [x] }).catch(() => {})
  await isAway(fixture, x)
  await startThread(x, body)
  await pause(10_000)
  return 'nobody has said anything'
}

const CASES: Readonly<Record<string, () => unknown>> = {
  /** Its output goes through the main thread, which waits for a page. */
  async engineLogs() {
    const fixture = await openProgramHeap()
    const { x, launched } = await held(fixture)
    void fixture.extension('log', 'the engine says so')
    const value = x[0]
    await launched
    await fixture.settled()
    return { value }
  },
  /** The main thread waits for a page while it writes to a pipe. */
  async pipe() {
    const fixture = await openProgramHeap()
    const { x, launched } = await held(fixture)
    const bytes = new Uint8Array(x.buffer, x.byteOffset, 4)
    const written = attempt(() => writeSync(2, bytes))
    const value = x[0]
    await launched
    return { written, value }
  },
  /** The same, and the engine dies with a message for the same pipe. */
  async pipeAndDeath() {
    const fixture = await openProgramHeap()
    const x = fixture.heap.alloc(Int32Array, 1024)
    void fixture.run('never', { write: [x] }).catch(() => {})
    await isAway(fixture, x)
    void fixture.extension('fail', 'throw late').catch(() => {})
    attempt(() => writeSync(2, new Uint8Array(x.buffer, x.byteOffset, 4)))
    return x[0]
  },
  /** All threads of the pool wait for pages. */
  async pool() {
    const fixture = await openProgramHeap()
    const { x, launched } = await held(fixture, 12 * 1024)
    const results = await withFile('contents', (fd) =>
      Promise.all(
        Array.from({ length: 12 }, (_, i) => {
          const page = new Uint8Array(x.buffer, x.byteOffset + 4096 * i, 4096)
          return promisify(read)(fd, page, 0, 8, 0).then(
            ({ bytesRead }) => bytesRead,
            (error: NodeJS.ErrnoException) => error.code,
          )
        }),
      ),
    )
    // Without privileges nobody waits in system calls, so somebody has to.
    const value = x[2]
    await launched
    return { results, value }
  },
  /** On a word that is here; on one that is not, the engine of JavaScript would wait for its page with a lock in its hand. */
  async atomicsWait() {
    const fixture = await openProgramHeap()
    const { x, launched } = await held(fixture)
    const seen = x[5]
    await launched
    return await fixture.heap.withResident(x, async () => {
      const thread = await startThread(x, '(x) => Atomics.wait(x, 5, 1, 5000)')
      while (Atomics.notify(x, 5) === 0) await pause(1)
      return { seen, result: await thread.next(), added: Atomics.add(x, 5, 4), value: x[5] }
    })
  },
  /** On a word whose page never comes, after a look at it or not: somebody says so. */
  atomicsWaitForNever: () => waitForNever('(x) => { Atomics.wait(x, 5, 1, 5000) }'),
  atomicsLoadBeforeWait: () => waitForNever('(x) => { Atomics.load(x, 5); Atomics.wait(x, 5, 1, 5000) }'),
  /** A thread has a lock of the program while it waits for a page, and others wait for the lock. */
  async userLock() {
    const fixture = await openProgramHeap()
    const { x, launched } = await held(fixture)
    const lock = new Int32Array(new SharedArrayBuffer(4))
    const body = `([x, lock]) => {
      while (Atomics.compareExchange(lock, 0, 0, 1) !== 0) Atomics.wait(lock, 0, 1, 1000)
      const value = x[3]
      Atomics.store(lock, 0, 0)
      Atomics.notify(lock, 0)
      return value
    }`
    const threads = await Promise.all([0, 1, 2].map(() => startThread([x, lock], body)))
    const values = await Promise.all(threads.map((thread) => thread.next()))
    await launched
    return values
  },
  /** Native code that is called with an address faults like all other code. */
  async nativeCode() {
    const fixture = await openProgramHeap()
    const { x, launched } = await held(fixture)
    const memcpy = koffi.load(null).func('memcpy', 'void *', ['void *', 'void *', 'size_t'])
    const copy = new Int32Array(4)
    memcpy(copy, x, copy.byteLength)
    await launched
    return [...copy]
  },
  /** Whatever is an argument of a call is looked at by who calls. */
  async argumentsOfCalls() {
    const fixture = await openProgramHeap()
    const { heap } = fixture
    const y = heap.alloc(Uint8Array, 4096 * 4, { name: 'y' })
    const { x, launched } = await held(fixture, 4096)
    const receipt = await heap.load(y, [new Uint8Array(x.buffer, x.byteOffset, x.byteLength)])
    await launched
    return { bytes: receipt.bytes, value: new Int32Array(y.buffer, y.byteOffset, 1)[0] }
  },
  /** Several threads want the same page at the same moment, many times: each is woken. */
  async onePageForAll() {
    const fixture = await openProgramHeap()
    const { heap } = fixture
    const x = heap.alloc(Int32Array, 1024, { name: 'x' }).fill(1)
    const gate = new Int32Array(new SharedArrayBuffer(4))
    const body = `([x, gate]) => {
      let sum = 0
      for (let round = 1; round <= 60; round++) {
        while (Atomics.load(gate, 0) < round) Atomics.wait(gate, 0, round - 1, 1000)
        sum += Atomics.add(x, 9, 1) > 0 ? 1 : 0
      }
      return sum
    }`
    const threads = await Promise.all([0, 1, 2].map(() => startThread([x, gate], body)))
    const sums = Promise.all(threads.map((thread) => thread.next()))
    for (let round = 1; round <= 60; round++) {
      if (round % 2 === 0) await heap.advise(x, 'cold')
      else await heap.prefetch(x, { access: 'readWrite' })
      Atomics.store(gate, 0, round)
      Atomics.notify(gate, 0)
    }
    return { sums: await sums, value: x[9] }
  },
  /** A thread begins while the main thread waits for a page. */
  async threadBegins() {
    const fixture = await openProgramHeap()
    const { x, launched } = await held(fixture)
    const body = `(x) => {
      const other = new Worker("const { workerData, parentPort } = require('node:worker_threads'); parentPort.postMessage(workerData[3])",
        { eval: true, workerData: x })
      other.once('message', post)
    }`
    const thread = await startThread(x, body)
    const mine = x[7]
    await thread.next()
    const others = await thread.next()
    await launched
    return { mine, others }
  },
  async childProcess() {
    const { heap } = await openProgramHeap()
    const x = heap.alloc(Int32Array, 1024).fill(3)
    const { status } = spawnSync('true')
    return { status, value: x[9] }
  },
  async systemCalls() {
    const fixture = await openProgramHeap()
    const x = fixture.heap.alloc(Uint8Array, 4 * 4096)
    await fixture.run('fill', { write: [x], data: 0x61 })
    const text = 'a page brought by the kernel'
    return await withFile(text, async (fd) => {
      const into = attempt(() => readSync(fd, x, 0, text.length, 0))
      const from = attempt(() => writeSync(fd, x, 2 * 4096, 10, 100))
      const resident = await fixture.heap.withResident(x, () => [
        attempt(() => readSync(fd, x, 0, text.length, 0)),
        attempt(() => writeSync(fd, x, 2 * 4096, 10, 100)),
      ])
      await fixture.heap.prefetch(x, { access: 'readWrite' })
      const copy = Buffer.alloc(text.length)
      copy.set(x.subarray(0, text.length))
      return { into, from, resident, text: copy.toString(), letter: x[3 * 4096] }
    })
  },
  /** What was freed, what was never given to anybody, and what is behind the end. */
  async strayTouches() {
    const fixture = await openProgramHeap({ device: [] })
    const { heap } = fixture
    const x = heap.alloc(Int32Array, 4096, { name: 'x' }).fill(5)
    heap.alloc(Int32Array, 10)
    const all = new Int32Array(x.buffer)
    const gap = x.byteOffset / 4 + 4096
    const before = [all[0], all[gap], all[gap + 4096], all[all.length - 1]]
    all[gap] = 9
    heap.free(x)
    await fixture.settled()
    const freed = [x[0], x[4095], x.reduce((sum, value) => sum + value, 0)]
    x.fill(6)
    const y = heap.alloc(Int32Array, 4096)
    const fresh = [y.byteOffset === x.byteOffset, y.every((value) => value === 0)]
    // More of it than is kept.
    let sum = 0
    for (let i = y.byteOffset / 4 + 3 * 8192; i < all.length; i += 1024) sum += all[i]++
    await fixture.check()
    return { before, freed, fresh, sum, written: y.fill(1)[4095] }
  },
  /** Threads go on reading an array that was freed. Whoever gets its pages keeps what he stores there. */
  async staleReaders() {
    const fixture = await openProgramHeap({ device: [] })
    const { heap } = fixture
    const stale = heap.alloc(Int32Array, 4 * 1024, { name: 'stale' })
    heap.free(stale)
    await fixture.settled()
    const isOver = new Int32Array(new SharedArrayBuffer(4))
    const body = `([x, isOver]) => {
      let sum = 0
      for (let i = 0; Atomics.load(isOver, 0) === 0; i++) sum += x[(i % 4) * 1024 + 1]
      return typeof sum
    }`
    const threads = [await startThread([stale, isOver], body), await startThread([stale, isOver], body)]
    let lost = 0
    let again = 0
    const rounds = Number(argument('rounds') ?? 100)
    for (let round = 1; round <= rounds; round++) {
      const array = heap.alloc(Int32Array, 4 * 1024)
      if (array.byteOffset === stale.byteOffset) again++
      for (let i = 0; i < array.length; i += 1024) array[i] = round
      await heap.stats()
      for (let i = 0; i < array.length; i += 1024) if (array[i] !== round) lost++
      heap.free(array)
      await heap.stats()
    }
    Atomics.store(isOver, 0, 1)
    const ends = await Promise.all(threads.map((thread) => thread.next()))
    return { lost, isSamePlace: again === rounds, ends }
  },
  /** The heap is closed while threads wait for pages that are in swap: they go on, and find what was there or zeroes. */
  async closedMeanwhile() {
    const { heap } = await openProgramHeap({ memory: '16 MiB', swap: '64 MiB', device: [] })
    const x = heap.alloc(Int32Array, 12 * MIB, { name: 'x' }).fill(7)
    const isOver = new Int32Array(new SharedArrayBuffer(4))
    const body = `([x, isOver]) => {
      let wrong = 0
      for (let i = 0; i < 1000 || Atomics.load(isOver, 0) === 0; i++) {
        const value = x[Math.imul(i, 0x9e3779b1) >>> 8]
        if (value !== 7 && value !== 0 && value !== undefined) wrong++
      }
      return wrong
    }`
    const threads = await Promise.all([0, 1].map(() => startThread([x, isOver], body)))
    await pause(30)
    await heap.close()
    Atomics.store(isOver, 0, 1)
    const wrong = await Promise.all(threads.map((thread) => thread.next()))
    return { wrong, after: x[5], refused: await heap.sync(x).catch(({ code }) => code) }
  },
  /** Threads attach the heap, fill it with arrays and end without closing it: what they leave can be freed and used again. */
  async roomOfThoseGone() {
    const fixture = await openProgramHeap({ memory: '16 MiB', swap: '16 MiB', device: [] })
    const { heap } = fixture
    const seen: unknown[] = []
    for (let round = 0; round < 4; round++) {
      const worker = new Worker(new URL(import.meta.url), {
        argv: process.argv.slice(2),
        workerData: { handle: heap.handle, isPinning: round % 2 === 0 },
      })
      const [arrays] = (await once(worker, 'message')) as [Float64Array[]]
      const refused = attempt(() => heap.alloc(Uint8Array, 24 * MIB).length)
      await worker.terminate()
      const sum = arrays.reduce((all, array) => all + array[array.length - 1], 0)
      for (const array of arrays) heap.free(array)
      let own: Uint8Array | null = null
      while (own === null) {
        await pause(20)
        try {
          own = heap.alloc(Uint8Array, 24 * MIB)
        } catch {
          // Not noticed yet.
        }
      }
      const isNew = own.every((value) => value === 0)
      heap.free(own.fill(1))
      await heap.stats()
      seen.push([refused, sum, isNew])
    }
    await fixture.check()
    return seen
  },
  /** Arrays that have a segment each, nearly 4 GiB: what is not touched costs nothing. */
  async sixteenGib() {
    const fixture = await openProgramHeap({ size: '16 GiB' })
    const { heap } = fixture
    const n = SEGMENT_MAX / 4
    const all = [n - 1024, n, n, n].map((length, i) => heap.alloc(Float32Array, length, { name: `${i}` }))
    const refused = attempt(() => heap.alloc(Float32Array, n).length)
    for (const [i, array] of all.entries()) {
      array[0] = i
      array[array.length - 1] = 10 * i
    }
    await fixture.run('addOne', { write: all.map((array) => array.subarray(array.length - 3000)) })
    const ends = all.map((array) => [array[0], array[array.length - 1], array[array.length - 2]])
    const isInOrder = all.every((array, i) => heap.ptr(array.subarray(array.length - 1)) === (i + 1) * n - 1)
    const { backed } = (await fixture.extension('memory')) as { backed: number }
    await fixture.check()
    await heap.close()
    return { refused, ends, isInOrder, isSmall: backed < 1000 }
  },
  /** Arrays travel by reference; a heap can be opened on any thread. */
  async otherThreads() {
    const worker = new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) })
    return (await once(worker, 'message'))[0]
  },
  async twoHeaps() {
    const [a, b] = [await openProgramHeap(), await openProgramHeap()]
    const x = a.heap.alloc(Int32Array, 2048).fill(1)
    const y = b.heap.alloc(Int32Array, 2048).fill(2)
    await Promise.all([a.run('addOne', { write: [x] }), b.run('addOne', { write: [y] })])
    x.set(y.subarray(1000), 100)
    await a.heap.close()
    return { closed: x[0], values: [y[0], y[2047]], codes: await b.heap.sync(x).catch(({ code }) => code) }
  },
}

if (isMainThread) await runCase(CASES)
else if (workerData?.handle !== undefined) {
  const heap = await attachHeap(workerData.handle)
  const arrays = Array.from({ length: 5 }, () => heap.alloc(Float64Array, (4 * MIB) / 8).fill(2))
  if (workerData.isPinning) await heap.pin(arrays[0].subarray(0, 1000))
  parentPort?.postMessage(arrays)
  // Some end by themselves.
  if (workerData.isPinning) await pause(60_000)
} else {
  const heap = await openHeap({ mode: argument('mode') as 'live', size: '1 MiB' })
  const x = heap.alloc(Int32Array, 4096).fill(1)
  const threads = await Promise.all([0, 1, 2].map(() => startThread(x, '(x) => x.reduce((a, b) => a + b)')))
  const sums = await Promise.all(threads.map((thread) => thread.next()))
  await heap.close()
  parentPort?.postMessage({ mode: heap.mode, sums, workerData })
}
