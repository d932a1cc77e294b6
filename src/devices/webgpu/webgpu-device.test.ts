// What is special about a GPU under the driver: kernels that are bound directly, banks, its own ways to fail. That pages move as they
// should is tested for all hardware in ../driver; that everything fits together is in test/slice/thin-slice.test.ts.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { ExplicitMachine, type ExplicitMachineOptions, PINNING } from '../../../test/helpers/explicit-machine.ts'
import { openGpu, whyNoGpu } from '../../../test/helpers/gpu.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import { f32, kernel, read, readWrite } from '../../index.ts'
import { mmMadvise } from '../../mm/madvise.ts'
import { mmMprotect } from '../../mm/mprotect.ts'
import { sumByCause } from '../../trace/index.ts'
import { MADV_DONTNEED, PROT_READ, PROT_WRITE } from '../../uapi/mman.ts'
import { DeviceLostError } from '../driver/index.ts'
import { touchPages, withMmapWriteLock } from '../edge.ts'
import { GpuError } from './gpu-context.ts'
import { WebGpuDevice } from './webgpu-device.ts'
import { withBuffer } from './with-buffer.ts'

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

async function start(options: Partial<ExplicitMachineOptions> = {}, device = gpu): Promise<ExplicitMachine> {
  machine = await ExplicitMachine.create(device, { heapPages: 256, devicePages: 32, ...options })
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

/** Drops what is lost, as a program does in the end, so that nothing is left of the device. */
function discardLost(m: ExplicitMachine): void {
  for (const { start, end } of m.device.lostRanges()) expect(mmMadvise(m.mm, start, end - start, MADV_DONTNEED)).toBe(0)
}

/** Runs for a long time, and has no effect. */
const SLOW = kernel({
  name: 'slow',
  args: { y: readWrite(f32) },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      var sum = 0.0;
      for (var i = 0u; i < 20000000u; i++) { sum = fract(sum * 1.5 + 0.25); }
      if (sum > 2.0) { y[id.x] = sum; }
    }`,
})

/** Every invocation may use all of x. */
const WIDE = kernel({
  name: 'wide',
  paging: 'never',
  args: { x: read(f32), y: readWrite(f32) },
  code: '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] = x[u32(y[id.x])]; }',
})

/** Adds elements that the data names. */
const GATHER = kernel({
  name: 'gather',
  args: { x: read(f32), y: readWrite(f32) },
  code: '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] += x[u32(y[id.x]) - 1000u]; }',
})

describe('a launch', () => {
  it('makes pages on the device that nobody has touched, and they are zero', async () => {
    const m = await start()
    const x = m.reserve(1, 8)
    const y = m.reserve(20, 8)
    const receipt = await m.saxpy(2, x, y, 8 * FLOATS)
    m.check()
    expect(sumByCause(receipt.counters.bytesHostToDevice)).toBe(page(8)) // x, which was faulted in to be copied
    await m.sync(x, page(9))
    await m.sync(y, page(28))
    m.check()
    expect(sumByCause(m.counters.bytesDeviceToHost)).toBe(page(8))
    expect(m.floats(x, 8 * FLOATS).every((value) => value === 0)).toBe(true)
    expect(m.floats(y, 8 * FLOATS).every((value) => value === 0)).toBe(true)
  })

  it('begins with arguments anywhere, also two in one page', async () => {
    const m = await start()
    const x = filled(m, 3, 4)
    const [at, count] = [x + 20, 900]
    const y = x + PAGE_SIZE + 12
    const expected = [...m.floats(x, 4 * FLOATS)].map((value, i) => {
      const j = i - (y - x) / 4
      return j >= 0 && j < count ? value + 2 * (j + 5) : value
    })
    await m.saxpy(2, at, y, count)
    m.check()
    await m.sync(x, page(7))
    expect([...m.floats(x, 4 * FLOATS)]).toEqual(expected)
  })

  it('on a page that lost its write permission on the device faults it anew', async () => {
    const m = await start()
    const x = filled(m, 1, 4)
    const y = filled(m, 10, 4)
    await m.saxpy(1, x, y, 4 * FLOATS)
    await withMmapWriteLock(m.mm, () => mmMprotect(m.mm, y, page(4), PROT_READ))
    await expect(m.saxpy(1, x, y, 4 * FLOATS)).rejects.toMatchObject({ code: 'EACCES' })
    m.check()
    await withMmapWriteLock(m.mm, () => mmMprotect(m.mm, y, page(4), RW))
    expect(m.pages(y, 4)).toBe('dddd')
    await m.saxpy(1, x, y, 4 * FLOATS)
    m.check()
    await m.sync(y, page(14))
    expect([...m.floats(y, 4 * FLOATS)]).toEqual(Array.from({ length: 4 * FLOATS }, (_, i) => 3 * i))
  })

  it('rejects by name what cannot run, and leaves everything as it was', async () => {
    const m = await start()
    const x = filled(m, 1, 4)
    const y = filled(m, 10, 4)
    const before = m.pages(x, 20)
    await expect(m.saxpy(1, x, page(100), 4)).rejects.toMatchObject({ code: 'EFAULT' })
    const wide = m.floats(m.reserve(40, 60), 60 * FLOATS)
    const out = m.floats(y, 4)
    await expect(m.launch(WIDE, { x: wide, y: out }, 4)).rejects.toMatchObject({ code: 'ENOMEM' })
    const broken = kernel({
      name: 'broken',
      args: { y: readWrite(f32) },
      code: '@compute @workgroup_size(65536) fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] = 1; }',
    })
    await expect(m.launch(broken, { y: out }, 4)).rejects.toMatchObject({ program: 'broken' })
    await m.sync(x, page(5))
    await m.sync(y, page(14))
    expect([m.pages(x, 20), m.device.npagesUsed]).toEqual([before, 0])
    m.check()
  })

  it('goes on when pages in its way are moved by somebody else', async () => {
    const m = await start()
    const x = filled(m, 1, 8)
    const y = filled(m, 20, 8)
    for (let round = 1; round <= 5; round++) {
      const launched = m.saxpy(1, x, y, 8 * FLOATS)
      const evicted = m.device.evictAll()
      const touched = touchPages(m.mm, x, page(9), false)
      await Promise.all([launched, evicted, touched])
      m.check()
    }
    await m.sync(y, page(28))
    expect([...m.floats(y, 8 * FLOATS)]).toEqual(Array.from({ length: 8 * FLOATS }, (_, i) => 6 * i))
  })

  it('survives collections of garbage while the device works', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const m = await start()
    const x = filled(m, 1, 16)
    const y = filled(m, 30, 16)
    for (let round = 0; round < 10; round++) {
      const launched = m.saxpy(1, x, y, 16 * FLOATS)
      collect()
      await Promise.resolve()
      collect()
      await launched
      collect()
      await m.sync(y, page(46))
    }
    expect([...m.floats(y, 4)]).toEqual([0, 11, 22, 33])
  })
})

describe('an upload', () => {
  it('to memory that a kernel has written is submitted 2 MiB at a time: the device copies while the next are read', async () => {
    const m = await start({ heapPages: 2048, devicePages: 2048 })
    const x = filled(m, 0, 1536)
    const y = filled(m, 1600, 1)
    await m.saxpy(1, y, y, FLOATS)
    const submit = vi.spyOn(gpu.queue, 'submit')
    try {
      await m.handle.prefetch({ start: x, end: x + page(1536) }, 'read')
      expect(submit).toHaveBeenCalledTimes(3)
    } finally {
      submit.mockRestore()
    }
    m.check()
  })

  it('to memory that no command has written is not submitted, and is there for the first kernel', async () => {
    const m = await start({ heapPages: 2048, devicePages: 2048 })
    const [x, y] = [filled(m, 0, 1536), filled(m, 1600, 1)]
    const submit = vi.spyOn(gpu.queue, 'submit')
    try {
      await m.handle.prefetch({ start: x, end: x + page(1536) }, 'read')
      expect(submit).not.toHaveBeenCalled()
    } finally {
      submit.mockRestore()
    }
    const last = x + page(1535)
    const expected = m.floats(y, FLOATS).map((value, i) => value + 2 * m.floats(last, FLOATS)[i])
    await m.saxpy(2, last, y, FLOATS)
    await m.sync(y, y + page(1))
    expect(m.floats(y, FLOATS)).toEqual(expected)
    m.check()
  })
})

describe('an upload', () => {
  it("to memory that is the CPU's too is one copy, however many blocks, made by the time it is called done", async () => {
    const m = await start({ heapPages: 3072, devicePages: 3072 })
    const [x, y] = [filled(m, 0, 2560), filled(m, 2600, 1)]
    const write = vi.spyOn(gpu.queue, 'writeBuffer')
    try {
      await m.handle.prefetch({ start: x, end: x + page(2560) }, 'read')
      expect(write.mock.calls.map(([, offset, data]) => [offset, data.byteLength])).toEqual([[0, page(2560)]])
    } finally {
      write.mockRestore()
    }
    // Against the rule, and not to be seen by the device.
    m.floats(x + page(2559), 1)[0] = -1
    await m.saxpy(1, x + page(2559), y, 1)
    await m.sync(y, y + page(1))
    expect(m.floats(y, 1)[0]).toBe(2559 * FLOATS)
    m.check()
  })

  it('is cut where a bank ends', async () => {
    const m = await start({ heapPages: 1024, devicePages: 900, bank: page(300) })
    const [x, y] = [filled(m, 0, 700), filled(m, 800, 1)]
    const write = vi.spyOn(gpu.queue, 'writeBuffer')
    try {
      await m.handle.prefetch({ start: x, end: x + page(700) }, 'read')
      const { buffers } = m.device.hardware.banks
      const calls = write.mock.calls.map(([buffer, offset, data]) => [buffers.indexOf(buffer), offset, data.byteLength])
      expect(calls).toEqual([
        [0, 0, page(300)],
        [1, 0, page(300)],
        [2, 0, page(100)],
      ])
    } finally {
      write.mockRestore()
    }
    const expected = m.floats(y, FLOATS).map((value, i) => value + m.floats(x + page(699), FLOATS)[i])
    await m.saxpy(1, x + page(699), y, FLOATS)
    await m.sync(y, y + page(1))
    expect(m.floats(y, FLOATS)).toEqual(expected)
    m.check()
  })
})

describe('device memory', () => {
  it('in several banks holds what it should, and no argument lies in two of them', async () => {
    const m = await start({ devicePages: 30, bank: page(10) })
    expect(m.device.hardware.banks.buffers.map(({ size }) => size)).toEqual([page(10), page(10), page(10)])
    const [x, y] = [filled(m, 1, 64), filled(m, 100, 64)]
    const receipt = await m.saxpy(1, x, y, 64 * FLOATS)
    expect([receipt.mode, receipt.nslices > 8]).toEqual(['direct', true])
    m.check()
    await m.sync(y, page(164))
    expect(m.floats(y, 64 * FLOATS).findIndex((value, i) => value !== 2 * i)).toBe(-1)
    const wide = m.launch(WIDE, { x: m.floats(x, 11 * FLOATS), y: m.floats(y, 4) }, 4)
    await expect(wide).rejects.toMatchObject({ code: 'ENOMEM' })
  })

  it('in several banks is used through a page table by what lies in none of them alone', async () => {
    const m = await start({ devicePages: 30, bank: page(10) })
    const [x, y] = [filled(m, 1, 25), filled(m, 100, 25, 1000)]
    const count = 25 * FLOATS
    const receipt = await m.launch(GATHER, { x: m.floats(x, count), y: m.floats(y, count) }, count)
    expect(receipt.mode).toBe('paged')
    m.check()
    await m.sync(y, page(125))
    expect(m.floats(y, count).findIndex((value, i) => value !== 1000 + 2 * i)).toBe(-1)
  })

  it('in more banks than a kernel can be given says so', async () => {
    const m = await start({ devicePages: 30, bank: page(1) })
    const [x, y] = [filled(m, 1, 11), filled(m, 100, 1)]
    const wide = m.launch(GATHER, { x: m.floats(x, 11 * FLOATS), y: m.floats(y, 4) }, 4)
    await expect(wide).rejects.toThrow(
      /the memory of the device is in 30 buffers, and a kernel can be given \d+ of them/,
    )
  })

  it('is refused in sizes that are none', async () => {
    const m = await start()
    for (const memory of [0, 100, Number.NaN, '1 page']) {
      const creating = WebGpuDevice.create(m.sys, gpu, { memory: memory as number, policy: PINNING })
      await expect(creating).rejects.toThrow(/memory/)
    }
    m.check()
  })

  it('belongs to a GPUDevice that is not destroyed with it, unless that was asked for', async () => {
    const m = await start()
    await m.close()
    machine = null
    const buffer = gpu.createBuffer({ size: 16, usage: 8 })
    await gpu.queue.onSubmittedWorkDone()
    buffer.destroy()
    const own = await openGpu()
    const other = await ExplicitMachine.create(own, { heapPages: 8, devicePages: 4, ownsDevice: true })
    await other.close()
    expect((await own.lost).reason).toBe('destroyed')
  })
})

describe('withBuffer()', () => {
  it('hands out a range of a buffer, and what is done with it counts', async () => {
    const m = await start()
    const y = filled(m, 3, 4)
    const range = { start: y + 8, end: y + page(2) }
    const receipt = await withBuffer(m.handle, range, 'write', ({ device, buffer, offset, size }) => {
      expect([offset % PAGE_SIZE, size]).toEqual([8, page(2) - 8])
      device.queue.writeBuffer(buffer, offset, new Float32Array([70, 80]))
    })
    expect(receipt).toMatchObject({ name: 'withBuffer', mode: 'direct' })
    m.check()
    await m.sync(y, page(7))
    expect([...m.floats(y, 5)]).toEqual([0, 1, 70, 80, 4])
  })

  it('keeps the CPU out until the callback has ended, and rejects with what it threw', async () => {
    const m = await start()
    const y = filled(m, 3, 1)
    let done = false
    const used = withBuffer(m.handle, { start: y, end: page(4) }, 'write', async ({ device, buffer, offset }) => {
      await new Promise((resolve) => setTimeout(resolve, 20))
      device.queue.writeBuffer(buffer, offset, new Float32Array([5]))
      done = true
    })
    await m.sync(y, page(4))
    expect([done, m.floats(y, 1)[0]]).toEqual([true, 5])
    await used
    const failing = withBuffer(m.handle, { start: y, end: page(4) }, 'read', () => {
      throw new Error('no such texture')
    })
    await expect(failing).rejects.toThrow('no such texture')
    m.check()
  })
})

describe('a device that is lost', () => {
  it('rejects launches; clean pages come back, the others are lost by name and range', async () => {
    const lost = await openGpu()
    const m = await start({ nameAt: (_, addr) => (addr >= page(20) ? 'y' : 'x') }, lost)
    const x = filled(m, 1, 8)
    const y = filled(m, 20, 8)
    await m.prefetch(x, page(9))
    await m.saxpy(1, x, y, 4 * FLOATS)
    lost.destroy()
    await lost.lost
    await expect(m.saxpy(1, x, y, 8)).rejects.toMatchObject({
      code: 'DEVICE_LOST',
      lost: [{ name: 'y', start: y, end: y + page(4) }],
    })
    m.check()
    expect(await touchPages(m.mm, x, page(9), false)).toBe(0)
    expect([...m.floats(x, 3)]).toEqual([0, 1, 2])
    expect(await touchPages(m.mm, y, y + 1, false)).toBeLessThan(0)
    await expect(m.handle.bringBack({ start: y, end: page(28) })).rejects.toBeInstanceOf(DeviceLostError)
    discardLost(m)
    expect(await touchPages(m.mm, y, y + 1, false)).toBe(0)
    m.check()
  })

  it.each([1, 3, 5, 8, 13, 21, 34])(
    'in the middle of a launch ends it; no page is left in between (%i turns later)',
    async (turns) => {
      const lost = await openGpu()
      const m = await start({ devicePages: 16 }, lost)
      const x = filled(m, 1, 32)
      const y = filled(m, 100, 32)
      const launched = m.saxpy(1, x, y, 32 * FLOATS)
      const outcome = launched.then(
        () => 'done',
        (error: unknown) => error,
      )
      for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
      lost.destroy()
      const error = await outcome
      if (error !== 'done') expect(error).toBeInstanceOf(DeviceLostError)
      await lost.lost
      m.check()
      const census = [m.census(x, 32), m.census(y, 32)]
      expect(census.map(({ migrating, empty }) => migrating + empty)).toEqual([0, 0])
      // Whatever could come back holds the value before the launch or after it; what could not is on the list.
      const isLost = (addr: number) => m.device.lostRanges().some(({ start, end }) => start <= addr && addr < end)
      expect(await touchPages(m.mm, x, page(33), true)).toBe(0)
      expect(m.floats(x, 32 * FLOATS).every((value, i) => value === i)).toBe(true)
      for (let i = 0; i < 32; i++) {
        const at = y + page(i)
        const err = await touchPages(m.mm, at, at + 1, false)
        expect(err !== 0).toBe(isLost(at))
        if (err !== 0) continue
        const first = i * FLOATS
        expect([
          [first, first + 1],
          [2 * first, 2 * first + 2],
        ]).toContainEqual([...m.floats(at, 2)])
      }
      discardLost(m)
    },
  )

  it('loses nothing that a durable launch wrote', async () => {
    const lost = await openGpu()
    const m = await start({ devicePages: 16 }, lost)
    const x = filled(m, 1, 32)
    const y = filled(m, 100, 32)
    await m.saxpy(1, x, y, 32 * FLOATS, { durable: true })
    lost.destroy()
    await lost.lost
    expect(m.device.lostRanges()).toEqual([])
    expect(await touchPages(m.mm, y, page(132), false)).toBe(0)
    expect(m.floats(y, 32 * FLOATS).findIndex((value, i) => value !== 2 * i)).toBe(-1)
  })

  it('fills what is lost where that is wanted', async () => {
    const lost = await openGpu()
    const m = await start({ onLost: 'fill' }, lost)
    const [x, y] = [filled(m, 1, 1), filled(m, 20, 2)]
    await m.saxpy(1, x, y, FLOATS)
    lost.destroy()
    await lost.lost
    expect(await touchPages(m.mm, y, page(22), true)).toBe(0)
    expect([m.floats(y, 1)[0], m.floats(y + PAGE_SIZE, 1)[0]]).toEqual([Number.NaN, FLOATS])
  })

  it('before it was added is refused', async () => {
    const lost = await openGpu()
    lost.destroy()
    await lost.lost
    const m = await start()
    const creating = WebGpuDevice.create(m.sys, lost, { memory: '64 KiB', policy: PINNING })
    await expect(creating).rejects.toBeInstanceOf(GpuError)
    m.check()
  })

  it('because a kernel hangs says so, and the program goes on with what it has', async () => {
    const m = await start({ deadline: 100_000 }, await openGpu())
    const y = filled(m, 1, 2)
    const args = { y: m.floats(y, 2 * FLOATS) }
    // What compiling takes is no reason.
    await m.launch(SLOW, args, 0)
    const launched = m.launch(SLOW, args, 2 * FLOATS)
    await expect(launched).rejects.toThrow(
      /^webgpu is lost: kernel "slow" made no progress for 100 ms; lost: 2 pages at 0x1000/,
    )
    expect(m.device.lostRanges()).toMatchObject([{ start: y, end: page(3) }])
    discardLost(m)
    expect(await touchPages(m.mm, y, page(3), true)).toBe(0)
    expect(m.floats(y, 1)[0]).toBe(0)
    m.check()
  })
})
