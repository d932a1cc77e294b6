// Making room on the device. Operations reserve frames here, in one piece if there is one; when the device is full the policy
// says which block has to go. Duplicates are dropped, pages move to system memory, and only what differs from what stands
// behind it is copied.
//
// One operation at a time gets frames, and it holds no lock while it waits for them: what is on its way to system memory needs
// none of its own, so there is always somebody who gets on.

import { type Addr, PAGE_SIZE, vpnToAddr } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { ENOMEM, MmError } from '../../base/errno.ts'
import { HMM_PFN_VALID_HI } from '../../hmm/hmm-pfn.ts'
import type { BlockCounters } from '../../hmm/policy.ts'
import type { Mm } from '../../mm/mm.ts'
import type { Vma } from '../../mm/vma.ts'
import { allSettled, mmapReadLock, withUser } from '../edge.ts'
import type { Block } from './block.ts'
import type { DeviceParts } from './device-parts.ts'
import type { DeviceSpace } from './device-space.ts'
import { FRAME_PAGE, type FramePool } from './frame-pool.ts'
import type { OpenMigrations } from './open-migrations.ts'
import type { ToSystem } from './to-system.ts'
import type { Purpose } from './traffic.ts'

/** Blocks among which the policy chooses. A kernel that goes through a page table leaves one per page, so these are the oldest. */
const CANDIDATES_MAX = 64

export class Room {
  private readonly parts: DeviceParts
  private readonly spaces: ReadonlyMap<Mm, DeviceSpace>
  private readonly toSystem: ToSystem
  private readonly open: OpenMigrations

  constructor(parts: DeviceParts, spaces: ReadonlyMap<Mm, DeviceSpace>, toSystem: ToSystem, open: OpenMigrations) {
    this.parts = parts
    this.spaces = spaces
    this.toSystem = toSystem
    this.open = open
  }

  /**
   * Reserves frames for neighbouring pages of an address space. They are one run if there is one, and with `inOnePiece` in any
   * case. `purpose` is that of the operation; what has to leave for it leaves by eviction.
   *
   * Rejects with an MmError ENOMEM if everything that can leave has left and there is no room, and when the device is lost.
   */
  async reserve(mm: Mm, vpn: number, npages: number, inOnePiece: boolean, purpose: Purpose): Promise<Block[]> {
    const { pool } = this.parts
    const take = (): Block[] | null => {
      const blocks = pool.reserve(mm, vpn, npages)
      if (blocks !== null || pool.nfree < npages || inOnePiece) return blocks
      return reservePieces(pool, mm, vpn, npages)
    }
    return await this.reserveAs(take, { vpn, npages, inOnePiece }, purpose)
  }

  /** Reserves a frame for each of some pages, in ascending order; otherwise the same. */
  async reserveScattered(mm: Mm, vpns: readonly number[], purpose: Purpose): Promise<Block[]> {
    const { pool } = this.parts
    const npages = vpns.length
    const take = (): Block[] | null => (pool.nfree < npages ? null : pool.reserveScattered(mm, vpns))
    return await this.reserveAs(take, { vpn: vpns[0], npages, inOnePiece: false }, purpose)
  }

  /** Makes room until `take` has what it wants. */
  private async reserveAs(
    take: () => Block[] | null,
    { vpn, npages, inOnePiece }: { vpn: number; npages: number; inOnePiece: boolean },
    purpose: Purpose,
  ): Promise<Block[]> {
    const { pool } = this.parts
    const stuck = new Set<Block>()
    for (;;) {
      if (this.parts.failure !== null) throw this.parts.failure
      const blocks = take()
      if (blocks !== null) return blocks
      const leaving = this.chooseVictims(stuck, Math.max(1, npages - pool.nfree))
      if (leaving.length > 0) {
        await allSettled(leaving.map((block) => this.evict(block, purpose)))
        for (const block of leaving) if (block.live > 0) stuck.add(block)
      } else if (this.open.size > 0) {
        await this.open.ended.promise()
        stuck.clear()
      } else {
        const wanted = inOnePiece ? `room for ${npages} pages in one piece` : `room for ${npages} pages`
        const detail = `${wanted}, and only ${pool.nfree} of ${pool.npages} can be made free`
        throw new MmError(-ENOMEM, this.parts.name, { addr: vpnToAddr(vpn), detail })
      }
    }
  }

  /** Moves away what can be moved of a block. The caller holds no lock. */
  async evict(block: Block, purpose: Purpose): Promise<void> {
    const { pool } = this.parts
    const { mm } = block
    const why = { ...purpose, cause: 'eviction' as const }
    const end = block.first + block.npages
    for (let frame = block.first; frame < end; ) {
      const state = pool.state[frame]
      let next = frame + 1
      if (pool.isOf(block, frame) && pool.isIdle(frame)) {
        while (next < end && pool.state[next] === state && pool.isOf(block, next) && pool.isIdle(next)) next++
        const start = vpnToAddr(block.vpn + (frame - block.first))
        if (state === FRAME_PAGE) await this.evictPages(mm, start, frame, next - frame, why)
        else this.spaces.get(mm)?.discardDuplicates(start, vpnToAddr(block.vpn + (next - block.first)), 'eviction')
      }
      frame = next
    }
  }

