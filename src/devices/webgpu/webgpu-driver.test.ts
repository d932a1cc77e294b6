// The driver at its edges. That launches, evictions and faults fit together is in test/slice/thin-slice.test.ts.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  ExplicitMachine,
  type ExplicitMachineOptions,
  SAXPY,
  saxpyCall,
} from '../../../test/helpers/explicit-machine.ts'
import { openGpu, whyNoGpu } from '../../../test/helpers/gpu.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import { EBUSY, EINVAL } from '../../base/errno.ts'
import { mmput } from '../../mm/mmap.ts'
import { mmMprotect } from '../../mm/mprotect.ts'
import { validateSystem } from '../../mm/validate.ts'
import { sumByCause } from '../../trace/index.ts'
import { PROT_READ, PROT_WRITE } from '../../uapi/mman.ts'
import { touchPages, withMmapWriteLock } from '../edge.ts'
import type { DirectKernel } from './direct-kernel.ts'
import { sliceWgsl } from './direct-slice.wgsl.ts'
import { GpuError } from './gpu-context.ts'
import { WebGpuDevice } from './webgpu-driver.ts'

const RW = PROT_READ | PROT_WRITE
const page = (vpn: number) => vpn * PAGE_SIZE
const FLOATS = PAGE_SIZE / 4

let missing: string | null
let gpu: GPUDevice
let machine: ExplicitMachine | null = null

beforeAll(async () => {
  missing = await whyNoGpu()
  if (missing === null) gpu = await openGpu()
})

beforeEach((test) => {
  if (missing !== null) test.skip(missing)
})

afterEach(async () => {
  const open = machine
  machine = null
  await open?.close()
})

async function start(options: Partial<ExplicitMachineOptions> = {}): Promise<ExplicitMachine> {
  machine = await ExplicitMachine.create(gpu, { heapPages: 256, devicePages: 32, ...options })
  return machine
}

/** `x[i] = first + i` on CPU pages [vpn, vpn + npages). Returns the address. */
function filled(m: ExplicitMachine, vpn: number, npages: number, first = 0): number {
  const addr = m.alloc(vpn, npages)
  m.floats(addr, npages * FLOATS).forEach((_, i, all) => {
    all[i] = first + i
  })
  return addr
}

