// Invariants of frames and of what keeps them: reference and map counts against the entries that were counted, compound
// pages, the LRU, page caches, swap and device memory.

import { type Addr, PAGE_SIZE, type Pfn, PGDIR_SIZE, PMD_SIZE, PUD_SIZE } from '../base/addr.ts'
import { formatAddr } from '../base/assert.ts'
import { AddressSpace } from './address-space.ts'
import {
  PG_AGED,
  PG_ALLOCATED,
  PG_ANON,
  PG_ANON_EXCLUSIVE,
  PG_HEAD,
  PG_HUGETLB,
  PG_LOCKED,
  PG_LRU,
  PG_RESERVED,
  PG_SWAP_IO,
  PG_SWAPCACHE,
  PG_TAIL,
  PG_UPTODATE,
  PG_WRITEBACK,
} from './page.ts'
import { PTE_PRESENT, PTE_SPECIAL, pteNamesFrame } from './pte.ts'
import type { System } from './system.ts'
import type { EntryCounts } from './validate-entries.ts'
import { broken } from './validate-fail.ts'

/** Counts and marks of every frame (INV-1, INV-2, INV-4, INV-12, T-23, T-31). Those that are free cost next to nothing. */
export function validateFrames(sys: System, counts: EntryCounts, heldReferences: ((pfn: Pfn) => number) | null): void {
  const { pages } = sys
  const { nframes, refcount: refcounts, mapcount, mapping } = pages
  const cached = cacheReferences(sys)
  let npagesOnLru = 0
  for (let pfn = 0; pfn < nframes; pfn++) {
    const flags = pages.flags[pfn]
    if ((flags & PG_ALLOCATED) === 0) {
      if ((flags | refcounts[pfn] | mapcount[pfn] | mapping[pfn]) !== 0) brokenFree(sys, pfn)
      continue
    }
    if ((flags & PG_LRU) !== 0) npagesOnLru++
    if ((flags & PG_SWAPCACHE) !== 0) validateSwapCached(sys, pfn)
    if ((flags & PG_RESERVED) !== 0) {
      // The zero page, and the frames of the huge one: entries count neither mappings nor references.
      if (pages.totalMapcount(pfn) !== 0) broken('T-13', `the zero page has mapcount ${pages.totalMapcount(pfn)}`)
      continue
    }
    if (pages.mapcount[pfn] !== counts.mapped[pfn]) {
      broken(
        'INV-1',
        `frame ${pfn}: mapcount is ${pages.mapcount[pfn]}, ${counts.mapped[pfn]} entries map it${whereMapped(sys, pfn)}`,
      )
    }
    if ((flags & PG_ANON_EXCLUSIVE) !== 0 && counts.users[pfn] > 1) {
      broken(
        'INV-2',
        `frame ${pfn} is anon-exclusive and ${counts.users[pfn]} entries refer to it${whereMapped(sys, pfn)}`,
      )
    }
    if ((flags & (PG_HEAD | PG_TAIL)) !== 0) validateCompound(sys, pfn, counts)
    if ((flags & PG_TAIL) !== 0) continue
    const expected = counts.references[pfn] + (cached.get(pfn) ?? 0)
    const refcount = pages.refcount[pfn]
    if (refcount < expected) {
      broken(
        'INV-1',
        `frame ${pfn}: refcount is ${refcount}, entries and caches hold ${expected}${whereMapped(sys, pfn)}`,
      )
    }
    if (heldReferences === null) continue
    const held = heldReferences(pfn)
    if (refcount !== expected + held) {
      broken(
        'T-31',
        `frame ${pfn}: refcount is ${refcount}, entries and caches hold ${expected} and others ${held}${whereMapped(sys, pfn)}`,
      )
    }
  }
  if (npagesOnLru !== sys.lru.size)
    broken('INV-4', `${npagesOnLru} frames are marked as on the LRU, ${sys.lru.size} are`)
}

function brokenFree(sys: System, pfn: Pfn): never {
  const { refcount, mapcount, flags, mapping } = sys.pages
  broken(
    'INV-12',
    `frame ${pfn} is free with refcount ${refcount[pfn]}, mapcount ${mapcount[pfn]}, flags 0x${flags[pfn].toString(16)}` +
      ` and mapping ${mapping[pfn]}`,
  )
}

function validateSwapCached({ pages, swap }: System, pfn: Pfn): void {
  if (swap?.cache.get(pages.swap[pfn]) === pfn) return
  broken('T-31', `frame ${pfn} says it is in the swap cache for slot ${pages.swap[pfn]}, and is not`)
}

