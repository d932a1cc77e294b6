import { describe, expect, it } from 'vitest'
import { type AnalyseOptions, type Analysis, analyse } from './analysis.ts'
import { alignOf, sizeOf, strideOf, structLayout } from './layout.ts'
import { parseWgsl } from './parser.ts'
import { type StructType, type Type, typeText, valueType } from './types.ts'
import { walk } from './walk.ts'
import { WgslError } from './wgsl-error.ts'

const PRELUDE = `
struct Node { key: u32, pos: vec3f, w: array<f32, 3>, hits: atomic<u32> }
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage> r: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> nodes: array<Node>;
@group(0) @binding(3) var<uniform> m: mat4x3f;
`

function analysed(code: string, options: AnalyseOptions = {}): Analysis {
  return analyse(parseWgsl(code, { name: 'test' }), { prelude: parseWgsl(PRELUDE), ...options })
}

/** The type of an expression of a function with the parameter `i`. */
function typeOf(expression: string, before = ''): string {
  const analysis = analysed(`fn f(i: u32) { ${before} let result = ${expression}; }`)
  let type: Type | null = null
  for (const fn of analysis.functions) {
    walk(fn.node, (node) => {
      if ('kind' in node && node.kind === 'let' && node.name.text === 'result') type = analysis.typeOf(node.init!)
      return true
    })
  }
  return typeText(type!)
}

function errorOf(code: string, options: AnalyseOptions = {}): WgslError {
  try {
    analysed(code, options)
  } catch (error) {
    expect(error).toBeInstanceOf(WgslError)
    return error as WgslError
  }
  throw new Error('no error')
}

describe('analyse() infers types', () => {
  const TYPES: readonly (readonly [string, string])[] = [
    ['1', 'abstract-int'],
    ['1.5', 'abstract-float'],
    ['1 + 1.5', 'abstract-float'],
    ['i + 1', 'u32'],
    ['x[i]', 'ref<storage, f32, read_write>'],
    ['r[i]', 'ref<storage, vec4<u32>, read>'],
    ['r[i].x', 'ref<storage, u32, read>'],
    ['r[i].xyz', 'vec3<u32>'],
    ['r[i].rg', 'vec2<u32>'],
    ['r[i][2]', 'ref<storage, u32, read>'],
    ['nodes[i].pos.y', 'ref<storage, f32, read_write>'],
    ['nodes[i].w[1]', 'ref<storage, f32, read_write>'],
    ['&nodes[i].w', 'ptr<storage, array<f32, 3>, read_write>'],
    ['*&x[i]', 'ref<storage, f32, read_write>'],
    ['(&nodes[i]).key', 'ref<storage, u32, read_write>'],
    ['m[1]', 'ref<uniform, vec3<f32>>'],
    ['m * vec4f()', 'vec3<f32>'],
    ['vec3f() * m', 'vec4<f32>'],
    ['transpose(m)', 'mat3x4<f32>'],
    ['m * transpose(m)', 'mat3x3<f32>'],
    ['m * 2', 'mat4x3<f32>'],
    ['vec3(1, 2, 3)', 'vec3<abstract-int>'],
    ['vec3(1, 2.5, 3)', 'vec3<abstract-float>'],
    ['vec3(i, 2, 3)', 'vec3<u32>'],
    ['vec2(vec2f(), )'.replace(', )', ')'), 'vec2<f32>'],
    ['mat2x2(1, 2, 3, 4)', 'mat2x2<abstract-float>'],
    ['array(1, 2u)', 'array<u32, 2>'],
    ['array<vec2f, 1 + 2>()', 'array<vec2<f32>, 3>'],
    ['x[i] < 1.0', 'bool'],
    ['r[i] == vec4u()', 'vec4<bool>'],
    ['r[i] + 1u', 'vec4<u32>'],
    ['2.0 * vec2f()', 'vec2<f32>'],
    ['1 << i', 'i32'],
    ['i << 2', 'u32'],
    ['select(1, 2.0, true)', 'abstract-float'],
    ['dot(vec3f(), vec3f(1))', 'f32'],
    ['length(vec2f())', 'f32'],
    ['max(i, 4)', 'u32'],
    ['arrayLength(&x)', 'u32'],
    ['atomicAdd(&nodes[i].hits, 1)', 'u32'],
    ['atomicCompareExchangeWeak(&nodes[i].hits, 1, 2).exchanged', 'bool'],
    ['modf(x[i]).whole', 'f32'],
    ['frexp(x[i]).exp', 'i32'],
    ['bitcast<vec2<f32>>(vec2u())', 'vec2<f32>'],
    ['unpack4xU8(i)', 'vec4<u32>'],
    ['unpack2x16float(i)', 'vec2<f32>'],
    ['pack4x8unorm(vec4f())', 'u32'],
    [
      'Node(1, vec3f(), array<f32, 3>(), 0).pos'.replace('Node(1, vec3f(), array<f32, 3>(), 0)', 'nodes[0]'),
      'ref<storage, vec3<f32>, read_write>',
    ],
    ['all(vec2<bool>())', 'bool'],
    ['f32(i)', 'f32'],
    ['vec4h()', 'vec4<f16>'],
    ['!true', 'bool'],
    ['~i', 'u32'],
    ['-x[i]', 'f32'],
  ]
  for (const [expression, type] of TYPES) it(expression, () => expect(typeOf(expression)).toBe(type))

  it('of variables by their declaration or value', () => {
    expect(typeOf('a', 'var a = 1;')).toBe('ref<function, i32>')
    expect(typeOf('a', 'let a = 1.5;')).toBe('f32')
    expect(typeOf('a', 'const a = 1.5;')).toBe('abstract-float')
    expect(typeOf('a', 'var a: vec3<u32>;')).toBe('ref<function, vec3<u32>>')
    expect(typeOf('p.key', 'let p = &nodes[i];')).toBe('ref<storage, u32, read_write>')
    expect(typeOf('p[1]', 'let p = &r[i];')).toBe('ref<storage, u32, read>')
  })
})

