import { describe, expect, test } from 'vitest'
import { COLUMNS_MAX, Terminal } from './terminal.ts'
import { tour } from './tour.ts'

function collect(color = false): { terminal: Terminal; lines: () => string[] } {
  let text = ''
  const terminal = new Terminal({ write: (part) => (text += part) }, color)
  return { terminal, lines: () => text.replace(/\n$/, '').split('\n') }
}

function runTour(color = false): string[] {
  const { terminal, lines } = collect(color)
  tour(terminal)
  return lines()
}

/** The row of the picture below a title, as the letters of its cells. */
function row(lines: readonly string[], title: string, label: string): string {
  const from = lines.findIndex((line) => line.includes(title))
  expect(from, title).toBeGreaterThanOrEqual(0)
  const found = lines.slice(from).find((line) => line.trimStart().startsWith(label.padEnd(8)))
  expect(found, label).toBeDefined()
  const cells = (found as string).slice(17)
  return Array.from({ length: 8 }, (_, i) => cells[1 + 9 * i]).join('')
}

describe('tour', () => {
  test('fits the width and leaves no spaces at line ends', () => {
    for (const line of runTour()) {
      expect(line.length).toBeLessThanOrEqual(COLUMNS_MAX)
      expect(line).toBe(line.trimEnd())
    }
  })

  test('says the same with and without colour', () => {
    const plain = runTour()
    const colored = runTour(true)
    expect(plain.join('')).not.toContain('\x1b')
    expect(colored.join('')).toContain('\x1b[30;42m')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: this is what colour is made of
    expect(colored.map((line) => line.replace(/\x1b\[[\d;]*m/g, '').trimEnd())).toEqual(plain)
  })

  test('draws what each step leads to', () => {
    const lines = runTour()
    const steps: [title: string, label: string, letters: string][] = [
      ['A mapping is a promise', 'parent', 'tttttttt'],
      ['Reading nothing', 'parent', 'zz------'],
      ['The first store', 'parent', 'zwwww---'],
      ['A device looks', 'device', 'zwww----'],
      ['A mirror must never', 'parent', 'wwwww---'],
      ['A mirror must never', 'device', '--ww----'],
      ['The device writes', 'device', '-www----'],
      ['Migration', 'parent', 'DDDDw---'],
      ['A touch', 'parent', 'DwDDw---'],
      ['A pinned page', 'parent', 'DwDDw---'],
      ['fork:', 'parent', 'dwddr---'],
      ['fork:', 'child', 'dwddr---'],
      ['Copy on write', 'child', 'dwwdr---'],
      ['Copy on write', 'parent', 'dwrdr---'],
      ['A page for the device', 'parent', 'dwrdX---'],
      ['A page for the device', 'device', '----a---'],
      ['The loan ends', 'parent', 'dwrdw---'],
      ['Everything goes back', 'parent', '________'],
    ]
    for (const [title, label, letters] of steps)
      expect([title, label, row(lines, title, label)]).toEqual([title, label, letters])
  })

  test('explains every letter that it draws', () => {
    const lines = runTour()
    const explained = lines.filter((line) => line.startsWith('    new here')).join(' ')
    for (const letter of 'tz-wDrdXa_') expect(explained).toContain(` ${letter}  `)
  })

  test('gives everything back, and is the same every time', () => {
    const lines = runTour()
    expect(lines.join('\n')).toMatch(/driver hears +UNMAP pages 0 to 7 +0 pages of RAM, 0 of device memory/)
    expect(runTour()).toEqual(lines)
  })
})
