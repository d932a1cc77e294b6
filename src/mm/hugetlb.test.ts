import { describe, expect, test } from 'vitest'
import { HugetlbFixture, huge, outcome, small, watch } from '../../test/helpers/hugetlb-fixture.ts'
import { PMD_SIZE } from '../base/addr.ts'
import { ACCESS_SIGBUS, ACCESS_WOULD_WAIT } from '../machine/page-fault.ts'
import type { Process } from '../machine/process.ts'
import { MADV_DONTNEED, MADV_FREE, MADV_PAGEOUT, PROT_NONE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { makeDeviceExclusiveRange } from './exclusive.ts'
import { HugetlbFile } from './hugetlb-file.ts'
import { unlockPage } from './page-alloc.ts'

const NO_EVENTS: string[] = []

describe('hugetlbFault()', () => {
  test('a read of a private page maps a cleared page of its own, read-only; the write after it needs no event', () => {
    const f = new HugetlbFixture(8)
    f.map(0, 2)
    const watcher = watch(f.process)
    expect(f.process.load32(huge(0) + 12_345 * 4)).toBe(0)
    expect(f.state(2)).toEqual(['pt', '7.', '9.'])
    f.process.store32(small(511), 5)
    expect(f.state(2)).toEqual(['Pt', '7.', '9.'])
    expect(f.process.load32(small(511))).toBe(5)
    expect(watcher.takeEvents()).toEqual(NO_EVENTS)
    f.end()
  })

  test('a write maps the page writable at once', () => {
    const f = new HugetlbFixture(8)
    f.map(1, 1)
    f.process.store32(small(700), 9)
    expect(f.state(3)).toEqual(['_P_', '.7.', '.9.'])
    f.end()
  })

  test('pages of a shared mapping are of the page cache: writable from the first read on, and seen by children', () => {
    const f = new HugetlbFixture(8)
    f.map(0, 1, { shared: true })
    f.process.load32(huge(0))
    expect(f.state(1)).toEqual(['P', '4', 'd'])
    const child = f.process.fork()
    expect(f.state(1, child)[0]).toBe('t')
    child.store32(small(3), 8)
    expect(f.process.load32(small(3))).toBe(8)
    expect(f.state(1)).toEqual(['P', '0', '5'])
    expect(f.pool).toEqual({ npages: 8, nfree: 7, reserved: 0 })
    f.end()
  })

  test('a private mapping of a file maps the page of the cache for reading and copies it for writing', () => {
    const f = new HugetlbFixture(4)
    const file = new HugetlbFile(f.machine.sys, 'data', 512)
    f.map(0, 1, { file, shared: true })
    f.process.store32(small(1), 1)
    f.map(1, 1, { file })
    const watcher = watch(f.process)
    expect(f.process.load32(small(513))).toBe(1)
    expect(f.state(2)).toEqual(['Pp', '00', '55'])
    expect(f.pool.reserved).toBe(1)
    f.process.store32(small(513), 2)
    expect(watcher.takeEvents()).toEqual(['CLEAR 512-1024'])
    expect(f.state(2)).toEqual(['PP', '47', 'd9'])
    expect([f.process.load32(small(1)), f.process.load32(small(513))]).toEqual([1, 2])
    expect(f.pool.reserved).toBe(0)
    file.close()
    f.end()
  })

  test('a first write to a private mapping of a cached page copies it in the same fault', () => {
    const f = new HugetlbFixture(4)
    const file = new HugetlbFile(f.machine.sys, 'data', 512)
    f.map(0, 1, { file, shared: true })
    f.process.store32(small(1), 1)
    f.map(1, 1, { file })
    f.process.store32(small(514), 2)
    expect(f.state(2)).toEqual(['PP', '47', 'd9'])
    expect(f.process.load32(small(513))).toBe(1)
    file.close()
    f.end()
  })

  test('beyond the end of the file is SIGBUS', () => {
    const f = new HugetlbFixture(4)
    const file = new HugetlbFile(f.machine.sys, 'data', 512)
    f.map(0, 2, { file, prot: PROT_READ })
    expect(f.process.tryLoad32(huge(0))).toBe(0)
    expect(f.process.tryLoad32(huge(1))).toBe(ACCESS_SIGBUS)
    file.close()
    f.end()
  })

  test('a page that is locked is waited for', () => {
    const f = new HugetlbFixture(4)
    f.map(0, 1)
    f.process.load32(huge(0))
    const { sys } = f.machine
    expect(sys.pages.trylock(f.head(0))).toBe(true)
    expect(f.process.tryStore32(huge(0), 1)).toBe(ACCESS_WOULD_WAIT)
    unlockPage(sys, f.head(0))
    expect(f.process.tryStore32(huge(0), 1)).toBe(0)
    f.end()
  })

  test('a fault in a page of a file that is locked in the cache waits too', () => {
    const f = new HugetlbFixture(4)
    f.map(0, 1, { shared: true })
    f.process.load32(huge(0))
    const child = f.process.fork()
    const { sys } = f.machine
    sys.pages.trylock(f.head(0))
    expect(child.tryLoad32(huge(0))).toBe(ACCESS_WOULD_WAIT)
    unlockPage(sys, f.head(0))
    expect(child.tryLoad32(huge(0))).toBe(0)
    f.end()
  })
})

describe('hugetlbFault(), copy on write', () => {
  test('after fork the first writer gets a copy under CLEAR over the huge page, the other one keeps the page', () => {
    const f = new HugetlbFixture(8)
    f.map(0, 2)
    f.process.store32(small(511), 100)
    const child = f.process.fork()
    expect(f.state(2)).toEqual(['pt', '1.', '1.'])
    expect(f.state(2, child)).toEqual(['pt', '1.', '1.'])
    expect(f.head(0, child)).toBe(f.head(0))
    const [watcher, childWatcher] = [watch(f.process), watch(child)]
    f.process.store32(small(0), 101)
    expect(watcher.takeEvents()).toEqual(['CLEAR 0-512'])
    expect(f.state(2)).toEqual(['Pt', '7.', '9.'])
    expect(f.state(2, child)).toEqual(['pt', '5.', '9.'])
    child.store32(small(1), 102)
    expect(f.state(2, child)).toEqual(['Pt', '7.', '9.'])
    expect(childWatcher.takeEvents()).toEqual(NO_EVENTS)
    expect([0, 1, 511].map((i) => f.process.load32(small(i)))).toEqual([101, 0, 100])
    expect([0, 1, 511].map((i) => child.load32(small(i)))).toEqual([0, 102, 100])
    f.end()
  })

  test('a child copies from what nobody was promised, and gets SIGBUS if there is nothing', () => {
    const f = new HugetlbFixture(3)
    f.map(0, 2)
    f.process.store32(huge(0), 1)
    const child = f.process.fork()
    const other = f.process.fork()
    expect(child.tryStore32(huge(0), 2)).toBe(0) // the one page left
    expect(other.tryStore32(huge(0), 3)).toBe(ACCESS_SIGBUS)
    expect(other.tryLoad32(huge(0))).toBe(1)
    expect(other.tryLoad32(huge(1))).toBe(ACCESS_SIGBUS)
    expect(f.process.tryStore32(huge(1), 4)).toBe(0) // promised
    f.end()
  })

  test('a copy does not use up the promise for a page that was not touched yet', () => {
    const f = new HugetlbFixture(3)
    f.map(0, 2)
    f.process.store32(huge(0), 1)
    f.process.fork()
    f.process.store32(huge(0), 2)
    expect(f.pool).toEqual({ npages: 3, nfree: 1, reserved: 1 })
    expect(f.process.tryStore32(huge(1), 3)).toBe(0)
    f.end()
  })

  test('when the pool is empty the owner takes the page from its children, who get SIGBUS from then on', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 2)
    f.process.store32(huge(0), 1)
    const child = f.process.fork()
    const [watcher, childWatcher] = [watch(f.process), watch(child)]
    const head = f.head(0)
    f.process.store32(huge(0), 2)
    expect(watcher.takeEvents()).toEqual(NO_EVENTS)
    expect(childWatcher.takeEvents()).toEqual(['UNMAP 0-512'])
    expect(f.head(0)).toBe(head)
    expect(f.state(2)).toEqual(['Pt', '7.', '9.'])
    expect(f.state(2, child)).toEqual(['tt', '..', '..'])
    expect(child.tryLoad32(huge(0))).toBe(ACCESS_SIGBUS)
    expect(child.tryLoad32(huge(1))).toBe(ACCESS_SIGBUS)
    expect(f.process.load32(huge(0))).toBe(2)
    f.process.munmap(huge(1), PMD_SIZE)
    expect(child.tryLoad32(huge(0))).toBe(ACCESS_SIGBUS) // not a cleared page, though there is one now
    f.end()
  })

  test('the owner also finds a child that moved its mapping', () => {
    const f = new HugetlbFixture(1)
    f.map(0, 1)
    f.process.store32(huge(0), 1)
    const child = f.process.fork()
    child.mremap(huge(0), PMD_SIZE, PMD_SIZE, { to: huge(5) })
    f.process.store32(huge(0), 2)
    expect(f.state(6, child)[0]).toBe('_____t')
    f.end()
  })
})

