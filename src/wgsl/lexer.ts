// From text to tokens. Which `<` opens a template list and which is less-than cannot be told by the grammar; the specification
// has an algorithm for it (section 3.9, "Template lists"), which findTemplateLists follows, on tokens instead of characters.

import type { Source } from './source.ts'
import { BLANK, IDENT, KEYWORDS, LINE_COMMENT, NUMBER, RESERVED_WORDS, SIGN, type Token } from './tokens.ts'
import { WgslError } from './wgsl-error.ts'

/** All tokens of a text; the last one is of kind `end`. Throws a WgslError where the text is no token. */
export function tokenize(source: Source): Token[] {
  const raw = readTokens(source)
  return joinAngles(raw, findTemplateLists(raw))
}

function readTokens(source: Source): Token[] {
  const { text } = source
  const tokens: Token[] = []
  let at = 0
  const match = (pattern: RegExp): string | null => {
    pattern.lastIndex = at
    return pattern.exec(text)?.[0] ?? null
  }
  const add = (kind: Token['kind'], word: string): void => {
    tokens.push({ kind, text: word, start: at, end: at + word.length })
    at += word.length
  }
  while (at < text.length) {
    const blank = match(BLANK) ?? match(LINE_COMMENT)
    if (blank !== null) at += blank.length
    else if (text.startsWith('/*', at)) at = endOfBlockComment(source, at)
    else {
      const word = match(IDENT)
      const number = word === null ? match(NUMBER) : null
      if (word !== null) {
        checkWord(source, word, at)
        add(KEYWORDS.has(word) ? 'keyword' : 'ident', word)
      } else if (number !== null) {
        add('number', number)
        if (match(IDENT) !== null || match(NUMBER) !== null) {
          const { start } = tokens[tokens.length - 1]
          throw new WgslError('syntax', 'malformed number', source, { start, end: at + 1 })
        }
      } else {
        const sign = match(SIGN)
        if (sign === null) throw new WgslError('syntax', 'invalid character', source, { start: at, end: at + 1 })
        add('sign', sign)
      }
    }
  }
  tokens.push({ kind: 'end', text: '', start: at, end: at })
  return tokens
}

/** The offset behind a block comment; they nest. */
function endOfBlockComment(source: Source, start: number): number {
  const marks = /\/\*|\*\//g
  marks.lastIndex = start
  let depth = 0
  for (let mark = marks.exec(source.text); mark !== null; mark = marks.exec(source.text)) {
    depth += mark[0] === '/*' ? 1 : -1
    if (depth === 0) return mark.index + 2
  }
  throw new WgslError('syntax', 'unterminated block comment', source, { start, end: start + 2 })
}

function checkWord(source: Source, word: string, start: number): void {
  const span = { start, end: start + word.length }
  if (word.startsWith('__')) throw new WgslError('syntax', 'names must not begin with "__"', source, span)
  if (RESERVED_WORDS.has(word)) throw new WgslError('syntax', `"${word}" is a reserved word`, source, span)
}

const isSign = (token: Token | undefined, text: string): boolean => token?.kind === 'sign' && token.text === text
const isNextTo = (left: Token, right: Token): boolean => left.end === right.start

/** The tokens `<` and `>` that delimit template lists. */
function findTemplateLists(tokens: readonly Token[]): Map<Token, 'template-open' | 'template-close'> {
  const found = new Map<Token, 'template-open' | 'template-close'>()
  let candidates: { open: Token; depth: number }[] = []
  let depth = 0
  const dropFrom = (least: number): void => {
    while (candidates.length > 0 && candidates[candidates.length - 1].depth >= least) candidates.pop()
  }
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]
    const next = tokens[i + 1]
    const mayOpen = token.kind === 'ident' || token.text === 'var'
    if (mayOpen && isSign(next, '<')) {
      const after = tokens[i + 2]
      i++
      // `a << b` and `a <= b` are no lists.
      const isOperator = isNextTo(next, after) && (isSign(after, '<') || after.text.startsWith('='))
      if (!isOperator) candidates.push({ open: next, depth })
      else i++
    } else if (token.kind === 'sign') {
      switch (token.text) {
        case '>': {
          const last = candidates.at(-1)
          if (last !== undefined && last.depth === depth) {
            found.set(last.open, 'template-open')
            found.set(token, 'template-close')
            candidates.pop()
          } else if (next.text === '=' && isNextTo(token, next)) i++
          break
        }
        case '(':
        case '[':
          depth++
          break
        case ')':
        case ']':
          dropFrom(depth)
          depth = Math.max(0, depth - 1)
          break
        case '=':
        case ';':
        case '{':
        case ':':
          // Assignments, statements and blocks are no part of an expression, so no list spans them.
          depth = 0
          candidates = []
          break
        case '&&':
        case '||':
          dropFrom(depth)
          break
      }
    }
  }
  return found
}

/** Joins the `<` and `>` that delimit no list with what follows them: `<<`, `<=`, `<<=`, and so on. */
function joinAngles(tokens: readonly Token[], lists: ReadonlyMap<Token, Token['kind']>): Token[] {
  const joined: Token[] = []
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]
    const kind = lists.get(token)
    if (kind !== undefined) joined.push({ ...token, kind })
    else if (isSign(token, '<') || isSign(token, '>')) {
      let text = token.text
      let last = token
      const follows = (wanted: string): boolean => {
        const next = tokens[i + 1]
        return isSign(next, wanted) && isNextTo(last, next) && !lists.has(next)
      }
      for (const wanted of [token.text, '=']) {
        if (!follows(wanted)) continue
        last = tokens[++i]
        text += last.text
      }
      joined.push({ kind: 'sign', text, start: token.start, end: last.end })
    } else joined.push(token)
  }
  return joined
}
