// A GPU that goes away in the middle of a launch, one that is bound directly and one that goes through a page table: the launch rejects by
// name, whatever could come back is what it was before the launch or after it, and the heap goes on with its other device.

import { beforeEach, describe, expect, it } from 'vitest'
import { type Heap, type HeapView, kernel, openHeap, read, readWrite, u32 } from '../../src/index.ts'
import { openGpu, whyNoGpu } from '../helpers/gpu.ts'
import { checkGpuHeap } from '../helpers/gpu-heap.ts'
import { scatterPlaces } from '../workloads/workload.ts'

const missing = await whyNoGpu()

const MAIN = '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u)'
const LENGTH = 30 * 1024
const KERNELS = {
  direct: kernel({
    name: 'add',
    args: { at: read(u32), x: read(u32), y: readWrite(u32) },
    code: `${MAIN} { y[id.x] += x[id.x] + at[id.x] - at[id.x]; }`,
  }),
  paged: kernel({
    name: 'scatter',
    args: { at: read(u32), x: read(u32), y: readWrite(u32) },
    code: `${MAIN} { let k = at[id.x]; y[k] += x[k]; }`,
  }),
} as const

/** Reads what can be read; false if it is lost. */
async function isThere(heap: Heap, view: HeapView): Promise<boolean> {
  return await heap.sync(view).then(
    () => true,
    (error: { code: string }) => {
      expect(error.code).toBe('LOST')
      return false
    },
  )
}

describe.each(['direct', 'paged'] as const)('a GPU that goes away in the middle of a %s launch', (way) => {
  beforeEach((test) => {
    if (missing !== null) test.skip(missing)
  })

  // Later than that the launch has ended on a quick machine.
  it.each([0, 2, 5, 10, 20, 40])('%d turns of the event loop later', async (turns) => {
    const gpuDevice = await openGpu()
    const device = [
      { name: 'doomed', gpuDevice, memory: '64 KiB' },
      { name: 'other', memory: '64 KiB', adapter: 'software' },
    ] as const
    const heap = await openHeap({ mode: 'explicit', size: '16 MiB', device, onNotice: () => {} })
    const count = way === 'direct' ? LENGTH : 1024
    const at = scatterPlaces(heap.alloc(Uint32Array, LENGTH, { name: 'places' }), LENGTH)
    const x = heap.alloc(Uint32Array, LENGTH, { name: 'numbers' })
    const y = heap.alloc(Uint32Array, LENGTH, { name: 'sums' }).fill(7)
    x.forEach((_, i) => {
      x[i] = i + 1
    })

    const running = heap.run(KERNELS[way], { at, x, y }, count, { device: 'doomed' }).then(
      () => null,
      (error: unknown) => error,
    )
    for (let i = 0; i < turns; i++) await new Promise(setImmediate)
    gpuDevice.destroy()
    const error = await running
    if (turns === 0) expect(error).not.toBeNull()
    if (error !== null) {
      expect(error).toMatchObject({ code: 'LOST', message: expect.stringMatching(/^LOST: doomed is lost: .+/) })
    }
    await gpuDevice.lost
    checkGpuHeap(heap)

    // What was only read is whole. What was written is what it was, or what it was to be, or is lost and refused.
    expect(await isThere(heap, x)).toBe(true)
    expect(await isThere(heap, at)).toBe(true)
    expect(x.findIndex((value, i) => value !== i + 1)).toBe(-1)
    let nlost = 0
    for (let page = 0; page < LENGTH; page += 1024) {
      const part = y.subarray(page, page + 1024)
      if (!(await isThere(heap, part))) nlost++
      else expect(part.findIndex((value, i) => value !== 7 && value !== 8 + page + i)).toBe(-1)
    }
    if (nlost > 0) {
      await expect(heap.run(KERNELS[way], { at, x, y }, count, { device: 'other' })).rejects.toMatchObject({
        code: 'LOST',
        message: expect.stringContaining('"sums"'),
      })
    }
    const few = { at: at.subarray(0, 64), x: x.subarray(0, 64), y: heap.alloc(Uint32Array, 64) }
    await expect(heap.run(KERNELS[way], few, 64, { device: 'doomed' })).rejects.toMatchObject({ code: 'LOST' })

    await heap.discard(y)
    await heap.run(KERNELS[way], { at, x, y }, count, { device: 'other' })
    await heap.sync(y)
    const sums = new Uint32Array(LENGTH)
    for (let i = 0; i < count; i++) sums[way === 'direct' ? i : at[i]] = x[way === 'direct' ? i : at[i]]
    expect(y.findIndex((value, i) => value !== sums[i])).toBe(-1)
    checkGpuHeap(heap)
    await heap.close()
  })
})
