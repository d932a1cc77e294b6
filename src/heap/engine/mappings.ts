// How arrays come and go: their mappings in mm, and what is changed about those. Arrays come at once. They go, or lose their
// contents, when no launch uses them and nobody holds them, and when nobody holds mmapLock.

import { PAGE_SIZE } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { isClaimed, whenUnclaimed } from '../../devices/claims.ts'
import { withMmapWriteLock } from '../../devices/edge.ts'
import { mmMadvise } from '../../mm/madvise.ts'
import { mmMmap, mmMunmap } from '../../mm/mmap.ts'
import {
  MADV_DONTNEED,
  MADV_NORMAL,
  MADV_RANDOM,
  MADV_SEQUENTIAL,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  PROT_READ,
  PROT_WRITE,
} from '../../uapi/mman.ts'
import type { MappedArray } from './array-table.ts'
import type { EngineParts } from './engine-parts.ts'
import { Refusal } from './failure.ts'
import { OutcomeBuilder } from './outcome.ts'
import type { Advice, ByteRange, NewArray, Outcome } from './protocol.ts'
import { countPages, type Pages, type Ranges, wholePages } from './ranges.ts'
import { whenSwapIdle } from './swapped.ts'

/** Advice about mappings; the rest is about pages. */
export type MappingAdvice = Exclude<Advice, 'cold'>

const MADVICE: Readonly<Record<MappingAdvice, number>> = {
  normal: MADV_NORMAL,
  sequential: MADV_SEQUENTIAL,
  random: MADV_RANDOM,
}

const RW = PROT_READ | PROT_WRITE

export class Mappings {
  readonly #parts: EngineParts
  readonly #ranges: Ranges
  /** Arrays that go when nobody uses them any more. */
  readonly #unmapping = new Set<MappedArray>()

  constructor(parts: EngineParts, ranges: Ranges) {
    this.#parts = parts
    this.#ranges = ranges
  }

  /**
   * At once, also while migrations hold mmapLock: the program may store to the array as soon as it has it, and nobody who holds
   * the lock has looked at addresses that were not mapped.
   */
  map(args: NewArray): null {
    const { mm, backend, arrays, tracer } = this.#parts
    const { addr, npages, nstale, name } = args
    arrays.add(args)
    backend.prepare(addr, npages)
    if (nstale > 0) backend.renew(addr, nstale)
    assert(!mm.mmapLock.writer, 'nobody holds mmapLock for writing across a wait')
    const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE
    const mapped = mmMmap(mm, addr, npages * PAGE_SIZE, args.file === null ? RW : PROT_READ, flags)
    assert(mapped === addr, () => `mapping "${name}" at ${addr} returned ${mapped}`)
    if (args.file !== null) {
      const vma = mm.vmaLookup(addr)
      assert(vma !== null && vma.start === addr, () => `"${name}" has a mapping of its own`)
      backend.showFile(vma, args.file, args.nbytes)
    }
    const end = addr + npages * PAGE_SIZE
    if (tracer.on) tracer.emit({ kind: 'alloc', start: addr, end, allocation: name, type: args.type })
    return null
  }

  /** Of an array that another thread's heap has allocated. */
  unmapAt({ start, end }: ByteRange): { id: number } | Promise<{ id: number }> {
    const array = this.#parts.arrays.at(start)
    if (array === undefined || array.start !== start || array.dataEnd !== end) {
      throw new Refusal('FOREIGN_VIEW', `a view of ${end - start} bytes is not the whole of an array`)
    }
    const { id } = array
    const unmapping = this.unmap(array)
    return unmapping === null ? { id } : unmapping.then(() => ({ id }))
  }

