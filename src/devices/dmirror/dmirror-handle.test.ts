import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { DmirrorFixture, pattern } from '../../../test/helpers/dmirror-fixture.ts'
import { Watcher } from '../../../test/helpers/watcher.ts'
import { type Addr, addrToVpn, PAGE_SIZE, PMD_SIZE, pmdAlignUp } from '../../base/addr.ts'
import { EAGAIN, EBUSY, EINVAL, ENOMEM } from '../../base/errno.ts'
import { ACCESS_OUT_OF_MEMORY } from '../../machine/page-fault.ts'
import {
  MMU_NOTIFY_UNMAP,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from '../../mm/mmu-notifier.ts'
import { MADV_DONTNEED, MADV_HUGEPAGE, PROT_READ, PROT_WRITE } from '../../uapi/mman.ts'
import { DmirrorDevice } from './dmirror-device.ts'
import type { DmirrorHandle } from './dmirror-handle.ts'
import { TAG_ATOMIC, TAG_READ, TAG_WRITE } from './mirror-table.ts'

const RW = PROT_READ | PROT_WRITE

let f: DmirrorFixture
let dev0: DmirrorHandle

beforeEach(() => {
  f = new DmirrorFixture({ memory: '24 MiB', chunkPages: 64, thp: 'madvise' })
  dev0 = f.open(0)
})

afterEach(() => {
  f.finish()
})

/** A mapping of `npages` pages that the CPU wrote to: the first word of page i is i + 1. */
function written(npages: number, prot = RW): Addr {
  const addr = f.mmap({ npages })
  for (let i = 0; i < npages; i++) f.store(addr + i * PAGE_SIZE, new Uint32Array([i + 1]))
  if (prot !== RW) f.mprotect(addr, npages, prot)
  return addr
}

function page(addr: Addr, i: number): Addr {
  return addr + i * PAGE_SIZE
}

function firstWords(buffer: Uint8Array): number[] {
  const view = new DataView(buffer.buffer)
  return Array.from({ length: buffer.length / PAGE_SIZE }, (_, i) => view.getUint32(i * PAGE_SIZE, true))
}

/** Mirror table of `npages` pages: `-` no entry, `r`, `w`, or `a` for exclusive. */
function tableOf(handle: DmirrorHandle, addr: Addr, npages: number): string {
  const letters: Record<number, string> = { [TAG_READ]: 'r', [TAG_WRITE]: 'w', [TAG_ATOMIC]: 'a', [-1]: '-' }
  return Array.from({ length: npages }, (_, i) => letters[handle.table.tagOf(addrToVpn(addr) + i)]).join('')
}

describe('every command (TD-9)', () => {
  const buffer = new Uint8Array(4 * PAGE_SIZE)

  it.each([0, 1, 2, 3, 4, 5, 6, 7])('number %i refuses a bad range with EINVAL', (command) => {
    const addr = written(1)
    for (const [at, npages] of [
      [addr + 1, 1],
      [addr, 0],
      [addr, -1],
      [addr, 0.5],
      [addr, 2 ** 52],
      [-PAGE_SIZE, 1],
      [Number.NaN, 1],
    ]) {
      expect(dev0.ioctl(command, at, npages, buffer)).toEqual({ ret: -EINVAL, cpages: 0, faults: 0 })
    }
  })

  it('refuses an unknown number with EINVAL', () => {
    expect(f.errnoOf(() => dev0.ioctl(8, f.mmap({ npages: 1 }), 1, buffer))).toBe('EINVAL')
  })

  it('reports a missing or short buffer with EFAULT, after the work is done where it copies out', () => {
    const addr = written(2)
    const short = new Uint8Array(PAGE_SIZE)
    expect(f.errnoOf(() => dev0.write(addr, 2, short))).toBe('EFAULT')
    expect(f.errnoOf(() => dev0.snapshot(addr, 2, new Uint8Array(1)))).toBe('EFAULT')
    expect(tableOf(dev0, addr, 2)).toBe('--')
    expect(f.errnoOf(() => dev0.read(addr, 2, null))).toBe('EFAULT')
    expect(tableOf(dev0, addr, 2)).toBe('ww')
    expect(f.errnoOf(() => dev0.migrateToDev(addr, 2, short))).toBe('EFAULT')
    expect(f.pte(addr, 2)).toBe('DD')
  })

  it('refuses a range that no buffer could hold with ENOMEM', () => {
    expect(dev0.read(0, 2 ** 40, null).ret).toBe(-ENOMEM)
  })

  it('does nothing for a dead address space', () => {
    const child = f.fork()
    const handle = f.open(0, child)
    const addr = 0x10000
    f.step(() => child.exit())
    expect(f.errnoOf(() => handle.read(addr, 1, buffer))).toBe('EFAULT')
    expect(f.errnoOf(() => handle.write(addr, 1, buffer))).toBe('EFAULT')
    expect(f.errnoOf(() => handle.migrateToDev(addr, 1, buffer))).toBe('EINVAL')
    expect(f.errnoOf(() => handle.migrateToSys(addr, 1))).toBe('EINVAL')
    expect(f.errnoOf(() => handle.snapshot(addr, 1, buffer))).toBe('EINVAL')
    expect(f.errnoOf(() => handle.exclusive(addr, 1, buffer))).toBe('EINVAL')
    expect(f.devices[0].open(child.mm)).toBe(-EINVAL)
    f.close(handle)
  })

  it('returns EAGAIN and names the lock while the address space is being changed', () => {
    const addr = written(1)
    const { mmapLock, sys } = f.process.mm
    expect(mmapLock.tryWrite()).toBe(true)
    for (const command of [
      () => dev0.read(addr, 1, buffer),
      () => dev0.write(addr, 1, buffer),
      () => dev0.snapshot(addr, 1, buffer),
      () => dev0.migrateToDev(addr, 1, buffer),
      () => dev0.migrateToSys(addr, 1),
      () => dev0.exclusive(addr, 1, buffer),
    ]) {
      sys.waitFor = null
      expect(command().ret).toBe(-EAGAIN)
      expect(sys.waitFor).toBe(mmapLock.released)
    }
    mmapLock.unlockWrite()
    expect(f.read(dev0, addr, 1).cpages).toBe(1)
  })

  it('is refused after close, and a second close does nothing', () => {
    const handle = f.open(0)
    f.close(handle)
    expect(handle.close()).toBe(0)
    expect(f.errnoOf(() => handle.read(f.mmap({ npages: 1 }), 1, buffer))).toBe('EINVAL')
  })
})

describe('READ and WRITE', () => {
  it('count the device faults: one for any number of pages, none for what is in the table', () => {
    const addr = written(130) // three batches
    expect(f.read(dev0, addr, 130)).toMatchObject({ cpages: 130, faults: 1 })
    expect(f.read(dev0, addr, 130)).toMatchObject({ cpages: 130, faults: 0 })
  })

  it('WRITE faults again what READ entered read-only', () => {
    const addr = f.mmap({ npages: 2 })
    expect(firstWords(f.read(dev0, addr, 2).buffer)).toEqual([0, 0])
    expect(tableOf(dev0, addr, 2)).toBe('rr')
    const bytes = new Uint8Array(2 * PAGE_SIZE).fill(7)
    expect(f.write(dev0, addr, 2, bytes)).toMatchObject({ cpages: 2, faults: 1 })
    expect(tableOf(dev0, addr, 2)).toBe('ww')
    expect(f.load(page(addr, 1), 1)[0]).toBe(0x07070707)
  })

  it('keep what was copied before an error', () => {
    const addr = f.mmap({ npages: 2 })
    f.mprotect(page(addr, 1), 1, PROT_READ)
    f.write(dev0, addr, 1, new Uint8Array(PAGE_SIZE).fill(1))
    expect(f.errnoOf(() => dev0.write(addr, 2, new Uint8Array(2 * PAGE_SIZE).fill(2)))).toBe('EPERM')
    expect(f.load(addr, 1)[0]).toBe(0x02020202)
  })

  it('WRITE to an own private page that fork made read-only is EFAULT, without a copy', () => {
    const addr = written(1)
    f.migrateToDev(dev0, addr, 1)
    const child = f.fork()
    expect(f.errnoOf(() => dev0.write(addr, 1, new Uint8Array(PAGE_SIZE)))).toBe('EFAULT')
    expect([f.pte(addr, 1), f.pte(addr, 1, child)]).toEqual(['d', 'd'])
    f.exit(child)
  })

  it('enter the data page of an own private page, so that it can be read', () => {
    const addr = written(2)
    f.migrateToDev(dev0, addr, 2)
    f.mprotect(addr, 2, PROT_READ) // drops the entries, leaves the pages
    expect(tableOf(dev0, addr, 2)).toBe('--')
    const read = f.read(dev0, addr, 2)
    expect([read.faults, firstWords(read.buffer)]).toEqual([1, [1, 2]])
    expect(f.pte(addr, 2)).toBe('dd')
  })

  it('WRITE wants the WRITE tag: an exclusive page is faulted, which ends the exclusive access', () => {
    const addr = written(1)
    f.exclusive(dev0, addr, 1)
    expect(f.write(dev0, addr, 1, new Uint8Array(PAGE_SIZE))).toMatchObject({ faults: 1 })
    expect([f.pte(addr, 1), tableOf(dev0, addr, 1)]).toEqual(['w', 'w'])
  })

  it('give up with EBUSY when the deadline of 1000 ms passes before a batch is done', () => {
    let time = 0
    let stride = 400
    const g = new DmirrorFixture({
      memory: '1 MiB',
      chunkPages: 8,
      now: () => {
        time += stride
        return time
      },
    })
    const handle = g.open(0)
    const addr = g.mmap({ npages: 1 })
    const bytes = new Uint8Array(PAGE_SIZE)
    g.load(addr, 1) // the zero page: a write fault invalidates its own range, so the loop needs a second round
    stride = 600
    expect(g.errnoOf(() => handle.write(addr, 1, bytes))).toBe('EBUSY')
    g.step(() => g.process.madvise(addr, PAGE_SIZE, MADV_DONTNEED))
    g.load(addr, 1)
    stride = 400
    expect(g.write(handle, addr, 1, bytes).faults).toBe(1)
    g.finish()
  })

  it('bring a private page of another device to system memory first', () => {
    const dev1 = f.open(1)
    const addr = written(1)
    f.migrateToDev(dev1, addr, 1)
    const read = f.read(dev0, addr, 1)
    expect([firstWords(read.buffer), f.pte(addr, 1)]).toEqual([[1], 'w'])
    expect(tableOf(dev1, addr, 1)).toBe('-')
  })
})

describe('invalidation', () => {
  it('takes the entry of the page behind the range too (TD-7)', () => {
    const addr = written(6)
    f.read(dev0, addr, 6)
    f.step(() => f.process.madvise(page(addr, 1), 2 * PAGE_SIZE, MADV_DONTNEED))
    expect(tableOf(dev0, addr, 6)).toBe('w---ww')
    expect(f.read(dev0, page(addr, 3), 1).faults).toBe(1)
  })

  it('ignores own migrations only (TD-6)', () => {
    const dev1 = f.open(1)
    const addr = written(2)
    f.read(dev0, addr, 2)
    f.migrateToDev(dev1, addr, 1)
    expect(tableOf(dev0, addr, 2)).toBe('--')
    f.read(dev0, addr, 2)
    const before = dev0.table.find(addrToVpn(addr))
    f.migrateToDev(dev0, addr, 1)
    expect(tableOf(dev0, addr, 2)).toBe('ww')
    expect(dev0.table.find(addrToVpn(addr))).not.toBe(before)
  })

  it('drops everything when the process exits', () => {
    const child = f.fork()
    const handle = f.open(0, child)
    const addr = f.mmap({ npages: 3 }, child)
    f.read(handle, addr, 3)
    expect(handle.table.size).toBe(3)
    f.step(() => child.exit())
    expect(handle.table.size).toBe(0)
    f.close(handle)
  })

  it('refuses an event that may not wait while the driver lock is held', () => {
    const { mm } = f.process
    const range = new MmuNotifierRange(MMU_NOTIFY_UNMAP, null, mm, 0x1000, 0x2000)
    range.flags = 0
    dev0.mirror.lock.acquire()
    expect(mmuNotifierInvalidateRangeStart(range)).toBeLessThan(0)
    dev0.mirror.lock.release()
    expect(mmuNotifierInvalidateRangeStart(range)).toBe(0)
    mmuNotifierInvalidateRangeEnd(range)
  })

  it('makes a command that is given from inside of it fail with EBUSY', () => {
    const addr = written(1)
    const results: number[] = []
    const range = new MmuNotifierRange(MMU_NOTIFY_UNMAP, null, f.process.mm, addr, page(addr, 1))
    mmuNotifierInvalidateRangeStart(range)
    results.push(dev0.read(addr, 1, new Uint8Array(PAGE_SIZE)).ret)
    results.push(dev0.snapshot(addr, 1, new Uint8Array(1)).ret)
    expect(dev0.close()).toBeLessThan(0) // still may be called
    mmuNotifierInvalidateRangeEnd(range)
    expect(results).toEqual([-EBUSY, -EBUSY])
    f.close(dev0)
  })
})

describe('MIGRATE_TO_DEV', () => {
  it('fills holes and zero pages, and keeps what is written', () => {
    const addr = f.mmap({ npages: 3 })
    f.load(page(addr, 1), 1)
    f.store(page(addr, 2), new Uint32Array([3]))
    const migrated = f.migrateToDev(dev0, addr, 3)
    expect([migrated.cpages, firstWords(migrated.buffer)]).toEqual([3, [0, 0, 3]])
    expect([f.pte(addr, 3), tableOf(dev0, addr, 3)]).toEqual(['DDD', 'www'])
    expect(f.devices[0].npagesUsed).toBe(3)
  })

  it('enters pages of a read-only mapping for reading', () => {
    const addr = written(1, PROT_READ)
    f.migrateToDev(dev0, addr, 1)
    expect([f.pte(addr, 1), tableOf(dev0, addr, 1)]).toEqual(['d', 'r'])
    const hole = f.mmap({ npages: 1, prot: PROT_READ })
    f.migrateToDev(dev0, hole, 1)
    expect([f.pte(hole, 1), tableOf(dev0, hole, 1)]).toEqual(['d', 'r'])
  })

  it('succeeds for a page that stays where it is, if an older entry survives (TD-23)', () => {
    const addr = written(1)
    f.read(dev0, addr, 1)
    f.midway = true
    const pinned = f.process.pin(addr, 1, { write: true })
    const migrated = f.migrateToDev(dev0, addr, 1)
    expect([migrated.cpages, firstWords(migrated.buffer), f.pte(addr, 1)]).toEqual([1, [1], 'w'])
    expect(f.devices[0].npagesUsed).toBe(0)
    pinned.unpin()
    f.midway = false
  })

  it('ENOENT does not mean that nothing moved', () => {
    const addr = written(2)
    f.midway = true
    const pinned = f.process.pin(page(addr, 1), 1, { write: true })
    expect(f.errnoOf(() => dev0.migrateToDev(addr, 2, new Uint8Array(2 * PAGE_SIZE)))).toBe('ENOENT')
    expect(f.pte(addr, 2)).toBe('Dw')
    pinned.unpin()
    f.midway = false
  })

  it('takes more memory when the first chunk is full, and returns nothing that it did not get', () => {
    const addr = written(100)
    expect(f.migrateToDev(dev0, addr, 100).cpages).toBe(100)
    expect(f.devices[0].memory.chunks).toHaveLength(2)
    const dev2 = f.open(2) // coherent: one chunk of 64 pages is all there is
    const other = written(65)
    expect(f.errnoOf(() => dev2.migrateToDev(other, 65, new Uint8Array(65 * PAGE_SIZE)))).toBe('ENOENT')
    expect(f.pte(other, 65)).toBe(`${'G'.repeat(64)}w`)
  })
})

describe('MIGRATE_TO_SYS', () => {
  it('counts the pages of this device and skips the rest', () => {
    const dev1 = f.open(1)
    const addr = f.mmap({ npages: 4 })
    f.store(page(addr, 1), new Uint32Array([2]))
    f.migrateToDev(dev0, page(addr, 2), 1)
    f.migrateToDev(dev1, page(addr, 3), 1)
    expect(f.migrateToSys(dev0, addr, 4)).toEqual({ ret: 0, cpages: 1, faults: 0 })
    expect(f.pte(addr, 4)).toBe('-wwE')
    expect(f.migrateToSys(dev0, addr, 4).cpages).toBe(0)
  })

  it('brings a page back for all processes that share it, with its data', () => {
    const addr = written(1)
    f.migrateToDev(dev0, addr, 1)
    const child = f.fork()
    const handle = f.open(0, child)
    expect(f.migrateToSys(handle, addr, 1).cpages).toBe(1)
    expect([f.pte(addr, 1), f.pte(addr, 1, child)]).toEqual(['r', 'r'])
    expect([f.load(addr, 1)[0], f.load(addr, 1, child)[0]]).toEqual([1, 1])
    f.exit(child)
  })
})

describe('SNAPSHOT', () => {
  it('knows the devices, and a private page of another one as not present (TD-27)', () => {
    const [dev1, dev2, dev3] = [f.open(1), f.open(2), f.open(3)]
    const addr = written(4)
    f.migrateToDev(dev0, page(addr, 0), 1)
    f.migrateToDev(dev1, page(addr, 1), 1)
    f.migrateToDev(dev2, page(addr, 2), 1)
    f.migrateToDev(dev3, page(addr, 3), 1)
    expect(f.snapshot(dev0, addr, 4)).toBe('22 00 52 52')
    expect(f.snapshot(dev2, addr, 4)).toBe('00 00 42 52')
  })

  it('marks huge mappings', () => {
    const addr = pmdAlignUp(f.mmap({ npages: 1024 }))
    f.step(() => f.process.madvise(addr, PMD_SIZE, MADV_HUGEPAGE))
    f.store(addr, new Uint32Array([1]))
    expect(f.snapshot(dev0, page(addr, 510), 3)).toBe('06 06 00')
    f.mprotect(addr, 512, PROT_READ)
    expect(f.snapshot(dev0, page(addr, 511), 1)).toBe('05')
  })

  it('faults nothing, raises nothing, and leaves no subscription behind', () => {
    const addr = f.mmap({ npages: 70 })
    const watcher = new Watcher(f.process.mm, addr, 70)
    const nsubscriptions = f.process.mm.subscriptions?.tree.size
    expect(f.snapshot(dev0, addr, 70)).toBe(Array(70).fill('00').join(' '))
    expect([watcher.takeEvents(), f.process.mm.subscriptions?.tree.size]).toEqual([[], nsubscriptions])
    expect(f.pte(addr, 70)).toBe('t'.repeat(70))
  })
})

describe('EXCLUSIVE and CHECK_EXCLUSIVE', () => {
  it('take the pages from the CPU, until it touches one', () => {
    const addr = written(3)
    const exclusive = f.exclusive(dev0, addr, 3)
    expect([exclusive.cpages, firstWords(exclusive.buffer)]).toEqual([3, [1, 2, 3]])
    expect([f.pte(addr, 3), tableOf(dev0, addr, 3)]).toEqual(['XXX', 'aaa'])
    expect(f.errnoOf(() => dev0.checkExclusive(addr, 3))).toBe('EPERM')
    f.load(addr, 1)
    // The page behind it goes too (TD-7), from the table only.
    expect([f.pte(addr, 3), tableOf(dev0, addr, 3)]).toEqual(['wXX', '--a'])
    expect(f.checkExclusive(dev0, addr, 2).ret).toBe(0)
    expect(f.errnoOf(() => dev0.checkExclusive(addr, 3))).toBe('EPERM')
  })

  it('EBUSY for a page that cannot be had; those that were made exclusive stay so, also in the table', () => {
    const addr = f.mmap({ npages: 2 })
    f.store(addr, new Uint32Array([1]))
    f.mmap({ npages: 1, addr: page(addr, 1), fixed: true, shared: true })
    expect(f.errnoOf(() => dev0.exclusive(addr, 2, new Uint8Array(2 * PAGE_SIZE)))).toBe('EBUSY')
    expect([f.pte(addr, 2), tableOf(dev0, addr, 2)]).toEqual(['Xw', 'a-'])
  })

  it('EBUSY for a page that cannot be found; then none of its batch enters the table', () => {
    const addr = written(2)
    f.munmap(page(addr, 1), 1)
    expect(f.errnoOf(() => dev0.exclusive(addr, 2, new Uint8Array(2 * PAGE_SIZE)))).toBe('EBUSY')
    expect([f.pte(addr, 2), tableOf(dev0, addr, 2)]).toEqual(['X_', '--'])
  })

  it('EBUSY for an address without mapping, and for a read-only one', () => {
    const addr = written(1, PROT_READ)
    expect(f.errnoOf(() => dev0.exclusive(addr, 1, new Uint8Array(PAGE_SIZE)))).toBe('EBUSY')
    f.munmap(addr, 1)
    expect(f.errnoOf(() => dev0.exclusive(addr, 1, new Uint8Array(PAGE_SIZE)))).toBe('EBUSY')
  })

  it('of a huge page only the first small one can be had, but all of it becomes exclusive', () => {
    const addr = pmdAlignUp(f.mmap({ npages: 1024 }))
    f.step(() => f.process.madvise(addr, PMD_SIZE, MADV_HUGEPAGE))
    f.store(addr, new Uint32Array([1]))
    expect(f.errnoOf(() => dev0.exclusive(addr, 2, new Uint8Array(2 * PAGE_SIZE)))).toBe('EBUSY')
    expect(f.pte(addr, 3)).toBe('XXX')
    expect(f.load(addr, 1)[0]).toBe(1)
  })
})

describe('CPU faults on private memory', () => {
  it('bring back the page that was touched, and take its entry (TD-31)', () => {
    const addr = written(3)
    f.migrateToDev(dev0, addr, 3)
    expect(f.load(page(addr, 1), 1)[0]).toBe(2)
    expect([f.pte(addr, 3), tableOf(dev0, addr, 3)]).toEqual(['DwD', 'w-w'])
    expect(f.devices[0].npagesUsed).toBe(2)
  })

  it('find the page where the mapping was moved to', () => {
    const addr = written(1)
    f.migrateToDev(dev0, addr, 1)
    const room = f.mmap({ npages: 1 })
    const moved = f.step(() => f.process.mremap(addr, PAGE_SIZE, PAGE_SIZE, { to: room }))
    expect([moved, f.pte(moved, 1)]).toEqual([room, 'D'])
    expect(f.load(moved, 1)[0]).toBe(1)
  })

  it('end without room with an error, and the page stays on the device', () => {
    const g = new DmirrorFixture({ memory: 64 * PAGE_SIZE, chunkPages: 8 })
    const handle = g.open(0)
    const addr = g.mmap({ npages: 1 })
    g.store(addr, new Uint32Array([1]))
    g.migrateToDev(handle, addr, 1)
    const hog = g.mmap({ npages: g.machine.mmu.nfree })
    for (let i = 0; g.machine.mmu.nfree > 0; i++) g.process.store32(page(hog, i), 1)
    expect(g.step(() => g.process.tryLoad32(addr))).toBe(ACCESS_OUT_OF_MEMORY)
    expect(g.pte(addr, 1)).toBe('D')
    g.munmap(page(hog, 0), 1)
    expect([g.load(addr, 1)[0], g.pte(addr, 1)]).toEqual([1, 'w'])
    g.finish()
  })

  it('keep data that the device wrote', () => {
    const addr = written(1)
    f.migrateToDev(dev0, addr, 1)
    const words = pattern(1, (i) => 1000 + i)
    expect(f.write(dev0, addr, 1, new Uint8Array(words.buffer)).faults).toBe(0)
    expect(f.load(addr, 1024)).toEqual(words)
  })
})

describe('close and RELEASE', () => {
  it('closing any handle evicts the pages of all processes (TD-4)', () => {
    const child = f.fork()
    const handle = f.open(0, child)
    const addr = written(2)
    f.migrateToDev(dev0, addr, 2)
    f.close(handle)
    expect([f.pte(addr, 2), f.devices[0].npagesUsed, tableOf(dev0, addr, 2)]).toEqual(['ww', 0, '--'])
    expect(f.load(page(addr, 1), 1)[0]).toBe(2)
    f.exit(child)
  })

  it('eviction raises one CLEAR per page, and no MIGRATE', () => {
    const addr = written(2)
    const watcher = new Watcher(f.process.mm, addr, 2)
    f.migrateToDev(dev0, addr, 2)
    watcher.takeEvents()
    f.step(() => f.devices[0].evictAll())
    expect(watcher.takeEvents().sort()).toEqual(['CLEAR 0-1', 'CLEAR 1-2'])
  })

  it('RELEASE takes all memory away, whatever the range, and the next migration gets new memory (TD-30)', () => {
    const addr = written(70)
    f.migrateToDev(dev0, addr, 70)
    expect(f.release(dev0, addr, 1)).toEqual({ ret: 0, cpages: 0, faults: 0 })
    expect([f.devices[0].memory.chunks, f.pte(addr, 70)]).toEqual([[], 'w'.repeat(70)])
    expect(f.migrateToDev(dev0, addr, 2).cpages).toBe(2)
    expect(f.devices[0].memory.chunks).toHaveLength(1)
  })
})

describe('DmirrorDevice', () => {
  it('is one of four, private below 2 and coherent above, or as asked', () => {
    expect(f.devices.map((device) => `${device.name} ${device.kind}`)).toEqual([
      'hmm_dmirror0 private',
      'hmm_dmirror1 private',
      'hmm_dmirror2 coherent',
      'hmm_dmirror3 coherent',
    ])
    expect(new DmirrorDevice(f.machine.sys, 1, { kind: 'coherent', chunkPages: 8 }).kind).toBe('coherent')
    expect(() => new DmirrorDevice(f.machine.sys, 4)).toThrow(RangeError)
    expect(() => new DmirrorDevice(f.machine.sys, 0, { chunkPages: 1.5 })).toThrow(RangeError)
  })

  it("mmap of its file gives zeroed pages that are nobody's anonymous memory, all at once (TD-32)", () => {
    const addr = f.mmap({ npages: 3, file: f.devices[0].file })
    expect([f.pte(addr, 3), f.process.dumpAttr(addr, 3)]).toEqual(['rrr', '444'])
    expect(f.errnoOf(() => dev0.migrateToDev(addr, 3, new Uint8Array(3 * PAGE_SIZE)))).toBe('EINVAL')
    expect(f.load(page(addr, 2), 1)[0]).toBe(0)
    f.store(page(addr, 2), new Uint32Array([5]))
    expect(f.pte(addr, 3)).toBe('rrw')
  })
})
