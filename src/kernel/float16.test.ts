import { describe, expect, it } from 'vitest'
import { float16ToNumber, numberToFloat16 } from './float16.ts'

describe('float16', () => {
  it('gives every number back that it has', () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = float16ToNumber(bits)
      if (Number.isNaN(value)) expect(numberToFloat16(value)).toBe(0x7e00)
      else expect(numberToFloat16(value)).toBe(bits)
    }
  })

  it.each([
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [65519.99, 0x7bff],
    [65520, 0x7c00],
    [-1e9, 0xfc00],
    [2 ** -24, 1],
    [2 ** -25, 0], // as near to 0, which is even
    [1.5 * 2 ** -24, 2],
    [1 + 2 ** -11, 0x3c00], // halfway: to the even one
    [1 + 3 * 2 ** -11, 0x3c02],
    [2047.9999, 0x6800], // carries into the exponent
    [-0, 0x8000],
  ])('takes the nearest one to %d', (value, bits) => {
    expect(numberToFloat16(value)).toBe(bits)
  })
})
