// The time of a device. Its copies and delays are over when the clock says so; what clock that is is up to whoever makes the
// device. With a virtual one a test decides when each copy ends, and every run of a program is the same.

/** Microseconds are the unit of all times and durations. */
export interface DeviceClock {
  /** Never goes back. */
  now(): number
  /**
   * Calls `call` once, when `now()` has reached `time`; never before `callAt` itself has returned. Returns a function that takes
   * the call back.
   */
  callAt(time: number, call: () => void): () => void
}

/** Shorter waits than this are not worth a timer, which is exact to a millisecond at best. */
const SHORTEST_WAIT = 500 // microseconds

/**
 * The clock of the machine. Waits below half a millisecond end at once: whoever books durations one behind the other is right on
 * the average all the same.
 */
export const SYSTEM_CLOCK: DeviceClock = {
  now: () => performance.now() * 1000,
  callAt(time, call) {
    let isWanted = true
    let timer: ReturnType<typeof setTimeout> | undefined
    const wait = (): void => {
      if (!isWanted) return
      const left = time - performance.now() * 1000
      // Timers may be early.
      if (left >= SHORTEST_WAIT) timer = setTimeout(wait, Math.ceil(left / 1000))
      else call()
    }
    queueMicrotask(wait)
    return () => {
      isWanted = false
      clearTimeout(timer)
    }
  },
}

/** A clock that stands still until it is moved. */
export class VirtualClock implements DeviceClock {
  private time = 0
  /** Ordered by time, then by when they were added. */
  private readonly calls: { readonly time: number; readonly call: () => void }[] = []

  now(): number {
    return this.time
  }

  callAt(time: number, call: () => void): () => void {
    const entry = { time, call }
    let at = this.calls.length
    while (at > 0 && this.calls[at - 1].time > time) at--
    this.calls.splice(at, 0, entry)
    return () => {
      const left = this.calls.indexOf(entry)
      if (left >= 0) this.calls.splice(left, 1)
    }
  }

  /** Calls that wait. */
  get npending(): number {
    return this.calls.length
  }

  /** Goes on to the next call that waits and makes it. Returns false if there is none. */
  step(): boolean {
    const next = this.calls.shift()
    if (next === undefined) return false
    this.time = Math.max(this.time, next.time)
    next.call()
    return true
  }

  /** Lets `duration` pass, with every call that is due in it. */
  advance(duration: number): void {
    const end = this.time + duration
    while (this.calls.length > 0 && this.calls[0].time <= end) this.step()
    this.time = end
  }
}
