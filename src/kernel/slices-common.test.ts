import { expect, test } from 'vitest'
import { PAGE_SIZE } from '../base/addr.ts'
import { kernel, read, readWrite, u32 } from './index.ts'
import { prepareLaunch } from './launch.ts'
import { countPages, planSlices } from './slices.ts'

const gather = kernel({
  name: 'gather',
  args: { table: read(u32, { slice: 'whole' }), index: read(u32), out: readWrite(u32) },
  code: `@compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) { out[id.x] = table[index[id.x]]; }`,
})

test('planSlices() counts once what two slices have in common', () => {
  const words = PAGE_SIZE / 4
  const [table, index, out] = [
    new Uint32Array(600 * words),
    new Uint32Array(2000 * words),
    new Uint32Array(2000 * words),
  ]
  // One after the other, from page 16 on.
  const starts = new Map<ArrayBufferLike, number>([
    [table.buffer, 16],
    [index.buffer, 1000],
    [out.buffer, 4000],
  ])
  const locate = (view: ArrayBufferView) => {
    const start = PAGE_SIZE * starts.get(view.buffer)!
    return { start, end: start + view.byteLength, arrayStart: start, arrayEnd: start + view.byteLength }
  }
  const { launch } = prepareLaunch(gather, { table, index, out }, index.length, { locate, strict: false })
  const limits = { npages: 1000, bindingBytes: 2 ** 27 }
  const slices = planSlices(launch, limits)
  for (let i = 1; i < slices.length; i++) {
    expect(countPages([...slices[i - 1].ranges, ...slices[i].ranges])).toBeLessThanOrEqual(limits.npages)
  }
  // 1000 pages less the table are 400, for two slices that have 200 pages each, half of them for each array.
  expect(slices.length).toBe(20)
})
