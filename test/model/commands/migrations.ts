// Migrations of asynchronous devices (a0 and a1 with private memory, a2 coherent), step by step; faults on a1 begin some, too.
// And what such a device does with pages: loads, stores, read duplicates.

import { type Addr, PAGE_SIZE } from '../../../src/base/addr.ts'
import { EINVAL } from '../../../src/base/errno.ts'
import { PTE_DUPLICATED, PTE_PRESENT } from '../../../src/mm/pte.ts'
import { VM_HUGETLB, VM_SPECIAL } from '../../../src/mm/vm-flags.ts'
import { setWord, wordAt } from '../look.ts'
import { ADDR, command, NAME, PAGES, wordOf } from '../notation.ts'
import { DIRECTIONS, type Direction, OpenMigration } from '../open-migration.ts'
import type { Random } from '../random.ts'
import type { World } from '../world.ts'
import { chooseActor, chooseMapped, freshName } from './choose.ts'
import { checkResult } from './outcome.ts'

const OPEN_MAX = 4

/** Collects pages and keeps them, with the lock of the address space, until it is told to go on. */
export const migrate = command<[string, string, string, Addr, number, Direction]>({
  name: 'migrate',
  params: [NAME, NAME, NAME, ADDR, PAGES, wordOf(DIRECTIONS)],
  weight: 10,
  pick(world, random) {
    if (world.migrations.size >= OPEN_MAX) return null
    const name = freshName('m', world.migrations)
    const there = random.percent(40) ? chooseTranslation(world, random) : null
    if (there !== null) return [name, ...there, random.small(8), 'back']
    const actor = chooseActor(world, random)
    const { addr, npages } = chooseMapped(world, random, actor)
    const direction = random.percent(60) ? 'to device' : random.pick(DIRECTIONS)
    return [name, random.pick(world.asyncDevices).name, actor.name, addr, Math.min(npages, 64), direction]
  },
  run(world, name, deviceName, who, addr, npages, direction) {
    const actor = world.actors.get(who)
    const device = world.asyncDevice(deviceName)
    if (actor === undefined || device === undefined || world.migrations.has(name)) return
    // A page that stays in place needs a device page that stands for it, which the CPU must not reach.
    const wanted = device.kind === 'coherent' && direction === 'pin' ? 'to device' : direction
    const { mm } = actor.process
    world.lockForReading('migrate', actor)
    const vma = mm.vmaLookup(addr)
    const end = addr + npages * PAGE_SIZE
    const isFit = vma !== null && end <= vma.end && (vma.flags & (VM_SPECIAL | VM_HUGETLB)) === 0
    const migration = OpenMigration.begin(device.mirror(mm), vma, addr, end, wanted)
    if (typeof migration !== 'number') {
      world.addMigration(name, migration)
    } else {
      mm.mmapLock.unlockRead()
      checkResult('migrateVmaSetup', migration, isFit ? 0 : EINVAL)
    }
  },
})

/** Collects all pages of a device by frame, with no lock held. */
export const evict = command<[string, string]>({
  name: 'evict',
  params: [NAME, NAME],
  weight: 2,
  pick(world, random) {
    if (world.migrations.size >= OPEN_MAX) return null
    return [freshName('m', world.migrations), random.pick(world.asyncDevices).name]
  },
  run(world, name, deviceName) {
    const device = world.asyncDevice(deviceName)
    if (device === undefined || world.migrations.has(name)) return
    world.addMigration(name, OpenMigration.evict(device))
  },
})

/** Commands that go on with an open migration. */
function step(name: string, weight: number, run: (world: World, name: string) => void) {
  return command<[string]>({
    name,
    params: [NAME],
    weight,
    pick: (world: World, random: Random) =>
      world.migrations.size > 0 ? [random.pick([...world.migrations.keys()])] : null,
    run,
  })
}

export const move = step('move', 5, (world, name) => {
  const migration = world.migrations.get(name)
  if (migration !== undefined && !migration.hasMoved) migration.move(false)
})

