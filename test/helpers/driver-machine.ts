// A machine with one address space, a CPU and devices of one kind, on any backend that has no hardware behind it: what tests of the
// driver stand on. Time stands still until a test moves it; only a GPU takes its own. `check` holds every invariant against the
// machine as it is, also in the middle of copies and launches.

import { type Addr, PAGE_SIZE, type Pfn } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import { MmError } from '../../src/base/errno.ts'
import {
  type DriverHandle,
  deviceTranslations,
  type LaunchReceipt,
  type LaunchRequest,
  type ProgramMemory,
  VirtualClock,
  validateDevice,
} from '../../src/devices/driver/index.ts'
import { mmapReadLock, touchPages, withMmapWriteLock } from '../../src/devices/edge.ts'
import { type Kernel, MemoryDevice, type MemoryDeviceOptions } from '../../src/devices/memory/memory-device.ts'
import { WebGpuDevice } from '../../src/devices/webgpu/webgpu-device.ts'
import { PAGE_FAULT, translate } from '../../src/machine/cpu.ts'
import { dumpPte } from '../../src/mm/dump.ts'
import { Mm } from '../../src/mm/mm.ts'
import { mmMmap, mmMunmap, mmput } from '../../src/mm/mmap.ts'
import { collectWrites } from '../../src/mm/share.ts'
import { System, type SystemOptions } from '../../src/mm/system.ts'
import { validateSystem } from '../../src/mm/validate.ts'
import { ExplicitMmu } from '../../src/mmu/explicit/explicit-mmu.ts'
import { SimulatedMmu } from '../../src/mmu/simulated/simulated-mmu.ts'
import { DEFAULT_POLICY } from '../../src/policies/index.ts'
import { EventTracer, type TraceEvent } from '../../src/trace/index.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../src/uapi/mman.ts'
import { openGpu, whyNoGpu } from './gpu.ts'
import { onGpu, readDevice } from './gpu-kernel.ts'
import { PassingMmu } from './passing-mmu.ts'

export const BACKENDS = ['simulated', 'explicit'] as const
/** 'passing': stores to protected pages go through, and are found by the next launch. */
export type Backend = (typeof BACKENDS)[number] | 'passing'

export const HARDWARES = ['memory', 'webgpu'] as const
export type Hardware = (typeof HARDWARES)[number]

/** What a suite runs on; `$backend` and `$hardware` in its title. */
export interface Setup {
  readonly backend: Backend
  readonly hardware: Hardware
}

/** Suites run on every hardware and backend. On the explicit backend a GPU meets shared memory, on the other one ordinary memory. */
export const SETUPS: readonly Setup[] = HARDWARES.flatMap((hardware) =>
  BACKENDS.map((backend) => ({ backend, hardware })),
)

export const ON_HARDWARES: readonly Setup[] = HARDWARES.map((hardware) => ({ backend: 'simulated', hardware }))

/** Where nobody hears of a store to a duplicated page. */
export const PASSING: readonly Setup[] = HARDWARES.map((hardware) => ({ backend: 'passing', hardware }))

const noGpu = await whyNoGpu()

/** Why a suite cannot run on a setup: the capability that is missing; null if it can. */
export function whyNot({ hardware }: Setup): string | null {
  return hardware === 'webgpu' ? noGpu : null
}

/** One GPUDevice for each device of a machine, for all tests of a file. */
const gpus: Promise<GPUDevice>[] = []

export interface DriverMachineOptions extends SystemOptions {
  /** Frames of system memory. Default 256. */
  readonly nframes?: number
  /** One for each device; default one of 64 pages. A GPU takes the time that it takes, and no latency. */
  readonly devices?: readonly Partial<MemoryDeviceOptions>[]
}

/** A handle whose kernels are functions, whatever the hardware. */
export interface TestHandle
  extends Pick<DriverHandle<ProgramMemory>, 'mm' | 'space' | 'prefetch' | 'bringBack' | 'close'> {
  run(request: LaunchRequest, kernel: Kernel): Promise<LaunchReceipt>
}

const RW = PROT_READ | PROT_WRITE

export class DriverMachine {
  readonly backend: Backend
  readonly mmu: SimulatedMmu | ExplicitMmu
  readonly sys: System
  readonly mm: Mm
  readonly clock = new VirtualClock()
  readonly tracer: EventTracer
  readonly events: TraceEvent[] = []
  readonly devices: (MemoryDevice | WebGpuDevice)[] = []
  readonly handles: TestHandle[] = []
  /** Names of allocations by first page. */
  private readonly names = new Map<number, { name: string; npages: number }>()

  static async open({ backend, hardware }: Setup, options: DriverMachineOptions = {}): Promise<DriverMachine> {
    const machine = new DriverMachine(backend, hardware, options)
    for (const [i, each] of (options.devices ?? [{}]).entries()) await machine.addDevice(hardware, i, each)
    return machine
  }

