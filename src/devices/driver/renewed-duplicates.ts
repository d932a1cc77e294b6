// Duplicates that the CPU has written and the next launch reads again: their pages are copied to the frames in which they are. All the rest
// stays as it is, the marks, the mirror's entries, the frames, where the usual way (an event ends the duplicates, their frames are
// free, a fault finds the pages missing, and they come back) costs more than the copies.
//
//   written  . . x . . x x . ......      collectWrites asks which of them are renewed, and tells everybody else to drop his copies
//   frames   a b c d e f g h             copy to c, f and g; nothing has changed places

import { vpnToAddr } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import type { PageRuns } from '../../base/page-runs.ts'
import type { Renewal } from '../../mm/share.ts'
import { CopyList } from './copy-list.ts'
import { UPLOAD_PAGES_MAX } from './hardware.ts'
import type { Operation } from './operation.ts'

/** Those of one launch. */
export class RenewedDuplicates implements Renewal {
  readonly owner: unknown
  private readonly op: Operation
  private readonly copies = new CopyList()
  private readonly vpns: number[] = []

  constructor(op: Operation) {
    const { owner, pool } = op.parts
    assert(pool.ncaptured === 0, 'a launch begins when the operation before it has let all frames go')
    this.op = op
    this.owner = owner
  }

  renew(written: PageRuns): PageRuns {
    const { copies, vpns } = this
    const { space } = this.op
    const runs: number[] = []
    for (let i = 0; i < written.length; i += 2) {
      space.forEachSystemRun(written[i], written[i + 1], (vpn, pfn, frame, npages) => {
        if (frame < 0 || copies.length + npages > UPLOAD_PAGES_MAX) return
        copies.addRun(pfn, frame, npages)
        for (let k = 0; k < npages; k++) vpns.push(vpn + k)
        if (runs[runs.length - 1] === vpnToAddr(vpn)) runs[runs.length - 1] = vpnToAddr(vpn + npages)
        else runs.push(vpnToAddr(vpn), vpnToAddr(vpn + npages))
      })
    }
    return runs
  }

  /**
   * Copies what was found: nobody has had a turn since, and the hardware was ready. Returns what to wait for before the frames are anybody
   * else's, null for nothing.
   */
  upload(): Promise<void> | null {
    const { op, copies, vpns } = this
    const { hardware, traffic, clock } = op.parts
    const { mm } = op.space
    if (vpns.length === 0) return null
    const begunAt = clock.now()
    const uploading = hardware.upload(copies)
    op.purpose.copying.time += clock.now() - begunAt
    op.placed.duplicate += vpns.length
    // They are found in their places, as if nothing had happened.
    op.nresident -= vpns.length
    traffic.forEachTold(mm, vpns, (run, npages) => {
      traffic.duplicatesInvalidated(run, npages, 'coherence')
      traffic.duplicated(run, npages, op.purpose)
      traffic.copied(run, 'host-to-device', npages, op.purpose)
    })
    return uploading
  }
}
