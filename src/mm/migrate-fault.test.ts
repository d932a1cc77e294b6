// The CPU touches a page of private device memory: its driver brings it back (spec MG-90 to MG-95).

import { describe, expect, it } from 'vitest'
import { MigrateFixture } from '../../test/helpers/migrate-fixture.ts'
import { WaitQueue } from '../base/wait-queue.ts'
import { AccessSignal, WouldWait } from '../machine/index.ts'
import { FOLL_GET, FOLL_WRITE, getUserPages } from './gup.ts'
import {
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  makeMigrateVma,
  migrateVmaFinalize,
  migrateVmaPages,
  migrateVmaSetup,
} from './migrate-device.ts'
import { FAULT_FLAG_WRITE, VM_FAULT_OOM, VM_FAULT_RETRY, VM_FAULT_SIGBUS, type VmFault } from './vm-fault.ts'

const PRIVATE = MIGRATE_VMA_SELECT_DEVICE_PRIVATE

/** A process with `npages` pages on the device, which brings them back one by one. Faults are logged as `page/refcount`. */
function onDevice(npages: number): { f: MigrateFixture; faults: string[] } {
  const f = new MigrateFixture()
  const faults: string[] = []
  f.mmap(0, npages)
  f.store(0, npages, 100)
  f.toDevice(0, npages)
  f.gpu.onFault = (vmf) => {
    faults.push(`${(vmf.address - f.addr(0)) / 4096} ${f.countsOf(vmf.page)}`)
    return f.bringBack(vmf)
  }
  return { f, faults }
}

describe('a CPU fault on private device memory', () => {
  it('calls the driver with mapping, address and page, holding a reference (MG-90)', () => {
    const { f, faults } = onDevice(3)
    const pfn = f.pfn(1)
    let seen: VmFault | null = null
    const { onFault } = f.gpu
    f.gpu.onFault = (vmf) => {
      seen = vmf
      expect(f.mm.mmapLock.readers).toBe(1)
      return onFault(vmf)
    }
    expect(f.load(1)).toEqual([101])
    expect(seen).toMatchObject({ vma: f.vma(1), address: f.addr(1), page: pfn })
    expect([faults, f.pte(0, 3)]).toEqual([['1 2/1'], 'DwD'])
    f.munmap(0, 3)
    f.finish()
  })

  it('may bring back more than the page of the fault (MG-91)', () => {
    const { f } = onDevice(4)
    f.gpu.onFault = (vmf) => {
      const args = makeMigrateVma(vmf.vma, f.addr(0), f.addr(4), f.gpu, PRIVATE)
      args.faultPage = vmf.page
      expect(migrateVmaSetup(args)).toBe(0)
      const migration = f.wrap(args)
      for (let i = 0; i < 4; i++) migration.giveSystem(i)
      migrateVmaPages(args)
      migrateVmaFinalize(args)
      return 0
    }
    expect([f.load(2), f.pte(0, 4), f.gpu.nused]).toEqual([[102], 'wwww', 0])
    f.finish()
  })

  it('without the fault page named in the arguments it cannot move: one reference too many (MG-5, MG-91)', () => {
    const { f } = onDevice(1)
    f.gpu.onFault = (vmf) => {
      const args = makeMigrateVma(vmf.vma, vmf.address, vmf.address + 4096, f.gpu, PRIVATE)
      expect([migrateVmaSetup(args), args.cpages]).toEqual([0, 1])
      const migration = f.wrap(args)
      migration.giveSystem(0)
      migrateVmaPages(args)
      expect(migration.src).toBe('VW')
      migrateVmaFinalize(args)
      return VM_FAULT_SIGBUS
    }
    expect(() => f.load(0)).toThrow(AccessSignal)
    expect(f.pte(0, 1)).toBe('D')
    f.munmap(0, 1)
    f.finish()
  })

  it('0 means that the access is repeated: the fault comes again if the page is still there (MG-92)', () => {
    const { f } = onDevice(1)
    let calls = 0
    f.gpu.onFault = (vmf) => (++calls < 3 ? 0 : f.bringBack(vmf))
    expect([f.load(0), calls]).toEqual([[100], 3])
    f.finish()
  })

  it('a driver that cannot move the page answers SIGBUS, one without memory OOM (MG-92)', () => {
    const { f } = onDevice(1)
    f.gpu.onFault = () => VM_FAULT_SIGBUS
    expect(() => f.load(0)).toThrow(/^SIGBUS/)
    f.gpu.onFault = () => VM_FAULT_OOM
    expect(() => f.load(0)).toThrow(/^ENOMEM/)
    expect([f.pte(0, 1), f.counts(0)]).toEqual(['D', '1/1'])
    f.munmap(0, 1)
    f.finish()
  })

  it('a write to a page that fork shares: back for both, then a copy (MG-94)', () => {
    const { f, faults } = onDevice(1)
    const child = f.fork()
    const events = f.eventsOf(() => f.store(0, 1, 5))
    expect(events).toEqual(['MIGRATE 0-1 of 0-1 by dev0', 'CLEAR 0-1 of 0-1', 'CLEAR 0-1 of 0-1'])
    expect(faults).toEqual(['0 3/2'])
    expect([f.pte(0, 1), f.pte(0, 1, child), f.load(0), f.load(0, 1, child)]).toEqual(['w', 'r', [5], [100]])
    f.exit(child)
    f.finish()
  })

  it('a read by one of two: back for both, shared as before', () => {
    const { f } = onDevice(1)
    const child = f.fork()
    expect([f.load(0, 1, child), f.pte(0, 1), f.pte(0, 1, child), f.counts(0)]).toEqual([[100], 'r', 'r', '2/2'])
    f.exit(child)
    f.finish()
  })

  it('GUP brings pages back like the CPU does (MG-90)', () => {
    const { f } = onDevice(2)
    const pfns: number[] = []
    f.mm.mmapLock.tryRead()
    expect(getUserPages(f.mm, f.addr(0), 2, FOLL_GET | FOLL_WRITE, pfns)).toBe(2)
    f.mm.mmapLock.unlockRead()
    for (const pfn of pfns) f.held.set(pfn, 1)
    f.validate()
    expect([f.pte(0, 2), pfns]).toEqual(['ww', [f.pfn(0), f.pfn(1)]])
    for (const pfn of pfns) f.hold(pfn, -1)
    f.finish()
  })
})

