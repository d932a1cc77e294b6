// The range fault: fills an array with what the CPU page table says about each page of a range, after faulting in the pages
// that the driver asks for. Follows mm/hmm.c of Linux 6.1 (spec section 3); one walk serves both forms of hmm-range.ts.
//
//   [start .................................................................. end)
//    | hole | VMA part: | 512 GiB / 1 GiB / 2 MiB missing | table of <= 2 MiB | huge entry | ... | refused VMA | hole |
//     ERROR   test        one extent: all or nothing        entry by entry      one extent          ERROR
//
// A page that needs a fault ends the walk: it and everything after it in its extent are faulted in, and the walk restarts
// there (`last`). So entries below `last` are final outputs, entries from `last` on still hold their requests.
//
// It differs from the kernel where the kernel sleeps: a migration entry in the way, or a fault that cannot finish yet
// (VM_FAULT_RETRY), makes the call return -EAGAIN with `sys.waitFor` naming what to wait for. And a fault handler that says
// "done" again and again without effect does not hang the call: after FRUITLESS_FAULTS_MAX rounds it returns -EBUSY, which
// leaves the end to the driver's deadline.

import {
  type Addr,
  PAGE_SIZE,
  type Pfn,
  PMD_ORDER,
  pgdAddrEnd,
  pmdAddrEnd,
  pmdIndex,
  pteIndex,
  pudAddrEnd,
} from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { EAGAIN, EBUSY, EFAULT, EINVAL, EPERM } from '../base/errno.ts'
import { handleMmFault } from '../mm/fault.ts'
import { pagemapOf } from '../mm/memremap.ts'
import type { Mm } from '../mm/mm.ts'
import { mmuIntervalCheckRetry } from '../mm/mmu-notifier.ts'
import type { PmdTable } from '../mm/pgtable.ts'
import {
  PTE_KIND_DEVICE_EXCLUSIVE,
  PTE_KIND_DEVICE_PRIVATE,
  PTE_KIND_MARKER,
  PTE_KIND_MIGRATION,
  PTE_KIND_SWAP,
  PTE_PROTNONE,
  PTE_SPECIAL,
  type PteFlags,
  pteKind,
  pteNone,
  ptePresent,
  pteWritable,
} from '../mm/pte.ts'
import { FAULT_FLAG_REMOTE, FAULT_FLAG_WRITE, VM_FAULT_ERROR, VM_FAULT_RETRY } from '../mm/vm-fault.ts'
import { VM_HUGETLB, VM_IO, VM_MIXEDMAP, VM_PFNMAP, VM_READ, VM_WRITE } from '../mm/vm-flags.ts'
import type { Vma } from '../mm/vma.ts'
import { type HmmEncoding, hmmEncodingOf } from './hmm-encoding.ts'
import {
  HMM_PFN_REQ_FAULT_HI,
  HMM_PFN_REQ_WRITE_HI,
  HMM_PFN_VALID_HI,
  HMM_PFN_WRITE_HI,
  hmmPfnOrderHi,
} from './hmm-pfn.ts'
import type { HmmRange, HmmRange61 } from './hmm-range.ts'

/** Rounds that may end at the same page without satisfying it. Two is the most that an honest fault handler needs. */
const FRUITLESS_FAULTS_MAX = 16

/** A walk that faulted something and has to look again; no errno is positive. */
const RESTART = 1

/** The need-fault decision (RF-35). A write fault includes the read fault, so decisions of an extent can be or-ed. */
const NEED_NONE = 0
const NEED_READ = 1
const NEED_WRITE = 3

/** Nothing that the CPU could use. */
const CPU_NONE = 0

/**
 * Fills the entries of `range` with the state of each page, faulting in pages where the request asks for it.
 *
 * Preconditions:
 * - the mmapLock of the address space is held (for reading is enough), and so is a user reference.
 * - range.notifierSeq is from mmuIntervalReadBegin(range.notifier), whose interval covers the range.
 * - the array has an entry for every page of [start, end).
 *
 * Returns 0 (with version '5.7' the number of pages up to where the walk last stood, RF-110), or
 * - -EBUSY  invalidated meanwhile: begin again with a new sequence number and rebuilt requests
 * - -EAGAIN must wait for `sys.waitFor`, then begin again likewise
 * - -EINVAL start >= end
 * - -EPERM  a page is requested for writing and its mapping is read-only
 * - -EFAULT a requested page has no mapping, or one that cannot be read, or the fault failed
 *
 * After a failure the entries before the part that failed are final, the others hold their requests (RF-100 to RF-104).
 */
