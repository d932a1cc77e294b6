// Programs whose arrays are larger than the memory of their heap.

import { closeSync, constants, fstatSync, openSync, readdirSync, readlinkSync, writeSync } from 'node:fs'
import type { Heap } from '../../src/heap/heap.ts'
import type { HeapOptions } from '../../src/heap/heap-options.ts'
import { loadKernel } from '../../src/mmu/userfaultfd/ffi.ts'
import { argument, openProgramHeap, pause, runCase, startThread } from './program.ts'

const MIB = 2 ** 20
const PAGE_WORDS = 1024

/** 64 MiB of memory, and swap for eight times as much. */
async function open(options: HeapOptions = {}): Promise<Heap> {
  const defaults = { size: '2 GiB', memory: '64 MiB', swap: '512 MiB', device: [] } as const
  return (await openProgramHeap({ ...defaults, ...options })).heap
}

/** Descriptors of this process whose files have names that fit. */
function descriptors(name: RegExp): number[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return name.test(readlinkSync(`/proc/self/fd/${fd}`)) ? [Number(fd)] : []
    } catch {
      return [] // that of the folder itself
    }
  })
}

/** Bytes that the files have that heaps are made of. */
function backedBytes(): number {
  return descriptors(/memfd:hetmem/).reduce((sum, fd) => sum + fstatSync(fd).blocks * 512, 0)
}

