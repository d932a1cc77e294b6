import { describe, expect, test } from 'vitest'
import { PAGE_SIZE, PMD_SIZE, pmdIndex, pteIndex } from '../base/addr.ts'
import { DmirrorDevice, type DmirrorHandle } from '../devices/dmirror/index.ts'
import { Machine } from '../machine/machine.ts'
import type { Process } from '../machine/process.ts'
import {
  MADV_HWPOISON,
  MADV_PAGEOUT,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_PRIVATE,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from '../uapi/mman.ts'
import { dumpAttr, dumpPagemap, dumpPte, formatMaps, samePages } from './dump.ts'
import { mmMmap } from './mmap.ts'
import { PG_ANON, PG_ANON_EXCLUSIVE } from './page.ts'
import { allocCompoundPage } from './page-alloc.ts'
import {
  PTE_HUGE,
  PTE_KIND_MARKER,
  PTE_KIND_MIGRATION,
  PTE_KIND_SWAPIN_ERROR,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SPECIAL,
  PTE_WRITE,
} from './pte.ts'

// Page i of the arena of the recordings, 512 GiB aligned.
const BASE = 0x1000_0000_0000
const page = (i: number) => BASE + i * PAGE_SIZE

function boot(npages = 8): { machine: Machine; process: Process } {
  const machine = new Machine({ memory: '16 MiB', swap: '1 MiB' })
  const process = machine.createProcess()
  process.mmap({ addr: BASE, length: npages * PAGE_SIZE, fixed: true })
  return { machine, process }
}

function open(device: DmirrorDevice, process: Process): DmirrorHandle {
  const handle = device.open(process.mm)
  if (typeof handle === 'number') throw new Error(`open: ${handle}`)
  return handle
}

/** The three strings of the first `npages` pages. */
function dumps(process: Process, npages: number, devices: readonly DmirrorDevice[] = []): string[] {
  const deviceNumber = (owner: unknown) => devices.find((device) => device.owner === owner)?.number
  return [
    dumpPte(process.mm, BASE, npages, deviceNumber),
    dumpAttr(process.mm, BASE, npages),
    dumpPagemap(process.mm, BASE, npages),
  ]
}

function setEntry(process: Process, i: number, flags: number, pfn: number): void {
  const { words } = process.mm.pageTable.allocPte(page(i))
  words[2 * pteIndex(page(i))] = pfn
  words[2 * pteIndex(page(i)) + 1] = flags
}

describe('dumpPte(), dumpAttr(), dumpPagemap()', () => {
  test('holes, missing tables, empty entries, zero page and memory', () => {
    const { process } = boot(4)
    expect(dumps(process, 6)).toEqual(['tttt__', '......', '......'])
    process.load32(page(0))
    process.store32(page(1), 1)
    expect(dumps(process, 6)).toEqual(['zw--__', '.7....', '19....'])
  })

  test('entries without access', () => {
    const { process } = boot(4)
    process.load32(page(0))
    process.store32(page(1), 1)
    process.mprotect(BASE, 4 * PAGE_SIZE, PROT_NONE)
    expect(dumps(process, 4)).toEqual(['qn--', '.7..', '19..'])
  })

  test('memory shared by fork, and copied from it', () => {
    const { process } = boot(4)
    process.store32(page(0), 1)
    process.store32(page(1), 1)
    const child = process.fork()
    expect(dumps(process, 3)).toEqual(['rr-', '11.', '11.'])
    child.store32(page(0), 2)
    expect(dumps(child, 3)).toEqual(['wr-', '71.', '91.'])
    expect(dumps(process, 3)).toEqual(['rr-', '51.', '91.'])
  })

  test('file memory', () => {
    const { machine, process } = boot(1)
    const file = machine.createFile('f', 4)
    process.mmap({ addr: BASE, length: 4 * PAGE_SIZE, fixed: true, shared: true, file })
    process.store32(page(0), 1)
    expect(dumps(process, 2)).toEqual(['w-', '4.', 'd.'])
    process.fork().load32(page(0))
    expect(dumps(process, 2)).toEqual(['w-', '0.', '5.'])
  })

  test('swap and poison', () => {
    const { process } = boot(4)
    for (let i = 0; i < 4; i++) process.store32(page(i), i)
    process.madvise(page(0), PAGE_SIZE, MADV_PAGEOUT)
    process.madvise(page(1), PAGE_SIZE, MADV_HWPOISON)
    expect(dumps(process, 4)).toEqual(['shww', '2077', '2299'])
    process.fork()
    expect(dumps(process, 4)).toEqual(['shrr', '0011', '2211'])
  })

  test('pinned pages', () => {
    const { process } = boot(4)
    process.pin(page(1), 1, { write: true })
    expect(dumps(process, 3)).toEqual(['-w-', '.f.', '.9.'])
  })

  test('device memory: private, coherent, exclusive, and of a device that nobody numbered', () => {
    const { machine, process } = boot(8)
    const devices = [0, 1, 2, 3].map((n) => new DmirrorDevice(machine.sys, n, { chunkPages: 512 }))
    const handles = devices.map((device) => open(device, process))
    for (let i = 0; i < 5; i++) process.store32(page(i), i)
    handles.forEach((handle, i) => {
      expect(handle.migrateToDev(page(i), 1, new Uint8Array(PAGE_SIZE)).ret).toBe(0)
    })
    expect(handles[0].exclusive(page(4), 1, new Uint8Array(PAGE_SIZE)).ret).toBe(0)
    expect(dumps(process, 6, devices)).toEqual(['DEGKX-', '77773.', 'aa992.'])
    expect(dumps(process, 6)[0]).toBe('????X-')
    process.mprotect(BASE, 8 * PAGE_SIZE, PROT_NONE)
    expect(dumps(process, 6, devices)).toEqual(['degkx-', '77773.', 'aa992.'])
    process.mprotect(BASE, 8 * PAGE_SIZE, PROT_READ | PROT_WRITE)
    process.fork()
    expect(dumps(process, 4, devices).map((text) => text.slice(0, 2))).toEqual(['de', '11', '22'])
  })

  test('transitory and rare entries', () => {
    const { process } = boot(8)
    process.store32(page(0), 1)
    const pfn = process.mm.pageTable.findPte(BASE)?.words[2 * pteIndex(BASE)] ?? -1
    setEntry(process, 1, PTE_KIND_MIGRATION, pfn)
    setEntry(process, 2, PTE_KIND_MIGRATION | PTE_WRITE, pfn)
    setEntry(process, 3, PTE_KIND_SWAPIN_ERROR, 0)
    setEntry(process, 4, PTE_KIND_MARKER, 0)
    setEntry(process, 5, PTE_PRESENT | PTE_SPECIAL | PTE_WRITE, 1000)
    expect(dumps(process, 7)).toEqual(['wmM!*S-', '777000.', '9222.1.'])
  })

  test('a swap offset is not taken for the page of zeroes, whatever its number', () => {
    const { machine, process } = boot(2)
    expect(machine.sys.zeroPfn).toBe(0)
    process.store32(page(0), 1)
    process.madvise(page(0), PAGE_SIZE, MADV_PAGEOUT)
    setEntry(process, 0, process.mm.pageTable.findPte(BASE)?.words[2 * pteIndex(BASE) + 1] ?? 0, 0)
    expect(dumps(process, 1)).toEqual(['s', '2', '2'])
  })

  test('huge entries', () => {
    const machine = new Machine({ memory: '16 MiB' })
    const { mm } = machine.createProcess()
    const other = machine.createProcess().mm
    const head = allocCompoundPage(machine.sys, mm.space, BASE, 9)
    machine.sys.pages.flags[head] |= PG_ANON | PG_ANON_EXCLUSIVE
    machine.sys.pages.getCompound(head).mapcount = 1
    for (const each of [mm, other]) {
      mmMmap(each, BASE, 4 * PMD_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED)
    }
    const pmd = mm.pageTable.allocPmd(BASE)
    const slot = pmdIndex(BASE)
    pmd.setHuge(slot, PTE_PRESENT | PTE_HUGE | PTE_WRITE, head)
    pmd.setHuge(slot + 1, PTE_PRESENT | PTE_HUGE | PTE_SPECIAL, 1024)
    pmd.setHuge(slot + 2, PTE_KIND_MIGRATION | PTE_HUGE, head)
    const drawn = (from: number, npages: number) => [
      dumpPte(mm, page(from), npages),
      dumpAttr(mm, page(from), npages),
      dumpPagemap(mm, page(from), npages),
    ]
    expect(drawn(510, 4)).toEqual(['PPZZ', '77..', '9955'])
    expect(drawn(1535, 2)).toEqual(['mt', '7.', '2.'])

    other.pageTable.allocPmd(BASE).setHuge(slot, PTE_PRESENT | PTE_HUGE, head)
    machine.sys.pages.flags[head] &= ~PG_ANON_EXCLUSIVE
    machine.sys.pages.getCompound(head).mapcount = 2
    pmd.setHuge(slot, PTE_PRESENT | PTE_HUGE, head)
    expect(drawn(511, 1)).toEqual(['p', '1', '1'])
    const same = samePages([mm, other], BASE, 1024)
    expect([same.length, same[0], same[511]]).toEqual([512, '0:0=1:0', '0:511=1:511'])
    pmd.setHuge(slot, PTE_PRESENT | PTE_HUGE | PTE_PROTNONE, head)
    expect(drawn(0, 1)[0]).toBe('n')
  })
})

describe('samePages()', () => {
  test('groups pages by frame, in order, without the zero page and without poison', () => {
    const { machine, process } = boot(8)
    const file = machine.createFile('f', 2)
    process.mmap({ addr: page(4), length: 2 * PAGE_SIZE, fixed: true, shared: true, file })
    process.mmap({ addr: page(6), length: 2 * PAGE_SIZE, fixed: true, shared: true, file })
    process.load32(page(0))
    process.store32(page(1), 1)
    process.store32(page(2), 1)
    process.madvise(page(2), PAGE_SIZE, MADV_HWPOISON)
    process.store32(page(5), 1)
    expect(samePages([process.mm], BASE, 8)).toEqual([])
    process.store32(page(7), 1)
    expect(samePages([process.mm], BASE, 8)).toEqual(['0:5=0:7'])
    const child = process.fork()
    child.store32(page(5), 2)
    expect(samePages([process.mm, child.mm], BASE, 8)).toEqual(['0:1=1:1', '0:5=0:7=1:5'])
  })
})

describe('formatMaps()', () => {
  test('prints access, sharing, offset and file', () => {
    const { machine, process } = boot(2)
    const file = machine.createFile('/tmp/data', 8)
    process.mmap({ addr: page(2), length: PAGE_SIZE, fixed: true, prot: PROT_NONE, shared: true, file, offset: 8192 })
    expect(formatMaps(process.mm)).toBe(
      '100000000000-100000002000 rw-p 00000000 00:00 0\n' +
        '100000002000-100000003000 ---s 00002000 00:00 0                          /tmp/data\n',
    )
    expect(formatMaps(machine.createProcess().mm)).toBe('')
  })
})
