// Getting hold of pages: what a pin makes of them, where long pins take them, and that a call that fails holds nothing.

import { describe, expect, it } from 'vitest'
import { MmFixture } from '../../test/helpers/mm-fixture.ts'
import { PAGE_SIZE, type Pfn } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { EAGAIN, EBUSY, EFAULT, EHWPOISON, EINVAL } from '../base/errno.ts'
import type { WaitQueue } from '../base/wait-queue.ts'
import { WouldWait } from '../machine/signals.ts'
import { MADV_HWPOISON, PROT_NONE, PROT_READ } from '../uapi/mman.ts'
import { FOLL_HWPOISON, getUserPages, getUserPagesRemote, pinUserPages, unpinUserPage } from './gup.ts'
import { remapPfnRange } from './insert.ts'
import { isDeviceCoherentPage } from './memremap.ts'
import { allocKernelPage, putPage, unlockPage } from './page-alloc.ts'
import { PTE_KIND_MIGRATION } from './pte.ts'

const COHERENT = 2

describe('pinUserPages(), for a short time', () => {
  it('holds the pages that are there, coherent device pages too (DM-13)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    fixture.migrateToDev(COHERENT, 1, 1)
    const unpin = fixture.pin(0, 2)
    expect([fixture.pte(0, 2), fixture.counts(0), fixture.counts(1)]).toEqual(['wG', '1025/1', '1025/1'])
    unpin()
    fixture.finish()
  })

  it('takes private device pages to system memory, as a touch does (DM-13)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0, 1, 7)
    fixture.migrateToDev(0, 0, 1)
    const unpin = fixture.pin(0, 1)
    expect([fixture.pte(0, 1), fixture.load(0)]).toEqual(['w', [7]])
    unpin()
    fixture.finish()
  })

  it('for writing equals a write fault of each page (CP-77)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 3)
    fixture.load(1)
    fixture.store(2, 1, 7)
    const child = fixture.fork()
    const events = fixture.eventsOf(() => fixture.pin(0, 3)())
    expect(events).toEqual(['CLEAR 1-2 of 0-3', 'CLEAR 2-3 of 0-3'])
    expect([fixture.pte(0, 3), fixture.pte(0, 3, child)]).toEqual(['www', '-zr'])
    fixture.finish()
  })

  it('for reading maps the zero page, and makes a shared page exclusive by a copy (CP-77)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(1, 1, 7)
    const child = fixture.fork()
    const events = fixture.eventsOf(() =>
      fixture.step(() => fixture.process.pin(fixture.addr(1), 1, { write: false }).unpin()),
    )
    expect(events).toEqual(['CLEAR 1-2 of 0-2'])
    expect([fixture.pte(0, 2), fixture.attr(1, 1), fixture.pfn(1) === fixture.pfn(1, child)]).toEqual([
      '-r',
      '7',
      false,
    ])
    const zero: Pfn[] = []
    expect(fixture.step(() => getUserPages(fixture.mm, fixture.addr(0), 1, 0, zero))).toBe(1)
    expect([fixture.pte(0, 1), zero]).toEqual(['z', [fixture.sys.zeroPfn]])
    fixture.finish()
  })
})

describe('pinUserPages(), for a long time', () => {
  it('moves coherent device pages to system memory first, with their contents (DM-13, MG-102)', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 4)
    fixture.store(0, 4, 10)
    fixture.migrateToDev(COHERENT, 1, 2)
    expect(fixture.pte(0, 4)).toBe('wGGw')
    const events = fixture.eventsOf(() => fixture.pin(0, 4, { write: true, longterm: true })())
    expect(events).toEqual(['CLEAR 1-2 of 0-4', 'CLEAR 2-3 of 0-4'])
    expect([fixture.pte(0, 4), fixture.load(0, 4)]).toEqual(['wwww', [10, 11, 12, 13]])
    expect(fixture.device(COHERENT).npagesUsed).toBe(0)
    fixture.finish()
  })

  it('moves pages that fork shares as well', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.store(0, 1, 10)
    fixture.migrateToDev(COHERENT, 0, 1)
    const child = fixture.fork()
    fixture.step(() => fixture.process.pin(fixture.addr(0), 1, { write: true, longterm: true }).unpin())
    expect([fixture.pte(0, 1), fixture.load(0, 1, child)]).toEqual(['w', [10]])
    fixture.finish()
  })

  it('without coherent pages moves nothing', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.store(0, 2)
    expect(fixture.eventsOf(() => fixture.pin(0, 2, { write: true, longterm: true })())).toEqual([])
    fixture.finish()
  })

  /** Pages 0 and 3 in system memory, 1 and 2 in coherent memory; `pin` asks for all of them and lets them go again. */
  function mixed(): { fixture: MmFixture; pin: () => { ret: number; pfns: Pfn[] } } {
    const fixture = new MmFixture({ memory: '256 KiB' })
    fixture.mmap(0, 4)
    fixture.store(0, 4, 10)
    fixture.migrateToDev(COHERENT, 1, 2)
    const pin = () => {
      const pfns: Pfn[] = []
      const ret = pinUserPages(fixture.mm, fixture.addr(0), 4, { write: true, longterm: true }, pfns)
      for (const pfn of pfns) unpinUserPage(fixture.sys, pfn)
      fixture.validate()
      return { ret, pfns }
    }
    return { fixture, pin }
  }

  it('-EBUSY if somebody else holds a page: no pin is left, what moved before stays moved (DM-13)', () => {
    const { fixture, pin } = mixed()
    fixture.hold(fixture.pfn(2), 2) // one more than a device page may have (MG-40)
    expect(pin()).toEqual({ ret: -EBUSY, pfns: [] })
    expect([fixture.pte(0, 4), fixture.counts(0), fixture.counts(2), fixture.counts(3)]).toEqual([
      'wwGw',
      '1/1',
      '3/1',
      '1/1',
    ])
    fixture.hold(fixture.pfn(2), -2)
    const { ret, pfns } = pin()
    expect([ret, pfns.some((pfn) => isDeviceCoherentPage(fixture.sys, pfn))]).toEqual([4, false])
    fixture.finish()
  })

  it('-EBUSY at the first page leaves the later ones alone', () => {
    const { fixture, pin } = mixed()
    fixture.hold(fixture.pfn(1), 2)
    expect(pin()).toEqual({ ret: -EBUSY, pfns: [] })
    expect([fixture.pte(0, 4), fixture.counts(1), fixture.counts(2)]).toEqual(['wGGw', '3/1', '1/1'])
    fixture.hold(fixture.pfn(1), -2)
    fixture.finish()
  })

  it('-EBUSY if system memory is full', () => {
    const { fixture, pin } = mixed()
    for (let pfn = allocKernelPage(fixture.sys); pfn >= 0; pfn = allocKernelPage(fixture.sys)) fixture.held.set(pfn, 1)
    expect(pin()).toEqual({ ret: -EBUSY, pfns: [] })
    expect([fixture.pte(0, 4), fixture.counts(1), fixture.counts(2)]).toEqual(['wGGw', '1/1', '1/1'])
    for (const pfn of fixture.held.keys()) putPage(fixture.sys, pfn)
    fixture.held.clear()
    fixture.finish()
  })

  it('-EAGAIN while a page is locked, and says whom to wait for', () => {
    const { fixture, pin } = mixed()
    const pfn = fixture.pfn(1)
    expect(fixture.sys.pages.trylock(pfn)).toBe(true)
    fixture.sys.waitFor = null
    expect(pin()).toEqual({ ret: -EAGAIN, pfns: [] })
    expect([fixture.pte(0, 4), fixture.counts(1), fixture.counts(2)]).toEqual(['wGGw', '1/1', '1/1'])
    let woken = 0
    const { waitFor } = fixture.sys as { waitFor: WaitQueue | null } // pin() has set it
    assert(waitFor !== null, 'there is somebody to wait for')
    waitFor.add(() => woken++)
    const wanted = { write: true, longterm: true }
    expect(() => fixture.process.pin(fixture.addr(0), 4, wanted)).toThrow(WouldWait)
    unlockPage(fixture.sys, pfn)
    expect(woken).toBe(1)
    expect(pin().ret).toBe(4)
    fixture.finish()
  })
})

