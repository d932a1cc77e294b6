import { describe, expect, it } from 'vitest'
import type { Expression, Statement } from './ast.ts'
import { parseType, parseWgsl } from './parser.ts'
import { Source } from './source.ts'
import { WgslError } from './wgsl-error.ts'

/** An expression as text with all its parentheses. */
function show(e: Expression): string {
  const template = (args: readonly Expression[]): string => (args.length === 0 ? '' : `<${args.map(show).join(', ')}>`)
  switch (e.kind) {
    case 'ident':
      return `${e.name}${template(e.template)}`
    case 'literal':
      return `${e.value}:${e.type}`
    case 'call':
      return `${show(e.callee)}(${e.args.map(show).join(', ')})`
    case 'index':
      return `${show(e.base)}[${show(e.index)}]`
    case 'member':
      return `${show(e.base)}.${e.name.text}`
    case 'unary':
      return `(${e.op}${show(e.operand)})`
    case 'binary':
      return `(${show(e.left)} ${e.op} ${show(e.right)})`
    case 'paren':
      return `[${show(e.inner)}]`
  }
}

function expression(text: string): string {
  const [declaration] = parseWgsl(`const e = ${text};`).declarations
  if (declaration.kind !== 'const') throw new Error('no const')
  return show(declaration.init!)
}

function statements(text: string): readonly Statement[] {
  const [fn] = parseWgsl(`fn f() { ${text} }`).declarations
  if (fn.kind !== 'fn') throw new Error('no function')
  return fn.body.statements
}

function errorOf(text: string): WgslError {
  try {
    parseWgsl(text, { name: 'test' })
  } catch (error) {
    expect(error).toBeInstanceOf(WgslError)
    return error as WgslError
  }
  throw new Error(`no error in ${text}`)
}

describe('parseWgsl() parses expressions', () => {
  const EXPRESSIONS: readonly (readonly [string, string])[] = [
    ['1 + 2 * 3', '(1:abstract-int + (2:abstract-int * 3:abstract-int))'],
    ['a - b - c', '((a - b) - c)'],
    ['-a.b[c](d)'.slice(0, 7), '(-a.b[c])'],
    ['a * -b', '(a * (-b))'],
    ['!a && b', '((!a) && b)'],
    ['a < b', '(a < b)'],
    ['a < b && c > d', '((a < b) && (c > d))'],
    ['a < b + c', '(a < (b + c))'],
    ['(a < b) > c', '([(a < b)] > c)'],
    ['a | b | c', '((a | b) | c)'],
    ['a & ~b', '(a & (~b))'],
    ['a << b', '(a << b)'],
    ['a<b>(c)', 'a<b>(c)'],
    ['vec2<f32>(1f, 2h)', 'vec2<f32>(1:f32, 2:f16)'],
    ['array<vec2<array<u32, 4>>, 3>()', 'array<vec2<array<u32, 4:abstract-int>>, 3:abstract-int>()'],
    ['array<u32, (a < b)>()', 'array<u32, [(a < b)]>()'],
    ['a<b<c>>(d)', 'a<b<c>>(d)'],
    // The specification finds a template list here.
    ['select(a<b, c>d, e)', 'error'],
    ['a[b<c]', 'a[(b < c)]'],
    ['a == b>c', 'error'],
    ['x.y.zw', 'x.y.zw'],
    ['&a[1]', '(&a[1:abstract-int])'],
    ['*p + 1', '((*p) + 1:abstract-int)'],
    ['--a', 'error'],
    ['- -a', '(-(-a))'],
    ['true', '1:bool'],
  ]
  for (const [text, wanted] of EXPRESSIONS) {
    it(text, () => {
      if (wanted === 'error') expect(() => expression(text)).toThrow(WgslError)
      else expect(expression(text)).toBe(wanted)
    })
  }

  it('select(a<b, c>(d)) is a template list, as the specification says', () => {
    expect(expression('select(a<b, c>(d))')).toBe('select(a<b, c>(d))')
  })

  const NUMBERS: readonly (readonly [string, number, string])[] = [
    ['0', 0, 'abstract-int'],
    ['123u', 123, 'u32'],
    ['0x1Fi', 31, 'i32'],
    ['0xffffffffu', 0xffffffff, 'u32'],
    ['1.', 1, 'abstract-float'],
    ['.5f', 0.5, 'f32'],
    ['1e3', 1000, 'abstract-float'],
    ['1.5e-2h', 0.015, 'f16'],
    ['3f', 3, 'f32'],
    ['0x1p4', 16, 'abstract-float'],
    ['0x1.8p1f', 3, 'f32'],
    ['0x.8p0h', 0.5, 'f16'],
  ]
  for (const [text, value, type] of NUMBERS) it(text, () => expect(expression(text)).toBe(`${value}:${type}`))

  it('refuses numbers that do not fit, and malformed ones', () => {
    for (const text of ['4294967296u', '2147483648i', '1e40f', '70000h', '01', '1.5u', '0x', '1u2', '12ab', '1..2']) {
      expect(() => expression(text), text).toThrow(WgslError)
    }
  })

  it('asks for parentheses where WGSL does', () => {
    for (const text of [
      'a & b == c',
      'a == b & c',
      'a && b || c',
      'a << b << c',
      'a + b << c',
      'a < b < c',
      'a | b & c',
      'a ^ b + c',
      'a == b == c',
    ]) {
      expect(() => expression(text), text).toThrow(WgslError)
    }
  })
})

