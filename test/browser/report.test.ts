// The report in headless Chromium: at the width of a desk and of a phone, light and dark. Nothing is refused by its own policy,
// nothing sticks out, text can be told from its background, figures are those of the trace, and it can be used with a keyboard.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest'
import { ReportBuilder, renderReport } from '../../src/report/index.ts'
import { sumByCause, TraceCounters } from '../../src/trace/counters.ts'
import { sampleTrace } from '../helpers/sample-trace.ts'
import { PageFixture } from './page-fixture.ts'

const pages = new PageFixture()
const { events, ...header } = sampleTrace()
const counters = new TraceCounters()
let folder = ''
let url = ''

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hetmem-report-'))
  const file = join(folder, 'report.html')
  const builder = new ReportBuilder(header)
  for (const event of events) {
    builder.write(event)
    counters.add(event)
  }
  writeFileSync(file, renderReport(builder.build()))
  url = pathToFileURL(file).href
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Look {
  readonly width: number
  readonly colorScheme: 'light' | 'dark'
}

/** Opens the report, looks at it, and expects that nothing was complained about. */
async function look(context: TestContext, { width, colorScheme }: Look, act: (page: Page) => Promise<void>) {
  const page = await pages.browser(context).newPage({ viewport: { width, height: 800 }, colorScheme })
  const complaints: string[] = []
  page.on('console', (message) => complaints.push(message.text()))
  page.on('pageerror', (error) => complaints.push(error.message))
  page.on('request', (request) => {
    if (request.url() !== url) complaints.push(`requests ${request.url()}`)
  })
  try {
    await page.goto(url)
    await act(page)
    expect(complaints).toEqual([])
  } finally {
    await page.close()
  }
}

const LOOKS: readonly Look[] = [1200, 375].flatMap((width) => [
  { width, colorScheme: 'light' as const },
  { width, colorScheme: 'dark' as const },
])

/** Runs in the page: texts whose contrast with what is behind them is below 4.5, as WCAG counts. */
const FAINT_TEXTS = `(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number)
  const luminance = (color) => channels(color).slice(0, 3).reduce((sum, channel, i) => {
    const c = channel / 255
    return sum + [0.2126, 0.7152, 0.0722][i] * (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  }, 0)
  const behind = (element) => {
    const color = getComputedStyle(element).backgroundColor
    return channels(color)[3] === 0 && element.parentElement ? behind(element.parentElement) : color
  }
  const texts = [...document.querySelectorAll('body *')].filter((element) =>
    !['SCRIPT', 'STYLE'].includes(element.tagName) && !element.closest('svg') &&
    [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== ''))
  return texts.flatMap((element) => {
    const [a, b] = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((x, y) => y - x)
    const contrast = (a + 0.05) / (b + 0.05)
    return contrast < 4.5 ? [element.textContent + ': ' + contrast.toFixed(2)] : []
  })
})()`

describe.each(LOOKS)('the report, $width wide, $colorScheme', (size) => {
  it('fits, is readable, and has nothing to complain about', async (context) => {
    await look(context, size, async (page) => {
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(size.width)
      expect(await page.evaluate(FAINT_TEXTS)).toEqual([])
      const dark = await page.evaluate('getComputedStyle(document.body).backgroundColor')
      expect(dark).toBe(size.colorScheme === 'dark' ? 'rgb(20, 22, 26)' : 'rgb(255, 255, 255)')
      // Every picture is there, and says what it shows.
      const pictures = await page
        .locator('svg[role=img]')
        .evaluateAll((all) =>
          all.map((each) => ({ name: each.getAttribute('aria-label'), box: each.getBoundingClientRect() })),
        )
      expect(pictures.length).toBe(3 + 2 + 3)
      for (const { name, box } of pictures) {
        expect(name).not.toBe('')
        expect(Math.min(box.width, box.height), `${name}`).toBeGreaterThan(20)
      }
    })
  })
})

