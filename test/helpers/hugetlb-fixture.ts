// A machine with a pool of hugetlb pages, for tests of mm/hugetlb*.ts: places and states count in huge pages, and after every
// step all invariants of the machine are checked, with exact reference counts.

import { expect } from 'vitest'
import { type Addr, HPAGE_PMD_NR, PAGE_SIZE, PMD_SIZE } from '../../src/base/addr.ts'
import { MmError } from '../../src/base/errno.ts'
import { Machine } from '../../src/machine/machine.ts'
import type { MmapOptions, Process } from '../../src/machine/process.ts'
import { dumpAttr, dumpPagemap, dumpPte } from '../../src/mm/dump.ts'
import { validateSystem } from '../../src/mm/validate.ts'
import { Watcher } from './watcher.ts'

/** A border of every level of the page table. */
export const BASE: Addr = 0x1000_0000_0000

/** Address of huge page `i` of the arena. */
export function huge(i: number): Addr {
  return BASE + i * PMD_SIZE
}

/** Events over the arena, in pages of 4 KiB: `CLEAR 0-512` is one huge page. */
export function watch(process: Process, nhuge = 8): Watcher {
  return new Watcher(process.mm, BASE, nhuge * HPAGE_PMD_NR)
}

export class HugetlbFixture {
  readonly machine: Machine
  readonly process: Process
  /** References that the test holds itself, by frame of the head. */
  readonly held = new Map<number, number>()

  /** A machine with `hugetlbPages` in its pool and 8 MiB besides. */
  constructor(hugetlbPages: number) {
    this.machine = new Machine({ memory: (hugetlbPages + 4) * PMD_SIZE, hugetlbPages, swap: '64 KiB' })
    this.process = this.machine.createProcess()
  }

  get pool(): { npages: number; nfree: number; reserved: number } {
    const { npages, nfree, reserved } = this.machine.sys.hugetlb
    return { npages, nfree, reserved }
  }

  /** Maps `nhuge` huge pages from huge page `i` of the arena on. */
  map(i: number, nhuge: number, options: Partial<MmapOptions> = {}): void {
    this.process.mmap({ addr: huge(i), length: nhuge * PMD_SIZE, fixed: true, hugetlb: true, ...options })
  }

  /** Checks every invariant. */
  validate(): void {
    validateSystem(this.machine.sys, { level: 'full', heldReferences: (pfn) => this.held.get(pfn) ?? 0 })
  }

  /** Ends all processes; then every page must be back in the pool, and no promise left. */
  end(): void {
    for (const process of this.machine.processes) process.exit()
    this.held.clear()
    this.validate()
    expect(this.pool).toEqual({ npages: this.pool.npages, nfree: this.pool.npages, reserved: 0 })
  }

  /** State of `nhuge` huge pages from the start of the arena on: entry, page and pagemap, one character each. */
  state(nhuge: number, process = this.process): [string, string, string] {
    this.validate()
    const npages = nhuge * HPAGE_PMD_NR
    const { mm } = process
    return [
      perHugePage(dumpPte(mm, BASE, npages)),
      perHugePage(dumpAttr(mm, BASE, npages)),
      perHugePage(dumpPagemap(mm, BASE, npages)),
    ]
  }

  /** Frame of the head behind huge page `i` of the arena. */
  head(i: number, process = this.process): number {
    const pmd = process.mm.pageTable.findPmd(huge(i))
    return pmd?.hugePfn((huge(i) / PMD_SIZE) % 512) ?? -1
  }
}

/** Error name of a system call that fails, 'ok' otherwise. */
export function outcome(call: () => unknown): string {
  try {
    call()
    return 'ok'
  } catch (error) {
    if (error instanceof MmError) return error.code
    throw error
  }
}

/** Address of page `i` of 4 KiB of the arena. */
export function small(i: number): Addr {
  return BASE + i * PAGE_SIZE
}

function perHugePage(text: string): string {
  let short = ''
  for (let i = 0; i < text.length; i += HPAGE_PMD_NR) {
    const part = text.slice(i, i + HPAGE_PMD_NR)
    expect(part).toBe(part[0].repeat(HPAGE_PMD_NR))
    short += part[0]
  }
  return short
}