describe('copyHugetlbPageRange()', () => {
  test('fork raises CLEAR over the whole mapping, and nothing for one without anonymous pages', () => {
    const f = new HugetlbFixture(8)
    f.map(0, 3)
    const watcher = watch(f.process)
    f.process.fork()
    expect(watcher.takeEvents()).toEqual(NO_EVENTS)
    f.process.store32(huge(1), 1)
    const child = f.process.fork()
    expect(watcher.takeEvents()).toEqual(['CLEAR 0-1536'])
    expect(f.state(3, child)[0]).toBe('tpt')
    f.end()
  })

  test('the child of a pinned page gets a copy at once, and the parent keeps writing to its own', () => {
    const f = new HugetlbFixture(4)
    f.map(0, 1)
    f.process.store32(small(4), 1)
    const pins = f.process.pin(small(4), 2, { write: true })
    f.held.set(f.head(0), 2)
    const child = f.process.fork()
    expect(f.head(0, child)).not.toBe(f.head(0))
    expect(f.state(1)).toEqual(['P', 'f', '9'])
    expect(f.state(1, child)).toEqual(['P', '7', '9'])
    f.process.store32(small(4), 2)
    expect(child.load32(small(4))).toBe(1)
    pins.unpin()
    f.held.clear()
    f.end()
  })

  test('-ENOMEM when the child needs a copy of a pinned page and the pool has none', () => {
    const f = new HugetlbFixture(1)
    f.map(0, 1)
    f.process.pin(small(0), 1, { write: true })
    f.held.set(f.head(0), 1)
    expect(outcome(() => f.process.fork())).toBe('ENOMEM')
    expect(f.machine.processes).toEqual([f.process])
    expect(f.state(1)).toEqual(['P', 'f', '9'])
    f.process.unpinAll()
    f.end()
  })
})

