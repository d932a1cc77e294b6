// Populating faults: write faults in ascending order over fresh anonymous memory, as a CPU raises them.

import { cpuTimeNs, type Measure } from '../harness.ts'
import { Arena, type ArenaOptions } from './arena.ts'

/**
 * Rounds map an arena, populate it and unmap it, `repeats` times; only the faults are timed. In nanoseconds per page.
 * After the first round the frames are recycled ones.
 */
export function preparePopulate(options: ArenaOptions, repeats = 1): Measure {
  const arena = new Arena(options)
  return () => {
    let ns = 0
    for (let i = 0; i < repeats; i++) {
      arena.map()
      ns += cpuTimeNs(() => arena.populate())
      arena.unmap()
    }
    return ns / (repeats * arena.npages)
  }
}
