import { beforeEach, describe, expect, it } from 'vitest'
import type { Pfn } from '../../../src/base/addr.ts'
import { DmirrorDevice } from '../../../src/devices/dmirror/index.ts'
import {
  HMM_PFN_ERROR,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  makeHmmPfn,
} from '../../../src/hmm/hmm-pfn.ts'
import { Machine } from '../../../src/machine/machine.ts'
import { MIGRATE_PFN_MIGRATE, MIGRATE_PFN_WRITE, migratePfn } from '../../../src/mm/migrate-pfn.ts'
import { formatEntries as formatMigration } from './migrate-vma.ts'
import { formatEntries, unwrittenEntry } from './range-fault.ts'
import { RequestBuffer } from './request-buffer.ts'

const READ = HMM_PFN_VALID
const WRITE = HMM_PFN_VALID | HMM_PFN_WRITE

describe('formatEntries() of a range fault', () => {
  let machine: Machine
  let devicePages: Pfn[]

  beforeEach(() => {
    machine = new Machine({ memory: '1 MiB' })
    devicePages = [0, 1].map((number) => new DmirrorDevice(machine.sys, number, { chunkPages: 512 }).memory.allocPage())
  })

  function format(entries: bigint[], requests: bigint[] = entries.map(() => 0n)): string {
    return formatEntries(machine.sys, BigUint64Array.from(entries), requests).join(' ')
  }

  it('numbers physical pages in order of appearance, and knows one again', () => {
    const entries = [makeHmmPfn(70, WRITE), makeHmmPfn(80, READ), makeHmmPfn(70, READ), makeHmmPfn(90, WRITE)]
    expect(format(entries)).toBe('VW:0 V:1 V:0 VW:2')
  })

  it('counts device pages in the same numbers and names their device', () => {
    const [first, second] = devicePages
    expect(format([makeHmmPfn(70, READ), makeHmmPfn(second, WRITE), makeHmmPfn(first, READ)])).toBe(
      'V:0 VW:d1:1 V:d0:2',
    )
  })

  it('gives the zero page no number', () => {
    expect(format([makeHmmPfn(machine.sys.zeroPfn, READ), makeHmmPfn(70, READ)])).toBe('V:z V:0')
  })

  it('adds the order of a larger mapping', () => {
    expect(format([makeHmmPfn(70, WRITE, 9), makeHmmPfn(71, READ, 9)])).toBe('VW:0:o9 V:1:o9')
  })

  it('tells nothing, an error and a frame without flags', () => {
    expect(format([0n, HMM_PFN_ERROR, makeHmmPfn(0x1fc, 0n, 9), makeHmmPfn(0, 0n, 9)])).toBe('0 E ?1fc 0')
  })

  it('shows the requests of entries that were not written', () => {
    const requests = [0n, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE]
    expect(format(requests.map(unwrittenEntry), requests)).toBe('u uf uw ufw')
  })

  it('does not take what was written for what was not', () => {
    const requests = [0n, HMM_PFN_REQ_FAULT, WRITE]
    expect(format([0n, makeHmmPfn(70, READ), makeHmmPfn(80, WRITE)], requests)).toBe('0 V:0 VW:1')
  })
})

describe('formatEntries() of a migration', () => {
  it('has a letter for each flag', () => {
    const entries = [
      0n,
      BigInt(MIGRATE_PFN_MIGRATE),
      migratePfn(70),
      migratePfn(70, MIGRATE_PFN_MIGRATE),
      migratePfn(70, MIGRATE_PFN_WRITE),
      migratePfn(70, MIGRATE_PFN_MIGRATE | MIGRATE_PFN_WRITE),
    ]
    expect(formatMigration(BigUint64Array.from(entries))).toEqual(['0', 'M', 'V', 'VM', 'VW', 'VMW'])
  })
})

describe('RequestBuffer', () => {
  it('holds what was given, and nothing at first', () => {
    const buffer = new RequestBuffer()
    expect(buffer.load([], 3)).toEqual(['', '', ''])
    expect(buffer.load(['FW', 'F', '', 'W'], 4)).toEqual(['FW', 'F', '', 'W'])
  })

  it('keeps what lies behind the end of a shorter text', () => {
    const buffer = new RequestBuffer()
    buffer.load(['F', 'F', 'F', 'F', 'F'], 5)
    buffer.load(['W', 'W'], 2)
    expect(buffer.load([], 5)).toEqual(['', 'W', '', 'F', 'F'])
  })

  it('shows the digits of a migration, after the letter of its destination', () => {
    const buffer = new RequestBuffer()
    buffer.load(['FW', 'FW', 'FW', 'FW', 'FW', 'FW'], 6)
    buffer.loadMigration('device', '101')
    expect(buffer.load([], 6)).toEqual(['', 'F', '', 'F', '', 'FW'])
  })
})
