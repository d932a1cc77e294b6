// The emergency exit. A thread that waits in a page fault is beyond the reach of `process.exit`, which waits for all threads.
// If nobody answers the fault any more, the process would hang for ever. So the main thread, which ends last, turns all
// ranges back into ordinary memory when the process exits; for that it needs only numbers, and no other thread.

import type { Addr } from '../../base/addr.ts'
import type { Kernel } from './ffi.ts'
import { Uffd } from './uffd.ts'

export interface UserRange {
  readonly addr: Addr
  readonly nbytes: number
}

/** What is done when the process exits, in this order. One listener for all: a program may have many heaps. */
const hooks = new Set<() => void>()

function runHooks(): void {
  for (const hook of hooks) hook()
}

/** Calls `hook` when the process exits. Returns a function that takes the hook away again. */
export function onExit(hook: () => void): () => void {
  if (hooks.size === 0) process.on('exit', runHooks)
  hooks.add(hook)
  return () => {
    hooks.delete(hook)
    if (hooks.size === 0) process.off('exit', runHooks)
  }
}

/**
 * Releases all threads that wait in `ranges` when the process exits. To be called in the main thread, with its own system
 * calls; `fd` is the userfaultfd, whichever thread owns it. Returns a function that takes the hook away again.
 */
export function releaseOnExit(kernel: Kernel, fd: number, ranges: readonly UserRange[]): () => void {
  const uffd = new Uffd(kernel, fd)
  return onExit(() => {
    // When the owner is gone there is nothing left to release, and the number may mean another file, which refuses.
    for (const { addr, nbytes } of ranges) uffd.unregister(addr, nbytes)
  })
}
