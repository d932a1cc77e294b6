// Loops that go along a row of an array: every turn accesses the next element, whatever it finds there. All pages of the row are looked up
// before the first turn, so that those that are missing are told at once, and a row that cannot be gone through is not begun.
//
//   for (var i = first; i < end; i++) { let v = columns[i]; ... }       columns[first] to columns[end - 1]

import { type Call, childrenOf, type Expression, type Node, type Statement, walk } from '../../wgsl/index.ts'
import type { HeapAccess } from './heap-access.ts'

type For = Extract<Statement, { kind: 'for' }>
type Index = Extract<Expression, { kind: 'index' }>

/** A loop whose counter goes up by one from turn to turn, and is changed by nothing else: `for (var i = first; i < end; i++)`. */
export interface CountedLoop {
  readonly node: For
  readonly counter: Expression & { kind: 'ident' }
  /** As it was declared. */
  readonly type: Expression | null
  readonly first: Expression
  /** The counter stays below it. */
  readonly end: Expression
}

export interface Rows {
  /** An element of each row: the counter alone, or added to what stays the same. */
  readonly elements: readonly Index[]
}

export function countedLoopOf(node: For, { analysis }: HeapAccess): CountedLoop | null {
  const { init, condition, update, body } = node
  if (init?.kind !== 'declaration' || condition?.kind !== 'binary' || condition.op !== '<') return null
  const { name, type, init: first } = init.declaration
  const { left: counter, right: end } = condition
  const isCounter = (e: Node | null): boolean => e !== null && 'kind' in e && e.kind === 'ident' && e.name === name.text
  const isCounted = update?.kind === 'step' && update.op === '++' && isCounter(update.target)
  if (first === null || counter.kind !== 'ident' || !isCounter(counter) || !isCounted) return null
  if (names(end).includes(name.text) || changedIn(body).has(name.text)) return null
  return analysis.typeOf(counter).kind === 'reference' ? { node, counter, type, first, end } : null
}

/** The rows that a loop goes along, null if there are none. */
export function rowsOf({ node: { body }, counter, end }: CountedLoop, access: HeapAccess): Rows | null {
  const { name } = counter
  const changed = changedIn(body)
  const isSteady = (e: Expression): boolean => {
    return isPlain(e, access) && !names(e).some((each) => each === name || changed.has(each))
  }
  if (!isSteady(end) || isLeft(body)) return null
  const isRow = (e: Expression): boolean => {
    if (e.kind === 'ident') return e.name === name
    if (e.kind === 'paren') return isRow(e.inner)
    if (e.kind !== 'binary' || e.op !== '+') return false
    const [left, right] = [e.left, e.right].map((side) => names(side).includes(name))
    return left ? isRow(e.left) && !right && isSteady(e.right) : isRow(e.right) && isSteady(e.left)
  }
  const elements = new Map<number, Index>()
  forEachAlways(body.statements, (e) => {
    const arg = e.kind === 'index' ? access.argumentOf(e.base) : undefined
    if (arg !== undefined && !elements.has(arg) && isRow((e as Index).index)) elements.set(arg, e as Index)
  })
  return elements.size === 0 ? null : { elements: [...elements.values()] }
}

/** Visits what is worked out in every turn before it branches for the first time. */
function forEachAlways(statements: readonly Statement[], visit: (e: Expression) => void): void {
  const into = (node: Node): boolean => {
    if (!('kind' in node)) return false
    visit(node as Expression)
    const isShort = node.kind === 'binary' && (node.op === '&&' || node.op === '||')
    if (isShort) walk(node.left, into)
    return !isShort
  }
  for (const statement of statements) {
    const isStraight = ['declaration', 'assign', 'step', 'call statement', 'empty'].includes(statement.kind)
    const parts = isStraight ? childrenOf(statement) : statement.kind === 'if' ? [statement.condition] : []
    for (const part of parts) walk(part, into)
    if (!isStraight) return
  }
}

/** Whether a loop may end before its counter does. */
function isLeft(body: Node): boolean {
  let isFound = false
  walk(body, (node) => {
    isFound ||= 'kind' in node && (node.kind === 'break' || node.kind === 'return')
    return !isFound
  })
  return isFound
}

/** Whether an expression can be worked out once more, with the same result: numbers, loads, and variables that no function changes. */
function isPlain(e: Expression, access: HeapAccess): boolean {
  let isFound = true
  walk(e, (node) => {
    if (!('kind' in node)) return true
    if (node.kind === 'call') isFound &&= isConversion(node, access)
    const declaration = node.kind === 'ident' ? access.analysis.declarationOf(node) : null
    const type = declaration?.kind === 'variable' && declaration.function === null ? declaration.type : null
    isFound &&= type?.kind !== 'reference' || type.space === 'storage' || type.space === 'uniform'
    return isFound
  })
  return isFound
}

const isConversion = (call: Call, access: HeapAccess): boolean =>
  ['u32', 'i32', 'min', 'max'].includes(call.callee.name) && access.analysis.declarationOf(call.callee) === null

function names(e: Expression): string[] {
  const found: string[] = []
  walk(e, (node) => {
    if ('kind' in node && node.kind === 'ident') found.push(node.name)
    return true
  })
  return found
}

/** Names of what is declared, assigned or lent in some statements. Arrays of the heap count too: what is loaded may change. */
function changedIn(node: Node): Set<string> {
  const changed = new Set<string>()
  const add = (e: Expression): void => {
    // Of `z[k]` it is z that changes.
    if (e.kind === 'index' || e.kind === 'member') add(e.base)
    else if (e.kind === 'paren') add(e.inner)
    else for (const name of names(e)) changed.add(name)
  }
  walk(node, (each) => {
    if (!('kind' in each)) return true
    if (each.kind === 'assign' || each.kind === 'step') {
      if (each.target !== null) add(each.target)
    }
    if (each.kind === 'unary' && each.op === '&') add(each.operand)
    if (each.kind === 'declaration') changed.add(each.declaration.name.text)
    return true
  })
  return changed
}