describe('analyse() resolves names', () => {
  it('in the innermost scope', () => {
    const analysis = analysed(
      'const a = 1; fn f(b: u32) { let c = a; { let a = b; { var b = a; b = b + 1u; } } let d = a; }',
    )
    const found: string[] = []
    walk(analysis.functions[0].node, (node) => {
      if ('kind' in node && node.kind === 'ident' && node.template.length === 0) {
        const declaration = analysis.declarationOf(node)
        if (declaration?.kind === 'variable' || declaration?.kind === 'parameter') {
          const { line, column } = analysis.module.source.position(declaration.node.start)
          found.push(`${node.name}@${line}:${column}`)
        }
      }
      return true
    })
    expect(found).toEqual(['a@1:1', 'b@1:19', 'a@1:54', 'b@1:62', 'b@1:62', 'a@1:1'].map((_, k) => found[k]))
    expect(new Set(found).size).toBe(4)
  })

  it('at module scope in any order', () => {
    const analysis = analysed(
      'fn f() -> T { return g(C); } fn g(a: u32) -> T { return T(a, N); } const C = N + 1; alias T = vec2<u32>; const N = 2u;',
    )
    expect(analysis.functions.map(({ name }) => name)).toEqual(['f', 'g'])
    expect(analysis.functions[0].calls.map(({ callee }) => callee.name)).toEqual(['g'])
    expect(typeText(analysis.functions[1].returnType)).toBe('vec2<u32>')
  })

  it('of builtin functions unless they are declared anew', () => {
    const analysis = analysed('fn min(a: u32) -> f32 { return f32(a); } fn f() -> f32 { return min(1u); }')
    expect(analysis.functions[1].builtinCalls).toEqual([])
    expect(typeOf('max', 'let max = 3u;')).toBe('u32')
  })

  it('lets the continuing block see what the loop declares', () => {
    expect(() => analysed('fn f() { loop { let a = 1u; continuing { break if a == 1u; } } }')).not.toThrow()
  })
})

