import { describe, expect, it } from 'vitest'
import * as u from './userfaultfd.ts'

/** The parts of a Linux ioctl number: direction 30 to 31, size of the argument 16 to 29, type 8 to 15, number 0 to 7. */
function decodeIoctl(request: number) {
  return { dir: request >>> 30, size: (request >>> 16) & 0x3fff, type: (request >>> 8) & 0xff, nr: request & 0xff }
}

const READ = 2 // the kernel's macro _IOR
const READ_WRITE = 3 // _IOWR

describe('ioctl numbers', () => {
  it.each([
    ['UFFDIO_API', u.UFFDIO_API, READ_WRITE, 0x3f, u.UFFDIO_API_LAYOUT],
    ['UFFDIO_REGISTER', u.UFFDIO_REGISTER, READ_WRITE, 0, u.UFFDIO_REGISTER_LAYOUT],
    ['UFFDIO_UNREGISTER', u.UFFDIO_UNREGISTER, READ, 1, u.UFFDIO_RANGE_LAYOUT],
    ['UFFDIO_WAKE', u.UFFDIO_WAKE, READ, 2, u.UFFDIO_RANGE_LAYOUT],
    ['UFFDIO_COPY', u.UFFDIO_COPY, READ_WRITE, 3, u.UFFDIO_COPY_LAYOUT],
    ['UFFDIO_ZEROPAGE', u.UFFDIO_ZEROPAGE, READ_WRITE, 4, u.UFFDIO_ZEROPAGE_LAYOUT],
    ['UFFDIO_MOVE', u.UFFDIO_MOVE, READ_WRITE, 5, u.UFFDIO_MOVE_LAYOUT],
    ['UFFDIO_WRITEPROTECT', u.UFFDIO_WRITEPROTECT, READ_WRITE, 6, u.UFFDIO_WRITEPROTECT_LAYOUT],
    ['UFFDIO_CONTINUE', u.UFFDIO_CONTINUE, READ_WRITE, 7, u.UFFDIO_CONTINUE_LAYOUT],
    ['UFFDIO_POISON', u.UFFDIO_POISON, READ_WRITE, 8, u.UFFDIO_POISON_LAYOUT],
  ])('%s carries the size of its argument', (_name, request, dir, nr, layout) => {
    expect(decodeIoctl(request)).toEqual({ dir, size: layout.size, type: u.UFFD_API, nr })
  })

  it('PAGEMAP_SCAN carries the size of its argument and the type of linux/fs.h', () => {
    expect(decodeIoctl(u.PAGEMAP_SCAN)).toEqual({
      dir: READ_WRITE,
      size: u.PM_SCAN_ARG_LAYOUT.size,
      type: 'f'.charCodeAt(0),
      nr: 16,
    })
  })
})

describe('layouts', () => {
  it('place 64-bit fields one behind the other', () => {
    const layouts = Object.entries(u).filter(([name]) => name.endsWith('_LAYOUT') && name !== 'UFFD_MSG_LAYOUT')

    expect(layouts.length).toBe(11)
    for (const [name, layout] of layouts) {
      const offsets = Object.values(layout as Record<string, number>)
      expect(offsets, name).toEqual(offsets.map((_, i) => 8 * i))
    }
  })
})

describe('feature bits', () => {
  it('cover bit 0 to bit 16 without a gap', () => {
    const features = Object.entries(u).flatMap(([name, value]) =>
      name.startsWith('UFFD_FEATURE_') ? [value as number] : [],
    )

    expect(features.length).toBe(17)
    expect(features.reduce((all, bit) => all | bit, 0)).toBe(0x1_ffff)
  })
})
