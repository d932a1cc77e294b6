import { expect, test } from 'vitest'
import type { Row } from './harness.ts'
import { describeCase, jsonReporter, type Reporter, tableReporter } from './report.ts'

const ROW: Row = {
  suite: 's',
  case: 'fast',
  unit: 'ns/page',
  value: 98.7654,
  baseline: 4096,
  ratio: 0.024112,
  low: 0.02,
  high: 0.03,
  pairs: 31,
  better: 'lower',
  goal: 0.1,
  ok: true,
}
const MISSED: Row = { ...ROW, case: 'slow', better: 'higher', goal: 2, ok: false }

function report(make: (print: (line: string) => void) => Reporter): string[] {
  const lines: string[] = []
  const reporter = make((line) => lines.push(line))
  const suite = {
    name: 's',
    summary: 'what it measures',
    cases: [{ ...ROW, name: 'a-name-longer-than-others', summary: '', prepare: unused }],
  }
  reporter.suite({ ...suite, baseline: { summary: '', unit: '', prepare: () => () => 1 } })
  reporter.row(ROW)
  reporter.row(MISSED)
  reporter.end([ROW, MISSED])
  return lines
}

test('jsonReporter() prints one object per line and nothing else', () => {
  expect(report(jsonReporter).map((line) => JSON.parse(line))).toEqual([ROW, MISSED])
})

test('tableReporter() prints three digits, the goal with its direction, and what missed it', () => {
  const [title, head, fast, slow, end] = report(tableReporter)
  expect(title).toBe('s: what it measures')
  expect(fast.split(/ {2,}/)).toEqual([
    '',
    'fast',
    '98.8 ns/page',
    '4096 ns/page',
    '0.0241',
    '0.02 to 0.03',
    '<= 0.1',
    'ok',
  ])
  expect(slow.split(/ {2,}/).slice(-2)).toEqual(['>= 2', 'MISSED'])
  expect(fast.indexOf('98.8')).toBe(head.indexOf('value'))
  expect(head.indexOf('value')).toBe('  a-name-longer-than-others  '.length)
  expect(end).toBe('goal missed: slow')
})

test('tableReporter() and --list say of a case without a goal that it has none', () => {
  const lines: string[] = []
  tableReporter((line) => lines.push(line)).row({ ...ROW, goal: null })
  expect(lines[0].split(/ {2,}/).at(-1)).toBe('none')
  expect(describeCase({ ...ROW, name: 'fast', summary: 'Fast.', goal: null, prepare: unused })).toBe('  fast: Fast.')
  expect(describeCase({ ...ROW, name: 'fast', summary: 'Fast.', prepare: unused })).toBe('  fast (at most 0.1): Fast.')
})

function unused(): never {
  throw new Error('it is only described')
}
