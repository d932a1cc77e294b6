import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  ACCESSES,
  CAUSES,
  DIRECTIONS,
  EVENT_KINDS,
  type EventKind,
  LAUNCH_MODES,
  NOTIFY_EVENTS,
  type TraceEvent,
} from './events.ts'
import { formatJsonl, JsonlReader, JsonlSink, parseJsonl } from './jsonl.ts'
import { EventTracer } from './tracer.ts'

const HEADER = '{"format":"hetmem-trace","version":1,"timeUnit":"step"}'
const FAULT = '{"time":1,"kind":"cpu-fault","start":4096,"end":8192,"access":"read"}'

const count = fc.nat()
const when = fc.double({ min: 0, max: 1e12, noNaN: true, noDefaultInfinity: true }).map((time) => time + 0) // no -0: JSON has none
const cause = fc.constantFrom(...CAUSES)
const direction = fc.constantFrom(...DIRECTIONS)
const access = fc.constantFrom(...ACCESSES)
const range = fc.tuple(fc.nat(2 ** 46), fc.nat(2 ** 40)).map(([start, nbytes]) => ({ start, end: start + nbytes }))
const extras = fc.record({ allocation: fc.string(), site: fc.string(), duration: when }, { requiredKeys: [] })

/** The fields of each kind that are its own. */
const OWN: { [K in EventKind]: fc.Arbitrary<object> } = {
  device: fc.record({ device: fc.string(), nbytes: count, hardware: fc.string() }),
  'device-lost': fc.record({ device: fc.string(), reason: fc.string() }),
  alloc: fc.record({ allocation: fc.string(), type: fc.string() }),
  free: fc.record({ allocation: fc.string() }),
  discard: fc.record({ npages: count }),
  launch: fc.record({
    device: fc.string(),
    kernel: fc.string(),
    mode: fc.constantFrom(...LAUNCH_MODES),
    duration: when,
    queued: when,
    service: when,
    transfer: when,
    compute: when,
    flush: when,
    nslices: count,
    nresident: count,
    nduplicated: count,
    npinned: count,
    nmigrated: count,
  }),
  'cpu-fault': fc.record({ access }),
  'device-fault': fc.record({ device: fc.string(), access, nfaults: count }),
  replay: fc.record({ device: fc.string(), count }),
  migration: fc.record({ device: fc.string(), cause, direction, npages: count, nskipped: count }),
  duplication: fc.record({ device: fc.string(), cause, npages: count }),
  'duplicate-invalidated': fc.record({ device: fc.string(), cause, npages: count }),
  thrashing: fc.record({ nmigrations: count }),
  throttling: fc.record({ delay: when }),
  stall: fc.record({ duration: when, thread: count, reason: fc.string() }),
  'swap-in': fc.record({ npages: count }),
  'swap-out': fc.record({ npages: count, nbytes: count }),
  'file-read': fc.record({ npages: count, nbytes: count, file: fc.string() }),
  invalidation: fc.record({ event: fc.constantFrom(...NOTIFY_EVENTS), nsubscribers: count }),
  transfer: fc.record({ device: fc.string(), cause, direction, nbytes: count }),
}

const anyEvent = fc
  .constantFrom(...EVENT_KINDS)
  .chain((kind) =>
    fc.tuple(when, range, extras, OWN[kind]).map(([time, ...rest]) => Object.assign({ kind, time }, ...rest)),
  )

/** The message of the SyntaxError that parsing these lines throws. */
function refusal(...lines: string[]): string {
  try {
    parseJsonl(lines.join('\n'))
  } catch (error) {
    expect(error).toBeInstanceOf(SyntaxError)
    return (error as SyntaxError).message
  }
  return 'accepted'
}