describe('getUserPages()', () => {
  const read = (fixture: MmFixture, page: number, npages: number, flags = 0): [number, Pfn[]] => {
    const out: Pfn[] = []
    return [getUserPages(fixture.mm, fixture.addr(page), npages, flags, out), out]
  }

  it('stops at the first page that it cannot have, and says how far it came', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 2)
    fixture.mmap(3, 1, { prot: PROT_NONE })
    fixture.mmap(4, 1, { prot: PROT_READ })
    fixture.store(0, 2)
    expect(read(fixture, 0, 4)).toEqual([2, [fixture.pfn(0), fixture.pfn(1)]])
    expect(read(fixture, 2, 1)).toEqual([-EFAULT, []]) // no mapping
    expect(read(fixture, 3, 1)).toEqual([-EFAULT, []]) // no access
    expect(getUserPagesRemote(fixture.mm, fixture.addr(4), 1, 1, [])).toBe(-EFAULT) // no write access
    expect(read(fixture, 0, 0)).toEqual([0, []])
    for (const npages of [-1, Number.NaN, 0.5, Number.POSITIVE_INFINITY]) {
      expect(read(fixture, 0, npages)).toEqual([-EINVAL, []])
    }
    fixture.validate()
    fixture.finish()
  })

  it('refuses raw frames, broken memory, and reports a migration to wait for', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    fixture.step(() => remapPfnRange(fixture.vma(0), fixture.addr(0), 777, 1))
    expect(read(fixture, 0, 1)).toEqual([-EFAULT, []])
    fixture.mmap(1, 2)
    fixture.store(1, 2)
    fixture.held.set(fixture.pfn(1), 1)
    fixture.madvise(1, 1, MADV_HWPOISON)
    expect(read(fixture, 1, 1)).toEqual([-EFAULT, []])
    expect(read(fixture, 1, 1, FOLL_HWPOISON)).toEqual([-EHWPOISON, []])
    const [flags, pfn] = [fixture.flags(2), fixture.pfn(2)]
    fixture.setEntry(2, PTE_KIND_MIGRATION, pfn)
    fixture.sys.waitFor = null
    expect([read(fixture, 2, 1), fixture.sys.waitFor === null]).toEqual([[-EAGAIN, []], false])
    fixture.setEntry(2, flags, pfn)
    fixture.finish()
  })

  it('an address that is no page is refused by pinUserPages()', () => {
    const fixture = new MmFixture()
    fixture.mmap(0, 1)
    for (const [start, npages] of [
      [fixture.addr(0) + 1, 1],
      [fixture.addr(0), 0],
      [fixture.addr(0), -1],
      [Number.NaN, 1],
      [fixture.addr(0), Number.NaN],
      [fixture.addr(0), Number.POSITIVE_INFINITY],
    ]) {
      expect(pinUserPages(fixture.mm, start, npages, { write: true }, [])).toBe(-EINVAL)
    }
    expect([fixture.pte(0, 1), fixture.mm.hasPinned]).toEqual(['t', false])
    expect(pinUserPages(fixture.mm, fixture.addr(0) - PAGE_SIZE, 1, { write: true }, [])).toBe(-EFAULT)
    fixture.finish()
  })
})
