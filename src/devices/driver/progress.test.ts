import { describe, expect, it } from 'vitest'
import { VirtualClock } from './device-clock.ts'
import { ProgressWatch } from './progress.ts'

function makeWatch(deadline: number) {
  const clock = new VirtualClock()
  const reasons: string[] = []
  return { clock, reasons, watch: new ProgressWatch({ deadline, clock, lose: (reason) => reasons.push(reason) }) }
}

const NEVER = new Promise<void>(() => {})

describe('ProgressWatch', () => {
  it('gives the device up when work takes longer than the deadline, measured for each anew', async () => {
    const { clock, reasons, watch } = makeWatch(5000)
    const step = (): Promise<void> => new Promise((resolve) => void clock.callAt(clock.now() + 4000, resolve))
    for (let i = 0; i < 3; i++) {
      const waiting = watch.wait('chase', step())
      expect(watch.isWatching).toBe(true)
      clock.advance(4000)
      await waiting
      expect([watch.isWatching, clock.npending]).toEqual([false, 0])
    }
    void watch.wait('chase', NEVER)
    clock.advance(4999)
    expect([watch.isWatching, reasons]).toEqual([true, []])
    clock.advance(1)
    expect(reasons).toEqual(['kernel "chase" made no progress for 5 ms'])
  })

  it('fails like the work, and watches no longer', async () => {
    const { clock, watch } = makeWatch(5000)
    await expect(watch.wait('chase', Promise.reject(new Error('bad')))).rejects.toThrow('bad')
    expect([watch.isWatching, clock.npending]).toEqual([false, 0])
  })

  it('without a deadline leaves it to others to be patient', () => {
    const { clock, watch } = makeWatch(Number.POSITIVE_INFINITY)
    void watch.wait('chase', NEVER)
    expect([watch.isWatching, clock.npending]).toEqual([false, 0])
  })
})