describe('hugetlbChangeProtection()', () => {
  test('raises PROTECTION_VMA over the range, whether pages are there or not', () => {
    const f = new HugetlbFixture(8)
    f.map(0, 2)
    const watcher = watch(f.process)
    f.process.mprotect(huge(0), 2 * PMD_SIZE, PROT_NONE)
    expect(watcher.takeEvents()).toEqual(['PROTECTION_VMA 0-1024'])
    f.process.mprotect(huge(0), 2 * PMD_SIZE, PROT_NONE)
    expect(watcher.takeEvents()).toEqual(NO_EVENTS)
    f.end()
  })

  test('takes access away and gives it back; a private page becomes writable by a fault only', () => {
    const f = new HugetlbFixture(8)
    f.map(0, 2)
    f.process.store32(huge(1), 7)
    f.process.mprotect(huge(1), PMD_SIZE, PROT_NONE)
    expect(f.state(2)).toEqual(['tn', '.7', '.9'])
    f.process.mprotect(huge(1), PMD_SIZE, PROT_READ)
    expect(f.state(2)[0]).toBe('tp')
    f.process.mprotect(huge(1), PMD_SIZE, PROT_READ | PROT_WRITE)
    expect(f.state(2)[0]).toBe('tp')
    f.process.store32(huge(1), 8)
    expect(f.state(2)[0]).toBe('tP')
    f.end()
  })

  test('pages of a shared mapping become writable at once', () => {
    const f = new HugetlbFixture(8)
    f.map(0, 1, { shared: true })
    f.process.store32(huge(0), 7)
    f.process.mprotect(huge(0), PMD_SIZE, PROT_READ)
    expect(f.state(1)[0]).toBe('p')
    f.process.mprotect(huge(0), PMD_SIZE, PROT_READ | PROT_WRITE)
    expect(f.state(1)[0]).toBe('P')
    f.end()
  })

  test('refuses to cut a huge page', () => {
    const f = new HugetlbFixture(8)
    f.map(0, 1)
    expect(outcome(() => f.process.mprotect(small(511), 4096, PROT_NONE))).toBe('EINVAL')
    expect(outcome(() => f.process.mprotect(small(300), 4096, PROT_READ | PROT_WRITE))).toBe('ok') // nothing to change
    f.end()
  })
})

