// The engine's way to a thread that does page I/O for it (page-io-worker.ts): requests go there as messages and are done one by one.
// There are several such threads: what is read has somebody who waits for it, and must not stand behind what is written. Whoever
// depends on a page that a thread has cannot go on without it, so its end is that of the engine.

import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { assert } from '../../base/assert.ts'
import { LOADING } from '../engine/words.ts'
import type { DeviceSource, FileSource, PageErrors, PagePlaces } from './page-store.ts'

/** `workerData` of the thread. */
export interface PageIoStart {
  readonly port: MessagePort
  readonly places: PagePlaces
  /** Those of engine/words.ts. */
  readonly words: Int32Array<SharedArrayBuffer>
}

/** Pages in ascending order. */
export type PageIoRequest =
  | { readonly id: number; readonly op: 'write' | 'read'; readonly pfns: Uint32Array }
  | { readonly id: number; readonly op: 'load'; readonly pfns: Uint32Array; readonly source: FileSource }
  | { readonly id: number; readonly op: 'copy'; readonly pfns: Uint32Array; readonly source: DeviceSource }

interface PageIoAnswer {
  readonly id: number
  readonly errors: PageErrors
}

/** What is done with pages. */
export type PageIoWork =
  | { readonly op: 'write' | 'read' }
  | { readonly op: 'load'; readonly source: FileSource }
  | { readonly op: 'copy'; readonly source: DeviceSource }

/** The program of the thread. It is a source file where this one is. */
const PROGRAM = new URL(
  import.meta.url.endsWith('.ts') ? './page-io-worker.ts' : './page-io-worker.js',
  import.meta.url,
)

/** Starts a thread. */
export type PageIoStarter = (places: PagePlaces) => PageIo

export class PageIo {
  readonly #port: MessagePort
  readonly #worker: Worker
  readonly #gone: Promise<void>
  /** What to do with the answer, by number of the request. */
  readonly #waiting = new Map<number, (errors: PageErrors) => void>()
  #lastId = 0
  #isClosing = false

  /** `words` are those of engine/words.ts. `onDeath` is called if the thread ends before `close`. */
  constructor(places: PagePlaces, words: Int32Array<SharedArrayBuffer>, onDeath: (message: string) => void) {
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    this.#port.on('message', ({ id, errors }: PageIoAnswer) => this.#take(id, errors))
    Atomics.add(words, LOADING, 1)
    this.#worker = new Worker(PROGRAM, {
      name: 'hetmem page I/O',
      workerData: { port: port2, places, words } satisfies PageIoStart,
      transferList: [port2],
      execArgv: [],
    })
    let failure = ''
    this.#worker.on('error', (error) => {
      failure = `: ${error.message}`
    })
    this.#gone = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        this.#port.close()
        if (!this.#isClosing) onDeath(`the thread of its page I/O ended with code ${code}${failure}`)
        resolve()
      })
    })
  }

  /** Hands pages in ascending order to the thread. `done` gets the errors by place in the list, null if there is none. */
  request(work: PageIoWork, pfns: Uint32Array, done: (errors: PageErrors) => void): void {
    this.#lastId++
    this.#waiting.set(this.#lastId, done)
    this.#port.postMessage({ id: this.#lastId, ...work, pfns }, [pfns.buffer as ArrayBuffer])
  }

  /** Ends the thread when it has done what it was asked for. Resolves when it is gone. */
  async close(): Promise<void> {
    this.#isClosing = true
    this.#port.postMessage('end')
    await this.#gone
  }

  #take(id: number, errors: PageErrors): void {
    const done = this.#waiting.get(id)
    assert(done !== undefined, () => `page I/O request ${id} was made and not answered`)
    this.#waiting.delete(id)
    done(errors)
  }
}
