// The live backend alone, beside what the contract says: how faults look, what is known about stores with each tracking, and
// memory that comes and goes. A thread of its own plays the program.

import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { findLiveMachine, LiveFixture, type LiveMachine, trackingsOf } from '../../../test/helpers/live-fixture.ts'
import { ProgramThread } from '../../../test/helpers/program-thread.ts'
import { PAGE_SIZE } from '../../base/addr.ts'
import { AssertionError } from '../../base/assert.ts'
import { UFFDIO_CONTINUE, UFFDIO_WRITEPROTECT } from '../../uapi/userfaultfd.ts'
import { HomeFrames } from './home-frames.ts'
import { SEGMENT_MAX } from './segment.ts'
import type { WriteTracking } from './userfaultfd-mmu.ts'

const page = (vpn: number) => vpn * PAGE_SIZE
const SPACE = 1

const found = await findLiveMachine()
const machine = typeof found === 'string' ? null : found
const trackings: WriteTracking[] = machine === null ? [] : trackingsOf(machine)
const exact = trackings.filter((tracking) => tracking !== 'none')

if (machine === null) test('UserfaultfdMmu', (test) => test.skip(String(found)))

const thread = new ProgramThread()
const open: LiveFixture[] = []
afterEach(() => {
  for (const fixture of open.splice(0)) fixture.close()
})
afterAll(() => thread.end())

/** A heap with all frames taken. */
function make(tracking: WriteTracking, nframes: number, npages = nframes): LiveFixture {
  const fixture = new LiveFixture(machine as LiveMachine, tracking, nframes, thread)
  open.push(fixture)
  fixture.mmu.attach()
  for (let vpn = 0; vpn < npages; vpn++) expect(fixture.mmu.allocFrame(SPACE, page(vpn), 0)).toBe(vpn)
  return fixture
}

function report(how: 'unmap' | 'protect' | 'collectDirty', { mmu }: LiveFixture, vpn: number, npages: number): string {
  const dirty = new Uint8Array(npages).fill(0xff)
  mmu[how](SPACE, page(vpn), npages, dirty)
  return dirty.join('')
}

