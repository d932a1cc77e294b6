// The first part of the main job: the program of the README. Arrays that are larger than the device's memory, a kernel over all of
// them, and then the CPU touches one element of what the device has written.

import { formatSize } from '../base/size.ts'
import type { Terminal } from '../cli/terminal.ts'
import { f32, type Heap, kernel, read, readWrite, uniform } from '../index.ts'
import { sumByCause } from '../trace/counters.ts'
import { count, fact } from './layout.ts'

const SAXPY = kernel({
  name: 'saxpy',
  args: { x: read(f32), y: readWrite(f32), a: uniform(f32) },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] += a * x[id.x]; }`,
})

/** The element that is touched, counted from the end: that is what the device still has. */
const TOUCHED_FROM_END = 12_345

/** Elements of each array: together they are four times as large as the device. */
export function saxpyLength(deviceBytes: number): number {
  return (2 * deviceBytes) / Float32Array.BYTES_PER_ELEMENT + 1
}

/** Runs it, and returns how many bytes of arrays the kernel got through in a second. Rejects if a result is wrong. */
export async function runSaxpyPart(heap: Heap, deviceBytes: number, out: Terminal): Promise<number> {
  const n = saxpyLength(deviceBytes)
  const x = heap.alloc(Float32Array, n, { name: 'x' })
  const y = heap.alloc(Float32Array, n, { name: 'y' })
  x.fill(1)
  const size = `${count(n)} floats each, ${formatSize(x.byteLength + y.byteLength)} in all`
  fact(out, 'x, y', `${size}; the device has ${formatSize(deviceBytes)}`)
  const begunAt = performance.now()
  const receipt = await heap.run(SAXPY, { x, y, a: 2 }, n)
  const seconds = (performance.now() - begunAt) / 1000
  fact(out, 'y += 2 * x', `${receipt}`)
  fact(out, 'touch', await touch(heap, y))
  await heap.sync(y, 'read')
  const wrong = y.findIndex((value) => value !== 2)
  if (wrong >= 0) throw new Error(`y[${wrong}] is ${y[wrong]}, wanted 2`)
  fact(out, 'checked', `all ${count(n)} elements of y are 2`)
  heap.free(x)
  heap.free(y)
  return (x.byteLength + y.byteLength) / seconds
}

/** Reads an element, and says what that took: 'y[12345] = 2: page fault, 64 KiB from the GPU, 0.09 ms'. */
async function touch(heap: Heap, y: Float32Array): Promise<string> {
  const i = y.length - TOUCHED_FROM_END
  const isTrapped = heap.mode !== 'explicit'
  const before = sumByCause((await heap.stats()).counters.bytesDeviceToHost)
  const begunAt = performance.now()
  // Where nobody traps the CPU, it has to ask.
  if (!isTrapped) await heap.sync(y.subarray(i, i + 1), 'read')
  const value = y[i]
  const ms = performance.now() - begunAt
  const nbytes = sumByCause((await heap.stats()).counters.bytesDeviceToHost) - before
  const how = isTrapped ? 'page fault' : 'sync'
  return `y[${i}] = ${value}: ${how}, ${formatSize(nbytes)} from the GPU, ${ms.toFixed(2)} ms`
}