function validateCompound(sys: System, pfn: Pfn, counts: EntryCounts): void {
  const { pages } = sys
  const flags = pages.flags[pfn]
  const head = pages.head(pfn)
  if ((flags & PG_TAIL) !== 0) {
    if ((pages.flags[head] & PG_HEAD) === 0 || (flags & PG_HEAD) !== 0) {
      broken('T-23', `frame ${pfn} is a tail and frame ${head} is not its head`)
    }
    if (pages.refcount[pfn] !== 0) broken('T-23', `tail frame ${pfn} has refcount ${pages.refcount[pfn]}`)
    return
  }
  const compound = pages.compound.get(pfn)
  if (compound === undefined) broken('T-23', `frame ${pfn} is a head without the state of a compound page`)
  const whole = counts.mappedWhole.get(pfn) ?? 0
  if (compound.mapcount !== whole) {
    broken('INV-1', `compound frame ${pfn}: mapcount is ${compound.mapcount}, ${whole} huge entries map it`)
  }
  if (compound.pincount < 0) broken('T-23', `compound frame ${pfn}: pincount is ${compound.pincount}`)
  for (let i = 1; i < 1 << compound.order; i++) {
    if ((pages.flags[pfn + i] & PG_TAIL) === 0) broken('T-23', `frame ${pfn + i} is no tail of compound frame ${pfn}`)
  }
}

/** Free pages of the hugetlb pool cover what was promised to mappings. */
export function validateHugetlbPool(sys: System, level: 'cheap' | 'full'): void {
  const { hugetlb, pages } = sys
  const { npages, nfree, reserved } = hugetlb
  if (reserved < 0 || reserved > nfree || nfree > npages) {
    broken('T-23', `hugetlb pool: ${reserved} reserved of ${nfree} free of ${npages} pages`)
  }
  if (level === 'cheap') return
  let used = 0
  let free = 0
  for (const head of pages.compound.keys()) {
    if ((pages.flags[head] & PG_HUGETLB) === 0) continue
    if (pages.refcount[head] > 0) used++
    else free++
  }
  if (free !== nfree || used + free !== npages) {
    broken('T-23', `hugetlb pool: ${nfree} of ${npages} pages are free, ${free} pages are unused and ${used} in use`)
  }
}

/** References of page caches, of the swap cache, and of reads and writes that are under way. */
function cacheReferences(sys: System): Map<Pfn, number> {
  const references = new Map<Pfn, number>()
  const add = (pfn: Pfn): void => {
    references.set(pfn, (references.get(pfn) ?? 0) + 1)
  }
  for (const mapping of sys.mappings.values()) if (mapping instanceof AddressSpace) mapping.pages.forEach(add)
  if (sys.swap === null) return references
  for (const [, pfn] of sys.swap.cache) {
    add(pfn)
    if ((sys.pages.flags[pfn] & PG_SWAP_IO) !== 0) add(pfn)
  }
  return references
}

/** Addresses that refer to a frame, for a message. */
function whereMapped(sys: System, pfn: Pfn): string {
  const found: string[] = []
  for (const mm of sys.mms) {
    mm.pageTable.puds.forEach((pud, i) => {
      pud?.pmds.forEach((pmd, j) => {
        pmd?.tables.forEach((table, k) => {
          if (table === null) return
          for (let l = 0; l < 512; l++) {
            const flags = table.words[2 * l + 1]
            const names = (flags & (PTE_PRESENT | PTE_SPECIAL)) === PTE_PRESENT || pteNamesFrame(flags)
            if (!names || table.words[2 * l] !== pfn) continue
            const addr: Addr = i * PGDIR_SIZE + j * PUD_SIZE + k * PMD_SIZE + l * PAGE_SIZE
            found.push(`${formatAddr(addr)} of address space ${mm.space}`)
          }
        })
      })
    })
  }
  return found.length === 0 ? '' : `: ${found.slice(0, 4).join(', ')}`
}

/** The list is linked both ways and holds pages that are marked as on it, none of them free or of a device (INV-4). */
export function validateLru(sys: System): void {
  const { lru, pages } = sys
  let size = 0
  let naged = 0
  let previous = -1
  for (let pfn = lru.first; pfn >= 0; pfn = pages.lruNext[pfn]) {
    if (pages.lruPrev[pfn] !== previous) {
      broken('INV-4', `frame ${pfn} on the LRU: the one before is ${previous}, its link says ${pages.lruPrev[pfn]}`)
    }
    if ((pages.flags[pfn] & PG_LRU) === 0) broken('INV-4', `frame ${pfn} is on the LRU and not marked`)
    if (pages.pagemap[pfn] !== 0) broken('INV-4', `frame ${pfn} is device memory and on the LRU`)
    if ((pages.flags[pfn] & PG_TAIL) !== 0) broken('INV-4', `tail frame ${pfn} is on the LRU`)
    const isAged = (pages.flags[pfn] & PG_AGED) !== 0
    if (isAged !== (naged > 0 || pfn === lru.agedFirst)) {
      broken(
        'INV-4',
        `frame ${pfn} on the LRU: the aged pages begin with frame ${lru.agedFirst}, its mark says otherwise`,
      )
    }
    if (isAged) naged++
    size++
    if (size > pages.nframes) broken('INV-4', 'the LRU is a ring')
    previous = pfn
  }
  if (lru.last !== previous) broken('INV-4', `the LRU ends with frame ${previous}, last says ${lru.last}`)
  if (lru.size !== size) broken('INV-4', `the LRU has ${size} pages, size says ${lru.size}`)
  if (lru.naged !== naged) broken('INV-4', `the LRU has ${naged} aged pages, naged says ${lru.naged}`)
}

