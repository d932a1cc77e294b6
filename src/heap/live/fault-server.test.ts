// What the loop of faults decides by itself. The rest of it is seen in whole programs (test/unit/live-memory.test.ts).

import { beforeEach, describe, expect, it, vi } from 'vitest'
import { MmFixture } from '../../../test/helpers/mm-fixture.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import type { UserfaultfdMmu } from '../../mmu/userfaultfd/userfaultfd-mmu.ts'
import { NO_TRACE } from '../../trace/tracer.ts'
import { ArrayTable } from '../engine/array-table.ts'
import { FaultServer } from './fault-server.ts'

const ADDR = 0x1000_0000_0000

class Fixture {
  readonly machine = new MmFixture()
  readonly steps: string[] = []
  /** Calls that come, one each time that somebody looks for them. */
  readonly calls: (() => void)[] = []
  readonly server = new FaultServer({
    mm: this.machine.mm,
    mmu: {
      heapAddr: (addr: number) => addr,
      resolveStore: () => false,
      addStray: () => void this.steps.push('count it'),
      mapStray: () => void this.steps.push('let it go on'),
      batch: <T>(work: () => T): T => work(),
      isInstalled: () => true,
    } as unknown as UserfaultfdMmu,
    arrays: new ArrayTable(),
    tracer: NO_TRACE,
    takeCalls: () => {
      this.steps.push('look for calls')
      this.calls.shift()?.()
    },
    explain: String,
    progress: () => 0,
    isWatched: () => this.isWatched,
    patienceMs: 1000,
    giveUp: (message) => {
      throw new Error(message)
    },
  })
  isWatched = false

  touch(write = false): void {
    this.server.serve([{ addr: ADDR, write, wp: false, minor: false, tid: 1 }])
  }

  map(): void {
    this.machine.process.mmap({ addr: ADDR, length: PAGE_SIZE, fixed: true })
  }
}

let f: Fixture

beforeEach(() => {
  f = new Fixture()
})

describe('FaultServer, a touch of a page of nobody', () => {
  it('is counted before calls are looked for again, and goes on if there are none', () => {
    f.touch()
    expect(f.steps).toEqual(['look for calls', 'count it', 'look for calls', 'let it go on'])
    expect(f.server.nstrays).toBe(1)
  })

  it('is one of an array that is being allocated, whenever the call comes', () => {
    f.calls.push(() => f.map())
    f.touch(true)
    expect(f.steps).toEqual(['look for calls'])
    const late = new Fixture()
    late.calls.push(
      () => {},
      () => late.map(),
    )
    late.touch(true)
    expect(late.steps).toEqual(['look for calls', 'count it', 'look for calls'])
    expect([late.server.nstrays, late.server.waiting()]).toEqual([0, []])
  })
})

describe('FaultServer, a touch that waits', () => {
  it('is given up when nothing moves, but not while a device watches over a kernel', () => {
    vi.useFakeTimers()
    try {
      f.map()
      expect(f.machine.mm.mmapLock.tryWrite()).toBe(true)
      f.isWatched = true
      f.touch()
      expect(f.server.waiting()).toMatchObject([{ access: 'read', reason: 'a change of mappings' }])
      vi.advanceTimersByTime(10_000)
      f.isWatched = false
      vi.advanceTimersByTime(800)
      expect(() => vi.advanceTimersByTime(400)).toThrow(/waits for a change of mappings, and nothing has moved for/)
    } finally {
      vi.useRealTimers()
    }
  })
})
