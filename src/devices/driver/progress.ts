// Waiting for hardware that may hang. A program may run as long as it makes progress, which is all that can be seen of it: that
// something it handed to the hardware is done. When nothing is for longer than the deadline, the device is given up: a kernel
// cannot be ended from outside, and until it ends nothing else runs there.

import type { DeviceClock } from './device-clock.ts'

export interface ProgressSite {
  /** Microseconds; Infinity for as long as it takes. */
  readonly deadline: number
  readonly clock: DeviceClock
  /** Gives the device up. */
  lose(reason: string): void
}

export class ProgressWatch {
  private readonly site: ProgressSite
  private nwatched = 0

  constructor(site: ProgressSite) {
    this.site = site
  }

  /** The hardware is at work, and is given up if it gets nowhere: whoever waits for its end need not measure time. */
  get isWatching(): boolean {
    return this.nwatched > 0
  }

  /**
   * Settles like `work` of a kernel, whose name is for the reason. If that takes longer than the deadline the device is lost, and
   * whoever waits finds out there.
   */
  async wait(name: string, work: Promise<void>): Promise<void> {
    const { deadline, clock, lose } = this.site
    if (deadline === Number.POSITIVE_INFINITY) return await work
    const cancel = clock.callAt(clock.now() + deadline, () => {
      lose(`kernel "${name}" made no progress for ${Math.round(deadline / 1000)} ms`)
    })
    this.nwatched++
    try {
      await work
    } finally {
      this.nwatched--
      cancel()
    }
  }
}
