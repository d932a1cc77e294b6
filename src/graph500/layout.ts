// How the main job is laid out on a page: headings, and facts with a label before them.

import { type Terminal, wrap } from '../cli/terminal.ts'

/** Where facts begin. */
export const FACT_INDENT = 14

export function heading(out: Terminal, text: string): void {
  out.line()
  out.line(`  ${out.paint('boldCyan', text)}`)
}

/** A text with a label, which is '' below another line of the same. It takes as many lines as the terminal is narrow. */
export function fact(out: Terminal, label: string, text: string): void {
  wrap(text, out.columns - FACT_INDENT).forEach((line, i) => {
    factLine(out, i === 0 ? label : '', line)
  })
}

/** A line that is printed as it is, with its spaces. */
export function factLine(out: Terminal, label: string, line: string): void {
  out.line(`  ${out.paint('dim', label.padEnd(FACT_INDENT - 2))}${line}`)
}

/** A whole number with its thousands apart. */
export function count(value: number): string {
  return value.toLocaleString('en-US')
}
