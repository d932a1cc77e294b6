// Nudges. Firefox asks its GPU ten times a second whether something has ended (its bug 1870699), and besides whenever something is
// submitted. So there a wait of half a millisecond takes a tenth of a second, unless whoever waits submits something: nothing at all.
//
//   wait ── submit [] ── 1 ms ── submit [] ── an eighth of the time waited so far ── submit [] ... ──> settled

/** Longest time between two nudges, in milliseconds. */
const NUDGE_MS_MAX = 16

/** Part of the time waited for so far. Timers of pages do not go off more often than every four milliseconds anyway. */
const NUDGE_SHARE = 1 / 8

/** Whether completions come with a timer of the browser. */
export function needsNudges(): boolean {
  const { navigator } = globalThis as { navigator?: { userAgent?: string } }
  return navigator?.userAgent?.includes(' Firefox/') ?? false
}

/** Settles as `promise` does, which stands for the end of something that was submitted to the queue. */
export async function withNudges<T>(queue: Pick<GPUQueue, 'submit'>, promise: Promise<T>): Promise<T> {
  const begin = performance.now()
  let timer: ReturnType<typeof setTimeout>
  const nudge = (): void => {
    queue.submit([])
    timer = setTimeout(nudge, Math.min(NUDGE_MS_MAX, (performance.now() - begin) * NUDGE_SHARE))
  }
  timer = setTimeout(nudge)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
  }
}
