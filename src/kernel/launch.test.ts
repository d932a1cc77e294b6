import { describe, expect, it } from 'vitest'
import { read, readWrite, uniform, write } from './argument.ts'
import { f32, mat2x2f, u8x4, u32, vec3f } from './data-type.ts'
import { indirect } from './grid.ts'
import { kernel } from './kernel.ts'
import { indirectGridOf, prepareLaunch, type ViewPlace } from './launch.ts'
import { struct } from './struct-type.ts'

const buffer = new ArrayBuffer(1 << 16)
/** Two arrays: of 4000 bytes from byte 4096, and of 1001 bytes from byte 12288. */
const ARRAYS = [
  { arrayStart: 4096, arrayEnd: 8096 },
  { arrayStart: 12288, arrayEnd: 13289 },
]

function locate({ byteOffset: start, byteLength }: ArrayBufferView): ViewPlace {
  const end = start + byteLength
  const array = ARRAYS.find(({ arrayStart, arrayEnd }) => arrayStart <= start && end <= arrayEnd)
  if (array === undefined) throw new RangeError(`bytes ${start} to ${end} are of no array`)
  return { start, end, ...array }
}

const site = { locate, strict: false }
const MAIN = '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u)'
const copy = kernel({
  name: 'copy',
  args: { x: read(f32), y: write(f32) },
  code: `${MAIN} { y[id.x] = x[id.x]; }`,
})
const floats = (from: number, length: number) => new Float32Array(buffer, from, length)
const Triple = struct('Triple', { a: u32, b: u32, c: u32 })
const triples = kernel({ name: 'triples', args: { t: write(Triple) }, code: `${MAIN} { t[id.x].a = id.x; }` })
const bytes = kernel({ name: 'bytes', args: { b: write(u8x4) }, code: `${MAIN} { b[id.x] = 7u; }` })

