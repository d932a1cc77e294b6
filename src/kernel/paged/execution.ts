// What one invocation does to the heap, in the order in which it does it: loads, stores, atomics and barriers, with the functions
// that it calls in their places and the loops as intervals. From this it follows which loads may see a store of their own invocation.

import type { Block, Call, Expression, FunctionInfo, Node, Statement, Type } from '../../wgsl/index.ts'
import { BARRIERS, valueType, walk } from '../../wgsl/index.ts'
import { type HeapAccess, isHeap, mayOverlap, POINTERS, type Roots } from './heap-access.ts'

export interface HeapEvent {
  readonly kind: 'load' | 'store' | 'atomic'
  readonly node: Node
  readonly fn: FunctionInfo
  readonly roots: Roots
  /** What is loaded or stored; of an atomic, its element. */
  readonly type: Type
  /** The atomic function, '' for the others. */
  readonly op: string
  /** Whether anything is done with the result of an atomic. */
  readonly isUsed: boolean
  /** Place in the order. */
  readonly at: number
}

export interface BarrierEvent {
  readonly name: string
  readonly node: Call
  readonly fn: FunctionInfo
  readonly at: number
}

/** Places from `start` to before `end` may happen again and again. */
export interface LoopInterval {
  readonly start: number
  readonly end: number
  /** How often, at most; Infinity where nobody knows. */
  readonly times: number
}

// Functions stand in the order once for each way to call them; beyond this many events a kernel is refused.
const EVENTS_MAX = 2000

export class TooLargeError extends Error {}

export class Execution {
  readonly events: HeapEvent[] = []
  readonly barriers: BarrierEvent[] = []
  readonly loops: LoopInterval[] = []
  private readonly access: HeapAccess
  private fn: FunctionInfo
  private clock = 0

  /** Throws a TooLargeError for a kernel that calls functions in too many ways. */
  constructor(access: HeapAccess, entry: FunctionInfo) {
    this.access = access
    this.fn = entry
    this.block(entry.node.body)
  }

  isInLoop({ at }: { at: number }): boolean {
    return this.loops.some(({ start, end }) => start <= at && at < end)
  }

  /** How often an event happens, at most. */
  timesOf({ at }: { at: number }): number {
    return this.loops.reduce((times, loop) => (loop.start <= at && at < loop.end ? times * loop.times : times), 1)
  }

  /** Whether `later` may happen after `earlier` in one invocation. */
  mayFollow(earlier: { at: number }, later: { at: number }): boolean {
    if (earlier.at < later.at) return true
    return this.loops.some(({ start, end }) => [earlier, later].every(({ at }) => start <= at && at < end))
  }

  /** Writes after which an event may happen, to memory that may be the same. */
  writesBefore(event: HeapEvent): HeapEvent[] {
    return this.events.filter(
      (write) =>
        isWrite(write) && mayOverlap(write.roots, event.roots) && this.mayFollow(write, event) && write !== event,
    )
  }

  private add(kind: HeapEvent['kind'], node: Node, roots: Roots, type: Type, op = '', isUsed = false): void {
    if (this.events.length >= EVENTS_MAX) throw new TooLargeError()
    this.events.push({ kind, node, fn: this.fn, roots, type, op, isUsed, at: this.clock++ })
  }

  // ---- Statements ----

  private block({ statements }: Block): void {
    for (const statement of statements) this.statement(statement)
  }

  private loop(parts: () => void, times = Number.POSITIVE_INFINITY): void {
    const start = this.clock
    parts()
    this.loops.push({ start, end: this.clock, times })
  }

  /** How often `for (var k = 0u; k < 8u; k++)` goes through its body: known if both ends are constants and the body leaves k alone. */
  private timesOfFor({ init, condition, update, body }: Statement & { kind: 'for' }): number {
    const { analysis } = this.access
    const name = init?.kind === 'declaration' ? init.declaration.name.text : null
    const isCounter = (e: Expression | null): boolean => e?.kind === 'ident' && e.name === name
    const isCounted = update?.kind === 'step' && update.op === '++' && isCounter(update.target)
    if (init?.kind !== 'declaration' || !isCounted || condition?.kind !== 'binary') return Number.POSITIVE_INFINITY
    let isChanged = !isCounter(condition.left) || condition.op !== '<'
    walk(body, (node) => {
      if (!('kind' in node)) return true
      if (node.kind === 'assign' || node.kind === 'step') isChanged ||= isCounter(node.target)
      if (node.kind === 'unary' && node.op === '&') isChanged ||= isCounter(node.operand)
      return true
    })
    const first = init.declaration.init === null ? 0 : analysis.constantOf(init.declaration.init)
    const end = analysis.constantOf(condition.right)
    if (isChanged || typeof first !== 'number' || typeof end !== 'number') return Number.POSITIVE_INFINITY
    return Math.max(0, end - first)
  }

