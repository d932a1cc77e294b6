import { describe, expect, test } from 'vitest'
import { PAGE_SIZE } from '../base/addr.ts'
import { LiveLines } from '../cli/live-lines.ts'
import { COLUMNS_MAX, Terminal } from '../cli/terminal.ts'
import type { TraceEvent } from '../trace/events.ts'
import { ResidencyStrip, STRIP_CELLS } from './residency-strip.ts'

const plain = new Terminal({ write: () => {} }, false)

/** A strip of an array of `npages` pages from page 16 on, after copies of some of its pages came to the device. */
function stripAfter(npages: number, ...runs: [first: number, count: number][]): ResidencyStrip {
  const strip = new ResidencyStrip()
  const at = (page: number) => (16 + page) * PAGE_SIZE
  const array = { allocation: 'columns', device: 'gpu' }
  const events: TraceEvent[] = [
    { kind: 'alloc', time: 0, ...array, start: at(0), end: at(npages), type: 'Uint32Array' },
    ...runs.map(([first, count]): TraceEvent => {
      const range = { start: at(first), end: at(first + count), npages: count }
      return { kind: 'duplication', time: 1, ...array, ...range, cause: 'fault' }
    }),
  ]
  for (const event of events) strip.write(event)
  return strip
}

describe('ResidencyStrip', () => {
  test('draws what part of an array is on the device', () => {
    const [row] = stripAfter(2 * STRIP_CELLS, [4, 6], [20, 1]).rows(plain)
    expect(row).toBe(`  columns    448 KiB  ··███·····▒${'·'.repeat(STRIP_CELLS - 11)}     28 KiB there`)
  })

  test('draws arrays that are smaller than a row', () => {
    const [row] = stripAfter(1, [0, 1]).rows(plain)
    expect(row).toContain('█'.repeat(STRIP_CELLS))
    expect(stripAfter(1).rows(plain)[0]).toContain('·'.repeat(STRIP_CELLS))
  })

  test('fits the width, and has no row for what is not allocated', () => {
    for (const row of stripAfter(1_000_000, [0, 999_999]).rows(plain))
      expect(row.length).toBeLessThanOrEqual(COLUMNS_MAX)
    expect(new ResidencyStrip().rows(plain)).toEqual([])
  })

  test('is the same in colour', () => {
    const colored = stripAfter(100, [3, 50]).rows(new Terminal({ write: () => {} }, true))
    expect(colored[0]).toContain('\x1b[36m')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: this is what colour is made of
    expect(colored.map((row) => row.replace(/\x1b\[\d+m/g, ''))).toEqual(stripAfter(100, [3, 50]).rows(plain))
  })
})

describe('LiveLines', () => {
  function watch(isTTY: boolean, columns = COLUMNS_MAX) {
    let text = ''
    let now = 0
    const lines = new LiveLines({ write: (part) => (text += part), isTTY, columns }, () => now)
    return { lines, text: () => text, wait: (ms: number) => (now += ms) }
  }

  test('draws over what it has drawn, but not too often', () => {
    const { lines, text, wait } = watch(true)
    lines.draw(() => ['a', 'b'])
    lines.draw(() => ['too early'])
    wait(1000)
    lines.draw(() => ['c'])
    lines.clear()
    lines.clear()
    expect(text()).toBe('a\nb\n\x1b[2F\x1b[Jc\n\x1b[1F\x1b[J')
  })

  test.each([
    [false, COLUMNS_MAX],
    [true, COLUMNS_MAX - 1],
  ])('draws nothing where nobody watches, or lines would not fit: %s, %i columns', (isTTY, columns) => {
    const { lines, text } = watch(isTTY, columns)
    lines.draw(() => ['a'])
    lines.clear()
    expect([lines.isLive, text()]).toEqual([false, ''])
  })
})
