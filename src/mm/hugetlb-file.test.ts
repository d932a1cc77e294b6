import { describe, expect, test } from 'vitest'
import { HugetlbFixture, huge, outcome, small, watch } from '../../test/helpers/hugetlb-fixture.ts'
import { PAGE_SIZE, PMD_SIZE } from '../base/addr.ts'
import { AssertionError } from '../base/assert.ts'
import { EINVAL } from '../base/errno.ts'
import { ACCESS_SIGBUS } from '../machine/page-fault.ts'
import { MADV_REMOVE, MAP_HUGETLB, MAP_PRIVATE, PROT_READ } from '../uapi/mman.ts'
import { HugetlbFile } from './hugetlb-file.ts'
import { mmMmap } from './mmap.ts'

describe('HugetlbFile', () => {
  test('is made of whole huge pages, and mapped from a whole one on', () => {
    const f = new HugetlbFixture(4)
    expect(() => new HugetlbFile(f.machine.sys, 'data', 100)).toThrow(AssertionError)
    const file = new HugetlbFile(f.machine.sys, 'data', 1024)
    expect(outcome(() => f.map(0, 1, { file, offset: PAGE_SIZE }))).toBe('EINVAL')
    f.process.mmap({ addr: huge(0), length: 5, fixed: true, file, offset: PMD_SIZE })
    expect(f.state(2)[0]).toBe('t_')
    file.close()
    f.end()
  })

  test('MAP_HUGETLB on any other file is -EINVAL', () => {
    const f = new HugetlbFixture(4)
    const { mm } = f.process
    const file = f.machine.createFile('small', 1024)
    expect(mmMmap(mm, 0, PMD_SIZE, PROT_READ, MAP_PRIVATE | MAP_HUGETLB, file)).toBe(-EINVAL)
    f.end()
  })

  test('grows with a mapping that may write, not with one that may not', () => {
    const f = new HugetlbFixture(4)
    const file = new HugetlbFile(f.machine.sys, 'data', 0)
    f.map(0, 2, { file, prot: PROT_READ, shared: true })
    expect(file.mapping.npages).toBe(0)
    expect(f.process.tryLoad32(huge(0))).toBe(ACCESS_SIGBUS)
    f.map(2, 2, { file, shared: true })
    expect(file.mapping.npages).toBe(1024)
    expect(f.process.tryLoad32(huge(0))).toBe(0)
    file.close()
    f.end()
  })

  test('lives as long as it is mapped or held', () => {
    const f = new HugetlbFixture(4)
    const file = new HugetlbFile(f.machine.sys, 'data', 1024)
    f.map(0, 2, { file, shared: true })
    f.process.store32(huge(0), 1)
    const child = f.process.fork()
    file.close()
    f.process.munmap(huge(0), PMD_SIZE)
    f.process.exit()
    expect(child.load32(huge(0))).toBe(1)
    expect(f.machine.sys.mappings.has(file.mapping.id)).toBe(true)
    child.munmap(huge(0), 2 * PMD_SIZE)
    expect(f.machine.sys.mappings.has(file.mapping.id)).toBe(false)
    expect(() => file.close()).toThrow(AssertionError)
    f.end()
  })

  test('truncate() takes pages and private copies beyond the end, with one UNMAP per mapping', () => {
    const f = new HugetlbFixture(8)
    const file = new HugetlbFile(f.machine.sys, 'data', 1024)
    f.map(0, 2, { file, shared: true })
    f.map(2, 2, { file })
    for (const i of [0, 1, 3]) f.process.store32(huge(i), i)
    expect(f.pool).toEqual({ npages: 8, nfree: 5, reserved: 1 })
    const watcher = watch(f.process)
    expect(file.truncate(700)).toBe(-EINVAL)
    expect(file.truncate(512)).toBe(0)
    expect(watcher.takeEvents()).toEqual(['UNMAP 512-1024', 'UNMAP 1536-2048'])
    expect(f.state(4)[0]).toBe('Pttt')
    expect(f.pool).toEqual({ npages: 8, nfree: 7, reserved: 1 })
    expect(f.process.tryLoad32(huge(1))).toBe(ACCESS_SIGBUS)
    expect(f.process.tryLoad32(huge(3))).toBe(ACCESS_SIGBUS)
    expect(file.truncate(1024)).toBe(0)
    expect(f.process.tryLoad32(huge(1))).toBe(0)
    file.close()
    f.end()
  })

  test('truncate() ends the promises for what was not touched', () => {
    const f = new HugetlbFixture(4)
    const file = new HugetlbFile(f.machine.sys, 'data', 4 * 512)
    f.map(0, 4, { file, shared: true })
    f.process.store32(huge(3), 1)
    file.truncate(512)
    expect(f.pool).toEqual({ npages: 4, nfree: 4, reserved: 1 })
    file.close()
    f.end()
  })

  test('punchHole() drops whole huge pages and zeroes the rest', () => {
    const f = new HugetlbFixture(4)
    const file = new HugetlbFile(f.machine.sys, 'data', 3 * 512)
    f.map(0, 3, { file, shared: true })
    for (const page of [510, 511, 600, 1024, 1025]) f.process.store32(small(page), 7)
    const watcher = watch(f.process)
    expect(file.punchHole(511, 514)).toBe(0)
    expect(watcher.takeEvents()).toEqual(['UNMAP 512-1024'])
    expect(f.state(3)[0]).toBe('PtP')
    expect([510, 511, 1024, 1025].map((page) => f.process.load32(small(page)))).toEqual([7, 0, 0, 7])
    expect(f.process.load32(small(600))).toBe(0)
    file.close()
    f.end()
  })

  test('punchHole() inside one huge page only zeroes', () => {
    const f = new HugetlbFixture(4)
    const file = new HugetlbFile(f.machine.sys, 'data', 1024)
    f.map(0, 2, { file, shared: true })
    for (const page of [4, 5, 6]) f.process.store32(small(page), 7)
    expect(file.punchHole(5, 1)).toBe(0)
    expect(file.punchHole(600, 1)).toBe(0) // nothing there
    expect(file.punchHole(0, 0)).toBe(-EINVAL)
    expect([4, 5, 6].map((page) => f.process.load32(small(page)))).toEqual([7, 0, 7])
    expect(f.state(2)[0]).toBe('Pt')
    file.close()
    f.end()
  })

  test('a punched page is not promised any more', () => {
    const f = new HugetlbFixture(2)
    const file = new HugetlbFile(f.machine.sys, 'data', 512)
    f.map(0, 1, { file, shared: true })
    f.process.store32(huge(0), 1)
    f.process.madvise(huge(0), PMD_SIZE, MADV_REMOVE)
    expect(f.pool).toEqual({ npages: 2, nfree: 2, reserved: 0 })
    f.map(2, 2)
    expect(f.process.tryStore32(huge(0), 1)).toBe(ACCESS_SIGBUS)
    f.process.munmap(huge(2), PMD_SIZE)
    expect(f.process.tryStore32(huge(0), 1)).toBe(0)
    file.close()
    f.end()
  })

  test('a page that is in use when the file goes comes back to the pool when it is let go', () => {
    const f = new HugetlbFixture(1)
    f.map(0, 1, { shared: true })
    const pins = f.process.pin(huge(0), 1, { write: true })
    f.process.munmap(huge(0), PMD_SIZE)
    expect(f.pool).toEqual({ npages: 1, nfree: 0, reserved: 0 })
    pins.unpin()
    f.end()
  })
})