describe('parseWgsl() parses statements', () => {
  it('of every kind', () => {
    const kinds = statements(`
      ;
      { }
      var a: u32; var<function> b = 1; let c = 2; const d = 3;
      a = 1; a += 2; _ = f(); a++; b--; *p = 1; (*p).x[1] -= 2; &*p = 3;
      f(); g<u32>(1, 2,);
      if a { } else if (b) { } else { }
      switch a { case 1: { } case 2, 3, default { } }
      switch (a) { default: { } }
      loop { break; continuing { a++; break if a > b; } }
      loop { continue; }
      for (var i = 0; i < 4; i++) { }
      for (;;) { discard; }
      for (i = 0; ; f()) { }
      while a < b { }
      const_assert true;
      return;
      return 1;
      @diagnostic(off, derivative_uniformity) { }
      @diagnostic(warning, chromium.unreachable_code) if true { }
    `).map(({ kind }) => kind)
    expect(kinds).toEqual(
      `empty block declaration declaration declaration declaration
       assign assign assign step step assign assign assign call,statement call,statement
       if switch switch loop loop for for for while const_assert return return block if`
        .split(/\s+/)
        .map((kind) => kind.replace(',', ' ')),
    )
  })

  it('with compound assignments of all operators', () => {
    const ops = ['+=', '-=', '*=', '/=', '%=', '&=', '|=', '^=', '<<=', '>>=']
    for (const op of ops) expect(statements(`a ${op} b;`)).toMatchObject([{ kind: 'assign', op }])
  })

  it('refuses what is none', () => {
    const bad = [
      'a',
      'a = ;',
      'a + b;',
      '1 = a;',
      'f() = 1;',
      'let a;',
      'let a: u32;',
      'const b;',
      'if a b;',
      'if { }',
      'else { }',
      'for (a b c) { }',
      'switch a { }',
      'switch a { case: { } }',
      'break if a;',
      'loop { continuing { } a = 1; }',
      'continuing { }',
      'while { }',
      'return',
      '}',
      'var<storage> ;',
      'a.b;',
      '_ += 1;',
      '@diagnostic(off, a) a = 1;',
      'a++ + 1;',
      'fn g() { }',
      'a = b = c;',
    ]
    for (const text of bad) expect(() => statements(text), text).toThrow(WgslError)
  })
})