describe('launch', () => {
  it('makes pages on the device that nobody has touched, and they are zero', async () => {
    const m = await start()
    const x = m.reserve(1, 8)
    const y = m.reserve(20, 8)
    const receipt = await m.handle.launch(SAXPY, saxpyCall(2, x, y, 8 * FLOATS))
    m.check()
    expect(receipt.moved).toMatchObject({ npagesIn: 16, bytesHostToDevice: 0 })
    expect([m.pages(x, 8), m.mmu.nfree]).toEqual(['DDDDDDDD', 256])
    await m.handle.sync(x, page(9))
    await m.handle.sync(y, page(28))
    m.check()
    // x was only read: no byte of it was copied.
    expect(sumByCause(m.counters.bytesDeviceToHost)).toBe(page(8))
    expect(m.floats(x, 8 * FLOATS).every((value) => value === 0)).toBe(true)
    expect(m.floats(y, 8 * FLOATS).every((value) => value === 0)).toBe(true)
  })

  it('joins what lies on the device in pieces, without a way through system memory, and forgets no store', async () => {
    const m = await start()
    const x = filled(m, 1, 8)
    const y = filled(m, 20, 8, 100)
    // Two blocks for y with one of x between them; then y is written in part.
    await m.handle.prefetch(y, page(24))
    await m.handle.prefetch(x, page(5))
    await m.handle.prefetch(page(24), page(28))
    await m.handle.launch(SAXPY, saxpyCall(1, x, y, FLOATS))
    expect(m.pages(y, 8)).toBe('DDDDDDDD')
    const up = sumByCause(m.counters.bytesHostToDevice)
    const receipt = await m.handle.launch(SAXPY, saxpyCall(1, page(5), page(22), 4 * FLOATS))
    m.check()
    expect(receipt.moved).toMatchObject({
      bytesHostToDevice: page(4),
      bytesDeviceToDevice: page(4),
      bytesDeviceToHost: 0,
    })
    expect(sumByCause(m.counters.bytesHostToDevice)).toBe(up + page(4))
    await m.handle.sync(y, page(28), 'read')
    m.check()
    const expected = Array.from({ length: 8 * FLOATS }, (_, i) => {
      const base = 100 + i
      if (i < FLOATS) return base + i
      return i >= 2 * FLOATS && i < 6 * FLOATS ? base + 4 * FLOATS + (i - 2 * FLOATS) : base
    })
    expect([...m.floats(y, 8 * FLOATS)]).toEqual(expected)
    // Five pages were written: one by the first launch, four by the second.
    expect(sumByCause(m.counters.bytesDeviceToHost)).toBe(page(5))
  })

  it('evicts the coldest block first', async () => {
    const m = await start({ devicePages: 24 })
    const blocks = [1, 20, 40].map((vpn) => filled(m, vpn, 8))
    for (const addr of blocks) await m.handle.prefetch(addr, addr + page(8), 'read')
    await m.handle.launch(SAXPY, saxpyCall(1, blocks[1], blocks[0], FLOATS))
    const next = filled(m, 60, 8)
    await m.handle.prefetch(next, next + page(8), 'read')
    m.check()
    const states = [...blocks, next].map((addr) => m.pages(addr, 8))
    expect(states).toEqual(['DDDDDDDD', 'DDDDDDDD', 'wwwwwwww', 'DDDDDDDD'])
    expect(m.counters.pagesMigrated).toMatchObject({ prefetch: 32, eviction: 8, fault: 0 })
    expect(sumByCause(m.counters.bytesDeviceToHost)).toBe(0)
  })

  it('waits for frames that somebody else is about to give back', async () => {
    const m = await start({ devicePages: 16, staging: { npages: 2, count: 1 } })
    const [x, y, z] = [filled(m, 1, 8), filled(m, 20, 8), filled(m, 40, 16)]
    await m.handle.launch(SAXPY, saxpyCall(1, x, y, 8 * FLOATS))
    const synced = m.handle.sync(y, page(28))
    await m.untilMigrating(y, 8)
    await Promise.all([m.handle.prefetch(z, page(56)), synced])
    m.check()
    expect([m.pages(x, 8), m.pages(y, 8), m.census(z, 16).device]).toEqual(['wwwwwwww', 'wwwwwwww', 16])
    expect([...m.floats(y, 3)]).toEqual([0, 2, 4])
  })

  it('binds arguments that begin anywhere, also two in one page', async () => {
    const m = await start()
    const x = filled(m, 3, 4)
    const [at, count] = [x + 20, 900]
    const y = x + PAGE_SIZE + 12
    const expected = [...m.floats(x, 4 * FLOATS)].map((value, i) => {
      const j = i - (y - x) / 4
      return j >= 0 && j < count ? value + 2 * (j + 5) : value
    })
    await m.handle.launch(SAXPY, saxpyCall(2, at, y, count))
    m.check()
    await m.handle.sync(x, page(7))
    expect([...m.floats(x, 4 * FLOATS)]).toEqual(expected)
    await expect(m.handle.launch(SAXPY, saxpyCall(2, x, x + 4, 10))).rejects.toThrow(RangeError)
  })

  it('tells each invocation its number, over all slices', async () => {
    const m = await start({ devicePages: 8 })
    const addr = m.reserve(1, 40)
    const kernel: DirectKernel = {
      name: 'number',
      workgroupSize: 32,
      uniformBytes: 0,
      args: [{ name: 'out', access: 'readWrite', stride: 4 }],
      code: /* wgsl */ `
        @group(0) @binding(0) var<storage, read_write> out: array<u32>;
        ${sliceWgsl(1)}
        @compute @workgroup_size(32)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {
          if (id.x < hm.count) { out[hm_skip(0u) + id.x] = hm.first + id.x; }
        }`,
    }
    const count = 40 * FLOATS - 7
    const receipt = await m.handle.launch(kernel, { ranges: [{ addr, nbytes: 4 * count }], count })
    expect(receipt.nslices).toBeGreaterThan(9)
    await m.handle.sync(addr, page(41))
    m.check()
    const numbers = new Uint32Array(m.mmu.buffer, addr, 40 * FLOATS)
    expect(numbers.findIndex((value, i) => value !== (i < count ? i : 0))).toBe(-1)
  })

  it('of a page that lost its write permission on the device faults it anew', async () => {
    const m = await start()
    const x = filled(m, 1, 4)
    const y = filled(m, 10, 4)
    await m.handle.launch(SAXPY, saxpyCall(1, x, y, 4 * FLOATS))
    await withMmapWriteLock(m.mm, () => mmMprotect(m.mm, y, page(4), PROT_READ))
    await expect(m.handle.launch(SAXPY, saxpyCall(1, x, y, 4 * FLOATS))).rejects.toMatchObject({ code: 'EACCES' })
    m.check()
    await withMmapWriteLock(m.mm, () => mmMprotect(m.mm, y, page(4), RW))
    expect(m.pages(y, 4)).toBe('dddd')
    await m.handle.launch(SAXPY, saxpyCall(1, x, y, 4 * FLOATS))
    m.check()
    await m.handle.sync(y, page(14))
    expect([...m.floats(y, 4 * FLOATS)]).toEqual(Array.from({ length: 4 * FLOATS }, (_, i) => 3 * i))
  })

  it('rejects by name what cannot run, and leaves everything as it was', async () => {
    const m = await start()
    const x = filled(m, 1, 4)
    const y = filled(m, 10, 4)
    const before = [m.pages(x, 20), m.device.npagesUsed]
    await expect(m.handle.launch(SAXPY, saxpyCall(1, x, page(100), 4))).rejects.toMatchObject({ code: 'EFAULT' })
    const wide = { ...SAXPY, args: SAXPY.args.map((arg) => ({ ...arg, stride: 0 })) }
    m.reserve(40, 100)
    const ranges = [
      { addr: page(40), nbytes: page(60) },
      { addr: y, nbytes: 4 },
    ]
    const uniforms = new Uint8Array(4)
    await expect(m.handle.launch(wide, { ranges, count: 1, uniforms })).rejects.toMatchObject({ code: 'ENOMEM' })
    const broken = { ...SAXPY, name: 'broken', code: SAXPY.code.replace('return', 'retrun') }
    await expect(m.handle.launch(broken, saxpyCall(1, x, y, 4))).rejects.toThrow(
      /kernel broken does not compile: .*retrun/s,
    )
    await expect(m.handle.launch(SAXPY, { ...saxpyCall(1, x, y, 4), uniforms: new Uint8Array(8) })).rejects.toThrow(
      RangeError,
    )
    await m.handle.sync(x, page(5))
    expect([m.pages(x, 20), m.device.npagesUsed]).toEqual(before)
    m.check()
  })

  it('goes on when pages in its way are moved by somebody else', async () => {
    const m = await start({ staging: { npages: 4, count: 1 } })
    const x = filled(m, 1, 8)
    const y = filled(m, 20, 8)
    for (let round = 1; round <= 5; round++) {
      const launched = m.handle.launch(SAXPY, saxpyCall(1, x, y, 8 * FLOATS))
      const evicted = m.device.evictAll()
      const touched = touchPages(m.mm, x, page(9), false)
      await Promise.all([launched, evicted, touched])
      m.check()
    }
    await m.handle.sync(y, page(28))
    expect([...m.floats(y, 8 * FLOATS)]).toEqual(Array.from({ length: 8 * FLOATS }, (_, i) => 6 * i))
  })

  it('many operations at once on ranges of their own do not disturb each other', async () => {
    const m = await start({ devicePages: 20, heapPages: 256, staging: { npages: 4, count: 2 } })
    const [x, y] = [filled(m, 1, 64), filled(m, 100, 64)]
    const model = Float32Array.from({ length: 64 * FLOATS }, (_, i) => i)
    for (let round = 1; round <= 6; round++) {
      const work: Promise<unknown>[] = []
      for (let part = 0; part < 8; part++) {
        const first = part * 8 * FLOATS
        const [from, to] = [x + 4 * first, y + 4 * first]
        const count = 8 * FLOATS - 300
        if ((part + round) % 3 === 0) {
          work.push(m.handle.sync(to, to + page(8), part % 2 === 0 ? 'read' : 'readWrite'))
          continue
        }
        work.push(m.handle.launch(SAXPY, saxpyCall(round, from, to, count)))
        for (let i = first; i < first + count; i++) model[i] += round * i
        if (part % 4 === 1) work.push(m.device.evictAll())
        if (part % 4 === 2) work.push(touchPages(m.mm, from + page(2), from + page(6), false))
        if (part % 4 === 3) work.push(m.handle.prefetch(from, from + page(4), 'read'))
      }
      await Promise.all(work)
      m.check()
    }
    await m.handle.sync(y, page(164))
    const actual = m.floats(y, 64 * FLOATS)
    expect(actual.findIndex((value, i) => value !== model[i])).toBe(-1)
  })

  it('survives collections of garbage while the device works', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const m = await start()
    const x = filled(m, 1, 16)
    const y = filled(m, 30, 16)
    for (let round = 0; round < 10; round++) {
      const launched = m.handle.launch(SAXPY, saxpyCall(1, x, y, 16 * FLOATS))
      collect()
      await Promise.resolve()
      collect()
      await launched
      collect()
      await m.handle.sync(y, page(46))
    }
    expect([...m.floats(y, 4)]).toEqual([0, 11, 22, 33])
  })
})

