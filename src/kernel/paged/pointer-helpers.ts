// The functions with which a kernel follows heap pointers: a pointer is a u32, the number of a word from the beginning of the heap,
// and 0 is null. With 64 bits it is a vec2<u32>, low half first: what is stored has the 8 bytes that pointers have elsewhere.
//
//   loadU32(p)   storeF32(p, v)   loadVec4F(p)   atomicAddU32(p, v)   loadNode(p)   storeNode(p, node)   loadU32(p + Node_left)
//   loadPtr64(p)                                                               and with 64 bits  loadU32(add64(p, Node_left))
//
// Here they are declared, so that the analysis knows their types; a paged kernel has them replaced by accesses through the page table.

import {
  analyse,
  isHostShareable,
  type Module,
  parseWgsl,
  type StructType,
  sizeOf,
  structLayout,
  type Type,
  WgslError,
  walk,
} from '../../wgsl/index.ts'
import { F32, I32, type ScalarType, typeText, U32, vector } from '../../wgsl/types.ts'

export const POINTER_BITS = [32, 64] as const
export type PointerBits = (typeof POINTER_BITS)[number]

export interface PointerHelper {
  readonly name: string
  /** `load`, `store`, or the atomic function that it stands for. */
  readonly does: string
  /** What it loads, stores or works on. */
  readonly type: Type
}

const SCALARS: readonly (readonly [string, ScalarType])[] = [
  ['F32', F32],
  ['U32', U32],
  ['I32', I32],
]
const ATOMICS = ['Load', 'Store', 'Add', 'Sub', 'Max', 'Min', 'And', 'Or', 'Xor', 'Exchange'] as const

/** All helpers, by name; structs get theirs by their names. */
export function pointerHelpers(structs: readonly StructType[]): Map<string, PointerHelper> {
  const helpers: PointerHelper[] = []
  const both = (suffix: string, type: Type): void => {
    helpers.push({ name: `load${suffix}`, does: 'load', type }, { name: `store${suffix}`, does: 'store', type })
  }
  for (const [suffix, type] of SCALARS) {
    both(suffix, type)
    for (const size of [2, 3, 4]) both(`Vec${size}${suffix[0]}`, vector(size, type))
    if (type === F32) continue
    for (const op of ATOMICS) helpers.push({ name: `atomic${op}${suffix}`, does: `atomic${op}`, type })
  }
  both('Ptr64', vector(2, U32))
  for (const type of structs) both(type.name, type)
  return new Map(helpers.map((helper) => [helper.name, helper]))
}

/**
 * What a kernel that follows pointers has to know beside its arguments: the helpers and the constants of the structs that it, or its
 * prelude, declares. Empty if the code uses none of them.
 */
export function pointerPrelude(module: Module, prelude: string, bits: PointerBits): string {
  const structs = structsIn(module, prelude)
  const names = new Set([...pointerHelpers(structs).keys(), ...structs.flatMap(constantNames)])
  return usesOneOf(module, names) ? pointerHelpersWgsl(structs, bits) : ''
}

/** Whether the code uses one of some names that it does not declare itself. */
function usesOneOf({ declarations }: Module, names: ReadonlySet<string>): boolean {
  const declared = new Set(declarations.flatMap((node) => (node.kind === 'const_assert' ? [] : [node.name.text])))
  let isUsed = false
  for (const declaration of declarations) {
    walk(declaration, (node) => {
      isUsed ||= 'kind' in node && node.kind === 'ident' && names.has(node.name) && !declared.has(node.name)
      return !isUsed
    })
  }
  return isUsed
}

/** What kernels work out pointers of 64 bits with: ordinary functions, which stand behind their code. */
const ARITHMETIC64: readonly (readonly [name: string, wgsl: string])[] = [
  ['ptr64', 'alias ptr64 = vec2<u32>;'],
  [
    'add64',
    'fn add64(p: vec2<u32>, words: u32) -> vec2<u32> { let low = p.x + words; return vec2<u32>(low, p.y + select(0u, 1u, low < words)); }',
  ],
  ['isNull64', 'fn isNull64(p: vec2<u32>) -> bool { return (p.x | p.y) == 0u; }'],
]

/** Those of them that the code uses. */
export function pointer64Code(module: Module): string {
  return ARITHMETIC64.filter(([name]) => usesOneOf(module, new Set([name])))
    .map(([, wgsl]) => wgsl)
    .join('\n')
}

/** Structs that can be at a pointer. None if a declaration is wrong: the analysis of the whole says what. */
function structsIn({ source, declarations }: Module, prelude: string): StructType[] {
  const types = declarations.filter(({ kind }) => kind === 'struct' || kind === 'alias' || kind === 'const')
  try {
    const text = [prelude, ...types.map((node) => source.slice(node))].join('\n')
    return [...analyse(parseWgsl(text)).globals.values()].flatMap((global) =>
      global.kind === 'type' &&
      global.node.kind === 'struct' &&
      global.type.kind === 'struct' &&
      isHostShareable(global.type)
        ? [global.type]
        : [],
    )
  } catch (error) {
    if (error instanceof WgslError) return []
    throw error
  }
}

/** Their declarations, and the offset of each field of each struct in words, `Node_left`. The bodies are never run. */
export function pointerHelpersWgsl(structs: readonly StructType[], bits: PointerBits): string {
  const pointer = bits === 64 ? 'vec2<u32>' : 'u32'
  const lines = [...pointerHelpers(structs).values()].map(({ name, does, type }) => {
    const text = typeText(type)
    const isVoid = does === 'store' || does === 'atomicStore'
    const hasValue = does !== 'load' && does !== 'atomicLoad'
    const result = isVoid ? '' : ` -> ${text}`
    const body = isVoid ? '' : type.kind === 'struct' ? `var v: ${text}; return v;` : `return ${text}();`
    return `fn ${name}(p: ${pointer}${hasValue ? `, v: ${text}` : ''})${result} { ${body} }`
  })
  return [...lines, fieldOffsetsWgsl(structs)].join('\n')
}

/** The constants `Node_left` and `Node_words`, in words. */
export function fieldOffsetsWgsl(structs: readonly StructType[]): string {
  return structs
    .flatMap((type) => [
      ...structLayout(type).map(({ name, offset }) => `const ${type.name}_${name}: u32 = ${offset / 4}u;`),
      `const ${type.name}_words: u32 = ${sizeOf(type) / 4}u;`,
    ])
    .join('\n')
}

function constantNames(type: StructType): string[] {
  return [...type.members.map(({ name }) => `${type.name}_${name}`), `${type.name}_words`]
}
