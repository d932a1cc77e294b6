// Splitting mappings, merging them, and moving the border between two of them. Follows `__vma_adjust`, `__split_vma`,
// `vma_merge` and `vma_expand` of mm/mmap.c, Linux 6.1: which neighbours merge is visible in event ranges, in migration
// and in mremap.

import { type Addr, PAGE_SIZE, PMD_SIZE, pmdAlignDown } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { type AnonVma, anonVmaClone, anonVmaTreePostUpdate, anonVmaTreePreUpdate, unlinkAnonVmas } from './anon-vma.ts'
import { splitHugePmdAddress } from './huge-pmd.ts'
import type { Mm } from './mm.ts'
import { VM_SOFTDIRTY, VM_SPECIAL } from './vm-flags.ts'
import { type Vma, type VmFile, vmaDup, vmaLink, vmaLinkFile, vmaPages, vmaUnlinkFile } from './vma.ts'

/**
 * Splits a mapping at `addr`. The new part is the one below `addr` if `newBelow`, else the one above.
 *
 * Returns 0 or what `VmOps.maySplit` objects.
 */
export function splitVma(vma: Vma, addr: Addr, newBelow: boolean): number {
  const err = vma.ops?.maySplit?.(vma, addr) ?? 0
  if (err !== 0) return err
  assert(addr > vma.start && addr < vma.end, 'split point lies inside the mapping')
  const part = vmaDup(vma)
  if (newBelow) {
    part.end = addr
  } else {
    part.start = addr
    part.pgoff += (addr - vma.start) / PAGE_SIZE
  }
  anonVmaClone(part, vma)
  part.ops?.open?.(part)
  vma.ops?.split?.(vma, addr)
  if (newBelow) {
    vmaAdjust(vma, addr, vma.end, vma.pgoff + (addr - vma.start) / PAGE_SIZE, null, part)
  } else {
    vmaAdjust(vma, vma.start, addr, vma.pgoff, null, part)
  }
  return 0
}

function anonVmasMerge(a: AnonVma | null, b: AnonVma | null, vma: Vma | null): boolean {
  // A mapping cloned from a parent (more than one link) is not merged with one that has no pages yet.
  if ((a === null || b === null) && (vma === null || vma.anonVmaChain.length === 1)) return true
  return a === b
}

function isMergeableVma(vma: Vma, file: VmFile | null, flags: number): boolean {
  // Who merges two that differ in VM_SOFTDIRTY sees to the bit.
  return ((vma.flags ^ flags) & ~VM_SOFTDIRTY) === 0 && vma.file === file && vma.ops?.close === undefined
}

/** The mapping may grow downwards by something with these attributes. */
export function canVmaMergeBefore(
  vma: Vma,
  flags: number,
  anonVma: AnonVma | null,
  file: VmFile | null,
  pgoff: number,
): boolean {
  return isMergeableVma(vma, file, flags) && anonVmasMerge(anonVma, vma.anonVma, vma) && vma.pgoff === pgoff
}

/** The mapping may grow upwards by something with these attributes. */
export function canVmaMergeAfter(
  vma: Vma,
  flags: number,
  anonVma: AnonVma | null,
  file: VmFile | null,
  pgoff: number,
): boolean {
  return (
    isMergeableVma(vma, file, flags) && anonVmasMerge(anonVma, vma.anonVma, vma) && vma.pgoff + vmaPages(vma) === pgoff
  )
}

/**
 * Merges `[addr, end)` with its neighbours, if they agree: after mprotect and the like changed the flags of a part, or
 * when mremap puts a mapping beside another. `prev` is the mapping before `addr`, or the one that `addr` lies in.
 *
 * Returns the mapping that covers `[addr, end)` now, or null if nothing merged.
 */
export function vmaMerge(
  mm: Mm,
  prev: Vma | null,
  addr: Addr,
  end: Addr,
  flags: number,
  anonVma: AnonVma | null,
  file: VmFile | null,
  pgoff: number,
): Vma | null {
  if ((flags & VM_SPECIAL) !== 0) return null
  const npages = (end - addr) / PAGE_SIZE
  const mid = mm.findVma(prev === null ? 0 : prev.end)
  const next = mid !== null && mid.end === end ? mm.findVma(mid.end) : mid

  const mergePrev = prev !== null && prev.end === addr && canVmaMergeAfter(prev, flags, anonVma, file, pgoff)
  const mergeNext = next !== null && next.start === end && canVmaMergeBefore(next, flags, anonVma, file, pgoff + npages)

  if (mergePrev && mergeNext && anonVmasMerge(prev.anonVma, next.anonVma, null)) {
    vmaAdjust(prev, prev.start, next.end, prev.pgoff, prev, null)
    return prev
  }
  if (mergePrev) {
    vmaAdjust(prev, prev.start, end, prev.pgoff, prev, null)
    return prev
  }
  if (mergeNext) {
    if (prev !== null && addr < prev.end) {
      vmaAdjust(prev, prev.start, addr, prev.pgoff, next, null)
    } else {
      assert(mid !== null, 'a successor to merge with implies a mapping in the middle')
      vmaAdjust(mid, addr, next.end, next.pgoff - npages, next, null)
    }
    return next
  }
  return null
}

/**
 * Moves the borders of `vma` to `[start, end)`. The mapping after it gives way or grows; `expand` is the one of the two
 * that grows in a merge, `insert` a part split off before. Mappings that are covered whole disappear.
 */
