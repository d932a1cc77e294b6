/**
 * Listeners that wait for something to happen once, and the call that tells them it has.
 *
 * The synchronous core never waits: an operation that would have to hands out a queue, and the asynchronous edge adds a
 * listener or awaits a promise. A wake-up says "look again", not "it is yours": whoever is woken checks its condition
 * anew and waits again if it has to. Differs from the kernel's wait_queue_head_t in that waking calls and nothing sleeps.
 */

export type WaitListener = () => void

/** Those who wait for something, woken together. */
export class WaitQueue {
  #listeners: WaitListener[] = []

  /** Number of listeners that wait. */
  get size(): number {
    return this.#listeners.length
  }

  /** Adds a listener for the next wake-up. One that is added twice is called twice. */
  add(listener: WaitListener): void {
    this.#listeners.push(listener)
  }

  /** Takes back the oldest entry of a listener. Returns whether it was waiting. */
  remove(listener: WaitListener): boolean {
    const at = this.#listeners.indexOf(listener)
    if (at < 0) return false
    this.#listeners.splice(at, 1)
    return true
  }

  /** A promise for the next wake-up. */
  promise(): Promise<void> {
    return new Promise((resolve) => this.add(resolve))
  }

  /**
   * Calls every waiting listener in the order they were added, and forgets them.
   *
   * A listener that adds itself again waits for the next wake-up. One that throws does not keep the others from being
   * called; the first error is thrown after all of them ran.
   */
  wake(): void {
    if (this.#listeners.length === 0) return
    const woken = this.#listeners
    this.#listeners = []
    const errors: unknown[] = []
    for (const listener of woken) {
      try {
        listener()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors[0]
  }
}
