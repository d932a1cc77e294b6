// The kernel's test driver, on devices with private (d0, d1) and coherent memory (d2): its commands, and what a device with
// exclusive access is for.

import { type Addr, PAGE_SIZE } from '../../../src/base/addr.ts'
import { EAGAIN, EBUSY, EFAULT, EHWPOISON, EINVAL, ENOENT, ENOMEM, EPERM, errnoName } from '../../../src/base/errno.ts'
import type { DmirrorDevice, DmirrorHandle, DmirrorResult } from '../../../src/devices/dmirror/index.ts'
import { TAG_ATOMIC } from '../../../src/devices/dmirror/mirror-table.ts'
import { pagemapOf } from '../../../src/mm/memremap.ts'
import type { Content } from '../contents.ts'
import { look, seen, setWord, wordAt } from '../look.ts'
import { ADDR, type CommandKind, command, NAME, PAGES } from '../notation.ts'
import type { Random } from '../random.ts'
import type { Actor, World } from '../world.ts'
import { chooseActor, chooseMapped } from './choose.ts'
import { pagesOf } from './mappings.ts'
import { checkResult, deviceMayAccess, mayFail } from './outcome.ts'

/** Pages that a program gives a device at a time: more than the driver's batch, now and then. */
const PAGES_MAX = 80
const buffer = new Uint8Array(PAGES_MAX * PAGE_SIZE)

interface Target {
  readonly actor: Actor
  readonly device: DmirrorDevice
  readonly handle: DmirrorHandle
  readonly addr: Addr
  readonly npages: number
}

/** A command on a range: `name(d0, p1, 0x10000, 3 pages)`. */
function deviceCommand(
  name: string,
  weight: number,
  run: (world: World, target: Target) => void,
): CommandKind<[string, string, Addr, number]> {
  return command({
    name,
    params: [NAME, NAME, ADDR, PAGES],
    weight,
    pick(world, random) {
      const actor = chooseActor(world, random)
      const { addr, npages } = chooseMapped(world, random, actor)
      return [`d${random.below(world.dmirrors.length)}`, actor.name, addr, Math.min(npages, PAGES_MAX)]
    },
    run(world, deviceName, who, addr, npages) {
      const actor = world.actors.get(who)
      const device = world.dmirror(deviceName)
      if (actor === undefined || device === undefined) return
      run(world, { actor, device, handle: world.handle(actor, device), addr, npages: Math.min(npages, PAGES_MAX) })
    },
  })
}

/** Runs a driver command; one that has to wait throws. */
function ioctl(world: World, what: string, call: () => DmirrorResult): number {
  world.sys.waitFor = null
  const { ret } = call()
  if (ret === -EAGAIN) world.wait(what)
  return ret
}

/**
 * The device must succeed where all pages can be reached, and must not where one cannot. Where memory is short reclaim may
 * take one page away for the other again and again.
 */
function checkReach(world: World, what: string, { actor, addr, npages }: Target, ret: number, write: boolean): void {
  const pages = pagesOf(actor, addr, npages)
  if (pages.every((page) => deviceMayAccess(page, write))) {
    if (ret === 0 || pages.some((page) => mayFail(world, page)) || (ret === -EBUSY && world.setup.tight)) return
    throw new Error(`${what} returned ${errnoName(ret)}, wanted success`)
  }
  checkResult(what, ret, EFAULT, EPERM, ...(world.setup.tight ? [EBUSY] : []))
}

function checkBuffer(what: string, { actor, addr, npages }: Target): void {
  for (const [i, page] of pagesOf(actor, addr, npages).entries()) {
    const [first, last] = [wordAt(buffer, i * PAGE_SIZE), wordAt(buffer, (i + 1) * PAGE_SIZE - 4)]
    if (page === undefined) throw new Error(`${what} copied page ${i}, which is not mapped`)
    if (first === page.content.first && last === page.content.last) continue
    if (page.lazy && first === 0 && last === 0) continue
    throw new Error(
      `${what} copied ${first}, ${last} for page ${i}, wanted ${page.content.first}, ${page.content.last}`,
    )
  }
}

export const read = deviceCommand('read', 6, (world, target) => {
  const { handle, addr, npages } = target
  const ret = ioctl(world, 'read', () => handle.read(addr, npages, buffer))
  checkReach(world, 'read', target, ret, false)
  if (ret === 0) checkBuffer('read', target)
})

