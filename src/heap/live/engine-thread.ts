// The thread of an engine, as the program sees it: how it begins, that it does not keep the process alive, and what its end
// means. When it ends although nobody closed the heap, nobody can answer a touch any more (life.ts).

import { existsSync } from 'node:fs'
import { isMainThread, MessageChannel, Worker } from 'node:worker_threads'
import { releaseOnExit } from '../../mmu/userfaultfd/exit-hook.ts'
import type { Kernel } from '../../mmu/userfaultfd/ffi.ts'
import type { WriteTracking } from '../../mmu/userfaultfd/userfaultfd-mmu.ts'
import type { EngineCall, EngineCalls, Reply } from '../engine/protocol.ts'
import { type EngineNews, RemotePort } from '../engine/remote-port.ts'
import { portChannel } from './channels.ts'
import type { EngineReady, EngineSettings, EngineStart } from './engine-settings.ts'
import { ENGINE_CLOSED, ENGINE_DIED, ENGINE_LIVES, endProcess, makeWords, STATE, STRAYS } from './life.ts'

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

/** The build makes one file of the program, which loads in half the time. */
const BUNDLE = new URL('./engine-worker.bundle.js', import.meta.url)

/** Extensions need the modules that the bundle is made of. */
function programUrl({ url, extensions } = ENGINE_PROGRAM): URL {
  const isBundled = url.href === new URL('./engine-worker.js', import.meta.url).href && existsSync(BUNDLE)
  return isBundled && extensions === null ? BUNDLE : url
}

/** Milliseconds that a fence may take: as long as the engine has to do with other things. */
const FENCE_MAX_MS = 10_000

/** A port that says no as soon as the engine is dead, also before this thread has been told. */
class LivingPort extends RemotePort {
  readonly words = makeWords()

  override call<C extends EngineCall>(call: C, args: EngineCalls[C]['args'], reply: (reply: Reply<C>) => void): void {
    if (this.isDead) this.fail({ code: 'ENGINE_DIED', message: 'the engine is gone' })
    super.call(call, args, reply)
    // A program that has touched what was freed must not find in a new array what it left there.
    if (call === 'map' && Atomics.load(this.words, STRAYS) > 0) this.#fence()
  }

  get isDead(): boolean {
    return Atomics.load(this.words, STATE) === ENGINE_DIED
  }

  /** Returns when the engine has begun the calls before. It only stores, so it is looked after. */
  #fence(): void {
    const word = new Int32Array(new SharedArrayBuffer(4))
    super.call('fence', { word }, () => {})
    for (let ms = 0; ms < FENCE_MAX_MS && Atomics.load(word, 0) === 0 && !this.isDead; ms++) Atomics.wait(word, 0, 0, 1)
  }
}

export class EngineThread {
  readonly port: LivingPort
  readonly #kernel: Kernel
  readonly #endsProcess: boolean
  readonly #worker: Worker
  readonly #ready: Promise<EngineReady>
  readonly #gone: Promise<void>
  #stopWatching: (() => void) | null = null

  constructor(kernel: Kernel, settings: EngineSettings, onNews: (news: EngineNews) => void) {
    const { port1, port2 } = new MessageChannel()
    this.#kernel = kernel
    this.#endsProcess = settings.endsProcess
    const channel = portChannel(port1)
    this.port = new LivingPort(channel, onNews)
    const start: EngineStart = { settings, port: port2, words: this.port.words }
    this.#worker = new Worker(programUrl(), {
      name: 'hetmem engine',
      workerData: start,
      transferList: [port2],
      resourceLimits: { maxOldGenerationSizeMb: ENGINE_PROGRAM.heapMiB },
      // What the program preloads is for the program.
      ...(ENGINE_PROGRAM.url.pathname.endsWith('.js') && { execArgv: [] }),
    })
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
    if (isMainThread) this.#watch(ready)
    return ready
  }

  /** Resolves when the thread is gone. */
  async whenGone(): Promise<void> {
    this.#worker.ref()
    await this.#gone
  }

  /** Whoever ends the process takes care that nobody waits for a page for ever, and that a dead engine is not overlooked. */
  #watch({ fd, ranges, thread }: EngineReady): void {
    const stopReleasing = releaseOnExit(this.#kernel, fd, ranges)
    const look = (): void => {
      if (Atomics.load(this.port.words, STATE) !== ENGINE_LIVES || existsSync(`/proc/${thread}`)) return
      this.#end('is gone')
    }
    process.on('exit', look)
    this.#stopWatching = () => {
      stopReleasing()
      process.off('exit', look)
    }
  }

  #end(how: string): void {
    const { words } = this.port
    const wasReady = this.#stopWatching !== null
    this.#stopWatching?.()
    this.#stopWatching = null
    if (Atomics.load(words, STATE) === ENGINE_CLOSED) {
      this.port.fail({ code: 'CLOSED', message: 'the heap was closed' })
      return
    }
    Atomics.store(words, STATE, ENGINE_DIED)
    this.port.fail({ code: 'ENGINE_DIED', message: `the engine of the heap ${how}` })
    if (wasReady && this.#endsProcess) endProcess(this.#kernel, `a live heap cannot go on, as its engine ${how}`)
  }
}
