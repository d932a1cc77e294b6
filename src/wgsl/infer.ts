// The type of an expression (sections 6 and 8 of the specification). Knows enough to tell every type that a kernel on heap
// memory can have; the last word on what is valid has the device's own compiler.

import type { Binary, Call, Expression, Ident, Index, Member, Unary } from './ast.ts'
import { builtinResult, isBuiltinFunction } from './builtin-functions.ts'
import type { Context } from './context.ts'
import type { Scope } from './scope.ts'
import { isPredeclaredType } from './type-names.ts'
import {
  BOOL,
  commonScalar,
  commonType,
  concrete,
  convertsTo,
  elementOf,
  isAbstract,
  matrix,
  type PointerType,
  SCALAR_TYPES,
  type ScalarType,
  type Type,
  typeText,
  U32,
  UNKNOWN,
  valueType,
  vector,
  withElement,
} from './types.ts'

/** Works out a type anew; Context.infer remembers it. */
export function inferType(c: Context, e: Expression, scope: Scope): Type {
  switch (e.kind) {
    case 'literal':
      return SCALAR_TYPES[e.type]
    case 'paren':
      return c.infer(e.inner, scope)
    case 'ident':
      return identType(c, e, scope)
    case 'member':
      return memberType(c, e, scope)
    case 'index':
      return indexType(c, e, scope)
    case 'unary':
      return unaryType(c, e, scope)
    case 'binary':
      return binaryType(c, e, scope)
    case 'call':
      return callType(c, e, scope)
  }
}

function identType(c: Context, e: Ident, scope: Scope): Type {
  const declaration = c.resolve(e, scope)
  if (declaration?.kind === 'variable' || declaration?.kind === 'parameter') {
    if (e.template.length > 0) c.fail('type', `"${e.name}" takes no template arguments`, e)
    return declaration.type
  }
  if (declaration === null && !isPredeclaredType(e.name) && !isBuiltinFunction(e.name)) {
    c.fail('name', `unresolved name "${e.name}"`, e)
  }
  return c.fail('type', `"${e.name}" is no value`, e)
}

/** A part of what an expression names or is worth: a reference stays one; of a pointer, it is a part of its target. */
function part(c: Context, e: Expression, scope: Scope): { whole: Type; make(type: Type): Type } {
  const type = c.infer(e, scope)
  // A reference to a pointer cannot be: pointers lie in no memory. So one step is enough.
  if (type.kind !== 'reference' && type.kind !== 'pointer') return { whole: type, make: (inner) => inner }
  const { space, access, store } = type
  return { whole: store, make: (inner): PointerType => ({ kind: 'reference', space, access, store: inner }) }
}

function memberType(c: Context, e: Member, scope: Scope): Type {
  const { whole, make } = part(c, e.base, scope)
  const name = e.name.text
  switch (whole.kind) {
    case 'struct': {
      const member = whole.members.find((candidate) => candidate.name === name)
      if (member === undefined) c.fail('name', `${whole.name} has no member "${name}"`, e.name)
      return make(member.type)
    }
    case 'vector': {
      const letters = /^[xyzw]{1,4}$/.test(name) ? 'xyzw' : /^[rgba]{1,4}$/.test(name) ? 'rgba' : ''
      if (letters === '' || [...name].some((letter) => letters.indexOf(letter) >= whole.size)) {
        c.fail('name', `${typeText(whole)} has no component "${name}"`, e.name)
      }
      // Several components are a value, not a place.
      return name.length === 1 ? make(whole.element) : vector(name.length, whole.element)
    }
    case 'unknown':
      return UNKNOWN
    default:
      return c.fail('type', `${typeText(whole)} has no members`, e.name)
  }
}

