// Kernels made at random, for tests: WGSL that a device accepts, whose result does not depend on the order of invocations. Each
// invocation stores to elements of its own only (a block of `v` and `y`, one element of `w` and `d`), reads the read-only arrays
// anywhere, and adds to shared counters. Two of three follow pointers too, of 32 or of 64 bits, to four words of their own and to some
// that nobody stores to. One of four reads nothing of what it writes.

import type { Contents } from './paged-run.ts'
import { fill, POINTED_WORD, type TestKernel } from './paged-run.ts'

const COUNT = 128
const SIZE = 512
/** Software drivers compile what is much longer for many minutes: they look for ways between all branches, of all functions at once. */
const CODE_MAX = 1600
const STRUCTS = `struct Part { p: vec2u, q: array<u32, 3> }
struct Cell { a: u32, b: vec2u, c: array<u32, 3>, part: Part, f: f32 }`
// Bytes: a 0, b 8, c 16, part 32 (p 0, q 8, 24 in all), f 56, 64 in all.
const CELL_WORDS = 16

type Type = 'u32' | 'f32' | 'bool' | 'vec2u'

export interface RandomKernel {
  readonly kernel: TestKernel
  readonly contents: Contents
}

export function randomKernel(seed: number): RandomKernel {
  const readsOwn = seed % 4 !== 3
  const pointers = readsOwn ? ([undefined, 32, 64] as const)[seed % 3] : undefined
  let code = new Writer(seed, pointers, readsOwn).module()
  for (let k = 1; code.length > CODE_MAX; k++) code = new Writer(seed + k * 2 ** 16, pointers, readsOwn).module()
  const kernel: TestKernel = {
    name: `random ${seed}`,
    code,
    structs: STRUCTS,
    ...(pointers !== undefined && { pointers }),
    args: {
      ...(pointers !== undefined && { m: 'vec2<u32>' }),
      x: 'read f32',
      u: 'read u32',
      n: 'read Cell',
      v: 'u32',
      y: 'f32',
      w: 'Cell',
      c: 'atomic<u32>',
      d: 'atomic<u32>',
    },
    uniforms: { k: ['u32', seed % 97] },
    extent: [COUNT],
  }
  const contents = {
    ...(pointers !== undefined && { m: fill(4 * COUNT + SIZE, seed + 7, 'small') }),
    x: Uint32Array.from(new Uint32Array(Float32Array.from(fill(SIZE, seed, 'small', 1000)).buffer)),
    u: fill(SIZE, seed + 1, seed % 2 === 0 ? 'small' : 'u32'),
    n: fill(CELL_WORDS * COUNT, seed + 2, 'small'),
    v: fill(4 * COUNT, seed + 3, 'small'),
    y: Uint32Array.from(new Uint32Array(Float32Array.from(fill(4 * COUNT, seed + 4, 'small', 1000)).buffer)),
    w: fill(CELL_WORDS * COUNT, seed + 5, 'small'),
    c: new Uint32Array(64),
    d: fill(COUNT, seed + 6, 'small'),
  }
  return { kernel, contents }
}

interface Variable {
  readonly name: string
  readonly type: Type
  readonly isVar: boolean
}

class Writer {
  private state: number
  private scopes: Variable[][] = []
  private pointers: { name: string; type: 'u32' | 'f32' }[][] = []
  private names = 0
  private loops = 0
  private inFunction = false
  private functions: { name: string; stores: boolean }[] = []

  private readonly pointerBits: 32 | 64 | undefined

  private readonly readsOwn: boolean

  constructor(seed: number, pointerBits: 32 | 64 | undefined, readsOwn: boolean) {
    this.pointerBits = pointerBits
    this.readsOwn = readsOwn
    this.state = Math.imul(seed + 1, 0x9e3779b1) >>> 0
  }

  module(): string {
    const functions = Array.from({ length: this.below(4) }, () => this.function())
    const body = this.block(4, 3 + this.below(6))
    const main = `@compute @workgroup_size(64)\nfn main(@builtin(global_invocation_id) id: vec3u) {\n  let i = id.x;\n${body}\n}`
    const at = {
      32: `fn at(word: u32) -> u32 { return ${POINTED_WORD}u + word; }`,
      64: `fn at(word: u32) -> ptr64 { return add64(ptr64(${POINTED_WORD}u, 0u), word); }`,
    }
    return [...(this.pointerBits === undefined ? [] : [at[this.pointerBits]]), ...functions, main].join('\n')
  }

