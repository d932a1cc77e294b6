// The ends of programs, threads and engines while somebody waits for a page (rows of 6.1 of the notes on live memory): each
// case ends in the way that it should, and none of them waits for ever.

import { once } from 'node:events'
import { readdirSync, readlinkSync } from 'node:fs'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import type { DeviceOption } from '../../src/heap/device-options.ts'
import type { HeapHandle } from '../../src/heap/heap-handle.ts'
import { attachHeap } from '../../src/heap/on-node.ts'
import { detectLive, openDetected } from '../../src/mmu/userfaultfd/features.ts'
import { loadKernel } from '../../src/mmu/userfaultfd/ffi.ts'
import { Segment } from '../../src/mmu/userfaultfd/segment.ts'
import { Uffd } from '../../src/mmu/userfaultfd/uffd.ts'
import { UFFDIO_POISON, UFFDIO_REGISTER_MODE_MISSING } from '../../src/uapi/userfaultfd.ts'
import { argument, isAway, openProgramHeap, pause, runCase, somebodyWaits, startThread } from './program.ts'

const LOAD = '(x) => x[0]'

/** A device whose kernels have so many milliseconds to get on. */
function watchedDevice(deadline: number): DeviceOption {
  return { kind: 'memory', memory: '4 MiB', deadline }
}

/** A heap with an array whose launch goes on until `ms` of waiting, and a thread that waits for it. */
async function blocked(kernel: 'never' | 'addOneToImpatience', ms = 0, options = {}) {
  const fixture = await openProgramHeap(options)
  const x = fixture.heap.alloc(Int32Array, 4096, { name: 'x' }).fill(77)
  const launched = fixture.run(kernel, { write: [x], data: ms })
  launched.catch(() => {})
  await isAway(fixture, x)
  const thread = await startThread(x, LOAD)
  await somebodyWaits(fixture)
  return { fixture, x, thread, launched }
}

/** A heap that another thread has opened, an array of it, and the heap of this thread on it. */
async function otherThreadsHeap(onEngineDeath = 'abort') {
  const worker = new Worker(new URL(import.meta.url), { argv: process.argv.slice(2), workerData: onEngineDeath })
  const [{ handle, x }] = (await once(worker, 'message')) as [{ handle: HeapHandle; x: Int32Array }]
  return { worker, x, heap: await attachHeap(handle) }
}

if (!isMainThread && typeof workerData === 'object') {
  await attachHeap(workerData)
  parentPort?.postMessage(null)
  // Until it is ended.
  for (;;) await pause(1)
} else if (!isMainThread) {
  const { heap } = await openProgramHeap({ onEngineDeath: workerData })
  const x = heap.alloc(Int32Array, 4096, { name: 'x' }).fill(7)
  parentPort?.postMessage({ handle: heap.handle, x })
  await pause(60_000)
}

