import { describe, expect, test } from 'vitest'
import { PAGE_SIZE } from '../../base/addr.ts'
import { AssertionError } from '../../base/assert.ts'
import { ExplicitMmu } from './explicit-mmu.ts'

const page = (vpn: number) => vpn * PAGE_SIZE

function make(npages: number): { mmu: ExplicitMmu; space: number } {
  const mmu = new ExplicitMmu(new ArrayBuffer(npages * PAGE_SIZE))
  const space = mmu.attach()
  for (let vpn = 0; vpn < npages; vpn++) mmu.allocFrame(space, page(vpn), 0)
  return { mmu, space }
}

describe('ExplicitMmu', () => {
  test('the constructor refuses a buffer that is no number of pages', () => {
    for (const nbytes of [0, 1, PAGE_SIZE + 1]) {
      expect(() => new ExplicitMmu(new ArrayBuffer(nbytes))).toThrow(RangeError)
    }
  })

  test('frames are the pages of the buffer', () => {
    const { mmu } = make(4)
    new Uint32Array(mmu.buffer)[PAGE_SIZE / 4] = 0x01020304
    expect([...mmu.bytes(1).subarray(0, 4)]).toEqual([4, 3, 2, 1])
  })

  test('cpuAccess() says whose a page is', () => {
    const { mmu, space } = make(4)
    mmu.install(space, 0, 0, 2, true)
    mmu.install(space, page(2), 2, 1, false)
    const access = () => [0, 1, 2, 3].map((vpn) => mmu.cpuAccess(page(vpn)))
    expect(access()).toEqual(['write', 'write', 'read', 'none'])
    mmu.protect(space, page(1), 1, new Uint8Array(1))
    expect(access()).toEqual(['write', 'read', 'read', 'none'])
    mmu.unmap(space, 0, 4, new Uint8Array(4))
    expect(access()).toEqual(['none', 'none', 'none', 'none'])
  })

  test('a page that the CPU keeps for writing is dirty at every look', () => {
    const { mmu, space } = make(1)
    mmu.install(space, 0, 0, 1, true)
    const dirty = new Uint8Array(1)
    for (let i = 0; i < 3; i++) {
      dirty[0] = 0
      mmu.collectDirty(space, 0, 1, dirty)
      expect(dirty[0]).toBe(1)
    }
  })

  test('a frame cannot be freed while the CPU has it', () => {
    const { mmu, space } = make(1)
    mmu.install(space, 0, 0, 1, false)
    expect(() => mmu.freeFrame(0, 0)).toThrow(AssertionError)
    mmu.unmap(space, 0, 1, new Uint8Array(1))
    mmu.freeFrame(0, 0)
    expect(mmu.nfree).toBe(1)
  })

  test('a page is installed in its home frame or not at all', () => {
    const { mmu, space } = make(2)
    expect(() => mmu.install(space, page(1), 0, 1, true)).toThrow(AssertionError)
    expect(() => mmu.install(space, page(1), 1, 2, true)).toThrow(AssertionError)
    expect(() => mmu.install(space, page(1) + 4, 1, 1, true)).toThrow(AssertionError)
    expect(mmu.cpuAccess(page(1))).toBe('none')
  })

  test('a second address space is an assertion: it would have the same frames', () => {
    const { mmu } = make(1)
    expect(() => mmu.attach()).toThrow(AssertionError)
  })

  test('clearFrame() leaves memory alone that nobody has touched', () => {
    const { mmu, space } = make(2)
    // Written behind the back of the backend, to see whether it writes.
    new Uint8Array(mmu.buffer)[page(0)] = 9
    mmu.clearFrame(0)
    expect(new Uint8Array(mmu.buffer)[page(0)]).toBe(9)
    mmu.install(space, 0, 0, 1, true)
    mmu.clearFrame(0)
    expect(new Uint8Array(mmu.buffer)[page(0)]).toBe(0)
  })
})
