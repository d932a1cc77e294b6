// Values of constant expressions, as far as sizes need them: scalars, vectors and arrays, arithmetic, conversions and the
// builtin functions on integers. What is beyond that is "not known", never a wrong value.

import type { Binary, Call, Expression, Unary } from './ast.ts'
import { elementOf, type ScalarType, type Type, valueType } from './types.ts'

/** Numbers stand for all scalars, false is 0; lists for vectors and arrays. */
export type Constant = number | readonly Constant[]

export interface ConstantContext {
  typeOf(expression: Expression): Type
  /** The value of a name, null if it is not constant. */
  valueOf(ident: Expression & { kind: 'ident' }): Constant | null
  /** The type that a call constructs, null if it calls a function. */
  constructs(call: Call): Type | null
  fail(reason: string, expression: Expression): never
}

/** The value of an expression, null if it is not constant. */
export function evaluate(c: ConstantContext, e: Expression): Constant | null {
  switch (e.kind) {
    case 'literal':
      return e.type === 'f32' ? Math.fround(e.value) : e.value
    case 'paren':
      return evaluate(c, e.inner)
    case 'ident':
      return c.valueOf(e)
    case 'unary':
      return evaluateUnary(c, e)
    case 'binary':
      return evaluateBinary(c, e)
    case 'call':
      return evaluateCall(c, e)
    case 'index': {
      const base = evaluate(c, e.base)
      const index = evaluate(c, e.index)
      if (base === null || typeof base === 'number' || typeof index !== 'number') return null
      return base[index] ?? c.fail(`index ${index} is past the end`, e.index)
    }
    case 'member': {
      const base = evaluate(c, e.base)
      if (base === null || typeof base === 'number' || valueType(c.typeOf(e.base)).kind !== 'vector') return null
      const parts = [...e.name.text].map((letter) => base['xyzwrgba'.indexOf(letter) % 4])
      return parts.length === 1 ? parts[0] : parts
    }
  }
}

function evaluateUnary(c: ConstantContext, e: Unary): Constant | null {
  if (e.op === '*' || e.op === '&') return null
  const type = elementOf(valueType(c.typeOf(e)))
  const operand = evaluate(c, e.operand)
  if (operand === null || type === null) return null
  const apply = (x: number): number => {
    if (e.op === '!') return x === 0 ? 1 : 0
    return fitted(c, type, e.op === '-' ? 0 - x : ~x, e)
  }
  return map(operand, apply)
}

function evaluateBinary(c: ConstantContext, e: Binary): Constant | null {
  const left = evaluate(c, e.left)
  // `false && x` is false whatever x is.
  if (e.op === '&&' && left === 0) return 0
  if (e.op === '||' && left === 1) return 1
  const right = evaluate(c, e.right)
  const type = elementOf(valueType(c.typeOf(e)))
  const operands = elementOf(valueType(c.typeOf(e.left)))
  if (left === null || right === null || type === null || operands === null) return null
  const isMatrix = [e.left, e.right].some((side) => valueType(c.typeOf(side)).kind === 'matrix')
  if (isMatrix) return null
  return zip(left, right, (a, b) => {
    const value = operate(c, e, operands, a, b)
    return type.name === 'bool' ? value : fitted(c, type, value, e)
  })
}

function operate(c: ConstantContext, e: Binary, type: ScalarType, a: number, b: number): number {
  const isInt = type.name === 'i32' || type.name === 'u32' || type.name === 'abstract-int'
  switch (e.op) {
    case '+':
      return a + b
    case '-':
      return a - b
    case '*':
      return a * b
    case '/':
    case '%':
      if (isInt && b === 0) c.fail('division by zero', e)
      if (e.op === '%') return a % b
      return isInt ? Math.trunc(a / b) : a / b
    case '<<':
      return type.name === 'abstract-int' ? a * 2 ** b : Number(BigInt.asIntN(64, BigInt(a) << BigInt(b)))
    case '>>':
      return Math.floor(a / 2 ** b)
    case '&':
    case '&&':
      return Number(BigInt(a) & BigInt(b))
    case '|':
    case '||':
      return Number(BigInt(a) | BigInt(b))
    case '^':
      return Number(BigInt(a) ^ BigInt(b))
    case '==':
      return Number(a === b)
    case '!=':
      return Number(a !== b)
    case '<':
      return Number(a < b)
    case '<=':
      return Number(a <= b)
    case '>':
      return Number(a > b)
    default:
      return Number(a >= b)
  }
}

