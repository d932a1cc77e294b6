// What the kernel knows about the pages of this process: /proc/self/pagemap. Two questions are asked of it.
//
// Which pages still carry their write-protection mark? A page that was mapped with protection and has the mark was not
// written, whoever is asked later: the mark of a clean page outlives the zap of its translation. A written page has none, and
// neither has a page whose table was freed, so what is not proven clean counts as written.
//
// Which pages were written since they were protected, and protect them again, in one step per page: PAGEMAP_SCAN.

import { closeSync, openSync } from 'node:fs'
import { type Addr, addrToVpn, PAGE_SIZE } from '../../base/addr.ts'
import { EIO, ENODEV, MmError } from '../../base/errno.ts'
import {
  PAGE_IS_WRITTEN,
  PAGE_REGION_LAYOUT,
  PAGEMAP_SCAN,
  PM_SCAN_ARG_LAYOUT,
  PM_SCAN_WP_MATCHING,
} from '../../uapi/userfaultfd.ts'
import { type Kernel, systemError } from './ffi.ts'

const PATH = '/proc/self/pagemap'
const ENTRY_NBYTES = 8 // bytes, one page
/** Bit 57 of an entry, in its high word: the page carries the mark of write protection. */
const PM_UFFD_WP_HI = 1 << (57 - 32)

/** Where data lies in the control block, behind the arguments. */
const DATA = 4096 // bytes

export class Pagemap {
  readonly #kernel: Kernel
  readonly #fd: number
  readonly #entriesMax: number
  readonly #regionsMax: number

  /** Throws an MmError with ENODEV where /proc is missing or closed to us. */
  constructor(kernel: Kernel) {
    this.#kernel = kernel
    const room = kernel.control.bytes.length - DATA
    this.#entriesMax = Math.floor(room / ENTRY_NBYTES)
    this.#regionsMax = Math.floor(room / PAGE_REGION_LAYOUT.size)
    try {
      this.#fd = openSync(PATH, 'r')
    } catch (error) {
      throw new MmError(-ENODEV, 'open', { detail: error instanceof Error ? error.message : String(error) })
    }
  }

  close(): void {
    closeSync(this.#fd)
  }

  /** Sets `marks[at + i]` to 1 if page i carries the mark of write protection, else to 0. */
  readMarks(addr: Addr, npages: number, marks: Uint8Array, at: number): void {
    const { control } = this.#kernel
    for (let first = 0; first < npages; ) {
      const wanted = Math.min(npages - first, this.#entriesMax)
      const offset = (addrToVpn(addr) + first) * ENTRY_NBYTES
      const nbytes = this.#kernel.pread(this.#fd, control.addr + DATA, wanted * ENTRY_NBYTES, offset)
      if (nbytes < ENTRY_NBYTES) throw systemError(nbytes < 0 ? nbytes : -EIO, 'pread of pagemap', addr)
      const count = Math.floor(nbytes / ENTRY_NBYTES)
      const { words } = control
      for (let i = 0, word = DATA / 4 + 1; i < count; i++, word += 2) {
        marks[at + first + i] = (words[word] & PM_UFFD_WP_HI) !== 0 ? 1 : 0
      }
      first += count
    }
  }

  /**
   * Sets `written[at + i]` to 1 for each page without the mark and gives it one: a later store is found by the next call.
   * What is 1 already stays so.
   */
  collectWritten(addr: Addr, npages: number, written: Uint8Array, at: number): void {
    const { control } = this.#kernel
    const end = addr + npages * PAGE_SIZE
    for (let start = addr; start < end; ) {
      const count = this.#scan(start, end, PM_SCAN_WP_MATCHING)
      if (count < 0) throw systemError(count, 'PAGEMAP_SCAN', start)
      for (let i = 0; i < count; i++) {
        const region = (DATA + i * PAGE_REGION_LAYOUT.size) / 8
        const from = (control.get(region) - addr) / PAGE_SIZE
        const to = (control.get(region + 1) - addr) / PAGE_SIZE
        written.fill(1, at + from, at + to)
      }
      start = control.get(PM_SCAN_ARG_LAYOUT.walkEnd / 8)
    }
  }

  /** Whether this kernel has PAGEMAP_SCAN. */
  canScan(): boolean {
    const at = this.#kernel.control.addr
    const page = at - (at % PAGE_SIZE)
    return this.#scan(page, page + PAGE_SIZE, 0) >= 0
  }

  /** Written regions go to the control block. Returns their number, or a negative errno. */
  #scan(start: Addr, end: Addr, flags: number): number {
    const { control } = this.#kernel
    const layout = PM_SCAN_ARG_LAYOUT
    control.set(layout.structSize / 8, layout.size)
    control.set(layout.flags / 8, flags)
    control.set(layout.start / 8, start)
    control.set(layout.end / 8, end)
    control.set(layout.walkEnd / 8, 0)
    control.set(layout.vec / 8, control.addr + DATA)
    control.set(layout.vecLen / 8, this.#regionsMax)
    control.set(layout.maxPages / 8, 0)
    control.set(layout.categoryInverted / 8, 0)
    control.set(layout.categoryMask / 8, PAGE_IS_WRITTEN)
    control.set(layout.categoryAnyofMask / 8, 0)
    control.set(layout.returnMask / 8, PAGE_IS_WRITTEN)
    return this.#kernel.ioctl(this.#fd, PAGEMAP_SCAN)
  }
}
