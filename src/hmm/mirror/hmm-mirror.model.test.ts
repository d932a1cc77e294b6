// Random programs on a simulated machine whose memory several devices mirror: CPU and device accesses, and everything that the
// mm can do to a page in between. After each step every load must see the last store, every mirror and every device must have
// no more than the CPU has (INV-8), and no driver may have been called a liar.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MirrorDevice, TestDma } from '../../../test/helpers/mirror-device.ts'
import { MemoryDevice } from '../../../test/helpers/mirror-memory-device.ts'
import { PAGE_SIZE, type Pfn } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { Machine } from '../../machine/machine.ts'
import type { Process } from '../../machine/process.ts'
import { AccessSignal } from '../../machine/signals.ts'
import { PG_DIRTY } from '../../mm/page.ts'
import { ptePresent } from '../../mm/pte.ts'
import { validateSystem } from '../../mm/validate.ts'
import { MADV_DONTNEED, MADV_PAGEOUT, PROT_NONE, PROT_READ, PROT_WRITE } from '../../uapi/mman.ts'
import { cpuEntryFlags, cpuEntryPage } from './cpu-entry.ts'
import type { HmmMirror } from './hmm-device.ts'
import { hmmCollectDirty, hmmMirrorUnregister } from './hmm-mirror.ts'
import {
  HMM_PTE_DIRTY,
  HMM_PTE_VALID_DMA,
  HMM_PTE_WRITE,
  hmmPteDevPfn,
  hmmPteDmaAddr,
  hmmPteFlags,
  hmmPtePfn,
} from './hmm-pte.ts'
import { hmmMirrorTranslations, validateHmmMirror } from './validate.ts'

const RUNS = Number(process.env['HETMEM_MODEL_RUNS'] ?? 120)
const NPAGES = 10
const BASE = 0x7000_001f_b000 // five pages before the border of a directory
const RW = PROT_READ | PROT_WRITE

/** One page of one process: what it holds and what may be done with it. */
interface Page {
  value: number
  prot: number
}

/** The processes, oldest first; of each its pages, null where nothing is mapped. */
interface Model {
  spaces: (Page | null)[][]
  lastValue: number
}

interface Space {
  process: Process
  /** By device; null while it does not mirror the process. */
  mirrors: (HmmMirror | null)[]
}

/** A store by a device that the page may not know of yet. */
interface Written {
  device: MirrorDevice
  mirror: HmmMirror
  addr: number
  frame: Pfn
}

interface Real {
  machine: Machine
  devices: MirrorDevice[]
  spaces: Space[]
  written: Written[]
}

type Command = fc.Command<Model, Real>

/** `run` returns false if the step makes no sense now; it has changed nothing then. */
function command(text: string, run: (model: Model, real: Real) => unknown): Command {
  return {
    check: () => true,
    run(model, real) {
      run(model, real)
      validate(model, real)
      real.written = real.written.filter((store) => isPending(store, real.machine))
    },
    toString: () => text,
  }
}

const at = (page: number) => BASE + page * PAGE_SIZE

function setUp(): Real {
  const machine = new Machine({ memory: '1 MiB', swap: '1 MiB' })
  const devices = [
    new MirrorDevice(machine, { name: 'exact' }),
    new MirrorDevice(machine, { name: 'late', report: 'late' }),
    new MirrorDevice(machine, { name: 'nic', report: 'unconditional', dev: new TestDma(0x80_0000_0000) }),
    new MemoryDevice(machine, 6, { name: 'filters', filterOwnEvents: true }),
    new MemoryDevice(machine, 6, { name: 'listens' }),
  ]
  const process = machine.createProcess()
  process.mmap({ addr: BASE, length: NPAGES * PAGE_SIZE, fixed: true })
  const mirrors = devices.map((device) => device.mirror(process))
  return { machine, devices, spaces: [{ process, mirrors }], written: [] }
}

