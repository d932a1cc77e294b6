// A device is gone: pulled out, hung, its driver reset. Everything in its memory is gone with it, at once.
//
//   duplicates            nothing is lost: the system pages are the same
//   pages, not written    nothing is lost: what stands behind them is the same, and they return to it when they are touched
//   pages, newer          lost. They are reported by allocation and range, and a touch is a SIGBUS, or finds 0xff (OnLost),
//                         until the memory is discarded

import { type Addr, PAGE_SIZE, vpnToAddr } from '../../base/addr.ts'
import type { Mm } from '../../mm/mm.ts'
import type { LostRange } from './device-lost-error.ts'
import type { DeviceParts } from './device-parts.ts'
import { FRAME_PAGE, type FramePool } from './frame-pool.ts'

/** What is only in the memory of the device, by address space and address. */
export function findOnlyCopies(parts: DeviceParts): LostRange[] {
  const { pool } = parts
  const pages: { mm: Mm; addr: Addr }[] = []
  for (let frame = 0; frame < pool.npages; frame++) {
    if (holdsPage(pool, frame) && pool.mustBeCopied(frame)) {
      pages.push({ mm: pool.blockAt(frame).mm, addr: vpnToAddr(pool.vpnOf(frame)) })
    }
  }
  pages.sort((a, b) => a.mm.space - b.mm.space || a.addr - b.addr)
  const ranges: { mm: Mm; start: Addr; end: Addr; name: string | undefined }[] = []
  for (const { mm, addr } of pages) {
    const name = parts.nameAt(mm, addr)
    const last = ranges[ranges.length - 1]
    if (last !== undefined && last.mm === mm && last.end === addr && last.name === name) last.end += PAGE_SIZE
    else ranges.push({ mm, start: addr, end: addr + PAGE_SIZE, name })
  }
  return ranges
}

/** A page lives there, and is not just on its way there: one that comes has its contents in system memory still. */
function holdsPage(pool: FramePool, frame: number): boolean {
  return pool.state[frame] === FRAME_PAGE && pool.sys.pages.mapping[pool.pfnOf(frame)] !== 0
}
