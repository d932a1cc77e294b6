// `hetmem doctor`: what this machine offers, why not more, and what to do about it. It changes nothing, and it ends with
// status 0 whatever it finds: a machine without live memory is no failure, hetmem runs there too.

import { type Facts, gatherFacts } from './doctor-facts.ts'
import { diagnose, type Finding, type Status } from './doctor-findings.ts'
import type { Style, Terminal } from './terminal.ts'

const STYLES: Readonly<Record<Status, Style>> = { ok: 'bold', limited: 'cyan', missing: 'red', note: 'dim' }
const WIDTH = Math.max(...Object.keys(STYLES).map((status) => status.length))
const INDENT = 2 + WIDTH + 2

/** Looks at the machine and prints what it found; `asJson` prints one object instead. */
export async function doctor(out: Terminal, asJson: boolean): Promise<void> {
  const facts = await gatherFacts()
  if (asJson) out.line(JSON.stringify(report(facts), null, 2))
  else printFindings(out, diagnose(facts))
}

/** How hetmem runs here. */
export type HeapMode = 'live' | 'live-user' | 'explicit'

export function heapMode({ live }: Facts): HeapMode {
  return live.mode === 'unavailable' ? 'explicit' : live.mode
}

/** What `--json` prints: the mode, the findings, and all facts behind them. */
export function report(facts: Facts): { mode: HeapMode; findings: Finding[]; facts: Facts } {
  return { mode: heapMode(facts), findings: diagnose(facts), facts }
}

export function printFindings(out: Terminal, findings: readonly Finding[]): void {
  out.line()
  for (const { status, title, details, advice } of findings) {
    out.line(`  ${out.paint(STYLES[status], status.padEnd(WIDTH))}  ${title}`)
    for (const detail of details) out.paragraph(detail, INDENT)
    for (const step of advice) out.paragraph(`-> ${step}`, INDENT)
  }
  out.line()
}
