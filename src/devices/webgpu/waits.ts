// How to wait for a device, by who tells of the end: Dawn in Node has to be asked all the time (pauses.ts), Firefox seldom asks by
// itself (nudges.ts), others tell at once.

import { isNode } from '../../base/runtime.ts'
import { needsNudges, withNudges } from './nudges.ts'
import { withPauses } from './pauses.ts'

/** Settles as `promise` does, which stands for the end of something that was submitted to the queue, and as soon as it can be known. */
export function settled<T>(queue: GPUQueue, promise: Promise<T>): Promise<T> {
  if (isNode()) return withPauses(promise)
  return needsNudges() ? withNudges(queue, promise) : promise
}