describe('parseWgsl() parses modules', () => {
  it('with declarations of every kind, and positions', () => {
    const text = `enable f16, subgroups;
requires readonly_and_readwrite_storage_textures;
diagnostic(off, derivative_uniformity);
struct S { @align(16) a: u32, @size(32) b: array<f32, 4>, }
alias T = vec4<f32>;
override n: u32 = 4; @id(7) override m: f32;
const c = 1;
@group(0) @binding(1) var<storage, read_write> x: array<S>;
var<workgroup> w: array<u32, n>;
const_assert c == 1;
@compute @workgroup_size(8, n, 1) fn main(@builtin(global_invocation_id) id: vec3<u32>) { }
@must_use fn f(a: u32, b: ptr<function, u32>,) -> @location(0) vec4<f32> { return vec4<f32>(); };`
    const module = parseWgsl(text)
    expect(module.directives.map(({ names }) => names)).toEqual([
      ['f16', 'subgroups'],
      ['readonly_and_readwrite_storage_textures'],
      ['off', 'derivative_uniformity'],
    ])
    expect(module.declarations.map(({ kind }) => kind)).toEqual([
      'struct',
      'alias',
      'override',
      'override',
      'const',
      'var',
      'var',
      'const_assert',
      'fn',
      'fn',
    ])
    const main = module.declarations[8]
    expect(module.source.position(main.start)).toEqual({ line: 11, column: 1 })
    expect(module.source.slice(main).endsWith('{ }')).toBe(true)
  })

  it('with nested comments, and every kind of line break', () => {
    const text = 'const a = 1; // b\r\n/* /* nested */ */\u2028const b = 2;\rconst c = /* } */ 3;'
    const { source, declarations } = parseWgsl(text)
    expect(declarations.map(({ start }) => source.position(start))).toEqual([
      { line: 1, column: 1 },
      { line: 3, column: 1 },
      { line: 4, column: 1 },
    ])
  })

  it('with names in any script', () => {
    expect(parseWgsl('const Δέλτα = 1; const réflexion = Δέλτα; const 朝焼け = 2;').declarations).toHaveLength(3)
  })

  it('names the place of a mistake', () => {
    const error = errorOf('fn f() {\n\tlet a = 1 + ;\n}')
    expect(error).toMatchObject({ kind: 'syntax', line: 2, column: 14, sourceLine: '\tlet a = 1 + ;' })
    expect(error.message).toBe(
      'test:2:14: expected a name or a value in an expression, found ";"\n    \tlet a = 1 + ;\n    \t            ^',
    )
    expect(errorOf('fn f() {').reason).toBe('expected "}" after the statements of a block, found the end of the text')
    expect(errorOf('const a = 1; /* never closed').column).toBe(14)
    expect(errorOf('const __a = 1;').reason).toBe('names must not begin with "__"')
    expect(errorOf('const async = 1;').reason).toBe('"async" is a reserved word')
    expect(errorOf('const a = 1 # 2;').reason).toBe('invalid character')
    expect(errorOf('@nonsense fn f() { }').reason).toBe('unknown attribute "nonsense"')
    expect(errorOf('@workgroup_size() fn f() { }').reason).toBe('@workgroup_size has 0 arguments, wanted 1 to 3')
    expect(errorOf('struct S { }').reason).toBe('a struct without members')
  })

  it('refuses nesting without bound instead of overflowing', () => {
    expect(errorOf(`const a = ${'('.repeat(5000)}1${')'.repeat(5000)};`).reason).toBe('nested more than 250 deep')
    expect(errorOf(`fn f() ${'{'.repeat(5000)}${'}'.repeat(5000)}`).reason).toBe('nested more than 250 deep')
    expect(errorOf(`const a = ${'-'.repeat(1)}${' -'.repeat(5000)}1;`).reason).toBe('nested more than 250 deep')
  })
})

describe('parseType()', () => {
  it('parses a type that stands alone', () => {
    expect(show(parseType('array<vec4<f32>, 3>').type)).toBe('array<vec4<f32>, 3:abstract-int>')
    expect(() => parseType('u32 u32')).toThrow(WgslError)
  })
})

describe('Source', () => {
  it('finds places and offsets', () => {
    const source = new Source('ab\ncd\r\n\nx')
    for (let offset = 0; offset <= source.text.length; offset++) {
      const position = source.position(offset)
      expect(source.offset(position)).toBe(offset)
    }
    expect([1, 2, 3, 4].map((line) => source.line(line))).toEqual(['ab', 'cd', '', 'x'])
    expect(source.offset({ line: 99, column: 99 })).toBe(source.text.length)
  })
})
