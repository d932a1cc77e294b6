// Moving pages between system and device memory (mm/migrate_device.c of Linux 6.1; spec section 4). Three steps, with the
// driver's copy between the first and the second:
//
//   migrateVmaSetup     collects, locks, unmaps and isolates what can move; entries become migration entries
//   (driver)            allocates destinations, copies, fills dst
//   migrateVmaPages     moves the identity of each page to its destination, fills holes
//   migrateVmaFinalize  turns migration entries into mappings of the destination, or of the source where that failed
//
// An extension beyond 6.1 is MIGRATE_PFN_PIN / UNPIN (spec 4.11): the page is unmapped and stays where it is, owned by the
// device, and comes back without a copy.

import { type Addr, PAGE_SIZE, type Pfn, pmdIndex, pteIndex } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import { EAGAIN, EBUSY, EINVAL } from '../base/errno.ts'
import { anonVmaPrepare } from './anon-vma.ts'
import { alikeFrames, copyFrames, framesOfMemory, setFrames } from './frame-runs.ts'
import { isDeviceCoherentPage, isDevicePrivatePage, isZoneDevicePage, pagemapOf } from './memremap.ts'
import { collect, unmapCollected } from './migrate-collect.ts'
import { declineEntry, migrateDeviceFinalize, unpins } from './migrate-finish.ts'
import { idleReferences, isInCache, MOVED_FLAGS, moveIdentity } from './migrate-mapping.ts'
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_PIN,
  MIGRATE_PFN_UNPIN,
  MIGRATE_PFN_VALID,
  MOVED,
  migratePfn,
  migratePfnAt,
  migratePfnRuns,
  migratePfnWords,
  setMigratePfn,
  validPfnAt,
} from './migrate-pfn.ts'
import type { MigrateVma } from './migrate-vma.ts'
import { MM_ANONPAGES } from './mm.ts'
import {
  MMU_NOTIFY_MIGRATE,
  MmuNotifierRange,
  mmuNotifierInvalidateRangeEnd,
  mmuNotifierInvalidateRangeStart,
} from './mmu-notifier.ts'
import { GUP_PIN_COUNTING_BIAS, PG_ANON, PG_HEAD, PG_LRU, PG_SWAPCACHE, PG_TAIL, PG_UPTODATE } from './page.ts'
import { allocEvictionPage, allocKernelPage, getPage, putPage, waitForPage } from './page-alloc.ts'
import { PTE_KIND_DEVICE_PRIVATE, PTE_MKDIRTY, PTE_PRESENT, PTE_WRITE } from './pte.ts'
import { pageAddNewAnonRmap } from './rmap.ts'
import { rmapWalk } from './rmap-walk.ts'
import { freeSwapOfPage } from './swap.ts'
import type { System } from './system.ts'
import { tlbUnmap } from './tlb.ts'
import { VM_HUGETLB, VM_SPECIAL, VM_WRITE } from './vm-flags.ts'
import { type Vma, vmaProtection } from './vma.ts'

export { migrateDeviceFinalize } from './migrate-finish.ts'
export * from './migrate-pfn.ts'
export * from './migrate-vma.ts'

/**
 * Collects, locks, unmaps and isolates the pages of `[args.start, args.end)` that can migrate.
 *
 * Preconditions: mmapLock is held for reading, until after finalize (MG-9).
 *
 * Returns 0, also when nothing can migrate (`args.cpages` is 0 then), or -EINVAL for a range or mapping that cannot be
 * migrated at all (MG-21).
 */
export function migrateVmaSetup(args: MigrateVma): number {
  const npages = Math.floor((args.end - args.start) / PAGE_SIZE)
  args.start -= args.start % PAGE_SIZE
  args.end -= args.end % PAGE_SIZE
  const { vma, start, end } = args
  if (vma === null || (vma.flags & (VM_HUGETLB | VM_SPECIAL)) !== 0) return -EINVAL
  if (!(npages > 0) || start < vma.start || start >= vma.end || end <= vma.start || end > vma.end) return -EINVAL
  // An unaligned range may cover one page more than its length says.
  const ncovered = (end - start) / PAGE_SIZE
  if (!(args.src.length >= ncovered && args.dst.length >= ncovered)) return -EINVAL
  if (args.faultPage >= 0 && !isDevicePrivatePage(vma.mm.sys, args.faultPage)) return -EINVAL
  if (vma.mm.vmaLookup(start) !== vma) return -EINVAL // it was unmapped, or merged with another
  assert(vma.mm.mmapLock.isHeld, 'migrateVmaSetup: the mmapLock is not held')

  args.cpages = 0
  args.npages = 0
  const nbusy = collect(args, vma)
  if (nbusy > 0) args.cpages = unmapCollected(vma.mm.sys, args.src, args.npages, args.faultPage)
  return 0
}