function indexType(c: Context, e: Index, scope: Scope): Type {
  const index = valueType(c.infer(e.index, scope))
  if (index.kind !== 'unknown' && !(index.kind === 'scalar' && /^(?:i32|u32|abstract-int)$/.test(index.name))) {
    c.fail('type', `an index of type ${typeText(index)}, wanted i32 or u32`, e.index)
  }
  const { whole, make } = part(c, e.base, scope)
  switch (whole.kind) {
    case 'array':
    case 'vector':
      return make(whole.element)
    case 'matrix':
      return make(vector(whole.rows, whole.element))
    case 'unknown':
      return UNKNOWN
    default:
      return c.fail('type', `${typeText(whole)} cannot be indexed`, e)
  }
}

function unaryType(c: Context, e: Unary, scope: Scope): Type {
  const type = c.infer(e.operand, scope)
  if (type.kind === 'unknown') return UNKNOWN
  if (e.op === '&') {
    if (type.kind !== 'reference') c.fail('type', `"&" of a value of type ${typeText(type)}, wanted a variable`, e)
    return { ...type, kind: 'pointer' }
  }
  if (e.op === '*') {
    if (type.kind !== 'pointer') c.fail('type', `"*" of ${typeText(type)}, wanted a pointer`, e)
    return { ...type, kind: 'reference' }
  }
  const value = valueType(type)
  const element = elementOf(value)?.name
  const isRight =
    e.op === '!'
      ? element === 'bool'
      : e.op === '~'
        ? element === 'i32' || element === 'u32' || element === 'abstract-int'
        : element !== undefined && element !== 'bool' && element !== 'u32'
  if (!isRight || value.kind === 'atomic') c.fail('type', `no "${e.op}" for ${typeText(value)}`, e)
  return value
}

const COMPARISONS: ReadonlySet<string> = new Set(['==', '!=', '<', '<=', '>', '>='])

function binaryType(c: Context, e: Binary, scope: Scope): Type {
  const left = valueType(c.infer(e.left, scope))
  const right = valueType(c.infer(e.right, scope))
  if (left.kind === 'unknown' || right.kind === 'unknown') return UNKNOWN
  const type = operatorType(e.op, left, right)
  return type ?? c.fail('type', `no "${e.op}" for ${typeText(left)} and ${typeText(right)}`, e)
}

/** The result of an operator on two values, null if there is no such operator. Also for compound assignments. */
export function operatorType(op: string, left: Type, right: Type): Type | null {
  const isNumber = (type: Type): boolean => {
    const element = elementOf(type)
    return type.kind !== 'atomic' && element !== null && element !== BOOL
  }
  if (COMPARISONS.has(op)) {
    const common = commonType(left, right)
    if (common?.kind !== 'scalar' && common?.kind !== 'vector') return null
    return op === '==' || op === '!=' || isNumber(common) ? withElement(common, BOOL) : null
  }
  if (op === '&&' || op === '||') return left === BOOL && right === BOOL ? BOOL : null
  if (op === '<<' || op === '>>') {
    const bits = elementOf(right)
    if (!isNumber(left) || (bits !== U32 && bits?.name !== 'abstract-int')) return null
    const shifted = isAbstract(left) && !isAbstract(right) ? concrete(left) : left
    return left.kind === right.kind ? shifted : null
  }
  if (op === '&' || op === '|' || op === '^') {
    const common = commonType(left, right)
    return common !== null && (common.kind === 'scalar' || common.kind === 'vector') ? common : null
  }
  if (!isNumber(left) || !isNumber(right)) return null
  if (op === '*' && (left.kind === 'matrix' || right.kind === 'matrix')) return matrixProduct(left, right)
  if (left.kind === right.kind)
    return left.kind === 'matrix' && op !== '+' && op !== '-' ? null : commonType(left, right)
  const element = commonScalar(elementOf(left)!, elementOf(right)!)
  if (element === null || left.kind === 'matrix' || right.kind === 'matrix') return null
  return withElement(left.kind === 'vector' ? left : right, element)
}