describe('events of shared mappings (MN-89)', () => {
  const GIB = 512 // huge pages

  function bigMapping(): { f: HugetlbFixture; process: Process; events: () => string[] } {
    const f = new HugetlbFixture(8)
    const file = new HugetlbFile(f.machine.sys, 'data', 0)
    f.map(0, 2 * GIB, { file, shared: true, noreserve: true })
    file.close()
    const watcher = watch(f.process, 2 * GIB)
    return { f, process: f.process, events: () => watcher.takeEvents() }
  }

  test('cover whole blocks of 1 GiB', () => {
    const { f, process, events } = bigMapping()
    process.madvise(huge(3), PMD_SIZE, MADV_DONTNEED)
    expect(events()).toEqual(['CLEAR 0-262144', 'UNMAP 0-262144'])
    f.end()
  })

  test('a split inside a block raises CLEAR over it, and afterwards the parts are too small to be widened', () => {
    const { f, process, events } = bigMapping()
    process.mprotect(huge(GIB + 1), PMD_SIZE, PROT_READ)
    expect(events()).toEqual(['CLEAR 262144-524288', 'PROTECTION_VMA 262656-263168'])
    process.mprotect(huge(0), GIB * PMD_SIZE, PROT_READ)
    expect(events()).toEqual(['PROTECTION_VMA 0-262144'])
    f.end()
  })
})

describe('events of private mappings', () => {
  test('are never widened, and a split raises none', () => {
    const f = new HugetlbFixture(8)
    f.map(0, 1024, { noreserve: true })
    const watcher = watch(f.process, 1024)
    f.process.madvise(huge(3), PMD_SIZE, MADV_DONTNEED)
    expect(watcher.takeEvents()).toEqual(['CLEAR 1536-2048', 'UNMAP 1536-2048'])
    f.process.mprotect(huge(3), PMD_SIZE, PROT_READ)
    expect(watcher.takeEvents()).toEqual(['PROTECTION_VMA 1536-2048'])
    f.end()
  })
})

