// Statements and attributes (sections 9 and 12 of the specification).

import type {
  Assign,
  Attribute,
  Block,
  Expression,
  If,
  Loop,
  Statement,
  Switch,
  SwitchClause,
  VariableDeclaration,
} from './ast.ts'
import { parseCall, parseExpression, parseIdent, parseTemplate, parseUnary } from './parse-expression.ts'
import type { TokenStream } from './token-stream.ts'

const ASSIGNMENTS: readonly string[] = ['=', '+=', '-=', '*=', '/=', '%=', '&=', '|=', '^=', '<<=', '>>=']

// How many arguments each attribute takes, at least and at most.
const ATTRIBUTES: ReadonlyMap<string, readonly [number, number]> = new Map([
  ['align', [1, 1]],
  ['binding', [1, 1]],
  ['blend_src', [1, 1]],
  ['builtin', [1, 1]],
  ['compute', [0, 0]],
  ['diagnostic', [2, 2]],
  ['fragment', [0, 0]],
  ['group', [1, 1]],
  ['id', [1, 1]],
  ['interpolate', [1, 2]],
  ['invariant', [0, 0]],
  ['location', [1, 1]],
  ['must_use', [0, 0]],
  ['size', [1, 1]],
  ['vertex', [0, 0]],
  ['workgroup_size', [1, 3]],
])

export function parseAttributes(t: TokenStream): Attribute[] {
  const attributes: Attribute[] = []
  while (t.is('@')) {
    const { start } = t.take()
    // `diagnostic` is a keyword and an attribute.
    const name = t.take()
    const arity = name.kind === 'ident' || name.kind === 'keyword' ? ATTRIBUTES.get(name.text) : undefined
    if (arity === undefined) throw t.error(`unknown attribute "${name.text}"`, name)
    const args = t.accept('(') ? t.list(')', 'after the arguments of an attribute', () => parseExpression(t)) : []
    if (args.length < arity[0] || args.length > arity[1]) {
      const wanted = arity[0] === arity[1] ? `${arity[0]}` : `${arity[0]} to ${arity[1]}`
      throw t.error(`@${name.text} has ${args.length} arguments, wanted ${wanted}`, { start, end: t.lastEnd })
    }
    attributes.push({ name: name.text, args, start, end: t.lastEnd })
  }
  return attributes
}

/** Where something with attributes begins. */
export function startWith(attributes: readonly Attribute[], start: number): number {
  return attributes[0]?.start ?? start
}

export function parseBlock(t: TokenStream, attributes: readonly Attribute[] = parseAttributes(t)): Block {
  const open = t.expect('{', 'before a block')
  const statements = parseStatements(t)
  const { end } = t.expect('}', 'after the statements of a block')
  return { kind: 'block', attributes, statements, start: startWith(attributes, open.start), end }
}

function parseStatements(t: TokenStream): Statement[] {
  const statements: Statement[] = []
  while (!t.is('}') && !t.is('continuing') && !t.isKind('end')) {
    // `break if` ends a continuing block and is no statement elsewhere.
    if (t.is('break') && t.following.text === 'if') break
    statements.push(t.nested(() => parseStatement(t)))
  }
  return statements
}

function parseStatement(t: TokenStream): Statement {
  const attributes = parseAttributes(t)
  const { start, text } = t.token
  if (t.isKind('keyword') || t.is('{')) {
    switch (text) {
      case '{':
        return parseBlock(t, attributes)
      case 'if':
        return parseIf(t, attributes)
      case 'switch':
        return parseSwitch(t, attributes)
      case 'loop':
        return parseLoop(t, attributes)
      case 'for':
        return parseFor(t, attributes)
      case 'while': {
        t.take()
        const condition = parseExpression(t)
        const body = parseBlock(t)
        return { kind: 'while', attributes, condition, body, start: startWith(attributes, start), end: body.end }
      }
    }
  }
  if (attributes.length > 0) throw t.unexpected('a block or a control statement', 'after attributes')
  if (t.is(';')) return { kind: 'empty', start, end: t.take().end }
  const statement = parseSimple(t) ?? parseJump(t)
  const { end } = t.expect(';', 'after a statement')
  return { ...statement, end }
}

function parseJump(t: TokenStream): Statement {
  const { start, text } = t.token
  if (t.is('break') || t.is('continue') || t.is('discard')) {
    t.take()
    return { kind: text as 'break', start, end: t.lastEnd }
  }
  if (t.accept('return')) {
    const value = t.is(';') ? null : parseExpression(t)
    return { kind: 'return', value, start, end: t.lastEnd }
  }
  if (t.accept('const_assert')) {
    return { kind: 'const_assert', condition: parseExpression(t), start, end: t.lastEnd }
  }
  throw t.unexpected('a statement', 'in a block')
}

/** What may stand in the header of a `for`, and be a statement with a semicolon behind it. Null if it is none of these. */
function parseSimple(t: TokenStream): Statement | null {
  const { start } = t.token
  if (t.is('var') || t.is('let') || t.is('const')) {
    const declaration = parseVariable(t, [])
    if (declaration.init === null && declaration.kind !== 'var')
      throw t.unexpected('"="', `after a ${declaration.kind}`)
    return { kind: 'declaration', declaration, start, end: t.lastEnd }
  }
  return parseUpdate(t)
}