  private constructor(backend: Backend, hardware: Hardware, options: DriverMachineOptions) {
    const { nframes = 256 } = options
    this.backend = backend
    const nbytes = nframes * PAGE_SIZE
    const makeMemory = () => (hardware === 'webgpu' ? new SharedArrayBuffer(nbytes) : new ArrayBuffer(nbytes))
    if (backend === 'simulated') this.mmu = new SimulatedMmu({ nframes })
    else this.mmu = backend === 'passing' ? new PassingMmu(makeMemory()) : new ExplicitMmu(makeMemory())
    this.sys = new System(this.mmu, options)
    this.mm = new Mm(this.sys)
    const write = (event: TraceEvent): void => void this.events.push(event)
    this.tracer = new EventTracer({ sinks: [{ write }], allocationAt: (addr) => this.nameAt(addr) })
  }

  private async addDevice(hardware: Hardware, index: number, options: Partial<MemoryDeviceOptions>): Promise<void> {
    const { clock, tracer } = this
    const defaults = { name: `mem${index}`, memory: 64 * PAGE_SIZE, policy: DEFAULT_POLICY, clock, tracer }
    const all = {
      ...defaults,
      deadline: Number.POSITIVE_INFINITY,
      nameAt: (_mm: Mm, addr: Addr) => this.nameAt(addr),
      ...options,
    }
    let device: MemoryDevice | WebGpuDevice
    if (hardware === 'memory') device = new MemoryDevice(this.sys, all)
    else {
      gpus[index] ??= openGpu()
      device = await WebGpuDevice.create(this.sys, await gpus[index], all)
    }
    this.devices.push(device)
    const handle = this.openOn(device, this.mm)
    assert(typeof handle !== 'number', () => `open returned ${handle}`)
    this.handles.push(handle)
  }

  /** Begins to mirror an address space on a device. Returns the handle or a negative errno. */
  openOn(device: MemoryDevice | WebGpuDevice, mm: Mm): TestHandle | number {
    if (device instanceof MemoryDevice) return device.open(mm)
    const handle = device.open(mm)
    if (typeof handle === 'number') return handle
    return {
      mm: handle.mm,
      space: handle.space,
      run: (request, kernel) => handle.run(request, onGpu(kernel, device.parts.pool.npages)),
      prefetch: (range, access) => handle.prefetch(range, access),
      bringBack: (range) => handle.bringBack(range),
      close: () => handle.close(),
    }
  }

  /** The first device, for tests that have only one. */
  get device(): MemoryDevice | WebGpuDevice {
    return this.devices[0]
  }

  get handle(): TestHandle {
    return this.handles[0]
  }

