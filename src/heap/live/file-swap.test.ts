import { describe, expect, it } from 'vitest'
import { EBADMSG, EIO, EROFS } from '../../base/errno.ts'
import type { SwapPage } from '../../mm/swap-device.ts'
import type { HomeFrames } from '../../mmu/userfaultfd/home-frames.ts'
import { EventTracer } from '../../trace/tracer.ts'
import { FileSwap, type MappedFile } from './file-swap.ts'
import type { PageIo, PageIoWork } from './page-io.ts'
import type { PageErrors } from './page-store.ts'

interface Request {
  readonly work: PageIoWork
  readonly pfns: readonly number[]
  readonly done: (errors: PageErrors) => void
}

const FILE: MappedFile = {
  path: 'numbers',
  fd: 7,
  offset: 100,
  nbytes: 2 * 4096 + 10,
  pfn: 50,
  npages: 3,
  version: { nbytes: 10_000, mtimeMs: 1 },
}

function pages(...pfns: number[]): SwapPage[] {
  return pfns.map((pfn) => ({ slot: pfn + 1, pfn }))
}

class Fixture {
  readonly requests: Request[] = []
  readonly backed: number[] = []
  readonly ended: string[] = []
  readonly swap: FileSwap
  nstarted = 0

  constructor(isWritable = true) {
    const io = {
      request: (work: PageIoWork, pfns: Uint32Array, done: Request['done']) => {
        this.requests.push({ work, pfns: [...pfns], done })
      },
    }
    const frames = { noteBacked: (pfn: number) => void this.backed.push(pfn) }
    const start = () => {
      this.nstarted++
      return io as unknown as PageIo
    }
    this.swap = new FileSwap(start, frames as unknown as HomeFrames, isWritable)
  }

  readonly end = ({ pfn }: SwapPage, err: number): void => {
    this.ended.push(`${pfn}: ${err}`)
  }
}

describe('FileSwap', () => {
  it('starts a thread for reads and one for writes when there is something to do, and hands pages over in ascending order, 2 MiB at a time', () => {
    const f = new Fixture()
    expect(f.nstarted).toBe(0)
    const many = Array.from({ length: 1000 }, (_, i) => (i * 7) % 1000)
    f.swap.write(pages(...many), f.end)
    expect(f.nstarted).toBe(1)
    f.swap.read(pages(9, 3, 4), f.end)
    expect([f.nstarted, f.requests.map(({ work, pfns }) => [work.op, pfns.length])]).toEqual([
      2,
      [
        ['write', 512],
        ['write', 488],
        ['read', 3],
      ],
    ])
    expect([f.requests[0].pfns.slice(0, 3), f.requests[1].pfns[0], f.requests[2].pfns]).toEqual([
      [0, 1, 2],
      512,
      [3, 4, 9],
    ])
  })

  it('says how each page ended, and which are in memory now', () => {
    const f = new Fixture()
    f.swap.read(pages(9, 3, 4), f.end)
    f.swap.write(pages(20, 21), f.end)
    f.requests[1].done(null)
    f.requests[0].done(Int32Array.of(0, -EBADMSG, 0))
    expect(f.ended).toEqual(['20: 0', '21: 0', '3: 0', `4: ${-EBADMSG}`, '9: 0'])
    expect(f.backed).toEqual([3, 9])
  })

  it('reads the pages of arrays that show files from there, until the array is gone', () => {
    const f = new Fixture()
    f.swap.addFile(FILE)
    f.swap.read(pages(49, 52, 50, 53), f.end)
    expect(f.requests.map(({ work, pfns }) => [work.op, pfns])).toEqual([
      ['read', [49, 53]],
      ['load', [50, 52]],
    ])
    f.swap.removeFile(FILE)
    f.swap.read(pages(50), f.end)
    expect(f.requests[2].work.op).toBe('read')
  })

  it('writes what a program has stored to such an array to the swap file, never to the file, and reads it from there', () => {
    const f = new Fixture()
    f.swap.addFile(FILE)
    f.swap.write(pages(51), f.end)
    expect(f.requests[0].work).toEqual({ op: 'write' })
    f.swap.read(pages(50, 51), f.end)
    expect(f.requests.slice(1).map(({ work, pfns }) => [work.op, pfns])).toEqual([
      ['read', [51]],
      ['load', [50]],
    ])
    f.swap.discard(52)
    f.swap.read(pages(51), f.end)
    expect(f.requests[3].work.op).toBe('load')
  })

  it('refuses to write where there is no swap file, later', async () => {
    const f = new Fixture(false)
    f.swap.write(pages(51, 52), f.end)
    expect(f.ended).toEqual([])
    await Promise.resolve()
    expect([f.ended, f.nstarted]).toEqual([[`51: ${-EROFS}`, `52: ${-EROFS}`], 0])
  })

  it('traces runs of pages that arrived', () => {
    const f = new Fixture()
    const events: object[] = []
    f.swap.tracer = new EventTracer({
      level: 'events',
      sinks: [{ write: (event) => void events.push({ ...event, time: 0 }) }],
      clock: () => 0,
      allocationAt: () => undefined,
    })
    f.swap.addFile(FILE)
    f.swap.write(pages(1, 2, 4), f.end)
    f.swap.read(pages(7, 8, 50, 51, 52), f.end)
    f.requests[0].done(null)
    f.requests[1].done(Int32Array.of(-EIO, 0))
    f.requests[2].done(null)
    const page = 4096
    expect(events).toMatchObject([
      { kind: 'swap-out', start: page, end: 3 * page, npages: 2, nbytes: 2 * page },
      { kind: 'swap-out', start: 4 * page, end: 5 * page, npages: 1, nbytes: page },
      { kind: 'swap-in', start: 8 * page, end: 9 * page, npages: 1 },
      { kind: 'file-read', start: 50 * page, end: 53 * page, npages: 3, nbytes: 2 * page + 10, file: 'numbers' },
    ])
  })
})
