// Whether the engine of a live heap lives, for all threads to see, and how a process ends that cannot go on without it. When an
// engine is gone, the kernel lets go of whoever waits for a page, and he finds what the files happen to hold: the process must
// not compute on with that. So the end is loud, and it is the engine's thread that sees to it, as no other may be able to.

import { writeSync } from 'node:fs'
import type { Kernel } from '../../mmu/userfaultfd/ffi.ts'

// Words that the threads of the program share with the engine and with each other. The engine stores, and never waits.

/** One of the states below. */
export const STATE = 0
/** Pages of nobody that programs have touched: they are still mapped. */
export const STRAYS = 1
/** The last number that an array got, and the last one that a heap got. */
export const LAST_ARRAY = 2
export const LAST_CLIENT = 3
/** Pages of all arrays, where memory is bounded. */
export const USED_PAGES = 4
/** Goes up as long as the engine's loop goes round. */
export const HEARTBEAT = 5

export const ENGINE_LIVES = 0
export const ENGINE_CLOSED = 1
export const ENGINE_DIED = 2

/** Seconds that a message may take. */
const LAST_WORDS_MAX = 2

/** So often the heart of an engine beats while whoever is patient for `patienceMs` looks at it once, in milliseconds. */
export function heartbeatMs(patienceMs: number): number {
  return Math.min(1000, patienceMs / 16)
}

/** Makes the words of an engine that lives. */
export function makeWords(): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(24))
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
