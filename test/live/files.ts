// Arrays that show files, and arrays that are filled from them.

import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { open as openHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Heap } from '../../src/heap/heap.ts'
import type { HeapOptions } from '../../src/heap/heap-options.ts'
import { openProgramHeap, runCase } from './program.ts'

const MIB = 2 ** 20
const directory = mkdtempSync(join(tmpdir(), 'hetmem-files-'))
process.on('exit', () => rmSync(directory, { recursive: true }))
const path = join(directory, 'numbers')

async function open(options: HeapOptions = {}): Promise<Heap> {
  return (await openProgramHeap({ size: '2 GiB', device: [], ...options })).heap
}

/** A file of Int32 numbers: each is its place in the file, times three. */
function makeFile(nbytes: number): void {
  const part = new Int32Array(MIB / 4)
  const fd = openSync(path, 'w')
  for (let at = 0; at < nbytes; at += MIB) {
    for (let i = 0; i < part.length; i++) part[i] = 3 * (at / 4 + i)
    writeSync(fd, part, 0, Math.min(MIB, nbytes - at), at)
  }
  closeSync(fd)
}

function countWrong(x: Int32Array, first = 0, step = 1): number {
  let wrong = 0
  for (let i = 0; i < x.length; i += step) if (x[i] !== 3 * (first + i)) wrong++
  return wrong
}

async function messageOf(operation: () => unknown): Promise<string> {
  try {
    await operation()
    return 'nothing'
  } catch (error) {
    return `${(error as Error).name} ${(error as { code?: string }).code}: ${(error as Error).message}`
  }
}

await runCase({
  /** Reads a file of 160 MiB twice with 32 MiB of memory and no swap. */
  async map() {
    makeFile(160 * MIB + 12)
    const heap = await open({ memory: '32 MiB' })
    const own = heap.alloc(Int32Array, MIB, { name: 'own' }).fill(7)
    const x = await heap.map(path, Int32Array)
    const wrong = countWrong(x, 0, 512) + countWrong(x, 0, 511)
    const { memory } = await heap.stats()
    const parts = await heap.map(path, Int32Array, { offset: 8, length: 5000, name: 'part' })
    const wrongPart = countWrong(parts, 2) + (parts.length === 5000 ? 0 : 1)
    heap.free(x)
    heap.free(parts)
    await heap.stats()
    const again = await heap.map(path, Int32Array, { offset: '128 MiB' })
    const wrongAgain = countWrong(again, (128 * MIB) / 4, 512)
    const own7 = own.every((value) => value === 7)
    await heap.close()
    return { wrong, wrongPart, wrongAgain, own7, length: x.length, memory }
  },

  /** What does not fit together. */
  async refusals() {
    makeFile(MIB + 2)
    const heap = await open({ memory: '32 MiB' })
    const x = await heap.map(path, Int32Array, { length: 16, name: 'x' })
    const messages = [
      await messageOf(() => heap.map(path, Int32Array)),
      await messageOf(() => heap.map(path, Int32Array, { offset: 2, length: 1 })),
      await messageOf(() => heap.map(path, Int32Array, { length: MIB })),
      await messageOf(() => heap.map(join(directory, 'nothing'), Int32Array)),
      await messageOf(() => heap.map(directory, Int32Array)),
      await messageOf(() => heap.load(x, path)),
    ]
    await heap.close()
    return messages.map((message) => message.replaceAll(directory, 'DIR'))
  },

  /** The file becomes shorter after it was mapped: calls are refused, and a touch ends the process. */
  async changed() {
    makeFile(4 * MIB)
    const heap = await open()
    const x = await heap.map(path, Int32Array, { name: 'x' })
    const before = x[5]
    const fd = openSync(path, 'r+')
    ftruncateSync(fd, MIB)
    closeSync(fd)
    const here = x[5]
    const message = await messageOf(() => heap.sync(x, 'read'))
    console.log(JSON.stringify({ before, here, message }))
    return x[(2 * MIB) / 4]
  },

  /** A device reads what a file has; what a program stores stays its own. */
  async devices() {
    makeFile(4 * MIB)
    const heap = await open({ device: { kind: 'memory', memory: '8 MiB' }, memory: '16 MiB', swap: '32 MiB' })
    const x = await heap.map(path, Int32Array, { name: 'x' })
    const { pages } = await heap.prefetch(x, { access: 'read' })
    const write = await messageOf(() => heap.prefetch(x, { access: 'readWrite' }))
    const wrong = countWrong(x)
    await heap.close()
    return { pages, write, wrong }
  },

  /** Fills arrays that are larger than memory, wherever their pages are; from files, streams and what not. */
  async load() {
    makeFile(48 * MIB)
    const heap = await open({
      memory: '16 MiB',
      swap: '96 MiB',
      device: { kind: 'memory', memory: '8 MiB' },
    })
    const x = heap.alloc(Int32Array, (48 * MIB) / 4, { name: 'x' })
    const receipt = await heap.load(x, path)
    let wrong = countWrong(x)
    x.fill(0, 0, MIB)
    await heap.prefetch(x.subarray(0, MIB), { access: 'readWrite' })
    await heap.load(x.subarray(100, MIB), path, { offset: 400 })
    wrong += countWrong(x.subarray(100, MIB), 100)
    const handle = await openHandle(path)
    const y = heap.alloc(Int32Array, MIB, { name: 'y' })
    await heap.load(y, handle.createReadStream({ highWaterMark: 12_345 }))
    wrong += countWrong(y)
    y.fill(0)
    await heap.load(y, new Blob([new Int32Array(MIB).map((_, i) => 3 * i)]).stream(), { offset: 0 })
    wrong += countWrong(y)
    const short = await messageOf(() => heap.load(y, [new Uint8Array(5)]))
    await heap.close()
    return { wrong, bytes: receipt.bytes, text: `${receipt}`.replace(/[\d.]+ ms/, 'N ms'), short }
  },
})
