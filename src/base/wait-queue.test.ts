import { describe, expect, it } from 'vitest'
import { WaitQueue } from './wait-queue.ts'

describe('WaitQueue', () => {
  it('wake() calls the listeners in order, before it returns, and only once', () => {
    const queue = new WaitQueue()
    const calls: string[] = []
    queue.add(() => calls.push('a'))
    queue.add(() => calls.push('b'))
    expect(queue.size).toBe(2)

    queue.wake()
    queue.wake()

    expect(calls).toEqual(['a', 'b'])
    expect(queue.size).toBe(0)
  })

  it('wake() leaves a listener that adds itself again for the next time', () => {
    const queue = new WaitQueue()
    let calls = 0
    const again = () => {
      calls++
      queue.add(again)
    }
    queue.add(again)

    queue.wake()
    expect(calls).toBe(1)
    queue.wake()
    expect(calls).toBe(2)
  })

  it('wake() calls the others too when a listener throws, then throws the first error', () => {
    const queue = new WaitQueue()
    const calls: string[] = []
    queue.add(() => {
      throw new Error('first')
    })
    queue.add(() => calls.push('second'))
    queue.add(() => {
      throw new Error('third')
    })

    expect(() => queue.wake()).toThrow('first')
    expect(calls).toEqual(['second'])
    expect(queue.size).toBe(0)
  })

  it('remove() takes back one entry and says whether there was one', () => {
    const queue = new WaitQueue()
    let calls = 0
    const listener = () => {
      calls++
    }
    queue.add(listener)
    queue.add(listener)

    expect(queue.remove(listener)).toBe(true)
    queue.wake()

    expect(calls).toBe(1)
    expect(queue.remove(listener)).toBe(false)
  })

  it('promise() resolves at the next wake-up and not before', async () => {
    const queue = new WaitQueue()
    let resolved = false
    const waiting = queue.promise().then(() => {
      resolved = true
    })

    await Promise.resolve()
    expect(resolved).toBe(false)
    queue.wake()
    await waiting

    expect(resolved).toBe(true)
  })
})
