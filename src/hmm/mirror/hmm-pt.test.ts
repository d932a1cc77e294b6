import { describe, expect, it } from 'vitest'
import { PAGE_SIZE, PMD_SIZE, PUD_SIZE, TASK_SIZE } from '../../base/addr.ts'
import { AssertionError } from '../../base/assert.ts'
import { HMM_PT_MAX_LEVEL, HmmPt, type HmmPtDirectory, type HmmPtOptions } from './hmm-pt.ts'
import { HmmPtIter } from './hmm-pt-iter.ts'
import { HMM_PTE_DIRTY, HMM_PTE_VALID_PFN, hmmPteFromPfn, hmmPteStore } from './hmm-pte.ts'

/** A table of the address space of a process: levels 39, 30, 21, 12. */
function makePt(options: HmmPtOptions = {}): HmmPt {
  return new HmmPt(TASK_SIZE - 1, options)
}

/** Makes one entry valid, as the core does. */
function enter(iter: HmmPtIter, addr: number, pfn: number): void {
  const i = iter.populate(addr, addr + PAGE_SIZE)
  hmmPteStore(iter.words, i, pfn, HMM_PTE_VALID_PFN)
  iter.directoryRef()
}

function drop(iter: HmmPtIter, addr: number): void {
  const i = iter.lookup(addr, addr + PAGE_SIZE)
  hmmPteStore(iter.words, i, 0, 0)
  iter.directoryUnref()
}

/** The directories from the top to the one that covers `addr`, as far as they exist. */
function pathOf(pt: HmmPt, addr: number): HmmPtDirectory[] {
  const path = [pt.top]
  for (let level = 0; level < pt.llevel; level++) {
    const child = path[level].children[pt.index(addr, level)]
    if (child === null) break
    path.push(child)
  }
  return path
}

describe('layout', () => {
  it('last is rounded up to the end of its page (MR-30)', () => {
    expect(new HmmPt(0).last).toBe(4095)
    expect(new HmmPt(4096).last).toBe(8191)
    expect(makePt().last).toBe(TASK_SIZE - 1)
  })

  it('last-level directories have 512 entries of 64 bits: 4 KiB (MR-30)', () => {
    const pt = makePt()
    const iter = new HmmPtIter(pt)
    iter.populate(0, PAGE_SIZE)
    expect(iter.words.byteLength).toBe(4096)
    iter.fini()
  })

  it('for last = 2^48 - 1 the shifts are 39, 30, 21, 12 and the last level is 3 (MR-31)', () => {
    const pt = new HmmPt(2 ** 48 - 1)
    expect(pt.shift).toEqual([39, 30, 21, 12])
    expect(pt.llevel).toBe(3)
  })

  it.each([
    [1, [12]],
    [2 ** 21, [12]],
    [2 ** 21 + 1, [21, 12]],
    [2 ** 30, [21, 12]],
    [2 ** 30 + 1, [30, 21, 12]],
    [2 ** 39, [30, 21, 12]],
    [2 ** 39 + 1, [39, 30, 21, 12]],
    [2 ** 48 + 1, [48, 39, 30, 21, 12]],
    [2 ** 53 - 1, [48, 39, 30, 21, 12]],
  ])('a space of %i bytes has as many levels as it needs, six at most (MR-30, MR-31)', (size, shift) => {
    const pt = new HmmPt(size - 1)
    expect(pt.shift).toEqual(shift)
    expect(pt.shift.length).toBeLessThanOrEqual(HMM_PT_MAX_LEVEL)
  })

  it('the top directory has (last >> shift[0]) + 1 entries and always exists (MR-32)', () => {
    expect(makePt().top.children.length).toBe(256)
    expect(new HmmPt(2 ** 30).top.children.length).toBe(2)
    expect(new HmmPt(3 * PAGE_SIZE - 1).top.words.length / 2).toBe(3)
  })

  it('the index at level l is (addr >> shift[l]) & 511, and an entry covers addr & mask to addr | ~mask (MR-32)', () => {
    const pt = makePt()
    const addr = 0x7f12_3456_7000
    expect([0, 1, 2, 3].map((level) => pt.index(addr, level))).toEqual([254, 72, 418, 359])
    for (let level = 0; level <= pt.llevel; level++) {
      const mask = ~((1n << BigInt(pt.shift[level])) - 1n)
      expect(BigInt(pt.levelNext(addr, 2 ** 52, level) - 1)).toBe(BigInt(addr) | ~mask)
    }
    expect(pt.levelNext(addr, addr + 1, 0)).toBe(addr + 1)
  })

  it('asserts that last is an exact number', () => {
    expect(() => new HmmPt(2 ** 53)).toThrow(AssertionError)
    expect(() => new HmmPt(-1)).toThrow(AssertionError)
    expect(() => new HmmPt(Number.NaN)).toThrow(AssertionError)
  })
})

