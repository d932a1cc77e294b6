import { expect, it, describe as suite } from 'vitest'
import { describe } from './describe.ts'

suite('describe()', () => {
  it.each([
    ['x', '"x"'],
    [2.5, '2.5'],
    [7n, '7n'],
    [null, 'null'],
    [undefined, 'undefined'],
    [[1, 2], 'a list'],
    [new Float32Array(2), 'Float32Array'],
    [Object.create(null), 'an object'],
    [Float32Array, 'Float32Array'],
    [() => {}, 'a function'],
  ])('shows %o as %s', (value, text) => {
    expect(describe(value)).toBe(text)
  })
})
