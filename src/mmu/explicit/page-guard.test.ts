import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { PAGE_SIZE } from '../../base/addr.ts'
import { ExplicitMmu } from './explicit-mmu.ts'
import type { ElementKind, PageGuard } from './page-guard.ts'

const NPAGES = 16
const page = (vpn: number) => vpn * PAGE_SIZE
const dirty = new Uint8Array(NPAGES)

let mmu: ExplicitMmu
let guard: PageGuard
let space: number
let bytes: Uint8Array
let kind: ElementKind

/** Pages 1 to 7 belong to owner 0x111, the others to 0x222; all are the CPU's. */
beforeEach(() => {
  kind = 'other'
  mmu = new ExplicitMmu({ nframes: NPAGES, guardTags: (pfn) => (pfn < 8 ? 0x111 : 0x222) })
  mmu.addSegment(0, new ArrayBuffer(page(NPAGES)))
  if (mmu.guard === null) throw new Error('there is a guard')
  guard = mmu.guard
  bytes = new Uint8Array(mmu.buffer)
  space = mmu.attach()
  for (let vpn = 0; vpn < NPAGES; vpn++) mmu.allocFrame(space, page(vpn), 0)
  mmu.install(space, 0, 0, NPAGES, true)
})

const take = (vpn: number, npages = 1) => mmu.unmap(space, page(vpn), npages, dirty)
const share = (vpn: number, npages = 1) => mmu.protect(space, page(vpn), npages, dirty)
const give = (vpn: number, writable = true) => mmu.install(space, page(vpn), vpn, 1, writable)
const floats = () => new Float32Array(mmu.buffer)
const doubles = () => new Float64Array(mmu.buffer)

function findings(): string[] {
  guard.verify(0, NPAGES)
  guard.scan(0, NPAGES, kind)
  return guard
    .takeFindings()
    .map(({ misuse, start, end, tag }) => `${misuse} ${start}-${end}${tag > 0 ? ` of ${tag.toString(16)}` : ''}`)
}

describe('a page on a device', () => {
  it('shows the program a pattern, and everybody else its contents', () => {
    bytes.fill(7, page(1), page(2))
    take(1)
    expect(new Int32Array(mmu.buffer)[1024]).toBe(0x7ff8_0111)
    expect([floats()[1500], doubles()[600]]).toEqual([Number.NaN, Number.NaN])
    expect(mmu.bytes(1).every((byte) => byte === 7)).toBe(true)
    // What a device writes is what comes back.
    mmu.bytes(1).fill(9)
    give(1)
    expect(bytes.subarray(page(1), page(2)).every((byte) => byte === 9)).toBe(true)
    expect(findings()).toEqual([])
  })

  it('a store is found, byte for byte, once, and lost', () => {
    take(1, 2)
    bytes[page(1) + 5] = 9
    bytes.fill(9, page(1) + 4092, page(2) + 4)
    expect(findings()).toEqual(['store-away 4100-4104', 'store-away 8188-8192', 'store-away 8192-8196'])
    expect(findings()).toEqual([])
    give(1)
    give(2)
    expect(bytes.subarray(page(1), page(3)).every((byte) => byte === 0)).toBe(true)
  })

  it('a store is found when the page comes back, is freed, or is handed out anew', () => {
    take(1, 3)
    bytes[page(1)] = 1
    give(1)
    expect(guard.takeFindings()).toMatchObject([{ misuse: 'store-away', start: page(1), end: page(1) + 4 }])
    bytes[page(2)] = 1
    mmu.freeFrame(2, 0)
    mmu.renew(page(2), 1)
    expect(guard.takeFindings()).toMatchObject([{ misuse: 'store-away', start: page(2) }])
    expect(guard.nguarded).toBe(1)
  })

  it('a frame that was freed meanwhile has the contents that were written since', () => {
    bytes.fill(3, page(1), page(2))
    take(1)
    mmu.freeFrame(1, 0)
    expect(bytes[page(1)]).toBe(0x11)
    mmu.allocFrame(space, page(1), 0)
    mmu.clearFrame(1)
    mmu.bytes(1)[8] = 4
    give(1)
    expect([...bytes.subarray(page(1) + 7, page(1) + 10)]).toEqual([0, 4, 0])
    expect(findings()).toEqual([])
  })

  it('clearFrame() and copyFrame() work on the contents', () => {
    bytes.fill(3, page(1), page(2))
    take(1)
    mmu.copyFrame(2, 1)
    expect(bytes[page(2)]).toBe(3)
    mmu.clearFrame(1)
    give(1)
    expect(bytes[page(1)]).toBe(0)
    expect(findings()).toEqual([])
  })
})

