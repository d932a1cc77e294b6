import { describe, expect, test } from 'vitest'
import { makeTerminal, Terminal, wrap } from './terminal.ts'

class Sink {
  text = ''
  readonly isTTY: boolean

  constructor(isTTY = false) {
    this.isTTY = isTTY
  }

  write(text: string): void {
    this.text += text
  }
}

describe('makeTerminal()', () => {
  test.each([
    ['a terminal', true, {}, true],
    ['a pipe', false, {}, false],
    ['a terminal with NO_COLOR', true, { NO_COLOR: '1' }, false],
    ['a terminal with an empty NO_COLOR', true, { NO_COLOR: '' }, true],
    ['a dumb terminal', true, { TERM: 'dumb' }, false],
    ['a pipe with FORCE_COLOR', false, { FORCE_COLOR: '1' }, true],
    ['a terminal with FORCE_COLOR=0', true, { FORCE_COLOR: '0' }, false],
    ['NO_COLOR against FORCE_COLOR', true, { NO_COLOR: '1', FORCE_COLOR: '1' }, false],
  ])('%s', (_, isTTY, env, color) => {
    expect(makeTerminal(new Sink(isTTY), env).color).toBe(color)
  })
})

describe('Terminal', () => {
  test('paint() adds nothing but escape sequences, and those only with colour', () => {
    expect(new Terminal(new Sink(), false).paint('bold', 'text')).toBe('text')
    expect(new Terminal(new Sink(), true).paint('bold', 'text')).toBe('\x1b[1mtext\x1b[0m')
  })

  test('paragraph() indents and wraps at 100 columns', () => {
    const sink = new Sink()
    new Terminal(sink, false).paragraph('word '.repeat(50), 4)
    const lines = sink.text.trimEnd().split('\n')
    expect(lines).toHaveLength(3)
    for (const line of lines) {
      expect(line.length).toBeLessThanOrEqual(100)
      expect(line.startsWith('    word')).toBe(true)
    }
  })
})

describe('wrap()', () => {
  test('breaks at spaces and keeps words whole', () => {
    expect(wrap('a bb ccc dddd', 6)).toEqual(['a bb', 'ccc', 'dddd'])
    expect(wrap('  a\n   b ', 6)).toEqual(['a b'])
    expect(wrap('incomprehensibilities a', 6)).toEqual(['incomprehensibilities', 'a'])
    expect(wrap('', 6)).toEqual([])
  })
})
