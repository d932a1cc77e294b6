// Pauses between questions. Dawn in Node asks the device whether it has ended as often as the event loop goes round, on a processor of
// which a software device could make use, and each question leaves garbage. So whoever waits long waits slower and slower: a thread
// that has waited for some time without anything else to do sleeps for a small part of that time, in each round of its event loop.
//
//   wait ──> asks as often as it can ── 50 us ──> asks, sleeps, asks, sleeps ... ──> settled
//                     ^── somebody else had work to do on this thread ──┘
//
// What happens on the thread meanwhile, a page fault that has to be served, waits for PAUSE_MS_MAX at most, and ends the pauses for a
// while. This is for Node alone.

/** Milliseconds for which nobody sleeps, after the beginning of a wait and after other work of the thread. */
const AWAKE_MS = 0.05

/** Longest sleep in milliseconds. */
const PAUSE_MS_MAX = 0.1

/** Part of the time waited for so far. */
const PAUSE_SHARE = 1 / 16

/** A round of the event loop in which this many milliseconds pass had something to do besides asking. */
const BUSY_MS = 0.03

declare const setImmediate: (callback: () => void) => unknown

/** Waits of this thread that have not been settled. */
let nwaiting = 0
let isRunning = false
/** Since when nothing happened but questions. */
let quietSince = 0
let roundEndedAt = 0
/** Nobody wakes whoever sleeps here. */
let cell: Int32Array | null = null

/** Settles as `promise` of a device does, which costs less than to wait for it as it is. */
export function withPauses<T>(promise: Promise<T>): Promise<T> {
  nwaiting++
  quietSince = performance.now()
  roundEndedAt = quietSince
  if (!isRunning) {
    isRunning = true
    setImmediate(pause)
  }
  return promise.finally(() => {
    nwaiting--
  })
}

function pause(): void {
  if (nwaiting === 0) {
    isRunning = false
    return
  }
  const now = performance.now()
  if (now - roundEndedAt > BUSY_MS) quietSince = now
  const quiet = now - quietSince
  if (quiet > AWAKE_MS) {
    cell ??= new Int32Array(new SharedArrayBuffer(4))
    Atomics.wait(cell, 0, 0, Math.min(quiet * PAUSE_SHARE, PAUSE_MS_MAX))
  }
  roundEndedAt = performance.now()
  setImmediate(pause)
}
