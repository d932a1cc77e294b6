// An explicit heap whose array goes through a device of half its size again and again, traced in one way or another. The engine
// runs on this thread, and files are written before a round has ended, so all that tracing costs is in the figures.

import { mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { PAGE_SIZE } from '../../src/base/addr.ts'
import { MIB } from '../../src/base/size.ts'
import { engineOf } from '../../src/heap/heap-engines.ts'
import { openHeap } from '../../src/index.ts'
import type { Level } from '../../src/trace/events.ts'
import { type Contest, cpuTimeNsAsync, type Measure } from '../harness.ts'

export const TRACINGS = [
  'default', // a heap as it is opened: counters
  'jsonl', // a trace in JSON lines
  'files', // that and one for Perfetto
  'sites', // JSON lines with the lines of the program
] as const
export type Tracing = (typeof TRACINGS)[number]

export interface Streaming {
  /** Bytes that go to the device at once. */
  readonly blockBytes: number
  /** Blocks in a round. */
  readonly nblocks: number
}

const DEVICE_BYTES = 16 * MIB
const ARRAY_BYTES = 2 * DEVICE_BYTES
/** Files are emptied from then on: what is measured is the writing, not the disk that fills up. */
const FILE_BYTES_MAX = 64 * MIB
/** Milliseconds after which a trace file has all events of a round (src/heap/trace-files.ts): the round that made them pays for them. */
const WRITTEN_MS = 220

/**
 * The same heap with the tracer on and off by turns. Two heaps would differ by up to five percent before anything is traced, by
 * where their memory lies. Lines of the program are looked up before the tracer is asked, so `sites` needs a heap without.
 */
export async function prepareTracing(tracing: Tracing, streaming: Streaming): Promise<Contest> {
  const traced = await openStreaming(tracing, streaming)
  const plain = tracing === 'sites' ? await openStreaming('default', streaming) : traced
  return { candidate: () => traced.round('events'), baseline: () => plain.round('off') }
}

/** Rounds with the tracer off. */
export async function prepareUntraced(streaming: Streaming): Promise<Measure> {
  const heap = await openStreaming('default', streaming)
  return () => heap.round('off')
}

interface StreamingHeap {
  /** Brings blocks to the device for writing, which pushes others out; small ones are taken back one by one. Nanoseconds per block. */
  round(level: Level): Promise<number>
}

async function openStreaming(tracing: Tracing, { blockBytes, nblocks }: Streaming): Promise<StreamingHeap> {
  const folder = mkdtempSync(join(tmpdir(), 'hetmem-bench-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const files = {
    ...(tracing !== 'default' && { jsonl: join(folder, 'run.jsonl') }),
    ...(tracing === 'files' && { perfetto: join(folder, 'run.json') }),
  }
  const heap = await openHeap({
    mode: 'explicit',
    check: false,
    device: { kind: 'memory', memory: DEVICE_BYTES },
    trace: { ...files, sites: tracing === 'sites' },
  })
  const { tracer } = engineOf(heap)
  const array = heap.alloc(Uint8Array, ARRAY_BYTES, { name: 'array' }).fill(1)

  let at = 0
  async function stream(): Promise<void> {
    for (let i = 0; i < nblocks; i++) {
      await heap.prefetch(array.subarray(at, at + blockBytes), { access: 'readWrite' })
      if (blockBytes === PAGE_SIZE) await heap.sync(array.subarray(at, at + PAGE_SIZE))
      at = (at + blockBytes) % ARRAY_BYTES
    }
    await setTimeout(WRITTEN_MS)
  }
  return {
    async round(level) {
      for (const file of Object.values(files)) {
        if (statSync(file).size > FILE_BYTES_MAX) truncateSync(file)
      }
      tracer.setLevel(level)
      return (await cpuTimeNsAsync(stream)) / nblocks
    },
  }
}
