// What the CPU did to pages that were not its own: the backend finds it by address, here it is named by array and element, and kept
// until somebody is told.

import { assert } from '../../base/assert.ts'
import type { Misuse } from '../heap-error.ts'
import { type ArrayTable, elementsOf } from './array-table.ts'
import type { HeapBackend } from './backend.ts'

export class Misuses {
  readonly #backend: HeapBackend
  readonly #arrays: ArrayTable
  #misuses: Misuse[] = []

  constructor(backend: HeapBackend, arrays: ArrayTable) {
    this.#backend = backend
    this.#arrays = arrays
  }

  /** What was found and not taken yet. */
  take(): readonly Misuse[] {
    this.collect()
    const misuses = this.#misuses
    this.#misuses = []
    return misuses
  }

  /** Names what the backend has found. To be called before arrays lose their names. */
  collect(): void {
    for (const { misuse, start, end, tag } of this.#backend.takeFindings()) {
      const array = this.#arrays.at(start)
      assert(array !== undefined, () => `the guarded page at ${start} is that of an array`)
      const elements = elementsOf(array, { start, end })
      if (misuse !== 'load-away') {
        this.#misuses.push({ misuse, ...elements })
        continue
      }
      const source = this.#arrays.withTag(tag)
      assert(source !== undefined, () => `pattern ${tag} stands for an array`)
      const whole = elementsOf(source, { start: source.start, end: source.dataEnd })
      this.#misuses.push({ misuse, ...whole, foundIn: elements })
    }
  }
}