/** Moves the identity of each page that has a destination, and puts destinations into holes. Returns how many pages moved, without holes. */
export function migrateVmaPages(args: MigrateVma): number {
  const { vma } = args
  assert(vma !== null, 'setup succeeded')
  return moveAll(vma.mm.sys, args.src, args.dst, args.npages, args)
}

/**
 * Ends the migration: every migration entry becomes a mapping again, of the destination or of the source. What was not
 * migrated lets its destination go, with the driver's reference; but a page that was to come back with UNPIN is only unlocked:
 * the driver still owns it, with its pin, and its device page still stands for it. A driver may give up before the pages step
 * if it leaves dst empty.
 */
export function migrateVmaFinalize(args: MigrateVma): void {
  const { vma } = args
  assert(vma !== null, 'setup succeeded')
  migrateDeviceFinalize(vma.mm.sys, args.src, args.dst, args.npages)
}

/**
 * Setup for `npages` device frames from `pfn` on, wherever they are mapped: eviction (MG-100). No lock is needed.
 *
 * Returns 0, or -EINVAL if they are not frames of one device, or src is too short.
 */
export function migrateDeviceRange(sys: System, src: BigUint64Array, pfn: Pfn, npages: number): number {
  const { pages } = sys
  const pagemap = pagemapOf(sys, pfn) ?? null
  if (pagemap === null || !Number.isInteger(npages) || npages < 0 || src.length < npages) return -EINVAL
  if (pfn + npages > pagemap.pfn + pagemap.npages) return -EINVAL
  const words = migratePfnWords(src)
  for (let i = 0; i < npages; i++) {
    words[2 * i] = 0
    words[2 * i + 1] = 0
    if (pages.refcount[pfn + i] === 0) continue
    getPage(sys, pfn + i)
    if (!pages.trylock(pfn + i)) {
      putPage(sys, pfn + i)
      continue
    }
    setMigratePfn(words, i, pfn + i, MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE)
  }
  unmapCollected(sys, src, npages, -1)
  return 0
}

/**
 * A frame for a page that leaves the device by frame, from the reserve if need be. Who maps the page says what address it is
 * for, as pages may have home frames. Returns -1 if there is none.
 */
export function allocEvictionTarget(sys: System, pfn: Pfn): Pfn {
  let target = -1
  let isMapped = false
  rmapWalk(sys, pfn, false, (vma, addr) => {
    const table = vma.mm.pageTable.findPte(addr)
    if (table === null || table.words[2 * pteIndex(addr)] !== pfn) return true
    isMapped = true
    target = allocEvictionPage(vma.mm, addr)
    return false
  })
  return isMapped ? target : allocKernelPage(sys, true)
}

/**
 * Moves what `src` and `dst` pair up, frame by frame, as `migrateVmaPages` does within a mapping (`migrate_device_pages`). Returns how many
 * pages moved.
 */
export function migrateDevicePages(sys: System, src: BigUint64Array, dst: BigUint64Array, npages: number): number {
  return moveAll(sys, src, dst, npages, null)
}

/**
 * A page that PIN left in place is not needed any more, as its device page was freed without a fault (munmap, exit): drops
 * the pin and the reference of its isolation (PN-11). For `pageFree`; a page that comes back with UNPIN the driver forgets
 * before `migrateVmaFinalize`, which ends the pin itself and then frees the device page.
 */
