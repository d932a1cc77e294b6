import { describe, expect, it } from 'vitest'
import { read, write } from './argument.ts'
import { f32 } from './data-type.ts'
import { dispatchesOf } from './dispatches.ts'
import type { Extent } from './grid.ts'
import { kernel } from './kernel.ts'
import { prepareLaunch } from './launch.ts'
import { planSlices } from './slices.ts'

/** The dispatches of each slice of a launch in workgroups of 4 x 2 x 1, as `form: first + size`. */
function dispatches(count: Extent, { max = 10, workgroups = 1e6 } = {}): string[][] {
  const one = kernel({
    args: { x: read(f32), y: write(f32) },
    code: `@compute @workgroup_size(4, 2) fn main(@builtin(global_invocation_id) id: vec3u) {
      y[id.x + id.y + id.z] = x[id.x];
    }`,
  })
  const array = new Float32Array(new ArrayBuffer(8192), 4096, 1000)
  const other = new Float32Array(new ArrayBuffer(16384), 12288, 1000)
  const locate = (view: ArrayBufferView) => {
    const { byteOffset: start, byteLength } = view
    return { start, end: start + byteLength, arrayStart: start, arrayEnd: start + byteLength }
  }
  const { launch } = prepareLaunch(one, { x: array, y: other }, count, { locate, strict: false })
  const slices = planSlices(launch, { npages: 100, bindingBytes: 2 ** 20, workgroups })
  return slices.map((slice) =>
    dispatchesOf(launch, slice, max).map(({ form, box }) => `${form}: ${box.first} + ${box.size}`),
  )
}

describe('dispatchesOf()', () => {
  it('has one for full workgroups', () => {
    expect(dispatches([16, 6])).toEqual([['whole: 0,0,0 + 4,3,1']])
  })

  it('has others for the edges, where workgroups are not full', () => {
    expect(dispatches([17, 7])).toEqual([['whole: 0,0,0 + 4,3,1', 'direct: 4,0,0 + 1,4,1', 'direct: 0,3,0 + 4,1,1']])
    expect(dispatches([17, 6, 2])).toEqual([['whole: 0,0,0 + 4,3,2', 'direct: 4,0,0 + 1,3,2']])
    expect(dispatches(3)).toEqual([['direct: 0,0,0 + 1,1,1']])
  })

  it('cuts what one dispatch cannot do, and only the first begins where ids do', () => {
    expect(dispatches([104, 6])).toEqual([
      ['whole: 0,0,0 + 10,3,1', 'direct: 10,0,0 + 10,3,1', 'direct: 20,0,0 + 6,3,1'],
    ])
    expect(dispatches([8, 24, 11])).toEqual([
      ['whole: 0,0,0 + 2,10,10', ...['direct: 0,10,0 + 2,2,10', 'direct: 0,10,10 + 2,2,1', 'direct: 0,0,10 + 2,10,1']],
    ])
  })

  it('slices of parts of arguments are in the indexed form', () => {
    expect(dispatches([100, 2], { workgroups: 9, max: 5 })).toEqual([
      ['indexed: 0,0,0 + 5,1,1', 'indexed: 5,0,0 + 4,1,1'],
      ['indexed: 9,0,0 + 5,1,1', 'indexed: 14,0,0 + 4,1,1'],
      ['indexed: 18,0,0 + 5,1,1', 'indexed: 23,0,0 + 2,1,1'],
    ])
  })

  it('covers each workgroup once', () => {
    for (const count of [
      [50, 30, 7],
      [4, 2, 13],
      [1, 45, 1],
      [160, 3, 2],
    ] as const) {
      const seen = new Map<string, number>()
      for (const text of dispatches(count).flat()) {
        const [fx, fy, fz, sx, sy, sz] = text.match(/\d+/g)!.map(Number)
        for (let z = fz; z < fz + sz; z++) {
          for (let y = fy; y < fy + sy; y++) {
            for (let x = fx; x < fx + sx; x++) seen.set(`${x} ${y} ${z}`, (seen.get(`${x} ${y} ${z}`) ?? 0) + 1)
          }
        }
      }
      expect(seen.size).toBe(Math.ceil(count[0] / 4) * Math.ceil(count[1] / 2) * count[2])
      expect([...seen.values()].every((n) => n === 1)).toBe(true)
    }
  })
})