describe('a page that devices share', () => {
  it('can be read, and a store is found with the 256 bytes around it', () => {
    bytes.fill(7, page(1), page(2))
    share(1)
    expect([bytes[page(1)], findings()]).toEqual([7, []])
    bytes[page(1) + 300] = 8
    expect(findings()).toEqual(['store-shared 4352-4608'])
    expect(findings()).toEqual([])
    bytes[page(1) + 300] = 9
    give(1)
    expect(guard.takeFindings()).toMatchObject([{ misuse: 'store-shared', start: 4352 }])
  })

  it('given for writing it is not looked at any more; given for reading it is', () => {
    share(1)
    give(1)
    bytes[page(1)] = 1
    expect([findings(), guard.nguarded]).toEqual([[], 0])
    take(1)
    give(1, false)
    bytes[page(1)] = 2
    expect(findings()).toEqual(['store-shared 4096-4352'])
  })

  it('a store is found when the page goes to a device', () => {
    share(1)
    bytes[page(1) + 4095] = 1
    take(1)
    expect(guard.takeFindings()).toMatchObject([{ misuse: 'store-shared', start: page(2) - 256 }])
    // It is what the device gets: there is nothing better.
    expect(mmu.bytes(1)[4095]).toBe(1)
  })

  it('a store that was found makes the page dirty: the copies of devices are old', () => {
    share(1, 2)
    mmu.collectDirty(space, page(1), 2, dirty)
    bytes[page(2)] = 1
    expect(findings().length).toBe(1)
    mmu.collectDirty(space, page(1), 2, dirty)
    expect([...dirty.subarray(0, 2)]).toEqual([0, 1])
    bytes[page(1)] = 1
    take(1)
    expect(dirty[0]).toBe(1)
  })

  it('any single store changes the checksum', () => {
    const words = new Uint32Array(mmu.buffer)
    fc.assert(
      fc.property(fc.nat(1023), fc.nat(0xffff_ffff), fc.nat(0xffff_ffff), (at, before, after) => {
        words[1024 + at] = before
        share(1)
        words[1024 + at] = after
        const expected = before === after ? [] : [`store-shared ${4096 + 256 * (at >> 6)}-${4352 + 256 * (at >> 6)}`]
        expect(findings()).toEqual(expected)
        give(1)
      }),
    )
  })
})

