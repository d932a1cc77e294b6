// Whether live memory works on this machine: a throw-away worker touches two pages of a small heap, this thread serves the
// faults from its loop, and both sides compare what they see. If the faults do not come, or the worker does not go on, the
// descriptor is closed, which releases the worker, and the answer is no.

import { Worker } from 'node:worker_threads'
import { PAGE_SIZE } from '../../base/addr.ts'
import { type Fault, FaultEvents } from './fault-events.ts'
import type { Kernel } from './ffi.ts'
import { UserfaultfdMmu, type WriteTracking } from './userfaultfd-mmu.ts'

const FAULT_TIMEOUT_MS = 1000
/** A worker starts in 50 ms; machines that test are busy. */
const START_TIMEOUT_MS = 10_000

const VALUE = 0x5eed_0001
const STORED = 0x5eed_0002

/** Reads a word of page 0, stores one to page 1. As text, as it needs neither files nor packages. */
const TOUCHER = `
  const { parentPort, workerData } = require('node:worker_threads')
  const words = new Uint32Array(workerData.buffer)
  parentPort.postMessage('touching')
  const value = words[0]
  words[${PAGE_SIZE / 4}] = ${STORED}
  parentPort.postMessage(value)
`

/** Serves faults once. `open` makes a userfaultfd that is switched on. Returns null, or what went wrong as a phrase. */
export async function selfTest(kernel: Kernel, open: () => number, tracking: WriteTracking): Promise<string | null> {
  let events: FaultEvents | undefined
  let mmu: UserfaultfdMmu | undefined
  let worker: Worker | undefined
  try {
    const refusal = new Refusal()
    events = new FaultEvents(kernel, open(), (faults) => refusal.ofThrown(() => faults.forEach(serve)))
    mmu = new UserfaultfdMmu({ kernel, fd: events.fd, tracking, nframes: 2 })
    const heap = mmu
    const space = heap.attach()
    for (const vpn of [0, 1]) heap.allocFrame(space, vpn * PAGE_SIZE, 0)
    new DataView(heap.bytes(0).buffer, heap.bytes(0).byteOffset).setUint32(0, VALUE, true)

    const toucher = new Worker(TOUCHER, {
      eval: true,
      workerData: { buffer: heap.buffers[0] },
      stdout: true,
      stderr: true,
    })
    worker = toucher
    const seen = await Promise.race([touched(toucher), refusal.promise])
    if (typeof seen === 'string') return seen
    if (seen !== VALUE) return `a load saw ${seen}, wanted ${VALUE}`
    const dirty = new Uint8Array(2)
    heap.unmap(space, 0, 2, dirty)
    const stored = new DataView(heap.bytes(1).buffer, heap.bytes(1).byteOffset).getUint32(0, true)
    if (stored !== STORED) return `a store of ${STORED} left ${stored}`
    const isExact = tracking === 'none' || dirty[0] === 0
    if (dirty[1] !== 1 || !isExact) return `written pages were reported as ${dirty}, wanted 0,1`
    return null
  } catch (error) {
    return messageOf(error)
  } finally {
    events?.close()
    mmu?.close()
    await worker?.terminate()
  }

  function serve({ addr, write, wp }: Fault): void {
    if (mmu === undefined) return
    const at = mmu.heapAddr(addr)
    if (wp && mmu.resolveStore(at)) return
    const page = { addr: at, npages: 1 }
    mmu.batch(() => mmu?.install(1, at, at / PAGE_SIZE, 1, true), write ? page : undefined)
  }
}

/** What the kernel said to an order that it does not take, while a fault was served. */
class Refusal {
  #resolve = (_: string): void => {}
  readonly promise = new Promise<string>((resolve) => {
    this.#resolve = resolve
  })

  ofThrown(serve: () => void): void {
    try {
      serve()
    } catch (error) {
      this.#resolve(messageOf(error))
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The word that the worker saw, or what went wrong. */
function touched(worker: Worker): Promise<number | string> {
  return new Promise((resolve) => {
    let timer = setTimeout(resolve, START_TIMEOUT_MS, `no worker started within ${START_TIMEOUT_MS / 1000} s`)
    const finish = (result: number | string) => {
      clearTimeout(timer)
      resolve(result)
    }
    worker.on('message', (message: 'touching' | number) => {
      if (message !== 'touching') return finish(message)
      clearTimeout(timer)
      timer = setTimeout(finish, FAULT_TIMEOUT_MS, `a fault was not served within ${FAULT_TIMEOUT_MS / 1000} s`)
    })
    worker.on('error', (error: Error) => finish(error.message))
    worker.on('exit', () => finish('the worker ended'))
  })
}
