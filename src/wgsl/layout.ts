// Where the parts of a type lie in memory (section 14.4 of the specification, "Memory Layout"). All numbers are bytes. These are
// the rules of storage buffers; uniform buffers ask for more, which the device checks.

import type { ArrayType, MatrixType, StructType, Type } from './types.ts'

export interface MemberLayout {
  readonly name: string
  readonly type: Type
  readonly offset: number
  readonly size: number
}

const roundUp = (value: number, multiple: number): number => Math.ceil(value / multiple) * multiple

/** Whether values of a type may lie in a buffer; the others have no layout. */
export function isHostShareable(type: Type): boolean {
  switch (type.kind) {
    case 'scalar':
      return type.name !== 'bool' && !type.name.startsWith('abstract')
    case 'vector':
    case 'matrix':
    case 'atomic':
      return isHostShareable(type.element)
    case 'array':
      return type.count !== 'override' && isHostShareable(type.element)
    case 'struct':
      return type.members.every((member) => isHostShareable(member.type))
    default:
      return false
  }
}

/** Throws a TypeError for a type that is not host-shareable. */
export function alignOf(type: Type): number {
  switch (type.kind) {
    case 'scalar':
    case 'atomic':
      return sizeOf(type)
    case 'vector':
      return (type.size === 2 ? 2 : 4) * sizeOf(type.element)
    case 'matrix':
      return alignOf(columnOf(type))
    case 'array':
      return alignOf(type.element)
    case 'struct':
      return Math.max(...type.members.map(({ type: member, align }) => align ?? alignOf(member)))
    default:
      throw new TypeError(`a ${type.kind} has no place in memory`)
  }
}

/** Bytes of a value; of a runtime-sized array, none. Throws a TypeError for a type that is not host-shareable. */
export function sizeOf(type: Type): number {
  switch (type.kind) {
    case 'scalar':
      if (type.name === 'f16') return 2
      if (type.name === 'i32' || type.name === 'u32' || type.name === 'f32') return 4
      break
    case 'atomic':
      return sizeOf(type.element)
    case 'vector':
      return type.size * sizeOf(type.element)
    case 'matrix':
      return type.columns * roundUp(sizeOf(columnOf(type)), alignOf(columnOf(type)))
    case 'array':
      if (type.count === 'runtime') return 0
      if (type.count !== 'override') return type.count * strideOf(type)
      break
    case 'struct': {
      const last = structLayout(type).at(-1)!
      return roundUp(last.offset + last.size, alignOf(type))
    }
  }
  throw new TypeError(`a ${type.kind === 'scalar' ? type.name : type.kind} has no size in memory`)
}

/** Bytes from one element of an array, or column of a matrix, to the next. */
export function strideOf(type: ArrayType | MatrixType): number {
  const element = type.kind === 'array' ? type.element : columnOf(type)
  return roundUp(sizeOf(element), alignOf(element))
}

export function columnOf(type: MatrixType): Type {
  return { kind: 'vector', size: type.rows, element: type.element }
}

/** Where each member of a struct lies, in order. */
export function structLayout(type: StructType): MemberLayout[] {
  const members: MemberLayout[] = []
  let end = 0
  for (const { name, type: member, align, size } of type.members) {
    const offset = roundUp(end, align ?? alignOf(member))
    const bytes = size ?? sizeOf(member)
    members.push({ name, type: member, offset, size: bytes })
    end = offset + bytes
  }
  return members
}
