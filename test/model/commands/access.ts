// What a program does with its memory: loads and stores of the CPU, fork and exit, pins for DMA.

import { type Addr, PAGE_SIZE } from '../../../src/base/addr.ts'
import { EBUSY, EFAULT, EHWPOISON, EINVAL, ENOMEM } from '../../../src/base/errno.ts'
import { VM_DONTCOPY, VM_IO, VM_PFNMAP, VM_READ, VM_WRITE } from '../../../src/mm/vm-flags.ts'
import { Content, type PageModel, type SpaceModel } from '../contents.ts'
import { CONTENT, look, NOTHING, seen, setWord } from '../look.ts'
import { ADDR, command, NAME, PAGES, wordOf } from '../notation.ts'
import { type Actor, isParted, type PinnedPage, type World } from '../world.ts'
import { chooseActor, chooseMapped, freshName } from './choose.ts'
import { checkAccess, checkResult, mayFail, resultOf } from './outcome.ts'

/** A page is known by two of its words. */
const ENDS = ['first', 'last'] as const
type End = (typeof ENDS)[number]
const OFFSET: Record<End, number> = { first: 0, last: PAGE_SIZE - 4 }

export const load = command<[string, Addr, number, End]>({
  name: 'load',
  params: [NAME, ADDR, PAGES, wordOf(ENDS)],
  weight: 8,
  pick(world, random) {
    const actor = chooseActor(world, random)
    const { addr, npages } = chooseMapped(world, random, actor)
    return [actor.name, addr, Math.min(npages, 8), random.pick(ENDS)]
  },
  run(world, who, addr, npages, end) {
    const actor = world.actors.get(who)
    if (actor !== undefined) forEachPage(addr, npages, (at) => loadWord(world, actor, at, end))
  },
})

function loadWord(world: World, actor: Actor, addr: Addr, end: End): void {
  const page = actor.space.get(addr / PAGE_SIZE)
  const value = actor.process.tryLoad32(addr + OFFSET[end])
  if (!checkAccess(world, 'load', value, page, false) || page === undefined) return
  settleLazy(actor, addr, page)
  if (value !== page.content[end]) throw new Error(`load returned ${value}, wanted ${page.content[end]}`)
}

export const store = command<[string, Addr, number, End]>({
  name: 'store',
  params: [NAME, ADDR, PAGES, wordOf(ENDS)],
  weight: 16,
  pick(world, random) {
    const actor = chooseActor(world, random)
    const { addr, npages } = chooseMapped(world, random, actor)
    return [actor.name, addr, Math.min(npages, 8), random.pick(ENDS)]
  },
  run(world, who, addr, npages, end) {
    const actor = world.actors.get(who)
    if (actor !== undefined) forEachPage(addr, npages, (at) => storeWord(world, actor, at, end))
  },
})

function storeWord(world: World, actor: Actor, addr: Addr, end: End): void {
  const page = actor.space.get(addr / PAGE_SIZE)
  const value = world.newValue()
  const result = actor.process.tryStore32(addr + OFFSET[end], value)
  if (!checkAccess(world, 'store', result, page, true) || page === undefined) return
  // A page that was given up as free is the old one or a new one: its other word tells.
  const other = end === 'first' ? 'last' : 'first'
  if (page.lazy && look(actor.process.mm, addr) === CONTENT && seen[other] === 0) page.lose()
  const { first, last } = page.content
  page.store(end === 'first' ? new Content(value, last) : new Content(first, value))
}

function forEachPage(addr: Addr, npages: number, visit: (at: Addr) => void): void {
  for (let i = 0; i < npages; i++) visit(addr + i * PAGE_SIZE)
}

/** A page that was given up as free may have turned into zeroes by now. */
function settleLazy({ process }: Actor, addr: Addr, page: PageModel): void {
  if (!page.lazy || look(process.mm, addr) !== CONTENT || seen.first !== 0 || seen.last !== 0) return
  page.lose()
}

export const fork = command<[string, string]>({
  name: 'fork',
  params: [NAME, NAME],
  weight: 4,
  pick(world, random) {
    return world.canAdopt ? [chooseActor(world, random).name, freshName('p', world.actors)] : null
  },
  run(world, who, name) {
    const actor = world.actors.get(who)
    if (actor === undefined || world.actors.has(name) || !world.canAdopt) return
    const space: SpaceModel = new Map()
    for (const [vpn, page] of actor.space) {
      const vma = actor.process.mm.vmaLookup(vpn * PAGE_SIZE)
      if (vma === null || (vma.flags & VM_DONTCOPY) !== 0) continue
      const copy = page.copy()
      copy.borrowed = page.kind === 'huge' && !page.shared
      // What was taken from a child for its parent is zeroes for the children of the child, as in the kernel.
      if (page.borrowed && look(actor.process.mm, vpn * PAGE_SIZE) === NOTHING) copy.lose()
      space.set(vpn, copy)
    }
    const result = resultOf(() => world.adopt(name, actor.process.fork(name), space))
    // Pages that are pinned are copied at once.
    const mayBeShort = world.isShort || (world.setup.hugetlb && world.pins.size > 0)
    checkResult('fork', result, 0, ...(mayBeShort ? [ENOMEM] : []))
  },
})