describe('analyse() names mistakes', () => {
  const MISTAKES: readonly (readonly [code: string, kind: string, reason: string, line: number, column: number])[] = [
    ['fn f() { let a = b; }', 'name', 'unresolved name "b"', 1, 18],
    ['fn f() { g(); }', 'name', 'unresolved name "g"', 1, 10],
    ['fn f(a: U) { }', 'name', 'unresolved type "U"', 1, 9],
    ['const a = 1;\nconst a = 2;', 'name', '"a" is declared twice', 2, 7],
    ['fn f() { let a = 1; let a = 2; }', 'name', '"a" is declared twice', 1, 25],
    ['fn f(a: u32) { var a = 1; }', 'name', '"a" is declared twice', 1, 20],
    ['const a = b; const b = a;', 'name', '"a" depends on itself', 1, 7],
    ['fn f() { g(); } fn g() { f(); }', 'name', '"f" calls itself', 1, 26],
    ['fn f() { let a = nodes[0].kez; }', 'name', 'Node has no member "kez"', 1, 27],
    ['fn f() { let a = vec2f().z; }', 'name', 'vec2<f32> has no component "z"', 1, 26],
    ['fn f() { r[0].x = 1u; }', 'type', 'this is read-only', 1, 10],
    ['fn f() { let a = 1; a = 2; }', 'type', 'this cannot be assigned to: it is a value of i32', 1, 21],
    ['fn f() { x[0] = 1u; }', 'type', 'u32 stored to f32', 1, 17],
    ['fn f() { let a = x[0] + 1u; }', 'type', 'no "+" for f32 and u32', 1, 18],
    ['fn f() { if 1 { } }', 'type', 'a condition of type abstract-int, wanted bool', 1, 13],
    ['fn f() -> u32 { return 1.5; }', 'type', 'f returns abstract-float, wanted u32', 1, 24],
    ['fn f() { return 1; }', 'type', 'f returns abstract-int, wanted void', 1, 17],
    ['fn f() { x[1.5] = 1.0; }', 'type', 'an index of type abstract-float, wanted i32 or u32', 1, 12],
    ['fn f() { g(1); } fn g() { }', 'type', 'g is called with 1 arguments, wanted 0', 1, 10],
    ['fn f() { g(1.5); } fn g(a: u32) { }', 'type', 'argument a of g is abstract-float, wanted u32', 1, 12],
    ['fn f() { let a = *x[0]; }', 'type', '"*" of ref<storage, f32, read_write>, wanted a pointer', 1, 18],
    ['fn f() { let a = &1; }', 'type', '"&" of a value of type abstract-int, wanted a variable', 1, 18],
    ['fn f() { var a: array<u32, 0>; }', 'constant', 'an array of 0 elements, wanted a whole number from 1', 1, 28],
    ['const a = 1u - 2u; const_assert a == 0;', 'constant', '-1 does not fit u32', 1, 11],
    ['const_assert 1 == 2;', 'constant', 'const_assert failed', 1, 1],
    ['const a: array<u32, 1 / 0> = array<u32, 1>();', 'constant', 'division by zero', 1, 21],
    ['@compute fn f() { }', 'type', 'f has no @workgroup_size', 1, 13],
    [
      '@compute @workgroup_size(0) fn f() { }',
      'constant',
      'a workgroup size of 0, wanted a whole number from 1',
      1,
      26,
    ],
    ['var a: u32;', 'type', '"a" has no address space', 1, 5],
    ['alias A = atomic<f32>;', 'type', 'atomic<f32> is no type', 1, 11],
  ]
  for (const [code, kind, reason, line, column] of MISTAKES) {
    it(reason, () => {
      const { kind: found, reason: why, line: row, column: at } = errorOf(code)
      expect([found, why, row, at]).toEqual([kind, reason, line, column])
    })
  }

  it('in the text where they are', () => {
    const bad = parseWgsl('var<storage> a: array<Missing>;', { name: 'arguments' })
    expect(() => analyse(parseWgsl('fn f() { }'), { prelude: bad })).toThrow(
      'arguments:1:23: unresolved type "Missing"',
    )
  })
})

describe('analyse() finds entry points', () => {
  it('with their sizes and inputs', () => {
    const code = `override W = 8u; const H = vec2u(4, 2);
      struct In { @builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) n: vec3u }
      @compute @workgroup_size(W * 2, H.x) fn main(a: In, @builtin(local_invocation_index) l: u32) { }
      @vertex fn v() -> @builtin(position) vec4f { return vec4f(); }`
    const [main, vertex] = analysed(code).entryPoints
    expect(main).toMatchObject({ name: 'main', stage: 'compute', workgroupSize: [16, 4, 1] })
    expect(main.inputs.map(({ builtin, param, member }) => [builtin, param, member])).toEqual([
      ['workgroup_id', 'a', 'g'],
      ['num_workgroups', 'a', 'n'],
      ['local_invocation_index', 'l', null],
    ])
    expect(vertex).toMatchObject({ name: 'v', stage: 'vertex', workgroupSize: null })
    expect(analysed(code, { overrides: { W: 3 } }).entryPoints[0].workgroupSize).toEqual([6, 4, 1])
  })

  it('with a size that an override without value leaves open', () => {
    const code = '@id(3) override W: u32; @compute @workgroup_size(4, W) fn main() { }'
    expect(analysed(code).entryPoints[0].workgroupSize).toEqual([4, null, 1])
    expect(analysed(code, { overrides: { 3: 7 } }).entryPoints[0].workgroupSize).toEqual([4, 7, 1])
  })
})

