import { describe, expect, it } from 'vitest'
import { type ArrayOptions, readWrite, uniform, write } from './argument.ts'
import { f32, u32 } from './data-type.ts'
import { gridOfCount } from './grid.ts'
import { kernel } from './kernel.ts'
import { slicingOf } from './slicing.ts'

const SIZE = [8, 4, 2] as const

/** What a launch of 100 x 50 x 10 invocations knows of x, by the code that uses it; `w` is 100, `n` is 7. */
function slicing(body: string, { before = '', options = {} }: { before?: string; options?: ArrayOptions } = {}) {
  const one = kernel({
    args: { x: readWrite(f32, options), out: write(u32), w: uniform(u32), n: uniform(u32) },
    code: `${before}
      @compute @workgroup_size(${SIZE.join(', ')})
      fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_id) local: vec3u,
              @builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
        ${body}
        out[0] = w + n;
      }`,
  })
  const site = {
    grid: gridOfCount([100, 50, 10], SIZE, 'count'),
    workgroupSize: SIZE,
    uniform: (name: string) => ({ w: 100, n: 7 })[name] ?? Number.NaN,
  }
  return slicingOf(one.args.x, one.formsOf('x'), site, 'x')
}

const per = (unit: 'invocation' | 'workgroup', stride: number, low = 0, high = low) => ({
  per: unit,
  stride,
  low,
  high,
})
const invocation = (stride: number, low = 0, high = low) => per('invocation', stride, low, high)

describe('slicingOf() finds in the code', () => {
  it.each<[string, string, unknown[], string?]>([
    ['an id', 'x[id.x] = 1.0;', [invocation(1), null, null]],
    ['an id with a name', 'let i = id; let j = i.y; x[(j)] += 1.0;', [null, invocation(1), null]],
    ['neighbours', 'x[id.x - 1u] += x[id.x + 2u];', [invocation(1, -1, 2), null, null]],
    ['several for each', 'x[3 * id.x + 2] = x[id.x * 3u];', [invocation(3, 0, 2), null, null]],
    ['a shift', 'x[(id.x << 2u) + 1u] = 1.0;', [invocation(4, 1), null, null]],
    ['numbers with a sign', 'x[i32(id.x) + 5 - 7] = 1.0;', [invocation(1, -2), null, null]],
    ['rows', 'x[id.y * w + id.x] = 1.0;', [invocation(1, 0, 49 * 100), invocation(100, 0, 99), null]],
    ['rows between rows', 'x[(id.y + 1u) * w + id.x] = x[id.y * w];', [null, invocation(100, 0, 199), null]],
    [
      'a volume',
      'x[(id.z * 50u + id.y) * w + id.x] = 1.0;',
      [invocation(1, 0, 9 * 5000 + 4900), invocation(100, 0, 9 * 5000 + 99), invocation(5000, 0, 4999)],
    ],
    ['workgroups', 'x[group.x] = 1.0;', [per('workgroup', 1), null, null]],
    ['workgroups and their invocations', 'x[group.x * 8u + local.x] = 1.0;', [per('workgroup', 8, 0, 7), null, null]],
    ['numbers in a workgroup', 'x[group.y * 64u + index] = 1.0;', [null, per('workgroup', 64, 0, 63), null]],
    ['a loop', 'for (var k = 0u; k < n; k++) { x[id.y * n + k] = 1.0; }', [null, invocation(7, 0, 6), null]],
    [
      'a loop with its end',
      'for (var k = 2; k <= 5; k += 3) { x[i32(id.x) * 8 + k] = 1.0; }',
      [invocation(8, 2, 5), null, null],
    ],
    ['the least index', 'x[max(id.x, 1u) - 1u] = 1.0;', [invocation(1, -1, 0), null, null]],
    ['the greatest index', 'x[min(id.x + 1u, w - 1u)] = 1.0;', [invocation(1, 0, 1), null, null]],
    ['both, with a sign', 'x[clamp(i32(id.y) - 2, 0, 49)] = 1.0;', [null, invocation(1, -2, 0), null]],
    ['rows within bounds', 'x[min(id.y + 1u, n) * w] = 1.0;', [null, invocation(100, 100 * (1 - 43), 100), null]],
    [
      'helper functions',
      'touch(id.x, id); touch(id.x + 1u, id);',
      [invocation(2, 0, 3), null, null],
      'fn touch(i: u32, at: vec3u) { x[2u * i + 1u] = x[at.x * 2u]; }',
    ],
    [
      'constants',
      'x[id.x * STEP + OFF] = 1.0;',
      [invocation(12, 3), null, null],
      'const STEP = 4u * 3u; override OFF: u32 = 3u;',
    ],
    ['lengths beside elements', 'x[id.x] = f32(arrayLength(&x));', [invocation(1), null, null]],
  ])('%s', (_, body, expected, before = '') => {
    expect(slicing(body, { before })).toEqual(expected)
  })

  it.each<[string, string, string?]>([
    ['an index from memory', 'x[u32(x[id.x])] = 1.0;'],
    ['a variable that changes', 'var i = id.x; i++; x[i] = 1.0;'],
    ['a remainder', 'x[id.x % 16u] = 1.0;'],
    ['a counter that the body changes', 'for (var k = 0u; k < n; k++) { x[id.x * n + k] = 1.0; k += 1u; }'],
    ['a loop without an end that is known', 'for (var k = 0u; k < u32(x[0]); k++) { x[id.x * n + k] = 1.0; }'],
    ['one place of several', 'x[id.x] = x[0];'],
    ['two different factors', 'x[2u * id.x] = x[id.x];'],
    ['ids and workgroups', 'x[id.x] = x[group.x];'],
    ['the whole array', 'fill(&x);', 'fn fill(all: ptr<storage, array<f32>, read_write>) { all[0] = 1.0; }'],
    ['backwards', 'x[100u - id.x] = 1.0;'],
    ['an end that begins again from above', 'for (var k = 0u; k < n - 9u; k++) { x[id.x * n + k] = 1.0; }'],
    ['a bound that begins again from above', 'x[min(id.x - 1u, w - 1u)] = 1.0;'],
    ['a bound that is not known', 'x[min(id.x, u32(x[0]))] = 1.0;'],
    ['a product that goes around', 'x[id.x * 2654435761u] = 1.0;'],
    ['two uniforms', 'x[id.x * w * n] = 1.0;'],
    ['a number from bits', 'x[u32(f32(id.x))] = 1.0;'],
    ['a function that others call otherwise', 'touch(id.x); touch(u32(x[id.y]));', 'fn touch(i: u32) { x[i] = 1.0; }'],
  ])('not: %s', (_, body, before = '') => {
    expect(slicing(body, { before })).toEqual([null, null, null])
  })
})

describe('slicingOf() takes what is declared', () => {
  const declared = (slice: ArrayOptions['slice'] & {}) => slicing('x[u32(x[0])] = 1.0;', { options: { slice } })

  it('whatever the code does', () => {
    expect(declared('linear')).toEqual([invocation(1), null, null])
    expect(declared('whole')).toEqual([null, null, null])
    expect(declared({ along: 'y', stride: 'w' })).toEqual([null, invocation(100, 0, 99), null])
    expect(declared({ along: 'z', per: 'workgroup', stride: 3 })).toEqual([null, null, per('workgroup', 3, 0, 2)])
  })

  it('refuses a stride that is no number', () => {
    expect(() => declared({ stride: 'out' })).toThrow(
      new RangeError('slice.stride of argument "x" is NaN, the value of "out", wanted a whole number from 1'),
    )
  })
})
