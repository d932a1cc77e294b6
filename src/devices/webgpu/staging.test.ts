// The ring of mapped buffers with a queue that ends what the test says, in any order.

import { describe, expect, it } from 'vitest'
import { PAGE_SIZE } from '../../base/addr.ts'
import type { GpuContext } from './gpu-context.ts'
import { StagingRing } from './staging.ts'

const PIECE = 4

/** A buffer whose contents say which pages were copied to it last. */
class FakeBuffer {
  contents = -1
  isMapped = false
  private settle: { resolve: () => void; reject: (reason: Error) => void } | null = null

  mapAsync(): Promise<void> {
    expect(this.isMapped).toBe(false)
    return new Promise((resolve, reject) => {
      this.settle = { resolve, reject }
    })
  }

  getMappedRange(_: number, nbytes: number): ArrayBuffer {
    expect(this.isMapped).toBe(true)
    return new Uint8Array(nbytes).fill(this.contents).buffer
  }

  unmap(): void {
    this.isMapped = false
  }

  async end(failure?: Error): Promise<void> {
    if (failure !== undefined) this.settle?.reject(failure)
    else {
      this.isMapped = true
      this.settle?.resolve()
    }
    for (let i = 0; i < 10; i++) await null
  }
}

async function setUp(count: number) {
  const buffers: FakeBuffer[] = []
  const device = {
    createBuffer: () => {
      buffers.push(new FakeBuffer())
      return buffers[buffers.length - 1]
    },
    queue: {},
  }
  const context = {
    device,
    tryAllocate: async (make: () => unknown) => {
      make()
      return null
    },
    submit: (record: (encoder: null) => void) => record(null),
  } as unknown as GpuContext
  const ring = await StagingRing.create(context, PIECE, count)
  const begun: [name: string, from: number, buffer: FakeBuffer][] = []
  const taken: string[] = []
  const read = (name: string, npages: number, take = (_: number): void => {}) =>
    ring.read({
      npages,
      record: (_, staging, from) => {
        const buffer = staging as unknown as FakeBuffer
        buffer.contents = from
        begun.push([name, from, buffer])
      },
      take: (bytes, from, to) => {
        take(from)
        expect([bytes.length, bytes[0]]).toEqual([(to - from) * PAGE_SIZE, from])
        taken.push(`${name} ${from}-${to}`)
      },
    })
  return { ring, read, begun, taken, names: () => begun.map(([name, from]) => `${name} ${from}`) }
}

describe('StagingRing.read()', () => {
  it('cuts what is read into pieces, which begin in order as buffers become free', async () => {
    const { read, begun, taken, names } = await setUp(2)
    const done = Promise.all([read('x', 7), read('y', 3)])
    // The first one is short, as somebody waits for it.
    expect(names()).toEqual(['x 0', 'x 1'])
    await begun[1][2].end()
    expect(names()).toEqual(['x 0', 'x 1', 'x 5'])
    await begun[0][2].end()
    await begun[2][2].end()
    await begun[3][2].end()
    await done
    expect(taken).toEqual(['x 1-5', 'x 0-1', 'x 5-7', 'y 0-3'])
  })

  it('rejects when taking fails, once nothing of it is on its way, and reads what comes later', async () => {
    const { read, begun, taken } = await setUp(2)
    let isOver = false
    const failing = read('x', 12, (from) => {
      if (from === 0) throw new Error('no room')
    }).finally(() => {
      isOver = true
    })
    failing.catch(() => {})
    const later = read('y', 2)
    await begun[0][2].end()
    // Its second piece is not over.
    expect(isOver).toBe(false)
    for (let i = 1; i < begun.length; i++) await begun[i][2].end()
    await expect(failing).rejects.toThrow('no room')
    await later
    expect(taken).toContain('y 0-2')
  })

  it('says so when a buffer cannot be mapped, and rejects with why the device failed', async () => {
    const { ring, read, begun } = await setUp(1)
    const reasons: string[] = []
    ring.onFailed = (reason) => {
      reasons.push(reason)
      ring.fail(new Error('lost'))
    }
    const first = read('x', 8)
    const waiting = read('y', 1)
    const both = Promise.allSettled([first, waiting])
    await begun[0][2].end(new Error('unmapped'))
    expect((await both).map((end) => (end as PromiseRejectedResult).reason.message)).toEqual(['lost', 'lost'])
    expect(reasons).toEqual(['reading back failed: unmapped'])
    await expect(read('z', 1)).rejects.toThrow('lost')
  })

  it('takes nothing after the device has failed', async () => {
    const { ring, read, begun, taken } = await setUp(1)
    const reading = read('x', 4)
    ring.fail(new Error('lost'))
    await begun[0][2].end()
    await expect(reading).rejects.toThrow('lost')
    expect(taken).toEqual([])
  })
})