export function vmaAdjust(
  vma: Vma,
  start: Addr,
  end: Addr,
  pgoff: number,
  expand: Vma | null,
  insert: Vma | null,
): void {
  const mm = vma.mm
  const original = vma
  let next = mm.nextVma(vma)
  const removed: Vma[] = []
  /** How far the start of `next` moves: upwards if positive. */
  let adjustNext = 0

  if (next !== null && insert === null) {
    let exporter: Vma | null = null
    let importer: Vma | null = null
    if (end >= next.end) {
      // `next` is swallowed whole; with `next` as the one to grow, `vma` is the one that goes (case 8 of vma_merge).
      if (next === expand) {
        assert(end === next.end, 'the mapping that grows ends where the result ends')
        removed.push(vma)
        exporter = vma
        importer = next
      } else {
        assert(vma === expand, 'a mapping that swallows its neighbour is the one that grows')
        removed.push(next)
        exporter = next
        importer = vma
        if (end > next.end) {
          const afterNext = mm.nextVma(next)
          assert(afterNext !== null && end === afterNext.end, 'at most two mappings are swallowed')
          removed.push(afterNext)
          if (exporter.anonVma === null) exporter = afterNext
        }
      }
    } else if (end > next.start) {
      adjustNext = end - next.start
      exporter = next
      importer = vma
    } else if (end < vma.end) {
      adjustNext = -(vma.end - end)
      exporter = vma
      importer = next
    }
    if (exporter !== null && importer !== null && exporter.anonVma !== null && importer.anonVma === null) {
      importer.anonVma = exporter.anonVma
      anonVmaClone(importer, exporter)
    }
  }

  vmaAdjustTransHuge(original, start, end, adjustNext)

  const swallowedBySuccessor = removed.length > 0 && removed[0] === vma
  const target = swallowedBySuccessor ? (next as Vma) : vma
  if (swallowedBySuccessor) next = null

  const mapping = target.file?.mapping ?? null
  anonVmaTreePreUpdate(target)
  if (adjustNext !== 0) anonVmaTreePreUpdate(next as Vma)
  if (mapping !== null) {
    if (adjustNext !== 0) vmaUnlinkFile(next as Vma)
    vmaUnlinkFile(target)
  }

  for (const gone of removed) {
    vmaUnlinkFile(gone)
    mm.removeVma(gone)
  }
  target.start = start
  target.end = end
  target.pgoff = pgoff
  if (adjustNext !== 0) {
    const neighbour = next as Vma
    neighbour.start += adjustNext
    neighbour.pgoff += adjustNext / PAGE_SIZE
  }

  if (mapping !== null) {
    if (adjustNext !== 0) vmaLinkFile(next as Vma)
    vmaLinkFile(target)
  }
  anonVmaTreePostUpdate(target)
  if (adjustNext !== 0) anonVmaTreePostUpdate(next as Vma)
  // Not before the survivors are back in the trees: an AnonVma that nothing is linked to ends.
  for (const gone of removed) unlinkAnonVmas(gone)
  if (insert !== null) vmaLink(insert)
  mm.vmaChanged()
}

/**
 * Grows `vma` to `[start, end)` over empty space for mmap; `next` is swallowed if the result ends where it ends.
 */
export function vmaExpand(vma: Vma, start: Addr, end: Addr, pgoff: number, next: Vma | null): void {
  const removeNext = next !== null && next !== vma && end === next.end ? next : null
  if (removeNext !== null && removeNext.anonVma !== null && vma.anonVma === null) {
    vma.anonVma = removeNext.anonVma
    anonVmaClone(vma, removeNext)
  }
  vmaAdjustTransHuge(vma, start, end, 0)
  anonVmaTreePreUpdate(vma)
  vmaUnlinkFile(vma)
  if (removeNext !== null) {
    vmaUnlinkFile(removeNext)
    vma.mm.removeVma(removeNext)
  }
  vma.start = start
  vma.end = end
  vma.pgoff = pgoff
  vmaLinkFile(vma)
  anonVmaTreePostUpdate(vma)
  if (removeNext !== null) unlinkAnonVmas(removeNext)
  vma.mm.vmaChanged()
}

/**
 * Gives `[start, end)` of `vma` other flags: merges it with a neighbour that has them, or splits it off. `prev` is the
 * mapping before `start`, or `vma` itself if `start` lies inside it.
 *
 * Returns the mapping that covers `[start, end)` now, or a negative errno.
 */
export function changeVmaFlags(
  vma: Vma,
  prev: Vma | null,
  start: Addr,
  end: Addr,
  flags: number,
  pgoff: number,
): Vma | number {
  const merged = vmaMerge(vma.mm, prev, start, end, flags, vma.anonVma, vma.file, pgoff)
  if (merged !== null) {
    merged.flags = flags
    return merged
  }
  if (start !== vma.start) {
    const err = splitVma(vma, start, true)
    if (err !== 0) return err
  }
  if (end !== vma.end) {
    const err = splitVma(vma, end, false)
    if (err !== 0) return err
  }
  vma.flags = flags
  return vma
}

/** Splits the huge entries that a new border would cut (MN-90). */
function vmaAdjustTransHuge(vma: Vma, start: Addr, end: Addr, adjustNext: number): void {
  splitHugePmdIfNeeded(vma, start)
  splitHugePmdIfNeeded(vma, end)
  if (adjustNext > 0) {
    const next = vma.mm.nextVma(vma)
    if (next !== null) splitHugePmdIfNeeded(next, next.start + adjustNext)
  }
}

function splitHugePmdIfNeeded(vma: Vma, addr: Addr): void {
  const block = pmdAlignDown(addr)
  if (addr !== block && block >= vma.start && block + PMD_SIZE <= vma.end) splitHugePmdAddress(vma, addr)
}