describe('a CPU fault on a page that is on its way', () => {
  it('waits for finalize: it finds a migration entry (MG-95)', () => {
    const { f, faults } = onDevice(2)
    const migration = f.begin(0, 2, { flags: PRIVATE })
    expect(f.fault(1, 0)).toBe(VM_FAULT_RETRY)
    let woken = 0
    f.sys.waitFor?.add(() => woken++)
    migration.giveSystem(1)
    migration.pages()
    expect(f.fault(1, FAULT_FLAG_WRITE)).toBe(VM_FAULT_RETRY)
    expect(woken).toBe(0)
    migration.finalize()
    expect([woken, f.pte(0, 2), f.load(1), faults]).toEqual([1, 'Dw', [101], []])
    f.munmap(0, 2)
    f.finish()
  })

  it('waits for a driver that has put its page there and not finished: the page is locked until then', () => {
    const f = new MigrateFixture()
    f.mmap(0, 1)
    const migration = f.begin(0, 1)
    migration.giveDevice(0)
    migration.pages()
    expect(f.pte(0, 1)).toBe('D') // a hole has no migration entry
    f.gpu.onFault = (vmf) => f.bringBack(vmf)
    expect(f.fault(0, 0)).toBe(VM_FAULT_RETRY)
    let woken = 0
    f.sys.waitFor?.add(() => woken++)
    migration.finalize()
    expect([woken, f.load(0), f.pte(0, 1)]).toEqual([1, [0], 'w'])
    f.finish()
  })

  it('waits for what the driver names, and a driver that names nothing is told so', () => {
    const { f } = onDevice(1)
    const copied = new WaitQueue()
    f.gpu.onFault = () => {
      f.sys.waitFor = copied
      return VM_FAULT_RETRY
    }
    expect(() => f.load(0)).toThrow(WouldWait)
    expect(f.sys.waitFor).toBe(copied)
    f.gpu.onFault = (vmf) => f.bringBack(vmf)
    expect(f.load(0)).toEqual([100])
    f.finish()
    // It is not sent to the queue of the time before.
    const broken = onDevice(1).f
    broken.gpu.onFault = () => VM_FAULT_RETRY
    expect(() => broken.load(0)).toThrow('whom to wait for')
  })
})