describe('sync', () => {
  it('of a range with holes and of pages that never left gives them to the CPU', async () => {
    const m = await start()
    const x = m.reserve(1, 6)
    await touchPages(m.mm, page(2), page(3), true)
    await m.handle.prefetch(page(4), page(5))
    expect(m.pages(x, 6)).toBe('-w-D--')
    expect(await m.handle.sync(x, page(7), 'read')).toMatchObject({ npagesOut: 1, bytesDeviceToHost: 0 })
    m.check()
    expect(m.pages(x, 6)).toBe('wwwwww')
    expect(m.floats(x, 6 * FLOATS).every((value) => value === 0)).toBe(true)
  })

  it('rejects ranges that are no whole pages or not mapped', async () => {
    const m = await start()
    const x = filled(m, 1, 2)
    await expect(m.handle.sync(x + 4, page(2))).rejects.toThrow(RangeError)
    await expect(m.handle.sync(x, x)).rejects.toThrow(RangeError)
    await expect(m.handle.prefetch(Number.NaN, page(2))).rejects.toThrow(RangeError)
    await expect(m.handle.sync(x, page(4))).rejects.toMatchObject({ code: 'EFAULT' })
    await withMmapWriteLock(m.mm, () => mmMprotect(m.mm, x, page(1), PROT_READ))
    await expect(m.handle.sync(x, page(2))).rejects.toMatchObject({ code: 'EFAULT' })
    await m.handle.sync(x, page(2), 'read')
    m.check()
  })
})