  private statement(s: Statement): void {
    switch (s.kind) {
      case 'block':
        this.block(s)
        break
      case 'if':
        this.value(s.condition)
        this.block(s.then)
        if (s.else !== null) this.statement(s.else)
        break
      case 'switch':
        this.value(s.selector)
        for (const { body } of s.clauses) this.block(body)
        break
      case 'loop':
        this.loop(() => {
          this.block(s.body)
          if (s.continuing !== null) this.block(s.continuing)
        })
        break
      case 'for':
        if (s.init !== null) this.statement(s.init)
        this.loop(() => {
          if (s.condition !== null) this.value(s.condition)
          this.block(s.body)
          if (s.update !== null) this.statement(s.update)
        }, this.timesOfFor(s))
        break
      case 'while':
        this.loop(() => {
          this.value(s.condition)
          this.block(s.body)
        })
        break
      case 'break if':
        this.value(s.condition)
        break
      case 'return':
        if (s.value !== null) this.value(s.value)
        break
      case 'assign':
        this.assign(s.target, s.op, s.value, s)
        break
      case 'step':
        this.assign(s.target, s.op, null, s)
        break
      case 'call statement':
        this.call(s.call, false)
        break
      case 'declaration':
        if (s.declaration.init !== null) this.value(s.declaration.init)
        break
    }
  }

  private assign(target: Expression | null, op: string, value: Expression | null, statement: Statement): void {
    const isHeap = target !== null && this.access.isPlace(target)
    if (target !== null) this.address(target)
    if (isHeap && op !== '=') this.load(target)
    if (value !== null) {
      const atomic = target === null ? asCall(value) : null
      if (atomic === null) this.value(value)
      else this.call(atomic, false)
    }
    if (isHeap)
      this.add('store', statement, this.access.rootsOf(target), valueType(this.access.analysis.typeOf(target)))
  }

  // ---- Expressions ----

  private value(e: Expression): void {
    if (this.access.isPlace(e)) {
      this.address(e)
      this.load(e)
      return
    }
    switch (e.kind) {
      case 'paren':
        this.value(e.inner)
        break
      case 'unary':
        if (e.op === '&') this.address(e.operand)
        else this.value(e.operand)
        break
      case 'member':
        this.value(e.base)
        break
      case 'index':
        this.value(e.base)
        this.value(e.index)
        break
      case 'binary':
        this.value(e.left)
        this.value(e.right)
        break
      case 'call':
        this.call(e, true)
        break
    }
  }

  private load(e: Expression): void {
    this.add('load', e, this.access.rootsOf(e), valueType(this.access.analysis.typeOf(e)))
  }

  /** What is worked out to find a place. */
  private address(e: Expression): void {
    switch (e.kind) {
      case 'paren':
        this.address(e.inner)
        break
      case 'member':
        this.address(e.base)
        break
      case 'index':
        this.address(e.base)
        this.value(e.index)
        break
      case 'unary':
        if (e.op === '&') this.address(e.operand)
        else this.value(e.operand)
        break
      case 'call':
        this.call(e, true)
        break
    }
  }

  private call(e: Call, isUsed: boolean): void {
    const { access } = this
    const { name } = e.callee
    const helper = access.helperOf(e)
    const callee = access.calleeOf(e)
    for (const arg of e.args) this.value(arg)
    if (helper !== null) {
      const kind = helper.does === 'load' || helper.does === 'store' ? helper.does : 'atomic'
      this.add(kind, e, new Set([POINTERS]), helper.type, kind === 'atomic' ? helper.does : '', isUsed)
    } else if (callee !== null) {
      const caller = this.fn
      this.fn = callee
      this.block(callee.node.body)
      this.fn = caller
    } else if (access.analysis.declarationOf(e.callee) === null) {
      if (BARRIERS.has(name)) this.barriers.push({ name, node: e, fn: this.fn, at: this.clock++ })
      const pointer = name.startsWith('atomic') ? access.analysis.typeOf(e.args[0]) : null
      if (pointer !== null && isHeap(valueType(pointer), 'pointer')) {
        const { store } = valueType(pointer) as { store: Type }
        const type = store.kind === 'atomic' ? store.element : store
        this.add('atomic', e, access.rootsOf(e.args[0]), type, name, isUsed)
      }
    }
  }
}

/** Whether an event changes memory. */
export function isWrite({ kind, op }: HeapEvent): boolean {
  return kind === 'store' || (kind === 'atomic' && op !== 'atomicLoad')
}

/** The call that an expression is, in parentheses or not. */
export function asCall(e: Expression): Call | null {
  if (e.kind === 'paren') return asCall(e.inner)
  return e.kind === 'call' ? e : null
}