describe('loads from a page on a device', () => {
  const FLOATS = [
    ['a copy', (x: number) => x],
    ['a sum', (x: number) => x + 1],
    ['a product with its sign changed', (x: number) => -2 * x],
    ['a root', (x: number) => Math.sqrt(x)],
  ] as const

  it.each(FLOATS)('show where %s is kept as 32-bit float', (_what, compute) => {
    kind = 'float32'
    take(1)
    for (const from of [1024, 1031]) floats()[9 * 1024 + from - 1024] = compute(floats()[from])
    expect(findings()).toEqual([
      `load-away ${page(9)}-${page(9) + 4} of 111`,
      `load-away ${page(9) + 28}-${page(9) + 32} of 111`,
    ])
  })

  it.each(FLOATS)('show where %s is kept as 64-bit float', (_what, compute) => {
    kind = 'float64'
    take(1)
    doubles()[9 * 512 + 3] = compute(doubles()[512])
    expect(findings()).toEqual([`load-away ${page(9) + 24}-${page(9) + 32} of 111`])
  })

  it('show where a float of the other width is kept', () => {
    take(1)
    kind = 'float32'
    floats()[9 * 1024] = doubles()[513]
    expect(findings()).toEqual([`load-away ${page(9)}-${page(9) + 4} of 111`])
    floats()[9 * 1024] = 0
    kind = 'float64'
    doubles()[10 * 512] = floats()[1025]
    expect(findings()).toEqual([`load-away ${page(10)}-${page(10) + 8} of 111`])
  })

  it('show where two words or more are kept, at whatever byte', () => {
    fc.assert(
      fc.property(fc.nat(4000), fc.nat(3000), fc.integer({ min: 11, max: 1000 }), (from, to, nbytes) => {
        take(9)
        const length = Math.min(nbytes, 4096 - from)
        bytes.copyWithin(page(3) + to, page(9) + from, page(9) + from + length)
        const found = findings()
        if (length >= 11) {
          const [, start, end] = /^load-away (\d+)-(\d+) of 222$/.exec(found[0]) ?? ['', '-1', '-1']
          expect(found.length).toBe(1)
          expect(Number(start) - (page(3) + to)).toBeOneOf([0, 1, 2, 3])
          expect(page(3) + to + length - Number(end)).toBeOneOf([0, 1, 2, 3])
        }
        bytes.fill(0, page(3), page(5))
        give(9)
      }),
    )
  })

  it('are not seen in numbers that only look alike', () => {
    take(1)
    give(1)
    const words = new Uint32Array(mmu.buffer)
    const alike = [
      0x7ff8_0112, 0x7fff_ffff, 0xffff_ffff, 0x7f7f_7f7f, 0x7fc0_0000, 0x7f80_0000, 0x7ff0_0000, 0x7fff_7fff,
    ]
    for (const each of ['float32', 'float64', 'other'] as const) {
      kind = each
      for (const word of alike) {
        words.fill(word, 2048, 3072)
        expect([each, word, findings()]).toEqual([each, word, []])
      }
      doubles().fill(Number.NaN, 1024, 1536)
      expect(findings()).toEqual([])
      floats().fill(Number.NaN, 2048, 3072)
      expect(findings()).toEqual([])
    }
    // One whole number alone may be a coincidence, two are not.
    kind = 'other'
    words.fill(0, 2048, 3072)
    words[2100] = 0x7ff8_0111
    expect(findings()).toEqual([])
    words[2101] = 0x7ff8_0111
    expect(findings()).toEqual([`load-away ${4 * 2100}-${4 * 2102} of 111`])
  })
})

describe('verifySome()', () => {
  it('gets round to every page', () => {
    take(0, 5)
    share(9, 4)
    for (const vpn of [0, 4, 9, 12]) bytes[page(vpn)] = 0xee
    let ncalls = 0
    let nfound = 0
    while (nfound < 4 && ncalls < 9) {
      guard.verifySome(2)
      nfound += guard.takeFindings().length
      ncalls++
    }
    expect([nfound, ncalls <= 6]).toEqual([4, true])
    guard.verifySome(100)
    expect(guard.takeFindings()).toEqual([])
  })
})

it('a random life of a page: contents are kept, and exactly the stores that were not allowed are found', () => {
  const step = fc.constantFrom('take', 'free', 'share', 'give', 'lend', 'store', 'device')
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.nat(99), (steps, seed) => {
      let state: 'own' | 'shared' | 'away' = 'own'
      let value = 0
      bytes.fill(0, page(5), page(6))
      steps.forEach((each, i) => {
        const next = 1 + ((i + seed) % 100)
        switch (each) {
          case 'take':
            take(5)
            state = 'away'
            break
          case 'free': // The device keeps the contents; the frame comes back with the copy.
            take(5)
            mmu.freeFrame(5, 0)
            mmu.allocFrame(space, page(5), 0)
            mmu.bytes(5).fill(value)
            state = 'away'
            break
          case 'share':
            share(5)
            if (state === 'own') state = 'shared'
            break
          case 'give':
          case 'lend':
            give(5, each === 'give')
            state = each === 'give' ? 'own' : 'shared'
            break
          case 'device':
            if (state !== 'away') return
            mmu.bytes(5).fill(next)
            value = next
            break
          case 'store': {
            bytes.fill(next, page(5), page(6))
            if (state === 'own') value = next
            else {
              const misuse = state === 'away' ? 'store-away' : 'store-shared'
              const isSeen = state === 'away' || next !== value
              guard.verify(5, 6)
              expect(guard.takeFindings()[0]?.misuse).toBe(isSeen ? misuse : undefined)
              if (state === 'shared') value = next
            }
          }
        }
      })
      give(5)
      expect(bytes.subarray(page(5), page(6)).every((byte) => byte === value)).toBe(true)
      expect([guard.takeFindings(), guard.nguarded]).toEqual([[], 0])
    }),
  )
})
