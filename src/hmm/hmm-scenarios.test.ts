// Range faults over what other parts of mm leave behind: fork, migration to device memory, exclusive access, swap, huge pages.

import { describe, expect, it } from 'vitest'
import { BASE, F, FW, HmmFixture, RW, tokens } from '../../test/helpers/hmm-fixture.ts'
import { PAGE_SIZE, type Pfn } from '../base/addr.ts'
import { EAGAIN, EBUSY, EFAULT, EPERM } from '../base/errno.ts'
import { makeDeviceExclusiveRange } from '../mm/exclusive.ts'
import { forkMm } from '../mm/fork.ts'
import { mmMadvise } from '../mm/madvise.ts'
import { MEMORY_DEVICE_PRIVATE, memremapPages, zoneDevicePageInit } from '../mm/memremap.ts'
import {
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  makeMigrateVma,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from '../mm/migrate-device.ts'
import { MIGRATE_PFN_MIGRATE, migratePfn } from '../mm/migrate-pfn.ts'
import type { Mm } from '../mm/mm.ts'
import { mmput } from '../mm/mmap.ts'
import { MMU_NOTIFY_CLEAR, MMU_NOTIFY_EXCLUSIVE, MMU_NOTIFY_MIGRATE } from '../mm/mmu-notifier.ts'
import { mmMprotect } from '../mm/mprotect.ts'
import { allocPage, putPage, unlockPage } from '../mm/page-alloc.ts'
import { ShmemFile } from '../mm/shmem.ts'
import { validateSystem } from '../mm/validate.ts'
import type { VmFault } from '../mm/vm-fault.ts'
import type { Vma } from '../mm/vma.ts'
import {
  MADV_HWPOISON,
  MADV_PAGEOUT,
  MAP_ANONYMOUS,
  MAP_HUGETLB,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ,
} from '../uapi/mman.ts'
import { hmmPfnAt, hmmPfnToPfn } from './hmm-pfn.ts'

/** Device-private memory with a driver that migrates single pages to it, and back when the CPU touches one. */
class Device {
  readonly owner = { name: 'device' }
  private readonly fixture: HmmFixture
  private readonly free: Pfn[] = []

  constructor(fixture: HmmFixture) {
    this.fixture = fixture
    const pagemap = memremapPages(fixture.sys, {
      type: MEMORY_DEVICE_PRIVATE,
      npages: 16,
      owner: this.owner,
      ops: { pageFree: (pfn) => this.free.push(pfn), migrateToRam: (vmf) => this.migrateToRam(vmf) },
    })
    if (typeof pagemap === 'number') throw new Error(`memremap returned ${pagemap}`)
    for (let pfn = pagemap.pfn; pfn < pagemap.pfn + 16; pfn++) this.free.push(pfn)
  }

  /** Migrates one page of the arena; returns its device frame. */
  take(page: number): Pfn {
    const { fixture } = this
    const vma = fixture.mm.vmaLookup(fixture.addr(page))
    const pfn = this.free.pop()
    if (vma === null || pfn === undefined) throw new Error(`page ${page} cannot migrate`)
    this.migrate(vma, page, MIGRATE_VMA_SELECT_SYSTEM, -1, () => {
      zoneDevicePageInit(fixture.sys, pfn)
      return pfn
    })
    return pfn
  }

  private migrateToRam(vmf: VmFault): number {
    const { mm } = vmf.vma
    const page = (vmf.address - BASE) / PAGE_SIZE
    this.migrate(vmf.vma, page, MIGRATE_VMA_SELECT_DEVICE_PRIVATE, vmf.page, () => {
      const pfn = allocPage(mm, vmf.address)
      mm.sys.pages.trylock(pfn)
      mm.sys.mmu.clearFrame(pfn)
      return pfn
    })
    return 0
  }

  private migrate(vma: Vma, page: number, select: number, faultPage: Pfn, alloc: () => Pfn): void {
    const start = this.fixture.addr(page)
    const args = makeMigrateVma(vma, start, start + PAGE_SIZE, this.owner, select)
    args.faultPage = faultPage
    expect(vma.mm.mmapLock.tryRead(true)).toBe(true)
    expect(migrateVmaSetup(args)).toBe(0)
    if ((args.src[0] & BigInt(MIGRATE_PFN_MIGRATE)) !== 0n) args.dst[0] = migratePfn(alloc())
    migrateVmaPages(args)
    migrateVmaFinalize(args)
    vma.mm.mmapLock.unlockRead()
  }
}

/** Exclusive access to page 0: its frame, locked and with a reference. */
function takeExclusive({ mm }: HmmFixture): Pfn[] {
  const pages: Pfn[] = []
  expect(mm.mmapLock.tryRead()).toBe(true)
  expect(makeDeviceExclusiveRange(mm, BASE, BASE + PAGE_SIZE, pages, 'me')).toBe(1)
  mm.mmapLock.unlockRead()
  return pages
}

function fork(fixture: HmmFixture): Mm {
  const child = forkMm(fixture.mm)
  if (typeof child === 'number') throw new Error(`fork returned ${child}`)
  return child
}

describe('hmmRangeFault() after fork', () => {
  it('copies pages that a living child shares: -EBUSY, then 0 (TS-45)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 3)
    fixture.touch(0, 3, 'write')
    fork(fixture)
    fixture.events.length = 0
    expect(fixture.fault61(0, 3, { default: FW }).result).toBe(-EBUSY)
    expect(fixture.events).toEqual([0, 1, 2].map((page) => [MMU_NOTIFY_CLEAR, page, page + 1]))
    const answer = fixture.fault61(0, 3, { default: FW })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, 'VW:0 VW:1 VW:2'])
    validateSystem(fixture.sys, { level: 'full', heldReferences: () => 0 })
  })

  it('takes the pages over when the child is gone: 0 at once, no event (TS-45)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 3)
    fixture.touch(0, 3, 'write')
    const before = [0, 1, 2].map((page) => fixture.entryPfn(page))
    mmput(fork(fixture))
    fixture.events.length = 0
    const answer = fixture.fault61(0, 3, { default: FW })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, 'VW:0 VW:1 VW:2'])
    expect([0, 1, 2].map((page) => fixture.entryPfn(page))).toEqual(before)
    expect(fixture.events).toEqual([])
  })

  it('only reads pages that are shared where only reading is asked for', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 2)
    fixture.touch(0, 2, 'write')
    fork(fixture)
    const answer = fixture.fault61(0, 2, { default: F })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, 'V:0 V:1'])
  })
})

