// The invariants of a driver as code. What must be true of its translations is checked by `validateSystem`; here are
// the frames, and the promise behind everything: no copy is ever different from what it is a copy of.

import { PAGE_SIZE, vpnToAddr } from '../../base/addr.ts'
import { assert, formatAddr } from '../../base/assert.ts'
import { HMM_PTE_VALID_PFN, hmmPteFlags, hmmPtePfn, validateHmmMirror } from '../../hmm/mirror/index.ts'
import { hmmMirrorTranslations } from '../../hmm/mirror/validate.ts'
import type { DeviceTranslation } from '../../mm/validate-devices.ts'
import type { Block } from './block.ts'
import type { DeviceDriver } from './device-driver.ts'
import type { DeviceSpace } from './device-space.ts'
import { FRAME_DUPLICATE, FRAME_FREE, FRAME_PAGE, FRAME_RETIRED, NO_COPY, ZEROES } from './frame-pool.ts'
import type { ProgramMemory } from './hardware.ts'

type Validated = Pick<
  DeviceDriver<ProgramMemory>,
  'sys' | 'name' | 'parts' | 'npagesUsed' | 'mirrored' | 'mirrorDevice'
>

/** The bytes of a frame of a device. */
export type FrameBytes = (frame: number) => Uint8Array

/**
 * Throws an AssertionError for the first thing that is wrong. Walks all frames and all translations. `bytesOf` is for contents;
 * without it only the books are looked at.
 */
export function validateDevice(device: Validated, bytesOf: FrameBytes | null): void {
  validateFrames(device, bytesOf)
  for (const space of device.mirrored()) {
    validateHmmMirror(space.mirror)
    validateDuplicates(device, space, bytesOf)
  }
  const [warning] = device.mirrorDevice.warnings
  assert(warning === undefined, () => `${device.name}: ${warning.message}`)
}

/** What the device translates, for `validateSystem`. */
export function* deviceTranslations(device: Validated): IterableIterator<DeviceTranslation> {
  const { zeroPfn } = device.sys
  for (const { mirror, duplicates } of device.mirrored()) {
    for (const translation of hmmMirrorTranslations(mirror)) {
      const { addr, pfn } = translation
      // A copy of the zero page needs no mark: the page itself is never written.
      const isDuplicate = duplicates.find(addr / PAGE_SIZE) >= 0 && pfn !== zeroPfn
      yield isDuplicate ? { ...translation, isDuplicate } : translation
    }
  }
}

function validateFrames(device: Validated, bytesOf: FrameBytes | null): void {
  const { pool, sys } = device.parts
  const found = { free: 0, pages: 0, pinned: 0 }
  const frames = new Map<Block, { nretired: number; ncaptured: number }>()
  for (let frame = 0; frame < pool.npages; frame++) {
    const state = pool.state[frame]
    const what = () => `frame ${frame} of ${device.name} in state ${state}`
    const isPage = state === FRAME_PAGE
    const backing = pool.backing[frame]
    assert(sys.pages.refcount[pool.pfnOf(frame)] > 0 === isPage, () => `${what()}: references and state differ`)
    assert(isPage || backing === NO_COPY, () => `${what()}: frame ${backing} stands behind no page`)
    assert(state !== FRAME_RETIRED || pool.captured[frame] !== 0, () => `${what()}: nobody uses it any more`)
    if (state === FRAME_FREE) {
      found.free++
      assert(pool.captured[frame] === 0, () => `${what()} is captured`)
      continue
    }
    const block = pool.blockAt(frame)
    assert(frame >= block.first && frame < block.first + block.npages, () => `${what()} is outside of its block`)
    const counts = frames.get(block) ?? { nretired: 0, ncaptured: 0 }
    frames.set(block, counts)
    if (state === FRAME_RETIRED) counts.nretired++
    if (pool.captured[frame] !== 0) counts.ncaptured++
    if (isPage) found.pages++
    if (backing >= 0) found.pinned++
    if (bytesOf !== null && isPage && backing !== NO_COPY && !pool.mustBeCopied(frame)) {
      const expected = backing === ZEROES ? null : sys.mmu.bytes(backing)
      assert(sameBytes(bytesOf(frame), expected), () => `${what()} is clean and differs from what stands behind it`)
    }
  }
  for (const [block, counts] of frames) {
    const { nretired, ncaptured } = block
    const isSame = nretired === counts.nretired && ncaptured === counts.ncaptured
    const counted = () => JSON.stringify({ nretired, ncaptured })
    assert(isSame, () => `block of frame ${block.first}: ${counted()}, wanted ${JSON.stringify(counts)}`)
  }
  assert(found.free === pool.nfree, () => `${device.name}: ${found.free} frames are free, the list has ${pool.nfree}`)
  assert(found.pages === device.npagesUsed, () => `${device.name}: ${found.pages} pages, mm has ${device.npagesUsed}`)
  assert(found.pinned === pool.npinned, () => `${device.name}: ${found.pinned} pins, ${pool.npinned} counted`)
}

/** A duplicate stands beside the entry of its page, and is the same as the page. */
function validateDuplicates(device: Validated, { mirror, duplicates }: DeviceSpace, bytesOf: FrameBytes | null): void {
  const { pool, sys } = device.parts
  for (const [vpn, frame] of duplicates) {
    const what = () => `duplicate of ${formatAddr(vpnToAddr(vpn))} in frame ${frame} of ${device.name}`
    const pte = mirror.pt.entry(vpnToAddr(vpn))
    assert((hmmPteFlags(pte) & HMM_PTE_VALID_PFN) !== 0, () => `${what()}: the mirror has no such page`)
    assert(pool.state[frame] === FRAME_DUPLICATE, () => `${what()}: the frame is in state ${pool.state[frame]}`)
    if (bytesOf === null) continue
    assert(sameBytes(bytesOf(frame), sys.mmu.bytes(hmmPtePfn(pte))), () => `${what()} is stale`)
  }
}

/** `expected` null is all zeroes. */
function sameBytes(bytes: Uint8Array, expected: Uint8Array | null): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== (expected === null ? 0 : expected[i])) return false
  return true
}
