// Which accesses a transaction may still tell about after it has missed something. What it has missed is known by the place in the code, a
// bit for each; an address is known as long as nothing was missed on which it, or the way to it, depends. So a loop over a row whose pages are
// absent tells all of them at once, and not what it would find there:
//
//   for (var k = 0u; k < 8u; k++) {        depends on nothing that is loaded: goes on
//     sum += table[rows[k]];               rows: bit 0, depends on nothing     table: bit 1, depends on bit 0
//   }
//
// A variable depends on everything that was ever assigned to it, and on the conditions under which that happened. What this finds out is a
// hint: a page that comes in vain costs a copy.

import { childrenOf, type Expression, type FunctionInfo, type Node, type Statement } from '../../wgsl/index.ts'
import { conditionsOf } from './data-flow.ts'
import type { HeapAccess } from './heap-access.ts'
import type { PagedPlan } from './paged-plan.ts'
import { ASTRAY } from './paged-program.ts'

/** What an access depends on, and what depends on it: bits of places in the code. */
export interface Known {
  readonly needs: number
  readonly bit: number
}

const PLACES = 30
const EVERYTHING = 2 ** PLACES - 1

export class Foresight {
  /** Places whose values are not what they should be once anything was missed: they may be of an own store, or an atomic that waits. */
  readonly vague: number
  private readonly access: HeapAccess
  private readonly bits = new Map<Node, number>()
  private readonly needs = new Map<Node, number>()
  // Of variables (by their declarations), parameters, and what functions return.
  private readonly values = new Map<object, number>()
  /** The conditions under which functions are called. */
  private readonly calls = new Map<FunctionInfo, number>()
  private isChanged = true

  constructor(access: HeapAccess, { execution, seeing, immediate }: PagedPlan) {
    this.access = access
    let vague = 0
    for (const { kind, node } of execution.events) {
      if (kind === 'store' || this.bits.has(node)) continue
      const bit = 2 ** (this.bits.size % PLACES)
      this.bits.set(node, bit)
      if (seeing.has(node) || immediate.has(node)) vague |= bit
    }
    this.vague = vague
    while (this.isChanged) {
      this.isChanged = false
      for (const fn of access.functions) this.visit(fn.node.body, this.calls.get(fn) ?? 0, fn)
    }
  }

  /** Of an access: the place that is loaded or stored, or the call. */
  of(node: Node): Known {
    return { needs: this.needsOf(node), bit: this.bits.get(node) ?? 0 }
  }

  /** On what it depends whether a loop goes on. */
  needsOf(node: Node): number {
    return (this.needs.get(node) ?? EVERYTHING) | ASTRAY
  }

  // ---- Statements ----

  /** `under`: what it depends on whether the node is reached. Returns the same for its function being left within. */
  private visit(node: Node, under: number, fn: FunctionInfo): number {
    if (!('kind' in node)) return 0
    switch (node.kind) {
      case 'block':
        return this.visitAll(node.statements, under, fn)
      case 'if': {
        const inner = under | this.value(node.condition, under)
        return this.visit(node.then, inner, fn) | (node.else === null ? 0 : this.visit(node.else, inner, fn))
      }
      case 'switch': {
        const inner = under | this.value(node.selector, under)
        return node.clauses.reduce((left, clause) => left | this.visit(clause.body, inner, fn), 0)
      }
      case 'loop':
      case 'for':
      case 'while': {
        const before = node.kind === 'for' && node.init !== null ? this.visit(node.init, under, fn) : 0
        const inner = conditionsOf(node).reduce((sum, condition) => sum | this.value(condition, under), under | before)
        this.add(this.needs, node, inner)
        const last = node.kind === 'for' ? node.update : node.kind === 'loop' ? node.continuing : null
        return before | this.visitAll(last === null ? [node.body] : [node.body, last], inner, fn)
      }
      case 'return':
        if (node.value !== null) this.add(this.values, fn, under | this.value(node.value, under))
        return under
      case 'declaration': {
        const { init } = node.declaration
        if (init === null) return 0
        this.lend(init)
        this.add(this.values, node.declaration, under | this.value(init, under))
        return 0
      }
      case 'assign':
      case 'step':
        this.assign(node, under)
        return 0
      default:
        for (const child of childrenOf(node)) this.value(child as Expression, under)
        return 0
    }
  }

