// What a kernel may tell about after it has missed something, by the code that is made of it: the places that an access needs, and its bit.

import { describe, expect, it } from 'vitest'
import { compileKernel, type TestKernel } from '../../../test/helpers/paged-run.ts'
import { ASTRAY } from './paged-program.ts'

const args = { a: 'read u32', b: 'read u32', c: 'read u32', y: 'u32' }

/** Of each access, in the order of the generated code, the places that it needs, by their bits. */
function needsOf(body: string, options: Partial<TestKernel> = {}): string[] {
  const code = `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { let i = id.x; ${body} }`
  const { wgsl } = compileKernel({ name: 'known', code, args, extent: [64], ...options }).program
  const user = wgsl.slice(0, wgsl.indexOf('override hm_page_bits'))
  const bits = (text: string): string => {
    const mask = Number.parseInt(text, 10)
    expect(mask & ASTRAY).toBe(ASTRAY)
    return Array.from({ length: 30 }, (_, k) => ((mask & (1 << k)) === 0 ? '' : `${k}`)).join('')
  }
  return [...user.matchAll(/, (\d+)u, \d+u\)/g)]
    .filter(([, mask]) => Number(mask) >= ASTRAY)
    .map(([, mask]) => bits(mask))
}

describe('Foresight', () => {
  it('follows values from the places where they are loaded', () => {
    // a[..] is place 0, b[..] place 1. What an index is made of stands inside, and so before, the place that it is for.
    expect(needsOf('y[i] = b[a[i]];')).toEqual(['', '', '0'])
    expect(needsOf('let k = a[i]; y[k] = b[i];')).toEqual(['', '0', ''])
    expect(needsOf('var k = i; k += a[i]; y[i] = b[k];')).toEqual(['', '', '0'])
  })

  it('follows conditions, and ways to leave', () => {
    expect(needsOf('if (a[i] == 0u) { y[i] = 1u; }')).toEqual(['', '0'])
    expect(needsOf('if (a[i] == 0u) { return; } y[i] = 1u;')).toEqual(['', '0'])
    expect(needsOf('let s = a[i] == 0u && b[i] == 0u; y[i] = u32(s);')).toEqual(['', '0', ''])
    expect(needsOf('var k = 0u; if (a[i] == 0u) { k = 1u; } y[k] = 1u;')).toEqual(['', '0'])
  })

  it('holds loops to what decides about their ends', () => {
    expect(needsOf('for (var k = 0u; k < 8u; k++) { y[2u * k] = b[a[2u * k] + 1u]; }')).toEqual(['', '', '0'])
    expect(needsOf('for (var k = 0u; k < 8u; k++) { if (a[k] == 0u) { break; } y[k] = 1u; }')).toEqual(['0', '0'])
  })

  it('goes through functions, and gives up what is changed through pointers', () => {
    const module = 'fn at(k: u32) -> u32 { return b[k]; } fn put(p: ptr<function, u32>) { *p = 1u; }'
    const code = (body: string): string =>
      `${module} @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { let i = id.x; ${body} }`
    expect(needsOf('', { code: code('y[i] = at(a[i]);') })[0]).toBe('0')
    const lent = needsOf('', { code: code('var k = 0u; put(&k); y[k] = a[i];') })
    expect(lent[0].length).toBeGreaterThan(30)
    expect(lent[1]).toBe('')
  })
})

describe('rowsOf()', () => {
  const rows = (body: string): number => {
    const code = `@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { let i = id.x; var s = 0u; ${body} y[i] = s; }`
    const { wgsl } = compileKernel({ name: 'rows', code, args, extent: [64] }).program
    return wgsl.split('hm_row(').length - 2
  }

  it('finds arrays that every turn of a loop goes on in', () => {
    expect(rows('for (var k = a[i]; k < a[i + 1u]; k++) { s += b[k]; }')).toBe(1)
    expect(rows('for (var k = 0u; k < 99u; k++) { s += b[i * 99u + k] * c[k + 3u]; }')).toBe(2)
    expect(rows('for (var k = 0u; k < 99u; k++) { if (b[k] == 0u) { s++; } }')).toBe(1)
    expect(rows('for (var k = 0u; k < 99u; k++) { y[k] = b[k]; y[k] += c[k]; }')).toBe(3)
    expect(rows('var z: array<u32, 99>; for (var k = 0u; k < 99u; k++) { z[k] = b[k]; }')).toBe(1)
  })

  it('and none where a turn may do without, or the loop end early', () => {
    expect(rows('for (var k = 0u; k < 99u; k++) { if (i == 0u) { s += b[k]; } }')).toBe(0)
    expect(rows('for (var k = 0u; k < 99u; k++) { let e = i == 0u && b[k] == 0u; s += u32(e); }')).toBe(0)
    expect(rows('for (var k = 0u; k < 99u; k++) { s += b[k]; if (s > 9u) { break; } }')).toBe(0)
    expect(rows('for (var k = 0u; k < 99u; k++) { s += b[k]; k += c[k]; }')).toBe(0)
    expect(rows('for (var k = 0u; k < s + 9u; k++) { s += b[k]; }')).toBe(0)
    expect(rows('for (var k: u32; k < 99u; k++) { s += b[k]; let p = &k; *p += 1u; }')).toBe(0)
    expect(rows('var z = vec3u(9u); for (var k = 0u; k < z.y; k++) { s += b[k]; z.x = s; }')).toBe(0)
    expect(rows('for (var k = 0u; k < 99u; k++) { s += b[k * 2u]; }')).toBe(0)
  })
})
