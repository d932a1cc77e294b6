// How many pages a touch by the CPU brings back: a window that doubles while touches follow one another and halves when they
// jump. A loop over an array soon moves 2 MiB at a time, a random access little more than it needs.

/** 64 KiB. */
export const FIRST_WINDOW = 16
/** 2 MiB. */
export const LARGEST_WINDOW = 512

/** 8 MiB: what a walk that has reached the largest window gets before it asks. */
export const WALK_AHEAD = 4 * LARGEST_WINDOW

/** The next window, in pages, from the one before (0: there was none). */
export function nextWindow(window: number, isSequential: boolean): number {
  if (window === 0) return FIRST_WINDOW
  return isSequential ? Math.min(2 * window, LARGEST_WINDOW) : Math.max(window / 2, 1)
}
