// What differs between the runtimes that a heap can live in. Each has a file that says what it has to offer: on-node.ts, and on-web.ts
// for pages and their workers. The entry point of the package takes one of them, so a bundle for a page is without whatever is
// Node's (native modules, threads, files), and no bundler has to be told.

import type { Heap } from './heap.ts'
import type { HeapSettings } from './heap-options.ts'

export interface Platform {
  /** Opens a live heap, or says why there is none here, in words that a program may print. */
  openLive(settings: HeapSettings): Promise<Heap | string>
}
