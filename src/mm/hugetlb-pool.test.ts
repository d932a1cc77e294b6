import { describe, expect, test } from 'vitest'
import { PMD_SIZE } from '../base/addr.ts'
import { AssertionError } from '../base/assert.ts'
import { Machine } from '../machine/machine.ts'
import type { Mmu } from '../mmu/mmu.ts'
import { SimulatedMmu } from '../mmu/simulated/simulated-mmu.ts'
import { HugetlbPool } from './hugetlb-pool.ts'
import { Pages, PG_HEAD, PG_HUGETLB, PG_HWPOISON } from './page.ts'

function makePool(wanted: number, nframes = 4096): { pool: HugetlbPool; pages: Pages; mmu: SimulatedMmu } {
  const mmu = new SimulatedMmu({ nframes, contents: false })
  const pages = new Pages(nframes)
  return { pool: new HugetlbPool(mmu, pages, wanted), pages, mmu }
}

describe('HugetlbPool', () => {
  test('take() hands out aligned compound pages until none is left', () => {
    const { pool, pages } = makePool(2)
    const heads = [pool.take(false), pool.take(false)]
    expect(pool.take(false)).toBe(-1)
    for (const head of heads) {
      expect(head % 512).toBe(0)
      expect(pages.refcount[head]).toBe(1)
      expect(pages.flags[head] & (PG_HEAD | PG_HUGETLB)).toBe(PG_HEAD | PG_HUGETLB)
      expect(pages.head(head + 511)).toBe(head)
    }
    expect(pool.nfree).toBe(0)
    expect(pool.npages).toBe(2)
  })

  test('put() makes the page the next one that is taken', () => {
    const { pool, pages } = makePool(3)
    const head = pool.take(false)
    pages.refcount[head] = 0
    pages.mapping[head] = 7
    pool.put(head)
    expect(pages.mapping[head]).toBe(0)
    expect(pool.take(false)).toBe(head)
  })

  test('reserve() promises free pages only once', () => {
    const { pool } = makePool(3)
    expect(pool.reserve(2)).toBe(true)
    expect(pool.reserve(2)).toBe(false)
    expect(pool.reserved).toBe(2)
    expect(pool.hasUnreserved).toBe(true)
    expect(pool.take(false)).toBeGreaterThanOrEqual(0)
    expect(pool.hasUnreserved).toBe(false)
    expect(pool.take(true)).toBeGreaterThanOrEqual(0)
    expect(pool.reserved).toBe(1)
    pool.unreserve(1)
    expect(() => pool.unreserve(1)).toThrow(AssertionError)
  })

  test('take() passes broken pages by', () => {
    const { pool, pages } = makePool(2)
    const broken = pool.take(false)
    pages.refcount[broken] = 0
    pages.flags[broken] |= PG_HWPOISON
    pool.put(broken)
    expect(pool.nfree).toBe(2)
    expect(pool.take(false)).not.toBe(broken)
    expect(pool.take(false)).toBe(-1)
  })

  test('dissolve() gives back all frames but the broken one', () => {
    const { pool, pages, mmu } = makePool(1)
    const nfree = mmu.nfree
    const head = pool.take(false)
    expect(pool.dissolve(head, head + 5)).toBe(false) // in use
    pages.refcount[head] = 0
    pool.put(head)
    pool.reserve(1)
    expect(pool.dissolve(head, head + 5)).toBe(false) // promised
    pool.unreserve(1)
    expect(pool.dissolve(head, head + 5)).toBe(true)
    expect(pool).toMatchObject({ npages: 0, nfree: 0 })
    expect(mmu.nfree).toBe(nfree + 511)
    expect(pages.refcount[head + 5]).toBe(1)
    expect(pages.flags[head + 4]).toBe(0)
    expect(pages.isCompound(head + 5)).toBe(false)
    mmu.validate()
  })

  test('the pool is as large as memory allows', () => {
    expect(makePool(100, 2048).pool.npages).toBe(4)
    expect(new Machine({ memory: 3 * PMD_SIZE, hugetlbPages: 8 }).sys.hugetlb.npages).toBe(2) // less the zero page
  })

  test('an MMU that does not read huge entries has no pool', () => {
    const mmu = new SimulatedMmu({ nframes: 2048 })
    const small = new Proxy<Mmu>(mmu, {
      get: (target, key) =>
        key === 'capabilities' ? { ...target.capabilities, hugePages: false } : Reflect.get(target, key),
    })
    expect(new HugetlbPool(small, new Pages(2048), 0).npages).toBe(0)
    expect(() => new HugetlbPool(small, new Pages(2048), 1)).toThrow(AssertionError)
  })
})