describe.skipIf(machine === null)('UserfaultfdMmu memory', () => {
  let live: LiveFixture
  beforeEach(() => {
    live = make(machine!.support.tracking, 2048)
  })

  test('a heap has at least one page', () => {
    for (const nframes of [0, -1, 1.5, 2 ** 31]) {
      expect(() => new HomeFrames(machine!.kernel, nframes), `${nframes}`).toThrow(RangeError)
    }
  })

  test('clearFrame() takes no memory where there was none', () => {
    for (let vpn = 0; vpn < 2048; vpn++) live.mmu.clearFrame(vpn)
    const [segment] = live.mmu.frames.segments
    expect([segment.fileBytes(), live.mmu.frames.nbacked]).toEqual([0, 0])
    live.poke(page(7), 1)
    expect([segment.fileBytes(), live.mmu.frames.nbacked]).toEqual([PAGE_SIZE, 1])
    live.mmu.clearFrame(7)
    expect(live.peek(page(7))).toBe(0)
  })

  test('install() gives the file the pages that it maps, and no others', () => {
    live.mmu.install(SPACE, page(10), 10, 5, true)
    expect([live.mmu.frames.segments[0].fileBytes(), live.mmu.frames.nbacked]).toEqual([5 * PAGE_SIZE, 5])
    expect(live.load(page(12))).toBe(0)
  })

  test('program and engine see one memory', () => {
    live.poke(page(3) + 8, 31)
    live.mmu.install(SPACE, page(3), 3, 1, true)
    expect(live.load(page(3) + 8)).toBe(31)
    live.store(page(3) + 8, 32)
    expect([live.peek(page(3) + 8), live.add(page(3) + 8, 1), live.peek(page(3) + 8)]).toEqual([32, 32, 33])
  })

  test('freed memory goes back to the system: at 512 pages, and with trim()', () => {
    const [segment] = live.mmu.frames.segments
    for (let vpn = 0; vpn < 600; vpn++) live.poke(page(vpn), vpn)
    for (let vpn = 0; vpn < 511; vpn++) live.mmu.freeFrame(vpn, 0)
    expect(segment.fileBytes()).toBe(600 * PAGE_SIZE)
    live.mmu.freeFrame(511, 0)
    expect([segment.fileBytes(), live.mmu.frames.nbacked]).toEqual([88 * PAGE_SIZE, 88])
    live.mmu.freeFrame(599, 0)
    live.mmu.freeFrame(597, 0)
    live.mmu.freeFrame(598, 0)
    expect([live.mmu.frames.trim(), segment.fileBytes()]).toEqual([3, 85 * PAGE_SIZE])
    expect(live.mmu.frames.trim()).toBe(0)
    expect([live.peek(page(512)), live.peek(page(596))]).toEqual([512, 596])
  })

  test('a frame that is in use again is not taken away by an old hole', () => {
    live.poke(page(4), 4)
    live.mmu.freeFrame(4, 0)
    expect(live.mmu.allocFrame(SPACE, page(4), 0)).toBe(4)
    live.mmu.clearFrame(4)
    expect(live.peek(page(4))).toBe(0)
    live.poke(page(4), 44)
    live.mmu.freeFrame(4, 0)
    expect(live.mmu.allocFrame(SPACE, page(4), 0)).toBe(4)
    live.poke(page(4), 45)
    expect([live.mmu.frames.trim(), live.peek(page(4))]).toEqual([0, 45])
  })

  test('copyFrame() of a page that is nowhere makes zeroes', () => {
    live.poke(page(1), 9)
    live.mmu.copyFrame(2, 1)
    expect(live.peek(page(2))).toBe(9)
    live.mmu.copyFrame(1, 5)
    expect([live.peek(page(1)), live.mmu.frames.nbacked]).toEqual([0, 2])
  })

  test('write() fills pages that the file has and pages that it has not', () => {
    for (const vpn of [1, 2, 4]) live.poke(page(vpn), -1)
    const contents = new Int32Array((6 * PAGE_SIZE) / 4).map((_, i) => i)
    live.mmu.frames.write(0, new Uint8Array(contents.buffer))
    for (let vpn = 0; vpn < 6; vpn++) expect(live.peek(page(vpn) + 4)).toBe((vpn * PAGE_SIZE) / 4 + 1)
    expect([live.mmu.frames.nbacked, live.mmu.frames.segments[0].fileBytes()]).toEqual([6, 6 * PAGE_SIZE])
  })

  test('a frame cannot be freed while the CPU has it', () => {
    live.mmu.install(SPACE, page(1), 1, 1, false)
    expect(() => live.mmu.freeFrame(1, 0)).toThrow(AssertionError)
    report('unmap', live, 1, 1)
    live.mmu.freeFrame(1, 0)
    expect(live.mmu.nfree).toBe(1)
  })

  test('a page is installed in its home frame or not at all', () => {
    expect(() => live.mmu.install(SPACE, page(1), 0, 1, true)).toThrow(AssertionError)
    expect(() => live.mmu.install(SPACE, page(2047), 2047, 2, true)).toThrow(AssertionError)
    expect(() => live.mmu.install(SPACE, page(1) + 4, 1, 1, true)).toThrow(AssertionError)
    expect(() => live.mmu.attach()).toThrow(AssertionError)
  })

  test('heapAddr() finds the page that a program touched', () => {
    const [{ addr, nbytes }] = live.mmu.ranges
    expect(live.mmu.heapAddr(addr + page(5) + 17)).toBe(page(5) + 17)
    expect([live.mmu.heapAddr(addr - 1), live.mmu.heapAddr(addr + nbytes)]).toEqual([-1, -1])
  })

  test('close() leaves programs with zeroes', () => {
    live.mmu.install(SPACE, 0, 0, 1, true)
    live.store(0, 5)
    const [buffer] = live.mmu.buffers
    open.splice(0)
    live.close()
    expect(thread.load(buffer, 0, () => {})).toBe(0)
    thread.store(buffer, page(9), 1, () => {})
    expect(thread.load(buffer, page(9), () => {})).toBe(1)
  })

  test('runs of pages go across the border of two segments', () => {
    const nframes = SEGMENT_MAX / PAGE_SIZE + 16
    const large = make(live.mmu.tracking, nframes, 0)
    const border = nframes - 16
    expect(large.mmu.buffers.map(({ byteLength }) => byteLength)).toEqual([SEGMENT_MAX, 64 * 1024])
    for (let vpn = border - 2; vpn < border + 2; vpn++) large.mmu.allocFrame(SPACE, page(vpn), 0)
    large.mmu.install(SPACE, page(border - 2), border - 2, 4, true)
    large.store(page(border - 1), 1)
    large.store(page(border), 2)
    expect(report('collectDirty', large, border - 2, 4)).toMatch(large.mmu.tracking === 'none' ? /1111/ : /0110/)
    expect([large.peek(page(border - 1)), large.peek(page(border))]).toEqual([1, 2])
    for (const vpn of [border - 1, border]) large.mmu.install(SPACE, page(vpn), vpn, 1, true)
    large.store(page(border) + 4, 3)
    report('unmap', large, border - 2, 4)
    for (let vpn = border - 2; vpn < border + 2; vpn++) large.mmu.freeFrame(vpn, 0)
    expect(large.mmu.frames.trim()).toBe(4)
  })
})

