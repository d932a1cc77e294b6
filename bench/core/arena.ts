// An address space with anonymous memory in one mapping or in many, for the core suite: mapped, populated by write
// faults as the CPU raises them, and unmapped again.
//
//   | mapping 0 ...... | hole of one page | mapping 1 ...... | hole | ... | mapping n - 1 ...... |
//   START                                                                                   end
//
// The holes keep the mappings from being merged and from sharing an AnonVma, as separate arenas of a program would.

import { type Addr, PAGE_SIZE } from '../../src/base/addr.ts'
import { handleMmFault } from '../../src/mm/fault.ts'
import { Mm } from '../../src/mm/mm.ts'
import { mmMmap, mmMunmap } from '../../src/mm/mmap.ts'
import { System } from '../../src/mm/system.ts'
import { FAULT_FLAG_WRITE } from '../../src/mm/vm-fault.ts'
import { SimulatedMmu } from '../../src/mmu/simulated/simulated-mmu.ts'
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from '../../src/uapi/mman.ts'

const START: Addr = 0x10_0000_0000
const HOLE = PAGE_SIZE

export interface ArenaOptions {
  /** Of all mappings together; a multiple of `nvmas`. */
  readonly npages: number
  /** Default 1. */
  readonly nvmas?: number
  /** False for frames without bytes, where they would not fit the host. Default true; no byte is ever touched. */
  readonly contents?: boolean
}

export class Arena {
  readonly sys: System
  readonly mm: Mm
  readonly npages: number
  readonly nvmas: number
  readonly start = START
  readonly end: Addr
  /** Bytes of each mapping. */
  readonly #vmaBytes: number

  constructor({ npages, nvmas = 1, contents = true }: ArenaOptions) {
    if (npages % nvmas !== 0) throw new RangeError(`${npages} pages in ${nvmas} mappings of one size`)
    // As many frames as pages, and one for the zero page: nothing is kept for memory that is not there.
    this.sys = new System(new SimulatedMmu({ nframes: npages + 1, contents }))
    this.mm = new Mm(this.sys)
    this.npages = npages
    this.nvmas = nvmas
    this.#vmaBytes = (npages / nvmas) * PAGE_SIZE
    this.end = START + nvmas * (this.#vmaBytes + HOLE) - HOLE
  }

  map(): void {
    for (let i = 0; i < this.nvmas; i++) {
      const addr = this.start + i * (this.#vmaBytes + HOLE)
      const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED
      check(mmMmap(this.mm, addr, this.#vmaBytes, PROT_READ | PROT_WRITE, flags) === addr, 'mmap')
    }
    check(this.mm.vmas.length === this.nvmas, 'the number of mappings')
  }

  /** A write fault on every page in ascending order, each with the search for its mapping. */
  populate(): void {
    const { mm, end } = this
    for (let addr = this.start; addr < end; addr += PAGE_SIZE) {
      const vma = mm.vmaLookup(addr)
      if (vma === null) continue // a hole
      if (handleMmFault(vma, addr, FAULT_FLAG_WRITE) !== 0) throw new Error(`the fault at ${addr} failed`)
    }
  }

  unmap(): void {
    check(mmMunmap(this.mm, this.start, this.end - this.start) === 0, 'munmap')
    check(this.sys.mmu.nfree === this.npages, 'the number of free frames')
  }
}

/** An arena with every page present. */
export function makePopulatedArena(options: ArenaOptions): Arena {
  const arena = new Arena(options)
  arena.map()
  arena.populate()
  check(arena.sys.mmu.nfree === 0, 'the number of free frames')
  return arena
}

/** A benchmark that does not do what it says is worse than none. */
export function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(`bench: ${what} is not what it should be`)
}
