// Programs that once broke something, as random ones found them, with what it was.

import { describe, it } from 'vitest'
import { runProgram } from './program.ts'

const FOUND: readonly (readonly [what: string, program: string])[] = [
  [
    'an mmap that failed half-way left the entries that its driver had made',
    `machine tight
     hog(23 pages)
     mmapDevice(p1, 0x40001000, 3 pages, rw, private, d2)`,
  ],
  [
    'making room for the copy of a page took the page away that was to be copied',
    `machine tight
     mmap(p1, 0x207000, 5 pages, rw, private)
     hog(19 pages)
     store(p1, 0x208000, 4 pages, first)
     write(d1, p1, 0x207000, 1 page)
     fork(p1, p2)
     store(p1, 0x20a000, 1 page, first)
     exclusive(d0, p1, 0x208000, 1 page)`,
  ],
  [
    'fork had no answer when there was no frame for the copy of a pinned page',
    `machine tight
     mmap(p1, 0x1f4000, 4 pages, rw, private)
     pin(pin1, p1, 0x1f4000, 4 pages, write)
     hog(24 pages)
     fork(p1, p2)`,
  ],
  [
    'reclaim dropped a page that a device had written through an entry that was clean',
    `machine small
     mmap(p1, 0x40003000, 1 page, rw, shared)
     load(p1, 0x40003000, 1 page, first)
     write(d0, p1, 0x40003000, 1 page)
     reclaim(1 page)`,
  ],
  [
    'the device went on naming the data of a page for a child, after the child had fetched it',
    `machine small
     mmap(p1, 0x20b000, 1 page, rw, private)
     madvise(p1, 0x20b000, 1 page, populate-write)
     fork(p1, p3)
     toDevice(d1, p1, 0x20b000, 1 page)
     mprotect(p3, 0x20b000, 1 page, r)
     read(d1, p3, 0x20b000, 1 page)
     mlock(p3, 0x20b000, 1 page)`,
  ],
  [
    'MADV_FREE of a child freed the clean page of its parent',
    `machine small
     mmap(p1, 0x3fffa000, 1 page, rw, private)
     mremap(p1, 0x3fffa000, 1 page, 4 pages, to, 0x40003000)
     fork(p1, p2)
     write(d0, p2, 0x40004000, 3 pages)
     reclaim(3 pages)
     read(d1, p2, 0x40006000, 1 page)
     fork(p2, p3)
     madvise(p3, 0x40006000, 1 page, free)
     reclaim(1 page)`,
  ],
  [
    'a read duplicate of a page of a file was stale once somebody else had written it',
    `machine small
     mmapFile(p1, 0x40002000, 4 pages, rw, shared, f2, 1 page)
     pin(pin1, p1, 0x40005000, 1 page, read)
     fork(p1, p2)
     duplicate(a2, p1, 0x40005000, 1 page)
     store(p2, 0x40005000, 1 page, first)`,
  ],
  [
    'the CPU asked the driver again and again for a page that was put into a hole a moment before',
    `machine small
     mmap(p1, 0x40002000, 1 page, rw, private)
     migrate(m1, a0, p1, 0x40002000, 1 page, to device)
     move(m1)
     load(p1, 0x40002000, 1 page, first)`,
  ],
  [
    'a huge page was moved although a device had a part of it for itself',
    `machine huge
     mmap(p1, 0x40080000, 896 pages, rw, private)
     exclusive(d1, p1, 0x40200000, 1 page)
     exclusive(d2, p1, 0x4029b000, 1 page)
     movePages(p1, 0x40280000, 28 pages, own)`,
  ],
]

describe('programs that once broke something', () => {
  it.each(FOUND)('%s', (_what, program) => runProgram(program))
})
