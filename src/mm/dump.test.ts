import { describe, expect, test } from 'vitest'
import { PAGE_SIZE, PMD_SIZE, pmdIndex, pteIndex } from '../base/addr.ts'
import { DmirrorDevice, type DmirrorHandle } from '../devices/dmirror/index.ts'
import { Machine } from '../machine/machine.ts'
import type { Process } from '../machine/process.ts'
import { MADV_HWPOISON, MADV_PAGEOUT, PROT_NONE, PROT_READ, PROT_WRITE } from '../uapi/mman.ts'
import { dumpAttr, dumpPagemap, dumpPte, formatMaps, samePages } from './dump.ts'
import {
  PTE_HUGE,
  PTE_KIND_MARKER,
  PTE_KIND_MIGRATION,
  PTE_KIND_SWAPIN_ERROR,
  PTE_PRESENT,
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
    process.mprotect(BASE, 8 * PAGE_SIZE, PROT_READ)
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

  test('huge pages', () => {
    const machine = new Machine({ memory: '16 MiB', thp: 'always' })
    const process = machine.createProcess()
    process.mmap({ addr: BASE, length: 2 * PMD_SIZE, fixed: true })
    process.store32(BASE, 1)
    process.load32(BASE + PMD_SIZE)
    expect(dumps(process, 1024)).toEqual([
      'P'.repeat(512) + 'Z'.repeat(512),
      '7'.repeat(512) + '.'.repeat(512),
      '9'.repeat(512) + '5'.repeat(512),
    ])
    const child = process.fork()
    expect(dumps(process, 512)).toEqual(['p'.repeat(512), '1'.repeat(512), '1'.repeat(512)])
    expect(samePages([process.mm, child.mm], BASE, 1024)).toHaveLength(512)
    process.mm.pageTable.findPmd(BASE)?.setHuge(pmdIndex(BASE), PTE_KIND_MIGRATION | PTE_HUGE, 512)
    expect(dumps(process, 1)[0]).toBe('m')
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
