// The invariants of a mirror as code: its counts are right (MR-34), and outside events every entry names the page that the CPU
// entry names and has no more permission than it has (INV-8). Tests run it after each step.

import { PAGE_SIZE } from '../../base/addr.ts'
import { assert, formatAddr } from '../../base/assert.ts'
import { type DeviceTranslation, validateTranslations } from '../../mm/validate-devices.ts'
import { cpuEntryFrame } from './cpu-entry.ts'
import type { HmmMirror } from './hmm-device.ts'
import { HmmPtIter } from './hmm-pt-iter.ts'
import {
  formatHmmPte,
  HMM_PTE_VALID,
  HMM_PTE_VALID_DEV,
  HMM_PTE_VALID_DMA,
  HMM_PTE_WRITE,
  hmmPteFrame,
  hmmPteIsValid,
  hmmPteRead,
} from './hmm-pte.ts'

/** Throws an AssertionError that names the first entry that is wrong. Walks the whole table. */
export function validateHmmMirror(mirror: HmmMirror): void {
  mirror.pt.validate()
  validateTranslations(hmmMirrorTranslations(mirror))
}

/** Every valid entry, in the form that `validateSystem` takes. The frame behind a bus address is taken for granted. */
export function* hmmMirrorTranslations(mirror: HmmMirror): IterableIterator<DeviceTranslation> {
  const { pt, hmm, device } = mirror
  const { mm } = hmm
  const { pages, pagemaps } = mm.sys
  const iter = new HmmPtIter(pt)
  for (let i = iter.walk(0, pt.last + 1); i >= 0; i = iter.walk(iter.next, pt.last + 1)) {
    const { words, npages } = iter
    for (let k = 0; k < npages; k++) {
      const e = i + k
      if (!hmmPteIsValid(words, e)) continue
      const addr = iter.addr + k * PAGE_SIZE
      const what = () => `mirror of ${device.name} at ${formatAddr(addr)}: ${formatHmmPte(hmmPteRead(words, e))}`
      const kind = words[2 * e] & HMM_PTE_VALID
      assert((kind & (kind - 1)) === 0, () => `${what()} is of two kinds`)
      const pfn = kind === HMM_PTE_VALID_DMA ? cpuEntryFrame(mm, addr) : hmmPteFrame(words, e)
      const pagemap = pfn < 0 || pages.pagemap[pfn] === 0 ? null : pagemaps[pages.pagemap[pfn]]
      const isOwn = pagemap !== null && device.owner !== null && pagemap.owner === device.owner
      assert(isOwn === (kind === HMM_PTE_VALID_DEV), () => `${what()}: frame ${pfn} is ${isOwn ? '' : 'not '}its own`)
      yield { mm, addr, pfn, writable: (words[2 * e] & HMM_PTE_WRITE) !== 0 }
    }
  }
  iter.fini()
}
