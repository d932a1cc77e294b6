// One trace event of each kind, in an order in which they may happen, with figures that no two share.

import type { TraceEvent } from '../../src/trace/events.ts'

const RANGE = { start: 0x10000, end: 0x14000, allocation: 'x' }
const ON_GPU = { ...RANGE, device: 'gpu' }

export const ONE_OF_EACH: readonly TraceEvent[] = [
  { time: 1, kind: 'device', device: 'gpu', nbytes: 2 ** 20, hardware: 'a test' },
  { ...RANGE, time: 2, kind: 'alloc', type: 'Float32Array' },
  { ...RANGE, time: 3, kind: 'cpu-fault', access: 'write', thread: 4711, duration: 1 },
  { ...ON_GPU, time: 4, kind: 'device-fault', access: 'read', nfaults: 2 },
  { time: 5, device: 'gpu', kind: 'replay', count: 3 },
  { ...ON_GPU, time: 6, kind: 'migration', cause: 'fault', direction: 'host-to-device', npages: 3, nskipped: 5 },
  { ...ON_GPU, time: 7, kind: 'transfer', cause: 'fault', direction: 'host-to-device', nbytes: 15, duration: 0.5 },
  { ...ON_GPU, time: 8, kind: 'duplication', cause: 'prefetch', npages: 1 },
  {
    ...{ time: 50, kind: 'launch', device: 'gpu', kernel: 'saxpy', mode: 'direct', duration: 40 },
    ...{ queued: 18, service: 12, transfer: 10, compute: 9, flush: 1, nslices: 2 },
    ...{ nresident: 19, nduplicated: 20, npinned: 21, nmigrated: 22 },
  },
  { ...ON_GPU, time: 51, kind: 'duplicate-invalidated', cause: 'coherence', npages: 1 },
  { ...ON_GPU, time: 52, kind: 'migration', cause: 'eviction', direction: 'device-to-host', npages: 2, nskipped: 0 },
  { ...ON_GPU, time: 53, kind: 'transfer', cause: 'user', direction: 'device-to-host', nbytes: 16 },
  { ...ON_GPU, time: 54, kind: 'transfer', cause: 'prefetch', direction: 'device-to-device', nbytes: 17 },
  { ...RANGE, time: 55, kind: 'thrashing', nmigrations: 8 },
  { ...RANGE, time: 56, kind: 'throttling', delay: 9 },
  { ...RANGE, time: 57, kind: 'stall', duration: 10, thread: 4711, reason: 'a launch claims the page' },
  { ...RANGE, time: 58, kind: 'swap-out', npages: 12, nbytes: 13 },
  { ...RANGE, time: 59, kind: 'swap-in', npages: 11 },
  { ...RANGE, time: 60, kind: 'file-read', npages: 23, nbytes: 24, file: 'weights.bin' },
  { ...RANGE, time: 61, kind: 'invalidation', event: 'MIGRATE', nsubscribers: 14 },
  { ...RANGE, time: 62, kind: 'discard', npages: 25 },
  { time: 63, kind: 'device-lost', device: 'gpu', reason: 'unplugged' },
  { ...RANGE, time: 64, kind: 'free' },
]