describe('moveHugetlbPageTables()', () => {
  test('mremap moves the entries under CLEAR, then unmaps the old place', () => {
    const f = new HugetlbFixture(8)
    f.map(0, 2)
    f.process.store32(small(515), 3)
    const head = f.head(1)
    const watcher = watch(f.process)
    f.process.mremap(huge(0), 2 * PMD_SIZE, 2 * PMD_SIZE, { to: huge(4) })
    expect(watcher.takeEvents()).toEqual(['CLEAR 0-1024', 'UNMAP 0-1024', 'UNMAP 0-1024'])
    expect(f.state(6)).toEqual(['____tP', '.....7', '.....9'])
    expect(f.head(5)).toBe(head)
    expect(f.process.load32(huge(5) + 3 * 4096)).toBe(3)
    expect(f.pool).toEqual({ npages: 8, nfree: 7, reserved: 1 })
    f.process.store32(huge(4), 1)
    expect(f.pool.reserved).toBe(0)
    f.end()
  })

  test('wants whole huge pages, rounds lengths up, and does not grow', () => {
    const f = new HugetlbFixture(8)
    f.map(0, 2)
    const { process } = f
    expect(outcome(() => process.mremap(small(1), PMD_SIZE, PMD_SIZE, { to: huge(4) }))).toBe('EINVAL')
    expect(outcome(() => process.mremap(huge(0), PMD_SIZE, PMD_SIZE, { to: small(2049) }))).toBe('EINVAL')
    expect(outcome(() => process.mremap(huge(0), 2 * PMD_SIZE, 3 * PMD_SIZE))).toBe('EINVAL')
    expect(process.mremap(huge(0), 2 * PMD_SIZE, PMD_SIZE + 1)).toBe(huge(0))
    expect(f.state(2)[0]).toBe('tt')
    expect(process.mremap(huge(0), PMD_SIZE + 1, PMD_SIZE)).toBe(huge(0))
    expect(f.state(2)[0]).toBe('t_')
    expect(f.pool.reserved).toBe(1)
    f.end()
  })
})

describe('munmap, mmap and madvise of hugetlb mappings', () => {
  test('munmap raises UNMAP twice, frees the pages and gives the promises back', () => {
    const f = new HugetlbFixture(8)
    f.map(0, 3)
    f.process.store32(huge(1), 1)
    const watcher = watch(f.process)
    f.process.munmap(huge(1), 2 * PMD_SIZE)
    expect(watcher.takeEvents()).toEqual(['UNMAP 512-1536', 'UNMAP 512-1536'])
    expect(f.state(3)[0]).toBe('t__')
    expect(f.pool).toEqual({ npages: 8, nfree: 8, reserved: 1 })
    f.end()
  })

  test('munmap of a part is -EINVAL, a mapping over a part -ENOMEM', () => {
    const f = new HugetlbFixture(8)
    f.map(0, 1)
    expect(outcome(() => f.process.munmap(small(0), 4096))).toBe('EINVAL')
    expect(outcome(() => f.process.munmap(small(300), 300 * 4096))).toBe('EINVAL')
    expect(outcome(() => f.process.mmap({ addr: small(300), length: 4096, fixed: true }))).toBe('ENOMEM')
    expect(outcome(() => f.process.mmap({ addr: small(1), length: PMD_SIZE, fixed: true, hugetlb: true }))).toBe(
      'EINVAL',
    )
    expect(f.state(1)[0]).toBe('t')
    f.end()
  })

  test('mmap rounds the length up and finds an aligned place', () => {
    const f = new HugetlbFixture(8)
    const addr = f.process.mmap({ length: 4096, hugetlb: true })
    expect(addr % PMD_SIZE).toBe(0)
    f.process.store32(addr + PMD_SIZE - 4, 1)
    expect(f.pool.nfree).toBe(7)
    f.end()
  })

  test('MADV_DONTNEED drops whole huge pages; the promise for them is used up', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 2)
    f.process.store32(huge(0), 1)
    f.process.store32(huge(1), 1)
    const watcher = watch(f.process)
    expect(outcome(() => f.process.madvise(small(1), PMD_SIZE, MADV_DONTNEED))).toBe('EINVAL')
    f.process.madvise(huge(0), 4096, MADV_DONTNEED)
    expect(watcher.takeEvents()).toEqual(NO_EVENTS)
    f.process.madvise(huge(0), PMD_SIZE + 4096, MADV_DONTNEED)
    expect(watcher.takeEvents()).toEqual(['CLEAR 0-512', 'UNMAP 0-512'])
    expect(f.state(2)[0]).toBe('tP')
    expect(f.pool).toEqual({ npages: 2, nfree: 1, reserved: 0 })
    const other = f.machine.createProcess()
    other.mmap({ addr: huge(0), length: PMD_SIZE, fixed: true, hugetlb: true })
    expect(f.process.tryLoad32(huge(0))).toBe(ACCESS_SIGBUS)
    f.end()
  })

  test('other advice about reclaim is refused', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 1)
    expect(outcome(() => f.process.madvise(huge(0), PMD_SIZE, MADV_FREE))).toBe('EINVAL')
    expect(outcome(() => f.process.madvise(huge(0), PMD_SIZE, MADV_PAGEOUT))).toBe('EINVAL')
    f.end()
  })

  test('mlock populates a part of a huge page without splitting the mapping', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 2)
    f.process.mlock(small(5), 4096)
    expect(f.state(2)[0]).toBe('Pt')
    expect(f.process.mm.vmas).toHaveLength(1)
    f.end()
  })
})