export function unpinMigratedPage(sys: System, pfn: Pfn): void {
  const { pages } = sys
  assert(pages.refcount[pfn] > GUP_PIN_COUNTING_BIAS, () => `frame ${pfn} is pinned in place`)
  const left = pages.refcount[pfn] - GUP_PIN_COUNTING_BIAS - 1
  if (left > 0 && (pages.flags[pfn] & PG_LRU) === 0) sys.lru.add(pfn)
  putPage(sys, pfn, GUP_PIN_COUNTING_BIAS + 1)
}

/**
 * Moves one coherent device page to system memory, for a long-term pin (MG-102). Takes over a reference of the caller.
 *
 * Returns 0, -EBUSY if somebody else holds the page or memory is full, or -EAGAIN with `sys.waitFor` set while it is locked.
 */
export function migrateDeviceCoherentPage(sys: System, pfn: Pfn): number {
  if (!sys.pages.trylock(pfn)) {
    waitForPage(sys, pfn)
    putPage(sys, pfn)
    return -EAGAIN
  }
  const src = new BigUint64Array([migratePfn(pfn, MIGRATE_PFN_MIGRATE)])
  const dst = new BigUint64Array(1)
  unmapCollected(sys, src, 1, -1)
  const words = migratePfnWords(src)
  if (words[0] === 0 && words[1] === 0) return -EBUSY
  const target = allocKernelPage(sys)
  if (target >= 0) {
    sys.pages.trylock(target)
    dst[0] = migratePfn(target)
  }
  migrateDevicePages(sys, src, dst, 1)
  const moved = (words[0] & MIGRATE_PFN_MIGRATE) !== 0
  if (moved) sys.mmu.copyFrame(target, pfn)
  migrateDeviceFinalize(sys, src, dst, 1)
  return moved ? 0 : -EBUSY
}

