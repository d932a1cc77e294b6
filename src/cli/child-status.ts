// Waits for a child process as a shell does.

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { constants } from 'node:os'

/** The terminal sends its signals to the child too, which decides what they mean; we only have to be there afterwards. */
const FROM_TERMINAL = ['SIGINT', 'SIGQUIT'] as const
const FORWARDED = ['SIGTERM', 'SIGHUP'] as const

/** The exit status of a child, when it has ended: 128 and the number of the signal if one ended it. Rejects if it did not start. */
export async function exitStatusOf(child: ChildProcess): Promise<number> {
  const ignore = (): void => {}
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal)
  for (const signal of FROM_TERMINAL) process.on(signal, ignore)
  for (const signal of FORWARDED) process.on(signal, forward)
  try {
    const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
    return status ?? 128 + constants.signals[signal as NodeJS.Signals]
  } finally {
    for (const each of FROM_TERMINAL) process.off(each, ignore)
    for (const each of FORWARDED) process.off(each, forward)
  }
}