  unmap(array: MappedArray | undefined): null | Promise<null> {
    const { mm, backend, arrays, tracer, misuses, lostPages } = this.#parts
    // Two threads may have the same idea.
    if (array === undefined || this.#unmapping.has(array))
      throw new Refusal('DOUBLE_FREE', 'the array was freed already')
    this.#unmapping.add(array)
    const { start, end, name } = array
    const unmap = (): void => {
      backend.retire(start, countPages(start, end), () => {
        const err = mmMunmap(mm, start, end - start)
        assert(err === 0, () => `unmapping "${name}" returned ${err}`)
      })
      if (tracer.on) tracer.emit({ kind: 'free', start, end, allocation: name })
      // As long as the array has its name.
      misuses.collect()
      lostPages.forget(array)
      arrays.remove(array)
      this.#unmapping.delete(array)
    }
    const unused = this.#whenUnused(array)
    const unmapping = unused === null ? this.#whenWritable(unmap) : unused.then(() => this.#whenWritable(unmap))
    const hide = (): null => {
      backend.hideFile(start)
      return null
    }
    if (unmapping === null && whenSwapIdle(mm.sys, start, end) === null) return hide()
    // The place is used again after the answer.
    return Promise.resolve(unmapping)
      .then(() => whenSwapIdle(mm.sys, start, end))
      .then(() => hide())
  }

  /** Pages that have other elements too stay as they are. */
  async discard(ranges: readonly ByteRange[]): Promise<Outcome> {
    const { mm, backend, tracer, lostPages } = this.#parts
    const pages = this.#ranges.pagesOf(ranges)
    const outcome = new OutcomeBuilder()
    for (const each of pages) {
      const { array, firstPage, endPage } = each
      const { start: from, end: to } = wholePages(each)
      outcome.skip(array, countPages(firstPage, endPage) - countPages(from, to), 'in part')
      if (from >= to) continue
      this.#ranges.checkNotHeld({ array, start: from, end: to }, 'discard')
      const unused = this.#whenUnused({ start: from, end: to })
      if (unused !== null) await unused
      await this.#whenWritable(() => {
        this.#ranges.checkMapped({ array, start: from, end: to })
        backend.retire(from, countPages(from, to), () => {
          const err = mmMadvise(mm, from, to - from, MADV_DONTNEED)
          assert(err === 0, () => `discarding "${array.name}" returned ${err}`)
        })
        const npages = countPages(from, to)
        if (tracer.on) tracer.emit({ kind: 'discard', start: from, end: to, npages })
        backend.renew(from, countPages(from, to))
        backend.clear(from, countPages(from, to))
      })
      lostPages.forget({ start: from, end: to })
      outcome.pages += countPages(from, to)
    }
    return outcome.build(0)
  }

  /** How a range is going to be used. */
  async advise(ranges: readonly ByteRange[], advice: MappingAdvice): Promise<Outcome> {
    const outcome = new OutcomeBuilder()
    for (const each of this.#ranges.pagesOf(ranges)) await this.#adviseOne(each, MADVICE[advice], outcome)
    return outcome.build(0)
  }

  async #adviseOne({ array, firstPage, endPage }: Pages, madvice: number, outcome: OutcomeBuilder): Promise<void> {
    const { mm, backend } = this.#parts
    const npages = countPages(firstPage, endPage)
    if (!backend.mmu.capabilities.traps) {
      outcome.skip(array, npages, 'only live')
      return
    }
    await this.#whenWritable(() => {
      this.#ranges.checkMapped({ array, start: firstPage, end: endPage })
      const err = mmMadvise(mm, firstPage, endPage - firstPage, madvice)
      assert(err === 0, () => `advice about "${array.name}" returned ${err}`)
    })
    outcome.pages += npages
  }

  /** Runs a change of mappings when nothing holds them. Returns null if that was at once. */
  #whenWritable(change: () => void): Promise<void> | null {
    const { mm } = this.#parts
    const { mmapLock } = mm
    if (!mmapLock.tryWrite()) return withMmapWriteLock(mm, change)
    try {
      change()
    } finally {
      mmapLock.unlockWrite()
    }
    return null
  }

  /** Resolves when no launch uses the range and nobody holds it; null if that is so now. */
  #whenUnused(range: ByteRange): Promise<void> | null {
    const { mm, holds } = this.#parts
    const isUsed = (): boolean => isClaimed(mm, range) || holds.covers(range)
    if (!isUsed()) return null
    const wait = async (): Promise<void> => {
      while (isUsed()) {
        await whenUnclaimed(mm, range)
        await holds.whenReleased(range)
      }
    }
    return wait()
  }
}
