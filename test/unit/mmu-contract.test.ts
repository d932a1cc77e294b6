// The contract of mmu/mmu.ts, held by every backend: what mm may rely on. A part that a backend's capabilities exclude is
// skipped and names the capability. What only one backend does is tested beside it. Stores are made where they are seen: on
// the live backend by a thread of its own.

import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { HPAGE_PMD_NR, PAGE_SIZE, type Pfn } from '../../src/base/addr.ts'
import { AssertionError } from '../../src/base/assert.ts'
import { ExplicitMmu } from '../../src/mmu/explicit/explicit-mmu.ts'
import type { Mmu, SpaceId } from '../../src/mmu/mmu.ts'
import { SimulatedMmu } from '../../src/mmu/simulated/simulated-mmu.ts'
import { findLiveMachine, LiveFixture, trackingsOf } from '../helpers/live-fixture.ts'
import { ProgramThread } from '../helpers/program-thread.ts'

interface Backend {
  readonly name: string
  make(nframes: number): Mmu
  /** Writes a byte as a program would, through the translation; where stores are not seen, being allowed to is enough. */
  store(mmu: Mmu, addr: number): void
  /** Gives back what `make` took from the system. */
  close?(mmu: Mmu): void
}

const BACKENDS: Backend[] = [
  { name: 'simulated', make: (nframes) => new SimulatedMmu({ nframes }), store: () => {} },
  { name: 'explicit', make: (nframes) => new ExplicitMmu(new ArrayBuffer(nframes * PAGE_SIZE)), store: () => {} },
  {
    name: 'explicit, shared',
    make: (nframes) => new ExplicitMmu(new SharedArrayBuffer(nframes * PAGE_SIZE)),
    store: () => {},
  },
]

const machine = await findLiveMachine()
if (typeof machine === 'string') test('Mmu contract: userfaultfd', (test) => test.skip(machine))
else {
  const thread = new ProgramThread()
  afterAll(() => thread.end())
  const fixtures = new Map<Mmu, LiveFixture>()
  const get = (mmu: Mmu): LiveFixture => {
    const fixture = fixtures.get(mmu)
    if (fixture === undefined) throw new Error('made by this backend')
    return fixture
  }
  // Without write tracking a page has to be touched again after every look, and somebody has to serve that: tested elsewhere.
  for (const tracking of trackingsOf(machine).filter((tracking) => tracking !== 'none')) {
    BACKENDS.push({
      name: `userfaultfd, ${tracking}`,
      make(nframes) {
        const fixture = new LiveFixture(machine, tracking, nframes, thread)
        fixtures.set(fixture.mmu, fixture)
        return fixture.mmu
      },
      store: (mmu, addr) => get(mmu).store(addr, addr + 1),
      close(mmu) {
        get(mmu).close()
        fixtures.delete(mmu)
      },
    })
  }
}

/** The frame for page `vpn` of the space. */
function alloc(mmu: Mmu, space: SpaceId, vpn: number): Pfn {
  const pfn = mmu.allocFrame(space, vpn * PAGE_SIZE, 0)
  expect(pfn).toBeGreaterThanOrEqual(0)
  return pfn
}