describe('prepareLaunch()', () => {
  it('binds each array from a multiple of 256 bytes on, at or before its first element', () => {
    const { launch } = prepareLaunch(copy, { x: floats(4096 + 600, 10), y: floats(12288, 10) }, 10, site)
    expect(launch.ranges).toEqual([
      { start: 4096 + 512, end: 4096 + 640 },
      { start: 12288, end: 12288 + 40 },
    ])
    expect(launch.args.map(({ skip, length }) => [skip, length])).toEqual([
      [22, 10],
      [0, 10],
    ])
    expect(launch.grid).toEqual({ count: [10, 1, 1], workgroups: [1, 1, 1] })
  })

  it('goes back further where elements and multiples of 256 bytes rarely meet', () => {
    const { launch } = prepareLaunch(triples, { t: new Uint32Array(buffer, 4096 + 12 * 100, 30) }, 10, site)
    expect(launch.ranges).toEqual([{ start: 4096 + 768, end: 4096 + 12 * 110 }])
    expect(launch.args[0]).toMatchObject({ skip: 36, length: 10 })
  })

  it.each<[string, boolean, number]>([
    ['y[id.x] = x[id.x];', true, 10],
    ['let i = id.x; y[i] = x[9u - i];', true, 10],
    ['y[id.x] = 1; if (x[id.x] > 1) { return; } y[id.x] = 2;', true, 12],
    ['y[id.x] = x[id.x];', false, 9],
    ['if (x[id.x] > 1) { return; } y[id.x] = 2;', false, 10],
    ['if (x[id.x] > 1) { y[id.x] = 2; }', false, 10],
    ['y[id.x + 1u] = x[id.x];', false, 10],
    ['y[2u * id.x] = x[id.x];', false, 10],
    ['y[id.x / 2u] = x[id.x];', false, 10],
    ['y[u32(x[id.x])] = 1;', false, 10],
  ])('%s overwrites all of an array: %s, with %d invocations', (body, isOverwritten, count) => {
    const args = { x: read(f32), y: write(f32) }
    const { launch } = prepareLaunch(
      kernel({ name: 'k', args, code: `${MAIN} { ${body} }` }),
      { x: floats(4096, 10), y: floats(12288, 10) },
      count,
      site,
    )
    expect(launch.args.map((arg) => arg.isOverwritten)).toEqual([false, isOverwritten])
  })

  it('what is read too, or has gaps between its elements, is not overwritten', () => {
    const both = kernel({ name: 'both', args: { y: readWrite(f32) }, code: `${MAIN} { y[id.x] = 1; }` })
    const gaps = kernel({ name: 'gaps', args: { v: write(vec3f) }, code: `${MAIN} { v[id.x] = vec3f(); }` })
    expect(prepareLaunch(both, { y: floats(12288, 10) }, 10, site).launch.args[0].isOverwritten).toBe(false)
    expect(prepareLaunch(gaps, { v: floats(12288, 40) }, 10, site).launch.args[0].isOverwritten).toBe(false)
  })

  it('the last word of an array may be one in part', () => {
    const whole = new Uint8Array(buffer, 12288, 1001)
    expect(prepareLaunch(bytes, { b: whole }, 1, site).launch).toMatchObject({
      ranges: [{ start: 12288, end: 12288 + 1004 }],
      args: [{ skip: 0, length: 251 }],
    })
    expect(prepareLaunch(bytes, { b: whole.subarray(996) }, 1, site).launch.args[0]).toMatchObject({
      skip: 57,
      length: 2,
    })
    expect(() => prepareLaunch(bytes, { b: whole.subarray(0, 11) }, 1, site)).toThrow(
      new RangeError('run(bytes): argument "b" has 11 bytes, wanted a multiple of the 4 of u32'),
    )
  })

  it('arrays that overlap, or lie too near to each other, share a binding', () => {
    const { launch, groups } = prepareLaunch(copy, { x: floats(4096 + 400, 30), y: floats(4096, 100) }, 10, site)
    expect(groups).toEqual([['x', 'y']])
    expect(launch.ranges).toEqual([{ start: 4096, end: 4096 + 520 }])
    expect(launch.args.map(({ skip, length, slicing }) => [skip, length, slicing[0]])).toEqual([
      [100, 30, null],
      [0, 100, null],
    ])
    const apart = prepareLaunch(copy, { x: floats(4096, 64), y: floats(4096 + 256, 64) }, 10, site)
    expect(apart.groups).toEqual([['x'], ['y']])
    const near = prepareLaunch(copy, { x: floats(4096, 65), y: floats(4096 + 260, 64) }, 10, site)
    expect(near.groups).toEqual([['x', 'y']])
  })

  it('packs uniforms, each where a binding can begin', () => {
    const shader = kernel({
      args: { a: uniform(u32), m: uniform(mat2x2f), v: uniform(vec3f), y: write(f32) },
      code: `${MAIN} { y[id.x] = f32(a) + (m * v.xy).x; }`,
    })
    const { launch } = prepareLaunch(shader, { a: 7, m: [1, 2, 3, 4], v: [5, 6, 7], y: floats(4096, 1) }, 1, site)
    const view = new DataView(launch.uniforms.buffer)
    expect(launch.uniforms.byteLength).toBe(3 * 256)
    expect([view.getUint32(0, true), view.getFloat32(256 + 4, true), view.getFloat32(512 + 8, true)]).toEqual([7, 2, 7])
    expect(launch.program.uniforms.map(({ name, size }) => [name, size])).toEqual([
      ['a', 4],
      ['m', 16],
      ['v', 12],
    ])
  })

  it('what is not used by the entry point may be left out', () => {
    const two = kernel({
      args: { x: write(f32), y: write(f32) },
      code: `@compute @workgroup_size(1) fn a() { x[0] = 1.0; } @compute @workgroup_size(1) fn b() { y[0] = 1.0; }`,
    })
    const { launch } = prepareLaunch(two.entry('b'), { y: floats(4096, 1) } as never, 1, site)
    expect(launch.program.bindings).toEqual([{ binding: 0, args: ['y'], write: true }])
  })

  it('an indirect count is of no size yet', () => {
    const words = new Uint32Array(buffer, 12288 + 8, 2)
    const { indirect: found } = prepareLaunch(copy, { x: floats(4096, 10), y: floats(5000, 10) }, indirect(words), site)
    expect(found).toEqual({ range: { start: 12296, end: 12304 }, workgroups: false, max: 2 ** 28 })
    expect(indirectGridOf([5, 2], found!, [4, 1, 1], 'run(k)')).toEqual({ count: [5, 2, 1], workgroups: [2, 2, 1] })
    expect(indirectGridOf([5], { ...found!, workgroups: true }, [4, 1, 1], 'run(k)').count).toEqual([20, 1, 1])
    expect(() => indirectGridOf([2 ** 29], found!, [4, 1, 1], 'run(k)')).toThrow(
      new RangeError('run(k): the indirect count is 536870912, wanted at most 268435456'),
    )
  })

  const args = { x: floats(4096, 10), y: floats(12288, 10) }
  it.each<[string, () => unknown, string]>([
    [
      'TypeError',
      () => prepareLaunch(copy, null as never, 1, site),
      'run(copy): the arguments are null, wanted an object with x, y',
    ],
    [
      'TypeError',
      () => prepareLaunch(copy, { ...args, x: [1] as never }, 1, site),
      'run(copy): argument "x" is a list, wanted Float32Array of the heap',
    ],
    [
      'TypeError',
      () => prepareLaunch(copy, { ...args, x: new DataView(buffer) as never }, 1, site),
      'run(copy): argument "x" is DataView, wanted Float32Array of the heap',
    ],
    [
      'TypeError',
      () => prepareLaunch(bytes, { b: new Int8Array(buffer) as never }, 1, site),
      'run(bytes): argument "b" is Int8Array, wanted Uint8Array or Uint8ClampedArray of the heap',
    ],
    [
      'RangeError',
      () => prepareLaunch(copy, { ...args, x: floats(40960, 10) }, 1, site),
      'bytes 40960 to 41000 are of no array',
    ],
    [
      'RangeError',
      () => prepareLaunch(triples, { t: new Uint32Array(buffer, 4096, 10) }, 1, site),
      'run(triples): argument "t" has 40 bytes, wanted a multiple of the 12 of Triple',
    ],
    [
      'RangeError',
      () => prepareLaunch(triples, { t: new Uint32Array(buffer, 4096 + 16, 3) }, 1, site),
      'run(triples): argument "t" begins at byte 16 of its array, wanted a multiple of the 12 of Triple',
    ],
    [
      'RangeError',
      () => prepareLaunch(bytes, { b: new Uint8Array(buffer, 12288 + 3, 8) }, 1, site),
      'run(bytes): argument "b" begins at byte 3 of its array, wanted a multiple of the 4 of u32',
    ],
    [
      'TypeError',
      () => prepareLaunch(copy, args, '5' as never, site),
      'run(copy): the count is "5", wanted a whole number or a list of up to three',
    ],
    [
      'RangeError',
      () => prepareLaunch(copy, args, [] as never, site),
      'run(copy): the count has 0 dimensions, wanted 1 to 3',
    ],
    [
      'RangeError',
      () => prepareLaunch(copy, args, 2 ** 32, site),
      'run(copy): the count is 4294967296, wanted a whole number below 2^32',
    ],
    [
      'RangeError',
      () => prepareLaunch(copy, args, { workgroups: 2 ** 31 }, site),
      'run(copy): workgroups are 137438953472 invocations in one dimension, wanted less than 2^32',
    ],
    ['TypeError', () => indirect([1] as never), 'indirect(a list), wanted a Uint32Array'],
    ['RangeError', () => indirect(new Uint32Array(4)), 'indirect of 4 words, wanted 1 to 3: what are the dimensions'],
  ])('refuses what does not fit: %s', (name, act, message) => {
    expect(act).toThrow(expect.objectContaining({ name, message }))
  })

  it('a kernel with barriers takes workgroups', () => {
    const barrier = kernel({
      name: 'b',
      args: { y: readWrite(f32) },
      code: `${MAIN} {\n storageBarrier(); y[id.x] += 1.0; }`,
    })
    expect(() => prepareLaunch(barrier, { y: args.y }, 64, site)).toThrow(
      new TypeError(
        'run(b): the count is 64, wanted { workgroups: ... }: it runs in whole workgroups, because it calls storageBarrier in line 2',
      ),
    )
    expect(prepareLaunch(barrier, { y: args.y }, { workgroups: 2 }, site).launch.grid.count).toEqual([128, 1, 1])
  })
})
