// From a type as it is written to a type as a value (section 6 of the specification).

import type { Expression, Ident } from './ast.ts'
import type { Context } from './context.ts'
import type { Scope } from './scope.ts'
import {
  ACCESS_MODES,
  type AccessMode,
  ADDRESS_SPACES,
  type AddressSpace,
  F16,
  F32,
  I32,
  matrix,
  SCALAR_TYPES,
  type ScalarType,
  type Type,
  typeText,
  U32,
  vector,
} from './types.ts'

const SUFFIXES: Readonly<Record<string, ScalarType>> = { i: I32, u: U32, f: F32, h: F16 }
const OPAQUE = /^(?:sampler(?:_comparison)?|texture_\w+)$/
const VECTOR = /^vec([234])([iufh]?)$/
const MATRIX = /^mat([234])x([234])([fh]?)$/

/** Whether a name that nothing declares is a type, or makes one with template arguments. */
export function isPredeclaredType(name: string): boolean {
  if (/^(?:bool|i32|u32|f32|f16|array|atomic|ptr)$/.test(name)) return true
  return VECTOR.test(name) || MATRIX.test(name) || OPAQUE.test(name)
}

/**
 * The type of a predeclared name, null if it is none. `vec3`, `mat2x2` and `array` without template arguments give null too:
 * what they construct depends on the values.
 */
export function predeclaredType(c: Context, ident: Ident, scope: Scope): Type | null {
  const { name, template } = ident
  if (name === 'bool' || name === 'i32' || name === 'u32' || name === 'f32' || name === 'f16') {
    takes(c, ident, 0, 0)
    return SCALAR_TYPES[name]
  }
  const vec = VECTOR.exec(name)
  if (vec !== null) {
    takes(c, ident, 0, vec[2] === '' ? 1 : 0)
    if (vec[2] !== '') return vector(Number(vec[1]), SUFFIXES[vec[2]])
    return template.length === 0 ? null : vector(Number(vec[1]), scalarArgument(c, template[0], scope))
  }
  const mat = MATRIX.exec(name)
  if (mat !== null) {
    takes(c, ident, 0, mat[3] === '' ? 1 : 0)
    const [columns, rows] = [Number(mat[1]), Number(mat[2])]
    if (mat[3] !== '') return matrix(columns, rows, SUFFIXES[mat[3]])
    return template.length === 0 ? null : matrix(columns, rows, scalarArgument(c, template[0], scope))
  }
  if (name === 'atomic') {
    takes(c, ident, 1, 1)
    const element = scalarArgument(c, template[0], scope)
    if (element !== I32 && element !== U32) c.fail('type', `atomic<${element.name}> is no type`, ident)
    return { kind: 'atomic', element }
  }
  if (name === 'array') return template.length === 0 ? null : arrayType(c, ident, scope)
  if (name === 'ptr') return pointerType(c, ident, scope)
  if (!OPAQUE.test(name)) return null
  return { kind: 'opaque', name, args: template.map((arg) => opaqueArgument(c, arg, scope)) }
}

function arrayType(c: Context, ident: Ident, scope: Scope): Type {
  takes(c, ident, 1, 2)
  const element = typeArgument(c, ident.template[0], scope)
  if (ident.template.length === 1) return { kind: 'array', element, count: 'runtime' }
  const size = ident.template[1]
  const count = c.constant(size, scope)
  if (count === null) return { kind: 'array', element, count: 'override' }
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 1) {
    c.fail('constant', `an array of ${String(count)} elements, wanted a whole number from 1`, size)
  }
  return { kind: 'array', element, count }
}

function pointerType(c: Context, ident: Ident, scope: Scope): Type {
  takes(c, ident, 2, 3)
  const [spaceName, target, accessName] = ident.template
  const space = enumerant(spaceName, ADDRESS_SPACES)
  if (space === null) c.fail('type', 'the first argument of ptr is an address space', spaceName)
  const store = typeArgument(c, target, scope)
  const access = accessName === undefined ? defaultAccess(space) : enumerant(accessName, ACCESS_MODES)
  if (access === null) c.fail('type', 'the third argument of ptr is an access mode', accessName)
  return { kind: 'pointer', space, store, access }
}

export function defaultAccess(space: AddressSpace): AccessMode {
  return space === 'storage' || space === 'uniform' || space === 'handle' ? 'read' : 'read_write'
}

/** One of the predeclared words, such as `storage` or `read_write`; null if the expression is another one. */
export function enumerant<T extends string>(expression: Expression, words: readonly T[]): T | null {
  if (expression.kind !== 'ident' || expression.template.length > 0) return null
  return words.find((word) => word === expression.name) ?? null
}

function typeArgument(c: Context, expression: Expression, scope: Scope): Type {
  const type = c.typeNamed(expression, scope)
  if (type !== null) return type
  const isUnknown =
    expression.kind === 'ident' && !isPredeclaredType(expression.name) && c.resolve(expression, scope) === null
  return isUnknown
    ? c.fail('name', `unresolved type "${expression.name}"`, expression)
    : c.fail('type', 'this is no type', expression)
}

function scalarArgument(c: Context, expression: Expression, scope: Scope): ScalarType {
  const type = typeArgument(c, expression, scope)
  return type.kind === 'scalar' ? type : c.fail('type', `${typeText(type)} is no scalar`, expression)
}

/** Arguments of textures are types, or words such as `rgba8unorm` and `write`. */
function opaqueArgument(c: Context, expression: Expression, scope: Scope): string {
  if (expression.kind !== 'ident') c.fail('type', 'this is no type', expression)
  const type = isPredeclaredType(expression.name) ? c.typeNamed(expression, scope) : null
  return type === null ? expression.name : typeText(type)
}

function takes(c: Context, { name, template, start, end }: Ident, least: number, most: number): void {
  if (template.length >= least && template.length <= most) return
  const wanted = least === most ? `${least}` : `${least} to ${most}`
  c.fail('type', `${name} has ${template.length} template arguments, wanted ${wanted}`, { start, end })
}
