// The heaps of the main job: all have one WebGPU device, and differ in what it may use.

import { type Heap, type HeapMode, openHeap } from '../index.ts'
import type { Sink } from '../trace/sink.ts'
import type { MainJob } from './command-line.ts'

export interface JobHeapOptions extends Pick<MainJob, 'mode' | 'memory'> {
  /** What the device may use. */
  readonly deviceBytes: number
  /** What all arrays take. Where system memory is limited, there is swap for as much. */
  readonly arrayBytes: number
  /** Default: none. */
  readonly sinks?: readonly Sink[]
  /** Path of a trace for Perfetto. Default: none. */
  readonly tracePath?: string | null
  /** Takes what the heap has to say about itself. Default: nobody does, as it was said of an earlier heap. */
  readonly onNotice?: (text: string) => void
}

/** Those of withJobHeap: one at a time, but comparisons have a second. */
const openHeaps = new Set<Heap>()

/** Ends what devices are doing, for a process that ends in the middle: they complain of whoever leaves them alone. Never rejects. */
export async function closeJobHeaps(): Promise<void> {
  await Promise.allSettled([...openHeaps].map((heap) => heap.close()))
}

/** Opens a heap. Rejects as openHeap does. */
export async function openJobHeap(options: JobHeapOptions): Promise<Heap> {
  const { mode, memory, deviceBytes, arrayBytes, sinks = [], tracePath = null, onNotice = () => {} } = options
  return await openHeap({
    mode,
    device: { memory: deviceBytes },
    ...(memory !== null && { memory, swap: arrayBytes }),
    trace: { sinks, ...(tracePath !== null && { perfetto: tracePath }) },
    // The program is known to be right, and its speed is to be seen.
    check: false,
    onNotice,
  })
}

/** The same for as long as `use` takes. Rejects as `use` does, too. */
export async function withJobHeap<Result>(
  options: JobHeapOptions,
  use: (heap: Heap) => Promise<Result>,
): Promise<Result> {
  const heap = await openJobHeap(options)
  openHeaps.add(heap)
  try {
    return await use(heap)
  } finally {
    openHeaps.delete(heap)
    await heap.close()
  }
}

const MODES: Readonly<Record<HeapMode, string>> = {
  live: 'live mode',
  'live-user': 'live mode without privileges',
  explicit: 'explicit mode',
}

/** 'live mode, on SwiftShader driver 5.0.0 (dawn-software), software on the CPU and slow'. */
export async function describeHeap(heap: Heap): Promise<string> {
  const [{ hardware, note }] = (await heap.stats()).devices
  return `${MODES[heap.mode]}, on ${describeDevice(hardware, note)}`
}

/** Whether the kernels run on the cores of the CPU, too: devices say so in words. */
export async function isOnSoftware(heap: Heap): Promise<boolean> {
  const [{ note }] = (await heap.stats()).devices
  return note?.includes('software on the CPU') === true
}

/** What one should know about a device may begin with its name. */
function describeDevice(hardware: string, note: string | null): string {
  if (note === null) return hardware
  const beginning = `it is ${hardware}`
  return note.startsWith(beginning) ? hardware + note.slice(beginning.length) : `${hardware}: ${note}`
}
