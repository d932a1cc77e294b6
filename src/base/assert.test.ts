import { describe, expect, it } from 'vitest'
import { AssertionError, assert, assertNever, formatAddr } from './assert.ts'

describe('assert()', () => {
  it('does nothing and builds no message when the condition holds', () => {
    let built = 0
    assert(true, () => `built ${++built}`)
    expect(built).toBe(0)
  })

  it('throws an AssertionError with the message, given as text or as a function', () => {
    expect(() => assert(false, 'refcount is -1')).toThrow(new AssertionError('refcount is -1'))
    expect(() => assert(0, () => `pfn ${7}`)).toThrow(new AssertionError('pfn 7'))
  })
})

describe('assertNever()', () => {
  it('throws with the value that should not exist', () => {
    expect(() => assertNever('sideways' as never)).toThrow(new AssertionError('unexpected value: sideways'))
  })
})

describe('formatAddr()', () => {
  it('prints hexadecimal, above 32 bits too', () => {
    expect(formatAddr(0x7f1234567000)).toBe('0x7f1234567000')
    expect(formatAddr(0)).toBe('0x0')
    expect(formatAddr(2 ** 64 - 4096)).toBe('0xfffffffffffff000')
    expect(formatAddr(-4096)).toBe('-0x1000')
  })
})
