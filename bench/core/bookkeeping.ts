// The memory that the core needs for its bookkeeping, as the engine accounts for it: objects on its heap and buffers
// outside of it, after everything that is garbage is gone.

import { memoryUsage } from 'node:process'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Measure } from '../harness.ts'
import { type Arena, type ArenaOptions, makePopulatedArena } from './arena.ts'

/**
 * Rounds make a machine and populate an arena that takes up all of its memory. In bytes per present page, of all that
 * came into being with the machine: the frames of the allocator, the arrays of pages, page tables, mappings.
 */
export function prepareBookkeeping(options: ArenaOptions): Measure {
  const collectGarbage = garbageCollector()
  const arenas: Arena[] = [] // keeps the arena alive across the second measurement
  return () => {
    arenas.pop()
    collectGarbage()
    const before = usedBytes()
    const arena = makePopulatedArena(options)
    arenas.push(arena)
    collectGarbage()
    return (usedBytes() - before + sharedBytes(arena)) / options.npages
  }
}

/** The arrays of pages, where they are in shared memory (base/sparse-buffer.ts), which the engine does not account for. */
function sharedBytes({ sys }: Arena): number {
  const { buffer } = sys.pages.refcount
  return buffer instanceof SharedArrayBuffer ? buffer.byteLength : 0
}

/** `external` includes the buffers that `arrayBuffers` counts once more. */
function usedBytes(): number {
  const { heapUsed, external } = memoryUsage()
  return heapUsed + external
}

/** The engine's own, given only to those who ask. What one run finds unused, the next takes off the account. */
function garbageCollector(): () => void {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  return () => {
    collect()
    collect()
  }
}