if (isMainThread)
  await runCase({
    /** Nothing is pending: the heap does not keep the process. */
    async naturalEnd() {
      const { heap } = await openProgramHeap()
      heap.alloc(Int32Array, 10)[0] = 1
      return 'ended'
    },
    async processExit() {
      await blocked('never')
      console.log('"exiting"')
      process.exit(0)
    },
    /** A thread that reads swapped pages is about to begin, and loads its native library at some moment. */
    async exitWhileThreadBegins() {
      const { heap } = await openProgramHeap({ size: '128 MiB', memory: '32 MiB', swap: '128 MiB' })
      const x = heap.alloc(Int32Array, 2 ** 24).fill(1)
      heap.sync(x.subarray(0, 1024)).catch(() => {})
      await pause(Number(argument('after')))
      console.log('"exiting"')
      process.exit(0)
    },
    async uncaughtException() {
      await blocked('never')
      setImmediate(() => {
        throw new Error('of the program')
      })
      await pause(10_000)
    },
    /** Of the thread that waits: not before it has its page. */
    async terminateThread() {
      const { thread, launched } = await blocked('addOneToImpatience', 300)
      await thread.worker.terminate()
      await launched
      return 'terminated'
    },
    /** With the action that it has by default. */
    async signal() {
      const { x } = await blocked('never')
      await startThread(argument('signal'), '(signal) => { setTimeout(() => process.kill(process.pid, signal), 100) }')
      return x[0]
    },
    /** Nobody answers any more, neither faults nor calls; the main thread wants to go. */
    async exitWithStuckEngine() {
      const { fixture } = await blocked('never')
      void fixture.extension('fail', 'stop').catch(() => {})
      await pause(100)
      console.log('"exiting"')
      process.exit(0)
    },
    /** Threads that have attached the heap end after the engine, some of them slowly. */
    async exitWithAttachedThreads() {
      const { heap } = await openProgramHeap()
      const workers = [0, 1, 2].map(
        () => new Worker(new URL(import.meta.url), { argv: process.argv.slice(2), workerData: heap.handle }),
      )
      await Promise.all(workers.map((worker) => once(worker, 'message')))
      console.log('"exiting"')
      process.exit(0)
    },
    /** The engine ends with the thread that has opened the heap, without a word. */
    async openerIsTerminated() {
      const { worker, x, heap } = await otherThreadsHeap()
      x[0] = 5
      await worker.terminate()
      const code = await heap.stats().catch((error: { code: string }) => error.code)
      await pause(10_000)
      return { code }
    },
    /** The same where the program wants to go on: calls are refused, and nobody waits for ever. */
    async openerIsTerminatedGoOn() {
      const { worker, x, heap } = await otherThreadsHeap('error')
      const read = x[4095]
      await worker.terminate()
      const code = await heap.stats().catch((error: { code: string }) => error.code)
      const other = await attachHeap(heap.handle).catch((error: { code: string }) => error.code)
      return { code, read, other, later: typeof x[1] }
    },
    /** Each signal makes the same fault come again. */
    async sigintHandler() {
      let nsignals = 0
      process.on('SIGINT', () => nsignals++)
      const { x, launched } = await blocked('addOneToImpatience', 600)
      await startThread(
        null,
        '() => { let n = 0; const timer = setInterval(() => { process.kill(process.pid, "SIGINT"); if (++n === 5) clearInterval(timer) }, 50) }',
      )
      const value = x[1]
      const during = nsignals
      await launched
      await pause(50)
      return { value, during, handled: nsignals > 0 }
    },
    async engineThrows() {
      const { fixture, x } = await blocked('never')
      void fixture.extension('fail', 'throw').catch(() => {})
      return x[0]
    },
    async engineRejects() {
      const { fixture, x } = await blocked('never')
      void fixture.extension('fail', 'reject').catch(() => {})
      return x[0]
    },
    async engineExits() {
      const { fixture, x } = await blocked('never')
      void fixture.extension('fail', 'exit').catch(() => {})
      return x[0]
    },
    async engineStops() {
      const fixture = await openProgramHeap({ patience: 1000 })
      await fixture.extension('fail', 'stop')
    },
    async engineOutOfMemory() {
      const { fixture } = await blocked('never')
      await fixture.extension('fail', 'memory')
      return 'not told'
    },
    /** The program wants to go on without it. */
    async engineThrowsGoOn() {
      const { fixture, thread } = await blocked('never', 0, { onEngineDeath: 'error' })
      const seen = thread.next()
      const codes: unknown[] = []
      const code = (error: { code: string }): void => void codes.push(error.code)
      await fixture.extension('fail', 'throw').catch(code)
      await pause(200)
      await fixture.heap.stats().catch(code)
      return { codes, seen: typeof (await seen) }
    },
    /** Nobody can ever answer, and it is not a matter of time that somebody else needs. */
    async noProgress() {
      const { x } = await blocked('never', 0, { patience: 400 })
      return x[0]
    },
    /** A kernel may take longer than anybody is patient: its device has a deadline of its own. */
    async longLaunch() {
      const { x } = await blocked('addOneToImpatience', 1200, { patience: 300, device: watchedDevice(60_000) })
      return x[0]
    },
    /** And that is kept: the device is given up, with what only it has. */
    async hungLaunch() {
      const fixture = await openProgramHeap({ device: watchedDevice(500) })
      const x = fixture.heap.alloc(Int32Array, 4096, { name: 'x' })
      await fixture.run('addOne', { write: [x] })
      const message = fixture.run('never', { write: [x] }).catch((error: Error) => console.log(error.message))
      await isAway(fixture, x)
      const value = x[0]
      await message
      return value
    },
    async lostPage() {
      const fixture = await openProgramHeap()
      const y = fixture.heap.alloc(Float32Array, 2000, { name: 'y' })
      await fixture.run('addOne', { write: [y] })
      await fixture.extension('lose', 'pulled out')
      return y[1500]
    },
    async lostPageFilled() {
      const device = { kind: 'memory', memory: '1 MiB', onLost: 'fill' } as const
      const fixture = await openProgramHeap({ device })
      const { heap } = fixture
      const y = heap.alloc(Float32Array, 2000, { name: 'y' })
      await fixture.run('addOne', { write: [y] })
      await fixture.extension('lose', 'pulled out')
      const value = `${y[1500]}`
      const codes: string[] = []
      const code = (error: { code: string }): void => void codes.push(error.code)
      await heap.sync(y).catch(code)
      await fixture.run('addOne', { write: [y] }).catch(code)
      await heap.discard(y)
      return { value, codes, receipt: `${await heap.sync(y)}`, zero: y[1500] }
    },
    /** What a page would end in that the kernel was told is bad: nobody can say which, or catch it. */
    async poisonedPage() {
      const kernel = await loadKernel()
      const support = await detectLive({ selfTest: false })
      if (support.mode === 'unavailable') throw new Error(support.reason)
      const segment = new Segment(kernel, 65536)
      const fd = openDetected(kernel, support)
      new Uffd(kernel, fd).register(segment.userAddr, segment.nbytes, UFFDIO_REGISTER_MODE_MISSING)
      const fields = [segment.userAddr, 4096, 0, 0] // struct uffdio_poison: start, len, mode, updated
      for (const [i, value] of fields.entries()) kernel.control.set(i, value)
      const result = kernel.ioctl(fd, UFFDIO_POISON)
      if (result < 0) throw new Error(`UFFDIO_POISON failed with ${result}`)
      return new Uint8Array(segment.buffer)[0]
    },
    /** Only the engine has the descriptor, so its end is the end of all waits. */
    async descriptors() {
      await openProgramHeap()
      const links = readdirSync('/proc/self/fd').map((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`)
        } catch {
          return ''
        }
      })
      return links.filter((link) => link.includes('userfaultfd')).length
    },
  })
