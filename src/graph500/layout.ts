// How the main job is laid out on a page: headings, and facts with a label before them.

import type { Terminal } from '../cli/terminal.ts'

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

/** A whole number with its thousands apart. */
export function count(value: number): string {
  return value.toLocaleString('en-US')
}
