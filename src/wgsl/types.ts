// Types of WGSL as values. Two types are the same if typeText gives the same text: structs are told apart by name, which is
// unique in a module. `unknown` is the type of what this front end has no need to understand (textures, mostly).

import type { StructMember } from './ast.ts'

export const SCALARS = ['bool', 'i32', 'u32', 'f32', 'f16', 'abstract-int', 'abstract-float'] as const
export type ScalarName = (typeof SCALARS)[number]

export const ADDRESS_SPACES = ['function', 'private', 'workgroup', 'uniform', 'storage', 'handle'] as const
export type AddressSpace = (typeof ADDRESS_SPACES)[number]

export const ACCESS_MODES = ['read', 'write', 'read_write'] as const
export type AccessMode = (typeof ACCESS_MODES)[number]

export interface ScalarType {
  readonly kind: 'scalar'
  readonly name: ScalarName
}
export interface VectorType {
  readonly kind: 'vector'
  readonly size: 2 | 3 | 4
  readonly element: ScalarType
}
export interface MatrixType {
  readonly kind: 'matrix'
  readonly columns: 2 | 3 | 4
  readonly rows: 2 | 3 | 4
  readonly element: ScalarType
}
export interface ArrayType {
  readonly kind: 'array'
  readonly element: Type
  /** Elements; `runtime` where the binding tells, `override` where the pipeline does. */
  readonly count: number | 'runtime' | 'override'
}
export interface StructType {
  readonly kind: 'struct'
  readonly name: string
  readonly members: readonly StructTypeMember[]
}
export interface StructTypeMember {
  readonly name: string
  readonly type: Type
  /** Of `@align` and `@size`, in bytes. */
  readonly align: number | null
  readonly size: number | null
  /** Null for the results of builtin functions. */
  readonly node: StructMember | null
}
export interface AtomicType {
  readonly kind: 'atomic'
  readonly element: ScalarType
}
/** A pointer, or with `reference` what a variable, `*p` or `a[i]` is: something that can be loaded and stored. */
export interface PointerType {
  readonly kind: 'pointer' | 'reference'
  readonly space: AddressSpace
  readonly store: Type
  readonly access: AccessMode
}
export interface OpaqueType {
  readonly kind: 'opaque'
  /** `texture_2d<f32>`, `sampler`, ... */
  readonly name: string
  readonly args: readonly string[]
}
export interface PlainType {
  /** `void` is what a function without result has. */
  readonly kind: 'void' | 'unknown'
}

export type Type =
  | ScalarType
  | VectorType
  | MatrixType
  | ArrayType
  | StructType
  | AtomicType
  | PointerType
  | OpaqueType
  | PlainType

const scalar = (name: ScalarName): ScalarType => ({ kind: 'scalar', name })
export const BOOL = scalar('bool')
export const I32 = scalar('i32')
export const U32 = scalar('u32')
export const F32 = scalar('f32')
export const F16 = scalar('f16')
export const ABSTRACT_INT = scalar('abstract-int')
export const ABSTRACT_FLOAT = scalar('abstract-float')
export const VOID: PlainType = { kind: 'void' }
export const UNKNOWN: PlainType = { kind: 'unknown' }

export const SCALAR_TYPES: Readonly<Record<ScalarName, ScalarType>> = {
  bool: BOOL,
  i32: I32,
  u32: U32,
  f32: F32,
  f16: F16,
  'abstract-int': ABSTRACT_INT,
  'abstract-float': ABSTRACT_FLOAT,
}

export function vector(size: number, element: ScalarType): VectorType {
  return { kind: 'vector', size: size as 2 | 3 | 4, element }
}

export function matrix(columns: number, rows: number, element: ScalarType): MatrixType {
  return { kind: 'matrix', columns: columns as 2 | 3 | 4, rows: rows as 2 | 3 | 4, element }
}

