// Which engine a heap has, for those who want more of it than programs do: tests and measurements.

import type { Engine } from './engine/engine.ts'
import type { EnginePort } from './engine/protocol.ts'
import type { Heap } from './heap.ts'
import { HeapError } from './heap-error.ts'

/** The engine of a heap on this thread, for launches until there are kernels. */
export function engineOf(heap: Heap): Engine {
  const engine = engines.get(heap)
  if (engine === undefined) throw new HeapError('FAILED', 'the engine of the heap is not on this thread')
  return engine
}

const engines = new WeakMap<Heap, Engine>()

/** Says which engine a heap has, for `engineOf`. */
export function registerEngine(heap: Heap, engine: Engine): void {
  engines.set(heap, engine)
}

/** The way to the engine of a heap, for what the heap has no call for. */
export function portOf(heap: Heap): EnginePort {
  const port = ports.get(heap)
  if (port === undefined) throw new HeapError('FAILED', 'the engine of the heap is not known')
  return port
}

const ports = new WeakMap<Heap, EnginePort>()

/** Says how the engine of a heap is reached, for `portOf`. */
export function registerPort(heap: Heap, port: EnginePort): void {
  ports.set(heap, port)
}
