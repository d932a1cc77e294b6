import { describe, expect, it } from 'vitest'
import * as d from './dmirror.ts'

const PLACES = [
  0,
  d.HMM_DMIRROR_PROT_ZERO,
  d.HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL,
  d.HMM_DMIRROR_PROT_DEV_PRIVATE_REMOTE,
  d.HMM_DMIRROR_PROT_DEV_COHERENT_LOCAL,
  d.HMM_DMIRROR_PROT_DEV_COHERENT_REMOTE,
]
const ACCESSES = [d.HMM_DMIRROR_PROT_READ, d.HMM_DMIRROR_PROT_WRITE]
const SIZES = [0, d.HMM_DMIRROR_PROT_PMD, d.HMM_DMIRROR_PROT_PUD]

describe('snapshot bytes', () => {
  it('are different for every combination of place, access and size (TD-26)', () => {
    const bytes = PLACES.flatMap((place) => ACCESSES.flatMap((access) => SIZES.map((size) => place | access | size)))
    const all = [...bytes, d.HMM_DMIRROR_PROT_ERROR, d.HMM_DMIRROR_PROT_NONE]

    expect(new Set(all).size).toBe(PLACES.length * ACCESSES.length * SIZES.length + 2)
    expect(Math.max(...all)).toBe(0xff)
  })
})

describe('commands', () => {
  it('are numbered from 0 to 7 in the order of the kernel (TD-8)', () => {
    const commands = [
      d.HMM_DMIRROR_READ,
      d.HMM_DMIRROR_WRITE,
      d.HMM_DMIRROR_MIGRATE_TO_DEV,
      d.HMM_DMIRROR_MIGRATE_TO_SYS,
      d.HMM_DMIRROR_SNAPSHOT,
      d.HMM_DMIRROR_EXCLUSIVE,
      d.HMM_DMIRROR_CHECK_EXCLUSIVE,
      d.HMM_DMIRROR_RELEASE,
    ]

    expect(commands).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  })
})
