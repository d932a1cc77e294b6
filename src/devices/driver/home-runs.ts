// What a migration back to system memory has decided about its pages, as runs: what is decided for the first page when it begins is done for
// all of them when it ends, and nobody has to find the neighbours again.

import type { Pfn } from '../../base/addr.ts'

/** Pages side by side that go to system frames side by side. */
export interface HomeRun {
  /** Index of the first in src and dst of the migration. */
  readonly at: number
  /** Where the first is on the device, and where it goes. */
  readonly frame: number
  readonly home: Pfn
  /** They were left in place: their frames were waiting for them. */
  readonly isPinned: boolean
  /** What the device wrote is copied. */
  readonly isCopied: boolean
  npages: number
}

export class HomeRuns {
  readonly runs: HomeRun[] = []
  /** Pages in runs. */
  nhomes = 0
  /** Pages that stay, as there is no home for them. */
  nhomeless = 0
  /** Index of the page that was touched, which is a run by itself; -1 if there is none. */
  touchedAt = -1

  /** Adds a run behind the others. It becomes one with the last if nothing tells them apart. */
  add(run: HomeRun): void {
    const last = this.runs[this.runs.length - 1]
    const { at, npages } = run
    this.nhomes += npages
    if (last !== undefined && continues(last, run) && last.at !== this.touchedAt && at !== this.touchedAt) {
      last.npages += npages
    } else this.runs.push(run)
  }
}

function continues(last: HomeRun, { at, frame, home, isPinned, isCopied }: HomeRun): boolean {
  const { npages } = last
  if (last.at + npages !== at || last.frame + npages !== frame || last.home + npages !== home) return false
  return last.isPinned === isPinned && last.isCopied === isCopied
}
