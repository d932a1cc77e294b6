// Whether threads are still there: that of an engine, for threads that did not start it, and those of its clients. An engine that
// fails says so itself (life.ts), but one that is ended from outside has no say: it ends with the thread that has opened the heap. The
// system still shows its thread, or not.

import { existsSync, readlinkSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'
import { onExit } from '../../mmu/userfaultfd/exit-hook.ts'
import { ENGINE_CLOSED, ENGINE_LIVES, STATE } from '../engine/words.ts'

const LOOK_MS = 200

/** Where the system shows this thread below /proc. */
export function thisThread(): string {
  return readlinkSync('/proc/thread-self')
}

export function hasEnded(thread: string): boolean {
  return !existsSync(`/proc/${thread}`)
}

/** An engine that nobody has closed, and that has not said that it dies, has no thread any more. `thread` is its place below /proc. */
export function isGone(thread: string, words: Int32Array): boolean {
  return Atomics.load(words, STATE) === ENGINE_LIVES && hasEnded(thread)
}

/** The process ends, and its threads one after the other: those who watch an engine from others are not to miss it. */
export function excuse(words: Int32Array): void {
  Atomics.compareExchange(words, STATE, ENGINE_LIVES, ENGINE_CLOSED)
}

/** Calls `then` when an engine is gone; looks now and then, and when this thread ends. Returns a function that ends this. */
export function watchEngine(thread: string, words: Int32Array, then: () => void): () => void {
  let nmissed = 0
  const timer = setInterval(() => {
    nmissed = isGone(thread, words) ? nmissed + 1 : 0
    // Once may be in the middle of the end of the process.
    if (nmissed === 2) then()
  }, LOOK_MS)
  timer.unref()
  const stopLooking = onExit(() => {
    if (isGone(thread, words)) then()
    else if (isMainThread) excuse(words)
  })
  return () => {
    clearInterval(timer)
    stopLooking()
  }
}
