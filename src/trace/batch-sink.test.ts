import { describe, expect, it } from 'vitest'
import { BatchSink } from './batch-sink.ts'
import type { TraceEvent } from './events.ts'
import { EventTracer } from './tracer.ts'

function makeBatches(eventsMax: number) {
  const batches: TraceEvent[][] = []
  const scheduled: (() => void)[] = []
  const sink = new BatchSink({
    post: (events) => batches.push(structuredClone(events)),
    schedule: (flush) => scheduled.push(flush),
    eventsMax,
  })
  const tracer = new EventTracer({ sinks: [sink] })
  const emit = (count: number) => {
    for (let i = 0; i < count; i++) tracer.emit({ kind: 'throttling', delay: 1 })
  }
  return { tracer, scheduled, emit, times: () => batches.map((batch) => batch.map(({ time }) => time)) }
}

describe('BatchSink', () => {
  it('sends full batches at once and the rest when it is called back, in order', () => {
    const { emit, scheduled, times } = makeBatches(3)

    emit(7)
    expect(times()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ])
    expect(scheduled.length).toBe(3) // with the first event of each batch
    scheduled.at(-1)?.()

    expect(times()).toEqual([[1, 2, 3], [4, 5, 6], [7]])
  })

  it('sends what is left when the tracer is closed, and nothing twice', () => {
    const { tracer, emit, scheduled, times } = makeBatches(512)

    emit(2)
    tracer.close()
    for (const flush of scheduled) flush()

    expect(times()).toEqual([[1, 2]])
    expect(tracer.on).toBe(false)
  })
})