describe('the report', () => {
  const desk = LOOKS[0]

  it('has the figures of the trace', async (context) => {
    await look(context, desk, async (page) => {
      const tiles = await page
        .locator('.tiles div')
        .evaluateAll((all) =>
          all.map((each) => [each.children[0].textContent, each.children[1].getAttribute('data-value')]),
        )
      const { total, byAllocation } = counters
      expect(Object.fromEntries(tiles)).toEqual({
        launches: `${total.launches}`,
        computing: `${total.launchCompute}`,
        'bringing data': `${total.launchService}`,
        'copied to devices': `${sumByCause(total.bytesHostToDevice)}`,
        'copied to the CPU': `${sumByCause(total.bytesDeviceToHost)}`,
        'CPU page faults': `${total.cpuFaults}`,
        'pages evicted': `${total.pagesMigrated.eviction}`,
        'waits over 50 ms': `${total.stalls}`,
      })

      for (const [name, { bytesHostToDevice, cpuFaults, deviceFaults }] of byAllocation) {
        const row = await cellsOf(page, 'Arrays', name)
        expect(row).toMatchObject({
          'to devices': sumByCause(bytesHostToDevice),
          'CPU faults': cpuFaults,
          'device faults': deviceFaults,
        })
      }
      const launches = events.filter((event) => event.kind === 'launch' && event.kernel === 'bfs <top down>')
      expect(await cellsOf(page, 'Kernels', 'bfs <top down>')).toMatchObject({ launches: launches.length, failed: 0 })
      const traffic = await cellsOf(page, 'Bytes by cause', 'to the CPU')
      expect(traffic).toMatchObject({ ...total.bytesDeviceToHost, total: sumByCause(total.bytesDeviceToHost) })
    })
  })

  it('sorts its tables, by keyboard too, and says so', async (context) => {
    await look(context, desk, async (page) => {
      const table = page.getByRole('table', { name: 'Arrays' })
      const names = () => table.locator('tbody th').allTextContents()
      const head = table.getByRole('columnheader', { name: 'size' })

      await head.getByRole('button').focus()
      await page.keyboard.press('Enter')
      expect(await head.getAttribute('aria-sort')).toBe('descending')
      const bySize = await names()
      await page.keyboard.press('Enter')
      expect(await head.getAttribute('aria-sort')).toBe('ascending')
      expect(await names()).toEqual([...bySize].reverse())
      expect(bySize[0]).toBe('edges')

      await table.getByRole('columnheader', { name: 'array', exact: true }).getByRole('button').click()
      expect(await head.getAttribute('aria-sort')).toBeNull()
      expect(await names()).toEqual([
        'levels <of "all" & more>',
        'edges',
        'a rather long name for the frontier of the search',
      ])
    })
  })

  it('reads the heat map where the pointer is', async (context) => {
    await look(context, desk, async (page) => {
      const row = page.locator('.heat-row').nth(1)
      await row.hover()
      const shown = await page.locator('.read').first().textContent()

      expect(shown).toMatch(/^at \d+\.\d\d ms: levels <of "all" & more> 100 % on devices$/)
      await page.mouse.move(5, 5)
      expect(await page.locator('.read').first().textContent()).toBe('')
    })
  })
})

/** The figures of a row, by the titles of their columns. */
async function cellsOf(page: Page, table: string, name: string): Promise<Record<string, number>> {
  const cells = await page.getByRole('table', { name: table }).evaluate((element, wanted) => {
    const heads = [...element.querySelectorAll('thead th')].map((head) => head.textContent)
    const rows = [...element.querySelectorAll('tbody tr')]
    const row = rows.find((each) => each.querySelector('th')?.textContent === wanted)
    return [...(row?.children ?? [])].map((cell, i) => [heads[i], cell.getAttribute('data-value')])
  }, name)
  return Object.fromEntries(cells.filter(([, value]) => value !== null).map(([title, value]) => [title, Number(value)]))
}
