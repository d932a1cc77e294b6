import { expect, test } from 'vitest'
import { PAGE_SIZE } from '../base/addr.ts'
import { LiveLines } from '../cli/live-lines.ts'
import { COLUMNS_MAX, Terminal } from '../cli/terminal.ts'
import { SearchView } from './search-view.ts'

function watch(isTTY: boolean) {
  let text = ''
  let now = 0
  const stream = { write: (part: string) => (text += part), isTTY }
  const live = new LiveLines(stream, () => (now += 1000))
  const view = new SearchView(new Terminal(stream, false), live, 16)
  const range = { start: PAGE_SIZE, end: 3 * PAGE_SIZE }
  view.write({ kind: 'alloc', time: 0, allocation: 'columns', type: 'Uint32Array', ...range })
  return { view, text: () => text }
}

test('SearchView draws where arrays are again and again at a terminal', () => {
  const { view, text } = watch(true)
  view.level(2, { depth: 0, direction: 'fromAbove', nfound: 1233 })
  view.level(2, { depth: 1, direction: 'fromBelow', nfound: 1_000_000 })
  view.search(2, { seconds: 1, nedges: 1 })
  view.compare()
  view.end()
  view.write({ kind: 'free', time: 9, allocation: 'columns', start: PAGE_SIZE, end: 3 * PAGE_SIZE })
  expect(text().endsWith('\x1b[5F\x1b[J  comparing ...\n\x1b[1F\x1b[J')).toBe(true)
  const pictures = text().split('\x1b[5F\x1b[J')
  expect(pictures.length).toBe(4)
  expect(pictures[0]).toMatch(/^\n {2}search 1 of 16, 1 vertex\n\n {2}columns +8 KiB +·+ +0 B there\n\n$/)
  expect(pictures[1]).toContain('  search 3 of 16, level 1 from above, 1,234 vertices\n')
  expect(pictures[2]).toContain('  search 3 of 16, level 2 from below, 1,001,234 vertices\n')
  expect(pictures[3]).toContain('comparing')
})

test('SearchView prints a line per search, and the picture once, in a log', () => {
  const { view, text } = watch(false)
  for (let search = 0; search < 2; search++) {
    for (let depth = 0; depth < 4; depth++)
      view.level(search, { depth, direction: 'fromAbove', nfound: depth < 3 ? 100 : 0 })
    view.search(search, { seconds: 0.5, nedges: 4_000_000 })
  }
  view.end()
  const lines = text().split('\n')
  expect(lines.filter((line) => line.includes('there')).length).toBe(1)
  expect(lines).toContain('  search 1 of 16: 301 vertices on 3 levels, 0.50 s, 8.0 M edges/s, valid')
  expect(lines).toContain('  search 2 of 16: 301 vertices on 3 levels, 0.50 s, 8.0 M edges/s, valid')
  expect(text()).not.toContain('\x1b')
  for (const line of lines) expect(line.length).toBeLessThanOrEqual(COLUMNS_MAX)
})
