// The TypeScript blocks of a page of the documentation, as programs.

import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '../..')

/** A block with the number of its first line. */
export interface Block {
  readonly line: number
  readonly code: string
}

export function blocksOf(page: string): Block[] {
  const text = readFileSync(join(ROOT, page), 'utf8')
  return [...text.matchAll(/^```ts\n(.*?)^```/gms)].map((match) => ({
    line: text.slice(0, match.index).split('\n').length + 1,
    code: match[1],
  }))
}

/** What stands behind each `console.log` as a comment; `...` there stands for anything. */
export function linesToPrint({ code }: Block): string[] {
  return [...code.matchAll(/^\s*console\.log\(.*\) *\/\/ (.*)$/gm)].map(([, text]) => text)
}
