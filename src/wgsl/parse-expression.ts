// Expressions (section 8 of the specification). WGSL has fewer precedences than C and asks for parentheses instead: shifts and
// bit operators take unary expressions only, `&&` and `||` do not mix, comparisons do not chain.

import type { Call, Expression, Ident, Literal, LiteralType, Unary } from './ast.ts'
import type { TokenStream } from './token-stream.ts'
import type { Token } from './tokens.ts'

const MULTIPLY: readonly string[] = ['*', '/', '%']
const ADD: readonly string[] = ['+', '-']
const SHIFT: readonly string[] = ['<<', '>>']
const COMPARE: readonly string[] = ['<', '>', '<=', '>=', '==', '!=']
const BITS: readonly string[] = ['&', '|', '^']
const LOGIC: readonly string[] = ['&&', '||']
const UNARY: readonly string[] = ['-', '!', '~', '*', '&']

export function parseExpression(t: TokenStream): Expression {
  return t.nested(() => {
    const first = parseUnary(t)
    const bits = nextOf(t, BITS)
    if (bits !== null) {
      let left = first
      while (t.accept(bits)) left = binary(bits, left, parseUnary(t))
      refuse(t, [...BITS, ...LOGIC, ...COMPARE, ...SHIFT, ...ADD, ...MULTIPLY], bits)
      return left
    }
    let left = parseComparison(t, first)
    const logic = nextOf(t, LOGIC)
    if (logic !== null) {
      while (t.accept(logic)) left = binary(logic, left, parseComparison(t, parseUnary(t)))
      refuse(t, [...LOGIC, ...BITS], logic)
    }
    return left
  })
}

function parseComparison(t: TokenStream, first: Expression): Expression {
  const left = parseShift(t, first)
  const op = nextOf(t, COMPARE)
  if (op === null) return left
  t.take()
  const whole = binary(op, left, parseShift(t, parseUnary(t)))
  refuse(t, COMPARE, op)
  return whole
}

function parseShift(t: TokenStream, first: Expression): Expression {
  const op = nextOf(t, SHIFT)
  if (op !== null) {
    t.take()
    const whole = binary(op, first, parseUnary(t))
    refuse(t, [...SHIFT, ...ADD, ...MULTIPLY], op)
    return whole
  }
  let left = parseProduct(t, first)
  for (let sum = nextOf(t, ADD); sum !== null; sum = nextOf(t, ADD)) {
    t.take()
    left = binary(sum, left, parseProduct(t, parseUnary(t)))
  }
  refuse(t, SHIFT, 'arithmetic')
  return left
}

function parseProduct(t: TokenStream, first: Expression): Expression {
  let left = first
  for (let op = nextOf(t, MULTIPLY); op !== null; op = nextOf(t, MULTIPLY)) {
    t.take()
    left = binary(op, left, parseUnary(t))
  }
  return left
}

/** Also what stands left of an assignment: the grammar of both is the same up to what statements check. */
export function parseUnary(t: TokenStream): Expression {
  const op = nextOf(t, UNARY)
  if (op === null) return parseSingular(t)
  const { start } = t.take()
  const operand = t.nested(() => parseUnary(t))
  return { kind: 'unary', op: op as Unary['op'], operand, start, end: operand.end }
}

function parseSingular(t: TokenStream): Expression {
  let base = parsePrimary(t)
  for (;;) {
    if (t.accept('[')) {
      const index = parseExpression(t)
      const { end } = t.expect(']', 'after an index')
      base = { kind: 'index', base, index, start: base.start, end }
    } else if (t.accept('.')) {
      const { text, start, end } = t.expectKind('ident', 'a member or swizzle', 'after "."')
      base = { kind: 'member', base, name: { text, start, end }, start: base.start, end }
    } else return base
  }
}

