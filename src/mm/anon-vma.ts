// Which mappings may hold an anonymous page. An anonymous page points to an AnonVma, and the AnonVma keeps every Vma that
// may map one of its pages: the one that first faulted, what it was split into, and the children that fork made of it.
// Follows mm/rmap.c and include/linux/rmap.h of Linux 6.1.
//
//   parent Vma ──chain──> AnonVma A <── page (mapping = A)
//   child Vma  ──chain──> A, and its own AnonVma B for the pages that it copies

import { PAGE_SIZE } from '../base/addr.ts'
import { type IntervalNode, IntervalTree } from '../base/interval-tree.ts'
import type { System } from './system.ts'
import { VM_ACCESS_FLAGS, VM_SOFTDIRTY } from './vm-flags.ts'
import type { Vma } from './vma.ts'

/** Links one Vma to one AnonVma. */
export class AnonVmaChain {
  readonly vma: Vma
  readonly anonVma: AnonVma
  node: IntervalNode<Vma>

  constructor(vma: Vma, anonVma: AnonVma) {
    this.vma = vma
    this.anonVma = anonVma
    this.node = anonVma.tree.insert(vma.pgoff, vma.lastPgoff, vma)
  }
}

export class AnonVma {
  readonly id: number
  readonly root: AnonVma
  readonly parent: AnonVma
  /** Mappings that may hold its pages, by page offset. */
  readonly tree = new IntervalTree<Vma>()
  /** AnonVmas whose parent this is, counting itself if it is a root. */
  numChildren = 0
  /** Mappings whose `anonVma` this is. */
  numActiveVmas = 0

  constructor(id: number, parent: AnonVma | null) {
    this.id = id
    this.parent = parent ?? this
    this.root = parent?.root ?? this
  }
}

function makeAnonVma(sys: System, parent: AnonVma | null): AnonVma {
  const anonVma = new AnonVma(sys.allocMappingId(), parent)
  sys.mappings.set(anonVma.id, anonVma)
  return anonVma
}

function chainLink(vma: Vma, anonVma: AnonVma): void {
  vma.anonVmaChain.push(new AnonVmaChain(vma, anonVma))
}

/** Gives the mapping an AnonVma before its first anonymous page (T-7): that of a mergeable neighbour, or a new one. */
export function anonVmaPrepare(vma: Vma): void {
  if (vma.anonVma !== null) return
  let anonVma = findMergeableAnonVma(vma)
  if (anonVma === null) {
    anonVma = makeAnonVma(vma.mm.sys, null)
    anonVma.numChildren++ // a root is its own parent
  }
  vma.anonVma = anonVma
  chainLink(vma, anonVma)
  anonVma.numActiveVmas++
}

/** Links `dst` to everything that `src` is linked to. Used by split, merge, mremap and fork. */
export function anonVmaClone(dst: Vma, src: Vma): void {
  for (const { anonVma } of src.anonVmaChain) {
    chainLink(dst, anonVma)
    // A child takes over an ancestor that no mapping uses any more and that has at most one child.
    if (dst.anonVma === null && src.anonVma !== null && anonVma.numChildren < 2 && anonVma.numActiveVmas === 0) {
      dst.anonVma = anonVma
    }
  }
  if (dst.anonVma !== null) dst.anonVma.numActiveVmas++
}

/** Links the mapping `vma` of a child to the AnonVmas of the parent's `pvma`, and gives it one of its own. */
export function anonVmaFork(vma: Vma, pvma: Vma): void {
  if (pvma.anonVma === null) return
  vma.anonVma = null
  anonVmaClone(vma, pvma)
  if (vma.anonVma !== null) return
  const anonVma = makeAnonVma(vma.mm.sys, pvma.anonVma)
  anonVma.numActiveVmas++
  vma.anonVma = anonVma
  chainLink(vma, anonVma)
  anonVma.parent.numChildren++
}

/** The mapping goes away: drops all its links and the AnonVmas that nothing uses any more. */
export function unlinkAnonVmas(vma: Vma): void {
  for (const link of vma.anonVmaChain) {
    link.anonVma.tree.remove(link.node)
    if (link.anonVma.tree.size === 0) link.anonVma.parent.numChildren--
  }
  if (vma.anonVma !== null) vma.anonVma.numActiveVmas--
  vma.anonVma = null
  for (const link of vma.anonVmaChain) {
    if (link.anonVma.tree.size === 0) vma.mm.sys.mappings.delete(link.anonVma.id)
  }
  vma.anonVmaChain = []
}

/** Before start, end or pgoff of a mapping change: takes it out of the trees of its AnonVmas. */
export function anonVmaTreePreUpdate(vma: Vma): void {
  for (const link of vma.anonVmaChain) link.anonVma.tree.remove(link.node)
}

/** Afterwards: puts it back. */
export function anonVmaTreePostUpdate(vma: Vma): void {
  for (const link of vma.anonVmaChain) link.node = link.anonVma.tree.insert(vma.pgoff, vma.lastPgoff, vma)
}

/** A neighbour's AnonVma, if the two mappings could have been one but for their access flags. */
function findMergeableAnonVma(vma: Vma): AnonVma | null {
  const next = vma.mm.nextVma(vma)
  if (next !== null) {
    const anonVma = reusableAnonVma(next, vma, next)
    if (anonVma !== null) return anonVma
  }
  const prev = vma.mm.prevVma(vma)
  return prev === null ? null : reusableAnonVma(prev, prev, vma)
}

function reusableAnonVma(old: Vma, a: Vma, b: Vma): AnonVma | null {
  if (!anonVmaCompatible(a, b)) return null
  return old.anonVma !== null && old.anonVmaChain.length === 1 ? old.anonVma : null
}

function anonVmaCompatible(a: Vma, b: Vma): boolean {
  return (
    a.end === b.start &&
    a.file === b.file &&
    ((a.flags ^ b.flags) & ~(VM_ACCESS_FLAGS | VM_SOFTDIRTY)) === 0 &&
    b.pgoff === a.pgoff + (b.start - a.start) / PAGE_SIZE
  )
}