describe('hmmRangeFault() over device-private memory', () => {
  it('reports a page of the owner that fork made read-only without WRITE, although it is asked for (TS-47, RF-64)', () => {
    const fixture = new HmmFixture()
    const device = new Device(fixture)
    fixture.map(0, 1)
    fixture.touch(0, 1, 'write')
    const pfn = device.take(0)
    const { owner } = device
    const own = fixture.range61(0, 1, { default: FW, owner })
    expect(fixture.call(own).result).toBe(0)
    expect([hmmPfnToPfn(hmmPfnAt(own.hmmPfns, 0)), own.hmmPfns[0] >> 62n]).toEqual([pfn, 3n])

    fork(fixture)
    const shared = fixture.fault61(0, 1, { default: FW, owner })
    expect(shared).toEqual({ result: 0, entries: [(1n << 63n) | BigInt(pfn)] })
  })

  it('brings a page of somebody else back and copies it: -EBUSY, then a writable system page (TS-47, MG-94)', () => {
    const fixture = new HmmFixture()
    const device = new Device(fixture)
    fixture.map(0, 1)
    fixture.touch(0, 1, 'write')
    device.take(0)
    fork(fixture)
    fixture.events.length = 0
    const answers = [fixture.fault61(0, 1, { default: FW })]
    while (answers.at(-1)?.result === -EBUSY) answers.push(fixture.fault61(0, 1, { default: FW }))
    expect(answers.map(({ result }) => result)).toEqual([-EBUSY, -EBUSY, 0])
    expect(fixture.events[0]).toEqual([MMU_NOTIFY_MIGRATE, 0, 1])
    expect(fixture.events.at(-1)).toEqual([MMU_NOTIFY_CLEAR, 0, 1])
    const last = answers.at(-1)
    expect(last !== undefined && tokens(fixture, last)).toBe('VW:0')
    validateSystem(fixture.sys, { level: 'full', heldReferences: () => 0 })
  })

  it('waits for a migration that is open, and goes on when it is finished (RF-63)', () => {
    const fixture = new HmmFixture()
    const vma = fixture.map(0, 4)
    fixture.touch(0, 4, 'write')
    const args = makeMigrateVma(vma, fixture.addr(2), fixture.addr(3), null, MIGRATE_VMA_SELECT_SYSTEM)
    expect(fixture.mm.mmapLock.tryRead()).toBe(true)
    expect(migrateVmaSetup(args)).toBe(0)
    const waiting = fixture.fault61(0, 4, { default: FW })
    expect([waiting.result, waiting.entries[1] >> 62n, waiting.entries[2]]).toEqual([-EAGAIN, 3n, 0n])
    let woken = 0
    fixture.sys.waitFor?.add(() => woken++)
    migrateVmaPages(args)
    migrateVmaFinalize(args)
    fixture.mm.mmapLock.unlockRead()
    expect(woken).toBe(1)
    const answer = fixture.fault61(0, 4, { default: FW })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, 'VW:0 VW:1 VW:2 VW:3'])
  })
})

