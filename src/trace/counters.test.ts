import { describe, expect, it } from 'vitest'
import { makeCounters, sumByCause, TraceCounters } from './counters.ts'
import type { TraceEvent } from './events.ts'

const RANGE = { time: 1, start: 0x10000, end: 0x14000 }
const ON_GPU = { ...RANGE, device: 'gpu' }

/** One event of each kind, with figures that no two share. */
const ONE_OF_EACH: TraceEvent[] = [
  { ...RANGE, kind: 'cpu-fault', access: 'write' },
  { ...ON_GPU, kind: 'device-fault', access: 'read', nfaults: 2 },
  { time: 1, device: 'gpu', kind: 'replay', count: 3 },
  { ...ON_GPU, kind: 'migration', cause: 'eviction', direction: 'device-to-host', npages: 4, nskipped: 5 },
  { ...ON_GPU, kind: 'duplication', cause: 'prefetch', npages: 6 },
  { ...ON_GPU, kind: 'duplicate-invalidated', cause: 'coherence', npages: 7 },
  { ...RANGE, kind: 'thrashing', nmigrations: 8 },
  { time: 1, kind: 'throttling', delay: 9 },
  { ...RANGE, kind: 'stall', duration: 10, thread: 1, reason: 'a launch claims the page' },
  { ...RANGE, kind: 'swap-in', npages: 11 },
  { ...RANGE, kind: 'swap-out', npages: 12, nbytes: 13 },
  { ...RANGE, kind: 'invalidation', event: 'MIGRATE', nsubscribers: 14 },
  { ...ON_GPU, kind: 'transfer', cause: 'fault', direction: 'host-to-device', nbytes: 15 },
  { ...ON_GPU, kind: 'transfer', cause: 'user', direction: 'device-to-host', nbytes: 16 },
  { ...ON_GPU, kind: 'transfer', cause: 'prefetch', direction: 'device-to-device', nbytes: 17 },
]

describe('TraceCounters', () => {
  it('add() puts each figure where it belongs', () => {
    const counters = new TraceCounters()
    for (const event of ONE_OF_EACH) counters.add(event)

    const zero = makeCounters()
    expect(counters.total).toEqual({
      cpuFaults: 1,
      deviceFaults: 2,
      replays: 3,
      pagesMigrated: { ...zero.pagesMigrated, eviction: 4 },
      pagesSkipped: 5,
      pagesDuplicated: 6,
      duplicatesInvalidated: 7,
      thrashing: 1,
      throttling: 1,
      throttlingDelay: 9,
      stalls: 1,
      stallDuration: 10,
      pagesSwappedIn: 11,
      pagesSwappedOut: 12,
      bytesSwappedOut: 13,
      invalidations: 1,
      bytesHostToDevice: { ...zero.bytesHostToDevice, fault: 15 },
      bytesDeviceToHost: { ...zero.bytesDeviceToHost, user: 16 },
      bytesDeviceToDevice: { ...zero.bytesDeviceToDevice, prefetch: 17 },
    })
  })

  it('add() sums up, in total and for the allocation that the event names', () => {
    const counters = new TraceCounters()
    const transfer = { ...ON_GPU, kind: 'transfer', cause: 'fault', direction: 'host-to-device', nbytes: 4096 } as const
    counters.add({ ...transfer, allocation: 'x' })
    counters.add({ ...transfer, allocation: 'x', nbytes: 8192 })
    counters.add({ ...transfer, allocation: 'y' })
    counters.add(transfer)

    expect(counters.total.bytesHostToDevice.fault).toBe(20480)
    expect([...counters.byAllocation.keys()]).toEqual(['x', 'y'])
    expect(counters.byAllocation.get('x')?.bytesHostToDevice.fault).toBe(12288)
    expect(counters.byAllocation.get('y')?.bytesHostToDevice.fault).toBe(4096)
  })
})

describe('sumByCause()', () => {
  it('adds up all causes', () => {
    expect(sumByCause({ fault: 1, prefetch: 10, eviction: 100, coherence: 1000, user: 10000 })).toBe(11111)
  })
})
