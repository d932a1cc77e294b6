// A machine with one address space, a CPU and memory devices, on any backend that has no hardware behind it: what tests of the
// memory device stand on. Time stands still until a test moves it. `check` holds every invariant against the machine as it
// is, also in the middle of copies and launches.

import { type Addr, PAGE_SIZE, type Pfn } from '../../src/base/addr.ts'
import { assert } from '../../src/base/assert.ts'
import { MmError } from '../../src/base/errno.ts'
import { deviceTranslations, VirtualClock, validateDevice } from '../../src/devices/driver/index.ts'
import { touchPages, withMmapWriteLock } from '../../src/devices/edge.ts'
import { MemoryDevice, type MemoryDeviceHandle, type MemoryDeviceOptions } from '../../src/devices/memory/index.ts'
import { PAGE_FAULT, translate } from '../../src/machine/cpu.ts'
import { dumpPte } from '../../src/mm/dump.ts'
import { Mm } from '../../src/mm/mm.ts'
import { mmMmap, mmMunmap, mmput } from '../../src/mm/mmap.ts'
import { System, type SystemOptions } from '../../src/mm/system.ts'
import { validateSystem } from '../../src/mm/validate.ts'
import { ExplicitMmu } from '../../src/mmu/explicit/explicit-mmu.ts'
import { SimulatedMmu } from '../../src/mmu/simulated/simulated-mmu.ts'
import { DEFAULT_POLICY } from '../../src/policies/index.ts'
import { EventTracer, type TraceEvent } from '../../src/trace/index.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../src/uapi/mman.ts'

export const BACKENDS = ['simulated', 'explicit'] as const
export type Backend = (typeof BACKENDS)[number]

export interface MemoryMachineOptions extends SystemOptions {
  /** Frames of system memory. Default 256. */
  readonly nframes?: number
  /** One for each device; default one of 64 pages. */
  readonly devices?: readonly Partial<MemoryDeviceOptions>[]
}

const RW = PROT_READ | PROT_WRITE

export class MemoryMachine {
  readonly backend: Backend
  readonly mmu: SimulatedMmu | ExplicitMmu
  readonly sys: System
  readonly mm: Mm
  readonly clock = new VirtualClock()
  readonly tracer: EventTracer
  readonly events: TraceEvent[] = []
  readonly devices: MemoryDevice[]
  readonly handles: MemoryDeviceHandle[]
  /** Names of allocations by first page. */
  private readonly names = new Map<number, { name: string; npages: number }>()

  constructor(backend: Backend, options: MemoryMachineOptions = {}) {
    const { nframes = 256, devices = [{}] } = options
    this.backend = backend
    this.mmu =
      backend === 'simulated' ? new SimulatedMmu({ nframes }) : new ExplicitMmu(new ArrayBuffer(nframes * PAGE_SIZE))
    this.sys = new System(this.mmu, options)
    this.mm = new Mm(this.sys)
    const write = (event: TraceEvent): void => void this.events.push(event)
    this.tracer = new EventTracer({ sinks: [{ write }], allocationAt: (addr) => this.nameAt(addr) })
    this.devices = devices.map((each, i) => {
      const defaults = { name: `mem${i}`, memory: 64 * PAGE_SIZE, policy: DEFAULT_POLICY, clock: this.clock }
      const nameAt = (_mm: Mm, addr: Addr) => this.nameAt(addr)
      return new MemoryDevice(this.sys, { ...defaults, tracer: this.tracer, nameAt, ...each })
    })
    this.handles = this.devices.map((device) => {
      const handle = device.open(this.mm)
      assert(typeof handle !== 'number', () => `open returned ${handle}`)
      return handle
    })
  }

  /** The first device, for tests that have only one. */
  get device(): MemoryDevice {
    return this.devices[0]
  }

  get handle(): MemoryDeviceHandle {
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

  /** Lets everything happen that can happen while time stands still. */
  async settle(): Promise<void> {
    for (let i = 0; i < 3; i++) await new Promise(setImmediate)
  }

  /** Moves time on until a promise has settled. */
  async finish<T>(work: Promise<T>): Promise<T> {
    let isDone = false
    const end = (): void => {
      isDone = true
    }
    work.then(end, end)
    await this.settle()
    while (!isDone) {
      assert(this.clock.step(), 'what never ends has nothing left to wait for')
      await this.settle()
    }
    return await work
  }

  /** All invariants, with exact references. */
  check(): void {
    const held = this.devices.map((device) => device.heldReferences())
    const heldReferences = (pfn: Pfn) => held.reduce((sum, each) => sum + each(pfn), 0)
    const translations = this.devices.flatMap((device) => [...deviceTranslations(device)])
    validateSystem(this.sys, { level: 'full', heldReferences, translations })
    for (const device of this.devices) validateDevice(device, (frame) => device.hardware.page(frame))
  }

  /** Takes everything down, and holds that nothing is left. */
  async close(): Promise<void> {
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
