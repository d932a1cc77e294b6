import { describe, expect, it } from 'vitest'
import { parseWgsl } from '../wgsl/index.ts'
import { read, readWrite, uniform, write } from './argument.ts'
import { atomic, type DataType, f16, f32, mat2x2f, u32, vec3f } from './data-type.ts'
import { Kernel, type KernelSpec, kernel } from './kernel.ts'
import { KernelError } from './kernel-error.ts'
import { struct } from './struct-type.ts'

const ARGS = { x: read(f32), y: readWrite(f32), a: uniform(f32) }

/** The code of a kernel with these statements, from line 3 on. */
function saxpy(body: string, before = ''): string {
  return `${before}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  ${body}
}`
}

const RIGHT = saxpy('y[id.x] += a * x[id.x];')

function errorOf(spec: KernelSpec): KernelError {
  try {
    kernel(spec)
  } catch (error) {
    if (error instanceof KernelError) return error
    throw error
  }
  throw new RangeError('the kernel was taken')
}

describe('kernel()', () => {
  it('knows entry points, workgroup sizes and arguments', () => {
    const one = kernel({ args: ARGS, code: RIGHT })
    expect(one).toBeInstanceOf(Kernel)
    expect(one).toMatchObject({ name: 'kernel', entryPoints: ['main'], workgroupSize: [64, 1, 1], paging: 'auto' })
    expect(one.facts.args).toEqual(['x', 'y', 'a'])
    expect(one.facts.whyWorkgroups).toBe(null)
  })

  it('chooses main, the only entry point, or none', () => {
    const two = (names: readonly string[]) =>
      kernel({
        name: 'k',
        args: { x: write(f32) },
        code: names.map((name, i) => `@compute @workgroup_size(${i + 1}) fn ${name}() { x[0] = 1.0; }`).join('\n'),
      })
    expect(two(['alone']).workgroupSize).toEqual([1, 1, 1])
    expect(two(['other', 'main']).workgroupSize).toEqual([2, 1, 1])
    const both = two(['one', 'another'])
    expect(() => both.facts).toThrow(
      new TypeError('k has the entry points one, another: choose one with kernel.entry(name)'),
    )
    expect(both.entry('another').workgroupSize).toEqual([2, 1, 1])
    expect(both.entry('another')).toBe(both.entry('another'))
    expect(() => both.entry('third')).toThrow(new RangeError('"third" is no entry point of k, wanted one, another'))
  })

  it('overrides have values of the code, of the kernel, or of with()', () => {
    const code =
      'override N = 8; override M: u32;\n@compute @workgroup_size(N, M) fn main() { x[0] = f32(N) * f32(M); }'
    const args = { x: write(f32) }
    expect(kernel({ args, code, constants: { M: 2 } }).workgroupSize).toEqual([8, 2, 1])
    expect(kernel({ args, code, constants: { M: 2 } }).with({ N: 4 }).workgroupSize).toEqual([4, 2, 1])
    expect(() => kernel({ name: 'k', args, code }).workgroupSize).toThrow(
      new TypeError('y of the workgroup size of k has no value: give its override one in constants'),
    )
    const numbered = '@id(7) override N = 8;\n@compute @workgroup_size(N) fn main() { x[0] = 1.0; }'
    const seven = kernel({ args, code: numbered, constants: { N: 4 } })
    expect(seven.workgroupSize).toEqual([4, 1, 1])
    expect(seven.program([['x']], false).constants).toEqual({ 7: 4 })
    expect(seven.with({ N: 2 }).workgroupSize).toEqual([2, 1, 1])
    expect(() => kernel({ args, code, constants: { K: 1 } })).toThrow(
      new TypeError('constants.K is no override of the code, wanted N, M'),
    )
    expect(() => kernel({ args, code, constants: { N: '1' as never } })).toThrow(
      new TypeError('constants.N is "1", wanted a number'),
    )
    expect(() => kernel({ args, code, constants: { N: Number.NaN } })).toThrow(
      new RangeError('constants.N is NaN, wanted a finite number'),
    )
  })

  it('says why a kernel runs in whole workgroups', () => {
    const why = (body: string, params = '') =>
      kernel({
        args: { x: write(f32) },
        code: `var<workgroup> w: u32;\n@compute @workgroup_size(4) fn main(${params}) {\n ${body} x[0] = 1.0; }`,
      }).facts.whyWorkgroups
    expect(why('')).toBe(null)
    expect(why('workgroupBarrier();')).toBe('it calls workgroupBarrier in line 3')
    expect(why('let v = workgroupUniformLoad(&w);')).toBe('it calls workgroupUniformLoad in line 3')
    expect(why('', '@builtin(num_workgroups) n: vec3u')).toBe('it takes num_workgroups')
  })

  it.each<[string, string, number, number, string?]>([
    ['"x" is declared read, and is written here', saxpy('x[id.x] = a;  y[0] = 1.0;'), 3, 3],
    ['"x" is declared read, and is written here', saxpy('y[0] = a; x[id.x].x++;').replace('.x++', '++'), 3, 13],
    ['"a" is a uniform, and is written here', saxpy('a = x[0] + y[0];'), 3, 3],
    ['unresolved name "z"', saxpy('y[id.x] += a * z[id.x] + x[0];'), 3, 18],
    ['unresolved name "atomicFoo"', saxpy('atomicFoo(&y[0], a, x[0]);'), 3, 3],
    ['"x" is the name of an argument, and is declared here', `fn x() {}\n${RIGHT}`, 1, 4],
    [
      '"y" is an argument, which the library declares and binds: leave this declaration out',
      `@group(0) @binding(1) var<storage, read_write> y: array<f32>;\n${RIGHT}`,
      1,
      1,
    ],
    [
      '"other" is bound by hand: make it an argument, which the library declares and binds',
      `${RIGHT}\n  @group(0) @binding(1) var<uniform> other: f32;`,
      5,
      3,
    ],
    ['"clamp" is declared here, and the library needs the predeclared one', `fn clamp() {}\n${RIGHT}`, 1, 4],
    ['"any" is declared here, and the library needs the predeclared one', saxpy('let any = a; y[0] = x[0];'), 3, 7],
    ['"hm_id": names that begin with hm_ are the library\'s', saxpy('let hm_id = 1; y[id.x] += a * x[id.x];'), 3, 7],
    ['"hm_f": names that begin with hm_ are the library\'s', `${RIGHT} fn hm_f() {}`, 4, 6],
    [
      '"vs" is a vertex shader, wanted @compute',
      `${RIGHT}\n@vertex fn vs() -> @builtin(position) vec4f { return vec4f(); }`,
      5,
      12,
    ],
    [
      '"p" is the builtin position, which kernels here do not have',
      '@compute @workgroup_size(1) fn main(@builtin(position) p: vec4f) { y[0] = a * x[0]; }',
      1,
      37,
    ],
    ['expected', saxpy('y[id.x] += a * ;'), 3, 18],
    ['no "+" for f32 and u32', saxpy('y[id.x] = a * x[id.x] + 1u;'), 3, 13],
  ])('%s', (reason, code, line, column) => {
    const error = errorOf({ name: 'saxpy', args: ARGS, code })
    expect(error.reason).toContain(reason)
    expect([error.line, error.column]).toEqual([line, column])
    const [first, text, caret] = error.message.split('\n')
    expect(first).toBe(`saxpy:${line}:${column}: ${error.reason}`)
    expect(text).toBe(`    ${code.split('\n')[line - 1]}`)
    expect(caret.indexOf('^')).toBe(4 + column - 1)
    expect(error).toMatchObject({ name: 'KernelError', code: 'BAD_KERNEL', kernel: 'saxpy' })
  })

  it('a caret stands below its place behind tabs too', () => {
    const error = errorOf({ name: 'k', args: ARGS, code: saxpy('\t\tx[0] = a * y[0];') })
    expect(error.message.split('\n').slice(1)).toEqual(['      \t\tx[0] = a * y[0];', '      \t\t^'])
  })

  it('an argument that is only written is not read', () => {
    const args = { x: write(f32) }
    const place = (body: string) => {
      const { line, column, reason } = errorOf({ args, code: saxpy(body) })
      return [line, column, reason]
    }
    expect(place('x[0] += 1.0;')).toEqual([3, 3, '"x" is declared write, and is read here: declare it readWrite'])
    expect(place('x[0] = 1.0 + x[id.x];')).toEqual([
      3,
      16,
      '"x" is declared write, and is read here: declare it readWrite',
    ])
    expect(place('let p = &x[1]; *p = 1.0;')).toEqual([
      3,
      12,
      '"x" is declared write, and its address is taken here: declare it readWrite',
    ])
    expect(kernel({ args, code: saxpy('x[id.x] = f32(arrayLength(&x));') }).facts.args).toEqual(['x'])
  })

  it('arguments are used, if only by one of the entry points', () => {
    expect(() => kernel({ name: 'k', args: { ...ARGS, z: read(f32) }, code: RIGHT })).toThrow(
      new TypeError('argument "z" of k is not used by the code'),
    )
    const code = `${RIGHT}\n@compute @workgroup_size(1) fn other() { z[0] = 1.0; }`
    const both = kernel({ args: { ...ARGS, z: write(f32) }, code })
    expect(both.facts.args).toEqual(['x', 'y', 'a'])
    expect(both.entry('other').facts.args).toEqual(['z'])
  })

  it('structs of the code and of the arguments are the same', () => {
    const Node = struct('Node', { key: u32, at: vec3f })
    const code = (fields: string) => `struct Node { ${fields} }\n${saxpy('let n: Node = nodes[id.x]; y[0] = n.at.x;')}`
    const args = { nodes: read(Node), y: write(f32) }
    expect(kernel({ args, code: code('key: u32, at: vec3f') }).facts.args).toEqual(['nodes', 'y'])
    const error = errorOf({ name: 'k', args, code: code('at: vec3f, key: u32') })
    expect(error.reason).toBe(
      'struct Node has at: vec3<f32> at 0, key: u32 at 12, that of argument "nodes" key: u32 at 0, at: vec3<f32> at 16',
    )
    expect([error.line, error.column]).toEqual([1, 8])
  })

  it('a module without entry point is none', () => {
    const error = errorOf({ name: 'k', args: { x: write(f32) }, code: 'fn f() { x[0] = 1.0; }' })
    expect(error.message).toBe('k: no entry point, wanted a function with @compute and @workgroup_size')
    expect(error.line).toBe(null)
  })

  it.each<[string, () => unknown, string]>([
    [
      'TypeError',
      () => kernel(5 as never),
      'kernel(5), wanted an object with name, args, code, entry, step, paging, pointers, constants',
    ],
    [
      'TypeError',
      () => kernel({ args: ARGS, code: RIGHT, arg: 1 } as never),
      'arg is no option of a kernel, wanted name, args, code, entry, step, paging, pointers, constants',
    ],
    ['TypeError', () => kernel({ args: ARGS, code: RIGHT, name: '' }), 'name is "", wanted a text'],
    ['TypeError', () => kernel({ args: ARGS, code: null as never }), 'code is null, wanted a text'],
    [
      'TypeError',
      () => kernel({ args: [] as never, code: RIGHT }),
      'args is a list, wanted an object such as { x: read(f32) }',
    ],
    [
      'TypeError',
      () => kernel({ args: { x: f32 as never }, code: RIGHT }),
      'args.x is Object, wanted read, write, readWrite or uniform of a type',
    ],
    [
      'TypeError',
      () => kernel({ args: { 'x y': read(f32) }, code: RIGHT }),
      'the name of an argument is "x y", wanted letters, digits and _, not beginning with hm_ or __',
    ],
    [
      'TypeError',
      () => kernel({ args: { from: read(f32) }, code: RIGHT }),
      'the name of an argument is "from", a word that WGSL reserves',
    ],
    [
      'RangeError',
      () => kernel({ args: ARGS, code: RIGHT, entry: 'start' }),
      '"start" is no entry point of kernel, wanted main',
    ],
    [
      'RangeError',
      () => kernel({ args: ARGS, code: RIGHT, paging: 'always' as never }),
      'paging is "always", wanted one of auto, never, require',
    ],
    ['RangeError', () => kernel({ args: ARGS, code: RIGHT, pointers: 16 as never }), 'pointers is 16, wanted 32 or 64'],
    [
      'TypeError',
      () => kernel({ args: ARGS, code: RIGHT, constants: 3 as never }),
      'constants is 3, wanted an object such as { SIZE: 64 }',
    ],
    ['TypeError', () => read(undefined as never), 'read(undefined), wanted a type such as f32'],
    ['TypeError', () => uniform(atomic(u32)), 'uniform(atomic<u32>): it is atomic'],
    ['TypeError', () => write(atomic(u32)), 'write(atomic<u32>), wanted readWrite: atomics are read and written'],
    ['TypeError', () => read(f32, { slices: 1 } as never), 'options.slices of read(f32) is no option, wanted slice'],
    [
      'RangeError',
      () => read(f32, { slice: 'rows' as never }),
      "slice is \"rows\", wanted 'linear', 'whole' or an object with along, per, stride, before, after",
    ],
    ['RangeError', () => read(f32, { slice: { along: 'w' as never } }), 'slice.along is "w", wanted one of x, y, z'],
    ['RangeError', () => read(f32, { slice: { stride: 0 } }), 'slice.stride is 0, wanted a whole number from 1'],
    [
      'RangeError',
      () => write(f32, { slice: { before: 1 } }),
      'slice.before and slice.after of an array that is written, wanted 0: slices run one after the other',
    ],
  ])('refuses what makes no sense: %s', (name, act, message) => {
    expect(act).toThrow(expect.objectContaining({ name, message }))
  })
})

