// What is checked before a launch changes anything: its ranges, that its slices are parts of them, that they fit, and that they are
// mapped as they are used.

import { type Addr, addrToVpn, pageAlignDown, pageAlignUp } from '../../base/addr.ts'
import { formatAddr } from '../../base/assert.ts'
import { EACCES, EFAULT, ENOMEM, MmError } from '../../base/errno.ts'
import type { Mm } from '../../mm/mm.ts'
import { collectWrites } from '../../mm/share.ts'
import { VM_READ, VM_WRITE } from '../../mm/vm-flags.ts'
import type { AddrRange } from '../claims.ts'
import { mmapReadLock } from '../edge.ts'
import type { LaunchSlice } from './launch-request.ts'
import type { Operation } from './operation.ts'
import { RenewedDuplicates } from './renewed-duplicates.ts'

/** Throws a TypeError or RangeError for ranges that are none. */
export function checkRanges(mm: Mm, ranges: readonly AddrRange[], name: string): void {
  for (const { start, end } of ranges) {
    if (typeof start !== 'number' || typeof end !== 'number') {
      throw new TypeError(`${name}: a range from ${typeof start} to ${typeof end}, wanted byte addresses`)
    }
    if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || start >= end || end > mm.taskSize) {
      throw new RangeError(
        `${name}: range [${start}, ${end}), wanted at least one byte below ${formatAddr(mm.taskSize)}`,
      )
    }
  }
}

/** Throws a RangeError for slices with something that the launch does not declare. */
export function checkSlices(request: LaunchSlice, slices: readonly LaunchSlice[], name: string): void {
  const contains = (all: readonly AddrRange[] = [], part: readonly AddrRange[] = []): boolean =>
    part.every(({ start, end }) => all.some((range) => range.start <= start && end <= range.end && start < end))
  const readable = [...(request.read ?? []), ...(request.write ?? [])]
  slices.forEach(({ read, write }, i) => {
    if (contains(request.write, write) && contains(readable, read)) return
    throw new RangeError(`${name}: slice ${i} uses ranges that the launch does not declare`)
  })
}

/** Everything has to be on the device at once. */
export function checkFits(
  op: Operation,
  { read = [], write = [] }: LaunchSlice,
  name: string,
  inOnePiece: boolean,
): void {
  const { pool, name: device } = op.parts
  const npages = countPages([...read, ...write])
  if (npages > pool.npages) {
    throw new MmError(-ENOMEM, name, { detail: `needs ${npages} pages at once, ${device} has ${pool.npages}` })
  }
  if (!inOnePiece) return
  for (const range of [...read, ...write]) {
    const wanted = countPages([range])
    if (wanted <= pool.bankPages) continue
    const detail = `needs ${wanted} pages in one piece, a bank of ${device} has ${pool.bankPages}`
    throw new MmError(-ENOMEM, name, { addr: range.start, detail })
  }
}

/** Pages of all ranges; one that is in several counts once. */
function countPages(ranges: readonly AddrRange[]): number {
  const runs = ranges.map(({ start, end }) => ({ first: addrToVpn(start), end: addrToVpn(end - 1) + 1 }))
  runs.sort((a, b) => a.first - b.first)
  let npages = 0
  let counted = 0
  for (const { first, end } of runs) {
    npages += Math.max(0, end - Math.max(first, counted))
    counted = Math.max(counted, end)
  }
  return npages
}

/**
 * Checks that the ranges are mapped as they are used, and drops duplicates of pages that were written without a fault (rule of
 * mm/share.ts): every launch does that first. Where `isWhole` the launch is going to use all of its ranges at once, and duplicates that it
 * reads are made new instead.
 */
export async function collectStores(
  op: Operation,
  { read = [], write = [] }: LaunchSlice,
  name: string,
  isWhole: boolean,
): Promise<void> {
  const { mm } = op.space
  const renews = isWhole && (op.hint ?? 'duplicate') === 'duplicate'
  if (renews) await op.parts.hardware.ready()
  let uploading: Promise<void> | null = null
  await mmapReadLock(mm)
  try {
    for (const range of write) checkMapped(mm, range, VM_WRITE, name)
    for (const range of read) checkMapped(mm, range, VM_READ, name)
    for (const { start, end } of write) collectWrites(mm, pageAlignDown(start), pageAlignUp(end))
    const renewed = renews ? new RenewedDuplicates(op) : null
    for (const { start, end } of read) collectWrites(mm, pageAlignDown(start), pageAlignUp(end), renewed)
    if (renewed !== null) uploading = renewed.upload()
  } finally {
    mm.mmapLock.unlockRead()
  }
  if (uploading !== null) await uploading
}

function checkMapped(mm: Mm, { start, end }: AddrRange, wanted: number, name: string): void {
  for (let addr: Addr = pageAlignDown(start); addr < end; ) {
    const vma = mm.vmaLookup(addr)
    if (vma === null) throw new MmError(-EFAULT, name, { addr, detail: 'no mapping' })
    if ((vma.flags & wanted) === 0) {
      const detail = `the mapping cannot be ${wanted === VM_WRITE ? 'written' : 'read'}`
      throw new MmError(-EACCES, name, { addr, detail })
    }
    addr = vma.end
  }
}
