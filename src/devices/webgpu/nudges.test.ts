import { setTimeout as passed } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { needsNudges, withNudges } from './nudges.ts'

afterEach(() => vi.unstubAllGlobals())

/** A queue that looks for what has ended only when something is submitted, as Firefox between two ticks of its timer. */
class SleepyQueue {
  nsubmits = 0
  readonly #endedAt: number
  #wake = (): void => {}
  readonly ended = new Promise<void>((resolve) => {
    this.#wake = resolve
  })

  constructor(ms: number) {
    this.#endedAt = performance.now() + ms
  }

  submit(): undefined {
    this.nsubmits++
    if (performance.now() >= this.#endedAt) this.#wake()
  }
}

describe('withNudges()', () => {
  it('ends a wait that only a submission can end, and submits nothing afterwards', async () => {
    const queue = new SleepyQueue(20)
    await withNudges(queue, queue.ended)
    const { nsubmits } = queue
    expect(nsubmits).toBeGreaterThan(1)
    await passed(40)
    expect(queue.nsubmits).toBe(nsubmits)
  })

  it('settles as the promise does', async () => {
    const queue = new SleepyQueue(0)
    expect(await withNudges(queue, Promise.resolve(7))).toBe(7)
    await expect(withNudges(queue, Promise.reject(new Error('gone')))).rejects.toThrow('gone')
    expect(queue.nsubmits).toBe(0)
  })
})

it.for([
  ['Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0', true],
  ['Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/147.0.0.0 Safari/537.36', false],
  [undefined, false],
] as const)('needsNudges() where the browser is %s: %s', ([userAgent, needed]) => {
  vi.stubGlobal('navigator', userAgent === undefined ? undefined : { userAgent })
  expect(needsNudges()).toBe(needed)
})