function cpuStore(s: number, page: number): Command {
  return command(`process${s}.store(page ${page})`, (model, { spaces }) => {
    const known = model.spaces[s]?.[page]
    if (spaces[s] === undefined) return
    const value = ++model.lastValue
    const store = () => spaces[s].process.store32(at(page), value)
    if (!known || (known.prot & PROT_WRITE) === 0) {
      expect(store).toThrow(AccessSignal)
    } else {
      store()
      known.value = value
    }
  })
}

function cpuLoad(s: number, page: number): Command {
  return command(`process${s}.load(page ${page})`, (model, { spaces }) => {
    const known = model.spaces[s]?.[page]
    if (spaces[s] === undefined) return
    const load = () => spaces[s].process.load32(at(page))
    if (!known || (known.prot & PROT_READ) === 0) expect(load).toThrow(AccessSignal)
    else expect(load()).toBe(known.value)
  })
}

function deviceStore(d: number, s: number, page: number): Command {
  return command(`device${d}.store(process${s} page ${page})`, (model, { machine, devices, spaces, written }) => {
    const mirror = spaces[s]?.mirrors[d]
    if (!mirror) return
    const known = model.spaces[s][page]
    const value = ++model.lastValue
    const store = () => devices[d].store(mirror, at(page), value)
    if (!known || (known.prot & RW) !== RW) {
      expect(store).toThrow(/-13|-14/)
    } else {
      // The page counts as clean until the device says otherwise.
      if (devices[d].fault(mirror, at(page), 1, 'write') !== 0) throw new Error('the fault succeeds')
      const frame = devices[d].tables.get(mirror)?.get(at(page))?.frame as Pfn
      machine.sys.pages.flags[frame] &= ~PG_DIRTY
      store()
      known.value = value
      written.push({ device: devices[d], mirror, addr: at(page), frame })
    }
  })
}

function deviceLoad(d: number, s: number, page: number): Command {
  return command(`device${d}.load(process${s} page ${page})`, (model, { devices, spaces }) => {
    const mirror = spaces[s]?.mirrors[d]
    if (!mirror) return
    const known = model.spaces[s][page]
    const load = () => devices[d].load(mirror, at(page))
    if (!known || (known.prot & PROT_READ) === 0) expect(load).toThrow(/-14/)
    else expect(load()).toBe(known.value)
  })
}

function deviceFault(d: number, s: number, first: number, npages: number, write: boolean): Command {
  const access = write ? 'write' : 'read'
  return command(`device${d}.fault(process${s} page ${first}, ${npages}, ${access})`, (_model, { devices, spaces }) => {
    const mirror = spaces[s]?.mirrors[d]
    if (mirror) expect([0, -13, -14]).toContain(devices[d].fault(mirror, at(first), npages, access))
  })
}

function mprotect(s: number, first: number, npages: number, prot: number): Command {
  return command(`process${s}.mprotect(page ${first}, ${npages}, ${prot})`, (model, { spaces }) => {
    if (spaces[s] === undefined) return
    const pages = model.spaces[s].slice(first, first + npages)
    if (pages.includes(null)) return
    spaces[s].process.mprotect(at(first), npages * PAGE_SIZE, prot)
    for (const page of pages) if (page) page.prot = prot
  })
}

function munmap(s: number, first: number, npages: number): Command {
  return command(`process${s}.munmap(page ${first}, ${npages})`, (model, { spaces }) => {
    if (spaces[s] === undefined) return
    spaces[s].process.munmap(at(first), npages * PAGE_SIZE)
    model.spaces[s].fill(null, first, first + npages)
  })
}

function mmap(s: number, first: number, npages: number): Command {
  return command(`process${s}.mmap(page ${first}, ${npages})`, (model, { spaces }) => {
    if (spaces[s] === undefined) return
    spaces[s].process.mmap({ addr: at(first), length: npages * PAGE_SIZE, fixed: true })
    for (let i = first; i < first + npages; i++) model.spaces[s][i] = { value: 0, prot: RW }
  })
}

