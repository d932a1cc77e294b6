import { describe, expect, it } from 'vitest'
import { parseOptions, UsageError } from './options.ts'
import { formatOperation, formatValue } from './program.ts'
import { replay } from './replay.ts'
import { formatComparison } from './show.ts'
import { RecordedDriver } from './testing/recorded-driver.ts'
import { makeSample } from './testing/sample.ts'
import type { Sequence } from './trace.ts'

describe('formatOperation()', () => {
  it('names the arguments in a fixed order and leaves out what is not given', () => {
    expect(makeSample().ops.map(formatOperation)).toEqual([
      'proc 0: mmap(page 0, n 3, prot rw, kind anon-private)',
      'proc 0: cpu-write(page 0, n 4, value 100)',
      'proc 0: watch(slot 1, page 1, n 2)',
      'proc 0: migrate-to-dev(dev 0, page 1, n 2)',
      'fork(childDevs [])',
      'proc 0: dev-write(dev 0, page 1, n 1, value 200)',
      "proc 0: range-fault(page 0, n 4, owner dev0, default '', mask F, req [F F '' ''])",
      'exit-child()',
    ])
  })
})

describe('formatValue()', () => {
  it('writes results without quotes', () => {
    expect(formatValue({ cpages: 2, values: [1, 'segv'] })).toBe('cpages 2, values [1 segv]')
    expect(formatValue(undefined)).toBe('nothing')
  })
})

describe('formatComparison()', () => {
  const seenOf = (sequence: Sequence) => [...replay(sequence, (s) => new RecordedDriver(s))]

  it('shows an identical sequence with every field on both sides', () => {
    const text = formatComparison(makeSample(), seenOf(makeSample()))
    expect(text).toContain('identical\n')
    expect(text).not.toContain('>>>')
    expect(text).not.toContain('!=')
    expect(text).toMatch(
      /proc 0: migrate-to-dev\(dev 0, page 1, n 2\)\n +result +cpages 2, values \[101 102\] +cpages 2/,
    )
    expect(text).toMatch(/event 0 +proc 0 MIGRATE 1\.\.3 dev0 +proc 0 MIGRATE 1\.\.3 dev0\n/)
    expect(text).toMatch(/watch 0 +proc 0 slot 1 MIGRATE 1\.\.3 dev0 +proc 0 slot 1 MIGRATE/)
    expect(text).toMatch(/proc 1 pte +rdd_ +rdd_\n/)
    expect(text).toMatch(/same +\[0:0=1:0 0:1=1:1 0:2=1:2\] +\[0:0=1:0/)
  })

  it('marks the first difference, aligns page-table strings and points at the pages', () => {
    const recorded = structuredClone(makeSample())
    const changed = JSON.parse(JSON.stringify(recorded).replace('wDD_', 'wdd_').replace('EFAULT', 'EPERM'))
    const lines = formatComparison(changed, seenOf(recorded)).split('\n')
    const marked = lines.filter((line) => line.startsWith('>>>'))
    expect(marked).toEqual(['>>>   3 proc 0: migrate-to-dev(dev 0, page 1, n 2)'])
    const row = lines.findIndex((line) => line.includes('wdd_'))
    const [left, right] = [lines[row].indexOf('wdd_'), lines[row].indexOf('wDD_')]
    expect(lines[row].slice(left, right)).toContain(' != ')
    expect(lines[row + 1]).toBe(`${' '.repeat(left + 1)}^^${' '.repeat(right - left - 2)}^^`)
    expect(lines.find((line) => line.includes('errno'))).toMatch(/errno EPERM +!= errno EFAULT/)
  })

  it('shows only the parts of a large arena that differ', () => {
    const pages = 1024
    const state = (pte: string) => ({ 0: { pte, attr: '.'.repeat(pages), pagemap: '.'.repeat(pages) } })
    const op = { op: 'unpin', proc: 0, result: { ret: 0 } } as const
    const sequence: Sequence = {
      ...makeSample(),
      pages,
      ops: [{ ...op, state: state(`${'P'.repeat(512)}${'t'.repeat(512)}`) }],
    }
    const actual = { ...op, state: state(`${'P'.repeat(512)}w${'t'.repeat(511)}`) }
    const text = formatComparison(sequence, [actual])
    expect(text).toMatch(/proc 0 pte +P\*512 t\*512\n +!= P\*512 w t\*511\n/)
    expect(text).toMatch(/page 512 +t{64}\n +wt{63}\n +\^\n/)
    expect(text).toMatch(/proc 0 attr +\.\*1024 \(both\)/)
    expect(text.split('\n').every((line) => line.length < 120)).toBe(true)
  })

  it('shows an exception at the operation where it came', () => {
    const seen = [...seenOf(makeSample()).slice(0, 4), { exception: 'Error: no room\nsrc/mm/fork.ts:10:3' }]
    const lines = formatComparison(makeSample(), seen).split('\n')
    const marked = lines.findIndex((line) => line.startsWith('>>>'))
    expect(lines[marked]).toBe('>>>   4 fork(childDevs [])')
    expect(lines.slice(marked).join('\n')).toMatch(
      /exception +\(nothing\) +!= Error: no room\n +exception +.*!= src\/mm\/fork/,
    )
  })
})

describe('parseOptions()', () => {
  it('reads flags and files in any order', () => {
    const options = parseOptions([
      'a.jsonl',
      '--only',
      'mig',
      '--stats',
      'b.jsonl.gz',
      '--only',
      'fork',
      '--max-failures=3',
    ])
    expect(options).toMatchObject({
      files: ['a.jsonl', 'b.jsonl.gz'],
      only: ['mig', 'fork'],
      stats: true,
      json: false,
      validate: false,
      maxFailures: 3,
      show: undefined,
    })
  })

  it.each([
    [['--nonsense', 'a.jsonl'], "Unknown option '--nonsense'"],
    [['a.jsonl', '--show'], "Option '--show <value>' argument missing"],
    [['a.jsonl', '--json=yes'], "Option '--json' does not take an argument"],
    [['a.jsonl', '--max-failures', 'many'], '--max-failures is "many", wanted a number'],
    [['a.jsonl', '--show', 'mig-1', '--json'], '--show and --json do not go together'],
    [[], 'no recordings given'],
  ])('refuses %j in one sentence', (args, message) => {
    expect(() => parseOptions(args)).toThrow(UsageError)
    expect(() => parseOptions(args)).toThrow(message)
  })
})
