// Whatever processes and devices do, every invariant holds after every step, with exact reference counts: random programs of
// system calls, CPU accesses and driver commands on machines with and without huge pages. A failure prints the program.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { PAGE_SIZE, type Pfn } from '../base/addr.ts'
import { MmError } from '../base/errno.ts'
import { DmirrorDevice, type DmirrorHandle } from '../devices/dmirror/index.ts'
import { AccessSignal } from '../machine/index.ts'
import { Machine, type MachineOptions } from '../machine/machine.ts'
import type { PinnedPages, Process } from '../machine/process.ts'
import {
  MADV_DONTNEED,
  MADV_FREE,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from '../uapi/mman.ts'
import { oomReapMm } from './oom-reaper.ts'
import { unlockPage } from './page-alloc.ts'
import { endDuplicates, shareForRead } from './share.ts'
import { validateSystem } from './validate.ts'
import { clearPageDirtyForIo } from './writeback.ts'

/** Where programs live: a border between two last-level tables lies in the middle of the small arena. */
const BASE = 0x1000_0000_0000
const RW = PROT_READ | PROT_WRITE

/** `first` is a page; `npages` the size of the arena, `unit` what sizes and places are multiples of. */
interface Arena {
  readonly first: number
  readonly npages: number
  readonly unit: number
}

const SMALL: Arena = { first: 500, npages: 24, unit: 1 }
const HUGE: Arena = { first: 0, npages: 2048, unit: 128 }

/** One step of a program, for one of the processes and one of its device handles. */
class Step {
  readonly kind: string
  readonly who: number
  readonly device: number
  readonly page: number
  readonly npages: number
  readonly detail: number

  constructor(kind: string, who: number, device: number, page: number, npages: number, detail: number) {
    this.kind = kind
    this.who = who
    this.device = device
    this.page = page
    this.npages = npages
    this.detail = detail
  }

  [fc.toStringMethod](): string {
    return `${this.kind}(process ${this.who}, device ${this.device}, page ${this.page}, ${this.npages} pages, ${this.detail})`
  }
}

class World {
  readonly machine: Machine
  readonly devices: readonly DmirrorDevice[]
  readonly processes: Process[] = []
  private readonly handles = new Map<Process, DmirrorHandle[]>()
  private readonly pins: { readonly by: Process; readonly pinned: PinnedPages }[] = []
  private readonly file
  private readonly arena: Arena

  constructor(options: MachineOptions, arena: Arena) {
    this.machine = new Machine(options)
    this.arena = arena
    this.file = this.machine.createFile('file', 16)
    this.devices = [0, 1, 2].map((number) => new DmirrorDevice(this.machine.sys, number, { chunkPages: 4096 }))
    this.adopt(this.machine.createProcess('parent'))
    this.processes[0].mmap({ addr: this.addr(0), fixed: true, length: (arena.npages / 2) * PAGE_SIZE })
  }

  private addr(page: number): number {
    return BASE + (this.arena.first + page) * PAGE_SIZE
  }

  private adopt(process: Process): void {
    this.processes.push(process)
    const handles = this.devices.map((device) => device.open(process.mm))
    this.handles.set(
      process,
      handles.filter((handle) => typeof handle !== 'number'),
    )
  }

  run(step: Step): void {
    try {
      this.execute(step)
    } catch (error) {
      if (!(error instanceof MmError) && !(error instanceof AccessSignal)) throw error
    }
    validateSystem(this.machine.sys, { level: 'full', heldReferences: this.heldReferences() })
  }

  private execute({ kind, who, device, page, npages: wanted, detail }: Step): void {
    const process = this.processes[who % this.processes.length]
    const handle = this.handles.get(process)?.[device]
    if (handle === undefined) return
    const npages = Math.min(wanted, this.arena.npages - page)
    const addr = this.addr(page)
    const length = npages * PAGE_SIZE
    const buffer = new Uint8Array(length)
    switch (kind) {
      case 'mmap': {
        const prot = [RW, RW, RW, PROT_READ, PROT_NONE][detail % 5]
        const target = { addr, fixed: true, length, prot }
        if (detail < 8) process.mmap(target)
        else if (detail < 10) process.mmap({ ...target, shared: true })
        else process.mmap({ ...target, file: this.file, shared: detail % 2 === 0 })
        break
      }
      case 'mmap hugetlb':
        process.mmap({ addr, fixed: true, length: 512 * PAGE_SIZE, hugetlb: true, shared: detail % 2 === 0 })
        break
      case 'munmap':
        process.munmap(addr, length)
        break
      case 'mprotect':
        process.mprotect(addr, length, [PROT_NONE, PROT_READ, RW][detail % 3])
        break
      case 'madvise': {
        const advice = [MADV_DONTNEED, MADV_FREE, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE][detail % 5]
        process.madvise(addr, length, advice)
        break
      }
      case 'mremap':
        process.mremap(addr, length, length, { to: this.addr(this.arena.npages * (1 + (detail % 2))) })
        break
      case 'mlock':
        process.mlock(addr, length)
        break
      case 'munlock':
        process.munlock(addr, length)
        break
      case 'truncate':
        this.file.truncate([16, 8, 4][detail % 3])
        break
      case 'load':
        for (let i = 0; i < npages; i++) process.load32(addr + i * PAGE_SIZE)
        break
      case 'store':
        for (let i = 0; i < npages; i++) process.store32(addr + i * PAGE_SIZE, detail)
        break
      case 'fork':
        if (this.processes.length < 3) this.adopt(process.fork())
        break
      case 'exit':
        if (this.processes.length > 1) this.exit(process)
        break
      case 'device read':
        handle.read(addr, npages, buffer)
        break
      case 'device write':
        handle.write(addr, npages, buffer)
        break
      case 'to device':
        handle.migrateToDev(addr, npages, buffer)
        break
      case 'to system':
        handle.migrateToSys(addr, npages)
        break
      case 'exclusive':
        handle.exclusive(addr, npages, buffer)
        break
      case 'pin':
        this.pins.push({
          by: process,
          pinned: process.pin(addr, npages, { write: detail % 2 === 0, longterm: detail % 3 === 0 }),
        })
        break
      case 'unpin':
        this.pins.shift()?.pinned.unpin()
        break
      case 'move':
        process.movePages(addr, npages, { all: detail % 2 === 0 })
        break
      case 'clear soft-dirty':
        process.clearSoftDirty()
        break
      case 'reclaim':
        this.machine.sys.reclaim(npages)
        break
      case 'clean':
        for (const pfn of this.file.mapping.pages.values()) this.clean(pfn)
        break
      case 'reap':
        if (this.processes.length > 1) oomReapMm(process.mm)
        break
      case 'share':
        process.mm.mmapLock.tryRead()
        if (detail % 4 === 0) endDuplicates(process.mm, addr, addr + length)
        else shareForRead(process.mm, addr, addr + length)
        process.mm.mmapLock.unlockRead()
        break
    }
  }

  /** Cleans a page of the file as for writing it to a disk, and says that it has to be kept all the same. */
  private clean(pfn: Pfn): void {
    const { sys } = this.machine
    if (!sys.pages.trylock(pfn)) return
    if (clearPageDirtyForIo(sys, pfn)) sys.pages.setDirty(pfn)
    unlockPage(sys, pfn)
  }

  private exit(process: Process): void {
    process.exit()
    for (const handle of this.handles.get(process) ?? []) handle.close()
    this.processes.splice(this.processes.indexOf(process), 1)
    for (let i = this.pins.length - 1; i >= 0; i--) if (this.pins[i].by === process) this.pins.splice(i, 1)
  }

  /** Ends every process and closes the file: nothing may be left. */
  finish(): void {
    while (this.pins.length > 0) this.pins.shift()?.pinned.unpin()
    while (this.processes.length > 0) this.exit(this.processes[0])
    this.file.close()
    const { sys, mmu } = this.machine
    validateSystem(sys, { level: 'full', heldReferences: () => 0 })
    for (const device of this.devices) expect(device.npagesUsed).toBe(0)
    expect([sys.mappings.size, sys.swap?.nfree, sys.hugetlb.nfree]).toEqual([0, sys.swap?.npages, sys.hugetlb.npages])
    const kept = 1 + (sys.hugeZeroPfn >= 0 ? 512 : 0) + 512 * sys.hugetlb.npages // zero pages, and the pool
    expect(mmu.nfree).toBe(mmu.nframes - kept)
  }

  /** Pins, and the system pages that the devices hide behind their private memory. */
  private heldReferences(): (pfn: Pfn) => number {
    const { pages } = this.machine.sys
    const held = new Map<Pfn, number>()
    const add = (pfn: Pfn, count: number): void => {
      held.set(pfn, (held.get(pfn) ?? 0) + count)
    }
    for (const { pinned } of this.pins) {
      for (const pfn of pinned.pfns) {
        const head = pages.head(pfn)
        add(head, pages.isCompound(head) ? 1 : 1024)
      }
    }
    for (const { kind, memory } of this.devices) {
      if (kind !== 'private') continue
      for (const chunk of memory.chunks) {
        for (let pfn = chunk.lowestUsed; pfn < chunk.end; pfn++) {
          if (pages.refcount[pfn] > 0) add(memory.dataPage(pfn), 1)
        }
      }
    }
    return (pfn) => held.get(pfn) ?? 0
  }
}

const KINDS = [
  ...['mmap', 'mmap', 'munmap', 'mprotect', 'madvise', 'mremap', 'mlock', 'munlock', 'truncate', 'share'],
  ...['load', 'load', 'store', 'store', 'store', 'fork', 'exit', 'pin', 'unpin'],
  ...['move', 'move', 'clear soft-dirty', 'reclaim', 'clean', 'reap'],
  ...['device read', 'device write', 'to device', 'to device', 'to system', 'exclusive', 'exclusive'],
]

function program(arena: Arena, kinds: readonly string[], nsteps: number): fc.Arbitrary<Step[]> {
  const { npages, unit } = arena
  const place = fc.nat(npages / unit - 1).map((i) => i * unit)
  const size = fc.integer({ min: 1, max: Math.min(8, npages / unit) }).map((i) => i * unit)
  const step = fc
    .tuple(fc.constantFrom(...kinds), fc.nat(2), fc.nat(2), place, size, fc.nat(13))
    .map(([kind, who, device, page, count, detail]) => new Step(kind, who, device, page, count, detail))
  return fc.array(step, { minLength: 1, maxLength: nsteps, size: 'max' })
}

function holds(options: MachineOptions, arena: Arena, steps: readonly Step[]): void {
  const world = new World(options, arena)
  for (const step of steps) world.run(step)
  world.finish()
}

const RUNS = Number(globalThis.process.env['HETMEM_MODEL_RUNS'] ?? 60)

it('every invariant holds after every step of a program on small pages', { timeout: 0 }, () => {
  fc.assert(
    fc.property(program(SMALL, KINDS, 60), (steps) => holds({ memory: '8 MiB', swap: '2 MiB' }, SMALL, steps)),
    { numRuns: RUNS },
  )
})

it('every invariant holds after every step of a program on transparent huge pages', { timeout: 0 }, () => {
  const options: MachineOptions = { memory: '64 MiB', swap: '16 MiB', thp: 'always' }
  fc.assert(
    fc.property(program(HUGE, KINDS, 16), (steps) => holds(options, HUGE, steps)),
    { numRuns: Math.ceil(RUNS / 4) },
  )
})

it('every invariant holds after every step of a program on hugetlb pages', { timeout: 0 }, () => {
  const options: MachineOptions = { memory: '64 MiB', hugetlbPages: 6 }
  const kinds = [...KINDS, 'mmap hugetlb', 'mmap hugetlb', 'mmap hugetlb']
  fc.assert(
    fc.property(program(HUGE, kinds, 16), (steps) => holds(options, HUGE, steps)),
    { numRuns: Math.ceil(RUNS / 4) },
  )
})
