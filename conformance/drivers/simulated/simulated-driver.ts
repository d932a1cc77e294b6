// Replays on the simulated machine: sets up the initial state of a sequence (traces/README.md) and executes operations as a
// program on Linux with the test driver would. System calls and CPU accesses go through Process, device commands through
// the dmirror handles, the direct calls of the recorder's kernel module through mm and hmm.

import { type Addr, PAGE_SIZE, type Pfn } from '../../../src/base/addr.ts'
import { assert, assertNever } from '../../../src/base/assert.ts'
import { errnoName, MmError } from '../../../src/base/errno.ts'
import { DmirrorDevice, type DmirrorHandle } from '../../../src/devices/dmirror/index.ts'
import { Machine, type MachineOptions } from '../../../src/machine/machine.ts'
import { accessOutcome } from '../../../src/machine/page-fault.ts'
import type { MmapOptions, PinnedPages, Process } from '../../../src/machine/process.ts'
import { samePages } from '../../../src/mm/dump.ts'
import { GUP_PIN_COUNTING_BIAS, PG_HWPOISON } from '../../../src/mm/page.ts'
import { allocKernelPage, putPage } from '../../../src/mm/page-alloc.ts'
import { ShmemFile } from '../../../src/mm/shmem.ts'
import { validateSystem } from '../../../src/mm/validate.ts'
import {
  MADV_DONTNEED,
  MADV_FREE,
  MADV_HWPOISON,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from '../../../src/uapi/mman.ts'
import {
  type Advice,
  type EventRecord,
  groupOf,
  type MappingKind,
  NDEVICES,
  NSLOTS,
  type Operation,
  type OperationOf,
  type OperationResult,
  type OwnerName,
  type ProcessState,
  type Protection,
  type Request,
  type Sequence,
  type WatchRecord,
} from '../../trace.ts'
import type { ConformanceDriver } from '../driver.ts'
import { type DeviceCommand, executeDeviceCommand } from './device-command.ts'
import { ARENA_SLOT, EventLog } from './event-log.ts'
import { executeMigrateVma } from './migrate-vma.ts'
import { writeWord } from './page-word.ts'
import { executeRangeFault } from './range-fault.ts'
import { RawFrameFile } from './raw-frame-file.ts'
import { RequestBuffer } from './request-buffer.ts'

/** Address of the 512 GiB region that the arena lies in. */
const REGION: Addr = 0x1000_0000_0000

const PROT_BITS: Readonly<Record<Protection, number>> = {
  none: PROT_NONE,
  r: PROT_READ,
  w: PROT_WRITE,
  rw: PROT_READ | PROT_WRITE,
}

const ADVICE_NUMBERS: Readonly<Record<Advice, number>> = {
  dontneed: MADV_DONTNEED,
  free: MADV_FREE,
  pageout: MADV_PAGEOUT,
  hwpoison: MADV_HWPOISON,
  'populate-read': MADV_POPULATE_READ,
  'populate-write': MADV_POPULATE_WRITE,
}

const FILE_WORD = 1_000_000 // plus the page of the file
const RAW_FRAME_WORD = 777

const OK: OperationResult = { ret: 0 }

interface ReplayedProcess {
  readonly process: Process
  readonly log: EventLog
  /** Open device handles, by number of the device. */
  readonly handles: Map<number, DmirrorHandle>
  readonly requests: RequestBuffer
  /** Behind `pfnmap` and `special` mappings; -1 before the first one. */
  rawFrame: Pfn
  /** One for each `pin` since the last `unpin`. */
  pins: PinnedPages[]
}

export class SimulatedDriver implements ConformanceDriver {
  private readonly machine: Machine
  private readonly npages: number
  private readonly arena: Addr
  private readonly file: ShmemFile
  private readonly devices: DmirrorDevice[]
  /** By number; null after its end. */
  private readonly procs: (ReplayedProcess | null)[] = []
  /** The last operation evicted pages, which has no reproducible order. */
  private unordered = false

  constructor(sequence: Sequence) {
    const { pages, baseOffset, filePages } = sequence
    const group = groupOf(sequence)
    this.machine = new Machine(machineOptions(group, pages))
    this.npages = pages
    this.arena = REGION + baseOffset * PAGE_SIZE
    this.file = this.makeFile(filePages)
    this.devices = deviceNumbers(group).map((number) => {
      return new DmirrorDevice(this.machine.sys, number, { chunkPages: pages <= 256 ? 512 : 4096 })
    })
    this.procs[0] = this.makeProcess(this.machine.createProcess(), this.devices.keys())
  }

  execute(op: Operation): OperationResult {
    this.unordered = op.op === 'reopen' || op.op === 'release' || op.op === 'exit-child'
    try {
      return this.dispatch(op)
    } catch (error) {
      if (error instanceof MmError) return { errno: error.code }
      throw error
    }
  }

  takeEvents(): EventRecord[] {
    return this.procs.flatMap((proc, number) => {
      const events = proc === null ? [] : proc.log.take(ARENA_SLOT)
      if (this.unordered) events.sort((a, b) => a[1] - b[1])
      return events.map((event): EventRecord => [number, ...event])
    })
  }

  takeWatchEvents(): WatchRecord[] {
    const records: WatchRecord[] = []
    this.procs.forEach((proc, number) => {
      for (let slot = ARENA_SLOT + 1; slot < NSLOTS && proc !== null; slot++) {
        for (const event of proc.log.take(slot)) records.push([number, slot, ...event])
      }
    })
    return records
  }

  states(): Map<number, ProcessState> {
    const states = new Map<number, ProcessState>()
    this.procs.forEach((proc, number) => {
      if (proc === null) return
      const { process } = proc
      states.set(number, {
        pte: process.dumpPte(this.arena, this.npages, deviceNumber),
        attr: process.dumpAttr(this.arena, this.npages),
        pagemap: process.dumpPagemap(this.arena, this.npages),
      })
    })
    return states
  }

  same(): string[] {
    const mms = this.procs.filter((proc) => proc !== null).map((proc) => proc.process.mm)
    return samePages(mms, this.arena, this.npages)
  }

  /**
   * All invariants of mm, with every reference accounted for. What devices translate is left out: `migrate-vma` may move
   * pages with the owner of a device that takes no part, whose table is wrong from then on, on Linux as here.
   */
  validate(): void {
    const held = this.heldReferences()
    validateSystem(this.machine.sys, { level: 'full', heldReferences: (pfn) => held.get(pfn) ?? 0 })
  }

  private dispatch(op: Operation): OperationResult {
    switch (op.op) {
      case 'mmap':
        this.proc(op).process.mmap(this.mmapOptions(op))
        return OK
      case 'munmap':
        this.proc(op).process.munmap(this.addrOf(op), op.n * PAGE_SIZE)
        return OK
      case 'mprotect':
        this.proc(op).process.mprotect(this.addrOf(op), op.n * PAGE_SIZE, PROT_BITS[op.prot])
        return OK
      case 'madvise':
        this.proc(op).process.madvise(this.addrOf(op), op.n * PAGE_SIZE, ADVICE_NUMBERS[op.advice])
        return OK
      case 'mremap': {
        const length = op.n * PAGE_SIZE
        this.proc(op).process.mremap(this.addrOf(op), length, length, { to: this.addrOf({ page: op.to }) })
        return OK
      }
      case 'mlock':
        this.proc(op).process.mlock(this.addrOf(op), op.n * PAGE_SIZE)
        return OK
      case 'munlock':
        this.proc(op).process.munlock(this.addrOf(op), op.n * PAGE_SIZE)
        return OK
      case 'truncate':
        return statusResult(this.file.truncate(op.filePages))
      case 'punch-hole':
        return statusResult(this.file.punchHole(op.filePage, op.n))
      case 'cpu-read':
        return { values: this.cpuAccesses(op, (process, addr) => process.tryLoad32(addr), true) }
      case 'cpu-write':
        return { status: this.cpuAccesses(op, (process, addr, i) => process.tryStore32(addr, op.value + i), false) }
      case 'dev-read':
      case 'dev-write':
      case 'migrate-to-dev':
      case 'migrate-to-sys':
      case 'snapshot':
      case 'exclusive':
      case 'check-exclusive':
        return this.deviceCommand(op)
      case 'reopen':
        return this.reopen(op)
      case 'release':
        return statusResult(this.handle(op).release(this.arena, 1).ret)
      case 'range-fault': {
        const notifier = this.proc(op).log.notifier(ARENA_SLOT)
        const { arena } = this
        const owner = this.ownerOf(op.owner)
        return executeRangeFault(op, { notifier, requests: this.loadRequests(op), arena, owner })
      }
      case 'migrate-vma': {
        const { arena } = this
        const owner = this.ownerOf(op.owner)
        for (const { requests } of this.readers(op)) requests.loadMigration(op.to, op.give)
        return executeMigrateVma(op, { device: this.device(op.dev), handle: this.handle(op), arena, owner })
      }
      case 'pin': {
        const { process, pins } = this.proc(op)
        const pinned = process.pin(this.addrOf(op), op.n, { write: op.write })
        pins.push(pinned)
        return { pinned: pinned.pfns.length }
      }
      case 'unpin': {
        const proc = this.proc(op)
        for (const pinned of proc.pins) pinned.unpin()
        proc.pins = []
        return OK
      }
      case 'watch':
        return statusResult(this.proc(op).log.insert(op.slot, op.page, op.n))
      case 'unwatch':
        return statusResult(this.proc(op).log.remove(op.slot))
      case 'read-begin':
        this.proc(op).log.readBegin(op.slot)
        return OK
      case 'read-retry':
        return { retry: this.proc(op).log.readRetry(op.slot) }
      case 'fork':
        return this.fork(op)
      case 'exit-child':
        return this.exitChild()
      default:
        return assertNever(op)
    }
  }

  // ---- operations ----

  private mmapOptions(op: OperationOf<'mmap'>): MmapOptions {
    return {
      addr: this.addrOf(op),
      length: op.n * PAGE_SIZE,
      prot: PROT_BITS[op.prot],
      fixed: true,
      noreserve: true, // as the recorder maps: what could merge otherwise does so whatever its protection was
      ...this.mappingOptions(op.kind, op.filePage ?? 0, this.proc(op)),
    }
  }

  private mappingOptions(kind: MappingKind, filePage: number, proc: ReplayedProcess): Partial<MmapOptions> {
    switch (kind) {
      case 'anon-private':
        return {}
      case 'anon-shared':
        return { shared: true }
      case 'file-private':
        return { file: this.file, offset: filePage * PAGE_SIZE }
      case 'file-shared':
        return { file: this.file, offset: filePage * PAGE_SIZE, shared: true }
      case 'device-mixedmap':
        return { file: this.device(0).file }
      case 'pfnmap':
      case 'special':
        return { file: new RawFrameFile(kind, this.rawFrame(proc)), shared: true }
      case 'hugetlb':
        return { hugetlb: true }
      default:
        return assertNever(kind)
    }
  }

  /** Touches `op.n` pages one by one; a page that cannot be accessed gives a text and does not end the operation. */
  private cpuAccesses(
    op: OperationOf<'cpu-read' | 'cpu-write'>,
    access: (process: Process, addr: Addr, i: number) => number,
    wantsValue: boolean,
  ): (number | string)[] {
    const { process } = this.proc(op)
    return Array.from({ length: op.n }, (_, i) => {
      const result = access(process, this.addrOf(op) + i * PAGE_SIZE, i)
      return result >= 0 && wantsValue ? result : accessOutcome(result)
    })
  }

  private deviceCommand(op: DeviceCommand): OperationResult {
    return executeDeviceCommand(op, this.handle(op), this.addrOf(op))
  }

  private loadRequests(op: OperationOf<'range-fault'>): Request[] {
    const loaded = this.readers(op).map(({ requests }) => requests.load(op.req ?? [], op.n))
    return loaded[loaded.length - 1]
  }

  /** Who reads the operation: process 0 reads those of both processes, and hands those of process 1 on. */
  private readers(op: { readonly proc: number }): ReplayedProcess[] {
    return op.proc === 0 ? [this.proc(op)] : [this.proc({ proc: 0 }), this.proc(op)]
  }

  private reopen(op: OperationOf<'reopen'>): OperationResult {
    const { handles, process } = this.proc(op)
    const ret = this.handle(op).close()
    if (ret !== 0) return statusResult(ret)
    handles.set(op.dev, this.open(op.dev, process))
    return OK
  }

  private fork(op: OperationOf<'fork'>): OperationResult {
    const parent = this.proc({ proc: 0 })
    assert(!this.procs[1], 'one child at a time')
    this.procs[1] = this.makeProcess(parent.process.fork(), op.childDevs)
    return OK
  }

  /** The address space goes first, then the handles are closed; what the child itself hears of it is not recorded. */
  private exitChild(): OperationResult {
    const { process, log, handles, rawFrame } = this.proc({ proc: 1 })
    log.stop()
    process.exit()
    if (rawFrame >= 0) putPage(this.machine.sys, rawFrame)
    this.procs[1] = null
    for (const handle of handles.values()) {
      const ret = handle.close()
      if (ret !== 0) return statusResult(ret)
    }
    return OK
  }

  // ---- set-up ----

  private makeFile(npages: number): ShmemFile {
    const file = new ShmemFile(this.machine.sys, 'file', npages)
    const word = new Uint8Array(4)
    for (let page = 0; page < npages; page++) {
      writeWord(word, 0, FILE_WORD + page)
      const ret = file.writePage(page, word)
      assert(ret === 0, () => `page ${page} of the file cannot be written: ${ret}`)
    }
    return file
  }

  private makeProcess(process: Process, devices: Iterable<number>): ReplayedProcess {
    const handles = new Map<number, DmirrorHandle>()
    for (const number of devices) handles.set(number, this.open(number, process))
    const log = new EventLog(process.mm, this.arena, this.npages)
    return { process, log, handles, requests: new RequestBuffer(), rawFrame: -1, pins: [] }
  }

  private open(number: number, process: Process): DmirrorHandle {
    const handle = this.device(number).open(process.mm)
    assert(typeof handle !== 'number', () => `device ${number} cannot be opened: ${handle}`)
    return handle
  }

  private rawFrame(proc: ReplayedProcess): Pfn {
    if (proc.rawFrame < 0) {
      const { sys } = this.machine
      proc.rawFrame = allocKernelPage(sys)
      assert(proc.rawFrame >= 0, 'a free frame')
      sys.mmu.clearFrame(proc.rawFrame)
      writeWord(sys.mmu.bytes(proc.rawFrame), 0, RAW_FRAME_WORD)
    }
    return proc.rawFrame
  }

  /** References to frames that neither an entry nor a cache of mm accounts for. */
  private heldReferences(): Map<Pfn, number> {
    const { pages } = this.machine.sys
    const held = new Map<Pfn, number>()
    const hold = (pfn: Pfn, n: number) => held.set(pfn, (held.get(pfn) ?? 0) + n)
    for (const proc of this.procs) {
      if (proc === null) continue
      if (proc.rawFrame >= 0) hold(proc.rawFrame, 1)
      for (const pfn of proc.pins.flatMap(({ pfns }) => pfns)) {
        if (pages.isCompound(pfn)) hold(pages.head(pfn), 1)
        else hold(pfn, GUP_PIN_COUNTING_BIAS)
      }
    }
    // Whoever reported a broken frame keeps its reference, so that the frame is never used again.
    for (let pfn = 0; pfn < pages.nframes; pfn++) if ((pages.flags[pfn] & PG_HWPOISON) !== 0) hold(pfn, 1)
    for (const { pagemap, backing } of this.devices.flatMap(({ memory }) => memory.chunks)) {
      backing.forEach((pfn, i) => {
        if (pages.refcount[pagemap.pfn + i] > 0) hold(pfn, 1)
      })
    }
    return held
  }

  // ---- look-ups ----

  private proc(op: { readonly proc: number }): ReplayedProcess {
    const proc = this.procs[op.proc]
    assert(proc, () => `process ${op.proc} does not exist`)
    return proc
  }

  private device(number: number): DmirrorDevice {
    const device = this.devices[number]
    assert(device !== undefined, () => `device ${number} does not exist in this group`)
    return device
  }

  private handle(op: { readonly proc: number; readonly dev: number }): DmirrorHandle {
    const handle = this.proc(op).handles.get(op.dev)
    assert(handle !== undefined, () => `process ${op.proc} has no handle on device ${op.dev}`)
    return handle
  }

  private addrOf(op: { readonly page: number; readonly byteOffset?: number | undefined }): Addr {
    return this.arena + op.page * PAGE_SIZE + (op.byteOffset ?? 0)
  }

  private ownerOf(name: OwnerName): unknown {
    return name === 'none' ? null : this.device(Number(name.slice('dev'.length)))
  }
}

/** What the group of a sequence says about the machine that it was recorded on. As small as it may be: made 10,000 times. */
function machineOptions(group: string, npages: number): MachineOptions {
  const nframes = Math.max(2048, npages * 16)
  return {
    memory: nframes * PAGE_SIZE,
    thp: group === 'thp' ? 'always' : 'never',
    hugetlbPages: group === 'hugetlb' ? 8 : 0,
    swap: group === 'swap' || group === 'mix' ? 1024 * PAGE_SIZE : 0,
  }
}

/** Devices 2 and 3, with coherent memory, exist in one group only. */
function deviceNumbers(group: string): number[] {
  return Array.from({ length: group === 'coh' ? NDEVICES : 2 }, (_, number) => number)
}

function deviceNumber(owner: unknown): number | undefined {
  return owner instanceof DmirrorDevice ? owner.number : undefined
}

function statusResult(ret: number): OperationResult {
  return ret === 0 ? OK : { errno: errnoName(ret) }
}