export function hmmRangeFault(range: HmmRange | HmmRange61): number {
  const { notifier } = range
  assert(notifier.mm.mmapLock.isHeld, 'hmmRangeFault: the mmapLock is not held')
  const walk = new HmmWalk(range, hmmEncodingOf(range))
  let faultedLast = -1
  let fruitless = 0
  for (;;) {
    if (mmuIntervalCheckRetry(notifier, range.notifierSeq)) return -EBUSY
    if (range.start >= range.end) return -EINVAL
    walk.assertFits()
    const result = walk.run()
    if (result !== RESTART) return result === 0 ? walk.result() : result
    fruitless = walk.last === faultedLast ? fruitless + 1 : 0
    if (fruitless === FRUITLESS_FAULTS_MAX) return -EBUSY
    faultedLast = walk.last
  }
}

function needFault(request: number, cpu: number): number {
  if ((request & HMM_PFN_REQ_FAULT_HI) === 0) return NEED_NONE
  if ((request & HMM_PFN_REQ_WRITE_HI) !== 0 && (cpu & HMM_PFN_WRITE_HI) === 0) return NEED_WRITE
  return (cpu & HMM_PFN_VALID_HI) === 0 ? NEED_READ : NEED_NONE
}

/** One call of hmmRangeFault. Methods return 0 to go on, RESTART, or a negative errno. */
class HmmWalk {
  /** Where the walk starts; entries below are final. Version '5.7' moves it on success too, to count pages. */
  last: Addr
  private readonly mm: Mm
  private readonly start: Addr
  private readonly end: Addr
  private readonly encoding: HmmEncoding
  private readonly owner: unknown
  private readonly is57: boolean
  private readonly zeroPfn: Pfn
  /** Mappings that are refused outright, besides those without READ. */
  private readonly refusedFlags: number
  /** The mapping that is being walked. */
  private vma: Vma | null = null

  constructor(range: HmmRange | HmmRange61, encoding: HmmEncoding) {
    this.mm = range.notifier.mm
    this.start = range.start
    this.end = range.end
    this.last = range.start
    this.encoding = encoding
    this.owner = range.devPrivateOwner
    this.is57 = range.version === '5.7'
    this.zeroPfn = this.mm.sys.zeroPfn
    this.refusedFlags = this.is57 ? VM_IO | VM_PFNMAP | VM_MIXEDMAP : VM_IO | VM_PFNMAP
  }

  assertFits(): void {
    const npages = Math.ceil((this.end - this.start) / PAGE_SIZE)
    assert(
      this.encoding.npages >= npages,
      () => `hmmRangeFault: ${this.encoding.npages} entries for a range of ${npages} pages`,
    )
  }

  result(): number {
    return this.is57 ? Math.floor((this.last - this.start) / PAGE_SIZE) : 0
  }

  /** Cuts `[last, end)` at the borders of mappings (RF-43). */
  run(): number {
    const { end } = this
    const { vmas } = this.mm
    let addr = this.last
    let index = this.mm.vmaIndexAbove(addr)
    while (addr < end) {
      const vma = index < vmas.length ? vmas[index] : null
      let result: number
      let partEnd: Addr
      if (vma === null || addr < vma.start) {
        partEnd = vma === null || vma.start > end ? end : vma.start
        result = this.addressHole(addr, partEnd)
      } else {
        partEnd = vma.end < end ? vma.end : end
        index++
        result = this.isRefused(vma) ? this.refusedPart(addr, partEnd) : this.mappedPart(vma, addr, partEnd)
      }
      if (result !== 0) return result
      addr = partEnd
    }
    return 0
  }

  private isRefused(vma: Vma): boolean {
    return (vma.flags & this.refusedFlags) !== 0 || (vma.flags & VM_READ) === 0
  }

  /** RF-52. */
  private addressHole(addr: Addr, end: Addr): number {
    if (this.extentNeedsFault(addr, end, CPU_NONE) !== NEED_NONE) return -EFAULT
    this.encoding.fillError(this.indexOf(addr), this.npagesOf(addr, end))
    return 0
  }

  /** RF-50. */
  private refusedPart(addr: Addr, end: Addr): number {
    if (this.extentNeedsFault(addr, end, CPU_NONE) !== NEED_NONE) return -EFAULT
    this.encoding.fillError(this.indexOf(addr), this.npagesOf(addr, end))
    if (this.is57) this.last = end
    return 0
  }

