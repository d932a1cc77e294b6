// The thread of an engine, as the program sees it: how it begins, that it does not keep the process alive, and what its end
// means. When it ends although nobody closed the heap, nobody can answer a touch any more (life.ts).

import { isMainThread, MessageChannel, Worker } from 'node:worker_threads'
import { onExit, releaseOnExit } from '../../mmu/userfaultfd/exit-hook.ts'
import type { Kernel } from '../../mmu/userfaultfd/ffi.ts'
import type { WriteTracking } from '../../mmu/userfaultfd/userfaultfd-mmu.ts'
import { LivingPort } from '../engine/living-port.ts'
import type { EngineNews } from '../engine/remote-port.ts'
import { ENGINE_CLOSED, ENGINE_DIED, HEARTBEAT, LOADING, STATE } from '../engine/words.ts'
import { parkOnExit } from '../parking.ts'
import { portChannel } from './channels.ts'
import type { EngineReady, EngineSettings, EngineStart } from './engine-settings.ts'
import { excuse, isGone } from './engine-watch.ts'
import { endProcess } from './life.ts'

/** How engines run. Tests have other wishes than programs. */
export const ENGINE_PROGRAM = {
  /** The program of the thread, which is a source file where this one is. */
  url: new URL(import.meta.url.endsWith('.ts') ? './engine-worker.ts' : './engine-worker.js', import.meta.url),
  /** A module that extends the engine. */
  extensions: null as URL | null,
  /** The best way of tracking stores to be used. */
  tracking: 'async' as WriteTracking,
  /** The tables of an engine are outside of its JavaScript heap; this is for millions of arrays. */
  heapMiB: 4096,
}

/** How often the heart has to be still before it is believed: the whole process may have been stopped in between. */
const LOOKS = 8

/** Milliseconds that the end of the process waits for threads that load their native library. */
const LOADING_MS = 1000

/** A thread that is ended while it loads its native library takes the process down with a stack of that library. */
function awaitLoading(words: Int32Array): void {
  for (;;) {
    const nloading = Atomics.load(words, LOADING)
    if (nloading === 0 || Atomics.wait(words, LOADING, nloading, LOADING_MS) === 'timed-out') return
  }
}

export class EngineThread {
  readonly port: LivingPort
  readonly #kernel: Kernel
  readonly #endsProcess: boolean
  readonly #worker: Worker
  readonly #ready: Promise<EngineReady>
  readonly #gone: Promise<void>
  readonly #patienceMs: number
  #stopWatching: (() => void) | null = null
  #stopParking: () => void = () => {}
  #stopListening: () => void = () => {}
  #isReady = false

  /** `words` are those of engine/words.ts. */
  constructor(
    kernel: Kernel,
    words: Int32Array<SharedArrayBuffer>,
    settings: EngineSettings,
    onNews: (news: EngineNews) => void,
  ) {
    const { port1, port2 } = new MessageChannel()
    this.#kernel = kernel
    this.#endsProcess = settings.endsProcess
    this.#patienceMs = settings.patienceMs
    const channel = portChannel(port1)
    this.port = new LivingPort(channel, words, onNews)
    const start: EngineStart = { settings, port: port2, words }
    this.#worker = new Worker(ENGINE_PROGRAM.url, {
      name: 'hetmem engine',
      workerData: start,
      transferList: [port2],
      resourceLimits: { maxOldGenerationSizeMb: ENGINE_PROGRAM.heapMiB },
      // What the program preloads is for the program.
      ...(ENGINE_PROGRAM.url.pathname.endsWith('.js') && { execArgv: [] }),
    })
    if (settings.devices.some(({ kind }) => kind === 'webgpu')) {
      this.#stopParking = parkOnExit(this.#worker, words, (code) => kernel.exit(code))
    }
    // Its last message or its end: what that means is known when the thread is gone.
    channel.onClose?.(() => this.#worker.ref())
    let failure: Error | null = null
    this.#ready = new Promise((resolve, reject) => {
      this.#worker.once('message', resolve)
      this.#worker.on('error', (error) => {
        failure = error
      })
      this.#worker.once('exit', (code) => reject(failure ?? new Error(`its thread ended with code ${code}`)))
    })
    this.#gone = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        this.#end(failure === null ? `ended with code ${code}` : `failed: ${failure.message}`)
        resolve()
      })
    })
  }

  /** Resolves when the engine can be used. Rejects if it cannot. From then on it does not keep the process alive. */
  async whenReady(): Promise<EngineReady> {
    const ready = await this.#ready
    this.#worker.unref()
    this.#isReady = true
    if (isMainThread) this.#watch(ready)
    this.#listen()
    return ready
  }

  /** Resolves when the thread is gone. */
  async whenGone(): Promise<void> {
    this.#worker.ref()
    await this.#gone
  }

  /**
   * An engine that does not move cannot say so. What can stop it is a thread in `Atomics.wait` on a word of the heap whose page is
   * not here: JavaScript's engine holds a lock then that it needs to interrupt any thread, this one included if it is unlucky.
   */
  #listen(): void {
    let last = -1
    let nsilent = 0
    const timer = setInterval(() => {
      const beat = Atomics.load(this.port.words, HEARTBEAT)
      nsilent = beat === last ? nsilent + 1 : 0
      last = beat
      if (nsilent < LOOKS) return
      const seconds = Math.round(this.#patienceMs / 1000)
      this.#end(`has not moved for ${seconds} s; is a thread in Atomics.wait on a word of the heap?`)
    }, this.#patienceMs / LOOKS)
    timer.unref()
    this.#stopListening = () => clearInterval(timer)
  }

  /** Whoever ends the process takes care that nobody waits for a page for ever, and that a dead engine is not overlooked. */
  #watch({ fd, ranges, thread }: EngineReady): void {
    const stopReleasing = releaseOnExit(this.#kernel, fd, ranges)
    const stopLooking = onExit(() => {
      if (isGone(thread, this.port.words)) this.#end('is gone')
      else excuse(this.port.words)
    })
    const stopAwaiting = onExit(() => awaitLoading(this.port.words))
    this.#stopWatching = () => {
      stopReleasing()
      stopLooking()
      stopAwaiting()
    }
  }

  #end(how: string): void {
    const { words } = this.port
    this.#stopListening()
    this.#stopWatching?.()
    this.#stopWatching = null
    this.#stopParking()
    if (Atomics.load(words, STATE) === ENGINE_CLOSED) {
      this.port.fail({ code: 'CLOSED', message: 'the heap was closed' })
      return
    }
    Atomics.store(words, STATE, ENGINE_DIED)
    this.port.fail({ code: 'ENGINE_DIED', message: `the engine of the heap ${how}` })
    if (this.#isReady && this.#endsProcess) endProcess(this.#kernel, `a live heap cannot go on, as its engine ${how}`)
  }
}
