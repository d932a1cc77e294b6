import { describe, expect, it } from 'vitest'
import { ONE_OF_EACH } from '../../test/helpers/one-of-each-event.ts'
import { sampleTrace } from '../../test/helpers/sample-trace.ts'
import { traceEventFaults } from '../../test/helpers/trace-event-format.ts'
import type { TraceEvent } from './events.ts'
import { type PerfettoOptions, PerfettoSink } from './perfetto.ts'
import type { TimeUnit } from './tracer.ts'

interface Item {
  readonly ph: string
  readonly name: string
  readonly pid: number
  readonly tid?: number
  readonly ts?: number
  readonly id?: string
  readonly cat?: string
  readonly args?: Record<string, unknown>
}

function convert(events: readonly TraceEvent[], options: PerfettoOptions = {}, timeUnit: TimeUnit = 'step') {
  let text = ''
  const sink = new PerfettoSink((piece) => (text += piece), { timeUnit, program: 'saxpy.ts' }, options)
  for (const event of events) sink.write(event)
  const unclosed = text
  sink.close()
  return { items: JSON.parse(text) as Item[], unclosed, text }
}

/** Names of groups and tracks, as a viewer shows them, by `pid` and `pid:tid`. */
function namesOf(items: readonly Item[]): Map<string, string> {
  const names = new Map<string, string>()
  for (const { name, pid, tid, args } of items) {
    if (name === 'process_name') names.set(`${pid}`, `${args?.['name']}`)
    if (name === 'thread_name') names.set(`${pid}:${tid}`, `${args?.['name']}`)
  }
  return names
}

describe('PerfettoSink', () => {
  it.each([
    ['one event of each kind', ONE_OF_EACH],
    ['a whole search', sampleTrace().events],
  ])('keeps to the rules of the format: %s', (_, events) => {
    for (const allocations of [false, true]) {
      for (const unit of ['step', 'us'] as const) {
        expect(traceEventFaults(convert(events, { allocations }, unit).text)).toEqual([])
      }
    }
  })

  it.each([
    ['a phase', 'b', { ph: 'Q' }, 'phase Q is none that is written'],
    ['a time', 'i', { ts: -1 }, 'ts is -1'],
    ['a track', 'b', { tid: 1.5 }, 'tid is 1.5'],
    ['an id', 'b', { id: 7 }, 'slice of category cpu-fault and id 7'],
    ['the end of a slice', 'e', { id: '0x999' }, 'cpu-fault x ends and has not begun'],
    ['the order of a slice', 'e', { ts: 0 }, 'cpu-fault x ends before it begins'],
    ['the scope of an instant', 'i', { s: 'x' }, 'scope of an instant is x'],
    ['a counter', 'C', { args: { bytes: '7' } }, 'series bytes is 7'],
    ['a name of a track', 'M', { args: {} }, 'metadata process_name says nothing that is known'],
  ])('the rules find %s that is wrong', (_, phase, wrong, fault) => {
    const { items } = convert(ONE_OF_EACH)
    const at = items.findIndex(({ ph }) => ph === phase)
    const faults = traceEventFaults(JSON.stringify(items.with(at, { ...items[at], ...wrong } as Item)))
    expect(
      faults.some((each) => each.endsWith(fault)),
      faults.join('; '),
    ).toBe(true)
  })

  it('gives every event a named track in a named group, and a time', () => {
    const { items } = convert(ONE_OF_EACH, { allocations: true })
    const names = namesOf(items)

    for (const item of items) {
      expect(names.has(`${item.pid}`), JSON.stringify(item)).toBe(true)
      if (item.ph === 'M') continue
      expect(Number.isFinite(item.ts), JSON.stringify(item)).toBe(true)
      if (item.ph !== 'C') expect(names.has(`${item.pid}:${item.tid}`), JSON.stringify(item)).toBe(true)
    }
    expect(new Set(names.values())).toEqual(
      new Set([
        ...['CPU: saxpy.ts', 'program', 'thread 4711', 'swap', 'files'],
        ...['device gpu', 'launches', 'faults', 'migrations', 'copies', 'duplicates', 'arrays', 'x'],
      ]),
    )
  })

  it('shows every kind of event but the device itself, which is a group, as a slice or an instant', () => {
    const { items } = convert(ONE_OF_EACH)
    const shown = new Set(items.filter(({ ph }) => ph === 'b' || ph === 'i').map(({ cat }) => cat))

    expect([...shown].sort()).toEqual(
      [...new Set(ONE_OF_EACH.map(({ kind }) => kind))].filter((k) => k !== 'device').sort(),
    )
  })

  it('begins and ends each asynchronous slice once, launches with their parts inside', () => {
    const { items } = convert(ONE_OF_EACH)
    const open = new Map<string, Item[]>()
    const slices: string[] = []
    for (const item of items) {
      const key = `${item.pid} ${item.cat} ${item.id}`
      const stack = open.get(key) ?? []
      if (item.ph === 'b') open.set(key, [...stack, item])
      if (item.ph !== 'e') continue
      const begin = stack.at(-1) as Item
      expect(begin.name).toBe(item.name)
      open.set(key, stack.slice(0, -1))
      slices.push(`${item.name} ${begin.ts} ${item.ts}`)
    }

    expect([...open.values()].flat()).toEqual([])
    expect(slices).toEqual([
      'cpu-fault x 2 3',
      'transfer x 6.5 7',
      'queued 10 28',
      'service 28 40',
      'compute 40 49',
      'flush 49 50',
      'saxpy 10 50',
      'stall x 47 57',
    ])
  })

  it('counts what a device has, and the bytes copied by direction and cause', () => {
    const { items } = convert(ONE_OF_EACH)
    const series = (name: string) =>
      items.filter((item) => item.ph === 'C' && item.name === name).map(({ args }) => args)

    expect(series('resident')).toEqual([3, 4, 3, 1, 0, 0].map((npages) => ({ bytes: npages * 4096 })))
    expect(series('host-to-device fault')).toEqual([{ bytes: 15 }])
    expect(series('host-to-device eviction')).toEqual([]) // nothing for the viewer to make an empty track of
    expect(series('memory')).toEqual([{ bytes: 2 ** 20 }])
  })

  it('samples counters once in a millisecond, and at the end', () => {
    const resident = (timeUnit: TimeUnit, spread: number) =>
      convert(
        ONE_OF_EACH.map((event) => ({ ...event, time: event.time * spread })),
        {},
        timeUnit,
      )
        .items.filter((item) => item.name === 'resident')
        .map(({ ts, args }) => [ts, (args?.['bytes'] as number) / 4096])

    expect(resident('us', 1)).toEqual([[64, 0]])
    expect(resident('us', 1000)).toEqual(resident('step', 1000))
  })

  it('has a track and a counter per allocation only if asked', () => {
    const tracks = (options: PerfettoOptions) =>
      convert(ONE_OF_EACH, options).items.filter(({ name }) => name === 'x on devices').length

    expect(tracks({})).toBe(0)
    expect(tracks({ allocations: true })).toBeGreaterThan(0)
  })

  it('leaves a text behind that lacks nothing but its bracket, should the program die', () => {
    const { unclosed, items } = convert(ONE_OF_EACH)

    expect(JSON.parse(`${unclosed}]`)).toEqual(items.slice(0, -1))
  })
})
