// How an access or a system call of a simulated process can end other than well: by a signal, or by having to wait.

import type { Addr } from '../base/addr.ts'
import { formatAddr } from '../base/assert.ts'
import type { WaitQueue } from '../base/wait-queue.ts'
import type { MmapLock } from '../mm/mmap-lock.ts'

export const ACCESS_REASONS = {
  unmapped: { signal: 'SIGSEGV', text: 'no mapping there' }, // SEGV_MAPERR
  access: { signal: 'SIGSEGV', text: 'the mapping does not allow it' }, // SEGV_ACCERR
  'no-page': { signal: 'SIGBUS', text: 'the mapping has no page there' }, // BUS_ADRERR
  hwpoison: { signal: 'SIGBUS', text: 'the memory is broken' }, // BUS_MCEERR_AR
} as const

export type AccessReason = keyof typeof ACCESS_REASONS

/** A CPU access that the process is signalled for. Nothing was loaded or stored at `addr`. */
export class AccessSignal extends Error {
  override readonly name = 'AccessSignal'
  readonly signal: 'SIGSEGV' | 'SIGBUS'
  readonly reason: AccessReason
  /** First byte that could not be accessed. */
  readonly addr: Addr
  readonly access: 'read' | 'write'

  constructor(reason: AccessReason, addr: Addr, access: 'read' | 'write') {
    const { signal, text } = ACCESS_REASONS[reason]
    super(`${signal}: ${access} at ${formatAddr(addr)}, ${text}`)
    this.signal = signal
    this.reason = reason
    this.addr = addr
    this.access = access
  }
}

/**
 * Somebody else has to finish first: a migration that holds the page or the address space. What was asked for did not
 * happen, and is to be asked for again once `waitFor` was woken; `whenReady` does both.
 */
export class WouldWait extends Error {
  override readonly name = 'WouldWait'
  readonly waitFor: WaitQueue
  /** The lock that is wanted for writing: while somebody waits for it, no new reader gets it. null for any other wait. */
  readonly wantsWrite: MmapLock | null

  constructor(what: string, waitFor: WaitQueue, wantsWrite: MmapLock | null = null) {
    super(`${what} has to wait: do it again later, or do it with whenReady()`)
    this.waitFor = waitFor
    this.wantsWrite = wantsWrite
  }
}

/** Does `operation`, again after each wait that it runs into, and hands out what it returns or throws in the end. */
export async function whenReady<T>(operation: () => T): Promise<T> {
  let queuedFor: MmapLock | null = null
  try {
    for (;;) {
      let wait: WouldWait
      try {
        return operation()
      } catch (error) {
        if (!(error instanceof WouldWait)) throw error
        wait = error
      }
      // It keeps its place until the operation has run, or waits for something else.
      if (queuedFor !== wait.wantsWrite) {
        queuedFor?.leaveQueue()
        queuedFor = wait.wantsWrite
        queuedFor?.joinQueue()
      }
      await wait.waitFor.promise()
    }
  } finally {
    queuedFor?.leaveQueue()
  }
}