function dontneed(s: number, first: number, npages: number): Command {
  return command(`process${s}.madvise(page ${first}, ${npages}, DONTNEED)`, (model, { spaces }) => {
    if (spaces[s] === undefined) return
    const pages = model.spaces[s].slice(first, first + npages)
    if (pages.includes(null)) return
    spaces[s].process.madvise(at(first), npages * PAGE_SIZE, MADV_DONTNEED)
    for (const page of pages) if (page) page.value = 0
  })
}

function pageout(s: number, first: number, npages: number): Command {
  return command(`process${s}.madvise(page ${first}, ${npages}, PAGEOUT)`, (model, { spaces }) => {
    if (spaces[s] === undefined || model.spaces[s].slice(first, first + npages).includes(null)) return
    spaces[s].process.madvise(at(first), npages * PAGE_SIZE, MADV_PAGEOUT)
  })
}

function fork(s: number): Command {
  return command(`process${s}.fork()`, (model, { devices, spaces }) => {
    if (spaces[s] === undefined || spaces.length === 3) return
    const process = spaces[s].process.fork()
    spaces.push({ process, mirrors: devices.map((device, d) => (d % 2 === 0 ? device.mirror(process) : null)) })
    model.spaces.push(model.spaces[s].map((page) => (page === null ? null : { ...page })))
  })
}

function exit(s: number): Command {
  return command(`process${s}.exit()`, (model, { spaces }) => {
    if (spaces[s] === undefined || spaces.length === 1) return
    const [{ process, mirrors }] = spaces.splice(s, 1)
    model.spaces.splice(s, 1)
    process.exit()
    for (const mirror of mirrors) expect(mirror?.registered ?? false).toBe(false)
  })
}

function toggleMirror(d: number, s: number): Command {
  return command(`device${d}.mirror or unmirror(process${s})`, (_model, { devices, spaces }) => {
    if (spaces[s] === undefined) return
    const mirror = spaces[s].mirrors[d]
    if (mirror) hmmMirrorUnregister(mirror)
    spaces[s].mirrors[d] = mirror ? null : devices[d].mirror(spaces[s].process)
  })
}

function moveToDevice(d: number, s: number, first: number, npages: number): Command {
  return command(`device${d}.moveToDevice(process${s} page ${first}, ${npages})`, (_model, { devices, spaces }) => {
    const mirror = spaces[s]?.mirrors[d]
    const device = devices[d]
    if (mirror && device instanceof MemoryDevice) device.moveToDevice(mirror, at(first), npages)
  })
}

function moveToSystem(d: number, s: number, first: number, npages: number): Command {
  return command(`device${d}.moveToSystem(process${s} page ${first}, ${npages})`, (_model, { devices, spaces }) => {
    const mirror = spaces[s]?.mirrors[d]
    const device = devices[d]
    if (mirror && device instanceof MemoryDevice) device.moveToSystem(mirror, at(first), npages)
  })
}

function collectDirty(s: number): Command {
  return command(`collectDirty(process${s})`, (_model, { spaces }) => {
    if (spaces[s] !== undefined) expect(hmmCollectDirty(spaces[s].process.mm, BASE, at(NPAGES))).toBe(0)
  })
}

/** What devices can see without a fault is right, and what they, the mirrors and the mm hold fits together. */
function validate(model: Model, { machine, devices, spaces }: Real): void {
  const mirrors = spaces.flatMap((space) => space.mirrors.filter((mirror) => mirror !== null))
  for (const mirror of mirrors) validateHmmMirror(mirror)
  validateSystem(machine.sys, {
    level: 'full',
    translations: mirrors.flatMap((mirror) => [...hmmMirrorTranslations(mirror)]),
  })
  for (const [d, device] of devices.entries()) {
    expect(device.device.warnings).toEqual([])
    for (const [s, space] of spaces.entries()) {
      const mirror = space.mirrors[d]
      if (mirror) validateDevice(device, mirror, model.spaces[s])
    }
    if (device.device.dev instanceof TestDma) {
      expect(device.device.dev.mapped.size).toBe([...device.device.mirrors].reduce((n, { pt }) => n + pt.nvalid, 0))
    }
  }
}

