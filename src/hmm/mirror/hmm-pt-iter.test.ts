import { describe, expect, it } from 'vitest'
import { PAGE_SIZE, PGDIR_SIZE, PMD_SIZE, PUD_SIZE, TASK_SIZE } from '../../base/addr.ts'
import { AssertionError } from '../../base/assert.ts'
import { HmmPt } from './hmm-pt.ts'
import { HmmPtIter } from './hmm-pt-iter.ts'
import { HMM_PTE_VALID_PFN, hmmPteStore } from './hmm-pte.ts'

const END = TASK_SIZE

/** A table with one valid entry at each address. */
function ptWith(...addrs: number[]): HmmPt {
  const pt = new HmmPt(TASK_SIZE - 1)
  const iter = new HmmPtIter(pt)
  for (const addr of addrs) {
    const i = iter.populate(addr, END)
    hmmPteStore(iter.words, i, 1, HMM_PTE_VALID_PFN)
    iter.directoryRef()
  }
  iter.fini()
  return pt
}

describe('lookup() (MR-41)', () => {
  it('finds the entry if its directory exists; next is the end of the directory', () => {
    const iter = new HmmPtIter(ptWith(PMD_SIZE))
    expect(iter.lookup(PMD_SIZE + 5 * PAGE_SIZE, END)).toBe(5)
    expect(iter.next).toBe(2 * PMD_SIZE)
    expect(iter.npages).toBe(507)
    iter.fini()
  })

  it('returns -1 if it does not; next is the end of what is missing, at its level', () => {
    const iter = new HmmPtIter(ptWith(0))
    expect(iter.lookup(3 * PMD_SIZE + PAGE_SIZE, END)).toBe(-1)
    expect(iter.next).toBe(4 * PMD_SIZE)
    expect(iter.lookup(3 * PUD_SIZE, END)).toBe(-1)
    expect(iter.next).toBe(4 * PUD_SIZE)
    expect(iter.lookup(3 * PGDIR_SIZE, END)).toBe(-1)
    expect(iter.next).toBe(4 * PGDIR_SIZE)
    iter.fini()
  })

  it('next never goes beyond the end of the range or of the table', () => {
    const iter = new HmmPtIter(ptWith(0))
    iter.lookup(0, 3 * PAGE_SIZE)
    expect(iter.next).toBe(3 * PAGE_SIZE)
    iter.lookup(PUD_SIZE, PUD_SIZE + PAGE_SIZE)
    expect(iter.next).toBe(PUD_SIZE + PAGE_SIZE)
    iter.lookup(255 * PGDIR_SIZE, 2 ** 52)
    expect(iter.next).toBe(TASK_SIZE)
    iter.fini()
  })

  it('makes nothing', () => {
    const pt = new HmmPt(TASK_SIZE - 1)
    const iter = new HmmPtIter(pt)
    iter.lookup(0, END)
    iter.walk(0, END)
    expect(pt.ndirectories).toBe(0)
    iter.fini()
  })
})

describe('walk() (MR-42)', () => {
  it('goes from one existing directory to the next, and sets addr', () => {
    const iter = new HmmPtIter(ptWith(PMD_SIZE, 5 * PUD_SIZE + PAGE_SIZE, 200 * PGDIR_SIZE))
    const seen: number[][] = []
    for (let i = iter.walk(0, END); i >= 0; i = iter.walk(iter.next, END)) seen.push([iter.addr, i, iter.npages])
    expect(seen).toEqual([
      [PMD_SIZE, 0, 512],
      [5 * PUD_SIZE, 0, 512],
      [200 * PGDIR_SIZE, 0, 512],
    ])
    iter.fini()
  })

  it('begins and ends inside directories', () => {
    const iter = new HmmPtIter(ptWith(0, PMD_SIZE))
    const start = 500 * PAGE_SIZE
    const end = PMD_SIZE + 3 * PAGE_SIZE
    expect([iter.walk(start, end), iter.addr, iter.npages]).toEqual([500, start, 12])
    expect([iter.walk(iter.next, end), iter.addr, iter.npages]).toEqual([0, PMD_SIZE, 3])
    expect(iter.walk(iter.next, end)).toBe(-1)
    iter.fini()
  })

  it('returns -1 with addr = next = end when there is none', () => {
    const iter = new HmmPtIter(ptWith(0))
    expect(iter.walk(PMD_SIZE, 9 * PUD_SIZE)).toBe(-1)
    expect([iter.addr, iter.next]).toEqual([9 * PUD_SIZE, 9 * PUD_SIZE])
    iter.fini()
  })
})

describe('populate() (MR-43)', () => {
  it('makes the missing directories; what stays empty goes when the iterator moves on', () => {
    const pt = new HmmPt(TASK_SIZE - 1)
    const iter = new HmmPtIter(pt)
    expect(iter.populate(7 * PAGE_SIZE, END)).toBe(7)
    expect([iter.next, pt.ndirectories]).toEqual([PMD_SIZE, 3])
    iter.populate(PGDIR_SIZE, END)
    expect(pt.ndirectories).toBe(3)
    iter.fini()
    expect(pt.ndirectories).toBe(0)
  })

  it('finds what is there', () => {
    const pt = ptWith(0)
    const iter = new HmmPtIter(pt)
    iter.populate(PAGE_SIZE, END)
    expect(pt.ndirectories).toBe(3)
    iter.fini()
    pt.validate()
  })

  it.each([0, 1, 2])(
    'returns -1 when there is room for %i directories only, and leaves none behind',
    (directoriesMax) => {
      const pt = new HmmPt(TASK_SIZE - 1, { directoriesMax })
      const iter = new HmmPtIter(pt)
      expect(iter.populate(0, END)).toBe(-1)
      iter.fini()
      expect(pt.ndirectories).toBe(0)
      pt.validate()
    },
  )

  it('keeps what the iterator stood in when there is no room', () => {
    const pt = new HmmPt(TASK_SIZE - 1, { directoriesMax: 4 })
    const iter = new HmmPtIter(pt)
    const i = iter.populate(0, END)
    hmmPteStore(iter.words, i, 1, HMM_PTE_VALID_PFN)
    iter.directoryRef()
    expect(iter.populate(PMD_SIZE, END)).toBe(0)
    iter.fini()
    expect(iter.populate(PUD_SIZE, END)).toBe(-1)
    iter.fini()
    pt.validate()
    expect(pt.nvalid).toBe(1)
  })
})

describe('directoryLock() (MR-36, MR-44)', () => {
  it('is taken once, given back once, and seen by other iterators', () => {
    const pt = ptWith(0)
    const iter = new HmmPtIter(pt)
    const other = new HmmPtIter(pt)
    iter.lookup(0, END)
    other.lookup(PAGE_SIZE, END)
    iter.directoryLock()
    expect(() => other.directoryLock()).toThrow(AssertionError)
    iter.directoryUnlock()
    expect(() => iter.directoryUnlock()).toThrow(AssertionError)
    other.directoryLock()
    other.directoryUnlock()
    iter.fini()
    other.fini()
  })
})

describe('fini() (MR-40)', () => {
  it('drops the protection, and the iterator can be used again', () => {
    const pt = ptWith(0)
    const iter = new HmmPtIter(pt)
    iter.lookup(0, END)
    iter.fini()
    iter.fini()
    pt.validate()
    expect(() => iter.words).toThrow(AssertionError)
    expect(iter.lookup(PAGE_SIZE, END)).toBe(1)
    iter.fini()
    pt.validate()
  })
})
