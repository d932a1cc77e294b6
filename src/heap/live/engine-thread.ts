// The thread of an engine, as the program sees it: how it begins, that it does not keep the process alive, and what its end
// means. When it ends although nobody closed the heap, nobody can answer a touch any more (life.ts).

import { existsSync } from 'node:fs'
import { isMainThread, MessageChannel, Worker } from 'node:worker_threads'
import { releaseOnExit } from '../../mmu/userfaultfd/exit-hook.ts'
import type { Kernel } from '../../mmu/userfaultfd/ffi.ts'
import { type EngineNews, RemotePort } from '../engine/remote-port.ts'
import { portChannel } from './channels.ts'
import type { EngineReady, EngineSettings, EngineStart } from './engine-settings.ts'
import { ENGINE_CLOSED, ENGINE_DIED, ENGINE_LIVES, endProcess, makeLife } from './life.ts'

/** The program of the thread, which is a source file where this one is, and a module that extends the engine. */
export const ENGINE_PROGRAM = {
  url: new URL(import.meta.url.endsWith('.ts') ? './engine-worker.ts' : './engine-worker.js', import.meta.url),
  extensions: null as URL | null,
}

/** The tables of an engine are outside of its JavaScript heap; this is for millions of arrays. */
const HEAP_MIB_MAX = 4096

/** A port that says no as soon as the engine is dead, also before this thread has been told. */
class LivingPort extends RemotePort {
  readonly life = makeLife()

  override call: RemotePort['call'] = (call, args, reply) => {
    if (Atomics.load(this.life, 0) === ENGINE_DIED) this.fail({ code: 'ENGINE_DIED', message: 'the engine is gone' })
    super.call(call, args, reply)
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
    this.port = new LivingPort(portChannel(port1), onNews)
    const start: EngineStart = { settings, port: port2, life: this.port.life }
    this.#worker = new Worker(ENGINE_PROGRAM.url, {
      name: 'hetmem engine',
      workerData: start,
      transferList: [port2],
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB_MAX },
      // What the program preloads is for the program.
      ...(ENGINE_PROGRAM.url.pathname.endsWith('.js') && { execArgv: [] }),
    })
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
      if (Atomics.load(this.port.life, 0) !== ENGINE_LIVES || existsSync(`/proc/${thread}`)) return
      this.#end('is gone')
    }
    process.on('exit', look)
    this.#stopWatching = () => {
      stopReleasing()
      process.off('exit', look)
    }
  }

  #end(how: string): void {
    const { life } = this.port
    const wasReady = this.#stopWatching !== null
    this.#stopWatching?.()
    this.#stopWatching = null
    if (Atomics.load(life, 0) === ENGINE_CLOSED) {
      this.port.fail({ code: 'CLOSED', message: 'the heap was closed' })
      return
    }
    Atomics.store(life, 0, ENGINE_DIED)
    this.port.fail({ code: 'ENGINE_DIED', message: `the engine of the heap ${how}` })
    if (wasReady && this.#endsProcess) endProcess(this.#kernel, `a live heap cannot go on, as its engine ${how}`)
  }
}