  /** Maps pages that nobody has touched. */
  map(page: number, npages: number, name = `pages ${page}`): Addr {
    const addr = page * PAGE_SIZE
    const mapped = mmMmap(this.mm, addr, npages * PAGE_SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
    assert(mapped === addr, () => `mmap returned ${mapped}`)
    this.names.set(page, { name, npages })
    return addr
  }

  /** Maps pages and stores `value(page)` in the first word of each. */
  async alloc(page: number, npages: number, value: (i: number) => number, name?: string): Promise<Addr> {
    const addr = this.map(page, npages, name)
    for (let i = 0; i < npages; i++) await this.store(addr + i * PAGE_SIZE, value(i))
    return addr
  }

  /** munmap as the edge does it. */
  async munmap(addr: Addr, npages: number): Promise<void> {
    const err = await withMmapWriteLock(this.mm, () => mmMunmap(this.mm, addr, npages * PAGE_SIZE))
    assert(err === 0, () => `munmap returned ${err}`)
  }

  // ---- the CPU ----

  /** What the CPU finds at an address, after as many faults as it takes. */
  load(addr: Addr): Promise<number> {
    return this.access(addr, false, (words, i) => words[i])
  }

  store(addr: Addr, value: number): Promise<void> {
    return this.access(addr, true, (words, i) => {
      words[i] = value
    })
  }

  /** The first word of each of `npages` pages. */
  async loadAll(addr: Addr, npages: number): Promise<number[]> {
    const values: number[] = []
    for (let i = 0; i < npages; i++) values.push(await this.load(addr + i * PAGE_SIZE))
    return values
  }

  /** One access: `use` runs at the moment at which the CPU has the page. Rejects with an MmError where a program gets a signal. */
  async access<T>(addr: Addr, write: boolean, use: (words: Uint32Array, index: number) => T): Promise<T> {
    for (;;) {
      const pfn = this.reach(addr, write)
      if (pfn >= 0) {
        const bytes = this.mmu.bytes(pfn)
        return use(new Uint32Array(bytes.buffer, bytes.byteOffset, PAGE_SIZE / 4), (addr % PAGE_SIZE) / 4)
      }
      const err = await touchPages(this.mm, addr, addr + 1, write)
      if (err !== 0) throw new MmError(err, write ? 'store' : 'load', { addr })
    }
  }

  /** The frame that the CPU can access at `addr` without a fault, -1 for none. */
  reach(addr: Addr, write: boolean): Pfn {
    if (this.mmu instanceof ExplicitMmu) {
      const access = this.mmu.cpuAccess(addr)
      if (access === 'read' && write && this.mmu instanceof PassingMmu) {
        this.mmu.passStore(addr)
        return Math.floor(addr / PAGE_SIZE)
      }
      return access === 'write' || (access === 'read' && !write) ? Math.floor(addr / PAGE_SIZE) : -1
    }
    const pfn = translate(this.mm.pageTable, addr, write)
    return pfn === PAGE_FAULT ? -1 : pfn
  }

  // ---- looking ----

  /** The page table, a character per page: `w` in system memory, `D` on device 0, `E` on 1, `M` migrating; small if read-only. */
  pages(addr: Addr, npages: number): string {
    return dumpPte(this.mm, addr, npages, (owner) => this.devices.indexOf(owner as MemoryDevice))
  }

  nameAt(addr: Addr): string | undefined {
    const page = Math.floor(addr / PAGE_SIZE)
    for (const [first, { name, npages }] of this.names) if (page >= first && page < first + npages) return name
    return undefined
  }

  /** Lets everything happen that can happen while time stands still. A GPU is given the time to do what it has to. */
  async settle(): Promise<void> {
    for (let i = 0; i < 3; i++) {
      for (const device of this.devices) if (device instanceof WebGpuDevice) await idle(device)
      await new Promise(setImmediate)
    }
  }

  /** Moves time on until a promise has settled. */
  async finish<T>(work: Promise<T>): Promise<T> {
    let isDone = false
    const end = (): void => {
      isDone = true
    }
    work.then(end, end)
    await this.settle()
    for (let fruitless = 0; !isDone; fruitless++) {
      if (this.clock.step()) fruitless = 0
      // What waits for a GPU may take some rounds.
      else assert(this.hasGpu && fruitless < 1000, 'what never ends has nothing left to wait for')
      await this.settle()
    }
    return await work
  }

  get hasGpu(): boolean {
    return this.devices.some((device) => device instanceof WebGpuDevice)
  }

  /** All invariants, with exact references. */
  check(): void {
    const held = this.devices.map((device) => device.heldReferences())
    const heldReferences = (pfn: Pfn) => held.reduce((sum, each) => sum + each(pfn), 0)
    const translations = this.devices.flatMap((device) => [...deviceTranslations(device)])
    validateSystem(this.sys, { level: 'full', heldReferences, translations })
    for (const device of this.devices) {
      // A store that nobody has heard of yet makes a duplicate old, until the next launch asks.
      const isTold = !(this.mmu instanceof PassingMmu)
      validateDevice(device, isTold && device instanceof MemoryDevice ? (frame) => device.hardware.page(frame) : null)
      if (device instanceof WebGpuDevice) expectNoErrors(device)
    }
  }

  /** The same, and that no copy on a GPU differs from what it is a copy of. Nothing is in progress. */
  async checkContents(): Promise<void> {
    await this.collectStores()
    for (const device of this.devices) {
      if (device.parts.failure !== null) continue
      if (device instanceof MemoryDevice) validateDevice(device, (frame) => device.hardware.page(frame))
      else {
        const bytes = await readDevice(device)
        validateDevice(device, (frame) => bytes.subarray(frame * PAGE_SIZE, (frame + 1) * PAGE_SIZE))
      }
    }
    this.check()
  }

  /** Tells everybody of the stores that nobody has heard of. */
  private async collectStores(): Promise<void> {
    await mmapReadLock(this.mm)
    for (const [page, { npages }] of this.names) {
      collectWrites(this.mm, page * PAGE_SIZE, (page + npages) * PAGE_SIZE)
    }
    this.mm.mmapLock.unlockRead()
  }

  /** Takes everything down, and holds that nothing is left. */
  async close(): Promise<void> {
    await this.checkContents()
    for (const handle of this.handles) assert((await this.finish(handle.close())) === 0, 'the handle is closed')
    this.check()
    mmput(this.mm)
    for (const device of this.devices) assert((await this.finish(device.close())) === 0, 'the device is closed')
    validateSystem(this.sys, { level: 'full', heldReferences: () => 0 })
    const nfree = this.mmu.nframes - (this.sys.zeroPfn >= 0 ? 1 : 0)
    assert(this.mmu.nfree === nfree, () => `${this.mmu.nfree} of ${nfree} frames are free in the end`)
    assert(!this.mm.mmapLock.isHeld && this.mm.mmapLock.waitingWriters === 0, 'nobody holds or wants mmapLock')
  }
}

async function idle({ hardware }: WebGpuDevice): Promise<void> {
  await hardware.context.device.queue.onSubmittedWorkDone()
}

function expectNoErrors({ name, hardware }: WebGpuDevice): void {
  const [error] = hardware.context.uncaptured
  assert(error === undefined, () => `${name}: ${error}`)
}

/** Skips a test that cannot run on a setup, and says which capability is missing. */
export function skipWithout(setup: Setup, test: { skip(note?: string): void }): void {
  const why = whyNot(setup)
  if (why !== null) test.skip(why)
}

/** Skips a test that is about copies in flight: a GPU takes what time it takes. */
export function skipUntimed({ hardware }: Setup, test: { skip(note?: string): void }): void {
  if (hardware !== 'memory') test.skip('chosen-copy-time: only the link of a memory device takes as long as it is told')
}
