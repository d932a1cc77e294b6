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

  test('cpuRun() counts pages that are alike', () => {
    const { mmu, space } = make(6)
    mmu.install(space, 0, 0, 2, true)
    mmu.install(space, page(2), 2, 1, false)
    const runs = (write: boolean) => [0, 1, 2, 3, 5].map((vpn) => mmu.cpuRun(page(vpn), 6 - vpn, write))
    expect(runs(true)).toEqual([2, 1, -4, -3, -1])
    expect(runs(false)).toEqual([3, 2, 1, -3, -1])
    expect(mmu.cpuRun(0, 1, true)).toBe(1)
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

  test('the CPU gets no page while none is handed out', () => {
    const { mmu, space } = make(2)
    mmu.install(space, 0, 0, 1, false)
    mmu.handsOut = false
    mmu.install(space, 0, 0, 2, true)
    expect([mmu.cpuAccess(0), mmu.cpuAccess(page(1))]).toEqual(['read', 'none'])
    expect(() => mmu.install(space, page(1), 0, 1, true)).toThrow(AssertionError)
    mmu.handsOut = true
    mmu.install(space, 0, 0, 2, true)
    expect([mmu.cpuAccess(0), mmu.cpuAccess(page(1))]).toEqual(['write', 'write'])
  })

  test('segments are added where they are to be, and frames exist only there', () => {
    const mmu = new ExplicitMmu({ nframes: 16 })
    const space = mmu.attach()
    const [low, high] = [new ArrayBuffer(page(2)), new SharedArrayBuffer(page(3))]
    expect(mmu.allocFrame(space, page(5), 0)).toBe(-1)
    mmu.addSegment(page(5), high)
    mmu.addSegment(page(1), low)
    expect([mmu.nfree, mmu.buffer === low]).toEqual([5, true])
    const taken = Array.from({ length: 16 }, (_, vpn) => mmu.allocFrame(space, page(vpn), 0))
    expect(taken).toEqual([-1, 1, 2, -1, -1, 5, 6, 7, ...Array(8).fill(-1)])
    mmu.bytes(6)[0] = 7
    expect(new Uint8Array(high)[page(1)]).toBe(7)
    for (const [addr, npages] of [
      [page(6), 1],
      [page(4), 2],
      [page(2), 1],
    ]) {
      expect(() => mmu.addSegment(addr, new ArrayBuffer(page(npages)))).toThrow(AssertionError)
    }
    expect(() => mmu.addSegment(page(15), new ArrayBuffer(page(2)))).toThrow(RangeError)
    expect(() => mmu.addSegment(page(9) + 1, new ArrayBuffer(page(1)))).toThrow(RangeError)
    expect(() => mmu.addSegment(page(9), new ArrayBuffer(1))).toThrow(RangeError)
  })

  test('renew() makes pages new: what the program stores before mm has them is kept', () => {
    const { mmu, space } = make(2)
    const bytes = new Uint8Array(mmu.buffer)
    mmu.install(space, 0, 0, 2, true)
    bytes.fill(5)
    mmu.unmap(space, 0, 2, new Uint8Array(2))
    for (const pfn of [0, 1]) mmu.freeFrame(pfn, 0)
    mmu.renew(0, 1)
    mmu.clear(0, 1)
    expect([bytes[0], bytes[page(1)]]).toEqual([0, 5])
    bytes[0] = 6
    for (const pfn of [0, 1]) {
      expect(mmu.allocFrame(space, page(pfn), 0)).toBe(pfn)
      mmu.clearFrame(pfn)
    }
    expect([bytes[0], bytes[page(1)]]).toEqual([6, 0])
    expect(() => mmu.renew(0, 1)).toThrow(AssertionError)
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