describe('makeDeviceExclusiveRange() of hugetlb pages', () => {
  test('faults them in for writing and then leaves them to the CPU, without an event (EX-3)', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 2)
    const watcher = watch(f.process)
    const pages: number[] = []
    f.process.mm.mmapLock.tryRead()
    expect(makeDeviceExclusiveRange(f.process.mm, small(511), small(514), pages, null)).toBe(3)
    f.process.mm.mmapLock.unlockRead()
    expect(pages).toEqual([-1, -1, -1])
    expect(f.state(2)).toEqual(['PP', '77', '99'])
    expect(watcher.takeEvents()).toEqual(NO_EVENTS)
    f.end()
  })
})

describe('pinUserPages() of hugetlb pages', () => {
  test('counts each page on the whole', () => {
    const f = new HugetlbFixture(2)
    f.map(0, 1)
    const pins = f.process.pin(small(7), 16, { write: true })
    const head = f.head(0)
    expect(pins.pfns).toEqual(Array.from({ length: 16 }, (_, i) => head + 7 + i))
    f.held.set(head, 16)
    expect(f.state(1)).toEqual(['P', 'f', '9'])
    f.process.munmap(huge(0), PMD_SIZE)
    expect(f.pool.nfree).toBe(1)
    pins.unpin()
    f.held.clear()
    expect(f.pool.nfree).toBe(2)
    f.end()
  })

  test('a pin for reading gives the process a copy of a page that it shares with its child', () => {
    const f = new HugetlbFixture(4)
    f.map(0, 1)
    f.process.store32(small(9), 1)
    const child = f.process.fork()
    const watcher = watch(f.process)
    const pins = f.process.pin(small(9), 1, { write: false })
    f.held.set(f.head(0), 1)
    expect(watcher.takeEvents()).toEqual(['CLEAR 0-512'])
    expect(f.state(1)).toEqual(['p', 'f', '9'])
    expect(f.state(1, child)).toEqual(['p', '5', '9'])
    expect(pins.pfns).toEqual([f.head(0) + 9])
    pins.unpin()
    f.held.clear()
    f.end()
  })

  test('a pin for writing needs a mapping that can be written', () => {
    const f = new HugetlbFixture(4)
    f.map(0, 1, { prot: PROT_READ })
    expect(outcome(() => f.process.pin(huge(0), 1, { write: true }))).toBe('EFAULT')
    expect(f.process.pin(huge(0), 1, { write: false }).pfns).toEqual([f.head(0)])
    f.process.unpinAll()
    f.end()
  })
})