  /** The part of the range in one accepted mapping, by the levels of the page table (RF-44). */
  private mappedPart(vma: Vma, addr: Addr, end: Addr): number {
    this.vma = vma
    const { pageTable } = this.mm
    const isHugetlb = (vma.flags & VM_HUGETLB) !== 0
    while (addr < end) {
      let result: number
      let extentEnd: Addr
      const pmd = pageTable.findPmd(addr)
      if (isHugetlb) {
        extentEnd = pmdAddrEnd(addr, end)
        result = pmd === null ? this.hole(addr, extentEnd) : this.hugetlbEntry(pmd, addr, extentEnd)
      } else if (pmd === null) {
        extentEnd = pageTable.findPud(addr) === null ? pgdAddrEnd(addr, end) : pudAddrEnd(addr, end)
        result = this.hole(addr, extentEnd)
      } else {
        extentEnd = pmdAddrEnd(addr, end)
        result = this.pmdEntry(pmd, addr, extentEnd)
      }
      if (result !== 0) return result
      addr = extentEnd
    }
    return 0
  }

  /** No table at this level: all pages or none are faulted (RF-45). */
  private hole(addr: Addr, end: Addr): number {
    const need = this.extentNeedsFault(addr, end, CPU_NONE)
    if (need !== NEED_NONE) return this.faultIn(addr, end, need)
    if (this.is57) this.last = addr
    this.encoding.fillNone(this.indexOf(addr), this.npagesOf(addr, end))
    return 0
  }

  private pmdEntry(pmd: PmdTable, addr: Addr, end: Addr): number {
    const slot = pmdIndex(addr)
    const table = pmd.tables[slot]
    if (table !== null) return this.tableExtent(table.words, addr, end)
    const flags = pmd.hugeFlags(slot)
    if (pteNone(flags)) return this.hole(addr, end)
    if (ptePresent(flags)) return this.hugeExtent(flags, pmd.hugePfn(slot), addr, end)
    const need = this.extentNeedsFault(addr, end, CPU_NONE)
    if (pteKind(flags) === PTE_KIND_MIGRATION) {
      if (need !== NEED_NONE) return this.waitForMigration(addr)
      this.encoding.fillNone(this.indexOf(addr), this.npagesOf(addr, end))
    } else {
      if (need !== NEED_NONE) return -EFAULT
      this.encoding.fillError(this.indexOf(addr), this.npagesOf(addr, end))
    }
    return 0
  }

  /** A transparent huge page, or the part of it that the range covers (RF-74). */
  private hugeExtent(flags: PteFlags, pfn: Pfn, addr: Addr, end: Addr): number {
    let state = this.cpuState(flags)
    if (state !== CPU_NONE) state |= hmmPfnOrderHi(PMD_ORDER)
    const need = this.extentNeedsFault(addr, end, state)
    if (need !== NEED_NONE) return this.faultIn(addr, end, need)
    this.encoding.putPages(this.indexOf(addr), this.npagesOf(addr, end), pfn + pteIndex(addr), this.output(state))
    if (this.is57) this.last = end
    return 0
  }

  /** A hugetlb page: its first page in the range decides for all (RF-78). */
  private hugetlbEntry(pmd: PmdTable, addr: Addr, end: Addr): number {
    const slot = pmdIndex(addr)
    const flags = pmd.hugeFlags(slot)
    const state = this.cpuState(flags) | hmmPfnOrderHi(PMD_ORDER)
    const index = this.indexOf(addr)
    const need = needFault(this.encoding.requestOf(index), state)
    if (need !== NEED_NONE) return this.faultIn(addr, end, need)
    // An entry that is not present has no frame to name; what is left is the place of the page in the huge page.
    const pfn = ptePresent(flags) ? pmd.hugePfn(slot) : 0
    this.encoding.putPages(index, this.npagesOf(addr, end), pfn + pteIndex(addr), this.output(state))
    if (this.is57) this.last = end
    return 0
  }

  /** A last-level table: entry by entry (RF-46). */
  private tableExtent(words: Uint32Array, addr: Addr, end: Addr): number {
    const { encoding, zeroPfn } = this
    const npages = this.npagesOf(addr, end)
    const index = this.indexOf(addr)
    const at = pteIndex(addr)
    for (let i = 0; i < npages; ) {
      i += encoding.takePlain(index + i, npages - i, words, at + i, zeroPfn)
      if (i === npages) break
      const nown = this.takeOwn(words, at + i, npages - i, index + i)
      if (nown > 0) {
        i += nown
        continue
      }
      const result = this.entry(words[2 * (at + i) + 1], words[2 * (at + i)], index + i, addr + i * PAGE_SIZE, end)
      if (result !== 0) return result
      i++
    }
    if (this.is57) this.last = end
    return 0
  }