/** A process with nothing in it, a stranger to the others. */
export const spawn = command<[string]>({
  name: 'spawn',
  params: [NAME],
  weight: 1,
  pick: (world) => (world.canAdopt ? [freshName('p', world.actors)] : null),
  run(world, name) {
    if (!world.canAdopt || world.actors.has(name)) return
    world.adopt(name, world.machine.createProcess(name), new Map())
  },
})

export const exit = command<[string]>({
  name: 'exit',
  params: [NAME],
  weight: 2,
  pick: (world, random) => (world.actors.size > 1 ? [chooseActor(world, random).name] : null),
  run(world, who) {
    const actor = world.actors.get(who)
    if (actor === undefined || world.actors.size === 1) return
    actor.process.exit()
    world.forget(actor)
  },
})

/** `longterm` is for writing and may last: coherent device pages come back to system memory first. */
const PIN_WORDS = ['read', 'write', 'longterm'] as const
type PinWord = (typeof PIN_WORDS)[number]

export const pin = command<[string, string, Addr, number, PinWord]>({
  name: 'pin',
  params: [NAME, NAME, ADDR, PAGES, wordOf(PIN_WORDS)],
  weight: 4,
  pick(world, random) {
    if (world.pins.size >= 4) return null
    const actor = chooseActor(world, random)
    const { addr, npages } = chooseMapped(world, random, actor)
    return [freshName('pin', world.pins), actor.name, addr, Math.min(npages, 16), random.pick(PIN_WORDS)]
  },
  run(world, name, who, addr, npages, access) {
    const actor = world.actors.get(who)
    if (actor === undefined || world.pins.has(name)) return
    const write = access !== 'read'
    const longterm = access === 'longterm'
    let result: number
    try {
      result = resultOf(() => {
        const pinned = actor.process.pin(addr, npages, { write, longterm })
        world.pins.set(name, { actor, write, pinned, pages: [] })
      })
    } finally {
      world.settleCopies(actor, addr, npages)
    }
    if (result === 0) notePages(world, name, actor, addr)
    else if (!longterm || result !== -EBUSY) checkPinFailed(world, actor, addr, write, result)
  },
})

/** Which page of the process each pinned page is. */
function notePages(world: World, name: string, actor: Actor, addr: Addr): void {
  const pin = world.pins.get(name)
  if (pin === undefined) return
  const { sys } = world
  const pages: PinnedPage[] = []
  for (const [i, pfn] of pin.pinned.pfns.entries()) {
    const page = actor.space.get(addr / PAGE_SIZE + i)
    if (page === undefined) throw new Error('a page was pinned that is not mapped')
    if (pfn === sys.zeroPfn || sys.pages.head(pfn) === sys.hugeZeroPfn) continue
    pages.push({ pfn, page, isOwn: page.own !== null, holes: page.file?.holes ?? 0, losses: page.losses })
  }
  world.pins.set(name, { ...pin, pages })
}

function checkPinFailed(world: World, actor: Actor, addr: Addr, write: boolean, result: number): void {
  const page = actor.space.get(addr / PAGE_SIZE)
  const flags = actor.process.mm.vmaLookup(addr)?.flags ?? 0
  const allowed = (flags & (write ? VM_WRITE : VM_READ)) !== 0 && (flags & (VM_IO | VM_PFNMAP)) === 0
  if (allowed && page !== undefined && !page.isMissing && !mayFail(world, page)) checkResult('pin', result, 0)
  else checkResult('pin', result, EFAULT, ENOMEM, EHWPOISON, EINVAL)
}

export const unpin = command<[string]>({
  name: 'unpin',
  params: [NAME],
  weight: 3,
  pick: (world, random) => (world.pins.size > 0 ? [random.pick([...world.pins.keys()])] : null),
  run(world, name) {
    world.pins.get(name)?.pinned.unpin()
    world.pins.delete(name)
  },
})

/** A device writes to pinned pages behind everybody's back, and says so, as drivers do. */
export const dmaWrite = command<[string]>({
  name: 'dmaWrite',
  params: [NAME],
  weight: 2,
  pick(world, random) {
    const names = [...world.pins].filter(([, { write }]) => write).map(([name]) => name)
    return names.length > 0 ? [random.pick(names)] : null
  },
  run(world, name) {
    const pin = world.pins.get(name)
    if (pin === undefined || !pin.write) return
    for (const pinnedPage of pin.pages) {
      if (isParted(pinnedPage)) continue
      const { pfn, page } = pinnedPage
      const content = world.newContent()
      setWord(world.sys.mmu.bytes(pfn), 0, content.first)
      setWord(world.sys.mmu.bytes(pfn), PAGE_SIZE - 4, content.last)
      world.sys.pages.setDirty(pfn)
      page.store(content)
    }
  },
})
