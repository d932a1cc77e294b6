// Waiting for hardware that may hang. A program may run as long as it makes progress, which is all that can be seen of it: that
// something it handed to the hardware is done. When nothing is for longer than the deadline, the device is given up: a kernel
// cannot be ended from outside, and until it ends nothing else runs there.

import type { DeviceClock } from './device-clock.ts'

export interface Progress {
  /** Of the kernel, for the reason. */
  readonly name: string
  /** Microseconds; Infinity for as long as it takes. */
  readonly deadline: number
  readonly clock: DeviceClock
  lose(reason: string): void
}

/** Settles like `work`. If that takes longer than the deadline the device is lost, and whoever waits finds out there. */
export async function waitForProgress({ name, deadline, clock, lose }: Progress, work: Promise<void>): Promise<void> {
  if (deadline === Number.POSITIVE_INFINITY) return await work
  const cancel = clock.callAt(clock.now() + deadline, () => {
    lose(`kernel "${name}" made no progress for ${Math.round(deadline / 1000)} ms`)
  })
  try {
    await work
  } finally {
    cancel()
  }
}
