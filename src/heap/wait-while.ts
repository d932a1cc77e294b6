// Waiting for a word to change. `Atomics.wait` may return although nobody has notified and nothing has changed: V8 passes on what the
// operating system's condition variables do now and then, a few times in a hundred thousand waits on a slow machine.

/** Waits while `words[index]` is `value`, `ms` milliseconds at most. Returns whether it changed. */
export function waitWhile(words: Int32Array, index: number, value: number, ms = Infinity): boolean {
  const deadline = performance.now() + ms
  while (Atomics.load(words, index) === value) {
    const left = deadline - performance.now()
    if (left <= 0) return false
    Atomics.wait(words, index, value, left)
  }
  return true
}
