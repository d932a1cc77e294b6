// Neighbours in the same state go through a migration as a run (migrate-collect.ts, migrate-device.ts, migrate-finish.ts), and must end like
// pages that migrate one by one: the same pages on two machines, at once and in migrations of one page.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Pfn } from '../../src/base/addr.ts'
import { machineState } from '../../test/helpers/machine-state.ts'
import { MigrateFixture } from '../../test/helpers/migrate-fixture.ts'
import { MIGRATE_VMA_SELECT_DEVICE_PRIVATE, MIGRATE_VMA_SELECT_SYSTEM } from './migrate-device.ts'
import { allocKernelPage } from './page-alloc.ts'

const NPAGES = 24

/** What happens to a page before: a store, also one before soft-dirty bits are cleared; a load; a further reference; a lock; nothing. */
const PAST = ['store', 'clean', 'load', 'held', 'locked', 'none'] as const
/** What the driver gives it: the frame behind the one before, one that lies apart, or none. */
const FATE = ['beside', 'apart', 'none'] as const

interface Page {
  readonly past: (typeof PAST)[number]
  readonly away: (typeof FATE)[number]
  readonly back: (typeof FATE)[number]
}

class Side {
  readonly f = new MigrateFixture({}, { npages: 2 * NPAGES })
  private readonly pages: readonly Page[]
  /** Frames of the test, which keep others apart. */
  private readonly taken: Pfn[] = []

  constructor(pages: readonly Page[]) {
    const { f } = this
    this.pages = pages
    f.mmap(0, NPAGES)
    this.forEach('clean', (i) => f.store(i))
    f.process.clearSoftDirty()
    for (const past of ['store', 'held', 'locked'] as const) this.forEach(past, (i) => f.store(i))
    this.forEach('load', (i) => f.load(i))
    this.forEach('held', (i) => f.hold(f.pfn(i)))
    this.forEach('locked', (i) => f.lock(f.pfn(i)))
  }

  /** To the device and back, `step` pages at a time. */
  migrate(step: number): void {
    const { f, pages } = this
    for (let i = 0; i < NPAGES; i += step) {
      const away = f.begin(i, step, { flags: MIGRATE_VMA_SELECT_SYSTEM })
      for (let k = 0; k < step; k++) {
        if (pages[i + k].away === 'apart') this.take(f.gpu.take())
        if (away.isMigrating(k) && pages[i + k].away !== 'none') away.giveDevice(k)
      }
      away.finish()
    }
    for (let i = 0; i < NPAGES; i += step) {
      const back = f.begin(i, step, { flags: MIGRATE_VMA_SELECT_DEVICE_PRIVATE })
      for (let k = 0; k < step; k++) {
        if (pages[i + k].back === 'apart') this.take(allocKernelPage(f.sys))
        if (back.source(k) >= 0 && pages[i + k].back !== 'none') back.giveSystem(k)
      }
      back.finish()
    }
  }

  /** Gives back what the test has, and the rest. */
  end(): void {
    const { f } = this
    this.forEach('held', (i) => f.letGo(f.pfn(i)))
    this.forEach('locked', (i) => f.unlock(f.pfn(i)))
    for (const pfn of this.taken) {
      if (f.sys.pages.isLocked(pfn)) f.unlock(pfn)
      f.letGo(pfn)
    }
    f.munmap(0, NPAGES)
    f.finish()
  }

  private take(pfn: Pfn): void {
    this.taken.push(pfn)
    this.f.held.set(pfn, 1)
  }

  private forEach(past: Page['past'], visit: (page: number) => void): void {
    this.pages.forEach((page, i) => {
      if (page.past === past) visit(i)
    })
  }
}

/**
 * Everything but how many events there were, one for each migration, and the order of the LRU: a page that cannot move is back at once, one
 * that the driver leaves where it is at the end.
 */
function stateOf({ f }: Side): Record<string, unknown> {
  const { mms, lru, ...state } = machineState(f.sys)
  const spaces = (mms as Record<string, unknown>[]).map(({ subscriptions: _, ...space }) => space)
  return { ...state, spaces, lru: new Set(lru as number[]) }
}

it('MG-20: pages that migrate at once end like pages that migrate one by one', () => {
  // Mostly a page is like the one before.
  const page = fc.record({
    past: fc.constantFrom(...PAST),
    away: fc.constantFrom(...FATE),
    back: fc.constantFrom(...FATE),
    count: fc.integer({ min: 1, max: NPAGES }),
  })
  fc.assert(
    fc.property(fc.array(page, { minLength: NPAGES, maxLength: NPAGES }), (runs) => {
      const pages = runs.flatMap(({ count, ...each }) => Array<Page>(count).fill(each)).slice(0, NPAGES)
      const [atOnce, single] = [new Side(pages), new Side(pages)]
      atOnce.migrate(NPAGES)
      single.migrate(1)
      expect(stateOf(atOnce)).toEqual(stateOf(single))
      expect(atOnce.f.gpu.freed).toEqual(single.f.gpu.freed)
      atOnce.end()
      single.end()
    }),
    { numRuns: 60 },
  )
}, 60_000)
