import { describe, expect, test } from 'vitest'
import { PAGE_SIZE } from '../base/addr.ts'
import { LiveLines } from '../cli/live-lines.ts'
import { COLUMNS_MAX, Terminal } from '../cli/terminal.ts'
import type { TraceEvent } from '../trace/events.ts'
import { ResidencyStrip, STRIP_CELLS } from './residency-strip.ts'

const plain = new Terminal({ write: () => {} }, false)

/** The rows of an array of `npages` pages from page 16 on, after copies of some of its pages came to the device. */
function rowsAfter(out: Terminal, npages: number, ...runs: [first: number, count: number][]): string[] {
  const strip = new ResidencyStrip(out)
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
  return strip.rows()
}

describe('ResidencyStrip', () => {
  test('draws what part of an array is on the device', () => {
    const [row] = rowsAfter(plain, 2 * STRIP_CELLS, [4, 6], [20, 1])
    expect(row).toBe(`  columns    448 KiB  ··███·····▒${'·'.repeat(STRIP_CELLS - 11)}     28 KiB there`)
  })

  test('draws arrays that are smaller than a row', () => {
    const [row] = rowsAfter(plain, 1, [0, 1])
    expect(row).toContain('█'.repeat(STRIP_CELLS))
    expect(rowsAfter(plain, 1)[0]).toContain('·'.repeat(STRIP_CELLS))
  })

  test('fits the width, and has no row for what is not allocated', () => {
    for (const columns of [60, 80, 100, 200]) {
      const [row] = rowsAfter(new Terminal({ write: () => {}, columns }, false), 1_000_000, [0, 999_999])
      expect(row.length).toBeLessThanOrEqual(columns)
      expect(row).toContain('█'.repeat(16))
    }
    expect(new ResidencyStrip(plain).rows()).toEqual([])
  })

  test('is the same in colour', () => {
    const colored = rowsAfter(new Terminal({ write: () => {} }, true), 100, [3, 50])
    expect(colored[0]).toContain('\x1b[36m')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: this is what colour is made of
    expect(colored.map((row) => row.replace(/\x1b\[\d+m/g, ''))).toEqual(rowsAfter(plain, 100, [3, 50]))
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

  test('is live on narrow terminals too, until one is made narrower', () => {
    const stream = { write: () => {}, isTTY: true, columns: 80 }
    const lines = new LiveLines(stream)
    expect(lines.isLive).toBe(true)
    stream.columns = 79
    expect(lines.isLive).toBe(false)
    stream.columns = 120
    expect(lines.isLive).toBe(true)
  })

  test.each([
    [false, COLUMNS_MAX],
    [true, 59],
  ])('draws nothing where nobody watches, or lines would not fit: %s, %i columns', (isTTY, columns) => {
    const { lines, text } = watch(isTTY, columns)
    lines.draw(() => ['a'])
    lines.clear()
    expect([lines.isLive, text()]).toEqual([false, ''])
  })
})
