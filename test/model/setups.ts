// The machines that programs run on: each puts other paths of mm under load.

import { type Addr, PMD_SIZE } from '../../src/base/addr.ts'
import type { MachineOptions } from '../../src/machine/machine.ts'

/** Where programs map. */
export interface Region {
  readonly start: Addr
  readonly npages: number
}

export interface Setup {
  readonly name: string
  readonly options: MachineOptions
  readonly regions: readonly Region[]
  /** Ranges of more pages than this are rare. */
  readonly shortPages: number
  /** Places and sizes are often multiples of so many pages. */
  readonly grain: number
  /** Memory is short: programs may take frames away, and operations may fail for want of them. */
  readonly tight: boolean
  /** Hugetlb mappings can be made. */
  readonly hugetlb: boolean
  /** How often the machine is drawn, against the others. */
  readonly weight: number
}

// The border of two last-level tables, and that of two tables above, lie in the middle.
const SMALL_REGIONS: readonly Region[] = [
  { start: 0x1f_4000, npages: 24 },
  { start: 0x3fff_a000, npages: 12 },
]

const HUGE_REGIONS: readonly Region[] = [{ start: 0x4000_0000 - PMD_SIZE, npages: 3 * 512 }]

export const SETUPS: readonly Setup[] = [
  {
    name: 'small',
    options: { memory: '1 MiB', swap: '512 KiB' },
    regions: SMALL_REGIONS,
    shortPages: 8,
    grain: 1,
    tight: false,
    hugetlb: false,
    weight: 60,
  },
  {
    name: 'tight',
    options: { memory: '128 KiB', swap: '48 KiB', reserve: '16 KiB' },
    regions: SMALL_REGIONS,
    shortPages: 8,
    grain: 1,
    tight: true,
    hugetlb: false,
    weight: 30,
  },
  {
    name: 'huge',
    options: { memory: '14 MiB', swap: '2 MiB', thp: 'always' },
    regions: HUGE_REGIONS,
    shortPages: 600,
    grain: 128,
    tight: false,
    hugetlb: false,
    weight: 6,
  },
  {
    name: 'advised',
    options: { memory: '14 MiB', swap: '2 MiB', thp: 'madvise' },
    regions: HUGE_REGIONS,
    shortPages: 600,
    grain: 128,
    tight: false,
    hugetlb: false,
    weight: 2,
  },
  {
    name: 'hugetlb',
    options: { memory: '14 MiB', swap: '256 KiB', hugetlbPages: 5 },
    regions: HUGE_REGIONS,
    shortPages: 600,
    grain: 256,
    tight: false,
    hugetlb: true,
    weight: 4,
  },
]

/** Throws a RangeError for a name that no machine has. */
export function setupNamed(name: string): Setup {
  const setup = SETUPS.find((each) => each.name === name)
  if (setup === undefined) throw new RangeError(`machine ${name}, wanted ${SETUPS.map((each) => each.name).join(', ')}`)
  return setup
}
