// Entry points: what a pipeline may run, their workgroup size and the builtin values they ask for.

import type { Attribute, Expression } from './ast.ts'
import type { Context } from './context.ts'
import type { FunctionInfo, Scope } from './scope.ts'
import type { Span } from './source.ts'
import type { Type } from './types.ts'

export const STAGES = ['compute', 'vertex', 'fragment'] as const
export type Stage = (typeof STAGES)[number]

/** A builtin value that an entry point takes, as a parameter or as a member of one. */
export interface EntryInput {
  /** `global_invocation_id`, ... */
  readonly builtin: string
  readonly type: Type
  /** The parameter, and the member of it where the parameter is a struct. */
  readonly param: string
  readonly member: string | null
}

export interface EntryPoint {
  readonly name: string
  readonly stage: Stage
  readonly function: FunctionInfo
  /** Null where an override without value decides; null as a whole for other stages than compute. */
  readonly workgroupSize: readonly [number | null, number | null, number | null] | null
  readonly inputs: readonly EntryInput[]
}

/** The entry point that a function is, null if it is none. */
export function entryPointOf(c: Context, fn: FunctionInfo, scope: Scope): EntryPoint | null {
  const { attributes } = fn.node
  const stage = STAGES.find((name) => attributes.some((attribute) => attribute.name === name))
  if (stage === undefined) return null
  const size = attributes.find(({ name }) => name === 'workgroup_size')
  if (stage === 'compute' && size === undefined) c.fail('type', `${fn.name} has no @workgroup_size`, fn.node.name)
  const workgroupSize = stage === 'compute' && size !== undefined ? sizeOf(c, size, scope) : null
  const inputs = fn.params.flatMap((param): EntryInput[] => {
    const own = builtinOf(param.node.attributes)
    if (own !== null) return [{ builtin: own, type: param.type, param: param.name, member: null }]
    if (param.type.kind !== 'struct') return []
    return param.type.members.flatMap(({ name, type, node }) => {
      const builtin = node === null ? null : builtinOf(node.attributes)
      return builtin === null ? [] : [{ builtin, type, param: param.name, member: name }]
    })
  })
  return { name: fn.name, stage, function: fn, workgroupSize, inputs }
}

function sizeOf(c: Context, { args }: Attribute, scope: Scope): [number | null, number | null, number | null] {
  const one = (arg: Expression | undefined): number | null => {
    if (arg === undefined) return 1
    const value = c.constant(arg, scope, { overrides: true })
    if (value === null) return null
    const isSize = typeof value === 'number' && Number.isInteger(value) && value >= 1
    return isSize
      ? value
      : c.fail('constant', `a workgroup size of ${String(value)}, wanted a whole number from 1`, arg as Span)
  }
  return [one(args[0]), one(args[1]), one(args[2])]
}

function builtinOf(attributes: readonly Attribute[]): string | null {
  const arg = attributes.find(({ name }) => name === 'builtin')?.args[0]
  return arg?.kind === 'ident' ? arg.name : null
}
