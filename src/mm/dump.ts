// The state of an address space as text: one character per page for entries, frames and pagemap, and the list of mappings.
// For people, tests and comparison with what a kernel showed; the pagemap digits and the maps lines are those of
// fs/proc/task_mmu.c, Linux 6.1. Nothing here changes any state.
//
//   dumpPte      _ no mapping        t no page table      - empty entry       z Z zero page, huge zero page
//                r w present         n q present, but no access is allowed (q: the zero page)
//                p P 2 MiB page      s swapped            h poisoned          S no page structure behind it
//                d e g k on device 0 to 3                 x on loan to a device (exclusive access)
//                m being migrated    ! lost on the way in from swap           * marker
//                Capital letters (except Z and S): the entry is, or will again be, writable.

import { type Addr, addrToVpn, HPAGE_PMD_NR, PAGE_SIZE, type Pfn, pmdIndex, pteIndex } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { isDeviceCoherentPage, isDevicePrivatePage, pagemapOf } from './memremap.ts'
import type { Mm } from './mm.ts'
import {
  PTE_EXCLUSIVE,
  PTE_KIND_DEVICE_EXCLUSIVE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_HWPOISON,
  PTE_KIND_MARKER,
  PTE_KIND_MIGRATION,
  PTE_KIND_SWAP,
  PTE_KIND_SWAPIN_ERROR,
  PTE_PRESENT,
  PTE_PROTNONE,
  PTE_SOFT_DIRTY,
  PTE_SPECIAL,
  PTE_WRITE,
  pteKind,
  pteNamesFrame,
} from './pte.ts'
import type { System } from './system.ts'
import { VM_EXEC, VM_HUGETLB, VM_PFNMAP, VM_READ, VM_SHARED, VM_SOFTDIRTY, VM_WRITE } from './vm-flags.ts'
import type { Vma } from './vma.ts'

/** Number of the device whose memory has this owner, which decides on its letter; undefined if it has none. */
export type DeviceNumber = (owner: unknown) => number | undefined

/** Letters of devices 0 to 3. */
export const DEVICE_LETTERS = 'degk'

/** One entry per page of `[start, start + npages)`, as drawn above. */
export function dumpPte(mm: Mm, start: Addr, npages: number, deviceNumber: DeviceNumber = noDevices): string {
  return dump(mm, start, npages, (entry) => pteChar(mm.sys, entry, deviceNumber))
}

/**
 * About the page behind each entry, as a sum in hex: 1 anonymous, 2 exclusive to this process, 4 mapped exactly once,
 * 8 pinned. A dot where there is no page. Of a swapped page only 2 is known, of poison and special entries nothing.
 */
export function dumpAttr(mm: Mm, start: Addr, npages: number): string {
  return dump(mm, start, npages, (entry) => attrChar(mm.sys, entry))
}

/**
 * What /proc/PID/pagemap says, as a sum in hex: 1 present, 2 swapped (also device memory), 4 file or shared memory,
 * 8 mapped exactly once. A dot for nothing.
 */
export function dumpPagemap(mm: Mm, start: Addr, npages: number): string {
  return dump(mm, start, npages, (entry) => pagemapChar(mm.sys, entry))
}

/** Whether each page was written since soft-dirty bits were last cleared: `1` or a dot (pagemap bit 55, mm/soft-dirty.ts). */
export function dumpSoftDirty(mm: Mm, start: Addr, npages: number): string {
  return dump(mm, start, npages, ({ vma, flags }) => {
    const isNew = vma !== null && (vma.flags & VM_SOFTDIRTY) !== 0
    return isNew || (flags & PTE_SOFT_DIRTY) !== 0 ? '1' : '.'
  })
}

/**
 * Which pages of `[start, start + npages)` share a frame: groups like `0:2=1:2`, page 2 of the first address space and page
 * 2 of the second. The zero page and frames without page structure are left out.
 */
