// What values depend on, as far as the rules of paging ask: on memory that may be missing (what is computed from it is not known
// until all pages are there), and on what changes from one turn of a loop to the next. A variable depends on everything that was ever
// assigned to it, and on the conditions under which that happened.

import {
  type Call,
  childrenOf,
  type Declaration,
  type Expression,
  type FunctionInfo,
  type Node,
  type Statement,
  walk,
} from '../../wgsl/index.ts'
import type { HeapEvent } from './execution.ts'
import type { HeapAccess } from './heap-access.ts'

type Tagged = Extract<Node, { kind: string }>
type LoopStatement = Extract<Statement, { kind: 'loop' | 'for' | 'while' }>

export class DataFlow {
  private readonly access: HeapAccess
  // Variables, parameters and functions (their results) that depend on memory.
  private readonly loaded = new Set<Declaration>()
  private readonly followsConditions: boolean

  /** `conditions`: what is assigned under a condition depends on it too. */
  constructor(access: HeapAccess, { conditions }: { conditions: boolean }) {
    this.access = access
    this.followsConditions = conditions
    for (let size = -1; size !== this.loaded.size; ) {
      size = this.loaded.size
      for (const fn of access.functions) this.spread(fn.node.body, false, fn)
    }
  }

  /**
   * A barrier under a condition that depends on memory: its invocations would part. `functions` are those in which barriers may
   * happen. Null if there is none.
   */
  unsteadyBarrier(functions: ReadonlySet<FunctionInfo>): { node: Node; on: string } | null {
    for (const fn of functions) {
      const found = this.findUnsteady(fn.node.body, null, functions)
      if (found !== null) return found
    }
    return null
  }

  private findUnsteady(
    node: Node,
    condition: Expression | null,
    functions: ReadonlySet<FunctionInfo>,
  ): { node: Node; on: string } | null {
    if ('kind' in node && node.kind === 'call' && condition !== null && this.isBarrier(node, functions)) {
      const { line } = this.access.analysis.module.source.position(condition.start)
      return { node, on: `the condition in line ${line}` }
    }
    const isLoop = 'kind' in node && (node.kind === 'loop' || node.kind === 'for' || node.kind === 'while')
    const unsteady = conditionsOf(node).find((each) => this.dependsOnMemory(each, isLoop))
    for (const child of childrenOf(node)) {
      const found = this.findUnsteady(child, unsteady ?? condition, functions)
      if (found !== null) return found
    }
    return null
  }

  private isBarrier(call: Call, functions: ReadonlySet<FunctionInfo>): boolean {
    const callee = this.access.calleeOf(call)
    if (callee !== null) return functions.has(callee)
    return /Barrier$|^workgroupUniformLoad$/.test(call.callee.name)
  }

  /** A loop that does nothing but look at memory until it changes; null if there is none. */
  waitingLoop(events: readonly HeapEvent[]): Node | null {
    for (const fn of this.access.functions) {
      let found: Node | null = null
      walk(fn.node, (node) => {
        if ('kind' in node && isLoop(node) && this.isWaiting(node, events)) found ??= node
        return found === null
      })
      if (found !== null) return found
    }
    return null
  }

  /** Every turn asks the same memory the same question: no variable that it uses for that is ever changed in the loop. */
  private isWaiting(loop: LoopStatement, events: readonly HeapEvent[]): boolean {
    const inside = events.filter(({ node }) => loop.start <= node.start && node.end <= loop.end)
    const questions = inside.filter(
      ({ op }) => op === 'atomicLoad' || op === 'atomicCompareExchangeWeak' || op === 'atomicExchange',
    )
    if (questions.length === 0) return false
    const changed = new Set<Declaration>()
    walk(loop, (node) => {
      const target = assignedBy(node)
      const declaration = target === null ? null : this.variableOf(target)
      if (declaration !== null) changed.add(declaration)
      return true
    })
    // What the loop declares anew in each turn counts as changed if its value does.
    for (let size = -1; size !== changed.size; ) {
      size = changed.size
      walk(loop, (node) => {
        if (!('kind' in node) || node.kind !== 'declaration') return true
        const { init } = node.declaration
        const declaration = this.declared(loop, node.declaration)
        if (declaration !== null && init !== null && this.uses(init, changed)) changed.add(declaration)
        return true
      })
    }
    const loads = new Set(questions.filter(({ op }) => op === 'atomicLoad').map(({ node }) => node))
    const exchanges = questions.filter(({ op }) => op !== 'atomicLoad')
    if (exchanges.some(({ node }) => this.uses(node, changed) || this.usesLoad(node, loads, loop))) return false
    if (inside.some(({ kind, op }) => kind === 'store' || (kind === 'atomic' && !isQuestion(op)))) return false
    return questions.every(({ node }) => !this.uses(node, changed)) && !this.isCounted(loop, changed)
  }