  /**
   * Takes entries of the driver's own pages from entry `at` on, as long as they are neighbours with the same rights. Whatever was
   * requested (RF-64): the driver finds its own page in its own memory. Returns how many.
   */
  private takeOwn(words: Uint32Array, at: number, npages: number, index: number): number {
    const flags = words[2 * at + 1]
    if (ptePresent(flags) || pteKind(flags) !== PTE_KIND_DEVICE_PRIVATE) return 0
    const pfn = words[2 * at]
    const pagemap = pagemapOf(this.mm.sys, pfn)
    if (pagemap === null || pagemap.owner !== this.owner) return 0
    const limit = Math.min(npages, pagemap.pfn + pagemap.npages - pfn)
    let n = 1
    while (n < limit && words[2 * (at + n)] === pfn + n && words[2 * (at + n) + 1] === flags) n++
    const state = pteWritable(flags) ? HMM_PFN_VALID_HI | HMM_PFN_WRITE_HI : HMM_PFN_VALID_HI
    this.encoding.putPages(index, n, pfn, state)
    return n
  }

  /** One entry that is not plain or does not satisfy its request; `end` ends the table extent. */
  private entry(flags: PteFlags, pfn: Pfn, index: number, addr: Addr, end: Addr): number {
    const { encoding } = this
    const request = encoding.requestOf(index)
    const kind = pteKind(flags)
    if (!ptePresent(flags)) {
      const need = needFault(request, CPU_NONE)
      if (need === NEED_NONE) {
        encoding.fillNone(index, 1)
        return 0
      }
      switch (kind) {
        case 0: // empty
        case PTE_KIND_MARKER:
        case PTE_KIND_SWAP:
        case PTE_KIND_DEVICE_EXCLUSIVE:
          return this.faultIn(addr, end, need)
        case PTE_KIND_DEVICE_PRIVATE:
          return this.is57 ? -EFAULT : this.faultIn(addr, end, need) // RF-111, RF-65
        case PTE_KIND_MIGRATION:
          return this.waitForMigration(addr)
        default:
          return -EFAULT // poisoned, or could not be read back from swap
      }
    }
    const state = this.cpuState(flags)
    const need = needFault(request, state)
    if (need !== NEED_NONE) return this.faultIn(addr, end, need)
    if ((flags & PTE_SPECIAL) !== 0 && pfn !== this.zeroPfn) {
      if (needFault(request, CPU_NONE) !== NEED_NONE) return -EFAULT
      encoding.putSpecial(index)
      return 0
    }
    encoding.putPages(index, 1, pfn, this.output(state))
    return 0
  }

  /** What the CPU may do through an entry, in the bits of the 6.1 form. */
  private cpuState(flags: PteFlags): number {
    if (!ptePresent(flags) || (flags & PTE_PROTNONE) !== 0) return CPU_NONE
    return pteWritable(flags) ? HMM_PFN_VALID_HI | HMM_PFN_WRITE_HI : HMM_PFN_VALID_HI
  }

  /** v5.7 added VALID to every frame that it put out, whether the CPU could use it or not (RF-113). */
  private output(state: number): number {
    return this.is57 ? state | HMM_PFN_VALID_HI : state
  }

  /** The union of the decisions for the pages of an extent (RF-37). */
  private extentNeedsFault(addr: Addr, end: Addr, cpu: number): number {
    const { encoding } = this
    if (!encoding.mayFault) return NEED_NONE
    if (encoding.isUniform) return needFault(encoding.commonRequest, cpu)
    const first = this.indexOf(addr)
    const last = first + this.npagesOf(addr, end)
    let need = NEED_NONE
    for (let index = first; index < last && need !== NEED_WRITE; index++) {
      need |= needFault(encoding.requestOf(index), cpu)
    }
    return need
  }

  /** Faults in `[addr, end)` of the mapping that is being walked, page by page (RF-48). */
  private faultIn(addr: Addr, end: Addr, need: number): number {
    const vma = this.vma as Vma
    this.last = addr
    let flags = FAULT_FLAG_REMOTE
    if (need === NEED_WRITE) {
      if ((vma.flags & VM_WRITE) === 0) return -EPERM
      flags |= FAULT_FLAG_WRITE
    }
    for (let at = addr; at < end; at += PAGE_SIZE) {
      const fault = handleMmFault(vma, at, flags)
      if ((fault & VM_FAULT_ERROR) !== 0) return -EFAULT
      if ((fault & VM_FAULT_RETRY) !== 0) return -EAGAIN
    }
    return RESTART
  }

  /** The fault handler waits for the same migration, so it is asked whom to wait for. */
  private waitForMigration(addr: Addr): number {
    this.last = addr
    const fault = handleMmFault(this.vma as Vma, addr, FAULT_FLAG_REMOTE)
    if ((fault & VM_FAULT_ERROR) !== 0) return -EFAULT
    return (fault & VM_FAULT_RETRY) !== 0 ? -EAGAIN : RESTART
  }

  private indexOf(addr: Addr): number {
    return Math.floor((addr - this.start) / PAGE_SIZE)
  }

  private npagesOf(addr: Addr, end: Addr): number {
    return Math.ceil((end - addr) / PAGE_SIZE)
  }
}
