// Pages around the ranges of a launch, on a machine whose CPU traps.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DriverMachine, ON_HARDWARES, skipWithout, whyNot } from '../../../test/helpers/driver-machine.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import { DEFAULT_POLICY } from '../../policies/index.ts'
import { claimRanges } from '../claims.ts'

const pages = (addr: number, npages: number) => ({ start: addr, end: addr + npages * PAGE_SIZE })
const NOTHING = () => {}
const X = 512 * PAGE_SIZE

describe.each(ON_HARDWARES)('pages around those of a launch, on a $hardware device', (setup) => {
  let machine: DriverMachine

  beforeEach((test) => skipWithout(setup, test))
  afterEach(async () => {
    if (whyNot(setup) !== null) return
    machine.check()
    await machine.close()
  })

  async function start(devicePages: number, policy = DEFAULT_POLICY): Promise<void> {
    machine = await DriverMachine.open(setup, { nframes: 256, devices: [{ memory: devicePages * PAGE_SIZE, policy }] })
    await machine.alloc(512, 64, (i) => i, 'x')
  }

  const where = () => machine.pages(X, 64).toUpperCase()

  it('come along where most of a part is there, with their cause', async () => {
    await start(64)
    const { counters, pages: found } = await machine.handle.run(
      { write: [pages(X, 33)], around: [pages(X, 64)] },
      NOTHING,
    )
    expect(where()).toBe('D'.repeat(64))
    expect([found.pinned, counters.pagesMigrated.fault, counters.pagesMigrated.prefetch]).toEqual([33, 33, 31])
    expect(counters.bytesHostToDevice).toMatchObject({ fault: 33 * PAGE_SIZE, prefetch: 31 * PAGE_SIZE })
    // A touch need not wait, and brings them back.
    expect(await machine.load(X + 63 * PAGE_SIZE)).toBe(63)
    // Beside the others, so the whole lies in one piece and nothing has to move.
    const next = await machine.handle.run({ read: [pages(X, 48)], inOnePiece: true }, NOTHING)
    expect([next.pages.resident, next.mode]).toEqual([48, 'direct'])
    expect(next.counters.bytesDeviceToDevice).toMatchObject({ fault: 0, prefetch: 0 })
  })

  it('are copies where the launch reads, and 64 KiB where it misses little', async () => {
    await start(64)
    const { counters } = await machine.handle.run(
      { read: [pages(X + 4 * PAGE_SIZE, 2)], around: [pages(X, 64)] },
      NOTHING,
    )
    expect([counters.pagesDuplicated, counters.bytesHostToDevice.prefetch]).toEqual([16, 14 * PAGE_SIZE])
    expect(where()).not.toContain('D')
  })

  it('stay where nothing was missing and where memory is not free', async () => {
    await start(20)
    const first = await machine.handle.run({ write: [pages(X, 12)] }, NOTHING)
    expect(first.counters.pagesMigrated.prefetch).toBe(0)
    const again = await machine.handle.run({ write: [pages(X, 12)], around: [pages(X, 64)] }, NOTHING)
    expect(again.counters.pagesMigrated.prefetch).toBe(0)
    // With one more 13 of 16 are there, and then 16 of 22; of the nine that are missing seven have room.
    const more = await machine.handle.run({ write: [pages(X + 12 * PAGE_SIZE, 1)], around: [pages(X, 22)] }, NOTHING)
    expect(where().slice(0, 22)).toBe(`${'D'.repeat(20)}WW`)
    expect(more.counters.pagesMigrated.prefetch).toBe(7)
  })

  it('stay where somebody has claimed them', async () => {
    await start(20)
    const claim = claimRanges(machine.mm, { reads: [pages(X + PAGE_SIZE, 1)], writes: [] })
    const request = { read: [pages(X, 1)], around: [pages(X, 2)] }
    expect((await machine.handle.run(request, NOTHING)).counters.pagesDuplicated).toBe(1)
    claim.end()
    await machine.store(X, 5)
    expect((await machine.handle.run(request, NOTHING)).counters.pagesDuplicated).toBe(2)
  })

  it("are the policy's business", async () => {
    await start(64, { ...DEFAULT_POLICY, prefetch: () => false })
    const { counters } = await machine.handle.run({ write: [pages(X, 40)], around: [pages(X, 64)] }, NOTHING)
    expect(counters.pagesMigrated.prefetch).toBe(0)
  })
})
