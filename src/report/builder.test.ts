import { describe, expect, it } from 'vitest'
import { ONE_OF_EACH } from '../../test/helpers/one-of-each-event.ts'
import { TraceCounters } from '../trace/counters.ts'
import type { LaunchEvent, TraceEvent } from '../trace/events.ts'
import { FOLLOWED_MAX, NSTRIPES, ReportBuilder } from './builder.ts'
import type { ReportModel } from './model.ts'

const PAGE = 4096
const NO_PAGES = { nresident: 0, nduplicated: 0, npinned: 0, nmigrated: 0 }

function build(events: readonly TraceEvent[], isCut = false): ReportModel {
  const builder = new ReportBuilder({ timeUnit: 'step', program: 'saxpy.ts' })
  for (const event of events) builder.write(event)
  return builder.build({ isCut })
}

function launch(kernel: string, fields: Partial<LaunchEvent> = {}): TraceEvent {
  return {
    ...{ time: 100, kind: 'launch', device: 'gpu', kernel, mode: 'direct', duration: 10 },
    ...{ queued: 1, service: 4, transfer: 3, compute: 5, flush: 0, nslices: 1 },
    ...{ nresident: 6, nduplicated: 1, npinned: 2, nmigrated: 3, ...fields },
  } as LaunchEvent
}