export const write = deviceCommand('write', 8, (world, target) => {
  const { actor, handle, addr, npages } = target
  const contents: Content[] = []
  for (let i = 0; i < npages; i++) {
    const content = world.newContent()
    contents.push(content)
    setWord(buffer, i * PAGE_SIZE, content.first)
    setWord(buffer, (i + 1) * PAGE_SIZE - 4, content.last)
  }
  const hasReadOnlyPage = ownsReadOnlyPage(target)
  let ret = -EAGAIN
  try {
    ret = ioctl(world, 'write', () => handle.write(addr, npages, buffer.subarray(0, npages * PAGE_SIZE)))
  } finally {
    if (ret === 0) for (const [i, page] of pagesOf(actor, addr, npages).entries()) page?.store(contents[i])
    // Pages before one that cannot be written are written.
    else for (const [i, content] of contents.entries()) world.settleStore(actor, addr + i * PAGE_SIZE, content)
    world.settleCopies(actor, addr, npages)
  }
  if (ret !== -EFAULT || !hasReadOnlyPage) checkReach(world, 'write', target, ret, true)
})

/** A private page of this device that fork made read-only: nobody faults it for a write (RF-64). */
function ownsReadOnlyPage({ actor, device, addr, npages }: Target): boolean {
  if (device.kind !== 'private') return false
  const { mm } = actor.process
  for (let i = 0; i < npages; i++) {
    look(mm, addr + i * PAGE_SIZE)
    if (seen.pfn >= 0 && pagemapOf(device.sys, seen.pfn)?.owner === device) return true
  }
  return false
}

export const toDevice = deviceCommand('toDevice', 8, (world, target) => {
  const { handle, addr, npages } = target
  const ret = ioctl(world, 'toDevice', () => handle.migrateToDev(addr, npages, buffer))
  checkResult('toDevice', ret, 0, ENOENT, EINVAL)
  if (ret === 0) checkBuffer('toDevice', target)
})

export const toSystem = deviceCommand('toSystem', 4, (world, { handle, addr, npages }) => {
  checkResult(
    'toSystem',
    ioctl(world, 'toSystem', () => handle.migrateToSys(addr, npages)),
    0,
    EINVAL,
  )
})

export const exclusive = deviceCommand('exclusive', 5, (world, target) => {
  const { actor, handle, addr, npages } = target
  let ret: number
  try {
    ret = ioctl(world, 'exclusive', () => handle.exclusive(addr, npages, buffer))
  } finally {
    world.settleCopies(actor, addr, npages)
  }
  checkResult('exclusive', ret, 0, EBUSY, EFAULT, ENOENT, ENOMEM, EHWPOISON)
  if (ret === 0) checkBuffer('exclusive', target)
})

/** The device changes pages that it has for itself. */
export const atomic = deviceCommand('atomic', 3, (world, { actor, handle, addr, npages }) => {
  for (let vpn = addr / PAGE_SIZE; vpn < addr / PAGE_SIZE + npages; vpn++) {
    if (handle.table.tagOf(vpn) !== TAG_ATOMIC) continue
    const content = world.newContent()
    const bytes = world.sys.mmu.bytes(handle.table.find(vpn))
    setWord(bytes, 0, content.first)
    setWord(bytes, PAGE_SIZE - 4, content.last)
    actor.space.get(vpn)?.store(content)
  }
})

/** A look of the device changes nothing and finds no more than the mapping allows (INV-10). */
export const snapshot = deviceCommand('snapshot', 2, (world, { actor, handle, addr, npages }) => {
  const perms = new Uint8Array(npages)
  const ret = ioctl(world, 'snapshot', () => handle.snapshot(addr, npages, perms))
  checkResult('snapshot', ret, 0)
  for (const [i, page] of pagesOf(actor, addr, npages).entries()) {
    const canWrite = perms[i] !== 0xff && (perms[i] & 2) !== 0
    if (canWrite && !deviceMayAccess(page, true)) throw new Error(`snapshot shows page ${i} writable`)
  }
})

const DEVICE_AND_PROCESS = {
  params: [NAME, NAME] as const,
  pick: (world: World, random: Random): [string, string] => [
    `d${random.below(world.dmirrors.length)}`,
    chooseActor(world, random).name,
  ],
}

export const close = command<[string, string]>({
  name: 'close',
  ...DEVICE_AND_PROCESS,
  weight: 1,
  run(world, name, who) {
    const actor = world.actors.get(who)
    const device = world.dmirror(name)
    if (actor === undefined || device === undefined) return
    const handle = actor.handles[device.number]
    if (handle === null) return
    checkResult('close', handle.close(), 0)
    actor.handles[device.number] = null
  },
})

/** Takes all memory of the device away; what is held by somebody goes later. */
export const release = command<[string]>({
  name: 'release',
  params: [NAME],
  weight: 1,
  pick: (world, random) => [`d${random.below(world.dmirrors.length)}`],
  run(world, name) {
    const device = world.dmirror(name)
    if (device !== undefined) checkResult('release', device.release(), 0, EAGAIN)
  },
})
