// How the main job is laid out on a page: headings, and facts with a label before them.

import { COLUMNS_MAX, type Terminal, wrap } from '../cli/terminal.ts'

/** Where facts begin. */
export const FACT_INDENT = 14

export function heading(out: Terminal, text: string): void {
  out.line()
  out.line(`  ${out.paint('boldCyan', text)}`)
}

/** A line with a label, which is '' below another line of the same. */
export function fact(out: Terminal, label: string, text: string): void {
  out.line(`  ${out.paint('dim', label.padEnd(FACT_INDENT - 2))}${text}`)
}

/** The same with a text that may take several lines. */
export function factText(out: Terminal, label: string, text: string): void {
  wrap(text, COLUMNS_MAX - FACT_INDENT).forEach((line, i) => {
    fact(out, i === 0 ? label : '', line)
  })
}

/** A whole number with its thousands apart. */
export function count(value: number): string {
  return value.toLocaleString('en-US')
}
