import { describe, expect, it } from 'vitest'
import { SYSTEM_CLOCK, VirtualClock } from './device-clock.ts'

describe('VirtualClock', () => {
  it('makes calls in the order of their times, and of those at one time in the order in which they came', () => {
    const clock = new VirtualClock()
    const made: string[] = []
    const call = (name: string) => () => void made.push(`${name} at ${clock.now()}`)
    clock.callAt(20, call('b'))
    clock.callAt(10, call('a'))
    clock.callAt(20, call('c'))
    clock.callAt(30, call('d'))
    expect([clock.npending, clock.now(), made]).toEqual([4, 0, []])
    expect(clock.step()).toBe(true)
    clock.advance(10)
    expect([made, clock.now()]).toEqual([['a at 10', 'b at 20', 'c at 20'], 20])
    clock.advance(5)
    expect([clock.now(), clock.npending]).toEqual([25, 1])
    expect([clock.step(), clock.step(), clock.now()]).toEqual([true, false, 30])
  })

  it('makes calls that were added on the way, and never goes back', () => {
    const clock = new VirtualClock()
    const made: number[] = []
    clock.callAt(10, () => {
      clock.callAt(5, () => void made.push(clock.now()))
      clock.callAt(12, () => void made.push(clock.now()))
    })
    clock.advance(15)
    expect([made, clock.now()]).toEqual([[10, 12], 15])
  })
})

describe('SYSTEM_CLOCK', () => {
  it('calls when the time has come, and soon where that is hardly later than now', async () => {
    const begun = SYSTEM_CLOCK.now()
    const order: string[] = []
    const late = new Promise<number>((resolve) => SYSTEM_CLOCK.callAt(begun + 5000, () => resolve(SYSTEM_CLOCK.now())))
    const soon = new Promise<void>((resolve) => SYSTEM_CLOCK.callAt(begun - 1, resolve))
    order.push('first')
    await soon.then(() => order.push('soon'))
    expect(order).toEqual(['first', 'soon'])
    expect((await late) - begun).toBeGreaterThan(4500)
  })
})
