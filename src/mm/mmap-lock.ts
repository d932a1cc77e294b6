// The lock of an address space: many readers or one writer. It is state, not a mutex: nothing blocks. A migration holds it
// for reading from setup to finalize, across the waits of the device; whoever wants to change the mappings meanwhile gets
// false and is queued by the caller on `released`. Whoever is woken there asks again: a wake-up promises nothing.

import { assert } from '../base/assert.ts'
import { WaitQueue } from '../base/wait-queue.ts'

export class MmapLock {
  readers = 0
  writer = false
  /** Writers that wait (`joinQueue`): new readers stand back, unless they finish an operation already begun. */
  waitingWriters = 0
  /** Woken whenever the lock may be free for somebody who waits. */
  readonly released = new WaitQueue()

  /** `finishing`: the reader completes an operation whose lock is already held, so a waiting writer does not stop it. */
  tryRead(finishing = false): boolean {
    if (this.writer || (this.waitingWriters > 0 && !finishing)) return false
    this.readers++
    return true
  }

  unlockRead(): void {
    assert(this.readers > 0, 'mmapLock is held for reading')
    this.readers--
    if (this.readers === 0) this.released.wake()
  }

  tryWrite(): boolean {
    if (this.writer || this.readers > 0) return false
    this.writer = true
    return true
  }

  unlockWrite(): void {
    assert(this.writer, 'mmapLock is held for writing')
    this.writer = false
    this.released.wake()
  }

  /**
   * A writer that got false from `tryWrite` waits from now on for `released`: no new reader overtakes it. Readers may be many
   * and without end; writers change mappings and are few.
   */
  joinQueue(): void {
    this.waitingWriters++
  }

  /**
   * The writer does not wait any more: it has the lock, or has had it, or gave up. To be called after the last `tryWrite`, so
   * that nobody slips in between.
   */
  leaveQueue(): void {
    assert(this.waitingWriters > 0, 'a writer waits for mmapLock')
    this.waitingWriters--
    // Readers who stood back for this writer alone would not be told otherwise.
    if (this.waitingWriters === 0 && !this.writer) this.released.wake()
  }

  get isHeld(): boolean {
    return this.writer || this.readers > 0
  }
}
