// A simulated machine: memory, swap, processes and files, with nothing of the real one behind it. What drivers are developed
// and tested on, what the conformance recordings are replayed on, and what explains heterogeneous memory to a newcomer.
//
//   const machine = new Machine({ memory: '64 MiB' })
//   const process = machine.createProcess()
//   const addr = process.mmap({ length: 16 * 4096 })
//   process.store32(addr, 42)                                // a page fault, a frame, a page-table entry
//   process.dumpPte(addr, 16)                                // 'w---------------'

import { PAGE_SIZE } from '../base/addr.ts'
import { parseSize, type Size } from '../base/size.ts'
import { Mm } from '../mm/mm.ts'
import type { SwapDevice } from '../mm/swap-device.ts'
import { System, type ThpMode } from '../mm/system.ts'
import type { Mmu } from '../mmu/mmu.ts'
import { SimulatedMmu } from '../mmu/simulated/simulated-mmu.ts'
import { checkCount, checkWhole } from './arguments.ts'
import { MemoryFile } from './memory-file.ts'
import { Process, type ProcessTable } from './process.ts'

const THP_MODES: readonly ThpMode[] = ['never', 'madvise', 'always']

/** What a Machine has. */
export interface MachineOptions {
  /** System memory, at least one page. Default '64 MiB'. It costs nothing before it is used. */
  readonly memory?: Size
  /** Swap area. Default 0: none. */
  readonly swap?: Size
  /** Makes what keeps the swapped pages. Default: memory, where writing and reading is done at once. */
  readonly swapDevice?: (mmu: Mmu) => SwapDevice
  /** Part of `memory` that only pages coming back from a device may use, so that a device can always be emptied. Default 0. */
  readonly reserve?: Size
  /** Transparent huge pages for anonymous memory. Default 'never'. */
  readonly thp?: ThpMode
  /** Raise CLEAR where Linux does because a huge entry might be split, also without one (MN-90). Default: if `thp` is on. */
  readonly splitEvents?: boolean
  /** 2 MiB pages in the pool for `hugetlb` mappings. Default 0. */
  readonly hugetlbPages?: number
  /** Pages of a file that one read fault maps, a power of two. Default 16. */
  readonly faultAroundPages?: number
  /** False to do without the bytes of frames: only the bookkeeping is simulated, and no CPU can load or store. Default true. */
  readonly contents?: boolean
}

/** A simulated machine: frames, swap, and processes with page tables. */
export class Machine implements ProcessTable {
  readonly mmu: SimulatedMmu
  readonly sys: System
  readonly #processes = new Map<number, Process>()
  #lastPid = 0

  /** Throws a TypeError or RangeError that names the option. */
  constructor(options: MachineOptions = {}) {
    const { memory = '64 MiB', swap = 0, reserve = 0, thp = 'never' } = options
    const { hugetlbPages = 0, faultAroundPages = 16 } = options
    const nframes = Math.floor(parseSize(memory, 'memory') / PAGE_SIZE)
    if (nframes === 0) throw new RangeError(`memory is ${memory}, wanted at least ${PAGE_SIZE} bytes`)
    if (!THP_MODES.includes(thp)) throw new TypeError(`thp is ${thp}, wanted one of ${THP_MODES.join(', ')}`)
    checkWhole(hugetlbPages, 'hugetlbPages')
    checkCount(faultAroundPages, 'faultAroundPages')
    if (!Number.isInteger(Math.log2(faultAroundPages)) || faultAroundPages > 512) {
      throw new RangeError(`faultAroundPages is ${faultAroundPages}, wanted a power of two up to 512`)
    }
    this.mmu = new SimulatedMmu({ nframes, contents: options.contents ?? true })
    this.sys = new System(this.mmu, {
      thp,
      swapPages: Math.floor(parseSize(swap, 'swap') / PAGE_SIZE),
      reservePages: Math.ceil(parseSize(reserve, 'reserve') / PAGE_SIZE),
      hugetlbPages,
      faultAroundPages,
      ...(options.splitEvents !== undefined && { splitEvents: options.splitEvents }),
      ...(options.swapDevice !== undefined && { swapDevice: options.swapDevice(this.mmu) }),
    })
  }

  /** Processes that have not ended, oldest first. */
  get processes(): readonly Process[] {
    return [...this.#processes.values()]
  }

  /** A process with an empty address space. */
  createProcess(name = `process ${this.#lastPid + 1}`): Process {
    return this.adopt(new Mm(this.sys), name)
  }

  /** A file in memory (tmpfs) of `npages` pages, all of them holes that read as zero. It stays until it is closed. */
  createFile(name: string, npages: number): MemoryFile {
    return new MemoryFile(this.sys, name, npages)
  }

  /** @internal Makes a process of an address space: a new one, or what fork made. */
  adopt(mm: Mm, name: string): Process {
    this.#lastPid++
    const process = new Process(this, this.#lastPid, name, mm)
    this.#processes.set(process.pid, process)
    return process
  }

  /** @internal The process has ended. */
  forget(process: Process): void {
    this.#processes.delete(process.pid)
  }
}