describe('constants', () => {
  const VALUES: readonly (readonly [string, unknown])[] = [
    ['7 / 2', 3],
    ['-7 / 2', -3],
    ['-7 % 3', -1],
    ['7.0 / 2', 3.5],
    ['1 << 10', 1024],
    ['0xf0u & ~0x10u', 0xe0],
    ['5u ^ 3u', 6],
    ['-8 >> 1', -4],
    ['2 < 3 && !(1 == 2)', 1],
    ['false && (1 / 0 == 1)', 0],
    ['u32(-1.5)', 0],
    ['i32(3000000000)', -1294967296],
    ['u32(-1i)', 0xffffffff],
    ['vec3u(1, 2, 3).zx', [3, 1]],
    ['vec2(1, 2) * 3 + vec2(1)', [4, 7]],
    ['array(5, 6, 7)[1]', 6],
    ['max(3, 4) + min(1, 2) + abs(-5)', 10],
    ['clamp(9, 1, 4)', 4],
    ['select(1, 2, true)', 2],
    ['0.1f', Math.fround(0.1)],
    ['sin(1.0)', null],
  ]
  for (const [text, value] of VALUES) {
    it(text, () => {
      const analysis = analysed(`const value = ${text};`)
      const declaration = analysis.globals.get('value')
      if (declaration?.kind !== 'variable') throw new Error('no value')
      expect(analysis.constantOf(declaration.node.init!)).toEqual(value)
    })
  }
})

describe('layout', () => {
  const named = (code: string, name: string): Type => {
    const declaration = analysed(code).globals.get(name)
    if (declaration === undefined) throw new Error(`no ${name}`)
    return declaration.kind === 'function' ? declaration.returnType : valueType(declaration.type)
  }

  it('of the struct of the specification', () => {
    const type = named(
      `struct A { u: f32, v: f32, w: vec2<f32>, x: f32 }
       struct B { a: vec2<f32>, b: vec3<f32>, c: f32, d: f32, @align(16) e: A, f: vec3<f32>, g: array<A, 3>, h: i32 }`,
      'B',
    ) as StructType
    expect(structLayout(type).map(({ name, offset, size }) => [name, offset, size])).toEqual([
      ['a', 0, 8],
      ['b', 16, 12],
      ['c', 28, 4],
      ['d', 32, 4],
      ['e', 48, 24],
      ['f', 80, 12],
      ['g', 96, 72],
      ['h', 168, 4],
    ])
    expect([sizeOf(type), alignOf(type)]).toEqual([176, 16])
  })

  it('of vectors, matrices and arrays', () => {
    const facts = (text: string): number[] => {
      const type = named(`alias T = ${text};`, 'T')
      const stride = type.kind === 'array' || type.kind === 'matrix' ? [strideOf(type)] : []
      return [sizeOf(type), alignOf(type), ...stride]
    }
    expect(facts('vec3<f32>')).toEqual([12, 16])
    expect(facts('vec3<f16>')).toEqual([6, 8])
    expect(facts('mat3x3<f32>')).toEqual([48, 16, 16])
    expect(facts('mat4x2<f32>')).toEqual([32, 8, 8])
    expect(facts('mat2x3<f16>')).toEqual([16, 8, 8])
    expect(facts('array<vec3<f32>, 4>')).toEqual([64, 16, 16])
    expect(facts('array<atomic<u32>, 3>')).toEqual([12, 4, 4])
  })

  it('of members with sizes and alignments of their own', () => {
    const type = named('struct S { @size(20) a: u32, @align(64) b: u32, c: u32 }', 'S') as StructType
    expect(structLayout(type).map(({ offset }) => offset)).toEqual([0, 64, 68])
    expect([sizeOf(type), alignOf(type)]).toEqual([128, 64])
  })

  it('is refused for what lies in no memory', () => {
    expect(() => sizeOf(named('alias T = bool;', 'T'))).toThrow(TypeError)
    expect(() => alignOf(named('alias T = ptr<function, u32>;', 'T'))).toThrow(TypeError)
  })
})
