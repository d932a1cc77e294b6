// From a syntax tree back to text. What a rewriter leaves alone comes out character by character as the user wrote it, comments
// and line breaks included; what it replaces remembers which node it stands for. So a place in the new text, which is what a
// device's compiler complains about, leads back to a place in the user's.

import type { Module } from './ast.ts'
import type { Source, Span } from './source.ts'
import { childrenOf, type Node } from './walk.ts'

/** New text, in pieces. */
export class Fragment {
  readonly pieces: readonly Piece[]

  constructor(pieces: readonly Piece[]) {
    this.pieces = pieces
  }

  get text(): string {
    return this.pieces.map((piece) => piece.text).join('')
  }
}

interface Piece {
  readonly text: string
  /** Where it comes from; null for text that stands for nothing of the user's. */
  readonly origin: Origin | null
}

interface Origin {
  readonly source: Source
  readonly start: number
  /** The text is that of the source from `start` on; otherwise all of it stands for the place `start`. */
  readonly isVerbatim: boolean
}

/**
 * A template of new text that stands for a node: strings and fragments, one after the other.
 *
 *     const f = fragmentFor(module.source, node)
 *     f`hm_load(${index})`
 */
export function fragmentFor(
  source: Source,
  { start }: Span,
): (parts: TemplateStringsArray, ...values: Part[]) => Fragment {
  return (parts, ...values) => build({ source, start, isVerbatim: false }, parts, values)
}

/** New text that stands for nothing of the user's. */
export function generated(parts: TemplateStringsArray, ...values: Part[]): Fragment {
  return build(null, parts, values)
}

export type Part = string | number | Fragment | readonly Fragment[]

function build(origin: Origin | null, parts: TemplateStringsArray, values: readonly Part[]): Fragment {
  const pieces: Piece[] = []
  const add = (part: Part): void => {
    if (part instanceof Fragment) pieces.push(...part.pieces)
    else if (typeof part === 'object') part.forEach(add)
    else if (part !== '') pieces.push({ text: String(part), origin })
  }
  parts.forEach((text, i) => {
    add(text)
    if (i < values.length) add(values[i])
  })
  return new Fragment(pieces)
}

/** Fragments with a separator between them. */
export function join(fragments: readonly Fragment[], separator: string): Fragment {
  const between: Piece = { text: separator, origin: null }
  return new Fragment(fragments.flatMap(({ pieces }, i) => (i === 0 ? pieces : [between, ...pieces])))
}

/** Replaces a node, or returns null to leave it: then the same is asked for the nodes below it. */
export type Replace = (node: Node) => Fragment | null

/** The text of a node after replacement. */
export function emit(source: Source, node: Node, replace: Replace): Fragment {
  const replaced = replace(node)
  return replaced ?? emitSpan(source, node, childrenOf(node), replace)
}

/** The text of a module after replacement. */
export function emitModule({ source, directives, declarations }: Module, replace: Replace): Fragment {
  const whole = { start: directives.at(-1)?.end ?? 0, end: source.text.length }
  return emitSpan(source, whole, declarations, replace)
}

/** The text of a span after replacement of the nodes that it has, in order. */
export function emitSpan(source: Source, whole: Span, parts: readonly Node[], replace: Replace): Fragment {
  const pieces: Piece[] = []
  let at = whole.start
  for (const part of parts) {
    pieces.push(...verbatim(source, { start: at, end: part.start }).pieces, ...emit(source, part, replace).pieces)
    at = part.end
  }
  pieces.push(...verbatim(source, { start: at, end: whole.end }).pieces)
  return new Fragment(pieces)
}

/** A part of a text as it is. */
export function verbatim(source: Source, span: Span): Fragment {
  if (span.end <= span.start) return new Fragment([])
  return new Fragment([{ text: source.slice(span), origin: { source, start: span.start, isVerbatim: true } }])
}

/** A place in the user's text. */
export interface OriginalPlace {
  readonly source: Source
  readonly offset: number
}

/** Leads from places in the text of a fragment to the places that they stand for. */
export class SourceMap {
  // Where each piece begins in the new text.
  private readonly starts: number[] = []
  private readonly pieces: readonly Piece[]

  constructor(fragment: Fragment) {
    this.pieces = fragment.pieces
    let at = 0
    for (const { text } of fragment.pieces) {
      this.starts.push(at)
      at += text.length
    }
  }

  /** Null where the new text stands for nothing of the user's. */
  find(offset: number): OriginalPlace | null {
    let low = 0
    let high = this.starts.length
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if (this.starts[middle] <= offset) low = middle
      else high = middle
    }
    const origin = this.pieces[low]?.origin ?? null
    if (origin === null) return null
    return { source: origin.source, offset: origin.start + (origin.isVerbatim ? offset - this.starts[low] : 0) }
  }
}