function swapFile(): number {
  const [fd] = descriptors(/^\/.*#\d+ \(deleted\)$|hetmem-swap/)
  return fd
}

/** Overwrites the first part of the swap file. */
function damage(): void {
  const swap = swapFile()
  const rubbish = new Uint8Array(MIB).fill(0xdb)
  for (let at = 0; at < 140 * MIB; at += MIB) writeSync(swap, rubbish, 0, MIB, at)
}

/** What a page holds that was written in a round. */
function wordOf(page: number, round: number): number {
  return Math.imul(page + 1, 0x9e3779b1 + 2 * round)
}

/** Writes the first and the last word of each page. */
function write(x: Int32Array, round: number, watch: () => void): void {
  for (let i = 0; i < x.length; i += PAGE_WORDS) {
    x[i] = wordOf(i, round)
    x[i + PAGE_WORDS - 1] = wordOf(i, round) ^ 1
    if (i % (PAGE_WORDS * 1024) === 0) watch()
  }
}

/** Words that are not what was written. */
function countWrong(x: Int32Array, round: number, watch: () => void, from = 0, to = x.length): number {
  let wrong = 0
  for (let i = from; i < to; i += PAGE_WORDS) {
    if (x[i] !== wordOf(i, round)) wrong++
    if (x[i + PAGE_WORDS - 1] !== (wordOf(i, round) ^ 1)) wrong++
    if (x[i + 5] !== 0) wrong++
    if (i % (PAGE_WORDS * 1024) === 0) watch()
  }
  return wrong
}

await runCase({
  /** Writes `--mib` MiB, up to 512, with a quarter of that as memory, and finds everything again; frees it. */
  async larger() {
    const mib = Number(argument('mib') ?? 512)
    const heap = await open({ memory: (mib * MIB) / 4 })
    let peak = 0
    const watch = (): void => {
      peak = Math.max(peak, backedBytes())
    }
    const x = heap.alloc(Int32Array, (mib * MIB) / 4, { name: 'x' })
    const reserved = fstatSync(swapFile()).blocks * 512
    write(x, 1, watch)
    let wrong = countWrong(x, 1, watch)
    const first = (await heap.stats()).memory
    wrong += countWrong(x, 1, watch)
    const second = (await heap.stats()).memory
    write(x.subarray(0, x.length / 2), 2, watch)
    wrong += countWrong(x, 2, watch, 0, x.length / 2) + countWrong(x, 1, watch, x.length / 2)
    heap.free(x)
    while ((await heap.stats()).memory.resident > 0) await pause(10)
    const left = { backed: backedBytes(), reserved: fstatSync(swapFile()).blocks * 512 }
    await heap.close()
    return { wrong, reserved, peak, left, first, second, open: descriptors(/#\d+ \(deleted\)|memfd:hetmem/).length }
  },

  /** Four threads with words of their own in every page of `--mib` MiB, at random, with an eighth of that as memory. */
  async threads() {
    const mib = Number(argument('mib') ?? 512)
    const heap = await open({ memory: (mib * MIB) / 8, swap: mib * MIB })
    const x = heap.alloc(Int32Array, (mib * MIB) / 4, { name: 'x' })
    const seconds = Number(argument('seconds') ?? 5)
    const threads = await Promise.all(
      [0, 1, 2, 3].map((thread) =>
        startThread(
          { x, thread, seconds },
          `({ x, thread, seconds }) => {
            const npages = x.length / 1024
            const known = new Map()
            let random = 12345 + thread
            const next = (below) => {
              random = (Math.imul(random, 1664525) + 1013904223) >>> 0
              return Math.floor((random / 2 ** 32) * below)
            }
            let wrong = 0
            let noperations = 0
            for (const end = performance.now() + 1000 * seconds; performance.now() < end; ) {
              const start = next(npages)
              const length = next(8) === 0 ? 200 : 1
              for (let page = start; page < Math.min(npages, start + length); page++, noperations++) {
                const word = page * 1024 + 4 * (page % 250) + thread
                if (x[word] !== (known.get(page) ?? 0)) wrong++
                if (next(3) === 0) known.set(page, (x[word] = next(2 ** 30)))
              }
            }
            for (const [page, value] of known) if (x[page * 1024 + 4 * (page % 250) + thread] !== value) wrong++
            return { wrong, noperations }
          }`,
        ),
      ),
    )
    const results = await Promise.all(threads.map((thread) => thread.next()))
    const { memory } = await heap.stats()
    const backed = backedBytes()
    for (const { worker } of threads) await worker.terminate()
    await heap.close()
    return { results, memory, backed }
  },

  /** Arrays that do not fit, with swap and without; freeing one makes room at once. */
  async full() {
    const codes: string[] = []
    const attempt = (alloc: () => unknown): void => {
      try {
        alloc()
        codes.push('ok')
      } catch (error) {
        codes.push((error as { code: string; message: string }).message)
      }
    }
    const swapping = await open({ memory: '16 MiB', swap: '16 MiB' })
    const x = swapping.alloc(Uint8Array, 20 * MIB)
    attempt(() => swapping.alloc(Uint8Array, 13 * MIB, { name: 'y' }))
    swapping.free(x)
    attempt(() => swapping.alloc(Uint8Array, 32 * MIB))
    await swapping.close()
    const bounded = await open({ memory: '16 MiB', swap: 0 })
    const z = bounded.alloc(Uint8Array, 16 * MIB)
    z.fill(7)
    attempt(() => bounded.alloc(Uint8Array, 1, { name: 'one more' }))
    const { memory } = await bounded.stats()
    await bounded.close()
    return { codes, memory, sum: z.length }
  },

  /** A file system that is full when an array is allocated: `--directory` has room for 32 MiB. */
  async disk() {
    const heap = await open({ swap: { path: argument('directory') ?? '', size: '512 MiB' } })
    const x = heap.alloc(Int32Array, (20 * MIB) / 4)
    let message = ''
    try {
      heap.alloc(Int32Array, (20 * MIB) / 4, { name: 'y' })
    } catch (error) {
      message = (error as Error).message
    }
    heap.free(x)
    await heap.stats()
    const z = heap.alloc(Int32Array, (24 * MIB) / 4)
    write(z, 1, () => {})
    const wrong = countWrong(z, 1, () => {})
    await heap.close()
    return { message, wrong }
  },

  /** Every write to the swap file fails from some point on: pages stay in memory. */
  async failingWrites() {
    const heap = await open()
    const x = heap.alloc(Int32Array, (128 * MIB) / 4)
    const kernel = await loadKernel()
    const swap = swapFile()
    const kept = openSync(`/proc/self/fd/${swap}`, constants.O_RDWR)
    const full = openSync('/dev/full', 'r+')
    kernel.dup3(full, swap, 0)
    write(x, 1, () => {})
    const failing = (await heap.stats()).memory
    // The disk has room again.
    kernel.dup3(kept, swap, 0)
    while ((await heap.stats()).memory.resident > 64 * MIB) await pause(50)
    const wrong = countWrong(x, 1, () => {})
    write(x, 2, () => {})
    const wrongLater = countWrong(x, 2, () => {})
    const later = (await heap.stats()).memory
    await heap.close()
    closeSync(full)
    closeSync(kept)
    return { wrong, wrongLater, failing, later }
  },

  /** The swap file is overwritten behind the heap's back: calls are refused, a touch ends the process. */
  async damage() {
    const heap = await open({ device: { kind: 'memory', memory: '8 MiB' } })
    const x = heap.alloc(Int32Array, (128 * MIB) / 4, { name: 'x' })
    write(x, 1, () => {})
    await heap.stats()
    damage()
    const refusals: string[] = []
    const part = x.subarray(0, 1)
    for (const call of [() => heap.sync(part, 'read'), () => heap.prefetch(part, { access: 'readWrite' })]) {
      await call().catch((error: Error) => refusals.push(error.message))
    }
    const place = Object.keys((await heap.where(part)).pages)
    const page = x.subarray(PAGE_WORDS, 2 * PAGE_WORDS)
    await heap.discard(page)
    console.log(JSON.stringify({ refusals, place, discarded: page[7] }))
    return x[PAGE_WORDS * 3]
  },

  /** Arrays are freed while their pages are written to swap, and their views go on being read. */
  async freedOnTheWay() {
    const heap = await open({ memory: '16 MiB', swap: '64 MiB', device: [] })
    let wrong = 0
    for (let round = 1; round <= 12; round++) {
      const x = heap.alloc(Int32Array, (24 * MIB) / 4)
      write(x, round, () => {})
      heap.free(x)
      // What is there or not: what was stored, or nothing any more.
      for (let i = 0; i < x.length; i += PAGE_WORDS) if (x[i] !== 0 && x[i] !== wordOf(i, round)) wrong++
      await heap.stats()
    }
    const { memory } = await heap.stats()
    await heap.close()
    return { wrong, memory }
  },

  /** The same where touches of what is lost are to go on: calls say so, until it is given up. */
  async damageFilled() {
    const swap = { size: '1 GiB', onLost: 'fill' } as const
    const heap = await open({ swap, device: { kind: 'memory', memory: '8 MiB' } })
    const x = heap.alloc(Float32Array, (128 * MIB) / 4, { name: 'x' }).fill(1)
    await heap.stats()
    damage()
    const page = x.subarray(PAGE_WORDS, 2 * PAGE_WORDS)
    const other = x.subarray(64 * PAGE_WORDS, 65 * PAGE_WORDS)
    const launched = x.subarray(200 * PAGE_WORDS, 201 * PAGE_WORDS)
    const places = Object.keys({ ...(await heap.where(page)).pages, ...(await heap.where(launched)).pages })
    const refusals: string[] = []
    const values = [`${page[5]}`]
    // What was touched, what comes with the call, and what comes for a device.
    const calls = [
      () => heap.sync(page),
      () => heap.sync(other, 'read'),
      () => heap.prefetch(launched, { access: 'readWrite' }),
      () => heap.sync(launched),
    ]
    for (const call of calls) await call().catch((error: Error) => refusals.push(error.message))
    await heap.discard(x)
    await heap.sync(page)
    values.push(`${page[5]}`)
    await heap.close()
    return { places, refusals, values }
  },

  /** The thread of the page I/O fails: so does the engine, and with it the process. */
  async broken() {
    const heap = await openProgramHeap({ size: '2 GiB', memory: '64 MiB', swap: '64 MiB', device: [] })
    await heap.extension('breakPageIo')
    await pause(5000)
    return 'alive'
  },

  /** What is held stays, and as much as memory cannot be held. */
  async held() {
    const heap = await open({ memory: '16 MiB', swap: '112 MiB' })
    const x = heap.alloc(Int32Array, (96 * MIB) / 4, { name: 'x' })
    write(x, 1, () => {})
    const part = x.subarray(0, (8 * MIB) / 4)
    const { wrong, places } = await heap.withResident(part, async () => {
      const wrong = countWrong(x, 1, () => {})
      return { wrong, places: (await heap.where(part)).pages }
    })
    // As much as can be: every other page has to do with what is left.
    const wrongBeside = await heap.withResident(x.subarray(0, (11 * MIB) / 4), () => countWrong(x, 1, () => {}))
    let message = ''
    try {
      await heap.pin(x)
    } catch (error) {
      message = (error as Error).message
    }
    await heap.close()
    return { wrong: wrong + wrongBeside, places, message }
  },

  /** Two devices take pages while memory, devices and swap are full. */
  async devices() {
    const device = [
      { kind: 'memory', memory: '8 MiB', name: 'a' },
      { kind: 'memory', memory: '8 MiB', name: 'b' },
    ] as const
    const extended = await openProgramHeap({ size: '2 GiB', memory: '16 MiB', swap: '112 MiB', device })
    const { heap } = extended
    const x = heap.alloc(Int32Array, (128 * MIB) / 4, { name: 'x' })
    let peak = 0
    const watch = (): void => {
      peak = Math.max(peak, backedBytes())
    }
    write(x, 1, watch)
    let wrong = 0
    const part = (2 * MIB) / 4
    let seed = 7
    for (let round = 0; round < 60; round++) {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      const view = x.subarray((seed % 64) * part, (seed % 64) * part + part)
      await heap.prefetch(view, { to: round % 2 === 0 ? 'a' : 'b', access: round % 3 === 0 ? 'read' : 'readWrite' })
      if (round % 5 === 0) {
        for (let i = 0; i < view.length; i += PAGE_WORDS) {
          if (view[i] !== wordOf((view.byteOffset - x.byteOffset) / 4 + i, 1)) wrong++
        }
      }
      if (round % 10 === 0) await extended.extension('validate')
      watch()
    }
    wrong += countWrong(x, 1, watch)
    const { memory, devices } = await heap.stats()
    await heap.close()
    return { wrong, peak, memory, used: devices.map(({ used }) => used) }
  },
})