  /** Whether a condition of the loop is about something else than memory. */
  private isCounted(loop: LoopStatement, changed: ReadonlySet<Declaration>): boolean {
    let isCounted = false
    walk(loop, (node) => {
      for (const condition of conditionsOf(node))
        isCounted ||= this.uses(condition, changed) && !this.dependsOnMemory(condition, true)
      return !isCounted
    })
    return isCounted
  }

  /** Whether what an exchange expects comes from a load in the same turn: then it is an update, and somebody always gets through. */
  private usesLoad(node: Node, loads: ReadonlySet<Node>, loop: LoopStatement): boolean {
    if (loads.size === 0) return false
    const fromLoad = new Set<Declaration>()
    for (let size = -1; size !== fromLoad.size; ) {
      size = fromLoad.size
      walk(loop, (inner) => {
        if (!('kind' in inner) || inner.kind !== 'declaration' || inner.declaration.init === null) return true
        let hasLoad = this.uses(inner.declaration.init, fromLoad)
        walk(inner.declaration.init, (part) => {
          hasLoad ||= loads.has(part)
          return true
        })
        const declaration = this.declared(loop, inner.declaration)
        if (hasLoad && declaration !== null) fromLoad.add(declaration)
        return true
      })
    }
    return this.uses(node, fromLoad)
  }

  private uses(node: Node, declarations: ReadonlySet<Declaration>): boolean {
    let isFound = false
    walk(node, (inner) => {
      if ('kind' in inner && inner.kind === 'ident') {
        const declaration = this.access.analysis.declarationOf(inner)
        isFound ||= declaration !== null && declarations.has(declaration)
      }
      return !isFound
    })
    return isFound
  }

  /** The declaration that a node makes, found by one of its uses. */
  private declared(within: Node, node: Node): Declaration | null {
    let found: Declaration | null = null
    walk(within, (inner) => {
      if ('kind' in inner && inner.kind === 'ident') {
        const declaration = this.access.analysis.declarationOf(inner)
        if (declaration?.node === node) found = declaration
      }
      return found === null
    })
    return found
  }

  private variableOf(target: Expression): Declaration | null {
    switch (target.kind) {
      case 'paren':
        return this.variableOf(target.inner)
      case 'member':
      case 'index':
        return this.variableOf(target.base)
      case 'unary':
        return this.variableOf(target.operand)
      case 'ident':
        return this.access.analysis.declarationOf(target)
      default:
        return null
    }
  }

  // ---- Dependence on memory ----

  private spread(node: Node, isUnder: boolean, fn: FunctionInfo): void {
    if ('kind' in node) {
      const target = assignedBy(node)
      if (target !== null) {
        const declaration = this.variableOf(target)
        const isLoaded = isUnder || (node.kind === 'assign' && this.dependsOnMemory(node.value, true))
        if (declaration !== null && isLoaded) this.loaded.add(declaration)
      }
      if (node.kind === 'return' && node.value !== null && (isUnder || this.dependsOnMemory(node.value, true)))
        this.loaded.add(fn)
      if (node.kind === 'call') this.spreadCall(node, isUnder)
    }
    const isBelow = conditionsOf(node).some((condition) => this.dependsOnMemory(condition, true))
    const inner = isUnder || (this.followsConditions && isBelow)
    for (const child of childrenOf(node)) this.spread(child, inner, fn)
  }

