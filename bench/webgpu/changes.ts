// Data that the device has, and of which the program changes a hundredth between two launches. A live heap sees which pages were
// written; by hand everything goes over again. The kernel needs all of the data on the device and reads little of it, so what is measured
// is how the data gets there.

import { f32, kernel, openHeap, read, readWrite } from '../../src/index.ts'
import type { Contest, Measure } from '../harness.ts'
import { PlainGpu, type PlainKernel } from './plain-gpu.ts'
import { milliseconds } from './resident.ts'

const PAGE_WORDS = 1024
const PAGES_PER_MIB = 256

/** Words that the kernel reads, one workgroup, evenly spread. */
const NSAMPLES = 64

/** Launches that are measured together: what has just been uploaded on the other side is not in the caches any more. */
const LAUNCHES = 8

/** The data, and how it changes. */
export interface Changes {
  readonly mib: number
  /** Pages change in runs of so many, spread over the data. */
  readonly runPages: number
  /**
   * No command has ever written the buffer of the plain way: where device and CPU share memory, Dawn writes it directly then. All arrays of a
   * heap lie in one buffer, which kernels write.
   */
  readonly isFresh: boolean
}

/** In launches per second. */
export async function prepareChanges(changes: Changes): Promise<Contest> {
  const { mib } = changes
  const heap = await openHeap({ mode: 'live', device: { memory: `${mib + 16} MiB` } })
  const x = heap.alloc(Float32Array, lengthOf(changes)).fill(1)
  const y = heap.alloc(Float32Array, NSAMPLES)
  const sample = kernel({
    name: 'sample',
    args: { x: read(f32), y: readWrite(f32) },
    code: `
      @compute @workgroup_size(${NSAMPLES})
      fn main(@builtin(global_invocation_id) id: vec3u) { ${sampleOf(changes)} }`,
  })
  return {
    candidate: launches(x, changes, () => heap.run(sample, { x, y }, NSAMPLES)),
    baseline: await prepareFullUpload(changes),
  }
}

/** What no heap can beat in that: plain WebGPU that is told which pages were changed, and sends these. */
export async function prepareChangesAtBest(changes: Changes): Promise<Contest> {
  const { gpu, all, buffer, plain } = await openPlain(changes)
  const nwords = changes.runPages * PAGE_WORDS
  const launch = async (runs: readonly number[]): Promise<void> => {
    for (const first of runs) {
      const from = first * PAGE_WORDS
      gpu.device.queue.writeBuffer(buffer, 4 * from, all, from, nwords)
    }
    // The device copies while the launch is recorded.
    if (!changes.isFresh) gpu.device.queue.submit([])
    gpu.submit(plain, 1)
    await gpu.done()
  }
  return { candidate: launches(all, changes, launch), baseline: await prepareFullUpload(changes) }
}

async function prepareFullUpload(changes: Changes): Promise<Measure> {
  const { gpu, all, buffer, plain } = await openPlain(changes)
  const upload = await gpu.fastestUpload(buffer, new Uint8Array(all.buffer))
  return launches(all, changes, async () => {
    upload()
    gpu.submit(plain, 1)
    await gpu.done()
  })
}

/** Some launches one after the other, as a program has them: changes, launch, changes, launch. In launches per second, without the changes. */
function launches(
  array: Float32Array,
  changes: Changes,
  launch: (runs: readonly number[]) => Promise<unknown>,
): Measure {
  let round = 0
  return async () => {
    let ms = 0
    for (let i = 0; i < LAUNCHES; i++) {
      const runs = change(array, changes, ++round)
      ms += await milliseconds(() => launch(runs))
    }
    return (1000 * LAUNCHES) / ms
  }
}

async function openPlain(changes: Changes): Promise<Plain> {
  const gpu = await PlainGpu.open()
  const all = new Float32Array(lengthOf(changes)).fill(1)
  const buffer = gpu.buffer(all.byteLength)
  if (!changes.isFresh) gpu.clear(buffer, 4)
  gpu.device.queue.writeBuffer(buffer, 0, all)
  const code = `
    @group(0) @binding(0) var<storage, read> x: array<f32>;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(${NSAMPLES})
    fn main(@builtin(global_invocation_id) id: vec3u) { ${sampleOf(changes)} }`
  return { gpu, all, buffer, plain: gpu.kernel(code, [buffer, gpu.buffer(4 * NSAMPLES)]) }
}

interface Plain {
  readonly gpu: PlainGpu
  readonly all: Float32Array<ArrayBuffer>
  readonly buffer: GPUBuffer
  readonly plain: PlainKernel
}

function lengthOf({ mib }: Changes): number {
  return mib * PAGES_PER_MIB * PAGE_WORDS
}

function sampleOf(changes: Changes): string {
  return `y[id.x] = x[${lengthOf(changes) / NSAMPLES} * id.x];`
}

/** Changes a word in each page of the runs, a hundredth of all pages. Returns the first page of each run. */
function change(array: Float32Array, { mib, runPages }: Changes, value: number): number[] {
  const npages = mib * PAGES_PER_MIB
  const nruns = Math.max(1, Math.round(npages / 100 / runPages))
  const stride = Math.floor(npages / nruns)
  return Array.from({ length: nruns }, (_, run) => {
    const first = run * stride + (value % Math.max(1, stride - runPages))
    for (let page = first; page < first + runPages; page++) array[page * PAGE_WORDS] = value
    return first
  })
}