export function samePages(mms: readonly Mm[], start: Addr, npages: number): string[] {
  const users = new Map<Pfn, string[]>()
  mms.forEach((mm, number) => {
    walk(mm, start, npages, (entry, i) => {
      if (entry.level < LEVEL_PTE || !hasPage(entry) || pteKind(entry.flags) === PTE_KIND_HWPOISON) return
      const found = users.get(entry.pfn)
      if (found === undefined) users.set(entry.pfn, [`${number}:${i}`])
      else found.push(`${number}:${i}`)
    })
  })
  return [...users.values()].filter((pages) => pages.length > 1).map((pages) => pages.join('='))
}

/** The mappings, as /proc/PID/maps lists them. */
export function formatMaps(mm: Mm): string {
  return mm.vmas.map((vma) => `${formatVma(vma)}\n`).join('')
}

/** One line of /proc/PID/maps, without the line end. */
export function formatVma(vma: Vma): string {
  const flag = (bit: number, letter: string) => ((vma.flags & bit) !== 0 ? letter : '-')
  const access = flag(VM_READ, 'r') + flag(VM_WRITE, 'w') + flag(VM_EXEC, 'x')
  const shared = (vma.flags & VM_SHARED) !== 0 ? 's' : 'p'
  const offset = vma.file === null ? 0 : vma.pgoff * PAGE_SIZE
  const line = `${hex(vma.start)}-${hex(vma.end)} ${access}${shared} ${hex(offset)} 00:00 0`
  return vma.file === null ? line : `${line.padEnd(72)} ${vma.file.name}`
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0')
}

// Where the walk found what it found.
const LEVEL_NO_VMA = 0
const LEVEL_NO_TABLE = 1
const LEVEL_PTE = 2
const LEVEL_PMD = 3

/** What translates one page. The walk uses one object for all pages. */
interface Entry {
  level: number
  vma: Vma | null
  /** PTE_* bits. */
  flags: number
  /** Frame of this very page, also below a huge entry; the offset of a swap entry. */
  pfn: number
}

function walk(mm: Mm, start: Addr, npages: number, visit: (entry: Entry, i: number) => void): void {
  assert(Number.isSafeInteger(npages), () => `a number of pages: ${npages}`)
  const entry: Entry = { level: LEVEL_NO_VMA, vma: null, flags: 0, pfn: 0 }
  for (let i = 0; i < npages; i++) {
    const addr = start + i * PAGE_SIZE
    entry.vma = mm.vmaLookup(addr)
    lookUp(mm, addr, entry)
    visit(entry, i)
  }
}

function lookUp(mm: Mm, addr: Addr, entry: Entry): void {
  entry.flags = 0
  entry.pfn = 0
  if (entry.vma === null) {
    entry.level = LEVEL_NO_VMA
    return
  }
  const table = mm.pageTable.findPte(addr)
  if (table !== null) {
    const i = pteIndex(addr)
    entry.level = LEVEL_PTE
    entry.flags = table.words[2 * i + 1]
    entry.pfn = table.words[2 * i]
    return
  }
  const pmd = mm.pageTable.findPmd(addr)
  const hugeFlags = pmd === null ? 0 : pmd.hugeFlags(pmdIndex(addr))
  if (pmd === null || hugeFlags === 0) {
    entry.level = LEVEL_NO_TABLE
    return
  }
  entry.level = LEVEL_PMD
  entry.flags = hugeFlags
  entry.pfn = pmd.hugePfn(pmdIndex(addr)) + (addrToVpn(addr) % HPAGE_PMD_NR)
}

function dump(mm: Mm, start: Addr, npages: number, draw: (entry: Entry) => string): string {
  let text = ''
  walk(mm, start, npages, (entry) => {
    text += draw(entry)
  })
  return text
}

function noDevices(): undefined {
  return undefined
}

/** A frame with a page structure that counts this entry, or did until it was poisoned. */
function hasPage(entry: Entry): boolean {
  if ((entry.flags & PTE_PRESENT) !== 0) return (entry.flags & PTE_SPECIAL) === 0
  return pteNamesFrame(entry.flags)
}

