import { describe, expect, test } from 'vitest'
import { HugetlbFixture, huge, outcome, small, watch } from '../../test/helpers/hugetlb-fixture.ts'
import { PAGE_SIZE, PMD_SIZE } from '../base/addr.ts'
import { EAGAIN, EHWPOISON } from '../base/errno.ts'
import { ACCESS_SIGBUS, ACCESS_SIGBUS_POISON } from '../machine/page-fault.ts'
import { MADV_HWPOISON, MADV_POPULATE_READ } from '../uapi/mman.ts'
import { hugetlbMemoryFailure } from './hugetlb-poison.ts'
import { PG_HWPOISON } from './page.ts'
import { getPage, unlockPage } from './page-alloc.ts'

describe('hugetlbMemoryFailure()', () => {
  test('takes an anonymous page from all its users and breaks it up but for the broken frame', () => {
    const f = new HugetlbFixture(4)
    f.map(0, 2)
    f.process.store32(huge(0), 1)
    const child = f.process.fork()
    const head = f.head(0)
    const [watcher, childWatcher] = [watch(f.process), watch(child)]
    const { nfree } = f.machine.mmu
    f.process.madvise(small(3), PAGE_SIZE, MADV_HWPOISON)
    f.held.set(head + 3, 1)
    expect(watcher.takeEvents()).toEqual(['CLEAR 0-512'])
    expect(childWatcher.takeEvents()).toEqual(['CLEAR 0-512'])
    for (const process of [f.process, child]) {
      expect(f.state(2, process)).toEqual(['ht', '0.', '..'])
      expect(process.tryLoad32(small(9))).toBe(ACCESS_SIGBUS_POISON)
    }
    expect(f.machine.mmu.nfree).toBe(nfree + 511)
    expect(f.machine.sys.pages.flags[head + 3] & PG_HWPOISON).not.toBe(0)
    expect(f.pool).toEqual({ npages: 3, nfree: 3, reserved: 1 })
    f.process.munmap(huge(0), 2 * PMD_SIZE)
    expect(f.state(2)[0]).toBe('__')
    for (const process of f.machine.processes) process.exit()
    f.validate()
  })

  test('a poison entry stays through mprotect, is copied by fork, and fails a populate', () => {
    const f = new HugetlbFixture(4)
    f.map(0, 1)
    f.process.store32(huge(0), 1)
    f.process.madvise(small(0), PAGE_SIZE, MADV_HWPOISON)
    f.process.mprotect(huge(0), PMD_SIZE, 0)
    f.process.mprotect(huge(0), PMD_SIZE, 3)
    const child = f.process.fork()
    expect(child.dumpPte(huge(0), 1)).toBe('h')
    expect(outcome(() => child.madvise(huge(0), PAGE_SIZE, MADV_POPULATE_READ))).toBe('EHWPOISON')
    expect(child.tryStore32(huge(0), 1)).toBe(ACCESS_SIGBUS_POISON)
  })

  test('a page of a file stays in its cache, where later faults find it broken', () => {
    const f = new HugetlbFixture(4)
    f.map(0, 1, { shared: true })
    f.process.store32(huge(0), 1)
    const head = f.head(0)
    const child = f.process.fork()
    f.process.madvise(small(3), PAGE_SIZE, MADV_HWPOISON)
    f.held.set(head, 1)
    expect(f.state(1)[0]).toBe('h')
    expect(f.state(1, child)[0]).toBe('t')
    expect(child.tryLoad32(huge(0))).toBe(ACCESS_SIGBUS_POISON)
    expect(f.pool).toEqual({ npages: 4, nfree: 3, reserved: 0 })
  })

  test('makes the pool smaller and keeps the promises of others', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 1)
    f.process.store32(huge(0), 1)
    f.map(2, 1)
    f.process.madvise(huge(0), PAGE_SIZE, MADV_HWPOISON)
    expect(f.pool).toEqual({ npages: 1, nfree: 1, reserved: 1 })
    f.process.store32(huge(2), 1)
    f.process.madvise(huge(2), PAGE_SIZE, MADV_HWPOISON)
    expect(f.pool).toEqual({ npages: 0, nfree: 0, reserved: 0 })
    expect(outcome(() => f.process.mmap({ length: PMD_SIZE, hugetlb: true }))).toBe('ENOMEM')
  })

  test('-EBUSY for a page that is pinned; when it is let go it stays unused', () => {
    const f = new HugetlbFixture(1)
    f.map(0, 1)
    const pins = f.process.pin(huge(0), 1, { write: true })
    expect(outcome(() => f.process.madvise(huge(0), PAGE_SIZE, MADV_HWPOISON))).toBe('EBUSY')
    expect(f.process.dumpPte(huge(0), 1)).toBe('h')
    pins.unpin()
    expect(f.pool).toEqual({ npages: 1, nfree: 1, reserved: 0 })
    f.process.munmap(huge(0), PMD_SIZE)
    f.map(0, 1)
    expect(f.process.tryStore32(huge(0), 1)).toBe(ACCESS_SIGBUS)
  })

  test('-EHWPOISON for a page that is broken already, -EAGAIN for one that is locked', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 1, { shared: true })
    f.process.store32(huge(0), 1)
    const { sys } = f.machine
    const head = f.head(0)
    expect(sys.pages.trylock(head)).toBe(true)
    getPage(sys, head)
    expect(hugetlbMemoryFailure(sys, head + 1)).toBe(-EAGAIN)
    expect(sys.waitFor).not.toBeNull()
    expect(f.state(1)[0]).toBe('P')
    unlockPage(sys, head)
    getPage(sys, head)
    expect(hugetlbMemoryFailure(sys, head + 1)).toBe(0)
    getPage(sys, head)
    expect(hugetlbMemoryFailure(sys, head + 2)).toBe(-EHWPOISON)
    expect(sys.pages.refcount[head]).toBe(2) // the cache's, and the one that keeps the page from being used
  })
})
