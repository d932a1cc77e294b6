// What is wrong with a WGSL text, and where. The message shows the line and points at the place, as compilers do.

import type { Position, Source, Span } from './source.ts'

export const WGSL_ERROR_KINDS = ['syntax', 'name', 'type', 'constant', 'paging'] as const
/**
 * - syntax    the text is not WGSL
 * - name      a name that means nothing here, or twice something
 * - type      an expression that cannot have a type
 * - constant  a constant expression that cannot be worked out
 * - paging    WGSL that is right but cannot run through a page table
 */
export type WgslErrorKind = (typeof WGSL_ERROR_KINDS)[number]

/**
 * A mistake in a WGSL text.
 *
 *     saxpy:3:9: unresolved name "z"
 *         y[i] += z;
 *                 ^
 */
export class WgslError extends Error {
  override readonly name: string = 'WgslError'
  readonly kind: WgslErrorKind
  /** What is wrong, without the place. */
  readonly reason: string
  /** Name of the text that it is in. */
  readonly sourceName: string
  /** From 1. */
  readonly line: number
  /** From 1, in UTF-16 code units. */
  readonly column: number
  /** The line of the text. */
  readonly sourceLine: string

  constructor(kind: WgslErrorKind, reason: string, source: Source, span: Span) {
    const { line, column } = source.position(span.start)
    const sourceLine = source.line(line)
    const width = Math.max(1, Math.min(span.end - span.start, sourceLine.length - column + 1))
    super(`${source.name}:${line}:${column}: ${reason}\n${pointAt(sourceLine, { line, column }, width)}`)
    this.kind = kind
    this.reason = reason
    this.sourceName = source.name
    this.line = line
    this.column = column
    this.sourceLine = sourceLine
  }
}

/** The line, and a caret below the place. */
export function pointAt(sourceLine: string, { column }: Position, width = 1): string {
  // Tabs stay tabs in front of the caret, so that it stands below its place however wide they are shown.
  const indent = sourceLine.slice(0, column - 1).replace(/[^\t]/g, ' ')
  return `    ${sourceLine}\n    ${indent}${'^'.repeat(width)}`
}