/** Cached pages name their file and their place in it (T-31). */
export function validatePageCache(sys: System, mapping: AddressSpace): void {
  const { pages } = sys
  for (const [pgoff, pfn] of mapping.pages) {
    const name = `${mapping.name}: page ${pgoff} in frame ${pfn}`
    if (pages.refcount[pfn] <= 0) broken('T-31', `${name}, which is free`)
    if ((pages.flags[pfn] & PG_ANON) !== 0 || pages.mapping[pfn] !== mapping.id || pages.index[pfn] !== pgoff) {
      broken('T-31', `${name}, which says it is page ${pages.index[pfn]} of mapping ${pages.mapping[pfn]}`)
    }
    if (pgoff >= mapping.npages) broken('T-31', `${name} lies beyond the ${mapping.npages} pages of the file`)
    if (mapping.swapped.has(pgoff)) broken('T-31', `${name} and in swap slot ${mapping.swapped.get(pgoff)} too`)
  }
}

/** A slot has one use per entry, per file page, and one for the swap cache (CP-55). */
export function validateSwap(sys: System, counts: EntryCounts): void {
  const { swap, pages } = sys
  if (swap === null) return
  const users = new Map(counts.swapped)
  for (const mapping of sys.mappings.values()) {
    if (!(mapping instanceof AddressSpace)) continue
    for (const slot of mapping.swapped.values()) users.set(slot, (users.get(slot) ?? 0) + 1)
  }
  for (const [slot] of swap.cache) users.set(slot, (users.get(slot) ?? 0) + 1)
  for (const [slot, expected] of users) {
    if (swap.counts[slot] !== expected) {
      broken('CP-55', `swap slot ${slot}: the count is ${swap.counts[slot]}, ${expected} users are there`)
    }
  }
  let nused = 0
  for (let slot = 0; slot < swap.counts.length; slot++) {
    if (swap.counts[slot] === 0) continue
    if (!users.has(slot)) broken('CP-55', `swap slot ${slot}: the count is ${swap.counts[slot]}, 0 users are there`)
    nused++
  }
  if (swap.nfree !== swap.npages - nused) {
    broken('CP-55', `swap: ${swap.npages - nused} slots are free, nfree says ${swap.nfree}`)
  }
  for (const slot of counts.swappedExclusive) {
    const nusers = swap.users(slot)
    if (nusers > 1) broken('INV-2', `swap slot ${slot} has an exclusive entry and ${nusers} users`)
  }
  for (const [slot, pfn] of swap.cache) {
    if ((pages.flags[pfn] & PG_SWAPCACHE) === 0 || pages.swap[pfn] !== slot) {
      broken('T-31', `frame ${pfn} is in the swap cache for slot ${slot} and does not know`)
    }
  }
  let ninFlight = 0
  for (let pfn = 0; pfn < pages.nframes; pfn++) {
    const flags = pages.flags[pfn]
    if ((flags & PG_SWAP_IO) === 0) continue
    ninFlight++
    const isRead = (flags & (PG_LOCKED | PG_UPTODATE)) === PG_LOCKED
    if ((flags & PG_SWAPCACHE) === 0 || (flags & PG_LRU) !== 0 || isRead === ((flags & PG_WRITEBACK) !== 0)) {
      broken('T-31', `frame ${pfn} is on its way to or from swap with flags 0x${flags.toString(16)}`)
    }
    if (pages.isMapped(pfn)) broken('T-31', `frame ${pfn} is on its way to or from swap and mapped`)
  }
  if (swap.ninFlight !== ninFlight) {
    broken('T-31', `${ninFlight} frames are on their way to or from swap, ninFlight says ${swap.ninFlight}`)
  }
}

/** Device memory: frames in use, and nothing of it anywhere it cannot be (DM-5). */
export function validatePagemaps(sys: System, level: 'cheap' | 'full'): void {
  const { pages } = sys
  for (const pagemap of sys.pagemaps) {
    if (pagemap === null) continue
    const { pfn, npages, live, id } = pagemap
    if (live < 0 || live > npages) broken('DM-5', `device memory ${id}: ${live} of ${npages} frames are in use`)
    if (level === 'cheap') continue
    let used = 0
    for (let i = pfn; i < pfn + npages; i++) {
      if (pages.pagemap[i] !== id)
        broken('DM-5', `frame ${i} of device memory ${id} says it belongs to ${pages.pagemap[i]}`)
      if (pages.refcount[i] > 0) used++
      if ((pages.flags[i] & PG_HUGETLB) !== 0) broken('DM-5', `frame ${i} of device memory ${id} is a hugetlb page`)
    }
    if (used !== live) broken('DM-5', `device memory ${id}: ${used} frames are in use, live says ${live}`)
  }
}
