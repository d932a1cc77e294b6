// Launches at random: parts of arrays of every size and place, strides and neighbours that uniforms say, small devices, small slices.
// Every word of the memory is compared, so a store to the wrong place shows wherever it went.

import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { whyNoGpu } from '../../../test/helpers/gpu.ts'
import { fill } from '../../../test/helpers/kernel-cases/kernel-case.ts'
import { KernelBench } from '../../../test/helpers/kernel-fixture.ts'
import { MmError } from '../../base/errno.ts'
import { read, readWrite, uniform } from '../../kernel/argument.ts'
import { u32 } from '../../kernel/data-type.ts'
import { kernel } from '../../kernel/kernel.ts'
import { struct } from '../../kernel/struct-type.ts'

const reason = await whyNoGpu()

const Triple = struct('Triple', { a: u32, b: u32, c: u32 })

/** Element `stride * id + shift` of y becomes a sum of neighbours of x, as far as both have these elements. */
const window = kernel({
  name: 'window',
  args: {
    x: read(u32),
    y: readWrite(u32),
    t: readWrite(Triple),
    stride: uniform(u32),
    shift: uniform(u32),
    reach: uniform(u32),
  },
  code: /* wgsl */ `
    @compute @workgroup_size(16)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      let at = id.x * stride + shift;
      if (at >= arrayLength(&y)) { return; }
      var sum = id.x;
      for (var k = 0u; k < reach; k++) {
        if (at + k < arrayLength(&x)) { sum += x[at + k]; }
      }
      y[at] += sum;
      if (id.x < arrayLength(&t)) { t[id.x].b += sum; }
    }`,
})

describe.skipIf(reason !== null)('launches at random', () => {
  let bench: KernelBench
  beforeAll(async () => {
    bench = await KernelBench.open()
  })
  afterAll(() => bench.close())

  const part = fc.record({
    from: fc.integer({ min: 0, max: 700 }),
    length: fc.integer({ min: 1, max: 6000 }),
  })
  const program = fc.record({
    x: part,
    y: part,
    t: fc.record({ from: fc.integer({ min: 0, max: 200 }), length: fc.integer({ min: 1, max: 1500 }) }),
    isShared: fc.boolean(),
    stride: fc.integer({ min: 1, max: 5 }),
    shift: fc.integer({ min: 0, max: 30 }),
    reach: fc.integer({ min: 0, max: 9 }),
    count: fc.integer({ min: 0, max: 2500 }),
    npages: fc.integer({ min: 9, max: 40 }),
    sliceMax: fc.option(fc.integer({ min: 1, max: 30 }), { nil: undefined }),
  })

  it('do what JavaScript does', { timeout: 120_000 }, async () => {
    let several = 0
    await fc.assert(
      fc.asyncProperty(program, async ({ x, y, t, isShared, stride, shift, reach, count, npages, sliceMax }) => {
        bench.reset()
        const ys = fill(bench.alloc(Uint32Array, 14_000), 1000, 3)
        // In another part of the same array, or in another array.
        const xs = isShared ? ys.subarray(7000) : fill(bench.alloc(Uint32Array, 7000), 1000, 5)
        const ts = fill(bench.alloc(Uint32Array, 3 * 1700), 1000, 7)
        const values = {
          x: xs.subarray(x.from, x.from + x.length),
          y: ys.subarray(y.from, y.from + y.length),
          t: ts.subarray(3 * t.from, 3 * (t.from + t.length)),
          stride,
          shift,
          reach,
        }
        const before = bench.memory.slice(0)
        const options = { npages, ...(sliceMax !== undefined && { sliceMax }) }
        const run = bench.run(window, values, count, options)
        // Arrays that share memory are needed as a whole.
        const result = await run.catch((error) => {
          if (isShared && error instanceof MmError && error.code === 'ENOMEM') return null
          throw error
        })
        const found = new Uint32Array(bench.memory.slice(0))
        new Uint8Array(bench.memory).set(new Uint8Array(before))
        if (result === null) return
        if (result.slices.length > 1) several++
        for (let id = 0; id < count; id++) {
          const at = id * stride + shift
          if (at >= y.length) continue
          let sum = id
          for (let k = 0; k < reach && at + k < x.length; k++) sum += values.x[at + k]
          values.y[at] += sum
          if (id < t.length) values.t[3 * id + 1] += sum
        }
        const expected = new Uint32Array(bench.memory)
        const wrong = found.findIndex((value, i) => value !== expected[i])
        if (wrong >= 0) expect.fail(`word ${wrong} is ${found[wrong]}, wanted ${expected[wrong]}`)
      }),
      { numRuns: 40 },
    )
    expect(several).toBeGreaterThan(6)
  })
})