/** Assignment, increment or call. */
function parseUpdate(t: TokenStream): Statement | null {
  const { start, text, kind } = t.token
  if (kind === 'ident' && text === '_') {
    t.take()
    t.expect('=', 'after "_"')
    return { kind: 'assign', target: null, op: '=', value: parseExpression(t), start, end: t.lastEnd }
  }
  if (kind === 'ident') {
    const isCall = t.following.text === '(' || t.following.kind === 'template-open'
    if (isCall) {
      const call = parseCall(t, parseIdent(t, 'in a call'))
      return { kind: 'call statement', call, start, end: t.lastEnd }
    }
  } else if (!t.is('(') && !t.is('*') && !t.is('&')) return null
  const target = parseUnary(t)
  if (!isTarget(target)) throw t.error('this cannot be assigned to', target)
  if (t.is('++') || t.is('--')) {
    const op = t.take().text as '++' | '--'
    return { kind: 'step', target, op, start, end: t.lastEnd }
  }
  if (!t.isKind('sign') || !ASSIGNMENTS.includes(t.token.text)) throw t.unexpected('an assignment', 'after its target')
  const op = t.take().text
  const value = parseExpression(t)
  return { kind: 'assign', target, op, value, start, end: t.lastEnd } satisfies Assign
}

/** Whether an expression has the form of what can be assigned to. */
function isTarget(expression: Expression): boolean {
  switch (expression.kind) {
    case 'ident':
      return expression.template.length === 0
    case 'paren':
      return isTarget(expression.inner)
    case 'index':
    case 'member':
      return isTarget(expression.base)
    case 'unary':
      return (expression.op === '*' || expression.op === '&') && isTarget(expression.operand)
    default:
      return false
  }
}

/** `var`, `let`, `const` and `override`, without the semicolon. */
export function parseVariable(t: TokenStream, attributes: readonly Attribute[]): VariableDeclaration {
  const first = t.take()
  const start = startWith(attributes, first.start)
  const kind = first.text as VariableDeclaration['kind']
  const template = kind === 'var' && t.isKind('template-open') ? parseTemplate(t) : []
  const name = t.name(`after "${kind}"`)
  const type = t.accept(':') ? parseIdent(t, 'as a type') : null
  const init = t.accept('=') ? parseExpression(t) : null
  if (type === null && init === null) throw t.unexpected('a type or an initial value', 'in a declaration')
  return { kind, attributes, name, template, type, init, start, end: t.lastEnd }
}

function parseIf(t: TokenStream, attributes: readonly Attribute[]): If {
  const start = startWith(attributes, t.expect('if', 'here').start)
  const condition = parseExpression(t)
  const then = parseBlock(t)
  let otherwise: If | Block | null = null
  if (t.accept('else')) otherwise = t.is('if') ? t.nested(() => parseIf(t, [])) : parseBlock(t)
  return { kind: 'if', attributes, condition, then, else: otherwise, start, end: t.lastEnd }
}

function parseSwitch(t: TokenStream, attributes: readonly Attribute[]): Switch {
  const start = startWith(attributes, t.take().start)
  const selector = parseExpression(t)
  const bodyAttributes = parseAttributes(t)
  t.expect('{', 'after a switch')
  const clauses: SwitchClause[] = []
  while (!t.is('}')) clauses.push(parseClause(t))
  t.take()
  if (clauses.length === 0) throw t.error('a switch without clauses', { start, end: t.lastEnd })
  return { kind: 'switch', attributes, bodyAttributes, selector, clauses, start, end: t.lastEnd }
}

function parseClause(t: TokenStream): SwitchClause {
  const { start } = t.token
  const selectors: (Expression | 'default')[] = []
  if (t.accept('default')) selectors.push('default')
  else {
    t.expect('case', 'in a switch')
    do {
      if (selectors.length > 0 && (t.is(':') || t.is('{') || t.is('@'))) break
      selectors.push(t.accept('default') ? 'default' : parseExpression(t))
    } while (t.accept(','))
  }
  t.accept(':')
  const body = parseBlock(t)
  return { selectors, body, start, end: body.end }
}

function parseLoop(t: TokenStream, attributes: readonly Attribute[]): Loop {
  const start = startWith(attributes, t.take().start)
  const bodyAttributes = parseAttributes(t)
  const open = t.expect('{', 'after "loop"')
  const statements = parseStatements(t)
  const bodyEnd = t.lastEnd
  const continuing = t.accept('continuing') ? parseContinuing(t) : null
  const { end } = t.expect('}', 'after the statements of a loop')
  const body: Block = {
    kind: 'block',
    attributes: bodyAttributes,
    statements,
    start: startWith(bodyAttributes, open.start),
    end: continuing === null ? end : bodyEnd,
  }
  return { kind: 'loop', attributes, body, continuing, start, end }
}

function parseContinuing(t: TokenStream): Block {
  const attributes = parseAttributes(t)
  const start = startWith(attributes, t.expect('{', 'after "continuing"').start)
  const statements = parseStatements(t)
  if (t.is('break')) {
    const jump = t.take()
    t.expect('if', 'after "break"')
    const condition = parseExpression(t)
    const { end } = t.expect(';', 'after "break if"')
    statements.push({ kind: 'break if', condition, start: jump.start, end })
  }
  const { end } = t.expect('}', 'after a continuing block')
  return { kind: 'block', attributes, statements, start, end }
}

function parseFor(t: TokenStream, attributes: readonly Attribute[]): Statement {
  const start = startWith(attributes, t.take().start)
  t.expect('(', 'after "for"')
  const init = t.is(';') ? null : (parseSimple(t) ?? fail(t, 'in the header of a for'))
  t.expect(';', 'after the first part of a for')
  const condition = t.is(';') ? null : parseExpression(t)
  t.expect(';', 'after the condition of a for')
  const update = t.is(')') ? null : (parseUpdate(t) ?? fail(t, 'in the header of a for'))
  t.expect(')', 'after the header of a for')
  const body = parseBlock(t)
  return { kind: 'for', attributes, init, condition, update, body, start, end: body.end }
}

function fail(t: TokenStream, where: string): never {
  throw t.unexpected('an assignment, an increment or a call', where)
}