describe('hmmRangeFault() over device-exclusive pages (RF-66)', () => {
  it('takes the page back: EXCLUSIVE with no owner, -EBUSY, then the page', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 1)
    fixture.touch(0, 1, 'write')
    const pages = takeExclusive(fixture)
    unlockPage(fixture.sys, pages[0])
    putPage(fixture.sys, pages[0])
    expect(fixture.fault61(0, 1).entries).toEqual([0n])
    fixture.events.length = 0
    expect(fixture.fault61(0, 1, { default: F }).result).toBe(-EBUSY)
    expect(fixture.events).toEqual([[MMU_NOTIFY_EXCLUSIVE, 0, 1]])
    expect(fixture.fault61(0, 1, { default: FW })).toEqual({ result: 0, entries: [(3n << 62n) | BigInt(pages[0])] })
    validateSystem(fixture.sys, { level: 'full', heldReferences: () => 0 })
  })

  it('waits while the driver still holds the page (EX-7)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 1)
    fixture.touch(0, 1, 'write')
    const pages = takeExclusive(fixture)
    expect(fixture.fault61(0, 1, { default: F }).result).toBe(-EAGAIN)
    let woken = 0
    fixture.sys.waitFor?.add(() => woken++)
    unlockPage(fixture.sys, pages[0])
    putPage(fixture.sys, pages[0])
    expect(woken).toBe(1)
  })
})

describe('hmmRangeFault() over swapped and poisoned pages', () => {
  it('brings a swapped page back without an event (RF-62, MN-70)', () => {
    const fixture = new HmmFixture({ swapPages: 64 })
    fixture.map(0, 2)
    fixture.touch(0, 2, 'write')
    expect(mmMadvise(fixture.mm, fixture.addr(0), 2 * PAGE_SIZE, MADV_PAGEOUT)).toBe(0)
    expect(fixture.fault61(0, 2).entries).toEqual([0n, 0n])
    fixture.events.length = 0
    const answer = fixture.fault61(0, 2, { default: FW })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, 'VW:0 VW:1'])
    expect(fixture.events).toEqual([])
    validateSystem(fixture.sys, { level: 'full', heldReferences: () => 0 })
  })

  it('refuses a poisoned page on request and shows nothing in a snapshot (RF-67, CP-75)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 3)
    fixture.touch(0, 3, 'write')
    expect(mmMadvise(fixture.mm, fixture.addr(1), PAGE_SIZE, MADV_HWPOISON)).toBe(0)
    expect(tokens(fixture, fixture.fault61(0, 3))).toBe('VW:0 0 VW:1')
    const answer = fixture.fault61(0, 3, { default: F })
    expect([answer.result, tokens(fixture, answer)]).toEqual([-EFAULT, 'VW:0 u u'])
  })
})

describe('hmmRangeFault() over files', () => {
  it('maps neighbours of a page that is read, also outside the range (CP-14, RF-47)', () => {
    const fixture = new HmmFixture()
    const file = new ShmemFile(fixture.sys, 'data', 16)
    for (let page = 0; page < 16; page++) file.getPage(page)
    fixture.map(0, 16, RW, MAP_SHARED, file)
    const answer = fixture.fault61(2, 2, { default: F })
    expect([answer.result, tokens(fixture, answer)]).toEqual([0, 'VW:0 VW:1']) // shared: with the mapping's protection
    expect(fixture.populated(0, 16).length).toBe(16)
  })

  it('writes to a shared mapping without an event, and copies a private one with one (CP-8, CP-9)', () => {
    const fixture = new HmmFixture()
    const file = new ShmemFile(fixture.sys, 'data', 4)
    fixture.map(0, 4, RW, MAP_SHARED, file)
    fixture.map(8, 4, RW, MAP_PRIVATE, file)
    fixture.touch(8, 4, 'read')
    expect(fixture.fault61(0, 4, { default: FW }).result).toBe(0)
    expect(fixture.events).toEqual([])
    expect(fixture.fault61(8, 4, { default: FW }).result).toBe(-EBUSY)
    expect(fixture.events).toEqual([8, 9, 10, 11].map((page) => [MMU_NOTIFY_CLEAR, page, page + 1]))
  })

  it('returns -EFAULT beyond the end of the file, with what came before in place', () => {
    const fixture = new HmmFixture()
    const file = new ShmemFile(fixture.sys, 'data', 2)
    fixture.map(0, 4, RW, MAP_SHARED, file)
    expect(fixture.fault61(0, 4, { default: FW }).result).toBe(-EFAULT)
    expect(fixture.populated(0, 4)).toEqual([0, 1])
  })
})

