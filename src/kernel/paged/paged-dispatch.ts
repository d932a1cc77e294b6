// Runs paged programs: dispatches a slice of the transactions, reads back what they missed, has the pages brought, replays those
// that were stopped, until the slice is done. Start here; one launch is in paged-run.ts.
//
//   dispatch ─> misses ─> provider.service ─> replay ─> ... ─> nobody was stopped: next slice

import { BoundAtomics } from './bound-atomics.ts'
import type { PageProvider } from './page-provider.ts'
import { PagedBuffers } from './paged-buffers.ts'
import { checkPagedLaunch, type PagedLaunch } from './paged-launch.ts'
import type { PagedPipeline } from './paged-pipeline.ts'
import { type PagedReceipt, PagedRun } from './paged-run.ts'

export interface PagedOptions {
  /** Entries of the list of missed pages; more are found in later rounds. Default 4096. */
  readonly faultCapacity?: number
  /** Those of an earlier launch over as many frames, which stay the caller's. Default: new ones. */
  readonly buffers?: PagedBuffers
  /** Steps of a resumable kernel in one dispatch, at most: what bounds how long it takes. Default 256. */
  readonly stepsMax?: number
  /** Bytes of log and journal, at most. Default 64 MiB. */
  readonly scratchBytesMax?: number
}

export class PagedDispatch {
  private readonly device: GPUDevice
  private readonly provider: PageProvider
  private readonly buffers: PagedBuffers
  private readonly isOwner: boolean
  private readonly scratchWordsMax: number
  private readonly stepsMax: number

  constructor(device: GPUDevice, provider: PageProvider, options: PagedOptions = {}) {
    this.device = device
    this.provider = provider
    this.buffers = options.buffers ?? new PagedBuffers(device, provider, options.faultCapacity)
    this.isOwner = options.buffers === undefined
    this.stepsMax = options.stepsMax ?? 256
    this.scratchWordsMax = Math.floor((options.scratchBytesMax ?? 64 * 2 ** 20) / 4)
  }

  /**
   * Runs all invocations of a launch. Rejects with a GpuFaultError when an invocation does what it may not or needs what the device
   * does not have, and with what the provider rejects with; stores of other invocations may have happened then.
   */
  async run(pipeline: PagedPipeline, launch: PagedLaunch): Promise<PagedReceipt> {
    checkPagedLaunch(pipeline.program, launch)
    const { provider, buffers, device, scratchWordsMax, stepsMax } = this
    const { program } = pipeline
    const atomics =
      program.boundArgs.length > 0 ? new BoundAtomics({ device, provider, buffers }, program, launch) : null
    const pages = atomics ?? provider
    const run = new PagedRun({ device, provider: pages, buffers, pipeline, launch, scratchWordsMax, stepsMax })
    await atomics?.load()
    try {
      return await run.all()
    } finally {
      // What has committed stays, also when something goes wrong.
      atomics?.save()
    }
  }

  destroy(): void {
    if (this.isOwner) this.buffers.destroy()
  }
}
