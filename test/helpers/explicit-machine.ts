// An explicit heap with a WebGPU device on it, put together by hand from mm, hmm and the driver: what tests of the driver
// stand on. Every `check` holds all invariants against the machine as it is, also in the middle of migrations.

import { type Addr, PAGE_SIZE, pteIndex } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import { MmError } from '../../src/base/errno.ts'
import { whenUnclaimed } from '../../src/devices/claims.ts'
import { deviceTranslations, validateDevice } from '../../src/devices/driver/index.ts'
import { touchPages, withMmapWriteLock } from '../../src/devices/edge.ts'
import { KernelDispatcher } from '../../src/devices/webgpu/kernel-dispatch.ts'
import { type KernelOptions, type KernelReceipt, runKernels } from '../../src/devices/webgpu/kernel-launch.ts'
import { KernelPipelines } from '../../src/devices/webgpu/kernel-pipelines.ts'
import {
  WebGpuDevice,
  type WebGpuDeviceHandle,
  type WebGpuDeviceOptions,
} from '../../src/devices/webgpu/webgpu-device.ts'
import type { DevicePolicy } from '../../src/hmm/policy.ts'
import { f32, kernel, read, readWrite, uniform } from '../../src/index.ts'
import type { ArgumentValues, KernelArguments } from '../../src/kernel/argument.ts'
import type { Kernel } from '../../src/kernel/kernel.ts'
import { prepareLaunch, type ViewPlace } from '../../src/kernel/launch.ts'
import { dumpPte } from '../../src/mm/dump.ts'
import { Mm } from '../../src/mm/mm.ts'
import { mmMmap, mmMunmap, mmput } from '../../src/mm/mmap.ts'
import { PTE_KIND_DEVICE_PRIVATE, PTE_KIND_MIGRATION, pteKind, ptePresent } from '../../src/mm/pte.ts'
import { System } from '../../src/mm/system.ts'
import { validateSystem } from '../../src/mm/validate.ts'
import { ExplicitMmu } from '../../src/mmu/explicit/explicit-mmu.ts'
import { DEFAULT_POLICY } from '../../src/policies/index.ts'
import { type Counters, EventTracer } from '../../src/trace/index.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_POPULATE, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../src/uapi/mman.ts'

export interface ExplicitMachineOptions extends Partial<Omit<WebGpuDeviceOptions, 'memory' | 'tracer'>> {
  /** Pages of the heap. */
  readonly heapPages: number
  /** Pages of device memory. */
  readonly devicePages: number
  /** A shared buffer, as a heap of several threads has. Default false. */
  readonly shared?: boolean
}

type LaunchOptions = Omit<KernelOptions, 'name'>

/** What an explicit heap wants: the CPU goes on reading what a launch reads, and every page has one place. */
export const PINNING: DevicePolicy = {
  ...DEFAULT_POLICY,
  place: ({ access }) => (access === 'read' ? 'duplicate' : 'pin'),
}

/** Everything moves, and system frames are freed. */
export const MIGRATING: DevicePolicy = { ...DEFAULT_POLICY, place: () => 'migrate' }

export class ExplicitMachine {
  readonly mmu: ExplicitMmu
  readonly sys: System
  readonly mm: Mm
  readonly device: WebGpuDevice
  readonly handle: WebGpuDeviceHandle
  readonly tracer: EventTracer
  readonly pipelines: KernelPipelines
  readonly dispatcher: KernelDispatcher

  static async create(gpu: GPUDevice, options: ExplicitMachineOptions): Promise<ExplicitMachine> {
    const { heapPages, devicePages, shared = false, ...rest } = options
    const nbytes = heapPages * PAGE_SIZE
    const mmu = new ExplicitMmu(shared ? new SharedArrayBuffer(nbytes) : new ArrayBuffer(nbytes))
    const sys = new System(mmu)
    const tracer = new EventTracer()
    const memory = devicePages * PAGE_SIZE
    const device = await WebGpuDevice.create(sys, gpu, { policy: PINNING, ...rest, memory, tracer })
    return new ExplicitMachine(mmu, sys, device, tracer)
  }

  private constructor(mmu: ExplicitMmu, sys: System, device: WebGpuDevice, tracer: EventTracer) {
    this.mmu = mmu
    this.sys = sys
    this.device = device
    this.tracer = tracer
    const { context } = device.hardware
    this.pipelines = new KernelPipelines(context)
    this.dispatcher = new KernelDispatcher(context)
    this.mm = new Mm(sys)
    const handle = device.open(this.mm)
    assert(typeof handle !== 'number', () => `open returned ${handle}`)
    this.handle = handle
  }

  /** Runs a kernel on views of the heap. Throws for arguments that do not fit it. */
  async launch<A extends KernelArguments>(
    kernel: Kernel<A>,
    values: ArgumentValues<A>,
    count: number,
    options: LaunchOptions = {},
  ): Promise<KernelReceipt> {
    // All that is mapped may be one array.
    const locate = ({ byteOffset, byteLength }: ArrayBufferView): ViewPlace => {
      return { start: byteOffset, end: byteOffset + byteLength, arrayStart: 0, arrayEnd: this.mmu.buffer.byteLength }
    }
    const { launch } = prepareLaunch(kernel, values, count, { locate, strict: false })
    const { context, banks } = this.device.hardware
    const { handle, pipelines, dispatcher } = this
    const site = { context, banks, handle, pipelines, dispatcher }
    const [receipt] = await runKernels(site, [launch], { name: kernel.name, ...options })
    return receipt
  }

