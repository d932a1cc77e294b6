import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PAGE_SIZE } from '../../base/addr.ts'
import { AssertionError } from '../../base/assert.ts'
import { POISON } from './frame-contents.ts'
import { SimulatedMmu } from './simulated-mmu.ts'

const isAll = (bytes: Uint8Array, value: number) => bytes.every((byte) => byte === value)

function alloc(mmu: SimulatedMmu, order = 0): number {
  const pfn = mmu.allocFrame(-1, 0, order)
  expect(pfn).toBeGreaterThanOrEqual(0)
  return pfn
}

describe('SimulatedMmu frames', () => {
  test('allocFrame() of order 9 is 2 MiB aligned and can be freed page by page', () => {
    const mmu = new SimulatedMmu({ nframes: 2048 })
    alloc(mmu)
    const head = alloc(mmu, 9)
    expect(head % 512).toBe(0)
    for (let i = 0; i < 512; i++) mmu.freeFrame(head + i, 0)
    expect(mmu.nfree).toBe(2047)
    mmu.validate()
  })

  test('allocFrame() returns -1 when memory is used up', () => {
    const mmu = new SimulatedMmu({ nframes: 3 })
    for (let i = 0; i < 3; i++) alloc(mmu)
    expect(mmu.allocFrame(-1, 0, 0)).toBe(-1)
    expect(mmu.nfree).toBe(0)
  })

  test('freeFrame() of a free frame is an assertion', () => {
    const mmu = new SimulatedMmu({ nframes: 16 })
    const pfn = alloc(mmu)
    mmu.freeFrame(pfn, 0)
    expect(() => mmu.freeFrame(pfn, 0)).toThrow(AssertionError)
  })

  test('the constructor refuses a size that is no number of frames', () => {
    for (const nframes of [0, -1, 1.5, Number.NaN, 2 ** 31]) {
      expect(() => new SimulatedMmu({ nframes })).toThrow(RangeError)
    }
  })

  test('16 GiB of frames take no memory of the host before they are used', () => {
    const before = process.memoryUsage().rss
    const mmu = new SimulatedMmu({ nframes: 4_194_304 })
    alloc(mmu)
    mmu.clearFrame(alloc(mmu))
    expect(process.memoryUsage().rss - before).toBeLessThan(8 * 2 ** 20)
    expect(mmu.nbytesResident).toBe(0)
  })
})

describe('SimulatedMmu contents', () => {
  test('a frame that was never cleared reads as poison, a cleared one as zero', () => {
    const mmu = new SimulatedMmu({ nframes: 16 })
    const pfn = alloc(mmu)
    expect(isAll(mmu.bytes(pfn), POISON)).toBe(true)
    mmu.clearFrame(pfn)
    expect(isAll(mmu.bytes(pfn), 0)).toBe(true)
    const other = alloc(mmu)
    mmu.clearFrame(other)
    expect(isAll(mmu.bytes(other), 0)).toBe(true)
  })

  test('freeFrame() drops the contents: the next owner finds poison, not old data and not old zeroes', () => {
    const mmu = new SimulatedMmu({ nframes: 1 })
    const pfn = alloc(mmu)
    mmu.bytes(pfn).fill(7)
    mmu.freeFrame(pfn, 0)
    expect(mmu.nbytesResident).toBe(0)
    expect(isAll(mmu.bytes(alloc(mmu)), POISON)).toBe(true)
    mmu.freeFrame(pfn, 0)
    mmu.clearFrame(alloc(mmu))
    mmu.freeFrame(pfn, 0)
    expect(isAll(mmu.bytes(alloc(mmu)), POISON)).toBe(true)
  })

  test('bytes() returns the same view until the frame is freed, clearing included', () => {
    const mmu = new SimulatedMmu({ nframes: 16 })
    const pfn = alloc(mmu)
    const view = mmu.bytes(pfn)
    view[10] = 1
    mmu.clearFrame(pfn)
    expect(mmu.bytes(pfn)).toBe(view)
    expect(view[10]).toBe(0)
  })

  test('frames that share a block of bytes do not see each other', () => {
    const mmu = new SimulatedMmu({ nframes: 64 })
    const frames = Array.from({ length: 64 }, () => alloc(mmu))
    for (const pfn of frames) mmu.bytes(pfn).fill(pfn + 1)
    for (const pfn of frames) expect(isAll(mmu.bytes(pfn), pfn + 1)).toBe(true)
    mmu.freeFrame(frames[5], 0)
    for (const pfn of frames) if (pfn !== frames[5]) expect(isAll(mmu.bytes(pfn), pfn + 1)).toBe(true)
  })

  test('copyFrame() of a cleared frame takes no bytes', () => {
    const mmu = new SimulatedMmu({ nframes: 64 })
    const [src, dst] = [alloc(mmu), alloc(mmu)]
    mmu.clearFrame(src)
    mmu.copyFrame(dst, src)
    expect(mmu.nbytesResident).toBe(0)
    expect(isAll(mmu.bytes(dst), 0)).toBe(true)
  })

  test('bytes() of a free frame is an assertion, and so are copies from and to one', () => {
    const mmu = new SimulatedMmu({ nframes: 16 })
    const pfn = alloc(mmu)
    expect(() => mmu.bytes(15)).toThrow(AssertionError)
    expect(() => mmu.copyFrame(pfn, 15)).toThrow(AssertionError)
    expect(() => mmu.copyFrame(15, pfn)).toThrow(AssertionError)
    expect(() => mmu.clearFrame(15)).toThrow(AssertionError)
    mmu.bytes(pfn)
    mmu.freeFrame(pfn, 0)
    expect(() => mmu.bytes(pfn)).toThrow(AssertionError)
  })

  test('without contents the bookkeeping works and bytes() is an assertion', () => {
    const mmu = new SimulatedMmu({ nframes: 16, contents: false })
    const [a, b] = [alloc(mmu), alloc(mmu)]
    mmu.clearFrame(a)
    mmu.copyFrame(b, a)
    mmu.freeFrame(a, 0)
    expect(() => mmu.bytes(b)).toThrow('without contents')
    expect(() => mmu.clearFrame(a)).toThrow(AssertionError)
  })

  test('whatever is done to frames, each reads as what was last put there', () => {
    const frame = fc.nat({ max: 39 })
    const step = fc.oneof(
      fc.tuple(fc.constant('alloc' as const), frame, frame),
      fc.tuple(fc.constant('free' as const), frame, frame),
      fc.tuple(fc.constant('clear' as const), frame, frame),
      fc.tuple(fc.constant('copy' as const), frame, frame),
      fc.tuple(fc.constant('write' as const), frame, fc.nat({ max: 255 })),
      fc.tuple(fc.constant('read' as const), frame, frame),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const mmu = new SimulatedMmu({ nframes: 40 })
        const model = new Map<number, number>() // allocated frames: the byte that fills them
        for (const [what, a, b] of steps) {
          if (what === 'alloc') {
            const pfn = mmu.allocFrame(-1, 0, 0)
            expect(pfn >= 0).toBe(model.size < 40)
            if (pfn >= 0) model.set(pfn, POISON)
          } else if (!model.has(a)) {
            expect(() => mmu.bytes(a)).toThrow(AssertionError)
          } else if (what === 'free') {
            mmu.freeFrame(a, 0)
            model.delete(a)
          } else if (what === 'clear') {
            mmu.clearFrame(a)
            model.set(a, 0)
          } else if (what === 'copy') {
            const from = model.get(b)
            if (from === undefined) continue
            mmu.copyFrame(a, b)
            model.set(a, from)
          } else if (what === 'write') {
            mmu.bytes(a).fill(b)
            model.set(a, b)
          } else {
            expect(isAll(mmu.bytes(a), model.get(a) as number)).toBe(true)
          }
        }
        for (const [pfn, value] of model) expect(isAll(mmu.bytes(pfn), value)).toBe(true)
        for (const pfn of model.keys()) mmu.freeFrame(pfn, 0)
        expect(mmu.nbytesResident).toBe(0)
      }),
      { numRuns: 200 },
    )
  })
})

