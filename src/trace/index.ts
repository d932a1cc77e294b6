/** Traces: events, the tracer that records them, sinks that keep them, counters over them. */

export * from './batch-sink.ts'
export * from './counters.ts'
export * from './events.ts'
export * from './jsonl.ts'
export * from './perfetto.ts'
export * from './residency.ts'
export * from './ring-sink.ts'
export * from './schema.ts'
export * from './sink.ts'
export * from './tracer.ts'
