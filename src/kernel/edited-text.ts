// The code of a kernel with small changes inside of its lines, and the way back: a message of a compiler about the changed text
// becomes one about the user's own. No change has a line break, so lines keep their numbers and only columns have to be found.

import type { Position, Source, Span } from '../wgsl/source.ts'

export interface Edit extends Span {
  /** What stands in the place of the span. No line breaks. */
  readonly text: string
}

/** Where a line of the changed text and the line of the original have their columns in common. Plain data. */
export interface ColumnShift {
  readonly line: number
  /** Of the changed text, from 1: columns from here on ... */
  readonly column: number
  /** ... have this column in the original. */
  readonly original: number
}

export interface EditedText {
  readonly text: string
  readonly shifts: readonly ColumnShift[]
}

/** Applies edits that do not overlap. Of several at one place, those that came first stand first. */
export function editText(source: Source, edits: readonly Edit[]): EditedText {
  const sorted = edits.map((edit, i) => ({ ...edit, i })).sort((a, b) => a.start - b.start || a.i - b.i)
  const shifts: ColumnShift[] = []
  let text = ''
  let from = 0
  let line = 0
  let moved = 0
  for (const { start, end, text: inserted } of sorted) {
    text += source.text.slice(from, start) + inserted
    from = end
    const position = source.position(start)
    if (position.line !== line) moved = 0
    line = position.line
    const column = position.column + moved
    // A message inside of what was inserted is about the place at which it was.
    if (inserted.length > 0) shifts.push({ line, column, original: position.column })
    shifts.push({ line, column: column + inserted.length, original: position.column + end - start })
    moved += inserted.length - (end - start)
  }
  return { text: text + source.text.slice(from), shifts }
}

/** The place in the original of a place in the changed text. */
export function originalPosition(shifts: readonly ColumnShift[], { line, column }: Position): Position {
  const ofLine = shifts.filter((shift) => shift.line === line)
  let last: ColumnShift | undefined
  let next: ColumnShift | undefined
  for (const shift of ofLine) {
    if (shift.column <= column) last = shift
    else next ??= shift
  }
  if (last === undefined) return { line, column }
  const original = last.original + column - last.column
  return { line, column: next === undefined ? original : Math.min(original, next.original) }
}

/** An edit that leaves nothing but spaces, so that nothing behind it moves. Spans may go over several lines. */
export function blank(source: Source, { start, end }: Span): Edit[] {
  const edits: Edit[] = []
  for (const match of source.text.slice(start, end).matchAll(/[^\s]+/g)) {
    const at = start + match.index
    edits.push({ start: at, end: at + match[0].length, text: ' '.repeat(match[0].length) })
  }
  return edits
}
