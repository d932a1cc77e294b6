// Where the code of a kernel uses its arguments, and for what: each place at which an argument's name stands.

import {
  type Analysis,
  type Call,
  childrenOf,
  type Expression,
  type FunctionInfo,
  type Ident,
  type Index,
  type Node,
} from '../wgsl/index.ts'

export const USE_KINDS = [
  'read', // its value is taken
  'write', // it is assigned to
  'update', // `+=`, `++`, or an atomic operation
  'address', // `&x[i]`, for whatever the pointer is used
  'length', // `arrayLength(&x)`
] as const
export type UseKind = (typeof USE_KINDS)[number]

export interface ArgumentUse {
  /** Name of the argument. */
  readonly name: string
  readonly kind: UseKind
  /** Where its name stands. */
  readonly ident: Ident
  /** `x[i]`, if an index follows the name. */
  readonly element: Index | null
  /** The call of `arrayLength`, for 'length'. */
  readonly length: Call | null
  readonly fn: FunctionInfo
}

/** A node that says what it is: all but attributes, members of structs and clauses of a switch. */
type Tagged = Extract<Node, { kind: string }>

/** All uses of arguments in the functions of a module, in the order of the text. */
export function argumentUses(analysis: Analysis, isArgument: (name: string) => boolean): ArgumentUse[] {
  const uses: ArgumentUse[] = []
  for (const fn of analysis.functions) {
    // The nodes above the one that is visited, innermost last.
    const above: Tagged[] = []
    const visit = (node: Node): void => {
      const tagged = 'kind' in node
      if (tagged && node.kind === 'ident' && isArgument(node.name)) {
        const declaration = analysis.declarationOf(node)
        const isModuleScope = declaration?.kind === 'variable' && declaration.function === null
        if (isModuleScope) uses.push({ name: node.name, fn, ident: node, ...useOf(node, above) })
      }
      if (tagged) above.push(node)
      for (const child of childrenOf(node)) visit(child)
      if (tagged) above.pop()
    }
    visit(fn.node.body)
  }
  return uses
}

/** What the nodes above a name make of it. */
function useOf(ident: Ident, above: readonly Tagged[]): Pick<ArgumentUse, 'kind' | 'element' | 'length'> {
  let place: Expression = ident
  let element: Index | null = null
  let depth = above.length - 1
  for (; depth >= 0; depth--) {
    const node = above[depth]
    if (node.kind === 'index' && node.base === place) element ??= node
    else if (node.kind !== 'paren' && !(node.kind === 'member' && node.base === place)) break
    place = node as Expression
  }
  const node = above[depth]
  if (node?.kind === 'assign' && node.target === place) {
    return { kind: node.op === '=' ? 'write' : 'update', element, length: null }
  }
  if (node?.kind === 'step') return { kind: 'update', element, length: null }
  if (node?.kind !== 'unary' || node.op !== '&') return { kind: 'read', element, length: null }
  const caller = above.slice(0, depth).findLast((outer) => outer.kind !== 'paren')
  if (caller?.kind !== 'call') return { kind: 'address', element, length: null }
  const { name } = caller.callee
  if (name === 'arrayLength' && element === null) return { kind: 'length', element, length: caller }
  return { kind: /^atomic[A-Z]/.test(name) ? 'update' : 'address', element, length: null }
}