describe('hmmRangeFault() after mprotect', () => {
  it('follows the mapping: read-only refuses writing, without access refuses all (TS-46, RF-50)', () => {
    const fixture = new HmmFixture()
    fixture.map(0, 2)
    fixture.touch(0, 2, 'write')
    expect(mmMprotect(fixture.mm, fixture.addr(0), 2 * PAGE_SIZE, PROT_READ)).toBe(0)
    expect(tokens(fixture, fixture.fault61(0, 2))).toBe('V:0 V:1')
    expect(fixture.fault61(0, 2, { default: FW }).result).toBe(-EPERM)
    expect(mmMprotect(fixture.mm, fixture.addr(0), 2 * PAGE_SIZE, 0)).toBe(0)
    expect(tokens(fixture, fixture.fault61(0, 2))).toBe('E E')
    expect(fixture.fault61(0, 2, { default: F }).result).toBe(-EFAULT)
    expect(mmMprotect(fixture.mm, fixture.addr(0), 2 * PAGE_SIZE, RW)).toBe(0)
    expect(tokens(fixture, fixture.fault61(0, 2))).toBe('VW:0 VW:1') // dirty and exclusive (CP-85)
  })
})

describe('hmmRangeFault() over huge pages', () => {
  it('faults a huge page in and reports its order (RF-24, TS-8)', () => {
    const fixture = new HmmFixture({ thp: 'always', nframes: 16384 })
    fixture.map(0, 1024)
    const answer = fixture.fault61(256, 512, { default: FW })
    expect(answer.result).toBe(0)
    expect(answer.entries.every((entry) => entry >> 56n === 0xc9n)).toBe(true)
    const first = answer.entries[0] & 0xffff_ffffn
    expect(answer.entries[1] & 0xffff_ffffn).toBe(first + 1n)
    validateSystem(fixture.sys, { level: 'full' })
  })

  it('reads the huge zero page, and replaces it for writing (CP-2, RF-74)', () => {
    const fixture = new HmmFixture({ thp: 'always', nframes: 16384 })
    fixture.map(0, 512)
    expect(fixture.fault61(0, 4, { default: F }).entries.every((entry) => entry >> 56n === 0x89n)).toBe(true)
    const requests = [0n, FW, 0n, 0n]
    expect(fixture.fault61(0, 4, { mask: FW, requests }).result).toBe(-EBUSY)
    const answer = fixture.fault61(0, 4, { mask: FW, requests })
    expect(answer.result).toBe(0)
    expect(answer.entries[1] >> 62n).toBe(3n)
  })

  it('reports order 0 after the mapping was split (CP-76)', () => {
    const fixture = new HmmFixture({ thp: 'always', nframes: 16384 })
    fixture.map(0, 512)
    fixture.touch(0, 1, 'write')
    expect(mmMprotect(fixture.mm, fixture.addr(7), PAGE_SIZE, PROT_READ)).toBe(0)
    const answer = fixture.fault61(6, 3)
    expect(answer.entries.map((entry) => entry >> 56n)).toEqual([0xc0n, 0x80n, 0xc0n])
  })

  it('reports hugetlb pages, and faults what is not there (RF-78, TS-9, TS-23)', () => {
    const fixture = new HmmFixture({ hugetlbPages: 2 })
    fixture.map(0, 512, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB)
    const answer = fixture.fault61(510, 2, { default: FW })
    expect(answer.result).toBe(0)
    expect(answer.entries.map((entry) => entry >> 56n)).toEqual([0xc9n, 0xc9n])
    expect((answer.entries[1] & 511n) - (answer.entries[0] & 511n)).toBe(1n)
    expect(mmMprotect(fixture.mm, fixture.addr(0), 512 * PAGE_SIZE, PROT_READ)).toBe(0)
    expect(fixture.fault61(0, 1).entries[0] >> 56n).toBe(0x89n)
    validateSystem(fixture.sys, { level: 'full' })
  })
})