  /** The same for all blocks, or those of one address space. */
  async evictAll(purpose: Purpose, mm: Mm | null = null): Promise<void> {
    for (const block of this.parts.pool.evictable()) {
      if (mm === null || block.mm === mm) await this.evict(block, purpose)
    }
  }

  /** Pages that outlive their address space (those of a child) are moved without its lock: there is nobody to change mappings. */
  private async evictPages(mm: Mm, start: number, first: number, npages: number, purpose: Purpose): Promise<void> {
    const isAlive = await withUser(mm, async () => {
      await mmapReadLock(mm)
      try {
        const vma = this.mappingOf(mm, start, first, npages)
        if (vma === null) await this.toSystem.evict(mm, start, first, npages, purpose)
        else await this.toSystem.bringBack(vma, start, start + npages * PAGE_SIZE, -1, purpose).done
      } finally {
        mm.mmapLock.unlockRead()
      }
      return true
    })
    if (isAlive !== true) await this.toSystem.evict(mm, start, first, npages, purpose)
  }

  /**
   * The mapping whose pages from `start` on are in the frames from `first` on, as they mostly are: a range of a mapping moves with one
   * event, frames move with one for each. null if mremap has moved them, or another address space has them.
   */
  private mappingOf(mm: Mm, start: Addr, first: number, npages: number): Vma | null {
    const end = start + npages * PAGE_SIZE
    const vma = mm.vmaLookup(start)
    const words = this.spaces.get(mm)?.snapshot(start, end)
    if (vma === null || end > vma.end || words === undefined) return null
    const pfn = this.parts.pool.pfnOf(first)
    for (let i = 0; i < npages; i++) {
      if (words[2 * i] !== pfn + i || (words[2 * i + 1] & HMM_PFN_VALID_HI) === 0) return null
    }
    return vma
  }

  /** Blocks that have to go for `npages` to be free, as far as there are any. They can leave all at once. */
  private chooseVictims(stuck: ReadonlySet<Block>, npages: number): Block[] {
    const { pool, policy } = this.parts
    const left = oldestOf(pool.evictable(), CANDIDATES_MAX, stuck)
    const views = left.map((block) => new BlockView(pool, block))
    const victims: Block[] = []
    for (let nfreed = 0; nfreed < npages && views.length > 0; ) {
      const index = policy.evict(views)
      assert(views[index] !== undefined, () => `the policy evicts block ${index} of ${views.length}`)
      nfreed += views[index].npages
      victims.push(...left.splice(index, 1))
      views.splice(index, 1)
    }
    return victims
  }
}

/** What the policy sees of a block; what takes a walk is found out when it is looked at. */
class BlockView implements BlockCounters {
  private readonly pool: FramePool
  private readonly block: Block
  private dirty = -1

  constructor(pool: FramePool, block: Block) {
    this.pool = pool
    this.block = block
  }

  get age(): number {
    return this.pool.uses - this.block.lastUse
  }

  get npages(): number {
    return this.block.ncaptured === 0 ? this.block.live : this.pool.idleFrames(this.block).length
  }

  get ndirty(): number {
    if (this.dirty >= 0) return this.dirty
    const { pool } = this
    const isDirty = (frame: number): boolean => pool.state[frame] === FRAME_PAGE && pool.mustBeCopied(frame)
    this.dirty = pool.idleFrames(this.block).filter(isDirty).length
    return this.dirty
  }
}

/** Blocks that were not used the longest, oldest first, and none of `stuck`. */
function oldestOf(blocks: readonly Block[], count: number, stuck: ReadonlySet<Block>): Block[] {
  const oldest: Block[] = []
  for (const block of blocks) {
    // There may be thousands, of which few are old: most are looked at once and not sorted.
    if (oldest.length === count && oldest[count - 1].lastUse <= block.lastUse) continue
    if (stuck.has(block)) continue
    if (oldest.length === count) oldest.pop()
    let at = oldest.length
    while (at > 0 && oldest[at - 1].lastUse > block.lastUse) at--
    oldest.splice(at, 0, block)
  }
  return oldest
}

/** Frames enough, but not in one run. */
function reservePieces(pool: FramePool, mm: Mm, vpn: number, npages: number): Block[] {
  const blocks: Block[] = []
  for (let at = 0; at < npages; ) {
    const n = Math.min(npages - at, pool.longestFree)
    const piece = pool.reserve(mm, vpn + at, n)
    assert(piece !== null, 'the longest free run is free')
    blocks.push(...piece)
    at += n
  }
  return blocks
}