describe('SimulatedMmu device frames', () => {
  test('addDeviceFrames() numbers above system frames, at a multiple of 512', () => {
    const mmu = new SimulatedMmu({ nframes: 1000 })
    expect(mmu.addDeviceFrames(10, false)).toBe(1024)
    expect(mmu.addDeviceFrames(513, false)).toBe(1536)
    expect(mmu.addDeviceFrames(1, false)).toBe(2560)
  })

  test('addDeviceFrames() takes the first released range that is large enough', () => {
    const mmu = new SimulatedMmu({ nframes: 512 })
    const a = mmu.addDeviceFrames(512, false)
    const b = mmu.addDeviceFrames(1024, false)
    const c = mmu.addDeviceFrames(512, false)
    mmu.removeDeviceFrames(a, 512)
    mmu.removeDeviceFrames(b, 1024)
    expect(mmu.addDeviceFrames(1537, false)).toBe(c + 512)
    expect(mmu.addDeviceFrames(600, false)).toBe(a)
    expect(mmu.addDeviceFrames(512, false)).toBe(a + 1024)
  })

  test('coherent memory has bytes, private memory has none', () => {
    const mmu = new SimulatedMmu({ nframes: 512 })
    const coherent = mmu.addDeviceFrames(100, true)
    const device = mmu.addDeviceFrames(100, false)
    mmu.bytes(coherent + 99)[PAGE_SIZE - 1] = 5
    const pfn = alloc(mmu)
    mmu.copyFrame(pfn, coherent + 99)
    expect(mmu.bytes(pfn)[PAGE_SIZE - 1]).toBe(5)
    expect(() => mmu.bytes(device)).toThrow(AssertionError)
    expect(() => mmu.copyFrame(pfn, device)).toThrow(AssertionError)
    expect(() => mmu.bytes(coherent + 100)).toThrow(AssertionError)
  })

  test('removeDeviceFrames() drops the contents, and refuses what was not added', () => {
    const mmu = new SimulatedMmu({ nframes: 512 })
    const first = mmu.addDeviceFrames(16, true)
    mmu.bytes(first).fill(1)
    expect(() => mmu.removeDeviceFrames(first, 15)).toThrow(AssertionError)
    mmu.removeDeviceFrames(first, 16)
    expect(mmu.nbytesResident).toBe(0)
    expect(() => mmu.removeDeviceFrames(first, 16)).toThrow(AssertionError)
    expect(mmu.addDeviceFrames(16, true)).toBe(first)
    expect(isAll(mmu.bytes(first), POISON)).toBe(true)
  })
})

describe('SimulatedMmu address spaces', () => {
  test('attach() numbers them, detach() wants one that is attached', () => {
    const mmu = new SimulatedMmu({ nframes: 16 })
    const a = mmu.attach()
    expect(mmu.attach()).not.toBe(a)
    mmu.detach(a)
    expect(() => mmu.detach(a)).toThrow(AssertionError)
  })

  test('there are no translations to install or take away', () => {
    const mmu = new SimulatedMmu({ nframes: 16 })
    expect(mmu.capabilities.walksPageTable).toBe(true)
    expect(() => mmu.install()).toThrow(AssertionError)
    expect(() => mmu.unmap()).toThrow(AssertionError)
    expect(() => mmu.protect()).toThrow(AssertionError)
    expect(() => mmu.collectDirty()).toThrow(AssertionError)
  })
})