  /** `y[i] = a * x[i] + y[i]` on `count` floats at each address. */
  saxpy(a: number, x: Addr, y: Addr, count: number, options: LaunchOptions = {}): Promise<KernelReceipt> {
    return this.launch(SAXPY, { x: this.floats(x, count), y: this.floats(y, count), a }, count, options)
  }

  prefetch(start: Addr, end: Addr, access: 'read' | 'write' = 'write'): Promise<unknown> {
    return this.handle.prefetch({ start, end }, access)
  }

  /** Gives `[start, end)` to the CPU after the launches that use it, as the heap's `sync` does. Returns what that moved. */
  async sync(start: Addr, end: Addr, access: 'read' | 'write' = 'write'): Promise<Counters> {
    await whenUnclaimed(this.mm, { start, end })
    const counters = await this.handle.bringBack({ start, end })
    const err = await touchPages(this.mm, start, end, access === 'write')
    if (err !== 0) throw new MmError(err, 'sync', { addr: start })
    return counters
  }

  get counters(): Counters {
    return this.tracer.counters.total
  }

  /** Memory that belongs to the CPU, as the heap gives it to a program. */
  alloc(page: number, npages: number): Addr {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE
    const addr = mmMmap(this.mm, page * PAGE_SIZE, npages * PAGE_SIZE, PROT_READ | PROT_WRITE, flags)
    assert(addr === page * PAGE_SIZE, () => `mmap returned ${addr}`)
    return addr
  }

  /** The same without pages: nobody has touched it yet. */
  reserve(page: number, npages: number): Addr {
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
    const addr = mmMmap(this.mm, page * PAGE_SIZE, npages * PAGE_SIZE, PROT_READ | PROT_WRITE, flags)
    assert(addr === page * PAGE_SIZE, () => `mmap returned ${addr}`)
    return addr
  }

  /** What the program sees of a range. */
  floats(addr: Addr, count: number): Float32Array {
    return new Float32Array(this.mmu.buffer, addr, count)
  }

  /** munmap as the edge does it: after whatever holds the mappings. Returns what mmMunmap returns. */
  async munmap(addr: Addr, nbytes: number): Promise<number> {
    return await withMmapWriteLock(this.mm, () => mmMunmap(this.mm, addr, nbytes))
  }

  /** The page table, a character per page: `D` on the device, `M` migrating, `w` in system memory; small if read-only. */
  pages(addr: Addr, npages: number): string {
    return dumpPte(this.mm, addr, npages, () => 0)
  }

  /** Whose the pages are, and how many: counts of entries by state. */
  census(addr: Addr, npages: number): { present: number; device: number; migrating: number; empty: number } {
    const counts = { present: 0, device: 0, migrating: 0, empty: 0 }
    for (let at = addr; at < addr + npages * PAGE_SIZE; at += PAGE_SIZE) {
      const table = this.mm.pageTable.findPte(at)
      const flags = table === null ? 0 : table.words[2 * pteIndex(at) + 1]
      if (flags === 0) counts.empty++
      else if (ptePresent(flags)) counts.present++
      else if (pteKind(flags) === PTE_KIND_DEVICE_PRIVATE) counts.device++
      else if (pteKind(flags) === PTE_KIND_MIGRATION) counts.migrating++
    }
    return counts
  }

  /** Waits until some page of the range is on its way. */
  async untilMigrating(addr: Addr, npages: number): Promise<void> {
    for (let look = 1; this.census(addr, npages).migrating === 0; look++) {
      assert(look < 10_000, () => `pages at ${addr} begin to migrate: ${this.pages(addr, npages)}`)
      // Mostly steps of promises, so that no state is missed; now and then a turn of the event loop.
      await (look % 100 === 0 ? new Promise(setImmediate) : Promise.resolve())
    }
  }

  /** All invariants, with exact references. */
  check(): void {
    const { sys, device } = this
    const heldReferences = device.heldReferences()
    validateSystem(sys, { level: 'full', translations: deviceTranslations(device), heldReferences })
    validateDevice(device, null)
    const { uncaptured } = device.hardware.context
    assert(uncaptured.length === 0, () => `GPU errors: ${uncaptured.join('; ')}`)
  }

  /** Takes everything down, and holds that nothing is left. */
  async close(): Promise<void> {
    const closed = await this.handle.close()
    assert(closed === 0, () => `close of the handle returned ${closed}`)
    this.check()
    assert(!this.mm.mmapLock.isHeld && this.mm.mmapLock.waitingWriters === 0, 'nobody holds or wants mmapLock')
    mmput(this.mm)
    const removed = await this.device.close()
    assert(removed === 0, () => `close of the device returned ${removed}`)
    validateSystem(this.sys, { level: 'full', heldReferences: () => 0 })
    assert(this.mmu.nfree === this.mmu.nframes, 'all frames are free')
  }
}

/** `y[i] = a * x[i] + y[i]`. */
export const SAXPY = kernel({
  name: 'saxpy',
  args: { x: read(f32), y: readWrite(f32), a: uniform(f32) },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] = a * x[id.x] + y[id.x]; }`,
})
