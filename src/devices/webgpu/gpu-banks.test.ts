// Banks on a device that refuses: what there is of a GPU here is only what banks ask of one.

import { describe, expect, it } from 'vitest'
import { GpuBanks } from './gpu-banks.ts'
import { GpuContext, GpuError } from './gpu-context.ts'

const MIB = 1024 ** 2

/** A device with so much memory, and so large buffers at most. */
function deviceWith(memory: number, limit = 1024 * MIB): { device: GPUDevice; sizes: number[] } {
  const sizes: number[] = []
  const scopes: { filter: string; error: { message: string } | null }[] = []
  let left = memory
  const device = {
    limits: { maxBufferSize: limit, maxStorageBufferBindingSize: limit },
    lost: new Promise(() => {}),
    queue: Object.create({}), // the prototypes of queues are changed
    addEventListener: () => {},
    pushErrorScope: (filter: string) => scopes.push({ filter, error: null }),
    popErrorScope: async () => scopes.pop()?.error ?? null,
    createBuffer({ size }: { size: number }) {
      const wanted = size > limit ? 'validation' : size > left ? 'out-of-memory' : null
      const scope = scopes.findLast(({ filter }) => filter === wanted)
      if (scope !== undefined) scope.error = { message: `${wanted}: ${size} bytes` }
      else {
        left -= size
        sizes.push(size)
      }
      return { size, destroy: () => {} }
    },
  }
  return { device: device as unknown as GPUDevice, sizes }
}

async function create(memory: number, wanted: number, limit?: number, bankMax?: number) {
  const { device, sizes } = deviceWith(memory, limit)
  const banks = await GpuBanks.create(new GpuContext(device, () => {}), wanted, bankMax)
  return { sizes: sizes.map((size) => size / MIB), npages: banks.npages, bankPages: banks.bankPages, banks }
}

describe('GpuBanks', () => {
  it('is one buffer where one is large enough', async () => {
    expect(await create(1000 * MIB, 256 * MIB)).toMatchObject({ sizes: [256], npages: 65536, bankPages: 65536 })
  })

  it('asks for half as much as long as it is refused', async () => {
    expect(await create(100 * MIB, 256 * MIB)).toMatchObject({ sizes: [64], bankPages: 16384, npages: 16384 })
  })

  it('takes as many banks as it gets, below what one buffer may be', async () => {
    expect(await create(1000 * MIB, 250 * MIB, 101 * MIB)).toMatchObject({ sizes: [100, 100, 50], npages: 64000 })
    expect(await create(250 * MIB, 1000 * MIB, 101 * MIB)).toMatchObject({ sizes: [100, 100], npages: 51200 })
    expect(await create(1000 * MIB, 30 * MIB, undefined, 10 * MIB)).toMatchObject({ sizes: [10, 10, 10] })
  })

  it('knows where each byte lies', async () => {
    const { banks } = await create(1000 * MIB, 30 * MIB, undefined, 10 * MIB)
    expect(banks.place(25 * MIB)).toEqual({ buffer: banks.buffers[2], offset: 5 * MIB })
    expect(banks.place(10 * MIB - 1)).toEqual({ buffer: banks.buffers[0], offset: 10 * MIB - 1 })
  })

  it('gives up with a reason where there is nothing', async () => {
    await expect(create(100_000, 256 * MIB)).rejects.toThrow(GpuError)
    await expect(create(100_000, 256 * MIB)).rejects.toThrow(
      'no device memory, not even 1 MiB: out-of-memory: 1048576 bytes',
    )
  })
})
