// Sets are searched by the C library where there is Buffer, and by the engine where there is not: the answers are the same.

import { afterEach, describe, expect, it, vi } from 'vitest'
import { bytesIn, makeByteSet } from './byte-set.ts'

afterEach(() => vi.unstubAllGlobals())

describe.each(['with Buffer', 'without Buffer'])('sets of bytes, %s', (how) => {
  const isSlow = how === 'without Buffer'

  it('are empty to begin with, and found from any place on', () => {
    if (isSlow) vi.stubGlobal('Buffer', undefined)
    const set = makeByteSet(1000)
    expect([set.length, set.indexOf(1), set.constructor === Uint8Array]).toEqual([1000, -1, isSlow])
    set[3] = 1
    set.fill(1, 900, 902)
    expect([set.indexOf(1), set.indexOf(1, 4), set.indexOf(1, 902), set.subarray(901).indexOf(1)]).toEqual([
      3, 900, -1, 0,
    ])
  })

  it('lie in the memory that they were given', () => {
    if (isSlow) vi.stubGlobal('Buffer', undefined)
    const memory = new SharedArrayBuffer(64)
    const set = bytesIn(memory, 16)
    set[5] = 1
    expect([set.length, new Uint8Array(memory)[5]]).toEqual([16, 1])
  })
})
