// Walking a syntax tree: the children of each node, in the order of the text. What looks for something, or rewrites something,
// is built on this and names only the nodes that it cares about.

import type {
  Attribute,
  Expression,
  GlobalDeclaration,
  Parameter,
  Statement,
  StructMember,
  SwitchClause,
} from './ast.ts'

export type Node = GlobalDeclaration | Statement | Expression | Attribute | Parameter | StructMember | SwitchClause

/** The nodes directly below a node, in the order of the text. */
export function childrenOf(node: Node): readonly Node[] {
  if (!('kind' in node)) return childrenOfPart(node)
  switch (node.kind) {
    case 'var':
    case 'let':
    case 'const':
    case 'override':
      return present(...node.attributes, ...node.template, node.type, node.init)
    case 'fn':
      return present(...node.attributes, ...node.params, ...node.returnAttributes, node.returnType, node.body)
    case 'param':
      return [...node.attributes, node.type]
    case 'struct':
      return node.members
    case 'alias':
      return [node.type]
    case 'const_assert':
    case 'break if':
      return [node.condition]
    case 'block':
      return [...node.attributes, ...node.statements]
    case 'if':
      return present(...node.attributes, node.condition, node.then, node.else)
    case 'switch':
      return [...node.attributes, node.selector, ...node.bodyAttributes, ...node.clauses]
    case 'loop':
      return present(...node.attributes, node.body, node.continuing)
    case 'for':
      return present(...node.attributes, node.init, node.condition, node.update, node.body)
    case 'while':
      return [...node.attributes, node.condition, node.body]
    case 'return':
      return present(node.value)
    case 'assign':
      return present(node.target, node.value)
    case 'step':
      return [node.target]
    case 'call statement':
      return [node.call]
    case 'declaration':
      return [node.declaration]
    case 'ident':
      return node.template
    case 'call':
      return [node.callee, ...node.args]
    case 'index':
      return [node.base, node.index]
    case 'member':
      return [node.base]
    case 'unary':
      return [node.operand]
    case 'binary':
      return [node.left, node.right]
    case 'paren':
      return [node.inner]
    case 'break':
    case 'continue':
    case 'discard':
    case 'empty':
    case 'literal':
      return []
  }
}

function childrenOfPart(node: Attribute | StructMember | SwitchClause): readonly Node[] {
  if ('selectors' in node) return [...node.selectors.filter((selector) => selector !== 'default'), node.body]
  return 'args' in node ? node.args : [...node.attributes, node.type]
}

function present(...nodes: readonly (Node | null)[]): Node[] {
  return nodes.filter((node) => node !== null)
}

/** Visits a node and all below it, in the order of the text. Where `visit` returns false, not what is below. */
export function walk(node: Node, visit: (node: Node) => boolean | undefined): void {
  if (visit(node) === false) return
  for (const child of childrenOf(node)) walk(child, visit)
}
