// From text to syntax tree: the whole grammar of WGSL. Start here; statements and expressions have files of their own.

import type {
  Directive,
  FunctionDeclaration,
  GlobalDeclaration,
  Ident,
  Module,
  Parameter,
  StructDeclaration,
  StructMember,
} from './ast.ts'
import { parseExpression, parseIdent } from './parse-expression.ts'
import { parseAttributes, parseBlock, parseVariable, startWith } from './parse-statement.ts'
import { Source } from './source.ts'
import { TokenStream } from './token-stream.ts'

/**
 * Parses a WGSL module. Says nothing about names and types yet: see analyse().
 *
 * Throws a WgslError of kind `syntax` at the first place where the text is no WGSL.
 *
 *     const module = parseWgsl('fn twice(x: u32) -> u32 { return 2u * x; }', { name: 'twice' })
 */
export function parseWgsl(text: string, options: { name?: string } = {}): Module {
  const t = new TokenStream(new Source(text, options.name))
  const directives: Directive[] = []
  while (t.is('enable') || t.is('requires') || t.is('diagnostic') || t.is(';')) {
    if (t.is(';')) t.take()
    else directives.push(parseDirective(t))
  }
  const declarations: GlobalDeclaration[] = []
  while (!t.isKind('end')) {
    if (!t.accept(';')) declarations.push(parseDeclaration(t))
  }
  return { source: t.source, directives, declarations }
}

/** Parses a type that stands alone, such as `array<vec4<f32>>`. Throws a WgslError. */
export function parseType(text: string): { source: Source; type: Ident } {
  const t = new TokenStream(new Source(text, 'type'))
  const type = parseIdent(t, 'as a type')
  if (!t.isKind('end')) throw t.unexpected('the end', 'after a type')
  return { source: t.source, type }
}

function parseDirective(t: TokenStream): Directive {
  const { start, text } = t.take()
  const kind = text as Directive['kind']
  const names: string[] = []
  if (kind === 'diagnostic') {
    t.expect('(', 'after "diagnostic"')
    names.push(t.expectKind('ident', 'a severity', 'in a diagnostic').text)
    t.expect(',', 'after a severity')
    let rule = t.expectKind('ident', 'a rule', 'in a diagnostic').text
    if (t.accept('.')) rule += `.${t.expectKind('ident', 'a rule', 'after "."').text}`
    names.push(rule)
    t.accept(',')
    t.expect(')', 'after a diagnostic')
  } else {
    do {
      if (names.length > 0 && t.is(';')) break
      names.push(t.expectKind('ident', 'an extension', `after "${kind}"`).text)
    } while (t.accept(','))
  }
  t.expect(';', 'after a directive')
  return { kind, names, start, end: t.lastEnd }
}

function parseDeclaration(t: TokenStream): GlobalDeclaration {
  const attributes = parseAttributes(t)
  const { start } = t.token
  if (t.is('fn')) return parseFunction(t, attributes)
  if (t.is('var') || t.is('const') || t.is('override')) {
    const variable = parseVariable(t, attributes)
    if (variable.kind === 'const' && variable.init === null) throw t.unexpected('"="', 'after a const')
    t.expect(';', 'after a declaration')
    return { ...variable, end: t.lastEnd }
  }
  if (attributes.length > 0) throw t.unexpected('"fn", "var", "const" or "override"', 'after attributes')
  if (t.is('struct')) return parseStruct(t)
  if (t.accept('alias')) {
    const name = t.name('after "alias"')
    t.expect('=', 'after the name of an alias')
    const type = parseIdent(t, 'as a type')
    t.expect(';', 'after an alias')
    return { kind: 'alias', name, type, start, end: t.lastEnd }
  }
  if (t.accept('const_assert')) {
    const condition = parseExpression(t)
    t.expect(';', 'after const_assert')
    return { kind: 'const_assert', condition, start, end: t.lastEnd }
  }
  throw t.unexpected('a declaration', 'in a module')
}

function parseFunction(t: TokenStream, attributes: FunctionDeclaration['attributes']): FunctionDeclaration {
  const start = startWith(attributes, t.take().start)
  const name = t.name('after "fn"')
  t.expect('(', 'after the name of a function')
  const params = t.list(')', 'after the parameters', () => parseParameter(t))
  let returnType: Ident | null = null
  let returnAttributes: FunctionDeclaration['attributes'] = []
  if (t.accept('->')) {
    returnAttributes = parseAttributes(t)
    returnType = parseIdent(t, 'as a type')
  }
  const body = parseBlock(t)
  return { kind: 'fn', attributes, name, params, returnType, returnAttributes, body, start, end: body.end }
}

function parseParameter(t: TokenStream): Parameter {
  const { start } = t.token
  const attributes = parseAttributes(t)
  const name = t.name('as a parameter')
  t.expect(':', 'after the name of a parameter')
  const type = parseIdent(t, 'as a type')
  return { kind: 'param', attributes, name, type, start, end: t.lastEnd }
}

function parseStruct(t: TokenStream): StructDeclaration {
  const { start } = t.take()
  const name = t.name('after "struct"')
  const open = t.expect('{', 'after the name of a struct')
  const members = t.list('}', 'after the members', () => parseMember(t))
  if (members.length === 0) throw t.error('a struct without members', { start: open.start, end: t.lastEnd })
  return { kind: 'struct', name, members, start, end: t.lastEnd }
}

function parseMember(t: TokenStream): StructMember {
  const { start } = t.token
  const attributes = parseAttributes(t)
  const name = t.name('as a member')
  t.expect(':', 'after the name of a member')
  const type = parseIdent(t, 'as a type')
  return { attributes, name, type, start, end: t.lastEnd }
}