describe.each(trackings)('UserfaultfdMmu faults, %s', (tracking) => {
  test('tell whether the file has the page, and whether a store waits', () => {
    const live = make(tracking, 16)
    live.poke(page(1), 11)
    live.onFault = ({ addr }) => live.mmu.install(SPACE, addr, addr / PAGE_SIZE, 1, true)
    expect([live.load(page(1) + 4), live.load(page(2) + 4)]).toEqual([0, 0])
    live.store(page(3), 3)
    const seen = live.faults.map(({ write, minor, wp, addr }) => [
      live.mmu.heapAddr(addr) / PAGE_SIZE,
      minor,
      write,
      wp,
    ])
    const expected = [
      [1, true, false, false],
      [2, false, false, false],
      [3, false, true, false],
    ]
    expect(seen).toEqual(tracking === 'sync' ? [...expected, [3, false, true, true]] : expected)
    expect(live.faults.every(({ tid }) => machine?.support.features.threadId === tid > 0)).toBe(true)
  })

  test('a store that waits is done with one fault, and the page counts as written', () => {
    const live = make(tracking, 16)
    live.onFault = ({ addr }) => {
      live.mmu.batch(() => live.mmu.install(SPACE, addr - page(2), addr / PAGE_SIZE - 2, 5, true), { addr, npages: 1 })
    }
    live.store(page(5) + 100, 1)
    expect(live.faults.length).toBe(1)
    expect(report('unmap', live, 3, 5)).toBe(tracking === 'none' ? '11111' : '00100')
  })

  test('a read fault leaves the page clean', (test) => {
    if (tracking === 'none') test.skip('write protection: without it every page that was touched counts as written')
    const live = make(tracking, 16)
    live.mmu.install(SPACE, 0, 0, 4, true)
    for (let vpn = 0; vpn < 4; vpn++) live.load(page(vpn))
    expect(report('collectDirty', live, 0, 4)).toBe('0000')
    live.store(page(2), 1)
    expect(report('collectDirty', live, 0, 4)).toBe('0010')
    expect(report('collectDirty', live, 0, 4)).toBe('0000')
    live.store(page(2), 2)
    expect(report('protect', live, 0, 4)).toBe('0010')
    expect(report('unmap', live, 0, 4)).toBe('0000')
    expect(live.peek(page(2))).toBe(2)
  })

  test('what the engine writes is not dirty', (test) => {
    if (tracking === 'none') test.skip('write protection: without it every page that was touched counts as written')
    const live = make(tracking, 16)
    live.mmu.install(SPACE, 0, 0, 2, true)
    live.poke(page(0), 1)
    live.mmu.clearFrame(1)
    expect([report('collectDirty', live, 0, 2), report('unmap', live, 0, 2)]).toEqual(['00', '00'])
  })

  test('a store to a read-only page', () => {
    const live = make(tracking, 16)
    live.mmu.install(SPACE, 0, 0, 1, false)
    live.onFault = ({ addr, wp, write }) => {
      expect([wp, write]).toEqual([true, true])
      live.mmu.install(SPACE, addr, addr / PAGE_SIZE, 1, true)
    }
    live.store(0, 1)
    // sync: reported to mm, and again when mm has made the page writable, as there was no word of a store that waits.
    expect(live.faults.length).toBe(tracking === 'sync' ? 2 : 0)
    expect([live.peek(0), report('unmap', live, 0, 1)]).toEqual([1, '1'])
  })

  test('a page made writable for a store that waits is reported once', (test) => {
    if (tracking !== 'sync') test.skip('write protection, sync: otherwise stores to read-only pages are not reported')
    const live = make(tracking, 16)
    live.mmu.install(SPACE, 0, 0, 1, false)
    live.onFault = ({ addr }) => {
      live.mmu.batch(() => live.mmu.install(SPACE, addr, addr / PAGE_SIZE, 1, true), { addr, npages: 1 })
    }
    live.store(0, 1)
    expect([live.faults.length, report('unmap', live, 0, 1)]).toEqual([1, '1'])
    expect(live.mmu.resolveStore(0)).toBe(false)
  })

  test('a page that the system took back stays written', () => {
    const live = make(tracking, 16)
    live.mmu.install(SPACE, 0, 0, 4, true)
    live.store(page(1), 7)
    // As reclaim does it under memory pressure, without a word.
    live.mmu.frames.segments[0].zapUser(0, 4 * PAGE_SIZE)
    live.onFault = ({ addr, minor }) => {
      expect(minor).toBe(true)
      live.mmu.install(SPACE, addr, addr / PAGE_SIZE, 1, true)
    }
    expect(live.load(page(1))).toBe(7)
    expect(report('unmap', live, 0, 4)[1]).toBe('1')
  })

  test('install() passes over pages that are mapped, and finishes what lies behind', () => {
    const live = make(tracking, 64)
    for (const vpn of [3, 4, 9]) live.mmu.install(SPACE, page(vpn), vpn, 1, true)
    live.store(page(4), 4)
    live.mmu.install(SPACE, 0, 0, 12, true)
    for (let vpn = 0; vpn < 12; vpn++) expect(live.load(page(vpn))).toBe(vpn === 4 ? 4 : 0)
    expect(report('unmap', live, 0, 12)).toBe(tracking === 'none' ? '1'.repeat(12) : '000010000000')
  })

  test('install() of a page that vanished from the file makes a new one', () => {
    const live = make(tracking, 16)
    for (let vpn = 0; vpn < 4; vpn++) live.poke(page(vpn), vpn + 1)
    live.mmu.frames.segments[0].punch(page(1), page(2))
    live.mmu.install(SPACE, 0, 0, 4, true)
    expect([0, 1, 2, 3].map((vpn) => live.load(page(vpn)))).toEqual([1, 0, 0, 4])
  })

  test('unmap() reports stores to each page of 2 MiB, where the zap frees the page table', () => {
    const live = make(tracking, 1536)
    const [{ addr }] = live.mmu.ranges
    const first = (2 ** 21 - (addr % 2 ** 21)) / PAGE_SIZE
    live.mmu.install(SPACE, page(first), first, 512, true)
    for (let vpn = first; vpn < first + 512; vpn++) live.store(page(vpn), vpn)
    expect(report('unmap', live, 0, 1536)).toBe('0'.repeat(first) + '1'.repeat(512) + '0'.repeat(1024 - first))
  })

  test('a batch is one call to the kernel for pages side by side', () => {
    const live = make(tracking, 64)
    const ioctl = vi.spyOn(machine!.kernel, 'ioctl')
    live.mmu.batch(() => {
      for (let vpn = 8; vpn < 40; vpn++) live.mmu.install(SPACE, page(vpn), vpn, 1, vpn < 24)
      for (const vpn of [50, 51]) live.mmu.install(SPACE, page(vpn), vpn, 1, true)
    })
    expect(ioctl.mock.calls.filter(([, request]) => request === UFFDIO_CONTINUE).length).toBe(3)
    ioctl.mockClear()
    expect(live.load(page(23))).toBe(0)
    // What is asked about a page that waits in the batch sees it installed.
    const during = live.mmu.batch(() => {
      live.mmu.install(SPACE, page(1), 1, 1, true)
      return [live.mmu.isInstalled(page(1)), live.mmu.isInstalled(page(2)), report('unmap', live, 1, 1)]
    })
    expect([...during, live.mmu.isInstalled(page(1))]).toEqual([true, false, tracking === 'none' ? '1' : '0', false])
    expect(ioctl.mock.calls.filter(([, request]) => request === UFFDIO_CONTINUE).length).toBe(1)
    expect(() => live.mmu.batch(() => live.mmu.batch(() => 0))).toThrow(AssertionError)
  })
})

