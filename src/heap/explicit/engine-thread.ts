// The worker of an explicit heap's engine, as the program sees it. The program makes the worker, because only its bundler knows how;
// the program of the worker is `hetmem/engine-worker`.
//
//   startEngine ── start, with a port ──> serveEngine      (over the worker, once)
//   RemotePort  <─────────── port ──────> serveCalls       (everything else)

import type { Failure } from '../engine/protocol.ts'
import { type EngineNews, RemotePort } from '../engine/remote-port.ts'
import { HeapError } from '../heap-error.ts'
import { type EngineWorker, type PortLike, portChannel } from './channel.ts'
import type { ExplicitEngineSettings } from './explicit-engine.ts'

/** The first message to the worker. */
export interface EngineStart {
  readonly settings: EngineThreadSettings
  readonly port: PortLike
}

/** Plain data. */
export interface EngineThreadSettings {
  readonly engine: ExplicitEngineSettings
  /** Where other threads join: the name of a BroadcastChannel. */
  readonly channel: string
  /** See engine/words.ts. */
  readonly words: Int32Array<SharedArrayBuffer>
  /** Somebody wants the events. */
  readonly isTraced: boolean
}

/** What the engine says when it can be used, or why it cannot. */
export type EngineReady = { readonly ready: true } | { readonly failure: Failure }

/** Sees to it that the worker of an engine with GPUs does not end while these work. Returns a function that ends that. */
export type EngineGuard = (worker: EngineWorker, words: Int32Array<SharedArrayBuffer>) => () => void

export interface EngineThread {
  readonly port: RemotePort
  /** Ends the worker; the engine was closed. */
  whenGone(): Promise<void>
}

/**
 * Starts an engine in a worker that has nothing else to do. Rejects with a HeapError if it cannot: ENGINE_DIED if the worker does
 * not run. When the worker fails later, all calls are refused so.
 */
export async function startEngine(
  worker: EngineWorker,
  settings: EngineThreadSettings,
  onNews: (news: EngineNews) => void,
  guard: EngineGuard,
): Promise<EngineThread> {
  // Ports of pages and of Node have this in common, which the types of Node leave out.
  const { port1, port2 } = new MessageChannel() as unknown as { port1: PortLike; port2: PortLike }
  const channel = portChannel(port1)
  const hasGpus = settings.engine.devices.some(({ kind }) => kind === 'webgpu')
  const release = hasGpus ? guard(worker, settings.words) : () => {}
  let port: RemotePort | null = null
  try {
    await new Promise<void>((resolve, reject) => {
      whenFailed(worker, (how) => {
        const failure: Failure = { code: 'ENGINE_DIED', message: `the worker of the engine ${how}` }
        reject(new HeapError(failure.code, failure.message))
        port?.fail(failure)
      })
      channel.keepAlive(true)
      channel.listen((message) => {
        const ready = message as EngineReady
        if ('failure' in ready) reject(new HeapError(ready.failure.code, ready.failure.message))
        else resolve()
      })
      const start: EngineStart = { settings, port: port2 }
      worker.postMessage(start, [port2] as never[])
    })
  } catch (error) {
    channel.close()
    release()
    await worker.terminate()
    throw error
  }
  channel.keepAlive(false)
  worker.unref?.()
  const ready = new RemotePort(channel, onNews)
  port = ready
  return {
    port: ready,
    async whenGone() {
      ready.fail({ code: 'CLOSED', message: 'the heap was closed' })
      release()
      await worker.terminate()
    },
  }
}

/** Calls `tell` when the worker does not run, or does not any more. A page is not told when somebody terminates its worker. */
function whenFailed(worker: EngineWorker, tell: (how: string) => void): void {
  if (worker.on !== undefined) {
    worker.on('error', (error) => tell(`failed: ${error instanceof Error ? error.message : error}`))
    worker.on('exit', (code) => tell(`ended with code ${code}`))
  } else {
    worker.addEventListener?.('error', ({ message }) => tell(`failed: ${message ?? 'its program cannot be loaded'}`))
  }
}
