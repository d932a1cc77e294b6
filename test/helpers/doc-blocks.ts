// The TypeScript blocks of a page of the documentation, as programs.

import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '../..')

/** Where programs are written to: inside of the repository, so that `hetmem` is found as the package itself. */
export const BLOCKS_FOLDER = join(ROOT, '.cache/docs')

/** Its programs are about live memory. */
export const LIVE_PAGE = 'docs/live.md'

/** Pages whose programs run in Node. */
export const PAGES = [
  'README.md',
  'docs/containers.md',
  'docs/first-heap.md',
  'docs/kernels.md',
  LIVE_PAGE,
  'docs/pointers.md',
  'docs/reading-a-report.md',
  'docs/writing-a-driver.md',
]

/** The file of a program, without an ending. */
export function blockPath(page: string, line: number): string {
  return join(BLOCKS_FOLDER, `${page.replaceAll(/\W+/g, '-')}-${line}`)
}

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
