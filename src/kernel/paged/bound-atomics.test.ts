// Which arguments of atomics are bound directly: what the code says, and what a launch says. That their results are right the tables of
// kernels show (paged-kernels.test.ts), and on a heap src/heap/atomics-run.test.ts.

import { describe, expect, it } from 'vitest'
import { body } from '../../../test/helpers/paged-kernels/table.ts'
import { compileKernel } from '../../../test/helpers/paged-run.ts'
import { formFor } from './bound-atomics.ts'
import { boundLayout } from './paged-launch.ts'

const CELL = 'struct Cell { hits: atomic<u32>, last: u32 }\nstruct Pair { a: atomic<u32>, b: array<atomic<i32>, 3> }'

function programOf(args: Readonly<Record<string, string>>, text: string, withPointers = false) {
  const contents = Object.fromEntries(Object.keys(args).map((name) => [name, new Uint32Array(64)]))
  return compileKernel(body('k', args, text, { structs: CELL, contents }), withPointers).program
}

describe('compilePaged() binds atomics directly', () => {
  it('where an argument is nothing else', () => {
    const program = programOf(
      { u: 'read u32', c: 'atomic<u32>', d: 'Pair' },
      'atomicAdd(&c[u[i]], 1u); atomicMax(&d[i].b[1], 3);',
    )
    expect(program.boundArgs).toEqual([])
    expect(program.wgsl).toContain('hm_pool: array<atomic<u32>>')
    expect(program.bound?.boundArgs).toEqual([1, 2])
    expect(program.bound?.wgsl).toContain('hm_pool: array<u32>')
    expect([program.how, program.bound?.how]).toEqual([
      'its atomics wait for the commit',
      'its atomics wait for the commit, in a buffer of their own',
    ])
  })

  it.each([
    ['it uses no atomics', { u: 'read u32', v: 'u32' }, 'v[i] = u[i];', false],
    ['an element has more than atomics', { c: 'Cell' }, 'atomicAdd(&c[i].hits, 1u); c[i].last = i;', false],
    [
      'others cannot be bound',
      { c: 'atomic<u32>', n: 'Cell' },
      'atomicAdd(&c[0], 1u); atomicAdd(&n[i].hits, 1u);',
      false,
    ],
    [
      'pointers lead to some',
      { c: 'atomic<u32>', u: 'read u32' },
      'atomicAdd(&c[0], 1u); atomicAddU32(u[i], 1u);',
      true,
    ],
  ])('but not if %s', (_, args, text, withPointers) => {
    expect(programOf(args as Record<string, string>, text, withPointers).bound).toBe(null)
  })
})

describe('formFor()', () => {
  const program = programOf(
    { u: 'read u32', c: 'atomic<u32>', d: 'atomic<u32>' },
    'atomicAdd(&c[u[i]], 1u); atomicAdd(&d[i], 1u);',
  )
  const launch = (c: number, d: number) => ({
    args: [
      { word: 1024, length: 5000 },
      { word: 10_240 + 20, length: c },
      { word: 10_240 * 1024, length: d },
    ],
    uniforms: [],
    extent: [64, 1, 1] as const,
  })
  const pages = (capacity: number) => ({ pageBits: 10, capacity })

  it('takes the one with bound atomics as long as they are small', () => {
    expect(formFor(program, launch(64, 64), pages(8))).toBe(program.bound)
    expect(formFor(program, launch(64, 64), pages(7))).toBe(program)
    // A thousand words that begin within a page are on two.
    expect(formFor(program, launch(1010, 1024), pages(11))).toBe(program)
    expect(formFor(program, launch(1010, 1024), pages(12))).toBe(program.bound)
    expect(formFor(program, launch(64, 255 * 1024), pages(100_000))).toBe(program.bound)
    expect(formFor(program, launch(64, 256 * 1024), pages(100_000))).toBe(program)
  })

  it('and the other one where pointers may lead to them', () => {
    const reach = (start: number, end: number) => ({ ...launch(64, 64), reach: [{ start, end, write: false }] })
    expect(formFor(program, reach(1024, 10_260), pages(64))).toBe(program.bound)
    expect(formFor(program, reach(1024, 10_261), pages(64))).toBe(program)
    expect(formFor(program, reach(10_260 + 63, 20_000), pages(64))).toBe(program)
    expect(formFor(program, reach(10_260 + 64, 20_000), pages(64))).toBe(program.bound)
  })

  it('lays them out behind each other, and nothing at word 0', () => {
    const { starts, end } = boundLayout(program.bound!, launch(65, 64))
    expect([...starts]).toEqual([
      [1, 64],
      [2, 192],
    ])
    expect(end).toBe(256)
  })
})
