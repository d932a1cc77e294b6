// Faults on pages that are all there, taken in one loop: the same as one by one.

import { describe, expect, it } from 'vitest'
import { machineState } from '../../test/helpers/machine-state.ts'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { PAGE_SIZE } from '../base/addr.ts'
import { handleMmFault } from './fault.ts'
import { handlePresentFaults } from './fault-present.ts'
import { FAULT_FLAG_WRITE } from './vm-fault.ts'

const NPAGES = 10

/** Pages of all kinds: written, clean and the mapping's own, shared with a child, of zeroes, not there. */
function makeFixture(): MmFixture {
  const f = new MmFixture()
  f.mmap(0, NPAGES)
  f.store(0, 5)
  const child = f.fork()
  f.store(0, 3)
  f.process.clearSoftDirty()
  f.store(1)
  f.load(6, 2)
  f.exit(child)
  return f
}

/** Faults on all pages; with `inRuns` by runs where that is possible. Returns the pages that were faulted on alone. */
function faultAll(f: MmFixture, flags: number, inRuns: boolean): number[] {
  const vma = f.mm.vmaLookup(f.addr(0))
  if (vma === null) throw new Error('the range is mapped')
  const alone: number[] = []
  f.mm.mmapLock.tryRead()
  for (let page = 0; page < NPAGES; ) {
    const addr = f.addr(page)
    const reached = inRuns ? handlePresentFaults(vma, addr, f.addr(NPAGES), flags) : addr
    page += (reached - addr) / PAGE_SIZE
    if (reached > addr) continue
    expect(handleMmFault(vma, addr, flags)).toBe(0)
    alone.push(page++)
  }
  f.mm.mmapLock.unlockRead()
  f.validate()
  return alone
}

describe.each([
  ['for writing', FAULT_FLAG_WRITE, [3, 4, 5, 6, 7, 8, 9]],
  ['for reading', 0, [5, 8, 9]],
] as const)('handlePresentFaults() %s', (_, flags, alone) => {
  it('leaves behind what one fault for each page does', () => {
    const [runs, single] = [makeFixture(), makeFixture()]
    expect(faultAll(runs, flags, true)).toEqual(alone)
    expect(faultAll(single, flags, false)).toHaveLength(NPAGES)
    expect(machineState(runs.sys)).toEqual(machineState(single.sys))
    for (const f of [runs, single]) f.finish()
  })
})