  private spreadCall(call: Call, isUnder: boolean): void {
    const callee = this.access.calleeOf(call)
    if (callee === null) return
    callee.params.forEach((param, i) => {
      if (isUnder || this.dependsOnMemory(call.args[i], true)) this.loaded.add(param)
    })
    // What a function stores through a pointer is not followed: the variable counts as loaded.
    for (const arg of call.args) {
      if (arg.kind !== 'unary' || arg.op !== '&' || this.access.isPointer(arg)) continue
      const declaration = this.variableOf(arg)
      if (declaration !== null) this.loaded.add(declaration)
    }
  }

  /** `evenShared`: a value that all invocations of a workgroup load alike counts too. */
  private dependsOnMemory(e: Expression, evenShared: boolean): boolean {
    const { analysis } = this.access
    let isLoaded = false
    walk(e, (node) => {
      if (!('kind' in node)) return true
      const isShared = node.kind === 'call' && node.callee.name === 'workgroupUniformLoad'
      if (isShared && !evenShared) return false
      if (isExpression(node)) {
        const type = analysis.typeOf(node)
        const inMemory = type.kind === 'reference' && (type.space === 'storage' || type.space === 'workgroup')
        isLoaded ||= inMemory || (node.kind === 'call' && /^atomic|^load|^workgroupUniformLoad$/.test(node.callee.name))
      }
      if (node.kind === 'ident') {
        const declaration = analysis.declarationOf(node)
        if (declaration?.kind === 'variable' && declaration.node.kind !== 'var' && declaration.node.init !== null) {
          if (declaration.function !== null && this.dependsOnMemory(declaration.node.init, evenShared)) isLoaded = true
        } else if (
          declaration?.kind === 'variable' &&
          declaration.function !== null &&
          declaration.node.init !== null
        ) {
          if (this.dependsOnMemory(declaration.node.init, evenShared)) isLoaded = true
        }
        isLoaded ||= declaration !== null && this.loaded.has(declaration)
      }
      return !isLoaded
    })
    return isLoaded
  }
}

const isQuestion = (op: string): boolean =>
  op === 'atomicLoad' || op === 'atomicCompareExchangeWeak' || op === 'atomicExchange'

function isLoop(node: Tagged): node is LoopStatement {
  return node.kind === 'loop' || node.kind === 'for' || node.kind === 'while'
}

const EXPRESSIONS: ReadonlySet<string> = new Set([
  'ident',
  'literal',
  'call',
  'index',
  'member',
  'unary',
  'binary',
  'paren',
])

function isExpression(node: Tagged): node is Tagged & Expression {
  return EXPRESSIONS.has(node.kind)
}

function assignedBy(node: Node): Expression | null {
  if (!('kind' in node)) return null
  return node.kind === 'assign' || node.kind === 'step' ? node.target : null
}

/** The conditions that decide about what is inside of a statement: for a loop, also those of its breaks. */
export function conditionsOf(node: Node): Expression[] {
  if (!('kind' in node)) return []
  switch (node.kind) {
    case 'if':
    case 'while':
      return [node.condition, ...(node.kind === 'while' ? exitConditions(node) : [])]
    case 'for':
      return [...(node.condition === null ? [] : [node.condition]), ...exitConditions(node)]
    case 'loop':
      return exitConditions(node)
    case 'switch':
      return [node.selector]
    default:
      return []
  }
}

/** Conditions under which a loop is left from inside. */
function exitConditions(loop: LoopStatement): Expression[] {
  const found: Expression[] = []
  const visit = (node: Node, conditions: readonly Expression[]): void => {
    if (!('kind' in node)) {
      for (const child of childrenOf(node)) visit(child, conditions)
      return
    }
    if (node.kind === 'break' || node.kind === 'return' || node.kind === 'continue') found.push(...conditions)
    if (node.kind === 'break if') found.push(node.condition)
    const own = node.kind === 'if' ? [node.condition] : node.kind === 'switch' ? [node.selector] : []
    for (const child of childrenOf(node)) visit(child, [...conditions, ...own])
  }
  for (const child of childrenOf(loop)) visit(child, [])
  return found
}
