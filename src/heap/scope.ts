// Scopes: what is allocated in a function is freed at its end, except what it returns. A scope that ends inside of another one
// leaves to it what it returns.

import type { Allocation, AllocOptions } from './allocation.ts'
import type { ArrayOf, ArrayType, HeapView } from './array-types.ts'

/** What a function that runs in a scope allocates with. */
export interface Scope {
  /** A new array that is freed with the scope. Like `heap.alloc` otherwise. */
  alloc<T extends ArrayType>(type: T, length: number, options?: AllocOptions): ArrayOf<T>
}

export interface ScopesHost {
  /** The live array that a view is of. */
  allocationOf(view: HeapView): Allocation | undefined
  /** Frees an array, unless it is gone. */
  free(allocation: Allocation): void
}

/** Arrays of one scope; null once it has ended. */
interface Frame {
  allocations: Set<Allocation> | null
  readonly outer: Frame | null
}

export class Scopes {
  readonly #host: ScopesHost
  /** The innermost scope whose function is running now. */
  #current: Frame | null = null

  constructor(host: ScopesHost) {
    this.#host = host
  }

  /** An array was allocated without saying in which scope: in the innermost one. */
  add(allocation: Allocation): void {
    this.#current?.allocations?.add(allocation)
  }

  /** Runs `body` in a scope of its own. It can add to the scope also while it is not the innermost. */
  run<T>(body: (add: (allocation: Allocation) => void) => T): T {
    const frame: Frame = { allocations: new Set(), outer: this.#current }
    const add = (allocation: Allocation): void => {
      frame.allocations?.add(allocation)
    }
    let result: T
    this.#current = frame
    try {
      result = body(add)
    } catch (error) {
      this.#end(frame, undefined)
      throw error
    } finally {
      this.#current = frame.outer
    }
    if (!isThenable(result)) {
      this.#end(frame, result)
      return result
    }
    const ending = result.then(
      (value) => {
        this.#end(frame, value)
        return value
      },
      (error: unknown) => {
        this.#end(frame, undefined)
        throw error
      },
    )
    return ending as T
  }

  #end(frame: Frame, result: unknown): void {
    const kept = new Set<Allocation>()
    this.#collect(result, kept, new Set())
    for (const allocation of frame.allocations ?? []) {
      if (kept.has(allocation)) frame.outer?.allocations?.add(allocation)
      else this.#host.free(allocation)
    }
    frame.allocations = null
  }

  /** The arrays in a value: it is a view, or has views in its properties or elements, at any depth. */
  #collect(value: unknown, found: Set<Allocation>, seen: Set<object>): void {
    if (typeof value !== 'object' || value === null || seen.has(value)) return
    seen.add(value)
    if (ArrayBuffer.isView(value)) {
      const allocation = this.#host.allocationOf(value as HeapView)
      if (allocation !== undefined) found.add(allocation)
      return
    }
    if (Array.isArray(value) || value instanceof Set || value instanceof Map) {
      for (const each of value) this.#collect(each, found, seen)
      return
    }
    for (const { value: each } of Object.values(Object.getOwnPropertyDescriptors(value))) {
      this.#collect(each, found, seen)
    }
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function'
}
