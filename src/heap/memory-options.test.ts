import { describe, expect, it } from 'vitest'
import { MIB, type Size } from '../base/size.ts'
import { parseMemory, type SwapSpec } from './memory-options.ts'

describe('parseMemory()', () => {
  it('knows no limit, a limit, and a limit with swap', () => {
    expect(parseMemory(undefined, undefined)).toEqual({ limit: null, swap: null })
    expect(parseMemory('1 KiB', undefined)).toEqual({ limit: 4096, swap: null })
    expect(parseMemory('64 MiB', '128 MiB')).toEqual({
      limit: 64 * MIB,
      swap: { nbytes: 128 * MIB, directory: null, onLost: 'sigbus' },
    })
    expect(parseMemory('64 MiB', 0)).toEqual({ limit: 64 * MIB, swap: null })
    expect(parseMemory('64 MiB', { path: '/disk', size: 4097 })).toEqual({
      limit: 64 * MIB,
      swap: { nbytes: 8192, directory: '/disk', onLost: 'sigbus' },
    })
    expect(parseMemory('64 MiB', { size: '1 MiB', onLost: 'fill' })).toMatchObject({
      swap: { nbytes: MIB, directory: null, onLost: 'fill' },
    })
  })

  it.each<[Size | undefined, unknown, string]>([
    [0, undefined, 'memory is 0, wanted more than 0 bytes and at most 16 GiB'],
    ['17 GiB', undefined, 'memory is 17 GiB, wanted more than 0 bytes and at most 16 GiB'],
    [undefined, '1 GiB', 'swap without memory'],
    ['8 MiB', '1 GiB', 'memory is 8 MiB, wanted at least 16 MiB beside swap'],
    ['64 MiB', { path: '/disk', size: -1 }, 'swap.size is -1'],
    ['64 MiB', { size: 1, onLost: 'panic' }, 'swap.onLost is "panic", wanted one of sigbus, fill'],
  ])('refuses memory %j with swap %j as out of bounds', (memory, swap, message) => {
    expect(() => parseMemory(memory, swap as Size)).toThrow(RangeError)
    expect(() => parseMemory(memory, swap as Size)).toThrow(message)
  })

  it.each<[unknown, string]>([
    [{ path: '', size: 1 }, 'swap.path is "", wanted a directory'],
    [{ path: 7, size: 1 }, 'swap.path is 7, wanted a directory'],
    [{ file: '/disk', size: 1 }, 'swap.file is no option, wanted path, size, onLost'],
    [{ path: '/disk' }, 'swap.size is undefined'],
    [null, 'swap is null, wanted an object with path, size'],
  ])('refuses swap %j as of the wrong type', (swap, message) => {
    expect(() => parseMemory('64 MiB', swap as SwapSpec)).toThrow(TypeError)
    expect(() => parseMemory('64 MiB', swap as SwapSpec)).toThrow(message)
  })
})
