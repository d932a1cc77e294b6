// An explicit heap whose array goes through a device of half its size again and again, traced in one way or another. The engine
// runs on this thread, so whatever tracing costs is in the figures.

import { mkdtempSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PAGE_SIZE } from '../../src/base/addr.ts'
import { MIB } from '../../src/base/size.ts'
import { engineOf } from '../../src/heap/heap-engines.ts'
import { openHeap } from '../../src/index.ts'
import { cpuTimeNsAsync, type Measure } from '../harness.ts'

export const TRACINGS = [
  'off', // the tracer does nothing
  'default', // a heap as it is opened: counters
  'jsonl', // a trace in JSON lines
  'files', // that and one for Perfetto
  'sites', // JSON lines with the lines of the program
] as const
export type Tracing = (typeof TRACINGS)[number]

export interface Streaming {
  readonly tracing: Tracing
  /** Bytes that go to the device at once. */
  readonly blockBytes: number
  /** Blocks in a round. */
  readonly nblocks: number
}

const DEVICE_BYTES = 16 * MIB
const ARRAY_BYTES = 2 * DEVICE_BYTES
/** Files are emptied from then on: what is measured is the writing, not the disk that fills up. */
const FILE_BYTES_MAX = 64 * MIB

/** A round brings blocks to the device for writing, which pushes others out; small ones are taken back one by one. */
export async function prepareStreaming({ tracing, blockBytes, nblocks }: Streaming): Promise<Measure> {
  const folder = mkdtempSync(join(tmpdir(), 'hetmem-bench-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const jsonl = join(folder, 'run.jsonl')
  const perfetto = join(folder, 'run.json')
  const trace = {
    ...(['jsonl', 'files', 'sites'].includes(tracing) && { jsonl }),
    ...(tracing === 'files' && { perfetto }),
    sites: tracing === 'sites',
  }
  const heap = await openHeap({
    mode: 'explicit',
    check: false,
    device: { kind: 'memory', memory: DEVICE_BYTES },
    trace,
  })
  if (tracing === 'off') engineOf(heap).tracer.setLevel('off')
  const array = heap.alloc(Uint8Array, ARRAY_BYTES, { name: 'array' }).fill(1)

  let at = 0
  return async () => {
    for (const file of Object.values({ ...(trace.jsonl && { jsonl }), ...(trace.perfetto && { perfetto }) })) {
      if (statSync(file).size > FILE_BYTES_MAX) truncateSync(file)
    }
    const ns = await cpuTimeNsAsync(async () => {
      for (let i = 0; i < nblocks; i++) {
        await heap.prefetch(array.subarray(at, at + blockBytes), { access: 'readWrite' })
        if (blockBytes === PAGE_SIZE) await heap.sync(array.subarray(at, at + PAGE_SIZE))
        at = (at + blockBytes) % ARRAY_BYTES
      }
    })
    return ns / nblocks
  }
}
