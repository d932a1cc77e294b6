// Which neighbours are read from swap together with a page that is touched. Follows `swap_vma_readahead` of mm/swap_state.c,
// Linux 6.1: neighbours by address, in a window for each mapping. The window grows while touches go on where it ended, in
// either direction, and shrinks where they jump. Differs from the kernel in going up to 8 MiB.

import { type Addr, PAGE_SIZE, pteIndex } from '../base/addr.ts'
import { allocPage } from './page-alloc.ts'
import { PTE_KIND_SWAP, PTE_PRESENT, pteKind } from './pte.ts'
import type { SwapPage } from './swap-device.ts'
import type { System } from './system.ts'
import { VM_RAND_READ, VM_SEQ_READ } from './vm-flags.ts'
import type { Vma } from './vma.ts'

const WINDOW_MAX = 2048 // pages, 8 MiB
/** The same as a part of memory: with little of it a window would push the one before out. */
const WINDOW_SHARE = 16
const WINDOW_FIRST = 8 // pages, 2^page_cluster of Linux
/** From this window on touches have followed one another, so that the next window is read too. */
const WALK_MIN = 2 * WINDOW_FIRST
/** A touch this close behind a window goes on where it ended: resident pages may lie between. */
const NEAR = 16 * PAGE_SIZE // bytes
/** Frames that read-ahead leaves to those who need one now, where memory is not smaller than eight times that. */
const FREE_MIN = 64

/** What was read last for a mapping. */
interface Window {
  readonly start: Addr
  /** Exclusive. */
  readonly end: Addr
  readonly npages: number
  readonly isBackward: boolean
  /** Read before anybody has asked for any of it: a touch of its first page is the sign to go on. */
  readonly isAhead: boolean
}

const windows = new WeakMap<Vma, Window>()

/**
 * Frames for the neighbours of `addr` that are in swap and worth reading, with their slots: taken, and not yet in the swap
 * cache. The page at `addr` itself is the caller's.
 */
export function swapReadAhead(vma: Vma, addr: Addr): SwapPage[] {
  const last = windows.get(vma)
  const isBackward = last !== undefined && addr < last.start && addr >= last.start - NEAR
  const npages = nextWindow(vma, addr, last, isBackward)
  const nbytes = npages * PAGE_SIZE
  const start = isBackward ? Math.max(vma.start, addr + PAGE_SIZE - nbytes) : addr
  const end = isBackward ? addr + PAGE_SIZE : Math.min(vma.end, addr + nbytes)
  windows.set(vma, { start, end, npages, isBackward, isAhead: false })
  return readable(vma, addr, start, end)
}

/**
 * The same for the window behind the last one, when a touch of `addr` shows that a walk goes on and there is time to read it
 * before it is needed. Empty if it does not.
 */
export function swapReadNext(vma: Vma, addr: Addr): SwapPage[] {
  const last = windows.get(vma)
  if (last === undefined || last.npages < WALK_MIN) return []
  const first = last.isBackward ? last.end - PAGE_SIZE : last.start
  if (addr !== first) return []
  const { isBackward } = last
  const npages = Math.min(2 * last.npages, windowMax(vma))
  const nbytes = npages * PAGE_SIZE
  const start = isBackward ? Math.max(vma.start, last.start - nbytes) : last.end
  const end = isBackward ? last.start : Math.min(vma.end, last.end + nbytes)
  if (start >= end) return []
  windows.set(vma, { start, end, npages, isBackward, isAhead: true })
  return readable(vma, -1, start, end)
}

/** Whether a touch of `addr`, which is in memory, is the first of a window that was read ahead of it. */
export function beginsAhead(vma: Vma, addr: Addr): boolean {
  const last = windows.get(vma)
  return last?.isAhead === true && addr === (last.isBackward ? last.end - PAGE_SIZE : last.start)
}

function nextWindow(vma: Vma, addr: Addr, last: Window | undefined, isBackward: boolean): number {
  if ((vma.flags & VM_RAND_READ) !== 0) return 1
  if ((vma.flags & VM_SEQ_READ) !== 0) return windowMax(vma)
  if (last === undefined) return WINDOW_FIRST
  const isForward = addr >= last.start && addr < last.end + NEAR
  return isForward || isBackward ? Math.min(2 * last.npages, windowMax(vma)) : Math.max(1, last.npages >>> 1)
}

function windowMax({ mm }: Vma): number {
  return Math.min(WINDOW_MAX, Math.ceil(mm.sys.memoryPages / WINDOW_SHARE))
}

function readable({ mm }: Vma, addr: Addr, start: Addr, end: Addr): SwapPage[] {
  const { sys } = mm
  const batch: SwapPage[] = []
  const floor = sys.reservePages + Math.min(FREE_MIN, sys.memoryPages >>> 3)
  for (let at = start; at < end && sys.nfree > floor; at += PAGE_SIZE) {
    if (at === addr) continue
    const table = mm.pageTable.findPte(at)
    if (table === null) continue
    const i = pteIndex(at)
    const flags = table.words[2 * i + 1]
    if ((flags & PTE_PRESENT) !== 0 || pteKind(flags) !== PTE_KIND_SWAP) continue
    const slot = table.words[2 * i]
    if (!isWanted(sys, slot)) continue
    const pfn = allocPage(mm, at)
    if (pfn >= 0) batch.push({ slot, pfn })
  }
  return batch
}

/** The slot has contents, and they are not in memory. */
function isWanted({ swap }: System, slot: number): boolean {
  return swap !== null && !swap.cache.has(slot) && (swap.lost.size === 0 || !swap.lost.has(slot))
}
