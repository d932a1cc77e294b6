import { describe, expect, it } from 'vitest'
import { ONE_OF_EACH } from '../../test/helpers/one-of-each-event.ts'
import { makeCounters, sumByCause, TraceCounters } from './counters.ts'
import { EVENT_KINDS } from './events.ts'

const ON_GPU = { time: 1, start: 0x10000, end: 0x14000, device: 'gpu' }

describe('TraceCounters', () => {
  it('add() puts each figure where it belongs', () => {
    const counters = new TraceCounters()
    for (const event of ONE_OF_EACH) counters.add(event)

    const zero = makeCounters()
    expect(new Set(ONE_OF_EACH.map(({ kind }) => kind))).toEqual(new Set(EVENT_KINDS))
    expect(counters.total).toEqual({
      cpuFaults: 1,
      deviceFaults: 2,
      replays: 3,
      launches: 1,
      launchDuration: 40,
      launchQueued: 18,
      launchService: 12,
      launchTransfer: 10,
      launchCompute: 9,
      launchFlush: 1,
      pagesDiscarded: 25,
      pagesMigrated: { ...zero.pagesMigrated, fault: 3, eviction: 2 },
      pagesSkipped: 5,
      pagesDuplicated: 1,
      duplicatesInvalidated: 1,
      thrashing: 1,
      throttling: 1,
      throttlingDelay: 9,
      stalls: 1,
      stallDuration: 10,
      pagesSwappedIn: 11,
      pagesSwappedOut: 12,
      bytesSwappedOut: 13,
      pagesReadFromFiles: 23,
      bytesReadFromFiles: 24,
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
