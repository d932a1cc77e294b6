// Which pages around missing ones come along. Each 2 MiB of addresses is a tree of 32 leaves of 64 KiB; the policy is asked for the leaf
// of a missing page, and then for each larger part that holds it, and the largest part to which it says yes is brought as a whole.
//
//   2 MiB  ┌───────────────┐     missing: 1 page of leaf 2, and leaf 3 is there
//          │   ┌───┐       │     leaf 2: yes, as few are missing
//   leaves 0 1 2 3 4 5 6 7       leaves 2 and 3: 32 of 32 pages; leaves 0 to 3: 32 of 64, 50 %, no

import { HPAGE_PMD_NR } from '../../base/addr.ts'
import type { DevicePolicy } from '../../hmm/policy.ts'
import type { VpnRun } from './device-space.ts'

/** Pages of a leaf: 64 KiB. */
const LEAF_PAGES = 16
const LEAVES = HPAGE_PMD_NR / LEAF_PAGES

export interface DensityRequest {
  /** Pages that were missing, in ascending order. */
  readonly missed: readonly number[]
  /** Pages that were missed together, in other ranges too. */
  readonly nmissed: number
  /** Pages that may be brought. */
  readonly within: VpnRun
  /** Whether a page is on the device, those that were missing among them. */
  readonly isPresent: (vpn: number) => boolean
  readonly isThrashing: boolean
}

/** Parts of `within` that come along, in ascending order; there may be pages in them that are there already. */
export function partsAround(policy: Pick<DevicePolicy, 'prefetch'>, request: DensityRequest): VpnRun[] {
  const parts: VpnRun[] = []
  const { missed } = request
  for (let i = 0; i < missed.length; ) {
    const block = Math.floor(missed[i] / HPAGE_PMD_NR)
    const leaves = new Set<number>()
    for (; i < missed.length && Math.floor(missed[i] / HPAGE_PMD_NR) === block; i++) {
      leaves.add(Math.floor((missed[i] % HPAGE_PMD_NR) / LEAF_PAGES))
    }
    parts.push(...new DensityTree(block * HPAGE_PMD_NR, request).around(policy, leaves))
  }
  return parts
}

/** 2 MiB of addresses. */
class DensityTree {
  private readonly start: number
  private readonly request: DensityRequest
  /** Of each leaf, how many pages may be there, and how many are. */
  private readonly npages = new Uint16Array(LEAVES)
  private readonly npresent = new Uint16Array(LEAVES)

  constructor(start: number, request: DensityRequest) {
    this.start = start
    this.request = request
    const { within, isPresent } = request
    const end = Math.min(start + HPAGE_PMD_NR, within.vpn + within.npages)
    for (let vpn = Math.max(start, within.vpn); vpn < end; vpn++) {
      const leaf = Math.floor((vpn - start) / LEAF_PAGES)
      this.npages[leaf]++
      if (isPresent(vpn)) this.npresent[leaf]++
    }
  }

  around(policy: Pick<DevicePolicy, 'prefetch'>, leaves: ReadonlySet<number>): VpnRun[] {
    const wanted = [...leaves].filter((leaf) => this.isDense(policy, leaf, 1))
    // What was asked for counts as there when the larger parts are looked at.
    for (const leaf of wanted) this.npresent[leaf] = this.npages[leaf]
    const parts: VpnRun[] = []
    for (const leaf of leaves) {
      let first = leaf
      let count = wanted.includes(leaf) ? 1 : 0
      for (let size = 2; size <= LEAVES; size *= 2) {
        const from = leaf - (leaf % size)
        if (this.isDense(policy, from, size)) [first, count] = [from, size]
      }
      const last = parts.at(-1)
      const part = this.partOf(first, count)
      if (part.npages > 0 && (last === undefined || part.vpn >= last.vpn + last.npages)) parts.push(part)
    }
    return parts
  }

  private isDense(policy: Pick<DevicePolicy, 'prefetch'>, first: number, count: number): boolean {
    const sum = (counts: Uint16Array): number => counts.subarray(first, first + count).reduce((a, b) => a + b, 0)
    return policy.prefetch({
      npages: sum(this.npages),
      npresent: sum(this.npresent),
      nmissed: this.request.nmissed,
      isThrashing: this.request.isThrashing,
    })
  }

  private partOf(firstLeaf: number, leaves: number): VpnRun {
    const { vpn, npages } = this.request.within
    const first = Math.max(vpn, this.start + firstLeaf * LEAF_PAGES)
    const end = Math.min(vpn + npages, this.start + (firstLeaf + leaves) * LEAF_PAGES)
    return { vpn: first, npages: leaves === 0 ? 0 : end - first }
  }
}
