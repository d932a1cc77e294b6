import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { ONE_OF_EACH } from '../../test/helpers/one-of-each-event.ts'
import { ReportBuilder } from '../report/index.ts'
import { describe as describeHeaps, StatusLine } from './status-line.ts'
import { Terminal } from './terminal.ts'

function makeTerminal(isTTY: boolean, columns = 100) {
  const screen = { text: '' }
  const write = (text: string) => {
    screen.text += text
  }
  return { screen, terminal: new Terminal({ isTTY, columns, write }, false) }
}

function heap(): ReportBuilder {
  const builder = new ReportBuilder({ timeUnit: 'us' })
  for (const event of ONE_OF_EACH.slice(0, -2)) builder.write(event)
  return builder
}

/** What a screen shows, line by line, after carriage returns and erased lines. */
function shown(text: string): string[] {
  return text.split('\n').map((line) => line.split('\r\x1b[K').at(-1) ?? '')
}

describe('StatusLine', () => {
  it.each([
    ['a terminal', true, {}, true],
    ['a pipe', false, {}, false],
    ['a terminal in CI', true, { CI: 'true' }, false],
    ['a terminal where CI=false', true, { CI: 'false' }, true],
  ])('is there for %s: %s', (_, isTTY, env, isThere) => {
    expect(StatusLine.where(makeTerminal(isTTY).terminal, env) !== null).toBe(isThere)
  })

  it('stays below what the program prints, and out of its unfinished lines', async () => {
    const { screen, terminal } = makeTerminal(true)
    const status = StatusLine.where(terminal, {}) as StatusLine
    const child = { stdout: new PassThrough(), stderr: new PassThrough() }
    const to = { write: (piece: Buffer) => (screen.text += piece.toString()) }
    status.passThrough(child, { stdout: to, stderr: to })
    const print = async (text: string) => {
      child.stdout.write(text)
      await new Promise(setImmediate)
    }

    status.show([])
    expect(shown(screen.text)).toEqual([expect.stringMatching(/^hetmem 0\.\d s {2}no heap yet$/)])
    await print('one\ntwo\n')
    expect(shown(screen.text)).toEqual(['one', 'two', expect.stringContaining('no heap yet')])
    await print('thr')
    status.show([])
    expect(shown(screen.text)).toEqual(['one', 'two', 'thr'])
    await print('ee\n')
    expect(shown(screen.text)).toEqual(['one', 'two', 'three', expect.stringContaining('no heap yet')])
    status.clear()
    expect(shown(screen.text)).toEqual(['one', 'two', 'three', ''])
  })

  it('is never wider than the terminal', () => {
    const { screen, terminal } = makeTerminal(true, 50)
    const status = StatusLine.where(terminal, {}) as StatusLine
    status.show([heap(), heap()])

    expect(screen.text.length).toBe(49)
  })
})

describe('describe()', () => {
  it('adds up all heaps, and says what each device has', () => {
    expect(describeHeaps([heap()])).toBe('1 launch, 1 CPU fault, 15 B to devices, 16 B back, 8 KiB evicted; gpu: 0 B')
    expect(describeHeaps([heap(), heap()])).toContain('2 launches, 2 CPU faults, 30 B to devices')
  })
})
