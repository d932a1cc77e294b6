// The state of an invocation of a resumable kernel, as words that are kept between steps.

import {
  type FunctionInfo,
  isHostShareable,
  type Source,
  sizeOf,
  type Type,
  typeText,
  WgslError,
} from '../../wgsl/index.ts'
import { fromWords, hasHalfWords, isLeaf, partsOf, toWords } from './typed-access.ts'

const WORDS_MAX = 256

/**
 * The type of the state that a step function takes. Throws a WgslError of kind `paging` unless it is
 * `fn step(id: vec3<u32>, state: ptr<function, T>) -> bool`.
 */
export function stateTypeOf(fn: FunctionInfo, source: Source): Type {
  const [id, state] = fn.params
  const isStep =
    fn.params.length === 2 &&
    typeText(id.type) === 'vec3<u32>' &&
    state.type.kind === 'pointer' &&
    state.type.space === 'function' &&
    typeText(fn.returnType) === 'bool'
  if (!isStep || state.type.kind !== 'pointer') {
    const wanted = 'fn step(id: vec3<u32>, state: ptr<function, T>) -> bool'
    throw new WgslError('paging', `"${fn.name}" is no step, wanted ${wanted}`, source, fn.node.name)
  }
  const type = state.type.store
  if (!isHostShareable(type) || hasHalfWords(type) || sizeOf(type) > 4 * WORDS_MAX) {
    const wanted = `wanted numbers of 32 bits, at most ${WORDS_MAX} words of them`
    throw new WgslError('paging', `a state of type ${typeText(type)} cannot be kept, ${wanted}`, source, state.node)
  }
  return type
}

export function stateWordsOf(type: Type): number {
  return sizeOf(type) / 4
}

/** Functions that load and save it; a word of the state has a column for each invocation. */
export function stateWgsl(type: Type): string {
  return `
fn hm_state_at(j: u32) -> u32 { return j * hm_launch.slots + hm_slot; }
fn hm_state(j: u32) -> u32 { return hm_scratch[hm_state_at(j)]; }
fn hm_state_load() -> ${typeText(type)} { return ${load(type, 0)}; }
fn hm_state_save(s: ${typeText(type)}) {
${save(type, 's', 0).join('\n')}
}`
}

function load(type: Type, first: number): string {
  if (isLeaf(type)) return fromWords(type, (k) => `hm_state(${first + k}u)`)
  return `${typeText(type)}(${partsOf(type)
    .map((part) => load(part.type, first + part.offset))
    .join(', ')})`
}

function save(type: Type, value: string, first: number): string[] {
  if (isLeaf(type)) return toWords(type, value).map((word, k) => `  hm_scratch[hm_state_at(${first + k}u)] = ${word};`)
  return partsOf(type).flatMap((part) => save(part.type, `${value}${part.path}`, first + part.offset))
}
