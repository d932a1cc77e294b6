// The tokens of a text and a place among them: what the three parts of the parser share.

import type { Name } from './ast.ts'
import { tokenize } from './lexer.ts'
import type { Source, Span } from './source.ts'
import type { Token } from './tokens.ts'
import { WgslError } from './wgsl-error.ts'

// Deeper nesting than this is refused by name instead of overflowing the stack; devices refuse less.
const NESTING_MAX = 250

export class TokenStream {
  readonly source: Source
  private readonly tokens: readonly Token[]
  private at = 0
  private nesting = 0

  constructor(source: Source) {
    this.source = source
    this.tokens = tokenize(source)
  }

  /** The next token. */
  get token(): Token {
    return this.tokens[this.at]
  }

  /** The one after it. */
  get following(): Token {
    return this.tokens[Math.min(this.at + 1, this.tokens.length - 1)]
  }

  /** Where the last taken token ends. */
  get lastEnd(): number {
    return this.at === 0 ? 0 : this.tokens[this.at - 1].end
  }

  /** Whether the next token is this sign or keyword. */
  is(text: string): boolean {
    const { kind, text: found } = this.token
    return found === text && (kind === 'sign' || kind === 'keyword')
  }

  isKind(kind: Token['kind']): boolean {
    return this.token.kind === kind
  }

  take(): Token {
    const { token } = this
    if (token.kind !== 'end') this.at++
    return token
  }

  /** Takes this sign or keyword if it is next. */
  accept(text: string): boolean {
    const found = this.is(text)
    if (found) this.take()
    return found
  }

  expect(text: string, where: string): Token {
    if (!this.is(text)) throw this.unexpected(`"${text}"`, where)
    return this.take()
  }

  expectKind(kind: Token['kind'], wanted: string, where: string): Token {
    if (!this.isKind(kind)) throw this.unexpected(wanted, where)
    return this.take()
  }

  /** A name that is declared here. */
  name(where: string): Name {
    const { text, start, end } = this.expectKind('ident', 'a name', where)
    if (text === '_') throw this.error('"_" is no name', { start, end })
    return { text, start, end }
  }

  /** Items with commas between them up to `close`, which is taken too; a comma may follow the last. */
  list<T>(close: string, where: string, item: () => T): T[] {
    const items: T[] = []
    while (!this.accept(close)) {
      items.push(item())
      if (!this.accept(',')) {
        this.expect(close, where)
        break
      }
    }
    return items
  }

  /** Parses something that may contain itself. */
  nested<T>(parse: () => T): T {
    if (++this.nesting > NESTING_MAX) throw this.error(`nested more than ${NESTING_MAX} deep`, this.token)
    const result = parse()
    this.nesting--
    return result
  }

  unexpected(wanted: string, where: string): WgslError {
    const { kind, text } = this.token
    return this.error(`expected ${wanted} ${where}, found ${kind === 'end' ? 'the end of the text' : `"${text}"`}`)
  }

  error(reason: string, span: Span = this.token): WgslError {
    return new WgslError('syntax', reason, this.source, span)
  }
}
