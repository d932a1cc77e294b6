import { describe, expect, test } from 'vitest'
import { HugetlbFixture, huge, outcome } from '../../test/helpers/hugetlb-fixture.ts'
import { PMD_SIZE } from '../base/addr.ts'
import { ACCESS_SIGBUS } from '../machine/page-fault.ts'
import { PROT_NONE, PROT_READ } from '../uapi/mman.ts'
import { HugetlbFile } from './hugetlb-file.ts'
import { ReserveMap } from './hugetlb-reserve.ts'

describe('ReserveMap', () => {
  test('counts and takes out pages of a range', () => {
    const map = new ReserveMap()
    for (const index of [1, 2, 5, 9]) map.add(index)
    map.add(2)
    expect(map.count(0, 6)).toBe(3)
    expect(map.delete(2, 9)).toBe(2)
    expect([1, 2, 5, 9].map((index) => map.has(index))).toEqual([true, false, false, true])
    expect(map.delete(0, Number.POSITIVE_INFINITY)).toBe(2)
  })
})

describe('reservations of private mappings', () => {
  test('mmap promises every page, whatever the protection, and fails when there are not as many', () => {
    const f = new HugetlbFixture(4)
    f.map(0, 3, { prot: PROT_NONE })
    expect(f.pool).toEqual({ npages: 4, nfree: 4, reserved: 3 })
    expect(outcome(() => f.map(4, 2))).toBe('ENOMEM')
    expect(f.state(6)[0]).toBe('ttt___')
    expect(f.pool.reserved).toBe(3)
    f.map(4, 1)
    expect(f.pool.reserved).toBe(4)
    f.end()
  })

  test('a mapping that cannot be made has unmapped what was there', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 1)
    expect(outcome(() => f.map(0, 3))).toBe('ENOMEM')
    expect(f.state(1)[0]).toBe('_')
    expect(f.machine.sys.mappings.size).toBe(0)
    f.end()
  })

  test('parts of a split mapping keep their share', () => {
    const f = new HugetlbFixture(4)
    f.map(0, 4)
    f.process.store32(huge(1), 1)
    f.process.mprotect(huge(1), 2 * PMD_SIZE, PROT_READ)
    expect(f.process.mm.vmas).toHaveLength(3)
    expect(f.pool).toEqual({ npages: 4, nfree: 3, reserved: 3 })
    f.process.munmap(huge(1), 2 * PMD_SIZE)
    expect(f.pool).toEqual({ npages: 4, nfree: 4, reserved: 2 })
    f.process.store32(huge(3), 1)
    expect(f.pool.reserved).toBe(1)
    f.process.munmap(huge(0), PMD_SIZE)
    expect(f.pool.reserved).toBe(0)
    f.end()
  })

  test('neighbours do not merge', () => {
    const f = new HugetlbFixture(4)
    const file = new HugetlbFile(f.machine.sys, 'data', 4 * 512)
    f.map(0, 1, { file })
    f.map(1, 1, { file, offset: PMD_SIZE })
    expect(f.process.mm.vmas).toHaveLength(2)
    file.close()
    f.end()
  })

  test('a child has no promises, and its end gives none back', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 2)
    const child = f.process.fork()
    expect(f.pool.reserved).toBe(2)
    expect(child.tryStore32(huge(0), 1)).toBe(ACCESS_SIGBUS)
    child.exit()
    expect(f.pool.reserved).toBe(2)
    expect(f.process.tryStore32(huge(0), 1)).toBe(0)
    f.end()
  })

  test('without promises a mapping takes what is left over', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 4, { noreserve: true })
    expect(f.pool.reserved).toBe(0)
    f.map(4, 1)
    expect(f.process.tryStore32(huge(0), 1)).toBe(0)
    expect(f.process.tryStore32(huge(1), 1)).toBe(ACCESS_SIGBUS)
    expect(f.process.tryStore32(huge(4), 1)).toBe(0)
    f.end()
  })

  test('a mapping that was moved in part leaves the rest without promises, and what it had not used is lost', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 2)
    f.process.mremap(huge(0), PMD_SIZE, PMD_SIZE, { to: huge(4) })
    expect(f.process.tryStore32(huge(4), 1)).toBe(0)
    expect(f.process.tryStore32(huge(1), 1)).toBe(ACCESS_SIGBUS)
    f.process.exit()
    expect(f.pool).toEqual({ npages: 2, nfree: 2, reserved: 1 })
  })
})

describe('reservations of shared mappings', () => {
  test('a page of the file is promised once, however often it is mapped', () => {
    const f = new HugetlbFixture(3)
    const file = new HugetlbFile(f.machine.sys, 'data', 4 * 512)
    f.map(0, 2, { file, shared: true })
    expect(f.pool.reserved).toBe(2)
    f.map(2, 2, { file, shared: true, offset: PMD_SIZE })
    expect(f.pool.reserved).toBe(3)
    expect(outcome(() => f.map(4, 4, { file, shared: true }))).toBe('ENOMEM')
    f.process.store32(huge(1), 7)
    expect(f.process.load32(huge(2))).toBe(7)
    expect(f.pool).toEqual({ npages: 3, nfree: 2, reserved: 2 })
    file.close()
    f.end()
  })

  test('the file keeps them when nobody maps it any more', () => {
    const f = new HugetlbFixture(3)
    const file = new HugetlbFile(f.machine.sys, 'data', 2 * 512)
    f.map(0, 2, { file, shared: true })
    f.process.store32(huge(0), 1)
    f.process.munmap(huge(0), 2 * PMD_SIZE)
    expect(f.pool).toEqual({ npages: 3, nfree: 2, reserved: 1 })
    file.close()
    expect(f.pool).toEqual({ npages: 3, nfree: 3, reserved: 0 })
    f.end()
  })

  test('without promises the file is filled from what is left over', () => {
    const f = new HugetlbFixture(1)
    f.map(0, 2, { shared: true, noreserve: true })
    expect(f.process.tryStore32(huge(1), 1)).toBe(0)
    expect(f.process.tryStore32(huge(0), 1)).toBe(ACCESS_SIGBUS)
    f.end()
  })
})