function moveAll(
  sys: System,
  src: BigUint64Array,
  dst: BigUint64Array,
  npages: number,
  args: MigrateVma | null,
): number {
  const srcWords = migratePfnWords(src)
  const dstWords = migratePfnWords(dst)
  let notified: MmuNotifierRange | null = null
  let nmoved = 0
  for (let from = 0; from < npages; from++) {
    const i = movePlain(sys, srcWords, dstWords, from, npages)
    nmoved += i - from
    if (i === npages) break
    from = i
    const newPage = migratePfnAt(dstWords, i)
    const page = migratePfnAt(srcWords, i)
    if (newPage < 0) {
      declineEntry(sys, srcWords, i, page)
      continue
    }
    if (page < 0) {
      if ((srcWords[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
      assert(args !== null && args.vma !== null, 'only a range of a mapping has holes')
      const addr = args.start + i * PAGE_SIZE
      if (notified === null) {
        notified = new MmuNotifierRange(MMU_NOTIFY_MIGRATE, args.vma, args.vma.mm, addr, args.end, args.pgmapOwner)
        mmuNotifierInvalidateRangeStart(notified)
      }
      // A page that was left in place can only take the place of its device page.
      const inserted = !unpins(sys, newPage, dstWords[2 * i]) && insertIntoHole(args.vma, addr, newPage)
      srcWords[2 * i] = inserted ? MIGRATE_PFN_MIGRATE : srcWords[2 * i] & ~MIGRATE_PFN_MIGRATE
      continue
    }
    if ((srcWords[2 * i] & MIGRATE_PFN_MIGRATE) === 0) continue
    if (unpins(sys, newPage, dstWords[2 * i])) {
      assert(sys.pages.refcount[newPage] > GUP_PIN_COUNTING_BIAS, () => `frame ${newPage} is pinned in place`)
    }
    const pin = (srcWords[2 * i] & MIGRATE_PFN_PIN) !== 0
    const moved = movePage(sys, page, newPage, args !== null && args.faultPage === page ? 1 : 0, pin)
    if (moved === 0) nmoved++
    else declineEntry(sys, srcWords, i, page)
  }
  if (notified !== null) mmuNotifierInvalidateRangeEnd(notified)
  return nmoved
}

/**
 * Moves the pages of `[from, to)` up to the first that takes more than this: small pages of anonymous memory that no cache has, and that
 * nobody else holds, to system frames or private ones of a device. Neighbours move together. Returns the index of that one, or `to`.
 */
function movePlain(sys: System, src: Uint32Array, dst: Uint32Array, from: number, to: number): number {
  const { flags, refcount, index, mapping, pagemap } = sys.pages
  let i = from
  while (i < to) {
    const srcFlags = src[2 * i]
    const dstFlags = dst[2 * i]
    if ((srcFlags & MOVED) !== MOVED || (dstFlags & MIGRATE_PFN_VALID) === 0) break
    const page = validPfnAt(src, i)
    const target = validPfnAt(dst, i)
    const device = pagemap[target]
    if (device !== 0 && !isDevicePrivatePage(sys, target)) break
    const isPinned = (srcFlags & MIGRATE_PFN_PIN) !== 0
    const isUnpinned = device === 0 && (dstFlags & MIGRATE_PFN_UNPIN) !== 0
    const state = flags[page]
    if ((state & (PG_ANON | PG_SWAPCACHE | PG_HEAD | PG_TAIL)) !== PG_ANON) break
    if (!isPinned && refcount[page] !== 1) break
    if (isUnpinned && refcount[target] <= GUP_PIN_COUNTING_BIAS) break
    // Only what was looked at here has to be alike: what a page is mapped as, and by whom, goes along as it is.
    let n = migratePfnRuns(src, dst, i, to)
    if (n > 1) {
      n = alikeFrames(refcount, page, alikeFrames(flags, page, n))
      n = alikeFrames(refcount, target, alikeFrames(flags, target, framesOfMemory(sys, target, n)))
    }
    copyFrames(index, page, target, n)
    copyFrames(mapping, page, target, n)
    setFrames(flags, flags[target] | (state & MOVED_FLAGS), target, n)
    i += n
  }
  return i
}

/** Moves what makes `page` what it is to `newPage`; its contents are the driver's task. Returns 0 or -EAGAIN (MG-52, MG-53). */
function movePage(sys: System, page: Pfn, newPage: Pfn, extraRefs: number, pin: boolean): number {
  const toDevice = isZoneDevicePage(sys, newPage)
  // Clean pages stay in the cache of a slow swap device after they were read, and must not be kept from devices by it.
  // Later kernels do the same.
  if ((toDevice || pin) && sys.swap?.device.isSynchronous === false) freeSwapOfPage(sys, page)
  const inCache = isInCache(sys, page)
  if (toDevice && (inCache || !(isDevicePrivatePage(sys, newPage) || isDeviceCoherentPage(sys, newPage)))) {
    return -EAGAIN
  }
  if (pin && inCache) return -EAGAIN
  if (!pin && sys.pages.refcount[page] !== idleReferences(sys, page) + extraRefs) return -EAGAIN
  moveIdentity(sys, page, newPage)
  return 0
}

/** Puts a fresh page where there is none yet, or only the zero page (MG-56, MG-57). */
function insertIntoHole(vma: Vma, addr: Addr, pfn: Pfn): boolean {
  if (!vma.isAnonymous) return false
  const { mm } = vma
  const { sys } = mm
  const { pages } = sys
  const isDevice = isZoneDevicePage(sys, pfn)
  const isPrivate = isDevicePrivatePage(sys, pfn)
  const pmd = mm.pageTable.allocPmd(addr)
  if (pmd.hugeFlags(pmdIndex(addr)) !== 0) return false
  const table = mm.pageTable.allocPte(addr)
  anonVmaPrepare(vma)
  pages.flags[pfn] |= PG_UPTODATE
  if (isDevice && !isPrivate && !isDeviceCoherentPage(sys, pfn)) return false
  const k = pteIndex(addr)
  const old = table.words[2 * k + 1]
  if (old !== 0 && ((old & PTE_PRESENT) === 0 || table.words[2 * k] !== sys.zeroPfn)) return false
  if (mm.isUnstable) return false
  const writable = (vma.flags & VM_WRITE) !== 0
  tlbUnmap(mm, addr, addr + PAGE_SIZE)
  mm.rss[MM_ANONPAGES]++
  pageAddNewAnonRmap(vma, pfn, addr)
  getPage(sys, pfn)
  table.words[2 * k] = pfn
  table.words[2 * k + 1] = isPrivate
    ? PTE_KIND_DEVICE_PRIVATE | (writable ? PTE_WRITE : 0)
    : vmaProtection(vma) | (writable ? PTE_WRITE | PTE_MKDIRTY : 0)
  return true
}
