// A thread that moves pages between memory, files and a device for the engine of a live heap, so that no disk ever holds a page fault
// up that has nothing to do with it. It looks into the alias of the heap alone, so it never waits for a page itself.

import { workerData } from 'node:worker_threads'
import { loadKernel } from '../../mmu/userfaultfd/ffi.ts'
import { LOADING } from '../engine/words.ts'
import type { PageIoRequest, PageIoStart } from './page-io.ts'
import { type PageErrors, PageStore } from './page-store.ts'

const { port, places, words } = workerData as PageIoStart
const store = new PageStore(await loadKernel(), places)
Atomics.sub(words, LOADING, 1)
Atomics.notify(words, LOADING)

port.on('message', (request: PageIoRequest | 'end') => {
  if (request === 'end') port.close()
  else port.postMessage({ id: request.id, errors: run(request) })
})

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