export const finish = step('finish', 12, (world, name) => world.finishMigration(name))

/** The device has changed its mind, or is gone: no page gets a destination. */
export const decline = step('decline', 2, (world, name) => {
  const migration = world.migrations.get(name)
  if (migration === undefined) return
  if (!migration.hasMoved) migration.move(true)
  world.finishMigration(name)
})

/** Pages of a process that an asynchronous device can reach. */
function chooseTranslation(world: World, random: Random): [string, string, Addr] | null {
  const reachable = [...world.actors.values()].flatMap((actor) =>
    world.asyncDevices.flatMap((device) =>
      [...(device.mirrors.get(actor.process.mm)?.table.keys() ?? [])].map((vpn): [string, string, Addr] => [
        device.name,
        actor.name,
        vpn * PAGE_SIZE,
      ]),
    ),
  )
  return reachable.length > 0 ? random.pick(reachable) : null
}

function findTranslation(world: World, deviceName: string, who: string, addr: Addr) {
  const actor = world.actors.get(who)
  const device = world.asyncDevice(deviceName)
  if (actor === undefined || device === undefined) return undefined
  const translation = device.mirrors.get(actor.process.mm)?.table.get(addr / PAGE_SIZE)
  const page = actor.space.get(addr / PAGE_SIZE)
  return translation === undefined ? undefined : { device, translation, page }
}

export const deviceLoad = command<[string, string, Addr]>({
  name: 'deviceLoad',
  params: [NAME, NAME, ADDR],
  weight: 5,
  pick: chooseTranslation,
  run(world, deviceName, who, addr) {
    const found = findTranslation(world, deviceName, who, addr)
    if (found === undefined) return
    const { device, translation, page } = found
    const bytes = translation.duplicate ?? device.data(translation.pfn)
    const [first, last] = [wordAt(bytes, 0), wordAt(bytes, PAGE_SIZE - 4)]
    if (page?.lazy && first === 0 && last === 0) return
    if (page === undefined || first !== page.content.first || last !== page.content.last) {
      throw new Error(`the device loads ${first}, ${last}, wanted ${page?.content.first}, ${page?.content.last}`)
    }
  },
})

export const deviceStore = command<[string, string, Addr]>({
  name: 'deviceStore',
  params: [NAME, NAME, ADDR],
  weight: 8,
  pick: chooseTranslation,
  run(world, deviceName, who, addr) {
    const found = findTranslation(world, deviceName, who, addr)
    if (found === undefined || !found.translation.writable) return
    const { device, translation, page } = found
    const bytes = device.data(translation.pfn)
    const content = world.newContent()
    setWord(bytes, 0, content.first)
    setWord(bytes, PAGE_SIZE - 4, content.last)
    world.sys.pages.setDirty(translation.pfn)
    page?.store(content)
  },
})

/** The device takes copies of pages that stay where they are. */
export const duplicate = command<[string, string, Addr, number]>({
  name: 'duplicate',
  params: [NAME, NAME, ADDR, PAGES],
  weight: 4,
  pick(world, random) {
    const actor = chooseActor(world, random)
    const { addr, npages } = chooseMapped(world, random, actor)
    return [random.pick(world.asyncDevices).name, actor.name, addr, Math.min(npages, 64)]
  },
  run(world, deviceName, who, addr, npages) {
    const actor = world.actors.get(who)
    const device = world.asyncDevice(deviceName)
    if (actor === undefined || device === undefined) return
    const { mm } = actor.process
    world.lockForReading('duplicate', actor)
    device.mirror(mm).duplicate(addr, addr + npages * PAGE_SIZE, (at) => {
      const table = mm.pageTable.findPte(at)
      if (table === null) return -1
      const i = 2 * ((at / PAGE_SIZE) % 512)
      const marked = PTE_PRESENT | PTE_DUPLICATED
      return (table.words[i + 1] & marked) === marked ? table.words[i] : -1
    })
    mm.mmapLock.unlockRead()
  },
})