function matrixProduct(left: Type, right: Type): Type | null {
  const element = commonScalar(elementOf(left)!, elementOf(right)!)
  if (element === null) return null
  if (left.kind === 'scalar' || right.kind === 'scalar')
    return withElement(left.kind === 'matrix' ? left : right, element)
  if (left.kind === 'matrix' && right.kind === 'matrix') {
    return left.columns === right.rows ? matrix(right.columns, left.rows, element) : null
  }
  if (left.kind === 'matrix' && right.kind === 'vector') {
    return left.columns === right.size ? vector(left.rows, element) : null
  }
  if (left.kind === 'vector' && right.kind === 'matrix') {
    return left.size === right.rows ? vector(right.columns, element) : null
  }
  return null
}

function callType(c: Context, e: Call, scope: Scope): Type {
  const { callee } = e
  const declaration = c.resolve(callee, scope)
  if (declaration?.kind === 'function') {
    const { params, name, returnType } = declaration
    if (e.args.length !== params.length) {
      c.fail('type', `${name} is called with ${e.args.length} arguments, wanted ${params.length}`, e)
    }
    e.args.forEach((arg, i) => {
      const type = valueType(c.infer(arg, scope))
      if (!convertsTo(type, params[i].type)) {
        c.fail(
          'type',
          `argument ${params[i].name} of ${name} is ${typeText(type)}, wanted ${typeText(params[i].type)}`,
          arg,
        )
      }
    })
    c.noteCall(e, declaration, scope)
    return returnType
  }
  if (declaration !== null && declaration.kind !== 'type') c.fail('type', `"${callee.name}" is no function`, callee)
  const args = e.args.map((arg) => valueType(c.infer(arg, scope)))
  if (declaration === null && !isPredeclaredType(callee.name)) return builtinCallType(c, e, args, scope)
  const type = c.typeNamed(callee, scope) ?? constructedType(c, e, args)
  if (type.kind === 'scalar' && args.length > 1) {
    c.fail('type', `${typeText(type)} is constructed from ${args.length} values, wanted 1`, e)
  }
  return type
}

function builtinCallType(c: Context, e: Call, args: readonly Type[], scope: Scope): Type {
  const { name, template } = e.callee
  if (!isBuiltinFunction(name)) c.fail('name', `unresolved name "${name}"`, e.callee)
  c.noteCall(e, name, scope)
  if (name === 'bitcast') {
    const type = template.length === 1 ? c.typeNamed(template[0], scope) : null
    return type ?? c.fail('type', 'bitcast wants one type and one value', e)
  }
  const type = builtinResult(name, args)
  return type ?? c.fail('type', `no ${name}(${args.map(typeText).join(', ')})`, e)
}

/** What `vec3(...)`, `mat2x2(...)` and `array(...)` construct, by their values. */
function constructedType(c: Context, e: Call, args: readonly Type[]): Type {
  const { name } = e.callee
  if (args.some((type) => type.kind === 'unknown')) return UNKNOWN
  if (name === 'array') {
    const element = args.slice(1).reduce<Type | null>((type, next) => type && commonType(type, next), args[0] ?? null)
    if (element === null) c.fail('type', 'the elements of an array have different types', e)
    return { kind: 'array', element, count: args.length }
  }
  const elements = args.map(elementOf)
  const element = elements.reduce<ScalarType | null>(
    (type, next) => type && next && commonScalar(type, next),
    elements[0] ?? null,
  )
  const sizes = /^(?:vec([234])|mat([234])x([234]))$/.exec(name)
  if (element === null || sizes === null) {
    if (sizes !== null && args.length === 0) return vector(Number(sizes[1] ?? 2), SCALAR_TYPES['abstract-int'])
    c.fail('type', `no ${name}(${args.map(typeText).join(', ')})`, e)
  }
  if (sizes[1] !== undefined) return vector(Number(sizes[1]), element)
  const float = element.name === 'abstract-int' ? SCALAR_TYPES['abstract-float'] : element
  return matrix(Number(sizes[2]), Number(sizes[3]), float)
}
