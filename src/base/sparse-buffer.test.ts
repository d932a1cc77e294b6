import { readFileSync } from 'node:fs'
import { describe, expect, it, vi } from 'vitest'
import { MIB } from './size.ts'
import { sparseBuffer } from './sparse-buffer.ts'

/** Bytes of this process in memory. */
function residentBytes(): number {
  return 1024 * Number(/^VmRSS:\s*(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1])
}

describe('sparseBuffer()', () => {
  it.each([0, 1, 4096, 4 * MIB, 40 * MIB])('has at least %d zeroes', (nbytes) => {
    const buffer = sparseBuffer(nbytes)
    expect(buffer.byteLength).toBeGreaterThanOrEqual(nbytes)
    expect(Buffer.from(buffer, 0, nbytes).every((byte) => byte === 0)).toBe(true)
  })

  it('works where there is no shared memory', () => {
    vi.stubGlobal('SharedArrayBuffer', undefined)
    try {
      expect(sparseBuffer(4 * MIB)).toBeInstanceOf(ArrayBuffer)
    } finally {
      vi.unstubAllGlobals()
    }
  })

  it('takes memory only where it is used, also after others of its size were', (test) => {
    if (process.platform !== 'linux') test.skip('linux: /proc tells what is resident')
    // Freed memory that malloc would use again, and clear.
    for (let i = 0; i < 20; i++) new Uint8Array(8 * MIB).fill(1)
    const before = residentBytes()
    const buffers = Array.from({ length: 20 }, () => sparseBuffer(8 * MIB))
    expect(residentBytes() - before).toBeLessThan(16 * MIB)
    expect(buffers.length).toBe(20)
  })
})
