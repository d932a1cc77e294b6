import { describe, expect, test } from 'vitest'
import { formatSize, GIB, KIB, MIB, parseSize } from './size.ts'

describe('parseSize()', () => {
  test('takes bytes and every binary unit', () => {
    expect(parseSize(12345, 'memory')).toBe(12345)
    expect(parseSize('0 B', 'memory')).toBe(0)
    expect(parseSize('4KiB', 'memory')).toBe(4 * KIB)
    expect(parseSize(' 64 MiB ', 'memory')).toBe(64 * MIB)
    expect(parseSize('1.5 GiB', 'memory')).toBe(1.5 * GIB)
    expect(parseSize('2 TiB', 'memory')).toBe(2048 * GIB)
  })

  test('refuses what is no size with a TypeError that names the option', () => {
    for (const size of ['64', '64 MB', '64 mib', 'MiB', '', '-1 KiB', Number.NaN]) {
      expect(() => parseSize(size, 'memory')).toThrow(TypeError)
    }
    expect(() => parseSize('64 MB', 'memory')).toThrow(`memory is "64 MB", wanted bytes or a text like '64 MiB'`)
    expect(() => parseSize(undefined as unknown as string, 'memory')).toThrow('memory is undefined')
  })

  test('refuses sizes that no memory has with a RangeError', () => {
    for (const size of [-1, 0.5, 2 ** 53, Number.POSITIVE_INFINITY, '0.3 B', '9000 TiB']) {
      expect(() => parseSize(size, 'memory')).toThrow(RangeError)
    }
  })
})

describe('formatSize()', () => {
  test('takes the largest unit that fits', () => {
    expect(formatSize(0)).toBe('0 B')
    expect(formatSize(1023)).toBe('1023 B')
    expect(formatSize(4096)).toBe('4 KiB')
    expect(formatSize(1.5 * GIB)).toBe('1.5 GiB')
    expect(formatSize(64 * MIB)).toBe('64 MiB')
  })

  test('does not say 1024 of a unit', () => {
    expect(formatSize(MIB - 1)).toBe('1 MiB')
    expect(formatSize(GIB - 1)).toBe('1 GiB')
  })
})
