// Going through an array that is four times as large as the memory of its heap, again and again, and changing a word of each page.
// In each round as many pages come in as go out, in both variants: what went out longest ago comes in next.

import { readSync, writeSync } from 'node:fs'
import { SwapFile } from '../../src/heap/live/swap-file.ts'
import { type Kernel, loadKernel } from '../../src/mmu/userfaultfd/ffi.ts'
import { Segment } from '../../src/mmu/userfaultfd/segment.ts'
import type { Contest, Measure } from '../harness.ts'
import { openLiveHeap } from './bench-heap.ts'

const MIB = 2 ** 20
const PAGE_SIZE = 4096
const DATA = 2048 * MIB
const MEMORY = 512 * MIB
const ROUND = 64 * MIB
const BLOCK = 2 * MIB

/** In GiB per second that come in; as many go out. */
export async function prepareSwap(): Promise<Contest> {
  return { candidate: await prepareHeap(), baseline: preparePlainLoop(await loadKernel()) }
}

async function prepareHeap(): Promise<Measure> {
  const heap = await openLiveHeap({ memory: MEMORY, swap: DATA })
  const array = heap.alloc(Uint8Array, DATA)
  const touch = (at: number, nbytes: number): void => {
    for (let i = at; i < at + nbytes; i += PAGE_SIZE) array[i]++
  }
  touch(0, DATA)
  return eachRound((at) => touch(at, ROUND))
}

/** Blocks go between a file and memory whose oldest block is given back for every new one. */
function preparePlainLoop(kernel: Kernel): Measure {
  const segment = new Segment(kernel, MEMORY)
  const file = SwapFile.make(kernel)
  file.reserve(0, DATA, 'benchmark')
  const step = (at: number): void => {
    const place = at % MEMORY
    const block = segment.alias.subarray(place, place + BLOCK)
    // What is there came in one MEMORY before.
    transfer(writeSync, file.fd, block, (at - MEMORY + DATA) % DATA)
    segment.punch(place, BLOCK)
    transfer(readSync, file.fd, block, at)
    for (let i = 0; i < BLOCK; i += PAGE_SIZE) block[i]++
  }
  for (let at = 0; at < DATA; at += BLOCK) transfer(writeSync, file.fd, segment.alias.subarray(0, BLOCK), at)
  for (let at = 0; at < DATA; at += BLOCK) step(at)
  return eachRound((start) => {
    for (let at = start; at < start + ROUND; at += BLOCK) step(at)
  })
}

function eachRound(work: (at: number) => void): Measure {
  let at = 0
  return () => {
    const begin = performance.now()
    work(at)
    at = (at + ROUND) % DATA
    return (1000 * ROUND) / 2 ** 30 / (performance.now() - begin)
  }
}

function transfer(call: typeof readSync | typeof writeSync, fd: number, block: Uint8Array, position: number): void {
  const count = (call as typeof readSync)(fd, block, 0, block.length, position)
  if (count !== block.length) throw new Error(`${count} of ${block.length} bytes went between file and memory`)
}
