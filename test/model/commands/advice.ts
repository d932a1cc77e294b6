// madvise with everything it takes, part by part of the mappings that the range covers, as the call goes through them.

import { type Addr, PAGE_SIZE, PMD_SIZE } from '../../../src/base/addr.ts'
import { EACCES, EAGAIN, EBUSY, EFAULT, EHWPOISON, EINVAL, ENOMEM, ENXIO } from '../../../src/base/errno.ts'
import { HugetlbFile } from '../../../src/mm/hugetlb-file.ts'
import { PG_HUGETLB, PG_HWPOISON, PG_RESERVED } from '../../../src/mm/page.ts'
import { ShmemFile } from '../../../src/mm/shmem.ts'
import {
  VM_HUGETLB,
  VM_IO,
  VM_LOCKED,
  VM_PFNMAP,
  VM_READ,
  VM_SHARED,
  VM_SPECIAL,
  VM_WRITE,
} from '../../../src/mm/vm-flags.ts'
import type { Vma } from '../../../src/mm/vma.ts'
import * as mman from '../../../src/uapi/mman.ts'
import { Content, type PageModel, ZEROES } from '../contents.ts'
import { ADDR, command, NAME, PAGES, wordOf } from '../notation.ts'
import type { Actor, World } from '../world.ts'
import { chooseActor, chooseMapped } from './choose.ts'
import { pagesOf } from './mappings.ts'
import { checkResult, mayFail, resultOf } from './outcome.ts'

const ADVICE = {
  dontneed: mman.MADV_DONTNEED,
  free: mman.MADV_FREE,
  pageout: mman.MADV_PAGEOUT,
  cold: mman.MADV_COLD,
  'populate-read': mman.MADV_POPULATE_READ,
  'populate-write': mman.MADV_POPULATE_WRITE,
  remove: mman.MADV_REMOVE,
  collapse: mman.MADV_COLLAPSE,
  hwpoison: mman.MADV_HWPOISON,
  hugepage: mman.MADV_HUGEPAGE,
  nohugepage: mman.MADV_NOHUGEPAGE,
  dontfork: mman.MADV_DONTFORK,
  dofork: mman.MADV_DOFORK,
  dontdump: mman.MADV_DONTDUMP,
  dodump: mman.MADV_DODUMP,
  normal: mman.MADV_NORMAL,
  random: mman.MADV_RANDOM,
  sequential: mman.MADV_SEQUENTIAL,
  willneed: mman.MADV_WILLNEED,
} as const
type Advice = keyof typeof ADVICE
const WORDS = Object.keys(ADVICE) as Advice[]

/** What changes contents or brings pages in comes most often. */
const FREQUENT: readonly Advice[] = [
  ...(['dontneed', 'dontneed', 'free', 'free', 'pageout', 'pageout', 'pageout'] as const),
  ...(['populate-read', 'populate-write', 'populate-write', 'remove', 'cold', 'dontfork', 'collapse'] as const),
]

export const madvise = command<[string, Addr, number, Advice]>({
  name: 'madvise',
  params: [NAME, ADDR, PAGES, wordOf(WORDS)],
  weight: 12,
  pick(world, random) {
    const actor = chooseActor(world, random)
    const { addr, npages } = chooseMapped(world, random, actor)
    const advice = random.percent(80) ? random.pick(FREQUENT) : random.pick(WORDS)
    // Broken memory stays broken: once in a while is enough.
    if (advice === 'hwpoison' && !random.percent(30)) return null
    return [actor.name, addr, npages, advice]
  },
  run(world, who, addr, npages, advice) {
    const actor = world.actors.get(who)
    if (actor === undefined) return
    const length = npages * PAGE_SIZE
    const call = (): number => resultOf(() => actor.process.madvise(addr, length, ADVICE[advice]))
    switch (advice) {
      case 'dontneed':
      case 'free':
      case 'remove':
        discard(world, actor, addr, npages, advice, call)
        break
      case 'populate-read':
      case 'populate-write':
        populate(world, actor, addr, npages, advice === 'populate-write', call)
        break
      case 'collapse':
        checkResult('collapse', call(), 0, EINVAL, ENOMEM, EAGAIN)
        break
      case 'hwpoison':
        poison(world, actor, addr, npages, call)
        break
      default:
        checkResult(advice, call(), ...expectedOfFlags(actor, addr, npages, advice))
    }
  },
})