test.skipIf(machine === null)('without protection the next touch after a look has to fault', () => {
  const live = make('none', 16)
  live.mmu.install(SPACE, 0, 0, 2, true)
  live.store(0, 1)
  expect([report('collectDirty', live, 0, 2), report('collectDirty', live, 0, 2)]).toEqual(['11', '00'])
  live.onFault = ({ addr, minor }) => {
    expect(minor).toBe(true)
    live.mmu.install(SPACE, addr, addr / PAGE_SIZE, 1, false)
  }
  live.store(page(1), 2)
  expect([live.faults.length, report('protect', live, 0, 2), report('unmap', live, 0, 2)]).toEqual([1, '01', '00'])
})

test.skipIf(!exact.includes('sync'))(
  'without the notes of the kernel nothing is asked for pages that nobody wrote',
  () => {
    const live = make('sync', 64)
    live.mmu.install(SPACE, 0, 0, 64, true)
    const ioctl = vi.spyOn(machine!.kernel, 'ioctl')
    expect(report('collectDirty', live, 0, 64)).toBe('0'.repeat(64))
    expect(ioctl).not.toHaveBeenCalled()
    for (const vpn of [5, 6, 7, 30]) live.store(page(vpn), 1)
    ioctl.mockClear()
    expect(report('protect', live, 0, 64).replaceAll('0', '').length).toBe(4)
    expect(ioctl.mock.calls.map(([, request]) => request)).toEqual([UFFDIO_WRITEPROTECT, UFFDIO_WRITEPROTECT])
  },
)