describe('the device', () => {
  it('gives back what stood behind its pages when a mapping goes', async () => {
    const m = await start()
    const x = filled(m, 1, 8)
    m.reserve(20, 8)
    await m.handle.prefetch(x, page(9))
    await m.handle.prefetch(page(20), page(28))
    expect([m.device.npagesUsed, m.mmu.nfree]).toEqual([16, 256 - 8])
    expect(await m.munmap(x, page(4))).toBe(0)
    expect(await m.munmap(page(20), page(8))).toBe(0)
    m.check()
    expect([m.device.npagesUsed, m.mmu.nfree]).toEqual([4, 256 - 4])
  })

  it('lets an address space go while it works for it: the last one to leave takes it down', async () => {
    const m = await start()
    const x = filled(m, 1, 8)
    const y = filled(m, 20, 8)
    const launched = m.handle.launch(SAXPY, saxpyCall(1, x, y, 8 * FLOATS))
    expect(mmput(m.mm)).toBe(0)
    expect(m.mm.users).toBeGreaterThan(0)
    await launched
    expect([m.mm.users, m.device.npagesUsed, m.mmu.nfree]).toEqual([0, 0, 256])
    validateSystem(m.sys, { level: 'full', heldReferences: () => 0 })
    await expect(m.handle.launch(SAXPY, saxpyCall(1, x, y, 4))).rejects.toMatchObject({ code: 'EINVAL' })
    expect(m.handle.mirror.registered).toBe(false)
    expect([await m.handle.close(), await m.device.close()]).toEqual([0, 0])
    machine = null
  })

  it('has one mirror per address space, and closes when there is none', async () => {
    const m = await start()
    expect(m.device.open(m.mm)).toBe(-EINVAL)
    expect(await m.device.close()).toBe(-EBUSY)
    const x = filled(m, 1, 2)
    await m.handle.prefetch(x, page(3))
    expect(await m.handle.close()).toBe(0)
    expect([await m.handle.close(), m.pages(x, 2)]).toEqual([0, 'ww'])
    await expect(m.handle.sync(x, page(3))).rejects.toMatchObject({ code: 'ENODEV' })
    expect(await touchPages(m.mm, x, page(3), true)).toBe(0)
    expect([...m.floats(x, 3)]).toEqual([0, 1, 2])
  })

  it('refuses sizes that are none, and more memory than there is', async () => {
    const m = await start()
    for (const memory of [0, -PAGE_SIZE, 100, Number.NaN]) {
      await expect(WebGpuDevice.create(m.sys, gpu, { memory })).rejects.toThrow(RangeError)
    }
    const memory = gpu.limits.maxBufferSize + PAGE_SIZE
    await expect(WebGpuDevice.create(m.sys, gpu, { memory })).rejects.toThrow(GpuError)
    m.check()
  })

  it('that is lost rejects launches; clean pages come back, others are an error by name', async () => {
    const lost = await openGpu()
    const m = await ExplicitMachine.create(lost, { heapPages: 256, devicePages: 32 })
    const x = filled(m, 1, 8)
    const y = filled(m, 20, 8)
    await m.handle.launch(SAXPY, saxpyCall(1, x, y, 8 * FLOATS))
    lost.destroy()
    await lost.lost
    await expect(m.handle.launch(SAXPY, saxpyCall(1, x, y, 8))).rejects.toThrow(GpuError)
    m.check()
    await m.handle.sync(x, page(9))
    expect([...m.floats(x, 3)]).toEqual([0, 1, 2])
    await expect(m.handle.sync(y, page(28))).rejects.toMatchObject({ code: 'EIO' })
    expect(m.pages(y, 8)).toBe('DDDDDDDD')
    expect(await touchPages(m.mm, y, page(21), false)).toBeLessThan(0)
    m.check()
    expect([await m.handle.close(), await m.device.close()]).toEqual([0, -EBUSY])
    mmput(m.mm)
    expect(await m.device.close()).toBe(0)
    validateSystem(m.sys, { level: 'full', heldReferences: () => 0 })
  })

  it('that is lost in the middle of a launch ends it, and no page is left in between', async () => {
    const lost = await openGpu()
    const m = await ExplicitMachine.create(lost, { heapPages: 256, devicePages: 16, staging: { npages: 4, count: 1 } })
    const x = filled(m, 1, 32)
    const y = filled(m, 100, 32)
    const launched = m.handle.launch(SAXPY, saxpyCall(1, x, y, 32 * FLOATS))
    const outcome = launched.then(
      () => 'done',
      (error: unknown) => error,
    )
    await m.untilMigrating(y, 32)
    lost.destroy()
    expect(await outcome).toBeInstanceOf(GpuError)
    m.check()
    const census = [m.census(x, 32), m.census(y, 32)]
    expect(census.map(({ migrating, empty }) => migrating + empty)).toEqual([0, 0])
    // Whatever could come back holds the value before the launch or after it.
    const left = census[0].device + census[1].device
    expect(left).toBeLessThanOrEqual(16)
    await m.handle.sync(x, page(33))
    expect(m.floats(x, 32 * FLOATS).every((value, i) => value === i)).toBe(true)
    await m.handle.close()
    mmput(m.mm)
    expect(await m.device.close()).toBe(0)
  })

  it('mirrors an address space again after it was closed', async () => {
    const m = await start()
    expect(await m.handle.close()).toBe(0)
    const again = m.device.open(m.mm)
    if (typeof again === 'number') throw new Error(`open returned ${again}`)
    const x = filled(m, 1, 2)
    await again.prefetch(x, page(3))
    expect(m.pages(x, 2)).toBe('DD')
    expect(await again.close()).toBe(0)
    expect(m.pages(x, 2)).toBe('ww')
  })
})
