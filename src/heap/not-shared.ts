// A heap that nobody else has one on: its engine is told at once, and other threads cannot join.

import { HeapError } from './heap-error.ts'
import type { HeapSharing } from './heap-handle.ts'
import type { HeapMode } from './heap-options.ts'

export class NotShared implements HeapSharing {
  readonly isAttached = false
  readonly #mode: HeapMode
  #lastId = 0

  constructor(mode: HeapMode) {
    this.#mode = mode
  }

  nextId(): number {
    return ++this.#lastId
  }

  mapSent(): void {}

  handle(): never {
    throw new HeapError('NOT_IN_MODE', `handle in ${this.#mode} mode: its heaps are for one thread`)
  }
}