test.skipIf(machine === null)('a touch that nobody answers fails its own test, and no other', () => {
  const live = make(trackings[0], 2)
  live.onFault = () => {}
  const { timeoutMs } = thread
  thread.timeoutMs = 50
  expect(() => live.load(0)).toThrow(/^a load at 0 is not done after 50 ms; threads: \d+ /)
  thread.timeoutMs = timeoutMs
  live.mmu.install(SPACE, page(1), 1, 1, true)
  expect(live.add(page(1), 3)).toBe(0)
  expect(live.load(page(1))).toBe(3)
})

describe.each(exact)('UserfaultfdMmu random programs, %s', (tracking) => {
  const NPAGES = 1100 // more than two tables and more than two runs
  const STEPS = 400

  test.each([1, 2, 3])('seed %i', (seed) => {
    const live = make(tracking, NPAGES)
    const random = generator(seed)
    const value = new Int32Array(NPAGES)
    const written = new Uint8Array(NPAGES)
    // As mm would: a page that is missing is installed; a store makes a read-only page writable.
    live.onFault = ({ addr, write }) => {
      live.mmu.batch(
        () => live.mmu.install(SPACE, addr, addr / PAGE_SIZE, 1, true),
        write ? { addr, npages: 1 } : undefined,
      )
    }
    const installed = new Uint8Array(NPAGES)
    for (let step = 0; step < STEPS; step++) {
      const vpn = random(NPAGES)
      const npages = 1 + random(Math.min(NPAGES - vpn, random(4) === 0 ? NPAGES : 24))
      switch (random(8)) {
        case 0:
        case 1:
          live.mmu.install(SPACE, page(vpn), vpn, npages, random(3) > 0)
          installed.fill(1, vpn, vpn + npages)
          break
        case 2:
        case 3:
        case 4:
          for (let i = 0; i < 8; i++) {
            const at = (vpn + random(32)) % NPAGES
            value[at]++
            live.store(page(at), value[at])
            written[at] = installed[at] = 1
          }
          break
        case 5:
          expect(live.load(page(vpn)), `step ${step}: load of page ${vpn}`).toBe(value[vpn])
          installed[vpn] = 1
          break
        default: {
          const how = (['unmap', 'protect', 'collectDirty'] as const)[random(3)]
          const expected = written.subarray(vpn, vpn + npages).join('')
          expect(report(how, live, vpn, npages), `step ${step}: ${how} of ${npages} pages at ${vpn}`).toBe(expected)
          written.fill(0, vpn, vpn + npages)
          if (how === 'unmap') installed.fill(0, vpn, vpn + npages)
        }
      }
    }
    for (let vpn = 0; vpn < NPAGES; vpn++) expect(live.peek(page(vpn))).toBe(value[vpn])
  })
})

/** Numbers from 0 to n - 1, the same for the same seed. */
function generator(seed: number): (n: number) => number {
  let state = seed * 0x9e37_79b9
  return (n) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b_3c6d) + 0x6d2b_79f5) | 0
    return ((state ^ (state >>> 13)) >>> 0) % n
  }
}

describe.each(exact)('pages that another thread maps, tracking %s', (tracking) => {
  test('are found like those that were installed here', () => {
    const live = make(tracking, 8)
    live.poke(page(2), 7)
    live.mmu.expectMapped(2)
    live.mapElsewhere(2)
    expect([live.load(page(2)), live.faults.length]).toEqual([7, 0])
    live.mmu.install(SPACE, page(2), 2, 1, true)
    live.store(page(2), 9)
    expect(report('unmap', live, 2, 1)).toBe('1')
    const nfaults = live.faults.length
    live.onFault = () => live.mmu.install(SPACE, page(2), 2, 1, true)
    expect([live.load(page(2)), live.faults.length]).toEqual([9, nfaults + 1])
  })

  test('are installed when they are touched if it does not', () => {
    const live = make(tracking, 8)
    live.poke(page(3), 8)
    live.mmu.expectMapped(3)
    live.onFault = () => live.mmu.install(SPACE, page(3), 3, 1, true)
    expect([live.load(page(3)), live.faults.length]).toEqual([8, 1])
  })
})