describe.each(BACKENDS)('Mmu contract: $name', ({ make: makeMmu, store, close }) => {
  const made: Mmu[] = []
  const make = (nframes: number): Mmu => {
    const mmu = makeMmu(nframes)
    made.push(mmu)
    return mmu
  }
  afterEach(() => {
    for (const mmu of made.splice(0)) close?.(mmu)
  })

  describe('frames', () => {
    test('allocFrame() hands out frames below nframes, each once, until nfree is 0', () => {
      const mmu = make(8)
      const space = mmu.attach()
      const pfns = Array.from({ length: 8 }, (_, vpn) => alloc(mmu, space, vpn))
      expect(new Set(pfns).size).toBe(8)
      expect(Math.max(...pfns)).toBeLessThan(mmu.nframes)
      expect([mmu.nfree, mmu.allocFrame(space, 0, 0)]).toEqual([0, -1])
      mmu.freeFrame(pfns[3], 0)
      expect([mmu.nfree, alloc(mmu, space, 3)]).toEqual([1, pfns[3]])
    })

    test('a page has one home frame: that of its number in the heap', (test) => {
      const mmu = make(8)
      if (mmu.capabilities.anyFrame) test.skip('anyFrame: this backend has no home frames')
      const space = mmu.attach()
      expect([alloc(mmu, space, 5), alloc(mmu, space, 2)]).toEqual([5, 2])
      expect(mmu.allocFrame(space, 5 * PAGE_SIZE, 0), 'in use').toBe(-1)
      expect(mmu.allocFrame(space, 8 * PAGE_SIZE, 0), 'outside').toBe(-1)
      expect(mmu.allocFrame(-1, 0, 0), 'for no address').toBe(-1)
    })

    test('allocFrame() of 2 MiB is aligned, or refused where there are no huge pages', () => {
      const mmu = make(4 * HPAGE_PMD_NR)
      const space = mmu.attach()
      alloc(mmu, space, 0)
      const head = mmu.allocFrame(space, 2 * HPAGE_PMD_NR * PAGE_SIZE, 9)
      if (mmu.capabilities.hugePages) expect(head > 0 && head % HPAGE_PMD_NR === 0).toBe(true)
      else expect(head).toBe(-1)
    })

    test('bytes() is the memory of the frame: 4096 bytes, its own, the same at every look', () => {
      const mmu = make(4)
      const space = mmu.attach()
      const [a, b] = [alloc(mmu, space, 0), alloc(mmu, space, 1)]
      mmu.bytes(a).fill(1)
      mmu.bytes(b).fill(2)
      expect([mmu.bytes(a).length, mmu.bytes(a).every((byte) => byte === 1)]).toEqual([PAGE_SIZE, true])
      mmu.copyFrame(b, a)
      expect(mmu.bytes(b).every((byte) => byte === 1)).toBe(true)
    })

    test('bytesOfRun() is the memory of neighbours, piece by piece', () => {
      const mmu = make(8)
      const space = mmu.attach()
      const first = Math.min(...Array.from({ length: 8 }, (_, vpn) => alloc(mmu, space, vpn)))
      for (let i = 0; i < 8; i++) mmu.bytes(first + i).fill(i + 1)
      const seen: number[] = []
      for (let at = 1; at < 6; ) {
        const piece = mmu.bytesOfRun(first + at, 6 - at)
        for (let offset = 0; offset < piece.length; offset += PAGE_SIZE) seen.push(piece[offset], piece[offset + 4095])
        at += piece.length / PAGE_SIZE
      }
      expect(seen).toEqual([2, 2, 3, 3, 4, 4, 5, 5, 6, 6])
      mmu.bytesOfRun(first, 1)[7] = 99
      expect(mmu.bytes(first)[7]).toBe(99)
      mmu.freeFrame(first + 3, 0)
      expect(() => mmu.bytesOfRun(first + 3, 2)).toThrow(AssertionError)
    })

    test('clearFrame() makes zeroes of whatever was there, also of a frame that had another owner', () => {
      const mmu = make(4)
      const space = mmu.attach()
      const pfn = alloc(mmu, space, 1)
      mmu.clearFrame(pfn)
      expect(mmu.bytes(pfn).every((byte) => byte === 0)).toBe(true)
      mmu.bytes(pfn).fill(7)
      mmu.freeFrame(pfn, 0)
      const again = alloc(mmu, space, 1)
      mmu.clearFrame(again)
      expect(mmu.bytes(again).every((byte) => byte === 0)).toBe(true)
    })

    test('a free frame has no bytes and cannot be freed', () => {
      const mmu = make(4)
      const space = mmu.attach()
      const pfn = alloc(mmu, space, 0)
      mmu.freeFrame(pfn, 0)
      expect(() => mmu.bytes(pfn)).toThrow(AssertionError)
      expect(() => mmu.clearFrame(pfn)).toThrow(AssertionError)
      expect(() => mmu.freeFrame(pfn, 0)).toThrow(AssertionError)
    })
  })

  describe('device frames', () => {
    test('addDeviceFrames() numbers them above all system frames, and none twice', () => {
      const mmu = make(8)
      const first = mmu.addDeviceFrames(600, false)
      const second = mmu.addDeviceFrames(1, false)
      expect(first).toBeGreaterThanOrEqual(mmu.nframes)
      expect(second).toBeGreaterThanOrEqual(first + 600)
      mmu.removeDeviceFrames(first, 600)
      const third = mmu.addDeviceFrames(600, false)
      expect(third >= mmu.nframes && (third + 600 <= second || third > second)).toBe(true)
    })

    test('private device frames have no bytes', () => {
      const mmu = make(8)
      const pfn = mmu.addDeviceFrames(4, false)
      expect(() => mmu.bytes(pfn)).toThrow(AssertionError)
    })

    test('removeDeviceFrames() of what was not added like that is an assertion', () => {
      const mmu = make(8)
      const pfn = mmu.addDeviceFrames(4, false)
      expect(() => mmu.removeDeviceFrames(pfn, 3)).toThrow(AssertionError)
    })

    test('coherent device frames have bytes', (test) => {
      const mmu = make(8)
      if (!mmu.capabilities.anyFrame) test.skip('anyFrame: memory elsewhere than at home cannot be mapped')
      const pfn = mmu.addDeviceFrames(4, true)
      mmu.bytes(pfn)[0] = 1
      expect(mmu.bytes(pfn)[0]).toBe(1)
    })
  })

  test('address spaces come and go', () => {
    const mmu = make(8)
    const space = mmu.attach()
    mmu.detach(space)
    expect(() => mmu.detach(space)).toThrow(AssertionError)
    mmu.detach(mmu.attach())
  })

  describe('translations', () => {
    /** A space with `npages` frames of pages 0 and up, and what `take` reports of them. */
    function setUp(test: { skip(note: string): void }, npages: number) {
      const mmu = make(8)
      if (mmu.capabilities.walksPageTable) test.skip('walksPageTable: this backend has no translations of its own')
      const space = mmu.attach()
      for (let vpn = 0; vpn < npages; vpn++) alloc(mmu, space, vpn)
      const report = (how: 'unmap' | 'protect' | 'collectDirty', vpn: number, count: number): number[] => {
        const dirty = new Uint8Array(count).fill(0xff)
        mmu[how](space, vpn * PAGE_SIZE, count, dirty)
        return [...dirty]
      }
      const install = (vpn: number, count: number, writable: boolean): void => {
        mmu.install(space, vpn * PAGE_SIZE, vpn, count, writable)
        if (writable) for (let i = vpn; i < vpn + count; i++) store(mmu, i * PAGE_SIZE)
      }
      return { mmu, space, report, install }
    }

    test('unmap() reports exactly the pages that were written, once', (test) => {
      const { report, install } = setUp(test, 4)
      install(1, 1, true)
      install(2, 1, false)
      expect(report('unmap', 0, 4)).toEqual([0, 1, 0, 0])
      expect(report('unmap', 0, 4)).toEqual([0, 0, 0, 0])
    })

    test('protect() reports what was written and ends writing; reading goes on', (test) => {
      const { report, install } = setUp(test, 4)
      install(0, 3, true)
      expect(report('protect', 0, 4)).toEqual([1, 1, 1, 0])
      expect(report('unmap', 0, 4)).toEqual([0, 0, 0, 0])
    })

    test('collectDirty() reports what was written and leaves the page writable', (test) => {
      const { mmu, report, install } = setUp(test, 4)
      install(0, 2, true)
      install(2, 1, false)
      expect(report('collectDirty', 0, 4)).toEqual([1, 1, 0, 0])
      store(mmu, PAGE_SIZE)
      expect(report('unmap', 1, 1)).toEqual([1])
    })

    test('install() over a translation replaces it; what was written through the old one is not forgotten', (test) => {
      const { report, install } = setUp(test, 4)
      install(0, 2, false)
      install(0, 1, true)
      install(0, 1, false)
      expect(report('unmap', 0, 2)).toEqual([1, 0])
    })

    test('unmap() of pages without frames reports nothing', (test) => {
      const { report } = setUp(test, 0)
      expect(report('unmap', 0, 8)).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
    })
  })
})