describe('Kernel.program()', () => {
  const names = (spec: KernelSpec) => kernel(spec).facts.args.filter((name) => spec.args[name].kind === 'array')
  const program = (spec: KernelSpec) =>
    kernel(spec).program(
      names(spec).map((name) => [name]),
      false,
    )

  it('leaves the lines of the user as they are', () => {
    const code = `// a comment\n${saxpy('y[id.x] += a * x[id.x]; // here', 'enable f16;').replace('enable f16;', '')}`
    const { direct, indexed } = program({ args: ARGS, code })
    const lines = code.split('\n')
    expect(direct?.split('\n')[3]).toBe(lines[3])
    expect(indexed?.split('\n')[3]).toBe('  y[hm_at_y(u32(id.x))] += a * x[hm_at_x(u32(id.x))]; // here')
    expect(direct).not.toContain('hm_at_')
  })

  it('leaves no names to arguments that it needs itself, and does not put their mistakes into the code', () => {
    const code =
      '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) { any[id.x] = 1.0; }'
    const taken = (name: string) => `"${name}" is the name of an argument or its struct, and the library needs the`
    expect(() => kernel({ args: { any: write(f32) }, code })).toThrow(new RegExp(`^${taken('any')}`))
    const args = { x: readWrite(struct('clamp', { v: f32 })) }
    expect(() => kernel({ args, code: saxpy('x[0].v = 1.0;') })).toThrow(new RegExp(`^${taken('clamp')}`))
    expect(errorOf({ args: { x: write(struct('x', { v: f32 })) }, code: saxpy('x[id.x].v = 1.0;') })).toMatchObject({
      line: null,
      reason: 'the declarations of the arguments are no WGSL: "x" is declared twice',
    })
  })

  it('reads the place of an argument once per invocation, and its length, which has to be uniform, where that is asked for', () => {
    const body = 'for (var i = id.x; i < arrayLength(&x); i += 64u) { y[i] = x[i] + x[i + 1u]; }'
    const main = '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u)'
    const { indexed } = program({ args: { x: read(f32), y: write(f32) }, code: `${main} { ${body} }` })
    const code = indexed as string
    const [bodies, entry] = [code.slice(0, code.indexOf('@compute')), code.slice(code.indexOf('@compute'))]
    expect(bodies.match(/hm_launch\.args\[\d\]\.\w+/g)).toEqual(['hm_launch.args[0].w'])
    expect(entry.match(/hm_launch\.args\[\d\]\.\w+/g)).toEqual(['hm_launch.args[0].xyz', 'hm_launch.args[1].xyz'])
  })

  it.each<[string, Record<string, DataType>, string]>([
    ['barriers', { v: f32 }, 'workgroupBarrier(); v[id.x] += 1.0;'],
    [
      'atomics',
      { v: atomic(u32) },
      'let r = atomicCompareExchangeWeak(&v[id.x], 1u, 2u); atomicStore(&v[0], r.old_value);',
    ],
  ])('declares no names that a user could have: %s', (_, types, body) => {
    const args = Object.fromEntries(Object.entries(types).map(([name, type]) => [name, readWrite(type)]))
    const own = ['v', 'main']
    for (const strict of [false, true]) {
      const { direct, indexed, paged } = kernel({ args, code: saxpy(body) }).program([['v']], strict)
      expect(paged).not.toBeNull()
      for (const wgsl of [direct, indexed, paged?.wgsl ?? null]) {
        if (wgsl === null) continue
        const names = parseWgsl(wgsl, {}).declarations.flatMap((node) => ('name' in node ? [node.name.text] : []))
        expect(names.filter((name) => !name.startsWith('hm_') && !own.includes(name))).toEqual([])
      }
    }
  })

  it('is the same object for the same question, and plain data', () => {
    const one = kernel({ args: ARGS, code: RIGHT })
    expect(one.program([['x'], ['y']], false)).toBe(one.program([['x'], ['y']], false))
    expect(structuredClone(one.program([['x'], ['y']], false))).toEqual(one.program([['x'], ['y']], false))
    expect(one.program([['x', 'y']], false).direct).toBe(null)
    expect(one.program([['x'], ['y']], true).direct).toBe(null)
  })

  it('enables f16 where an argument needs it and the code does not', () => {
    const args = { h: readWrite(f16) }
    const body = 'h[id.x] = 2.0h * h[id.x];'
    expect(program({ args, code: saxpy(body) }).direct?.split('\n')[0]).toBe('enable f16; ')
    const own = program({ args, code: saxpy(body, 'enable f16;') }).direct
    expect(own?.match(/enable/g)).toHaveLength(1)
    expect(own).toContain('var<storage, read_write> h: array<f16>;')
  })

  it('says why the indices of an argument cannot be moved', () => {
    const code = saxpy('y[id.x] = a * sum(&x);', 'fn sum(p: ptr<storage, array<f32>>) -> f32 { return p[0]; }')
    expect(program({ args: ARGS, code })).toMatchObject({
      indexed: null,
      whyNotIndexed: '"x" is passed on as a whole in line 3',
    })
  })

  it.each<[string, DataType]>([
    ['mat2x2<f32>', mat2x2f],
    ['atomic<u32>', atomic(u32)],
  ])('declares arrays of %s', (wgsl, type) => {
    const body = type.isAtomic ? 'atomicAdd(&v[id.x], 1u);' : 'v[id.x] = 2.0 * v[id.x];'
    expect(program({ args: { v: readWrite(type) }, code: saxpy(body) }).direct).toContain(`array<${wgsl}>`)
  })
})
