import { describe, expect, it } from 'vitest'
import { onExit } from './exit-hook.ts'

describe('onExit()', () => {
  it('has one listener for all hooks, and none without any', () => {
    const before = process.listenerCount('exit')
    const takenAway = Array.from({ length: 20 }, () => onExit(() => {}))
    expect(process.listenerCount('exit')).toBe(before + 1)
    for (const takeAway of takenAway) takeAway()
    expect(process.listenerCount('exit')).toBe(before)
  })

  it('calls those that are left, in the order in which they were added', () => {
    const listeners = process.listeners('exit')
    const called: string[] = []
    const first = onExit(() => called.push('first'))
    const second = onExit(() => called.push('second'))
    const third = onExit(() => called.push('third'))
    second()
    for (const listener of process.listeners('exit')) {
      if (!listeners.includes(listener)) (listener as () => void)()
    }
    expect(called).toEqual(['first', 'third'])
    first()
    third()
  })
})