/** How a type is written in WGSL. */
export function typeText(type: Type): string {
  switch (type.kind) {
    case 'scalar':
      return type.name
    case 'vector':
      return `vec${type.size}<${type.element.name}>`
    case 'matrix':
      return `mat${type.columns}x${type.rows}<${type.element.name}>`
    case 'array':
      return type.count === 'runtime'
        ? `array<${typeText(type.element)}>`
        : `array<${typeText(type.element)}, ${type.count}>`
    case 'struct':
      return type.name
    case 'atomic':
      return `atomic<${type.element.name}>`
    case 'pointer':
    case 'reference': {
      const access = type.space === 'storage' ? `, ${type.access}` : ''
      return `${type.kind === 'pointer' ? 'ptr' : 'ref'}<${type.space}, ${typeText(type.store)}${access}>`
    }
    case 'opaque':
      return type.args.length === 0 ? type.name : `${type.name}<${type.args.join(', ')}>`
    case 'void':
    case 'unknown':
      return type.kind
  }
}

export function sameType(a: Type, b: Type): boolean {
  return a === b || typeText(a) === typeText(b)
}

/** What an expression is worth where a value is needed: a reference is loaded. */
export function valueType(type: Type): Type {
  return type.kind === 'reference' ? type.store : type
}

export function isAbstract(type: Type): boolean {
  switch (type.kind) {
    case 'scalar':
      return type === ABSTRACT_INT || type === ABSTRACT_FLOAT
    case 'vector':
    case 'matrix':
    case 'array':
      return isAbstract(type.element)
    default:
      return false
  }
}

/** The type that a `let` or `var` takes from its value: abstract numbers become i32 and f32. */
export function concrete(type: Type): Type {
  if (!isAbstract(type)) return type
  switch (type.kind) {
    case 'scalar':
      return type === ABSTRACT_INT ? I32 : F32
    case 'vector':
      return vector(type.size, concrete(type.element) as ScalarType)
    case 'matrix':
      return matrix(type.columns, type.rows, concrete(type.element) as ScalarType)
    case 'array':
      return { ...type, element: concrete(type.element) }
    default:
      return type
  }
}

/** The scalar that a scalar, vector or matrix is made of; null for every other type. */
export function elementOf(type: Type): ScalarType | null {
  switch (type.kind) {
    case 'scalar':
      return type
    case 'vector':
    case 'matrix':
    case 'atomic':
      return type.element
    default:
      return null
  }
}

/** A scalar or vector of the same shape with other elements. */
export function withElement(type: Type, element: ScalarType): Type {
  if (type.kind === 'vector') return vector(type.size, element)
  return type.kind === 'matrix' ? matrix(type.columns, type.rows, element) : element
}

const RANK: Readonly<Partial<Record<ScalarName, number>>> = { 'abstract-int': 2, 'abstract-float': 1 }

/** The scalar that two scalars have in common: an abstract one becomes the other. Null if there is none. */
export function commonScalar(a: ScalarType, b: ScalarType): ScalarType | null {
  if (a === b) return a
  const [rankA, rankB] = [RANK[a.name] ?? 0, RANK[b.name] ?? 0]
  if (rankA === rankB) return null
  const [from, to] = rankA > rankB ? [a, b] : [b, a]
  if (to === BOOL) return null
  return from === ABSTRACT_FLOAT && (to === I32 || to === U32) ? null : to
}

/** The type that two types have in common; null if there is none. */
export function commonType(a: Type, b: Type): Type | null {
  if (sameType(a, b)) return a
  if (a.kind === 'unknown' || b.kind === 'unknown') return UNKNOWN
  if (a.kind === 'scalar' && b.kind === 'scalar') return commonScalar(a, b)
  if (a.kind === 'vector' && b.kind === 'vector' && a.size === b.size) {
    const element = commonScalar(a.element, b.element)
    return element === null ? null : vector(a.size, element)
  }
  if (a.kind === 'matrix' && b.kind === 'matrix' && a.columns === b.columns && a.rows === b.rows) {
    const element = commonScalar(a.element, b.element)
    return element === null ? null : matrix(a.columns, a.rows, element)
  }
  if (a.kind === 'array' && b.kind === 'array' && a.count === b.count) {
    const element = commonType(a.element, b.element)
    return element === null ? null : { ...a, element }
  }
  return null
}

/** Whether a value of one type may stand where another is wanted. */
export function convertsTo(from: Type, to: Type): boolean {
  const common = commonType(from, to)
  return common !== null && (common.kind === 'unknown' || sameType(common, to))
}
