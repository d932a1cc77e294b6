// Starts the engine of engine.ts in a worker, for the programs beside this file. Options come from the command line, so that
// one program serves all modes: `--source user-mode --tracking sync`.

import { Worker } from 'node:worker_threads'
import type { UserRange } from '../../src/mmu/userfaultfd/exit-hook.ts'
import type { UffdSource } from '../../src/mmu/userfaultfd/uffd.ts'
import type { WriteTracking } from '../../src/mmu/userfaultfd/userfaultfd-mmu.ts'
import type { EngineCounts } from './engine.ts'

export interface EngineOptions {
  readonly npages: number
  /** Pages that one fault brings. */
  readonly faultAround: number
  readonly sources: readonly UffdSource[]
  readonly tracking: WriteTracking
}

export type Order =
  | { readonly kind: 'disturb' | 'stop' | 'ignore' | 'fail' | 'check' | 'close' }
  | { readonly kind: 'zap'; readonly first: number; readonly npages: number }

export interface EngineReply {
  readonly fd: number
  readonly ranges: readonly UserRange[]
  readonly buffer: SharedArrayBuffer
  readonly mode: 'live' | 'live-user'
  readonly tracking: WriteTracking
  readonly counts: EngineCounts
  /** Of all words, after the order `check`. */
  readonly sum: number
}

export class RunningEngine {
  readonly worker: Worker
  readonly started: EngineReply

  constructor(worker: Worker, started: EngineReply) {
    this.worker = worker
    this.started = started
  }

  /** The end of the engine is the end of the program, which would only wait; unless somebody else waits for it. */
  failLoudly(): void {
    this.worker.on('error', (error) => {
      if (this.worker.listenerCount('error') > 1) return
      console.error(error)
      process.exit(1)
    })
  }

  /** The memory of the mapping, behind the page that belongs to nobody. */
  get buffer(): SharedArrayBuffer {
    return this.started.buffer
  }

  order(order: Order): Promise<EngineReply> {
    this.worker.postMessage(order)
    return nextReply(this.worker)
  }
}

/** Starts an engine as the command line says. */
export async function startEngine(npages: number, faultAround = 1): Promise<RunningEngine> {
  const source = argument('source') as UffdSource | undefined
  const options: EngineOptions = {
    npages,
    faultAround,
    sources: source === undefined ? ['syscall', 'device', 'user-mode'] : [source],
    tracking: (argument('tracking') as WriteTracking | undefined) ?? 'async',
  }
  const worker = new Worker(new URL('./engine-worker.js', import.meta.url), { workerData: options })
  const engine = new RunningEngine(worker, await nextReply(worker))
  engine.failLoudly()
  return engine
}

/** What follows `--name` on the command line. */
export function argument(name: string): string | undefined {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? undefined : process.argv[at + 1]
}

function nextReply(worker: Worker): Promise<EngineReply> {
  return new Promise((resolve, reject) => {
    worker.once('error', reject)
    worker.once('message', (reply) => {
      worker.off('error', reject)
      resolve(reply)
    })
  })
}
