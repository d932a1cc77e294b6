// The baseline of the core suite: what it costs to copy one page, the very thing that migrating and faulting are about.

import { PAGE_SIZE } from '../../src/base/addr.ts'
import { cpuTimeNs, type Measure } from '../harness.ts'

const NBYTES = 2 ** 28 // 256 MiB, beyond any cache

/** Rounds copy one buffer to another, in nanoseconds per page of 4 KiB. */
export function preparePageCopy(): Measure {
  // Filled, so that the host has given them memory: an untouched buffer is one shared page of zeroes.
  const source = new Uint8Array(NBYTES).fill(1)
  const target = new Uint8Array(NBYTES).fill(2)
  return () => cpuTimeNs(() => target.set(source)) / (NBYTES / PAGE_SIZE)
}