  private visitAll(nodes: readonly Node[], under: number, fn: FunctionInfo): number {
    return nodes.reduce((left, node) => left | this.visit(node, under | left, fn), 0)
  }

  private assign(statement: Statement & { kind: 'assign' | 'step' }, under: number): void {
    const { target } = statement
    const value = statement.kind === 'assign' ? this.value(statement.value, under) : 0
    if (target === null) return
    const where = this.value(target, under)
    if (this.access.isPlace(target)) return
    const variable = this.variableOf(target)
    if (variable !== null) this.add(this.values, variable, under | value | where)
  }

  // ---- Expressions ----

  /** On what the value of an expression depends, and everything that is accessed for it. */
  private value(e: Expression, under: number): number {
    if (!('kind' in e)) return 0
    if (e.kind === 'ident') return this.variable(e)
    if (e.kind === 'call') return this.call(e, under)
    if (e.kind === 'binary') {
      const left = this.value(e.left, under)
      const isShort = e.op === '&&' || e.op === '||'
      return left | this.value(e.right, isShort ? under | left : under)
    }
    const parts = childrenOf(e).reduce((sum, child) => sum | this.value(child as Expression, under), 0)
    if (this.access.isPlace(e)) this.add(this.needs, e, under | parts)
    return parts | (this.bits.get(e) ?? 0)
  }

  private call(e: Expression & { kind: 'call' }, under: number): number {
    const callee = this.access.calleeOf(e)
    const values = e.args.map((arg) => this.value(arg, under))
    e.args.forEach((arg, i) => {
      this.lend(arg)
      if (callee !== null) this.add(this.values, callee.params[i], under | values[i])
    })
    if (callee !== null) {
      this.add(this.calls, callee, under)
      return this.values.get(callee) ?? 0
    }
    const isAccess = this.access.helperOf(e) !== null || e.callee.name.startsWith('atomic')
    // A place is where it is, whatever is stored there.
    if (isAccess) this.add(this.needs, e, under | values[0])
    return values.reduce((sum, value) => sum | value, this.bits.get(e) ?? 0)
  }

  /** What is stored through a pointer to a variable is not followed. */
  private lend(e: Expression): void {
    const variable = e.kind === 'unary' && e.op === '&' && !this.access.isPointer(e) ? this.variableOf(e) : null
    if (variable !== null) this.add(this.values, variable, EVERYTHING)
  }

  private variable(e: Expression & { kind: 'ident' }): number {
    const declaration = this.access.analysis.declarationOf(e)
    if (declaration === null || this.access.isPlace(e)) return 0
    const type = this.access.analysis.typeOf(e)
    // Others may have stored there what they made of a page that they miss.
    if (type.kind === 'reference' && type.space === 'workgroup') return EVERYTHING
    return this.values.get(declaration.kind === 'variable' ? declaration.node : declaration) ?? 0
  }

  /** What declares the variable that an expression is in; null for memory of the heap, and what a pointer points to. */
  private variableOf(e: Expression): object | null {
    if (e.kind === 'paren') return this.variableOf(e.inner)
    if (e.kind === 'member' || e.kind === 'index') return this.variableOf(e.base)
    if (e.kind === 'unary') return this.variableOf(e.operand)
    const declaration = e.kind === 'ident' ? this.access.analysis.declarationOf(e) : null
    return declaration?.kind === 'variable' ? declaration.node : declaration
  }

  private add<K extends object>(to: Map<K, number>, key: K, bits: number): void {
    const before = to.get(key)
    const after = (before ?? 0) | bits
    if (before === after) return
    to.set(key, after)
    this.isChanged = true
  }
}
