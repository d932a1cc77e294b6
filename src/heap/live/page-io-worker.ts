// The thread that moves pages between memory and files for the engine of a live heap, so that no disk ever holds a page fault up
// that has nothing to do with it. It works through its requests one by one, and those first that somebody waits for. It looks
// into the alias of the heap alone, so it never waits for a page itself.

import { receiveMessageOnPort, workerData } from 'node:worker_threads'
import { loadKernel } from '../../mmu/userfaultfd/ffi.ts'
import type { PageIoRequest, PageIoStart } from './page-io.ts'
import { type PageErrors, PageStore } from './page-store.ts'

const { port, segments, swapFd, deviceMemory } = workerData as PageIoStart
const store = new PageStore(await loadKernel(), segments, swapFd, deviceMemory)

/** Somebody waits for what is read, and nobody for what is written. */
const urgent: PageIoRequest[] = []
const others: PageIoRequest[] = []
let isEnding = false

port.on('message', (message: PageIoRequest | 'end') => {
  take(message)
  for (;;) {
    for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port))
      take(next.message)
    const request = urgent.shift() ?? others.shift()
    if (request === undefined) break
    port.postMessage({ id: request.id, errors: run(request) })
  }
  if (isEnding) port.close()
})

function take(message: PageIoRequest | 'end'): void {
  if (message === 'end') isEnding = true
  else (message.op === 'write' ? others : urgent).push(message)
}

function run(request: PageIoRequest): PageErrors {
  switch (request.op) {
    case 'write':
      return store.write(request.pfns)
    case 'read':
      return store.read(request.pfns)
    case 'load':
      return store.load(request.source, request.pfns)
    case 'copy':
      return store.copy(request.source, request.pfns)
  }
}