function pteChar(sys: System, entry: Entry, deviceNumber: DeviceNumber): string {
  const { level, flags, pfn } = entry
  if (level === LEVEL_NO_VMA) return '_'
  if (level === LEVEL_NO_TABLE) return 't'
  if (flags === 0) return '-'
  const shade = (letter: string) => ((flags & PTE_WRITE) !== 0 ? letter.toUpperCase() : letter)
  const deviceLetter = () => {
    const number = deviceNumber(pagemapOf(sys, pfn)?.owner)
    return shade((number === undefined ? undefined : DEVICE_LETTERS[number]) ?? '?')
  }
  if ((flags & PTE_PRESENT) !== 0) {
    const noAccess = (flags & PTE_PROTNONE) !== 0
    if ((flags & PTE_SPECIAL) !== 0) {
      if (!isZeroPage(sys, entry)) return 'S'
      return noAccess ? 'q' : level === LEVEL_PMD ? 'Z' : 'z'
    }
    if (isDeviceCoherentPage(sys, pfn)) return deviceLetter() // where the page is tells more than that nobody may use it
    if (noAccess) return 'n'
    if (level === LEVEL_PMD) return shade('p')
    return (flags & PTE_WRITE) !== 0 ? 'w' : 'r'
  }
  switch (pteKind(flags)) {
    case PTE_KIND_SWAP:
      return 's'
    case PTE_KIND_MIGRATION:
      return shade('m')
    case PTE_KIND_DEVICE_PRIVATE:
      return deviceLetter()
    case PTE_KIND_DEVICE_EXCLUSIVE:
      return shade('x')
    case PTE_KIND_HWPOISON:
      return 'h'
    case PTE_KIND_SWAPIN_ERROR:
      return '!'
    case PTE_KIND_MARKER:
      return '*'
    default:
      return '?'
  }
}

function attrChar(sys: System, entry: Entry): string {
  const { flags, pfn } = entry
  if (flags === 0 || isZeroPage(sys, entry)) return '.'
  const kind = pteKind(flags)
  if (kind === PTE_KIND_SWAP) return (flags & PTE_EXCLUSIVE) !== 0 ? '2' : '0'
  if (!hasPage(entry) || kind === PTE_KIND_HWPOISON) return '0'
  const { pages } = sys
  let sum = 0
  if (pages.isAnon(pfn)) {
    sum += 1
    if (pages.isAnonExclusive(toldBy(sys, entry))) sum += 2
  }
  if (pages.totalMapcount(toldBy(sys, entry)) === 1) sum += 4
  if (!isDevicePrivatePage(sys, pfn) && pages.maybeDmaPinned(pfn)) sum += 8
  return sum.toString(16)
}

/** The frame that stands for the entry: of a huge entry the kernel asks the first frame about all of them. */
function toldBy(sys: System, entry: Entry): Pfn {
  return entry.level === LEVEL_PMD ? sys.pages.head(entry.pfn) : entry.pfn
}

/** The page behind every untouched page that was only read, small or huge. */
function isZeroPage(sys: System, entry: Entry): boolean {
  if ((entry.flags & (PTE_PRESENT | PTE_SPECIAL)) !== (PTE_PRESENT | PTE_SPECIAL)) return false
  return entry.level === LEVEL_PMD || entry.pfn === sys.zeroPfn
}

function pagemapChar(sys: System, entry: Entry): string {
  // The kernel's walk leaves out mappings of raw frame numbers.
  if (entry.flags === 0 || ((entry.vma as Vma).flags & VM_PFNMAP) !== 0) return '.'
  if (entry.level === LEVEL_PMD && isZeroPage(sys, entry)) return '5' // the huge zero page counts as file memory
  const present = (entry.flags & PTE_PRESENT) !== 0
  if (!present && pteKind(entry.flags) === PTE_KIND_MARKER) return '.'
  // Of hugetlb mappings it tells about present entries only.
  if (!present && ((entry.vma as Vma).flags & VM_HUGETLB) !== 0) return '.'
  let sum = present ? 1 : 2
  if (hasPage(entry)) {
    if (!sys.pages.isAnon(entry.pfn)) sum += 4
    if (pteKind(entry.flags) !== PTE_KIND_MIGRATION && sys.pages.totalMapcount(toldBy(sys, entry)) === 1) sum += 8
  }
  return sum.toString(16)
}
