import { describe, expect, test } from 'vitest'
import { PAGE_SIZE, TASK_SIZE } from '../base/addr.ts'
import { MmError } from '../base/errno.ts'
import { WaitQueue } from '../base/wait-queue.ts'
import { MADV_DONTNEED, MADV_HWPOISON, MADV_PAGEOUT, PROT_NONE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { Machine } from './machine.ts'
import {
  ACCESS_OUT_OF_MEMORY,
  ACCESS_SEGV,
  ACCESS_SIGBUS,
  ACCESS_SIGBUS_POISON,
  ACCESS_WOULD_WAIT,
  accessOutcome,
} from './page-fault.ts'
import type { Process } from './process.ts'
import { AccessSignal, WouldWait, whenReady } from './signals.ts'

function boot(npages = 8): { machine: Machine; process: Process; addr: number } {
  const machine = new Machine({ memory: '8 MiB' })
  const process = machine.createProcess()
  return { machine, process, addr: process.mmap({ length: npages * PAGE_SIZE }) }
}

function thrownBy(action: () => unknown): unknown {
  try {
    action()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

describe('Machine', () => {
  test('has defaults for everything', () => {
    const machine = new Machine()
    expect(machine.mmu.nframes).toBe(16384)
    expect(machine.sys.swap).toBeNull()
    expect(machine.processes).toEqual([])
  })

  test('refuses options that make no sense, by name', () => {
    expect(() => new Machine({ memory: '64 MB' as '64 MiB' })).toThrow(TypeError)
    expect(() => new Machine({ memory: 4095 })).toThrow('memory is 4095, wanted at least 4096 bytes')
    expect(() => new Machine({ swap: -1 })).toThrow(RangeError)
    expect(() => new Machine({ faultAroundPages: 3 })).toThrow('faultAroundPages is 3, wanted a power of two')
    expect(() => new Machine({ hugetlbPages: Number.NaN })).toThrow(TypeError)
    expect(() => new Machine({ thp: 'sometimes' as 'always' })).toThrow(TypeError)
  })

  test('lists processes until they end', () => {
    const machine = new Machine()
    const first = machine.createProcess('init')
    const second = machine.createProcess()
    expect(machine.processes.map((p) => [p.pid, p.name])).toEqual([
      [1, 'init'],
      [2, 'process 2'],
    ])
    first.exit()
    expect(machine.processes).toEqual([second])
  })

  test('gives every frame back when the last process ends', () => {
    const { machine, process, addr } = boot()
    const before = new Machine({ memory: '8 MiB' }).mmu.nfree
    for (let i = 0; i < 8; i++) process.store32(addr + i * PAGE_SIZE, i)
    const child = process.fork()
    child.store32(addr, 100)
    child.exit()
    process.exit()
    expect(machine.mmu.nfree).toBe(before)
    machine.mmu.validate()
  })
})

describe('Process CPU access', () => {
  test('untouched memory reads as zero, and holds what was stored', () => {
    const { process, addr } = boot()
    expect(process.load32(addr)).toBe(0)
    process.store32(addr, -1)
    process.store32(addr + 4, 2 ** 31)
    expect(process.load32(addr)).toBe(0xffff_ffff)
    expect(process.load32(addr + 4)).toBe(2 ** 31)
    expect(process.dumpPte(addr, 8)).toBe('w-------')
  })

  test('words are little-endian and may lie anywhere, on two pages too', () => {
    const { process, addr } = boot()
    for (const at of [addr + 1, addr + PAGE_SIZE - 4, addr + PAGE_SIZE - 3, addr + PAGE_SIZE - 1]) {
      process.store32(at, 0x8765_4321)
      expect(process.load32(at)).toBe(0x8765_4321)
      expect([...process.readBytes(at, 4)]).toEqual([0x21, 0x43, 0x65, 0x87])
    }
  })

  test('readBytes() and writeBytes() cross pages', () => {
    const { process, addr } = boot()
    const bytes = Uint8Array.from({ length: 3 * PAGE_SIZE }, (_, i) => (i * 7) & 0xff)
    process.writeBytes(addr + 100, bytes)
    expect(process.readBytes(addr + 100, bytes.length)).toEqual(bytes)
    expect(process.readBytes(addr, 100)).toEqual(new Uint8Array(100))
    expect(process.dumpPte(addr, 8)).toBe('wwww----')
  })

  test('an access without a mapping, or that the mapping does not allow, is SIGSEGV (CP-1)', () => {
    const { process, addr } = boot()
    process.mprotect(addr, PAGE_SIZE, PROT_READ)
    process.mprotect(addr + PAGE_SIZE, PAGE_SIZE, PROT_NONE)
    expect(thrownBy(() => process.load32(addr - PAGE_SIZE))).toMatchObject({
      signal: 'SIGSEGV',
      reason: 'unmapped',
      addr: addr - PAGE_SIZE,
      access: 'read',
    })
    expect(process.load32(addr)).toBe(0)
    expect(thrownBy(() => process.store32(addr, 1))).toMatchObject({ signal: 'SIGSEGV', reason: 'access' })
    expect(thrownBy(() => process.load32(addr + PAGE_SIZE))).toMatchObject({ reason: 'access', access: 'read' })
    expect(process.tryLoad32(TASK_SIZE)).toBe(ACCESS_SEGV)
    expect(process.tryLoad32(2 ** 48 + addr)).toBe(ACCESS_SEGV)
    expect(process.tryStore32(addr, 1)).toBe(ACCESS_SEGV)
  })

  test('memory that may only be written can be read all the same, as on x86', () => {
    const { process, addr } = boot()
    process.mprotect(addr, PAGE_SIZE, PROT_WRITE)
    expect(process.load32(addr)).toBe(0)
  })

  test('a word that begins on an accessible page and ends on another does nothing if it cannot end there', () => {
    const { process, addr } = boot(1)
    process.store32(addr + PAGE_SIZE - 4, 0x1111_1111)
    expect(process.tryStore32(addr + PAGE_SIZE - 2, -1)).toBe(ACCESS_SEGV)
    expect(process.tryLoad32(addr + PAGE_SIZE - 2)).toBe(ACCESS_SEGV)
    expect(process.load32(addr + PAGE_SIZE - 4)).toBe(0x1111_1111)
  })

  test('beyond the end of the file is SIGBUS', () => {
    const machine = new Machine()
    const process = machine.createProcess()
    const file = machine.createFile('data', 2)
    const addr = process.mmap({ length: 4 * PAGE_SIZE, file, shared: true })
    process.store32(addr + PAGE_SIZE, 5)
    expect(process.tryStore32(addr + 2 * PAGE_SIZE, 5)).toBe(ACCESS_SIGBUS)
    expect(thrownBy(() => process.load32(addr + 3 * PAGE_SIZE))).toMatchObject({
      name: 'AccessSignal',
      signal: 'SIGBUS',
      reason: 'no-page',
    })
  })

  test('broken memory is SIGBUS with reason hwpoison', () => {
    const { process, addr } = boot()
    process.store32(addr, 1)
    process.madvise(addr, PAGE_SIZE, MADV_HWPOISON)
    expect(process.tryLoad32(addr)).toBe(ACCESS_SIGBUS_POISON)
    expect(thrownBy(() => process.store32(addr, 1))).toMatchObject({ signal: 'SIGBUS', reason: 'hwpoison' })
    expect(thrownBy(() => process.store32(addr, 1))).toBeInstanceOf(AccessSignal)
  })

  test('without memory and swap a store fails with ENOMEM and the process lives on', () => {
    const machine = new Machine({ memory: 8 * PAGE_SIZE })
    const process = machine.createProcess()
    const addr = process.mmap({ length: 16 * PAGE_SIZE })
    let stored = 0
    while (stored < 16 && process.tryStore32(addr + stored * PAGE_SIZE, stored) === 0) stored++
    expect(stored).toBeLessThan(8)
    expect(process.tryStore32(addr + stored * PAGE_SIZE, 0)).toBe(ACCESS_OUT_OF_MEMORY)
    expect(thrownBy(() => process.store32(addr + stored * PAGE_SIZE, 0))).toMatchObject({ code: 'ENOMEM' })
    for (let i = 0; i < stored; i++) expect(process.load32(addr + i * PAGE_SIZE)).toBe(i)
    process.munmap(addr, PAGE_SIZE)
    process.store32(addr + stored * PAGE_SIZE, 7)
  })

  test('what was paged out comes back', () => {
    const machine = new Machine({ swap: '1 MiB' })
    const process = machine.createProcess()
    const addr = process.mmap({ length: 4 * PAGE_SIZE })
    process.store32(addr, 99)
    process.madvise(addr, PAGE_SIZE, MADV_PAGEOUT)
    expect(process.dumpPte(addr, 4)).toBe('s---')
    expect(process.load32(addr)).toBe(99)
  })

  test('accessOutcome() names every result', () => {
    expect([0, 17, ACCESS_SEGV, ACCESS_SIGBUS, ACCESS_SIGBUS_POISON].map(accessOutcome)).toEqual([
      'ok',
      'ok',
      'segv',
      'sigbus',
      'sigbus-poison',
    ])
    expect([ACCESS_OUT_OF_MEMORY, ACCESS_WOULD_WAIT].map(accessOutcome)).toEqual(['out-of-memory', 'would-wait'])
  })

  test('addresses that are none are refused before anything happens', () => {
    const { process, addr } = boot()
    expect(() => process.load32(Number.NaN)).toThrow(TypeError)
    expect(() => process.load32(addr + 0.5)).toThrow(TypeError)
    expect(() => process.load32('4096' as unknown as number)).toThrow(TypeError)
    expect(() => process.store32(-4, 1)).toThrow(RangeError)
    expect(() => process.readBytes(addr, -1)).toThrow(RangeError)
    expect(() => process.readBytes(2 ** 53, 1)).toThrow(RangeError)
    expect(process.dumpPte(addr, 8)).toBe('tttttttt')
  })
})

describe('Process system calls', () => {
  test('mmap() with fixed replaces what is there', () => {
    const { process, addr } = boot()
    process.store32(addr + PAGE_SIZE, 1)
    expect(process.mmap({ addr: addr + PAGE_SIZE, length: PAGE_SIZE, fixed: true })).toBe(addr + PAGE_SIZE)
    expect(process.load32(addr + PAGE_SIZE)).toBe(0)
  })

  test('errors carry code, system call and address', () => {
    const { process, addr } = boot()
    const error = thrownBy(() => process.munmap(addr + 1, PAGE_SIZE))
    expect(error).toBeInstanceOf(MmError)
    expect(error).toMatchObject({ code: 'EINVAL', syscall: 'munmap', addr: addr + 1 })
    expect(thrownBy(() => process.mmap({ length: 0 }))).toMatchObject({ code: 'EINVAL', syscall: 'mmap' })
    expect(thrownBy(() => process.mmap({ length: 2 ** 50 }))).toMatchObject({ code: 'ENOMEM' })
    expect(thrownBy(() => process.mmap({ length: 1, addr: 1, fixed: true }))).toMatchObject({ code: 'EINVAL' })
    expect(thrownBy(() => process.mprotect(addr + 8 * PAGE_SIZE, PAGE_SIZE, PROT_READ))).toMatchObject({
      code: 'ENOMEM',
    })
    expect(thrownBy(() => process.madvise(addr, PAGE_SIZE, 12345))).toMatchObject({ code: 'EINVAL' })
    expect(thrownBy(() => process.mmap({ length: PAGE_SIZE, offset: 5 }))).toMatchObject({ code: 'EINVAL' })
  })

  test('arguments that are no numbers are a TypeError, negative ones a RangeError', () => {
    const { process, addr } = boot()
    const calls: ((bad: number) => unknown)[] = [
      (bad) => process.mmap({ length: bad }),
      (bad) => process.mmap({ length: PAGE_SIZE, addr: bad }),
      (bad) => process.mmap({ length: PAGE_SIZE, prot: bad }),
      (bad) => process.mmap({ length: PAGE_SIZE, offset: bad }),
      (bad) => process.munmap(bad, PAGE_SIZE),
      (bad) => process.munmap(addr, bad),
      (bad) => process.mprotect(bad, PAGE_SIZE, PROT_READ),
      (bad) => process.mprotect(addr, bad, PROT_READ),
      (bad) => process.mprotect(addr, PAGE_SIZE, bad),
      (bad) => process.madvise(bad, PAGE_SIZE, MADV_DONTNEED),
      (bad) => process.madvise(addr, bad, MADV_DONTNEED),
      (bad) => process.madvise(addr, PAGE_SIZE, bad),
      (bad) => process.mremap(bad, PAGE_SIZE, PAGE_SIZE),
      (bad) => process.mremap(addr, bad, PAGE_SIZE),
      (bad) => process.mremap(addr, PAGE_SIZE, bad),
      (bad) => process.mremap(addr, PAGE_SIZE, PAGE_SIZE, { to: bad }),
      (bad) => process.mlock(bad, PAGE_SIZE),
      (bad) => process.mlock(addr, bad),
      (bad) => process.munlock(bad, PAGE_SIZE),
      (bad) => process.munlock(addr, bad),
      (bad) => process.pin(bad, 1, { write: true }),
      (bad) => process.pin(addr, bad, { write: true }),
    ]
    const maps = process.maps()
    for (const call of calls) {
      expect(() => call(Number.NaN)).toThrow(TypeError)
      expect(() => call(1.5)).toThrow(TypeError)
      expect(() => call(-PAGE_SIZE)).toThrow(RangeError)
      expect(() => call(2 ** 53)).toThrow(RangeError)
    }
    expect(process.maps()).toBe(maps)
    expect(process.dumpPte(addr, 8)).toBe('tttttttt')
  })

  test('mremap() moves the pages with their contents', () => {
    const { process, addr } = boot()
    process.store32(addr, 5)
    const to = addr + 64 * PAGE_SIZE
    expect(process.mremap(addr, 2 * PAGE_SIZE, 2 * PAGE_SIZE, { to })).toBe(to)
    expect(process.load32(to)).toBe(5)
    expect(process.tryLoad32(addr)).toBe(ACCESS_SEGV)
    process.mmap({ addr: to + 2 * PAGE_SIZE, length: PAGE_SIZE, fixed: true, prot: PROT_READ })
    expect(thrownBy(() => process.mremap(to, 2 * PAGE_SIZE, 4 * PAGE_SIZE, { mayMove: false }))).toMatchObject({
      code: 'ENOMEM',
    })
    const moved = process.mremap(to, 2 * PAGE_SIZE, 4 * PAGE_SIZE)
    expect(moved).not.toBe(to)
    expect(process.load32(moved)).toBe(5)
  })

  test('mlock() brings the pages in', () => {
    const { process, addr } = boot()
    process.mlock(addr, 3 * PAGE_SIZE)
    expect(process.dumpPte(addr, 8)).toBe('www-----')
    process.munlock(addr, 3 * PAGE_SIZE)
  })

  test('fork() shares pages until somebody writes (CP-5, CP-51)', () => {
    const { process, addr } = boot()
    process.store32(addr, 1)
    const child = process.fork('kid')
    expect([child.name, child.pid]).toEqual(['kid', 2])
    expect([process.dumpPte(addr, 2), child.dumpPte(addr, 2)]).toEqual(['r-', 'r-'])
    child.store32(addr, 2)
    process.store32(addr + PAGE_SIZE, 3)
    expect([process.load32(addr), child.load32(addr)]).toEqual([1, 2])
    expect(child.load32(addr + PAGE_SIZE)).toBe(0)
  })

  test('shared memory stays shared after fork()', () => {
    const { process } = boot()
    const addr = process.mmap({ length: PAGE_SIZE, shared: true })
    const child = process.fork()
    child.store32(addr, 9)
    expect(process.load32(addr)).toBe(9)
  })

  test('pin() keeps pages, unpin() lets them go once', () => {
    const { process, addr } = boot()
    const pinned = process.pin(addr, 2, { write: true })
    expect(pinned.pfns).toHaveLength(2)
    expect(process.dumpPte(addr, 3)).toBe('ww-')
    expect(process.dumpAttr(addr, 3)).toBe('ff.')
    pinned.unpin()
    pinned.unpin()
    expect(process.dumpAttr(addr, 3)).toBe('77.')
  })

  test('pin() pins fewer pages where the range ends, and none is EFAULT', () => {
    const { process, addr } = boot()
    expect(process.pin(addr + 6 * PAGE_SIZE, 4, { write: false }).pfns).toHaveLength(2)
    expect(thrownBy(() => process.pin(addr + 8 * PAGE_SIZE, 1, { write: false }))).toMatchObject({
      code: 'EFAULT',
      syscall: 'pin',
    })
  })

  test('exit() lets pins go, and ends everything else', () => {
    const { machine, process, addr } = boot()
    const free = machine.mmu.nfree
    process.pin(addr, 4, { write: true })
    process.exit()
    process.exit()
    expect(machine.mmu.nfree).toBe(free)
    expect(process.isAlive).toBe(false)
    expect(process.tryLoad32(addr)).toBe(ACCESS_SEGV)
    expect(thrownBy(() => process.mmap({ length: PAGE_SIZE }))).toMatchObject({ code: 'ESRCH' })
    expect(thrownBy(() => process.pin(addr, 1, { write: true }))).toMatchObject({ code: 'ESRCH' })
  })

  test('maps() is /proc/PID/maps', () => {
    const machine = new Machine()
    const process = machine.createProcess()
    const file = machine.createFile('/data', 16)
    process.mmap({ addr: 0x10000, length: 2 * PAGE_SIZE, fixed: true, prot: PROT_READ })
    process.mmap({ addr: 0x7f00_0000_0000, length: 1, fixed: true, shared: true, file, offset: 3 * PAGE_SIZE })
    expect(process.maps()).toBe(
      '00010000-00012000 r--p 00000000 00:00 0\n' +
        '7f0000000000-7f0000001000 rw-s 00003000 00:00 0                          /data\n',
    )
  })
})

describe('waiting', () => {
  test('a change of mappings waits for the reader of the address space, and no new reader overtakes it', async () => {
    const { process, addr } = boot()
    const { mmapLock } = process.mm
    expect(mmapLock.tryRead()).toBe(true) // a migration under way
    expect(thrownBy(() => process.munmap(addr, PAGE_SIZE))).toBeInstanceOf(WouldWait)
    const order: string[] = []
    const unmapped = whenReady(() => process.munmap(addr, PAGE_SIZE)).then(() => order.push('munmap'))
    const loaded = whenReady(() => process.load32(addr + PAGE_SIZE)).then(() => order.push('load'))
    expect(process.tryLoad32(addr + 2 * PAGE_SIZE)).toBe(ACCESS_WOULD_WAIT)
    await Promise.resolve()
    expect(order).toEqual([])
    mmapLock.unlockRead()
    await Promise.all([unmapped, loaded])
    expect(order).toEqual(['munmap', 'load'])
    expect(mmapLock.waitingWriters).toBe(0)
    expect(process.tryLoad32(addr)).toBe(ACCESS_SEGV)
  })

  test('an access to a locked page that is being migrated waits until it is there', async () => {
    const { machine, process, addr } = boot()
    process.store32(addr, 5)
    const { words } = process.mm.pageTable.findPte(addr) ?? expect.unreachable()
    const index = 2 * ((addr / PAGE_SIZE) % 512)
    const [pfn, flags] = [words[index], words[index + 1]]
    const { PTE_KIND_MIGRATION, PTE_WRITE } = await import('../mm/pte.ts')
    const { unlockPage } = await import('../mm/page-alloc.ts')
    expect(machine.sys.pages.trylock(pfn)).toBe(true)
    words[index + 1] = PTE_KIND_MIGRATION | PTE_WRITE
    expect(process.tryLoad32(addr)).toBe(ACCESS_WOULD_WAIT)
    expect(thrownBy(() => process.load32(addr))).toBeInstanceOf(WouldWait)
    const value = whenReady(() => process.load32(addr))
    words[index + 1] = flags
    unlockPage(machine.sys, pfn)
    expect(await value).toBe(5)
  })

  test('whenReady() asks again after every wake-up, and hands errors out', async () => {
    const queue = new WaitQueue()
    let tries = 0
    const result = whenReady(() => {
      if (++tries < 3) throw new WouldWait('a test', queue)
      return tries
    })
    queue.wake()
    await Promise.resolve()
    expect(tries).toBe(2)
    queue.wake()
    expect(await result).toBe(3)
    const { process } = boot()
    await expect(whenReady(() => process.load32(0))).rejects.toBeInstanceOf(AccessSignal)
  })
})
