// Queues that take shared memory. What they do with it is tested with a heap (heap/webgpu-heap.test.ts).

import { describe, expect, it } from 'vitest'
import { copySharedViews } from './shared-views.ts'

describe('copySharedViews()', () => {
  it('changes nothing that is not of a kind of queues', () => {
    const before = Object.getOwnPropertyNames(Object.prototype)
    const queue = { writeBuffer() {}, writeTexture() {} }
    const { writeBuffer } = queue
    copySharedViews(queue as never)
    copySharedViews({} as never)
    expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(before)
    expect(queue.writeBuffer).toBe(writeBuffer)
  })

  it('gives queues of a kind ordinary memory', () => {
    class Queue {
      readonly written: unknown[] = []
      writeBuffer(_buffer: unknown, _offset: number, data: unknown): void {
        this.written.push(data)
      }
      writeTexture(_destination: unknown, data: unknown): void {
        this.written.push(data)
      }
    }
    const queue = new Queue()
    copySharedViews(queue as never)
    copySharedViews(new Queue() as never)
    const shared = new Uint8Array(new SharedArrayBuffer(4)).fill(3)
    const own = new Uint8Array([1, 2])
    queue.writeBuffer(null, 0, shared)
    queue.writeTexture(null, own)
    expect(queue.written).toEqual([new Uint8Array([3, 3, 3, 3]).buffer, own])
  })

  it('finds the methods of a queue that somebody has wrapped', () => {
    class Queue {
      written: unknown = null
      writeBuffer(_buffer: unknown, _offset: number, data: unknown): void {
        this.written = data
      }
      writeTexture(): void {}
    }
    class Wrapped extends Queue {}
    const queue = Object.create(new Wrapped()) as Wrapped
    copySharedViews(queue as never)
    queue.writeBuffer(null, 0, new Uint8Array(new SharedArrayBuffer(2)).fill(5))
    expect(queue.written).toEqual(new Uint8Array([5, 5]).buffer)
  })
})