const FUNCTIONS: Readonly<Record<string, (...args: number[]) => number>> = {
  abs: Math.abs,
  ceil: Math.ceil,
  clamp: (x, low, high) => Math.min(Math.max(x, low), high),
  floor: Math.floor,
  max: Math.max,
  min: Math.min,
  select: (no, yes, condition) => (condition === 0 ? no : yes),
  sign: Math.sign,
  sqrt: Math.sqrt,
  trunc: Math.trunc,
}

function evaluateCall(c: ConstantContext, e: Call): Constant | null {
  const args = e.args.map((arg) => evaluate(c, arg))
  if (args.includes(null)) return null
  const values = args as Constant[]
  const type = c.constructs(e)
  if (type !== null) return construct(c, e, type, values)
  const apply = FUNCTIONS[e.callee.name]
  if (apply === undefined || values.some((value) => typeof value !== 'number')) return null
  const element = elementOf(c.typeOf(e))
  return element === null ? null : fitted(c, element, apply(...(values as number[])), e)
}

function construct(c: ConstantContext, e: Call, type: Type, values: readonly Constant[]): Constant | null {
  if (type.kind === 'scalar') {
    const value = values[0] ?? 0
    return typeof value === 'number' ? convert(c, type, value, e) : null
  }
  if (type.kind === 'array' && typeof type.count === 'number') {
    return values.length === type.count ? values : null
  }
  if (type.kind !== 'vector') return null
  const parts = values.flat().map((value) => convert(c, type.element, value as number, e))
  if (parts.length === 0) return new Array<number>(type.size).fill(0)
  return parts.length === 1 ? new Array<number>(type.size).fill(parts[0]) : parts
}

/** A conversion that the text asks for: integers wrap, floats are cut. */
function convert(c: ConstantContext, type: ScalarType, value: number, e: Expression): number {
  switch (type.name) {
    case 'bool':
      return value === 0 ? 0 : 1
    case 'i32':
    case 'u32': {
      if (!Number.isInteger(value)) {
        const [low, high] = type.name === 'i32' ? [-(2 ** 31), 2 ** 31 - 1] : [0, 2 ** 32 - 1]
        return Math.min(Math.max(Math.trunc(value), low), high)
      }
      return type.name === 'i32' ? value | 0 : value >>> 0
    }
    default:
      return fitted(c, type, value, e)
  }
}

/** A result in its type; WGSL has no wrapping in constant expressions. */
function fitted(c: ConstantContext, type: ScalarType, value: number, e: Expression): number {
  switch (type.name) {
    case 'i32':
      if (value < -(2 ** 31) || value >= 2 ** 31) c.fail(`${value} does not fit i32`, e)
      return value
    case 'u32':
      // `~` of JavaScript gives a signed number.
      if (e.kind === 'unary' && e.op === '~') return value >>> 0
      if (value < 0 || value >= 2 ** 32) c.fail(`${value} does not fit u32`, e)
      return value
    case 'f32':
      return Math.fround(value)
    default:
      return value
  }
}

function map(value: Constant, apply: (x: number) => number): Constant {
  return typeof value === 'number' ? apply(value) : value.map((part) => map(part, apply))
}

/** Part by part; a scalar stands for every part of a vector. */
function zip(a: Constant, b: Constant, apply: (x: number, y: number) => number): Constant {
  if (typeof a === 'number') return map(b, (y) => apply(a, y))
  if (typeof b === 'number') return map(a, (x) => apply(x, b))
  return a.map((part, i) => zip(part, b[i], apply))
}