describe('parseJsonl()', () => {
  it('reads back what formatJsonl() wrote, for every kind of event', () => {
    fc.assert(
      fc.property(fc.array(anyEvent), fc.constantFrom('us', 'step'), (events, timeUnit) => {
        const trace = { timeUnit, events: events as TraceEvent[] }
        expect(parseJsonl(formatJsonl(trace))).toStrictEqual(trace)
      }),
    )
  })

  it('reads back the end of an event over the whole address space', () => {
    const event: TraceEvent = {
      kind: 'invalidation',
      time: 1,
      start: 0,
      end: 2 ** 64,
      event: 'RELEASE',
      nsubscribers: 1,
    }

    expect(parseJsonl(formatJsonl({ timeUnit: 'step', events: [event] })).events).toEqual([event])
  })

  it('skips empty lines and takes both line ends', () => {
    expect(parseJsonl(`\n${HEADER}\r\n\n${FAULT}\r\n`).events.length).toBe(1)
  })

  it.each([
    [
      'another text',
      ['# Notes', ''],
      'trace line 1: "# Notes" is no header of a trace, wanted {"format":"hetmem-trace",...}',
    ],
    ['no text', [''], 'trace: no header line, wanted {"format":"hetmem-trace",...}'],
    ['no header', [FAULT], 'trace line 1: format is missing, wanted hetmem-trace'],
    [
      'a later version',
      ['{"format":"hetmem-trace","version":2,"timeUnit":"us"}'],
      'trace line 1: version is 2, wanted 1',
    ],
    [
      'another unit',
      ['{"format":"hetmem-trace","version":1,"timeUnit":"h"}'],
      'trace line 1: timeUnit is "h", wanted one of us, step',
    ],
    ['a list', [HEADER, '[1]'], 'trace line 2: [1] is not an object'],
    ['null', [HEADER, 'null'], 'trace line 2: null is not an object'],
    [
      'an event without its access',
      [HEADER, '', '{"time":1,"kind":"cpu-fault","start":0,"end":1}'],
      'trace line 3: cpu-fault.access is missing, wanted one of read, write',
    ],
    [
      'a wrong cause',
      [HEADER, '{"time":1,"kind":"duplication","start":0,"end":1,"device":"gpu","cause":"magic","npages":1}'],
      'trace line 2: duplication.cause is "magic", wanted one of fault, prefetch, eviction, coherence, user',
    ],
    [
      'a negative count',
      [HEADER, '{"time":1,"kind":"swap-in","start":0,"end":1,"npages":-1}'],
      'trace line 2: swap-in.npages is -1, wanted an integer from 0',
    ],
    [
      'a text for a time',
      [HEADER, '{"time":"1","kind":"throttling","delay":1}'],
      'trace line 2: throttling.time is "1", wanted a number',
    ],
    [
      'a number for a name',
      [HEADER, '{"time":1,"kind":"throttling","delay":1,"allocation":3}'],
      'trace line 2: throttling.allocation is 3, wanted a text',
    ],
    [
      'a field that is not known',
      [HEADER, '{"time":1,"kind":"throttling","delay":1,"color":"red"}'],
      'trace line 2: throttling.color is not a field',
    ],
    [
      'a field from a prototype',
      [HEADER, '{"time":1,"kind":"throttling","delay":1,"constructor":1}'],
      'trace line 2: throttling.constructor is not a field',
    ],
    [
      'a range that ends before it starts',
      [HEADER, '{"time":1,"kind":"thrashing","start":2,"end":1,"nmigrations":1}'],
      'trace line 2: thrashing has the range 2 to 1, wanted start <= end, or neither',
    ],
    [
      'half a range',
      [HEADER, '{"time":1,"kind":"throttling","delay":1,"start":2}'],
      'trace line 2: throttling has the range 2 to missing, wanted start <= end, or neither',
    ],
  ])('refuses %s', (_name, lines, message) => {
    expect(refusal(...lines)).toBe(message)
  })

  it('refuses a kind that is not known, and lists the known ones', () => {
    const message = refusal(HEADER, '{"time":1,"kind":"toString"}')

    expect(message).toContain('trace line 2: kind is "toString", wanted one of device, device-lost, alloc,')
  })

  it('refuses a line that was cut off, and says which', () => {
    expect(refusal(HEADER, FAULT, FAULT.slice(0, 30))).toMatch(/^trace line 3: /)
  })
})

describe('JsonlReader', () => {
  function read(...pieces: string[]) {
    const times: number[] = []
    const reader = new JsonlReader(({ time }) => times.push(time))
    for (const piece of pieces) reader.push(piece)
    return { reader, times }
  }

  it('takes the text in any pieces, and hands out an event as soon as its line is there', () => {
    const text = `${HEADER}\n${FAULT}\n${FAULT.replace('1', '2')}`
    for (let i = 0; i < text.length; i++) {
      const { reader, times } = read(text.slice(0, i), text.slice(i))
      expect(times).toEqual([1])
      expect(reader.end()).toBe(false)
      expect(times).toEqual([1, 2])
    }
  })

  it('hands out the header', () => {
    const header = { timeUnit: 'us', program: 'saxpy.ts', mode: 'explicit', started: '2026-11-21T12:00:00Z' } as const

    expect(read(formatJsonl({ ...header, events: [] })).reader.header).toEqual(header)
    expect(() => read('').reader.header).toThrow('trace: no header line')
  })

  it('end() leaves out half a line if it is told that the program may have been killed', () => {
    const pieces = [`${HEADER}\n${FAULT}\n`, FAULT.slice(0, 30)]

    expect(() => read(...pieces).reader.end()).toThrow(/^trace line 3: /)
    const { reader, times } = read(...pieces)
    expect(reader.end({ lastLineMayBeCut: true })).toBe(true)
    expect(times).toEqual([1])
    expect(() => read(HEADER.slice(0, 20)).reader.end({ lastLineMayBeCut: true })).toThrow(/^trace line 1: /)
  })
})

describe('JsonlSink', () => {
  it('hands out the header, then one line per event with the common fields first', () => {
    const lines: string[] = []
    const tracer = new EventTracer()
    tracer.addSink(new JsonlSink((line) => lines.push(line), { timeUnit: tracer.timeUnit }))

    tracer.emit({ kind: 'cpu-fault', access: 'read', end: 8192, start: 4096 })

    expect(lines).toEqual([`${HEADER}\n`, `${FAULT}\n`])
  })
})
