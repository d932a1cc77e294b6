// What `alikeFrames` and its like do for runs, against one frame after the other.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { alikeBytes, alikeFrames, alikePages, copyFrames, framesOfMemory, setFrames } from './frame-runs.ts'
import { DevPagemap, MEMORY_DEVICE_PRIVATE, memremapPages } from './memremap.ts'

/** Few different values, so that there are runs of all lengths. */
const column = fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 40 })

describe('alikeFrames() and alikeBytes()', () => {
  test('count what a look at one after the other counts', () => {
    fc.assert(
      fc.property(column, fc.nat(), fc.nat(), (values, at, n) => {
        const first = at % values.length
        const max = 1 + (n % (values.length - first))
        let wanted = 1
        while (wanted < max && values[first + wanted] === values[first]) wanted++
        expect(alikeFrames(new Int32Array(values), first, max)).toBe(wanted)
        expect(alikeBytes(new Uint8Array(values), first, max)).toBe(wanted)
      }),
    )
  })
})

describe('setFrames() and copyFrames()', () => {
  test.each([0, 1, 15, 16, 100])('%i frames, and none beside them', (npages) => {
    const columns = Int32Array.from({ length: 400 }, (_, i) => i)
    setFrames(columns, -1, 50, npages)
    expect(columns.indexOf(-1)).toBe(npages === 0 ? -1 : 50)
    expect(columns.filter((value) => value === -1).length).toBe(npages)
    copyFrames(columns, 250, 50, npages)
    expect([...columns.subarray(50, 50 + npages)]).toEqual([...columns.subarray(250, 250 + npages)])
    expect([columns[49], columns[50 + npages]]).toEqual([49, 50 + npages])
  })
})

describe('alikePages()', () => {
  test.each(['flags', 'refcount', 'mapcount', 'mapping'] as const)('ends at a page with other %s', (column) => {
    const { sys } = new MmFixture()
    expect(alikePages(sys, 3, 6)).toBe(6)
    sys.pages[column][7] += 1
    expect(alikePages(sys, 3, 6)).toBe(4)
    expect(alikePages(sys, 7, 6)).toBe(1)
    expect(alikePages(sys, 8, 1)).toBe(1)
  })
})

describe('framesOfMemory()', () => {
  test('ends where the memory of the system or of a device does', () => {
    const { sys } = new MmFixture()
    const [device, other] = ['a', 'b'].map((owner) => {
      const ops = { pageFree: () => {}, migrateToRam: () => 0 }
      const pagemap = memremapPages(sys, { type: MEMORY_DEVICE_PRIVATE, npages: 8, owner, ops })
      if (!(pagemap instanceof DevPagemap)) throw new Error(`memremapPages returned ${pagemap}`)
      return pagemap
    })
    expect(framesOfMemory(sys, device.pfn - 3, 100)).toBe(3)
    expect(framesOfMemory(sys, device.pfn + 1, 100)).toBe(7)
    expect(framesOfMemory(sys, device.pfn + 1, 5)).toBe(5)
    expect(framesOfMemory(sys, other.pfn, 100)).toBe(8)
  })
})
