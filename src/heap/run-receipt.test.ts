import { describe, expect, it } from 'vitest'
import { makeCounters } from '../trace/counters.ts'
import type { RunOutcome } from './engine/protocol.ts'
import { RunReceipt } from './run-receipt.ts'

const MIB = 2 ** 20

function outcome(changes: Partial<RunOutcome> = {}, bytes: { up?: number; down?: number } = {}): RunOutcome {
  const counters = makeCounters()
  counters.bytesHostToDevice.fault = bytes.up ?? 0
  counters.bytesDeviceToHost.eviction = bytes.down ?? 0
  counters.bytesDeviceToHost.user = (bytes.down ?? 0) / 2
  return {
    name: 'saxpy',
    device: 'webgpu',
    mode: 'direct',
    why: 'each range lies in one piece',
    nslices: 1,
    ndirect: 1,
    thrashing: [],
    pages: { resident: 1, duplicated: 2, pinned: 3, migrated: 4 },
    counters,
    times: { queued: 0, service: 2000, transfer: 1500, kernel: 10_250, flush: 0 },
    strays: null,
    ...changes,
  } as RunOutcome
}

describe('RunReceipt', () => {
  it('says what moved and why, and where the time went', () => {
    const receipt = new RunReceipt('saxpy', [outcome({ nslices: 3 }, { up: 400 * MIB, down: 200 * MIB })])
    expect(`${receipt}`).toBe(
      'saxpy: direct, 3 slices; 400 MiB to webgpu (fault), 300 MiB back (eviction 200 MiB, user 100 MiB); 12.3 ms: 2.0 service, 10.3 kernel',
    )
    expect(receipt.times).toEqual({ queued: 0, service: 2, transfer: 1.5, kernel: 10.25, flush: 0 })
    expect(receipt.bytesToDevice.fault).toBe(400 * MIB)
  })

  it('is short where little happened', () => {
    const times = { queued: 0, service: 10, transfer: 0, kernel: 30_000, flush: 0 }
    expect(`${new RunReceipt('k', [outcome({ times })])}`).toBe('k: direct, 1 slice; nothing copied; 30.0 ms')
  })

  it('names the arrays that thrash', () => {
    const thrashing = [{ array: 'x', faults: 400, refaults: 150 }]
    const receipt = new RunReceipt('k', [outcome({ thrashing }), outcome()])
    expect(`${receipt}`).toMatch(/kernel; "x" thrashed, 150 of 400 faults$/)
    expect(receipt.thrashing).toEqual(thrashing)
  })

  it('adds up what ran one after the other', () => {
    const receipt = new RunReceipt('a, b', [
      outcome({}, { up: MIB }),
      outcome({ nslices: 4, mode: 'paged', why: 'the range lies in 2 pieces' }, { up: 2 * MIB }),
    ])
    expect(receipt).toMatchObject({
      slices: 5,
      mode: 'paged',
      why: 'the range lies in 2 pieces',
      pages: { resident: 2, duplicated: 4, pinned: 6, migrated: 8 },
    })
    expect(receipt.counters.bytesHostToDevice.fault).toBe(3 * MIB)
  })

  it('says that there was nothing to do', () => {
    const receipt = new RunReceipt('none', [])
    expect(receipt).toMatchObject({ device: '', slices: 0, why: 'there was nothing to do' })
    expect(`${receipt}`).toBe('none: direct, 0 slices; nothing copied; 0.0 ms')
  })
})
