// A live heap for a case, with what the engine does on order (engine-extensions.ts).

import { portOf } from '../../src/heap/heap-engines.ts'
import { ENGINE_PROGRAM } from '../../src/heap/live/engine-thread.ts'
import { type Heap, type HeapOptions, openHeap } from '../../src/index.ts'
import { loadKernel } from '../../src/mmu/userfaultfd/ffi.ts'
import type * as extensions from './engine-extensions.ts'

/** Opens a heap in live mode, or rejects with the reason why not. */
export function openLiveHeap(options: HeapOptions = {}): Promise<Heap> {
  return openHeap({ mode: 'live', ...options })
}

/** Heaps that are opened from now on take orders. */
export function extendEngines(): void {
  ENGINE_PROGRAM.extensions = new URL('./engine-extensions.js', import.meta.url)
}

/** Calls a function of engine-extensions.ts. */
export function order<Name extends keyof typeof extensions>(
  heap: Heap,
  name: Name,
  data: Parameters<(typeof extensions)[Name]>[1],
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    portOf(heap).call('extension', { name, data }, (reply) => {
      if (reply.ok) resolve(reply.answer)
      else reject(new Error(reply.failure.message))
    })
  })
}

/** Keeps this thread, and all that it starts from now on, on one processor. */
export async function pinToProcessor(cpu: number): Promise<void> {
  await loadKernel()
  const { default: koffi } = await import('koffi')
  const setAffinity = koffi.load(null).func('sched_setaffinity', 'int', ['int', 'size_t', 'void *'])
  const mask = new Uint8Array(128)
  mask[cpu >> 3] = 1 << (cpu & 7)
  if (setAffinity(0, mask.length, mask) !== 0) throw new Error(`this thread cannot run on processor ${cpu} alone`)
}

/** A processor that this process may use. */
export async function someProcessor(): Promise<number> {
  const { readFileSync } = await import('node:fs')
  const allowed = /^Cpus_allowed_list:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))
  return Number(allowed?.[1] ?? 0)
}
