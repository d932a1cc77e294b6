import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { waitWhile } from './wait-while.ts'

afterEach(() => vi.restoreAllMocks())

describe('waitWhile()', () => {
  it('does not wait for what has happened', () => {
    const wait = vi.spyOn(Atomics, 'wait')
    expect(waitWhile(new Int32Array(new SharedArrayBuffer(4)), 0, 1)).toBe(true)
    expect(wait).not.toHaveBeenCalled()
  })

  it('goes on waiting when it is woken and nothing has changed', () => {
    const words = new Int32Array(new SharedArrayBuffer(4))
    let nwakes = 0
    vi.spyOn(Atomics, 'wait').mockImplementation(() => {
      if (++nwakes === 3) Atomics.store(words, 0, 7)
      return 'ok'
    })
    expect([waitWhile(words, 0, 0), nwakes]).toEqual([true, 3])
  })

  it('gives up when the time has passed, however often it is woken', () => {
    const words = new Int32Array(new SharedArrayBuffer(4))
    expect(waitWhile(words, 0, 0, 5)).toBe(false)
    vi.spyOn(Atomics, 'wait').mockReturnValue('ok')
    expect(waitWhile(words, 0, 0, 5)).toBe(false)
  })

  it('is woken by another thread', async () => {
    const words = new Int32Array(new SharedArrayBuffer(4))
    const source = `
      const { workerData } = require('node:worker_threads')
      Atomics.store(workerData, 0, 3)
      Atomics.notify(workerData, 0)`
    const worker = new Worker(source, { eval: true, workerData: words })
    expect(waitWhile(words, 0, 0, 30_000)).toBe(true)
    await worker.terminate()
  })
})
