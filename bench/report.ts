// Rows as people and as programs read them: a table that grows while the cases run, or one JSON object per line.

import { type BenchCase, casesOf, type Row, type Suite } from './harness.ts'

export interface Reporter {
  suite(suite: Suite): void
  row(row: Row): void
  /** After the last row. */
  end(rows: readonly Row[]): void
}

/** Takes one line without its end. */
export type Print = (line: string) => void

export function jsonReporter(print: Print): Reporter {
  return { suite() {}, row: (row) => print(JSON.stringify(row)), end() {} }
}

/**
 *   case                 value           baseline       ratio  95 % interval    goal
 *   fault                81.3 ns/page    321 ns/page    0.253  0.249 to 0.26    <= 0.7  ok
 */
export function tableReporter(print: Print): Reporter {
  let nameWidth = 0
  const columns = (name: string, ...cells: string[]): string => {
    const widths = [19, 19, 9, 20, 0]
    return `  ${name.padEnd(nameWidth)}${cells.map((cell, i) => cell.padEnd(widths[i])).join('')}`.trimEnd()
  }
  return {
    suite(suite) {
      nameWidth = Math.max(...casesOf(suite).map(({ name }) => name.length)) + 2
      print(`${suite.name}: ${suite.summary}`)
      print(columns('case', 'value', 'baseline', 'ratio', '95 % interval', 'goal'))
    },
    row(row) {
      const interval = `${short(row.low)} to ${short(row.high)}`
      const figures = [`${short(row.value)} ${row.unit}`, `${short(row.baseline)} ${row.unit}`, short(row.ratio)]
      print(columns(row.case, ...figures, interval, verdict(row)))
    },
    end(rows) {
      const missed = rows.filter((row) => !row.ok).map((row) => row.case)
      print(missed.length === 0 ? `all ${rows.length} within their goals` : `goal missed: ${missed.join(', ')}`)
    },
  }
}

/** What `--list` prints of a case. */
export function describeCase({ name, summary, better, goal }: BenchCase): string {
  const bound = goal === null ? '' : ` (${better === 'lower' ? 'at most' : 'at least'} ${short(goal)})`
  return `  ${name}${bound}: ${summary}`
}

/** '<= 0.7    ok' */
function verdict({ goal, better, ok }: Row): string {
  if (goal === null) return 'none'
  return `${`${better === 'lower' ? '<=' : '>='} ${short(goal)}`.padEnd(10)}${ok ? 'ok' : 'MISSED'}`
}

/** Three digits, and all of those before the point. */
function short(x: number): string {
  return Math.abs(x) >= 1000 ? x.toFixed(0) : String(Number(x.toPrecision(3)))
}
