// mmap of everything that there is to map, munmap, mprotect, mremap, mlock.

import { type Addr, PAGE_SIZE, PMD_SIZE, TASK_SIZE } from '../../../src/base/addr.ts'
import { EAGAIN, EINVAL, ENOMEM } from '../../../src/base/errno.ts'
import type { MmapOptions } from '../../../src/machine/process.ts'
import { remapPfnRange } from '../../../src/mm/insert.ts'
import { mmMremap } from '../../../src/mm/mremap.ts'
import { VM_HUGETLB, VM_LOCKED, VM_SPECIAL } from '../../../src/mm/vm-flags.ts'
import type { Vma, VmFile } from '../../../src/mm/vma.ts'
import {
  MREMAP_DONTUNMAP,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from '../../../src/uapi/mman.ts'
import { FileModel, type PageKind, PageModel, unmapPages } from '../contents.ts'
import { ADDR, command, NAME, PAGES, wordOf } from '../notation.ts'
import type { Random } from '../random.ts'
import { type Actor, FILE_PAGES } from '../world.ts'
import { chooseActor, chooseMapped, chooseRange } from './choose.ts'
import { checkResult, mayFail, resultOf } from './outcome.ts'

const PROTS = ['rw', 'r', 'none'] as const
type Prot = (typeof PROTS)[number]
const PROT = wordOf(PROTS)
const PROT_BITS: Record<Prot, number> = { rw: PROT_READ | PROT_WRITE, r: PROT_READ, none: PROT_NONE }

const SHARINGS = ['private', 'shared'] as const
type Sharing = (typeof SHARINGS)[number]
const SHARING = wordOf(SHARINGS)

function chooseProt(random: Random): Prot {
  return random.percent(80) ? 'rw' : random.pick(PROTS)
}

interface Mapped {
  readonly kind: PageKind
  readonly file: FileModel | null
  readonly pgoff: number
  /** Errnos that it may fail with. */
  readonly errnos?: readonly number[]
}

/** mmap over what is there. The model has the new pages then, or, where it failed, none. */
function map(actor: Actor, addr: Addr, npages: number, options: Partial<MmapOptions>, mapped: Mapped): void {
  const { process, space } = actor
  const { kind, file, pgoff, errnos = [] } = mapped
  const cuts = cutsHugetlb(actor, addr, npages)
  const result = resultOf(() => process.mmap({ addr, length: npages * PAGE_SIZE, fixed: true, ...options }))
  checkResult('mmap', result, ...(cuts ? [EINVAL, ENOMEM] : [0, ...errnos]))
  if (cuts || result === -EINVAL) return
  const vpn = addr / PAGE_SIZE
  unmapPages(space, vpn, npages)
  if (result < 0) return
  const { prot = PROT_READ | PROT_WRITE, shared = false } = options
  for (let i = 0; i < npages; i++) space.set(vpn + i, new PageModel(kind, shared, file, pgoff + i, prot))
}

/** A hugetlb mapping would be cut inside a huge page. */
function cutsHugetlb({ process: { mm } }: Actor, addr: Addr, npages: number): boolean {
  return [addr, addr + npages * PAGE_SIZE].some((border) => {
    const vma = mm.vmaLookup(border)
    return vma !== null && (vma.flags & VM_HUGETLB) !== 0 && vma.start < border && border % PMD_SIZE !== 0
  })
}

export const mmap = command<[string, Addr, number, Prot, 'private' | 'shared' | 'noreserve']>({
  name: 'mmap',
  params: [NAME, ADDR, PAGES, PROT, wordOf(['private', 'shared', 'noreserve'])],
  weight: 5,
  pick(world, random) {
    const { addr, npages } = chooseRange(world, random)
    const kind = random.pick(['private', 'private', 'private', 'shared', 'noreserve'] as const)
    return [chooseActor(world, random).name, addr, npages, chooseProt(random), kind]
  },
  run(world, who, addr, npages, prot, kind) {
    const actor = world.actors.get(who)
    if (actor === undefined) return
    const shared = kind === 'shared'
    const options = { prot: PROT_BITS[prot], shared, noreserve: kind === 'noreserve' }
    const file = shared ? new FileModel(npages) : null
    map(actor, addr, npages, options, { kind: 'memory', file, pgoff: 0 })
  },
})

export const mmapFile = command<[string, Addr, number, Prot, Sharing, string, number]>({
  name: 'mmapFile',
  params: [NAME, ADDR, PAGES, PROT, SHARING, NAME, PAGES],
  weight: 4,
  pick(world, random) {
    const { addr, npages } = chooseRange(world, random)
    const file = random.pick(world.files).name
    const offset = random.percent(50) ? 0 : random.below(FILE_PAGES)
    const count = Math.min(npages, FILE_PAGES + 2)
    return [chooseActor(world, random).name, addr, count, chooseProt(random), random.pick(SHARINGS), file, offset]
  },
  run(world, who, addr, npages, prot, sharing, name, offset) {
    const actor = world.actors.get(who)
    const known = world.file(name)
    if (actor === undefined || known === undefined) return
    const options = {
      prot: PROT_BITS[prot],
      shared: sharing === 'shared',
      file: known.file,
      offset: offset * PAGE_SIZE,
    }
    map(actor, addr, npages, options, { kind: 'memory', file: known.model, pgoff: offset })
  },
})

/** The file of a dmirror device: pages of its driver. */
export const mmapDevice = command<[string, Addr, number, Prot, Sharing, string]>({
  name: 'mmapDevice',
  params: [NAME, ADDR, PAGES, PROT, SHARING, NAME],
  weight: 2,
  pick(world, random) {
    const { addr, npages } = chooseRange(world, random)
    const device = `d${random.below(world.dmirrors.length)}`
    return [
      chooseActor(world, random).name,
      addr,
      Math.min(npages, 16),
      chooseProt(random),
      random.pick(SHARINGS),
      device,
    ]
  },
  run(world, who, addr, npages, prot, sharing, name) {
    const actor = world.actors.get(who)
    const device = world.dmirror(name)
    if (actor === undefined || device === undefined) return
    const options = { prot: PROT_BITS[prot], shared: sharing === 'shared', file: device.file }
    const errnos = world.setup.tight ? [ENOMEM] : []
    map(actor, addr, npages, options, { kind: 'driver', file: new FileModel(npages), pgoff: 0, errnos })
  },
})

/** I/O memory: frames without page structures. */
export const mmapFrames = command<[string, Addr, Prot, Sharing]>({
  name: 'mmapFrames',
  params: [NAME, ADDR, PROT, SHARING],
  weight: 1,
  pick(world, random) {
    return [chooseActor(world, random).name, chooseRange(world, random).addr, chooseProt(random), random.pick(SHARINGS)]
  },
  run(world, who, addr, prot, sharing) {
    const actor = world.actors.get(who)
    if (actor === undefined) return
    const { ioFrames } = world
    const file: VmFile = {
      name: 'I/O memory',
      mapping: null,
      mmap: (vma: Vma) => remapPfnRange(vma, vma.start, ioFrames[0], ioFrames.length),
    }
    const options = { prot: PROT_BITS[prot], shared: sharing === 'shared', file }
    map(actor, addr, ioFrames.length, options, { kind: 'frames', file: world.ioModel, pgoff: 0 })
  },
})

export const mmapHuge = command<[string, Addr, number, Prot, Sharing]>({
  name: 'mmapHuge',
  params: [NAME, ADDR, PAGES, PROT, SHARING],
  weight: 8,
  pick(world, random) {
    if (!world.setup.hugetlb) return null
    const { start } = random.pick(world.setup.regions)
    const nhuge = random.small(3)
    const addr = start + random.below(4 - nhuge) * PMD_SIZE
    return [chooseActor(world, random).name, addr, nhuge * 512, chooseProt(random), random.pick(SHARINGS)]
  },
  run(world, who, addr, npages, prot, sharing) {
    const actor = world.actors.get(who)
    if (actor === undefined || addr % PMD_SIZE !== 0 || npages % 512 !== 0) return
    const shared = sharing === 'shared'
    const options = { prot: PROT_BITS[prot], shared, hugetlb: true }
    map(actor, addr, npages, options, { kind: 'huge', file: new FileModel(npages), pgoff: 0, errnos: [ENOMEM] })
  },
})

export const munmap = command<[string, Addr, number]>({
  name: 'munmap',
  params: [NAME, ADDR, PAGES],
  weight: 3,
  pick(world, random) {
    const actor = chooseActor(world, random)
    const { addr, npages } = chooseMapped(world, random, actor)
    return [actor.name, addr, npages]
  },
  run(world, who, addr, npages) {
    const actor = world.actors.get(who)
    if (actor === undefined) return
    const isOutside = addr + npages * PAGE_SIZE > TASK_SIZE
    const wanted = isOutside || cutsHugetlb(actor, addr, npages) ? EINVAL : 0
    checkResult(
      'munmap',
      resultOf(() => actor.process.munmap(addr, npages * PAGE_SIZE)),
      wanted,
    )
    if (wanted === 0) unmapPages(actor.space, addr / PAGE_SIZE, npages)
  },
})

export const mprotect = command<[string, Addr, number, Prot]>({
  name: 'mprotect',
  params: [NAME, ADDR, PAGES, PROT],
  weight: 5,
  pick(world, random) {
    const actor = chooseActor(world, random)
    const { addr, npages } = chooseMapped(world, random, actor)
    return [actor.name, addr, npages, random.pick(PROTS)]
  },
  run(world, who, addr, npages, prot) {
    const actor = world.actors.get(who)
    if (actor === undefined) return
    const cuts = cutsHugetlb(actor, addr, npages)
    const result = resultOf(() => actor.process.mprotect(addr, npages * PAGE_SIZE, PROT_BITS[prot]))
    const first = addr / PAGE_SIZE
    let changed = 0
    while (changed < npages && actor.space.has(first + changed)) changed++
    if (cuts) checkResult('mprotect across a huge page', result, 0, EINVAL, ENOMEM)
    else checkResult('mprotect', result, changed < npages ? ENOMEM : 0)
    for (let vpn = first; vpn < first + changed; vpn++) {
      const page = actor.space.get(vpn) as PageModel
      // Where it failed half-way the mappings say how far it came.
      page.prot = cuts && result < 0 ? protOf(actor, vpn * PAGE_SIZE) : PROT_BITS[prot]
    }
    // Locked pages that become writable are made private at once.
    world.settleCopies(actor, addr, npages)
  },
})

function protOf({ process: { mm } }: Actor, addr: Addr): number {
  return (mm.vmaLookup(addr)?.flags ?? 0) & (PROT_READ | PROT_WRITE)
}

const MOVES = ['stay', 'move', 'to', 'keep'] as const
type Move = (typeof MOVES)[number]

/** `stay` may not move, `move` may, `to` must, and `keep` leaves the old mapping there, empty. */
export const mremap = command<[string, Addr, number, number, Move, Addr]>({
  name: 'mremap',
  params: [NAME, ADDR, PAGES, PAGES, wordOf(MOVES), ADDR],
  weight: 5,
  pick(world, random) {
    const actor = chooseActor(world, random)
    const { addr, npages } = chooseMapped(world, random, actor)
    const move = random.pick(['stay', 'move', 'to', 'to', 'to', 'keep'] as const)
    const oldPages = random.percent(4) ? 0 : npages
    const newPages = move === 'keep' || random.percent(60) ? npages : chooseRange(world, random).npages
    return [actor.name, addr, oldPages, newPages, move, chooseRange(world, random).addr]
  },
  run(world, who, addr, oldPages, newPages, move, to) {
    const actor = world.actors.get(who)
    if (actor === undefined) return
    const { mm } = actor.process
    const isSimple = isSimpleMove(actor, { addr, oldPages, newPages, move, to })
    // Huge pages move as a whole.
    const unit = actor.space.get(addr / PAGE_SIZE)?.kind === 'huge' ? 512 : 1
    const [noldPages, nnewPages] = [oldPages, newPages].map((npages) => Math.ceil(npages / unit) * unit)
    const flags =
      (move === 'stay' ? 0 : MREMAP_MAYMOVE) |
      (move === 'to' || move === 'keep' ? MREMAP_FIXED : 0) |
      (move === 'keep' ? MREMAP_DONTUNMAP : 0)
    const result = world.underWriteLock('mremap', actor, () =>
      mmMremap(mm, addr, oldPages * PAGE_SIZE, newPages * PAGE_SIZE, flags, to),
    )
    if (result < 0) {
      if (isSimple) checkResult('mremap', result, 0)
      // Making room comes before the looks at what is to be moved.
      if (move === 'to' || move === 'keep') world.forgetUnmapped(actor, to, nnewPages)
      if (nnewPages < noldPages) world.forgetUnmapped(actor, addr + nnewPages * PAGE_SIZE, noldPages - nnewPages)
      return
    }
    // As in the kernel the promises of what is not moved along are lost.
    if (unit > 1) world.hasLostPromises = true
    moveModel(actor, addr / PAGE_SIZE, noldPages, nnewPages, move, result / PAGE_SIZE)
  },
})

/** Nothing stands in the way: a part of one ordinary mapping that does not grow, and a place that does not overlap it. */
function isSimpleMove(
  actor: Actor,
  { addr, oldPages, newPages, move, to }: { addr: Addr; oldPages: number; newPages: number; move: Move; to: Addr },
): boolean {
  const vma = actor.process.mm.vmaLookup(addr)
  const end = addr + oldPages * PAGE_SIZE
  if (vma === null || oldPages === 0 || newPages > oldPages || end > vma.end) return false
  if ((vma.flags & (VM_SPECIAL | VM_HUGETLB)) !== 0) return false
  if (move === 'stay' || move === 'move') return true
  if (move === 'keep' && newPages !== oldPages) return false
  return !cutsHugetlb(actor, to, newPages) && (to + newPages * PAGE_SIZE <= addr || to >= end)
}

/** What the pages are after a successful mremap from page `from` to page `to`. */
function moveModel(actor: Actor, from: number, oldPages: number, newPages: number, move: Move, to: number): void {
  const { space } = actor
  const head = space.get(from) as PageModel
  const moved: PageModel[] = []
  for (let i = 0; i < Math.min(oldPages, newPages); i++) moved.push(space.get(from + i) as PageModel)
  if (move === 'to' || move === 'keep') unmapPages(space, to, newPages)
  if (newPages < oldPages) unmapPages(space, from + newPages, oldPages - newPages)
  if (to !== from) {
    for (const [i, page] of moved.entries()) {
      if (move === 'keep') {
        // The pages have gone; the mapping is still there, and empty.
        const empty = new PageModel(page.kind, page.shared, page.file, page.pgoff, page.prot)
        empty.gone = page.kind === 'driver' || page.kind === 'frames'
        space.set(from + i, empty)
      } else {
        space.delete(from + i)
      }
      space.set(to + i, page)
    }
  }
  for (let i = moved.length; i < newPages; i++) {
    const page = new PageModel(head.kind, head.shared, head.file, head.pgoff + i, head.prot)
    page.gone = head.kind === 'driver' || head.kind === 'frames'
    space.set(to + i, page)
  }
}

export const mlock = command<[string, Addr, number]>({
  name: 'mlock',
  params: [NAME, ADDR, PAGES],
  weight: 2,
  pick(world, random) {
    const actor = chooseActor(world, random)
    const { addr, npages } = chooseMapped(world, random, actor)
    return [actor.name, addr, npages]
  },
  run(world, who, addr, npages) {
    const actor = world.actors.get(who)
    if (actor === undefined) return
    try {
      const result = resultOf(() => actor.process.mlock(addr, npages * PAGE_SIZE))
      const pages = pagesOf(actor, addr, npages)
      const isFine = pages.every((page) => page !== undefined && page.prot !== PROT_NONE && !page.isMissing)
      if (isFine && !pages.some((page) => mayFail(world, page))) checkResult('mlock', result, 0)
      else checkResult('mlock', result, 0, ENOMEM, EAGAIN)
    } finally {
      world.settleCopies(actor, addr, npages)
    }
  },
})

export const munlock = command<[string, Addr, number]>({
  name: 'munlock',
  params: [NAME, ADDR, PAGES],
  weight: 1,
  pick(world, random) {
    const actor = chooseActor(world, random)
    const locked = actor.process.mm.vmas.find((vma) => (vma.flags & VM_LOCKED) !== 0)
    if (locked === undefined) return null
    return [actor.name, locked.start, (locked.end - locked.start) / PAGE_SIZE]
  },
  run(world, who, addr, npages) {
    const actor = world.actors.get(who)
    if (actor === undefined) return
    const result = resultOf(() => actor.process.munlock(addr, npages * PAGE_SIZE))
    checkResult('munlock', result, pagesOf(actor, addr, npages).includes(undefined) ? ENOMEM : 0)
  },
})

/** The model of each page of a range, undefined where nothing is mapped. */
export function pagesOf({ space }: Actor, addr: Addr, npages: number): (PageModel | undefined)[] {
  return Array.from({ length: npages }, (_, i) => space.get(addr / PAGE_SIZE + i))
}
