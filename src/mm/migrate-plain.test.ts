// Finalize takes plain pages in a loop of its own (migrate-finish.ts), and must leave behind what it does for pages one by one: the same
// migrations run on two machines, on one of which somebody waits for every page, which no plain page has.

import { expect, it } from 'vitest'
import { machineState } from '../../test/helpers/machine-state.ts'
import { MigrateFixture, type Migration } from '../../test/helpers/migrate-fixture.ts'
import { MIGRATE_PFN_UNPIN, MIGRATE_VMA_SELECT_DEVICE_PRIVATE } from './migrate-device.ts'
import { waitForPage } from './page-alloc.ts'

const NPAGES = 12

/** A machine, and how its migrations end. */
class Side {
  readonly f = new MigrateFixture()
  readonly awaited: boolean
  /** Wake-ups that came. */
  nwoken = 0

  constructor(awaited: boolean) {
    this.awaited = awaited
    this.f.mmap(0, NPAGES)
    this.f.store(0, 6) // dirty, writable
    this.f.process.clearSoftDirty() // read-only, and still exclusive
    this.f.store(2, 2)
    this.f.load(7)
  }

  finish(migration: Migration, settle = (): void => {}): void {
    migration.pages()
    settle()
    const { sys } = this.f
    if (this.awaited) {
      for (let i = 0; i < migration.args.npages; i++) {
        const pfn = migration.source(i)
        if (pfn < 0) continue
        waitForPage(sys, pfn)
        sys.waitFor?.add(() => this.nwoken++)
      }
    }
    sys.waitFor = null
    migration.finalize()
  }
}

function bothWays(steps: (side: Side) => void): void {
  const [plain, single] = [new Side(false), new Side(true)]
  for (const side of [plain, single]) steps(side)
  expect(single.nwoken).toBeGreaterThan(0)
  expect(machineState(plain.f.sys)).toEqual(machineState(single.f.sys))
  expect(plain.f.gpu.freed).toEqual(single.f.gpu.freed)
  for (const { f } of [plain, single]) {
    f.munmap(0, NPAGES)
    f.finish()
  }
}

it('MG-70: plain pages that move to a device and back end like any others', () => {
  bothWays((side) => {
    const { f } = side
    const away = f.begin(0, NPAGES)
    for (let i = 0; i < NPAGES; i++) if (i !== 3 && away.isMigrating(i)) away.giveDevice(i)
    side.finish(away)
    expect(f.pte(0, NPAGES)).toBe('ddDwddDDDDDD')
    const back = f.begin(0, NPAGES, { flags: MIGRATE_VMA_SELECT_DEVICE_PRIVATE })
    for (let i = 0; i < NPAGES; i++) if (i !== 8 && back.source(i) >= 0) back.giveSystem(i)
    side.finish(back)
  })
})

it('PN-9: plain pages that were pinned in place end like any others', () => {
  bothWays((side) => {
    const { f } = side
    const away = f.begin(0, 6, { pin: true })
    const homes = Array.from({ length: 6 }, (_, i) => away.source(i))
    for (let i = 0; i < 6; i++) away.giveDevice(i)
    side.finish(away)
    const back = f.begin(0, 6, { flags: MIGRATE_VMA_SELECT_DEVICE_PRIVATE })
    for (let i = 0; i < 6; i++) {
      f.lock(homes[i])
      back.give(i, homes[i], MIGRATE_PFN_UNPIN)
    }
    side.finish(back, () => {
      for (const home of homes) f.inPlace.delete(home)
    })
  })
})
