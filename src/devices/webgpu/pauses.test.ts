import { setTimeout as passed } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { withPauses } from './pauses.ts'

afterEach(() => vi.restoreAllMocks())

describe('withPauses()', () => {
  it('settles as the promise does', async () => {
    expect(await withPauses(Promise.resolve(7))).toBe(7)
    await expect(withPauses(Promise.reject(new Error('gone')))).rejects.toThrow('gone')
  })

  it('sleeps while somebody waits long, for a moment at a time, and not afterwards', async () => {
    const sleep = vi.spyOn(Atomics, 'wait')
    const waits = [withPauses(passed(40)), withPauses(passed(60))]
    await waits[0]
    const soFar = sleep.mock.calls.length
    await waits[1]
    expect(soFar).toBeGreaterThan(0)
    for (const [, , , ms] of sleep.mock.calls) expect(ms).toBeLessThanOrEqual(0.1)
    await passed(2)
    const atRest = sleep.mock.calls.length
    await passed(20)
    expect(sleep.mock.calls.length).toBe(atRest)
  })

  it('never sleeps for what settles at once', async () => {
    const sleep = vi.spyOn(Atomics, 'wait')
    for (let i = 0; i < 100; i++) await withPauses(Promise.resolve(i))
    expect(sleep).not.toHaveBeenCalled()
  })
})
