// Who works on which part of an address space. A launch claims what it reads and writes when it is handed in, all at once, and
// gets it when every earlier claim that is in its way has ended: launches that share data run in the order in which they were
// handed in, on however many devices, and no two can wait for each other.
//
//   claim A  write [x]             granted
//   claim B  read [y]              granted: nothing in common with A
//   claim C  write [y], read [x]   waits for A and B
//   claim D  read [y]              waits for C, which came first, although B alone would let it go on
//
// Readers do not stop each other. What changes mappings (free, discard) waits with `whenUnclaimed` for the claims that are
// there, so that it takes effect after the launches that were handed in before it.

import type { Addr } from '../base/addr.ts'
import { assert } from '../base/assert.ts'
import type { Mm } from '../mm/mm.ts'

/** Bytes `[start, end)` of an address space. */
export interface AddrRange {
  readonly start: Addr
  readonly end: Addr
}

export interface ClaimedRanges {
  readonly reads: readonly AddrRange[]
  readonly writes: readonly AddrRange[]
}

export function rangesOverlap(a: AddrRange, b: AddrRange): boolean {
  return a.start < b.end && b.start < a.end
}

export class Claim {
  readonly ranges: ClaimedRanges
  /** Its launch is at work: what it writes has values between those before and those after. */
  isRunning = false
  /** Claims that come first. */
  private readonly earlier: Set<Claim>
  /** Claims that wait for this one. */
  private readonly later = new Set<Claim>()
  private readonly claims: Set<Claim>
  private readonly granting: Promise<void>
  private grant: () => void = () => {}
  private readonly ending: Promise<void>
  private ended: () => void = () => {}

  /** Use `claimRanges`. */
  constructor(claims: Set<Claim>, ranges: ClaimedRanges) {
    this.claims = claims
    this.ranges = ranges
    this.granting = new Promise((resolve) => {
      this.grant = resolve
    })
    this.ending = new Promise((resolve) => {
      this.ended = resolve
    })
    this.earlier = new Set([...claims].filter((other) => conflict(ranges, other.ranges)))
    for (const other of this.earlier) other.later.add(this)
    claims.add(this)
    if (this.isGranted) this.grant()
  }

  /** Nobody is in the way. */
  get isGranted(): boolean {
    return this.earlier.size === 0
  }

  /** Resolves when nobody is in the way, or when it ended without having been granted. */
  granted(): Promise<void> {
    return this.granting
  }

  /** Resolves when it has ended. */
  whenEnded(): Promise<void> {
    return this.ending
  }

  /** Lets the next ones go on. A claim that was not granted yet may end too. */
  end(): void {
    assert(this.claims.delete(this), 'a claim ends once')
    for (const other of this.earlier) other.later.delete(this)
    for (const other of this.later) {
      other.earlier.delete(this)
      if (other.isGranted) other.grant()
    }
    this.grant()
    this.ended()
  }
}

/** Live claims, in the order in which they were made. */
const claimsOf = new WeakMap<Mm, Set<Claim>>()

/** Claims parts of an address space; the caller waits for `granted()` before it begins, and calls `end()`. */
export function claimRanges(mm: Mm, ranges: ClaimedRanges): Claim {
  let claims = claimsOf.get(mm)
  if (claims === undefined) {
    claims = new Set()
    claimsOf.set(mm, claims)
  }
  return new Claim(claims, ranges)
}

/** Whether any claim, granted or not, covers a byte of the range. */
export function isClaimed(mm: Mm, range: AddrRange): boolean {
  return claimsOn(mm, range).length > 0
}

/** Resolves when every claim on the range that is there now has ended. Later ones are not waited for. */
export async function whenUnclaimed(mm: Mm, range: AddrRange): Promise<void> {
  await Promise.all(claimsOn(mm, range).map((claim) => claim.whenEnded()))
}

function claimsOn(mm: Mm, range: AddrRange): Claim[] {
  const touches = (other: AddrRange): boolean => rangesOverlap(range, other)
  return [...(claimsOf.get(mm) ?? [])].filter(({ ranges }) => ranges.reads.some(touches) || ranges.writes.some(touches))
}

/** The running launch that writes some byte of a range, undefined for none. */
export function runningWriter(mm: Mm, range: AddrRange): Claim | undefined {
  const touches = (other: AddrRange): boolean => rangesOverlap(range, other)
  for (const claim of claimsOf.get(mm) ?? []) if (claim.isRunning && claim.ranges.writes.some(touches)) return claim
  return undefined
}

/** One of the two writes what the other uses. */
function conflict(a: ClaimedRanges, b: ClaimedRanges): boolean {
  const meet = (left: readonly AddrRange[], right: readonly AddrRange[]): boolean =>
    left.some((range) => right.some((other) => rangesOverlap(range, other)))
  return meet(a.writes, b.writes) || meet(a.writes, b.reads) || meet(a.reads, b.writes)
}
