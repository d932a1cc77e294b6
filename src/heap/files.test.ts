// Arrays that show files and arrays that are filled from them, in every mode. What only heaps with little memory do is in
// test/unit/live-swap.test.ts.

import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { describeModes, ModeFixture } from '../../test/helpers/mode-fixture.ts'
import type { DataSource } from './files.ts'
import type { Heap } from './heap.ts'
import type { HeapError } from './heap-error.ts'
import { openHeap as openOnWeb } from './on-web.ts'

const directory = mkdtempSync(join(tmpdir(), 'hetmem-files-'))
const path = join(directory, 'numbers')
const numbers = Float32Array.from({ length: 5000 }, (_, i) => i / 2)
writeFileSync(path, numbers)
afterAll(() => rmSync(directory, { recursive: true }))

function numbersFile(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path
    } catch {
      return false // that of the folder
    }
  }).length
}

async function refusal(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'none',
    (error: HeapError) => `${error.code}: ${error.message}`,
  )
}

await describeModes((mode) => {
  let heap: Heap

  beforeEach(async () => {
    heap = (await ModeFixture.open(mode, { device: { kind: 'memory', memory: '64 KiB' } })).heap
  })

  afterEach(async () => {
    await heap.close()
    expect(numbersFile()).toBe(0)
  })

  describe('map()', () => {
    it('shows a file, or a part of it, from a path or a URL', async () => {
      const all = await heap.map(path, Float32Array)
      expect([all.length, [...all].every((value, i) => value === i / 2)]).toEqual([5000, true])
      const part = await heap.map(pathToFileURL(path), Float32Array, { offset: 40, length: 1100, name: 'part' })
      expect([part[0], part[1099], part.length]).toEqual([5, (10 + 1099) / 2, 1100])
      expect(heap.arrays.map(({ name }) => name)).toEqual([path, 'part'])
      expect((await heap.map(path, Uint8Array, { offset: 20_000 })).length).toBe(0)
    })

    it('is an array like others: it is freed, and its place used again', async () => {
      const first = await heap.map(path, Float32Array)
      expect(first[7]).toBe(3.5)
      heap.free(first)
      await heap.stats()
      const second = heap.alloc(Float32Array, 5000)
      expect([second.byteOffset === first.byteOffset, second.every((value) => value === 0)]).toEqual([true, true])
      const third = await heap.map(path, Float32Array)
      expect([third[0], third[4999]]).toEqual([0, 2499.5])
      // One for the engine, for as long as the array lives.
      expect(numbersFile()).toBe(mode.name === 'explicit' ? 0 : 1)
    })

    it('can be used by devices for reading, and not for writing', async () => {
      const x = await heap.map(path, Float32Array, { name: 'x' })
      expect((await heap.prefetch(x)).pages).toBe(5)
      expect(await refusal(heap.prefetch(x, { access: 'readWrite' }))).toMatch(/^READ_ONLY: .*"x"/)
      await heap.sync(x, 'read')
      expect([...x].every((value, i) => value === i / 2)).toBe(true)
    })

    it.each<[string, RegExp]>([
      ['missing', /^BAD_FILE: .*ENOENT/],
      ['.', /^BAD_FILE: .*no regular file/],
    ])('refuses %s', async (name, message) => {
      expect(await refusal(heap.map(join(directory, name), Float32Array))).toMatch(message)
      expect(heap.arrays).toEqual([])
    })

    it('refuses what does not fit the type or the file', async () => {
      for (const options of [
        { offset: 2, length: 1 },
        { length: 5001 },
        { offset: 20_004, length: 1 },
        { length: -1 },
      ]) {
        await expect(heap.map(path, Float32Array, options)).rejects.toThrow(RangeError)
      }
      await expect(heap.map(path, Float32Array, { offset: 4, size: 1 } as object)).rejects.toThrow(TypeError)
      await expect(heap.map(7 as unknown as string, Float32Array)).rejects.toThrow(TypeError)
      await expect(heap.map('https://example.org/x', Array as unknown as typeof Float32Array)).rejects.toThrow(
        TypeError,
      )
      await expect(heap.map(new URL('https://example.org/x'), Float32Array)).rejects.toThrow(
        /wanted a path or a file: URL/,
      )
      expect(heap.arrays).toEqual([])
    })
  })

  describe('load()', () => {
    it('fills a view from a file and says how much that was', async () => {
      const x = heap.alloc(Float32Array, 3000, { name: 'x' })
      const receipt = await heap.load(x.subarray(1000), path, { offset: 400 })
      expect([receipt.array, receipt.bytes, `${receipt}`]).toEqual(['x', 8000, expect.stringMatching(/^load: 7.8 KiB/)])
      expect([x[999], x[1000], x[2999]]).toEqual([0, 50, (100 + 1999) / 2])
    })

    it('takes pages from the devices that have them', async () => {
      const x = heap.alloc(Float32Array, 5000)
      await heap.prefetch(x, { access: 'readWrite' })
      await heap.load(x, path)
      expect([...x].every((value, i) => value === i / 2)).toBe(true)
    })

    const bytes = new Uint8Array(numbers.buffer)
    it.each<[string, () => DataSource]>([
      ['a web stream', () => new Blob([bytes]).stream()],
      ['a stream that cannot be iterated', () => ({ getReader: () => new Blob([bytes]).stream().getReader() })],
      ['a list of pieces', () => [bytes.subarray(0, 1), bytes.subarray(1, 9000), bytes.subarray(9000)]],
    ])('fills a view from %s, without its first bytes if asked to', async (_name, source) => {
      const x = heap.alloc(Float32Array, 4000)
      await heap.load(x, source())
      expect([...x].every((value, i) => value === i / 2)).toBe(true)
      await heap.load(x, source(), { offset: 4000 })
      expect([...x].every((value, i) => value === (i + 1000) / 2)).toBe(true)
    })

    it('refuses sources that are none or end too early', async () => {
      const x = heap.alloc(Float32Array, 5001, { name: 'x' })
      expect(await refusal(heap.load(x, path))).toMatch(/^BAD_FILE: .* ends after 20000 bytes, wanted 20004/)
      expect(await refusal(heap.load(x, [bytes]))).toMatch(/^BAD_FILE: .*source ends after 20000 bytes, wanted 20004/)
      for (const source of [7, null, {}, [7], ['text']]) {
        await expect(heap.load(x, source as unknown as DataSource)).rejects.toThrow(TypeError)
      }
      await expect(heap.load(x, path, { offset: -1 })).rejects.toThrow(RangeError)
    })

    it('does not write to an array that shows a file', async () => {
      const x = await heap.map(path, Float32Array, { name: 'x' })
      if (mode.name === 'explicit') await heap.load(x, path)
      else expect(await refusal(heap.load(x, path))).toBe('READ_ONLY: READ_ONLY: "x" shows a file')
    })
  })
})

describe('a heap on a web page', () => {
  it('has no files, but takes streams', async () => {
    const heap = await openOnWeb({ mode: 'explicit' })
    expect(await refusal(heap.map('numbers', Float32Array))).toMatch(/^NOT_IN_MODE: .*there are no files here/)
    const x = heap.alloc(Uint8Array, 3)
    await heap.load(x, [Uint8Array.of(1, 2, 3)])
    expect([...x]).toEqual([1, 2, 3])
    await heap.close()
  })
})
