import { afterEach, describe, expect, it, vi } from 'vitest'
import { isNode } from './runtime.ts'

describe('isNode()', () => {
  afterEach(() => vi.unstubAllGlobals())

  it('is not fooled by runtimes that call themselves Node', () => {
    expect(isNode()).toBe(true)
    vi.stubGlobal('Deno', {})
    expect(isNode()).toBe(false)
    vi.unstubAllGlobals()
    vi.stubGlobal('process', { versions: { node: '20.0.0', bun: '1.2.0' } })
    expect(isNode()).toBe(false)
    vi.stubGlobal('process', undefined)
    expect(isNode()).toBe(false)
  })
})