describe('ReportBuilder', () => {
  it('counts as the counters do, in total and by allocation', () => {
    const counters = new TraceCounters()
    for (const event of ONE_OF_EACH) counters.add(event)
    const model = build(ONE_OF_EACH)

    expect(model.totals).toEqual(counters.total)
    expect(model.allocations).toEqual([
      { name: 'x', nbytes: 4 * PAGE, type: 'Float32Array', counters: counters.byAllocation.get('x'), nevicted: 2 },
    ])
    expect(model.nevents).toBe(ONE_OF_EACH.length)
    expect(model.duration).toBe(63)
    for (const { direction, total, byCause } of model.traffic) {
      for (const [cause, values] of Object.entries(byCause)) {
        const nbytes = values.reduce((sum, value) => sum + value, 0)
        expect(nbytes, `${direction} ${cause}`).toBe(total[cause as keyof typeof total])
      }
    }
    expect(model.traffic.map(({ direction }) => direction)).toEqual([
      'host-to-device',
      'device-to-host',
      'device-to-device',
    ])
  })

  it('counts what was evicted, pages that went back and copies that were dropped', () => {
    const pages = { start: 0, end: 8 * PAGE, device: 'gpu', npages: 3 }
    const { nevicted, allocations } = build([
      { ...pages, time: 1, kind: 'duplicate-invalidated', cause: 'eviction', allocation: 'x' },
      { ...pages, time: 2, kind: 'duplicate-invalidated', cause: 'coherence', allocation: 'x' },
      { ...pages, time: 3, kind: 'migration', cause: 'eviction', direction: 'device-to-host', nskipped: 0 },
    ])

    expect(nevicted).toBe(6)
    expect(allocations.find(({ name }) => name === 'x')?.nevicted).toBe(3)
  })

  it('follows what devices have of an allocation, stripe by stripe', () => {
    const range = { start: 0, end: 8 * PAGE, allocation: 'x' }
    const front = { ...range, end: 2 * PAGE, device: 'gpu', cause: 'fault' as const, npages: 2, nskipped: 0 }
    const { residency, devices, bins } = build([
      { ...range, time: 0, kind: 'alloc', type: 'Int8Array' },
      { ...front, time: 2, kind: 'migration', direction: 'host-to-device' },
      { ...front, time: 3, kind: 'migration', direction: 'device-to-host' },
      { time: 4, kind: 'throttling', delay: 0 },
    ])

    expect(bins).toEqual({ width: 1, count: 5 })
    const [x] = residency
    expect(x).toMatchObject({ name: 'x', nbytes: 8 * PAGE, mean: 1 / 16, peak: 1 / 4 })
    const empty = [0, 0, 0, 0, 0]
    expect(x.stripes).toEqual([[0, 0, 1, 0, 0], [0, 0, 1, 0, 0], ...Array.from({ length: NSTRIPES - 2 }, () => empty)])
    expect(devices).toMatchObject([{ name: 'gpu', peak: 2 * PAGE, mean: PAGE / 2, nbytes: undefined }])
  })

  it('has a row for each kernel on each device, the one that took longest first', () => {
    const { kernels, latencies, devices } = build([
      launch('saxpy', { duration: 10 }),
      launch('saxpy', { duration: 30, mode: 'paged' }),
      launch('saxpy', { duration: 5, error: 'gone', service: 0, transfer: 0, compute: 0, ...NO_PAGES }),
      launch('bfs', { duration: 100 }),
      launch('bfs', { device: 'gpu 2' }),
    ])

    expect(kernels.map(({ name, device }) => `${name} on ${device}`)).toEqual([
      'bfs on gpu',
      'saxpy on gpu',
      'bfs on gpu 2',
    ])
    expect(kernels[1]).toMatchObject({
      ...{ launches: 3, failed: 1, modes: ['direct', 'paged'], queued: 3, service: 8, transfer: 6, compute: 10 },
      ...{ nresident: 12, nbrought: 12, duration: { count: 3, p50: 10, p99: 30, max: 30 } },
    })
    expect(latencies.map(({ kind, distribution }) => `${kind} ${distribution.count}`)).toEqual([
      'service 4',
      'compute 4',
    ])
    expect(devices.map(({ name, launches, compute }) => [name, launches, compute])).toEqual([
      ['gpu', 4, 15],
      ['gpu 2', 1, 5],
    ])
  })

  it('has a row for each line of the program that is named, the one that took longest first', () => {
    const { sites } = build([
      launch('saxpy', { site: 'a.ts:3' }),
      launch('saxpy', { site: 'a.ts:9', duration: 50 }),
      launch('saxpy', { site: 'a.ts:3' }),
      launch('saxpy'),
    ])

    expect(sites.map(({ site, counters }) => [site, counters.launches, counters.launchDuration])).toEqual([
      ['a.ts:9', 1, 50],
      ['a.ts:3', 2, 20],
    ])
  })

  it('keeps the longest waits, with times from the beginning of the trace', () => {
    const stall = (time: number, duration: number): TraceEvent => {
      return { kind: 'stall', time, duration, start: 0, end: PAGE, thread: 7, reason: 'a launch has it' }
    }
    const { waits } = build(Array.from({ length: 20 }, (_, i) => stall(1000 + i, 1 + ((i * 7) % 20))))

    expect(waits.map(({ duration }) => duration)).toEqual([20, 19, 18, 17, 16, 15, 14, 13, 12, 11])
    expect(waits[0]).toEqual({ time: 18, duration: 20, thread: 7, allocation: undefined, reason: 'a launch has it' })
  })

  it('says what became of a device, and that the trace was cut off', () => {
    const model = build(ONE_OF_EACH, true)

    expect(model.devices).toMatchObject([{ name: 'gpu', nbytes: 2 ** 20, hardware: 'a test', lost: 'unplugged' }])
    expect(model.isCut).toBe(true)
  })

  it('makes a report of nothing, and of more allocations than it can follow', () => {
    expect(build([])).toMatchObject({ nevents: 0, duration: 0, residency: [], kernels: [], bins: { count: 1 } })

    const many = Array.from({ length: FOLLOWED_MAX + 5 }, (_, i): TraceEvent => {
      return { kind: 'alloc', time: i, start: i * PAGE, end: (i + 1) * PAGE, allocation: `a${i}`, type: 'Int8Array' }
    })
    const { residency, allocations } = build(many)
    expect([residency.length, allocations.length]).toEqual([FOLLOWED_MAX, FOLLOWED_MAX + 5])
  })
})