/**
 * True while the device, or its mirror entry, still knows what the page does not. After that the page has to be dirty, if it
 * is still there (MR-71).
 */
function isPending({ device, mirror, addr, frame }: Written, { sys }: Machine): boolean {
  const entry = device.tables.get(mirror)?.get(addr)
  if (entry?.frame === frame && entry.dirty) return true
  if ((hmmPteFlags(mirror.pt.entry(addr)) & HMM_PTE_DIRTY) !== 0) return true
  if (cpuEntryPage(mirror.hmm.mm, addr) === frame && ptePresent(cpuEntryFlags(mirror.hmm.mm, addr))) {
    expect(sys.pages.flags[sys.pages.head(frame)] & PG_DIRTY).not.toBe(0)
  }
  return false
}

function validateDevice(device: MirrorDevice, mirror: HmmMirror, pages: (Page | null)[]): void {
  const table = device.tables.get(mirror)
  assert(table !== undefined, 'a mirror has a table')
  for (const [addr, entry] of table) {
    const pte = mirror.pt.entry(addr)
    const flags = hmmPteFlags(pte)
    const isDma = (flags & HMM_PTE_VALID_DMA) !== 0
    const frame = isDma
      ? (device.device.dev as TestDma).frameOf(hmmPteDmaAddr(pte))
      : hmmPtePfn(pte) || hmmPteDevPfn(pte)
    expect(frame).toBe(entry.frame)
    if (entry.write) expect(flags & HMM_PTE_WRITE).not.toBe(0)
    expect(device.tryLoad(mirror, addr)).toBe(pages[(addr - BASE) / PAGE_SIZE]?.value)
  }
}

describe('mirrors of a machine', () => {
  it('never show a device something stale, never lose what it wrote (INV-8, INV-9, MR-71, MR-73, MR-75)', () => {
    const s = fc.constantFrom(0, 0, 1, 2)
    const d = fc.nat(4)
    const m = fc.constantFrom(3, 4)
    const page = fc.nat(NPAGES - 1)
    const part = fc
      .tuple(page, fc.integer({ min: 1, max: NPAGES }))
      .map(([first, n]): [number, number] => [first, Math.min(n, NPAGES - first)])
    const prot = fc.constantFrom(PROT_NONE, PROT_READ, RW, RW)
    const commands = [
      fc.tuple(s, page).map((args) => cpuStore(...args)),
      fc.tuple(s, page).map((args) => cpuLoad(...args)),
      fc.tuple(d, s, page).map((args) => deviceStore(...args)),
      fc.tuple(d, s, page).map((args) => deviceStore(...args)),
      fc.tuple(d, s, page).map((args) => deviceLoad(...args)),
      fc.tuple(d, s, part, fc.boolean()).map(([dd, ss, args, write]) => deviceFault(dd, ss, ...args, write)),
      fc.tuple(s, part, prot).map(([ss, args, pp]) => mprotect(ss, ...args, pp)),
      fc.tuple(s, part).map(([ss, args]) => munmap(ss, ...args)),
      fc.tuple(s, part).map(([ss, args]) => mmap(ss, ...args)),
      fc.tuple(s, part).map(([ss, args]) => dontneed(ss, ...args)),
      fc.tuple(s, part).map(([ss, args]) => pageout(ss, ...args)),
      s.map(fork),
      s.map(exit),
      fc.tuple(d, s).map((args) => toggleMirror(...args)),
      fc.tuple(m, s, part).map(([mm, ss, args]) => moveToDevice(mm, ss, ...args)),
      fc.tuple(m, s, part).map(([mm, ss, args]) => moveToSystem(mm, ss, ...args)),
      s.map(collectDirty),
    ]
    fc.assert(
      fc.property(fc.commands(commands, { maxCommands: 50, size: 'max' }), (program) => {
        const real = setUp()
        const pages = Array.from({ length: NPAGES }, () => ({ value: 0, prot: RW }))
        fc.modelRun(() => ({ model: { spaces: [pages], lastValue: 0 }, real }), program)
      }),
      { numRuns: RUNS },
    )
  })
})