function parsePrimary(t: TokenStream): Expression {
  const { token } = t
  if (t.is('(')) {
    t.take()
    const inner = parseExpression(t)
    const { end } = t.expect(')', 'after an expression')
    return { kind: 'paren', inner, start: token.start, end }
  }
  if (token.kind === 'number') return numberLiteral(t, t.take())
  if (t.is('true') || t.is('false')) {
    t.take()
    const value = token.text === 'true' ? 1 : 0
    return { kind: 'literal', type: 'bool', value, start: token.start, end: token.end }
  }
  const callee = parseIdent(t, 'in an expression')
  return t.is('(') ? parseCall(t, callee) : callee
}

export function parseCall(t: TokenStream, callee: Ident): Call {
  t.expect('(', 'in a call')
  const args = t.list(')', 'after the arguments', () => parseExpression(t))
  return { kind: 'call', callee, args, start: callee.start, end: t.lastEnd }
}

/** A name that is used, with template arguments if it has any: also every type. */
export function parseIdent(t: TokenStream, where: string): Ident {
  const { text, start } = t.expectKind('ident', 'a name or a value', where)
  if (text === '_') throw t.error('"_" is no value', { start, end: start + 1 })
  const template = t.isKind('template-open') ? parseTemplate(t) : []
  return { kind: 'ident', name: text, template, start, end: t.lastEnd }
}

/** `<a, b>`, with at least one argument. */
export function parseTemplate(t: TokenStream): Expression[] {
  t.expectKind('template-open', '"<"', 'before template arguments')
  const args: Expression[] = []
  do {
    if (args.length > 0 && t.isKind('template-close')) break
    args.push(parseExpression(t))
  } while (t.accept(','))
  t.expectKind('template-close', '">"', 'after template arguments')
  return args
}

function nextOf(t: TokenStream, signs: readonly string[]): string | null {
  return t.isKind('sign') && signs.includes(t.token.text) ? t.token.text : null
}

function refuse(t: TokenStream, signs: readonly string[], left: string): void {
  const op = nextOf(t, signs)
  if (op !== null) throw t.error(`"${left}" and "${op}" do not mix without parentheses`)
}

function binary(op: string, left: Expression, right: Expression): Expression {
  return { kind: 'binary', op, left, right, start: left.start, end: right.end }
}

const SUFFIX_TYPES: Readonly<Record<string, LiteralType>> = { i: 'i32', u: 'u32', f: 'f32', h: 'f16' }
// What a suffixed integer may be at most.
const INT_MAX: Readonly<Partial<Record<LiteralType, number>>> = {
  i32: 0x7fffffff,
  u32: 0xffffffff,
  'abstract-int': 2 ** 63,
}
const FLOAT_MAX: Readonly<Partial<Record<LiteralType, number>>> = { f32: 3.4028234663852886e38, f16: 65504 }

function numberLiteral(t: TokenStream, token: Token): Literal {
  const { text, start, end } = token
  const isHex = /^0[xX]/.test(text)
  const isHexFloat = isHex && /[.pP]/.test(text)
  const suffix = isHex && !isHexFloat ? /[iu]$/.exec(text)?.[0] : /[iufh]$/.exec(text)?.[0]
  const digits = suffix === undefined ? text : text.slice(0, -1)
  const isFloat = isHex ? isHexFloat : /[.eE]/.test(digits)
  const type: LiteralType = suffix !== undefined ? SUFFIX_TYPES[suffix] : isFloat ? 'abstract-float' : 'abstract-int'
  const value = isHexFloat ? hexFloat(digits) : Number(digits)
  const limit = isFloat || type === 'f32' || type === 'f16' ? FLOAT_MAX[type] : INT_MAX[type]
  if (!Number.isFinite(value) || (limit !== undefined && value > limit)) {
    throw t.error(`${text} does not fit ${type}`, token)
  }
  return { kind: 'literal', type, value, start, end }
}

function hexFloat(digits: string): number {
  const [, whole, fraction, exponent] = /^0[xX]([0-9a-fA-F]*)\.?([0-9a-fA-F]*)(?:[pP]([+-]?[0-9]+))?$/.exec(digits)!
  const mantissa = Number.parseInt(`${whole}${fraction}`, 16)
  return mantissa * 2 ** (Number(exponent ?? 0) - 4 * fraction.length)
}
