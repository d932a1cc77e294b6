// Pages between memory and files. Memory is that of a heap; files are real ones.

import { mkdtempSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findLiveMachine, type LiveMachine } from '../../../test/helpers/live-fixture.ts'
import { PAGE_SIZE, vpnToAddr } from '../../base/addr.ts'
import { EBADMSG, EIO, ENOSPC, ESTALE } from '../../base/errno.ts'
import { HomeFrames } from '../../mmu/userfaultfd/home-frames.ts'
import { PAGE_WORDS, pageChecksum } from './page-checksum.ts'
import { type FileSource, PageStore, versionOf } from './page-store.ts'
import { SwapFile } from './swap-file.ts'

const NPAGES = 1200

describe('pageChecksum()', () => {
  const words = Uint32Array.from({ length: 2 * PAGE_WORDS }, (_, i) => Math.imul(i, 0x01000193))

  it('changes with every word and with every bit of it', () => {
    const before = pageChecksum(words, PAGE_WORDS)
    for (let i = 0; i < PAGE_WORDS; i += 13) {
      for (const bit of [0, 7, 31]) {
        words[PAGE_WORDS + i] ^= 1 << bit
        expect(pageChecksum(words, PAGE_WORDS)).not.toBe(before)
        words[PAGE_WORDS + i] ^= 1 << bit
      }
    }
    expect(pageChecksum(words, PAGE_WORDS)).toBe(before)
  })

  it('knows words that have changed places, and does not look at other pages', () => {
    const before = pageChecksum(words, 0)
    words[PAGE_WORDS] ^= 1
    expect(pageChecksum(words, 0)).toBe(before)
    for (const [a, b] of [
      [0, 4],
      [0, 1],
      [17, 1000],
    ]) {
      ;[words[a], words[b]] = [words[b], words[a]]
      expect(pageChecksum(words, 0)).not.toBe(before)
      ;[words[a], words[b]] = [words[b], words[a]]
    }
  })
})

const machine = await findLiveMachine()

describe.skipIf(typeof machine === 'string')('PageStore', () => {
  const { kernel } = machine as LiveMachine
  const directory = mkdtempSync(join(tmpdir(), 'hetmem-store-'))
  let frames: HomeFrames
  let swap: SwapFile
  let store: PageStore

  beforeAll(() => {
    frames = new HomeFrames(kernel, NPAGES)
    for (let pfn = 0; pfn < NPAGES; pfn++) frames.alloc(vpnToAddr(pfn))
    swap = SwapFile.make(kernel, directory)
    store = makeStore(swap.fd)
  })

  afterAll(() => {
    frames.close()
    swap.close()
    rmSync(directory, { recursive: true })
  })

  function makeStore(swapFd: number, deviceMemory: Uint8Array | null = null): PageStore {
    return new PageStore(kernel, {
      segments: frames.memory,
      swapFd,
      checksums: new Uint32Array(NPAGES),
      deviceMemory,
      uffd: -1,
    })
  }

  function pages(...ranges: [first: number, npages: number][]): Uint32Array {
    return Uint32Array.from(ranges.flatMap(([first, npages]) => Array.from({ length: npages }, (_, i) => first + i)))
  }

  function fill(pfns: Uint32Array, value: (pfn: number) => number): void {
    for (const pfn of pfns) frames.bytes(pfn).fill(value(pfn))
  }

  function drop(pfns: Uint32Array): void {
    for (const pfn of pfns) frames.segmentOf(pfn).punch(frames.offsetOf(pfn), PAGE_SIZE)
  }

  it('writes pages and reads them back, neighbours or not', () => {
    const pfns = pages([3, 700], [710, 1], [1000, 40])
    fill(pfns, (pfn) => pfn % 251)
    expect(store.write(pfns)).toBe(null)
    drop(pfns)
    expect(frames.bytes(5)[0]).toBe(0)
    expect(store.read(pfns)).toBe(null)
    for (const pfn of pfns) {
      const bytes = frames.bytes(pfn)
      expect([bytes[0], bytes[4095]]).toEqual([pfn % 251, pfn % 251])
    }
  })

  it('finds the page that is not what was written, and no other', () => {
    const pfns = pages([20, 10])
    fill(pfns, (pfn) => pfn)
    store.write(pfns)
    writeSync(swap.fd, Uint8Array.of(1), 0, 1, 24 * PAGE_SIZE + 100)
    drop(pfns)
    expect(store.read(pfns)).toEqual(Int32Array.from(pfns, (pfn) => (pfn === 24 ? -EBADMSG : 0)))
    expect([frames.bytes(23)[0], frames.bytes(25)[9]]).toEqual([23, 25])
  })

  it('says for each page that the file does not take it', () => {
    const full = makeStore(openSync('/dev/full', 'r+'))
    const pfns = pages([40, 3])
    fill(pfns, () => 9)
    expect(full.write(pfns)).toEqual(new Int32Array(3).fill(-ENOSPC))
    const nothing = makeStore(openSync('/dev/null', 'r+'))
    expect(nothing.read(pfns)).toEqual(new Int32Array(3).fill(-EIO))
  })

  it('copies pages from the memory of a device, whether the file has them or not', () => {
    const memory = Uint8Array.from({ length: 64 * PAGE_SIZE }, (_, i) => Math.floor(i / PAGE_SIZE))
    const copying = makeStore(-1, memory)
    const pfns = pages([110, 3], [120, 2])
    fill(pfns, () => 99)
    expect(copying.copy({ shift: -100, isFresh: false, isShown: false }, pfns)).toBe(null)
    expect([...pfns].map((pfn) => frames.bytes(pfn)[4095])).toEqual([10, 11, 12, 20, 21])
    drop(pfns)
    expect(copying.copy({ shift: -90, isFresh: true, isShown: false }, pfns)).toBe(null)
    expect([...pfns].map((pfn) => frames.bytes(pfn)[4095])).toEqual([20, 21, 22, 30, 31])
  })

  describe('load()', () => {
    const path = join(directory, 'data')

    function source(offset: number, nbytes: number): FileSource {
      const fd = openSync(path, 'r')
      return { fd, offset, nbytes, pfn: 100, version: versionOf(fd) }
    }

    it('fills pages from any place in a file, and the rest of the last one with zeroes', () => {
      writeFileSync(
        path,
        Uint8Array.from({ length: 3 * PAGE_SIZE }, (_, i) => i % 253),
      )
      const pfns = pages([100, 3])
      fill(pfns, () => 77)
      expect(store.load(source(12, 2 * PAGE_SIZE + 5), pfns)).toBe(null)
      const all = pfns.reduce<number[]>((bytes, pfn) => bytes.concat(...frames.bytes(pfn)), [])
      expect(all).toEqual(Array.from({ length: 3 * PAGE_SIZE }, (_, i) => (i < 2 * PAGE_SIZE + 5 ? (i + 12) % 253 : 0)))
    })

    it('refuses a file that has changed', () => {
      writeFileSync(path, new Uint8Array(2 * PAGE_SIZE))
      const data = source(0, 2 * PAGE_SIZE)
      truncateSync(path, PAGE_SIZE)
      expect(store.load(data, pages([100, 2]))).toEqual(new Int32Array(2).fill(-ESTALE))
    })
  })
})
