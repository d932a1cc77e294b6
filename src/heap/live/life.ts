// How a process ends that cannot go on without the engine of a live heap. When an
// engine is gone, the kernel lets go of whoever waits for a page, and he finds what the files happen to hold: the process must
// not compute on with that. So the end is loud, and it is the engine's thread that sees to it, as no other may be able to.

import { writeSync } from 'node:fs'
import type { Kernel } from '../../mmu/userfaultfd/ffi.ts'

/** Seconds that a message may take. */
const LAST_WORDS_MAX = 2

/** So often the heart of an engine beats while whoever is patient for `patienceMs` looks at it once, in milliseconds. */
export function heartbeatMs(patienceMs: number): number {
  return Math.min(1000, patienceMs / 16)
}

/**
 * Ends the process with a message. The pipe behind the error output may be locked by a thread that waits for a page while it
 * writes there; then the message is lost, and an alarm is the end.
 */
export function endProcess(kernel: Kernel | null, message: string): never {
  kernel?.alarm(LAST_WORDS_MAX)
  try {
    writeSync(2, `hetmem: ${message}\n`)
  } catch {
    // Nobody reads it.
  }
  process.kill(process.pid, 'SIGABRT')
  // The signal is on its way to some thread of the process.
  for (;;) {}
}
