import { expect, it } from 'vitest'
import { SimulatedMmu } from '../mmu/simulated/simulated-mmu.ts'
import { MEMORY_DEVICE_PRIVATE, memremapPages } from './memremap.ts'
import { System } from './system.ts'

const ops = { pageFree: () => {}, migrateToRam: () => 0 }

it('device memory that was announced needs no new books', () => {
  for (const devicePages of [0, 1024]) {
    const sys = new System(new SimulatedMmu({ nframes: 512 }), { devicePages })
    const { refcount } = sys.pages
    expect(memremapPages(sys, { type: MEMORY_DEVICE_PRIVATE, npages: 1000, ops, owner: {} })).toMatchObject({
      pfn: 512,
    })
    expect(sys.pages.refcount === refcount).toBe(devicePages > 0)
    expect(sys.pages.nframes).toBe(1512)
  }
})
