import { expect, test } from 'vitest'
import { parseCommandLine } from './command-line.ts'

test('parseCommandLine() takes suites and options in any order', () => {
  expect(parseCommandLine(['--json', 'core', 'live'])).toEqual({
    suites: ['core', 'live'],
    json: true,
    list: false,
    help: false,
    caseNames: [],
  })
  expect(parseCommandLine(['core', '--case', 'fault', '--list'])).toMatchObject({ list: true, caseNames: ['fault'] })
  expect(parseCommandLine(['core', '--case', 'fault', '--case', 'migrate'])).toMatchObject({
    caseNames: ['fault', 'migrate'],
  })
  expect(parseCommandLine([])).toMatchObject({ suites: [], json: false })
  expect(parseCommandLine(['-h'])).toMatchObject({ help: true })
})

test.each([
  [['--jsonl'], 'there is no option --jsonl'],
  [['core', '--case'], '--case wants the name of a case'],
  [['--case', 'fault'], '--case wants exactly one suite beside it'],
  [['core', 'live', '--case', 'fault'], '--case wants exactly one suite beside it'],
])('parseCommandLine() refuses %j', (argv, complaint) => {
  expect(parseCommandLine(argv)).toEqual({ complaint })
})
