import { describe, expect, it } from 'vitest'
import type { NewEvent, TraceEvent } from './events.ts'
import { EventTracer, NO_TRACE, type Sink } from './tracer.ts'

class ListSink implements Sink {
  readonly events: TraceEvent[] = []
  write(event: TraceEvent): void {
    this.events.push(event)
  }
}

function cpuFault(start = 0x1000): NewEvent {
  return { kind: 'cpu-fault', start, end: start + 0x1000, access: 'read' }
}

function invalidation(): NewEvent {
  return { kind: 'invalidation', start: 0, end: 0x1000, event: 'CLEAR', nsubscribers: 1 }
}

describe('EventTracer', () => {
  it('emit() stamps the event with the clock and hands it to every sink, in order', () => {
    const sinks = [new ListSink(), new ListSink()]
    let now = 100
    const tracer = new EventTracer({ sinks, clock: () => now++ })

    tracer.emit(cpuFault(0x1000))
    tracer.emit(cpuFault(0x2000))

    for (const sink of sinks) {
      expect(sink.events).toEqual([
        { kind: 'cpu-fault', start: 0x1000, end: 0x2000, access: 'read', time: 100 },
        { kind: 'cpu-fault', start: 0x2000, end: 0x3000, access: 'read', time: 101 },
      ])
    }
    expect(tracer.timeUnit).toBe('us')
  })

  it('emit() counts recorded events from 1 where there is no clock', () => {
    const sink = new ListSink()
    const tracer = new EventTracer({ sinks: [sink] })

    tracer.emit(cpuFault())
    tracer.emit(invalidation()) // not recorded, so it takes no number
    tracer.emit(cpuFault())

    expect(sink.events.map((event) => event.time)).toEqual([1, 2])
    expect(tracer.timeUnit).toBe('step')
  })

  it.each([
    { level: 'off', on: false, verbose: false, kinds: [] },
    { level: 'events', on: true, verbose: false, kinds: ['cpu-fault'] },
    { level: 'verbose', on: true, verbose: true, kinds: ['cpu-fault', 'invalidation'] },
  ] as const)('emit() at level $level records $kinds', ({ level, on, verbose, kinds }) => {
    const sink = new ListSink()
    const tracer = new EventTracer({ level, sinks: [sink] })

    tracer.emit(cpuFault())
    tracer.emit(invalidation())

    expect(tracer).toMatchObject({ level, on, verbose })
    expect(sink.events.map((event) => event.kind)).toEqual(kinds)
    expect(tracer.counters.total.cpuFaults).toBe(on ? 1 : 0)
    expect(tracer.counters.total.invalidations).toBe(verbose ? 1 : 0)
  })

  it('setLevel() switches while the program runs', () => {
    const sink = new ListSink()
    const tracer = new EventTracer({ level: 'off', sinks: [sink] })

    tracer.emit(cpuFault(0x1000))
    tracer.setLevel('events')
    tracer.emit(cpuFault(0x2000))
    tracer.setLevel('off')
    tracer.emit(cpuFault(0x3000))

    expect(sink.events.map((event) => event.start)).toEqual([0x2000])
  })

  it('emit() names the allocation that holds the start, unless the event has a name or there is none', () => {
    const sink = new ListSink()
    const tracer = new EventTracer({ sinks: [sink], allocationAt: (addr) => (addr < 0x5000 ? 'x' : undefined) })

    tracer.emit(cpuFault(0x1000))
    tracer.emit({ ...cpuFault(0x1000), allocation: 'own' })
    tracer.emit(cpuFault(0x9000))
    tracer.emit({ kind: 'replay', device: 'gpu', count: 1 })

    expect(sink.events.map((event) => event.allocation)).toEqual(['x', 'own', undefined, undefined])
    expect('allocation' in (sink.events[2] as object)).toBe(false)
    expect([...tracer.counters.byAllocation.keys()]).toEqual(['x', 'own'])
  })

  it('emit() takes off a sink that throws, keeps its error and goes on', () => {
    const failing: Sink = {
      write() {
        throw new Error('disk full')
      },
    }
    const sink = new ListSink()
    const tracer = new EventTracer({ sinks: [failing, sink] })

    tracer.emit(cpuFault())
    tracer.emit(cpuFault())

    expect(sink.events.length).toBe(2)
    expect(tracer.failures).toEqual([new Error('disk full')])
  })

  it('addSink() and removeSink() change where events go', () => {
    const sink = new ListSink()
    const tracer = new EventTracer()

    tracer.emit(cpuFault(0x1000))
    tracer.addSink(sink)
    tracer.emit(cpuFault(0x2000))
    expect(tracer.removeSink(sink)).toBe(true)
    tracer.emit(cpuFault(0x3000))

    expect(sink.events.map((event) => event.start)).toEqual([0x2000])
    expect(tracer.removeSink(sink)).toBe(false)
  })

  it('close() stops and closes every sink once, whatever another one does', () => {
    const closed: string[] = []
    const sink = (name: string, error?: Error): Sink => ({
      write() {},
      close() {
        closed.push(name)
        if (error !== undefined) throw error
      },
    })
    const tracer = new EventTracer({ level: 'verbose', sinks: [sink('a', new Error('disk full')), sink('b')] })

    tracer.close()
    tracer.close()

    expect(closed).toEqual(['a', 'b'])
    expect(tracer).toMatchObject({ on: false, verbose: false, failures: [new Error('disk full')] })
  })

  it('resetCounters() starts at zero and leaves the old counters to their holder', () => {
    const tracer = new EventTracer()
    tracer.emit(cpuFault())
    const before = tracer.counters

    tracer.resetCounters()
    tracer.emit(cpuFault())
    tracer.emit(cpuFault())

    expect(before.total.cpuFaults).toBe(1)
    expect(tracer.counters.total.cpuFaults).toBe(2)
  })
})

describe('NO_TRACE', () => {
  it('is off and cannot be switched on', () => {
    expect([NO_TRACE.on, NO_TRACE.verbose]).toEqual([false, false])
    expect(() => {
      ;(NO_TRACE as { on: boolean }).on = true
    }).toThrow(TypeError)
  })
})