interface Part {
  readonly vma: Vma
  readonly start: Addr
  readonly end: Addr
}

/** The mappings in a range, as they are now, and whether they leave a hole. */
function partsOf({ process: { mm } }: Actor, addr: Addr, npages: number): { parts: Part[]; hasHole: boolean } {
  const end = addr + npages * PAGE_SIZE
  const parts = mm.vmas
    .filter((vma) => vma.start < end && vma.end > addr)
    .map((vma) => ({ vma, start: Math.max(addr, vma.start), end: Math.min(end, vma.end) }))
  const covered = parts.reduce((sum, part) => sum + part.end - part.start, 0)
  return { parts, hasHole: covered < npages * PAGE_SIZE }
}

/** The first refusal ends the call; without one a hole is reported in the end. */
function expectedOfParts(
  actor: Actor,
  addr: Addr,
  npages: number,
  refused: (vma: Vma, part: Part) => number,
  apply: (part: Part) => void = () => {},
): number[] {
  const { parts, hasHole } = partsOf(actor, addr, npages)
  for (const part of parts) {
    const errno = refused(part.vma, part)
    if (errno !== 0) return [errno]
    apply(part)
  }
  return [hasHole ? ENOMEM : 0]
}

/** Advice that only changes what is known of the mappings. One of huge pages is not cut inside of a page. */
function expectedOfFlags(actor: Actor, addr: Addr, npages: number, advice: Advice): number[] {
  const wanted = expectedOfParts(actor, addr, npages, (vma) => refusal(vma, advice))
  const isCut = partsOf(actor, addr, npages).parts.some(
    ({ vma, start, end }) => (vma.flags & VM_HUGETLB) !== 0 && (start % PMD_SIZE !== 0 || end % PMD_SIZE !== 0),
  )
  return isCut ? [...wanted, EINVAL] : wanted
}

/** The errno with which a mapping does not take advice, 0 if it does. */
function refusal({ flags }: Vma, advice: Advice): number {
  switch (advice) {
    case 'pageout':
    case 'cold':
      return (flags & (VM_LOCKED | VM_PFNMAP | VM_HUGETLB)) !== 0 ? EINVAL : 0
    case 'hugepage':
    case 'nohugepage':
      return (flags & (VM_SPECIAL | VM_HUGETLB)) !== 0 ? EINVAL : 0
    default:
      return 0
  }
}

// ---- discarding ----

function discard(
  world: World,
  actor: Actor,
  addr: Addr,
  npages: number,
  advice: 'dontneed' | 'free' | 'remove',
  call: () => number,
): void {
  const forget: (() => void)[] = []
  const wanted = expectedOfParts(
    actor,
    addr,
    npages,
    (vma, part) => discardRefusal(vma, part, advice),
    (part) => forget.push(() => discardPart(world, actor, part, advice)),
  )
  checkResult(advice, call(), ...wanted)
  for (const each of forget) each()
}

function discardRefusal(
  { flags, file, isAnonymous }: Vma,
  { start }: Part,
  advice: 'dontneed' | 'free' | 'remove',
): number {
  if (advice === 'remove') {
    if ((flags & VM_LOCKED) !== 0 || !(file instanceof ShmemFile || file instanceof HugetlbFile)) return EINVAL
    return (flags & (VM_SHARED | VM_WRITE)) !== (VM_SHARED | VM_WRITE) ? EACCES : 0
  }
  if ((flags & VM_HUGETLB) !== 0) return advice === 'free' || start % PMD_SIZE !== 0 ? EINVAL : 0
  if ((flags & (VM_PFNMAP | VM_LOCKED)) !== 0) return EINVAL
  return advice === 'free' && !isAnonymous ? EINVAL : 0
}