  /** 0 to n - 1. */
  private below(n: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let t = this.state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % n
  }

  private pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)]
  }

  private function(): string {
    const name = `f${this.functions.length}`
    this.inFunction = true
    const stores = this.below(2) === 0
    const isPointer = stores && this.readsOwn && this.below(2) === 0
    const params = isPointer ? 'i: u32, t: ptr<storage, u32, read_write>' : 'i: u32, t: u32'
    this.scopes.push([{ name: 't', type: 'u32', isVar: false }].slice(isPointer ? 1 : 0) as Variable[])
    this.pointers.push([])
    // A function with a pointer must not name what the pointer may be in.
    const through = `  *t ${this.pick(['=', '+=', '^='])} (*t + i) * 3u + u[*t % ${SIZE}u];`
    const body = isPointer
      ? through
      : stores
        ? this.block(2, 1 + this.below(3))
        : `  let r = ${this.expression('u32', 3)};`
    const result = isPointer ? '*t' : this.expression('u32', 2)
    this.scopes.pop()
    this.pointers.pop()
    this.inFunction = false
    this.functions.push({ name: isPointer ? `${name}*` : name, stores })
    return `fn ${name}(${params}) -> u32 {\n${body}\n  return ${result};\n}`
  }

  private block(depth: number, count: number): string {
    this.scopes.push([])
    this.pointers.push([])
    const lines = Array.from({ length: count }, () => `  ${this.statement(depth)}`)
    this.scopes.pop()
    this.pointers.pop()
    return lines.join('\n')
  }

  private statement(depth: number): string {
    const simple = depth <= 0
    switch (this.below(simple ? 9 : 16)) {
      case 0:
        return this.declaration('let')
      case 1:
        return this.declaration('var')
      case 2:
        return this.assignment()
      case 3:
        return this.pointerDeclaration()
      case 4:
        // All that are called add, so that their order does not matter.
        return `atomicAdd(&c[${this.expression('u32', 1)} % 64u], ${this.operand('u32')});`
      case 5:
        return this.inFunction || !this.readsOwn ? this.store() : this.ownAtomic()
      case 9:
      case 10: {
        const other = this.below(2) === 0 ? '' : ` else {\n${this.block(depth - 1, 1 + this.below(2))}\n}`
        return `if (${this.expression('bool', 2)}) {\n${this.block(depth - 1, 1 + this.below(3))}\n}${other}`
      }
      case 11:
      case 12:
        return this.loop(depth)
      case 13: {
        const clauses = Array.from(
          { length: 1 + this.below(3) },
          (_, k) => `case ${k}u: {\n${this.block(depth - 1, 1)}\n}`,
        )
        return `switch (${this.expression('u32', 2)} % 4u) { ${clauses.join('\n')} default: {\n${this.block(depth - 1, 1)}\n} }`
      }
      case 14:
        return `{\n${this.block(depth - 1, 1 + this.below(3))}\n}`
      case 15:
        return this.call()
      default:
        return this.store()
    }
  }

  private loop(depth: number): string {
    if (this.loops >= 2) return this.store()
    this.loops++
    const n = this.fresh()
    const limit = this.pick(['3u', `(${this.expression('u32', 1)} % 4u)`])
    const body = this.block(depth - 1, 1 + this.below(2))
    const jump =
      this.below(3) === 0 ? `if (${this.expression('bool', 1)}) { ${this.pick(['break', 'continue'])}; }\n` : ''
    this.loops--
    switch (this.below(3)) {
      case 0:
        return `for (var ${n} = 0u; ${n} < ${limit}; ${n}++) {\n${jump}${body}\n}`
      case 1:
        return `var ${n} = 0u; while (${n} < ${limit}) { ${n}++;\n${jump}${body}\n}`
      default:
        return `var ${n} = 0u; loop { if (${n} >= ${limit}) { break; }\n${jump}${body}\ncontinuing { ${n}++; } }`
    }
  }

  private declaration(kind: 'let' | 'var'): string {
    const type = this.pick(['u32', 'f32', 'vec2u'] as const)
    const value = this.expression(type, 3)
    // Sometimes a name that hides an argument or a function.
    const name = this.below(12) === 0 ? this.pick(['max', 'dot']) : this.fresh()
    if (this.scopes.at(-1)!.some((variable) => variable.name === name)) return this.store()
    this.scopes.at(-1)!.push({ name, type, isVar: kind === 'var' })
    const written = this.below(2) === 0 ? `: ${type}` : ''
    return `${kind} ${name}${written} = ${value};`
  }

  private pointerDeclaration(): string {
    const type = this.pick(['u32', 'f32'] as const)
    const name = this.fresh()
    const target = this.place(type, true)
    this.pointers.at(-1)!.push({ name, type })
    return `let ${name} = &${target};`
  }

  private assignment(): string {
    const variables = this.scopes.flat().filter(({ isVar, type }) => isVar && type !== 'bool')
    if (variables.length === 0) return this.store()
    const { name, type } = this.pick(variables)
    // A name may be hidden by a later one of another kind.
    if (this.scopes.flat().filter((variable) => variable.name === name).length > 1) return this.store()
    return `${name} ${this.pick(['=', '+='])} ${this.expression(type, 3)};`
  }

  private pointerStore(): string {
    const word = `4u * i + ${this.expression('u32', 1)} % 4u`
    if (this.below(2) === 0) return `storeU32(at(${word}), ${this.expression('u32', 3)});`
    return `storePtr64(at(4u * i + 2u * (${this.expression('u32', 1)} % 2u)), ${this.expression('vec2u', 2)});`
  }

  private pointerLoad(): string {
    const own = `4u * i + ${this.expression('u32', 1)} % 4u`
    return `loadU32(at(${this.pick([own, `${4 * COUNT}u + ${this.expression('u32', 1)} % ${SIZE}u`])}))`
  }

  private store(): string {
    if (this.pointerBits !== undefined && this.below(4) === 0) return this.pointerStore()
    const type = this.pick(['u32', 'u32', 'f32'] as const)
    const place = this.anyPlace(type)
    if (!this.readsOwn) return this.below(4) === 0 ? this.wholeStore() : `${place} = ${this.expression(type, 4)};`
    switch (this.below(5)) {
      case 0:
        return type === 'u32' ? `${place}${this.pick(['++', '--'])};` : `${place} += ${this.expression('f32', 1)};`
      case 1:
        return `${place} ${type === 'u32' ? this.pick(['+=', '-=', '*=', '&=', '|=', '^=']) : '+='} ${this.expression(type, 3)};`
      case 2:
        return this.wholeStore()
      default:
        return `${place} = ${this.expression(type, 4)};`
    }
  }

  private wholeStore(): string {
    const u = (): string => this.expression('u32', 1)
    const reading = [
      () => `w[i].part = Part(${this.expression('vec2u', 1)}, w[i].c);`,
      () => `w[i].b += ${this.expression('vec2u', 1)};`,
      () => `w[i].part.p.y = w[i].b[${u()} % 2u];`,
    ]
    return this.pick([
      ...(this.readsOwn ? reading : []),
      () => `w[i].b = ${this.expression('vec2u', 2)};`,
      () => `w[i].c = array<u32, 3>(${u()}, ${u()}, ${u()});`,
      () => `w[i] = n[${u()} % ${COUNT}u];`,
    ])()
  }

  private ownAtomic(): string {
    const call = `atomic${this.pick(['Add', 'Sub', 'Exchange', 'Min'])}(&d[i], ${this.expression('u32', 2)})`
    const name = this.fresh()
    this.scopes.at(-1)!.push({ name, type: 'u32', isVar: false })
    return `let ${name} = ${call};`
  }

  private call(): string {
    if (this.functions.length === 0) return this.store()
    return `_ = ${this.callText()};`
  }

  private callText(): string {
    const { name } = this.pick(this.functions)
    if (name.endsWith('*')) return `${name.slice(0, -1)}(i, &${this.place('u32', true)})`
    return `${name}(i, ${this.expression('u32', 1)})`
  }

  /** A place of one's own that may be stored to. There are no pointers to components of vectors. */
  private place(type: 'u32' | 'f32', isPointed = false): string {
    const block = `4u * i + ${this.expression('u32', 1)} % 4u`
    if (type === 'f32') return this.pick([`y[${block}]`, 'w[i].f'])
    return this.pick([
      `v[${block}]`,
      `v[${block}]`,
      'w[i].a',
      isPointed ? 'w[i].c[2]' : 'w[i].b.x',
      `w[i].c[${this.expression('u32', 1)} % 3u]`,
      'w[i].part.q[1]',
    ])
  }

  private anyPlace(type: 'u32' | 'f32'): string {
    const pointers = this.pointers.flat().filter((pointer) => pointer.type === type)
    if (pointers.length > 0 && this.below(3) === 0) return `*${this.pick(pointers).name}`
    return this.place(type)
  }

  /** A place of one's own that is read. */
  private ownPlace(type: 'u32' | 'f32'): string {
    return this.readsOwn ? this.anyPlace(type) : this.operand(type)
  }

  private operand(type: Type): string {
    const variables = this.scopes.flat().filter((variable, k, all) => {
      return variable.type === type && all.findLastIndex(({ name }) => name === variable.name) === k
    })
    if (variables.length > 0 && this.below(2) === 0) return this.pick(variables).name
    // No literal stands alone: what overflows in a constant expression is a mistake.
    if (type === 'u32')
      return this.pick(['i', 'k', `(k ^ ${this.below(50)}u)`, `(i | 0x${this.below(4096).toString(16)}u)`])
    if (type === 'f32') return `${this.below(40)}.0`
    return type === 'bool' ? this.pick(['true', 'false']) : `vec2u(${this.operand('u32')}, ${this.below(9)})`
  }

  private expression(type: Type, depth: number): string {
    if (depth <= 0) return this.operand(type)
    const e = (wanted: Type): string => this.expression(wanted, depth - 1)
    switch (type) {
      case 'u32':
        return this.pick([
          () => this.operand('u32'),
          () => `u[${e('u32')} % ${SIZE}u]`,
          () => `n[${e('u32')} % ${COUNT}u].${this.pick(['a', 'b.y', 'part.p.x'])}`,
          () => `n[${e('u32')} % ${COUNT}u].c[${e('u32')} % 3u]`,
          () => this.ownPlace('u32'),
          () => this.ownPlace('u32'),
          () => (this.pointerBits === undefined ? this.operand('u32') : this.pointerLoad()),
          () => `(${e('u32')} ${this.pick(['+', '-', '*'])} ${e('u32')})`,
          () => `((${e('u32')}) ${this.pick(['&', '|', '^'])} (${e('u32')}))`,
          () => `((${e('u32')}) ${this.pick(['<<', '>>'])} ((${e('u32')}) % 32u))`,
          () => `select(${e('u32')}, ${e('u32')}, ${e('bool')})`,
          () => `min(${e('u32')}, ${e('u32')})`,
          () => `(${e('vec2u')}).${this.pick(['x', 'y', 'g'])}`,
          () => 'arrayLength(&v)',
          () => `u32(abs(${e('f32')}))`,
          () => (this.functions.length > 0 && !this.inFunction ? this.callText() : this.operand('u32')),
        ])()
      case 'f32':
        return this.pick([
          () => this.operand('f32'),
          () => `x[${e('u32')} % ${SIZE}u]`,
          () => this.ownPlace('f32'),
          () => `(${e('f32')} ${this.pick(['+', '-'])} ${e('f32')})`,
          () => `f32(${e('u32')} % 1000u)`,
          () => `(-${e('f32')})`,
          () => `n[${e('u32')} % ${COUNT}u].f`,
        ])()
      case 'vec2u':
        return this.pick([
          () => this.operand('vec2u'),
          () => `vec2u(${e('u32')}, ${e('u32')})`,
          () => (this.readsOwn ? 'w[i].b' : this.operand('vec2u')),
          () => `n[${e('u32')} % ${COUNT}u].part.p.yx`,
          () => `(${e('vec2u')} + ${e('vec2u')})`,
          () => `(${e('vec2u')} * ${e('u32')})`,
        ])()
      case 'bool':
        return this.pick([
          () => `(${e('u32')} ${this.pick(['<', '>', '==', '!=', '<=', '>='])} ${e('u32')})`,
          () => `(${e('f32')} < ${e('f32')})`,
          () => `(${e('bool')} ${this.pick(['&&', '||'])} ${e('bool')})`,
          () => `!${e('bool')}`,
          () => `all(${e('vec2u')} == ${e('vec2u')})`,
        ])()
    }
  }

  private fresh(): string {
    return `a${this.names++}`
  }
}
