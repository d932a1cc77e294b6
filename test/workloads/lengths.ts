// Exactly as many invocations as were asked for, at lengths around the sizes of workgroups and of dispatches, and far beyond the device,
// which has a quarter of the data.

import { f32, type HeapOptions, kernel, openHeap, read, readWrite, uniform } from '../../src/index.ts'

/** 4,194,241 is one more than 65,535 workgroups of 64 have, the most of one dispatch. */
export const LENGTHS = [1, 63, 65, 4_194_241] as const

/** Two arrays of 191 MiB. */
export const LONG = 50_000_001

const addScaled = kernel({
  name: 'add scaled',
  args: { x: read(f32), y: readWrite(f32), a: uniform(f32) },
  code: `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] += a * x[id.x]; }`,
})

/** The first element that is wrong, and what it is; 'right' if none is. */
export async function runLength(n: number, options: HeapOptions = {}): Promise<string> {
  const memory = 4096 * Math.max(8, Math.ceil((8 * n) / 4 / 4096))
  const heap = await openHeap({ check: false, device: { memory }, onNotice: () => {}, ...options })
  try {
    // One element more, which no invocation is for.
    const [x, y] = [heap.alloc(Float32Array, n), heap.alloc(Float32Array, n + 1)]
    for (let i = 0; i < n; i++) x[i] = i & 0xffff
    y.fill(5)
    const { slices } = await heap.run(addScaled, { x, y, a: 3 }, n)
    if (n > 8 * 1024 && slices < 4) return `${slices} slices, wanted at least 4`
    await heap.sync(y)
    for (let i = 0; i < n; i++) if (y[i] !== 5 + 3 * (i & 0xffff)) return `y[${i}] is ${y[i]}`
    return y[n] === 5 ? 'right' : `y[${n}], behind the end, is ${y[n]}`
  } finally {
    await heap.close()
  }
}