function discardPart(
  world: World,
  actor: Actor,
  { vma, start, end }: Part,
  advice: 'dontneed' | 'free' | 'remove',
): void {
  const last = (vma.flags & VM_HUGETLB) !== 0 && advice === 'dontneed' ? end - (end % PMD_SIZE) : end
  for (const page of pagesOf(actor, start, (last - start) / PAGE_SIZE)) {
    if (page === undefined) continue
    if (advice === 'remove') page.file?.clear(page.pgoff, page.pgoff + 1)
    else if (advice === 'free') page.lazy = page.own !== null
    else discardPage(page)
  }
  // A pinned page that was given up as free is still there, and so on: what is left shows in the next look.
  if (advice === 'free') world.settleCopies(actor, start, (end - start) / PAGE_SIZE)
}

function discardPage(page: PageModel): void {
  page.lose()
  if (page.kind === 'driver') page.gone = true
}

// ---- populating ----

function populate(world: World, actor: Actor, addr: Addr, npages: number, write: boolean, call: () => number): void {
  const needed = write ? VM_WRITE : VM_READ
  const wanted = expectedOfParts(actor, addr, npages, ({ flags }) =>
    (flags & (VM_IO | VM_PFNMAP)) !== 0 || (flags & needed) === 0 ? EINVAL : 0,
  )
  const pages = pagesOf(actor, addr, npages)
  const isMissing = pages.some((page) => page?.isMissing)
  const isRisky = isMissing || pages.some((page) => page !== undefined && mayFail(world, page))
  try {
    checkResult('populate', call(), ...wanted, ...(isRisky || world.isShort ? [EFAULT, ENOMEM, EHWPOISON] : []))
  } finally {
    world.settleCopies(actor, addr, npages)
  }
}

// ---- poison ----

function poison(world: World, actor: Actor, addr: Addr, npages: number, call: () => number): void {
  const { pages } = world.sys
  const before = new Set<number>()
  const compound = new Set<number>()
  for (let pfn = 0; pfn < pages.nframes; pfn++) {
    if ((pages.flags[pfn] & PG_HWPOISON) !== 0) before.add(pfn)
    if (pages.isCompound(pfn)) compound.add(pfn)
  }
  for (const page of pagesOf(actor, addr, npages)) if (page !== undefined) markPoisoned(page)
  // A huge page breaks as a whole.
  for (const vpn of [addr / PAGE_SIZE, addr / PAGE_SIZE + npages - 1]) {
    if (actor.space.get(vpn)?.kind !== 'huge') continue
    const first = vpn - (vpn % 512)
    for (const page of pagesOf(actor, first * PAGE_SIZE, 512)) if (page !== undefined) markPoisoned(page)
  }
  let result = 0
  try {
    result = call()
    checkResult('hwpoison', result, 0, EFAULT, ENOMEM, EBUSY, EHWPOISON, EINVAL, ENXIO)
  } finally {
    world.settleCopies(actor, addr, npages)
    for (let pfn = 0; pfn < pages.nframes; pfn++) {
      if ((pages.flags[pfn] & PG_HWPOISON) === 0 || before.has(pfn) || (pages.flags[pfn] & PG_RESERVED) !== 0) continue
      world.broken.set(pfn, keepsReference(world, pfn, compound.has(pfn)) ? 1 : 0)
    }
  }
}

/** What could not be taken apart goes on being used as a whole; of the others a reference keeps them from being used again. */
function keepsReference({ sys: { pages } }: World, pfn: number, wasCompound: boolean): boolean {
  if (!wasCompound || !pages.isCompound(pfn)) return true
  return (pages.flags[pfn] & PG_HUGETLB) !== 0 && !pages.isAnon(pfn) && pages.mapping[pfn] !== 0
}

function markPoisoned(page: PageModel): void {
  if (page.isMissing) return
  const broken = new Content(0, 0)
  broken.poisoned = true
  // Who else has zeroes need not have them on the same page.
  if (page.content !== ZEROES) page.content.poisoned = true
  else if (page.file !== null && page.own === null) page.file.set(page.pgoff, broken)
  else page.own = broken
}