describe('directories', () => {
  it('an entry of a directory refers to the lower one that covers its part (MR-33)', () => {
    const pt = makePt()
    const iter = new HmmPtIter(pt)
    const addr = 5 * PUD_SIZE + 7 * PMD_SIZE + 3 * PAGE_SIZE
    enter(iter, addr, 9)
    expect(pathOf(pt, addr).map((dir) => dir.base)).toEqual([0, 0, 5 * PUD_SIZE, 5 * PUD_SIZE + 7 * PMD_SIZE])
    iter.fini()
    pt.validate()
  })

  it('count 1 at creation for the iterator, one per valid entry and sub-directory, one per iterator inside (MR-34)', () => {
    const pt = makePt()
    const iter = new HmmPtIter(pt)
    iter.populate(0, PAGE_SIZE)
    const [, pud, pmd, last] = pathOf(pt, 0)
    expect([pud.refcount, pmd.refcount, last.refcount]).toEqual([1, 1, 1])
    iter.directoryRef(3)
    expect(last.refcount).toBe(4)

    const other = new HmmPtIter(pt)
    other.lookup(PAGE_SIZE, 2 * PAGE_SIZE)
    expect(last.refcount).toBe(5)
    other.populate(PMD_SIZE, PMD_SIZE + PAGE_SIZE)
    expect([last.refcount, pmd.refcount]).toEqual([4, 2])
    other.fini()
    expect(pmd.refcount).toBe(1)

    iter.directoryUnref(3)
    iter.fini()
    expect(pt.ndirectories).toBe(0)
  })

  it('an empty directory goes at once, with every one above that becomes empty (MR-34, MR-35)', () => {
    const pt = makePt()
    const iter = new HmmPtIter(pt)
    enter(iter, 0, 1)
    enter(iter, PMD_SIZE, 2)
    enter(iter, PUD_SIZE, 3)
    iter.fini()
    expect(pt.ndirectories).toBe(1 + 2 + 3)

    drop(iter, PMD_SIZE)
    iter.fini()
    expect(pt.ndirectories).toBe(5)
    expect(pathOf(pt, PMD_SIZE).length).toBe(3)
    drop(iter, PUD_SIZE)
    iter.fini()
    expect(pt.ndirectories).toBe(3)
    drop(iter, 0)
    iter.fini()
    expect(pt.ndirectories).toBe(0)
    expect(pt.nvalid).toBe(0)
    pt.validate()
  })

  it('a directory that an iterator stands in outlives its last entry, until the iterator moves on (MR-34)', () => {
    const pt = makePt()
    const standing = new HmmPtIter(pt)
    enter(standing, 0, 1)
    const { words } = standing
    const other = new HmmPtIter(pt)
    drop(other, 0)
    other.fini()
    expect(pathOf(pt, 0).length).toBe(4)
    enter(standing, PAGE_SIZE, 2)
    expect(standing.words).toBe(words)
    expect(pt.entry(PAGE_SIZE)).toBe(hmmPteFromPfn(2))
    standing.fini()
    pt.validate()
  })

  it('is freed only when the iterator that emptied it is done: its memory is not used again before (MR-34)', () => {
    const pt = makePt()
    const iter = new HmmPtIter(pt)
    enter(iter, 0, 1)
    const { words } = iter
    drop(iter, 0)
    const other = new HmmPtIter(pt)
    enter(other, PMD_SIZE, 2) // moves on elsewhere while `iter` still has the dead directory
    expect(other.words).not.toBe(words)
    enter(iter, 2 * PMD_SIZE, 3)
    expect(iter.words).not.toBe(words)
    iter.fini()
    enter(other, 3 * PMD_SIZE, 4)
    expect(other.words).toBe(words)
    other.fini()
    pt.validate()
  })

  it('a directory that is used again is empty, whatever was left in it', () => {
    const pt = makePt()
    const iter = new HmmPtIter(pt)
    enter(iter, 0, 1)
    iter.words[2 * 100] = HMM_PTE_DIRTY // a mark on an entry that is not valid
    drop(iter, 0)
    iter.fini()
    const i = iter.populate(0, PMD_SIZE)
    expect(iter.words.every((word) => word === 0)).toBe(true)
    expect(i).toBe(0)
    iter.fini()
  })

  it('the top directory alone serves a small space and is not counted (MR-32)', () => {
    const pt = new HmmPt(100 * PAGE_SIZE - 1)
    const iter = new HmmPtIter(pt)
    enter(iter, 99 * PAGE_SIZE, 5)
    drop(iter, 99 * PAGE_SIZE)
    enter(iter, 3 * PAGE_SIZE, 6)
    iter.fini()
    expect(pt.entry(3 * PAGE_SIZE)).toBe(hmmPteFromPfn(6))
    expect([pt.ndirectories, pt.nvalid]).toEqual([0, 1])
    pt.validate()
  })

  it('dropping more references than there are is caught', () => {
    const pt = makePt()
    const iter = new HmmPtIter(pt)
    enter(iter, 0, 1)
    expect(() => iter.directoryUnref(3)).toThrow(AssertionError)
  })
})

describe('validate()', () => {
  it('finds a wrong count, a wrong sum, an empty and a locked directory', () => {
    const broken: ((pt: HmmPt, last: HmmPtDirectory) => void)[] = [
      (_, last) => last.refcount++,
      (pt) => pt.nvalid++,
      (pt) => pt.ndirectories--,
      (_, last) => last.words.fill(0),
      (_, last) => {
        last.locked = true
      },
      (_, last) => {
        last.base += PMD_SIZE
      },
    ]
    for (const breakIt of broken) {
      const pt = makePt()
      const iter = new HmmPtIter(pt)
      enter(iter, 0, 1)
      iter.fini()
      pt.validate()
      breakIt(pt, pathOf(pt, 0)[3])
      expect(() => pt.validate()).toThrow(AssertionError)
    }
  })
})
