// The loops of a kernel, rewritten. Each of them ends when something has gone wrong, or it might never; but not loops with barriers, where
// all have to stay together. Those that go along rows look the rows up first (rows.ts).
//
//   for (var i = first; i < end; i++) { ... }          for (var i = first; i < 0xffffffffu; i++) { if (i >= end | hm_ends(..)) { break; } ... }
//
// Compilers of WGSL count the turns of each loop so that it ends some day, unless they see that it does: with a constant in its condition. On
// devices that run all branches, what they count costs as much as an access.

import {
  type Analysis,
  type Block,
  type Expression,
  emitSpan,
  type Fragment,
  type FunctionInfo,
  fragmentFor,
  generated,
  join,
  type Node,
  type Source,
  type Statement,
  typeText,
  valueType,
  walk,
} from '../../wgsl/index.ts'
import { isWrite } from './execution.ts'
import type { Foresight } from './foresight.ts'
import { callersOf, type HeapAccess, mayOverlap } from './heap-access.ts'
import type { PagedPlan } from './paged-plan.ts'
import {
  argumentBit,
  OPTIMISTIC_OVERRIDE,
  PRESENT_OVERRIDE,
  SCOUT_OVERRIDE,
  UNKNOWN_ARGUMENT,
} from './paged-program.ts'
import { type CountedLoop, countedLoopOf, type Rows, rowsOf } from './rows.ts'

type For = Statement & { kind: 'for' }

/** Turns of a loop that need not be kept from those for whom something has gone wrong. */
const SHORT_TURNS = 256

/** The largest values of counters. */
const LARGEST: Readonly<Record<string, string>> = { u32: '0xffffffffu', i32: '0x7fffffff' }

export interface LoopSite {
  readonly access: HeapAccess
  readonly plan: PagedPlan
  readonly foresight: Foresight
  emit(node: Node): Fragment
  /** The header of a loop has room for less than a block. */
  inHeader(statement: Statement): Fragment | null
  replace(node: Node): Fragment | null
  /** Looks up the pages of `count` elements from one on. */
  row(element: Expression & { kind: 'index' }, needs: number, count: Fragment): Fragment
}

export class Loops {
  /** See PagedProgram. */
  readonly rows: number[] = []
  private readonly on: LoopSite
  private readonly analysis: Analysis
  private readonly source: Source
  private readonly withBarrier: ReadonlySet<FunctionInfo>

  constructor(on: LoopSite) {
    this.on = on
    this.analysis = on.access.analysis
    this.source = this.analysis.module.source
    this.withBarrier = callersOf(
      on.access.functions,
      on.plan.execution.barriers.map(({ fn }) => fn),
    )
  }

  /** A `while`, or a `loop`; `before` is what it works out before its body. Null where it stays as it is. */
  loop(node: Statement, body: Block, before: readonly Node[]): Fragment | null {
    if (this.hasBarrier(node)) return null
    const guarded = this.guard(node, body)
    const replace = (part: Node): Fragment | null => (part === body ? guarded : this.on.replace(part))
    const parts = node.kind === 'loop' && node.continuing !== null ? [body, node.continuing] : [...before, body]
    return emitSpan(this.source, node, parts, replace)
  }

  forLoop(node: For): Fragment {
    const { access, plan } = this.on
    if (this.hasBarrier(node)) return this.plainFor(node, { body: this.on.emit(node.body) })
    const counted = countedLoopOf(node, access)
    const rows = counted === null || plan.hasJournal || plan.bound.size > 0 ? null : rowsOf(counted, access)
    if (counted === null) return this.plainFor(node, { body: this.guard(node, node.body) })
    return rows === null ? this.countedFor(counted, null) : this.rowFor(counted, rows)
  }

  /** The counter begins at `first` where that is not null, and the end of the loop is loaded once if it can be. */
  private countedFor(counted: CountedLoop, names: { first: string; end: Fragment } | null): Fragment {
    const { node, counter, end } = counted
    const init = names === null ? {} : { init: generated`var ${counter.name}${this.typeOf(counted)} = ${names.first}` }
    const turns = this.turnsOf(counted)
    const largest = LARGEST[typeText(valueType(this.analysis.typeOf(counter)))]
    if (turns !== null || largest === undefined) {
      const isShort = turns !== null && turns <= SHORT_TURNS
      return this.plainFor(node, { ...init, body: this.guard(node, node.body, isShort) })
    }
    const bound = names?.end ?? generated`(${this.on.emit(end)})`
    const body = this.guard(node, node.body, false, generated`(${counter.name} >= ${bound}) | `)
    const condition = generated`${counter.name} < ${largest}`
    return this.plainFor(node, { ...init, condition, body })
  }

  /** The rows are looked up between the first value of the counter and the loop. */
  private rowFor(counted: CountedLoop, rows: Rows): Fragment {
    const { node, counter, end } = counted
    const { on } = this
    const f = fragmentFor(this.source, node)
    const first = f`let hm_first${this.typeOf(counted)} = ${on.emit(counted.first)};`
    const isOnce = this.isLoadedOnce(end, node.body)
    const bound = isOnce ? generated`hm_end` : generated`(${on.emit(end)})`
    const once = isOnce ? f` let hm_end = ${on.emit(end)};` : ''
    const needs = on.foresight.needsOf(node)
    const looks = rows.elements.map((element) => on.row(element, needs, generated`u32(${bound} - ${counter.name})`))
    const others = this.othersIn(node.body, rows.elements)
    this.rows.push(others)
    const scouts = `${SCOUT_OVERRIDE} && (${others}u & ~${PRESENT_OVERRIDE}) == 0u`
    const look = f`let ${counter.name} = hm_first; if (${counter.name} < ${bound}) {${join(looks, '')} if (${scouts}) { hm_ready(); } }`
    const loop = this.countedFor(counted, { first: 'hm_first', end: bound })
    return f`{ ${first}${once} if (!${OPTIMISTIC_OVERRIDE}) { ${look} } if (!(${scouts})) { ${loop} } }`
  }

  /** As the user wrote it, but for some parts. */
  private plainFor(node: For, replaced: { init?: Fragment; condition?: Fragment; body: Fragment }): Fragment {
    const parts = [node.init, node.condition, node.update, node.body].filter((part) => part !== null)
    return emitSpan(this.source, node, parts, (part) => {
      if (part === node.body) return replaced.body
      if (part === node.init && replaced.init !== undefined) return replaced.init
      if (part === node.condition) return replaced.condition ?? this.on.replace(part)
      return this.on.inHeader(part as Statement)
    })
  }

  /** `isShort`: the optimistic form need not ask. `before`: on what else it depends whether the loop ends. */
  private guard(node: Statement, body: Block, isShort = false, before: Fragment = generated``): Fragment {
    const { replace, foresight } = this.on
    const brace = this.source.text.indexOf('{', body.attributes.at(-1)?.end ?? body.start)
    const rest = emitSpan(this.source, { start: brace + 1, end: body.end }, body.statements, replace)
    const head = emitSpan(this.source, { start: body.start, end: brace + 1 }, body.attributes, replace)
    const check = generated`if (${before}hm_ends(${foresight.needsOf(node)}u)) { break; }`
    return generated`${head} ${isShort ? generated`if (!${OPTIMISTIC_OVERRIDE}) { ${check} }` : check}${rest}`
  }

  /** How often a loop turns, if the code says so. */
  private turnsOf({ first, end }: CountedLoop): number | null {
    const [from, to] = [first, end].map((e) => this.analysis.constantOf(e))
    return typeof from === 'number' && typeof to === 'number' ? Math.max(0, to - from) : null
  }

  /** `: u32` if the user wrote it. */
  private typeOf({ type }: CountedLoop): Fragment {
    return type === null ? generated`` : generated`: ${this.on.emit(type)}`
  }

  /** Bits of the arguments that a loop accesses besides some elements. */
  private othersIn(body: Node, elements: readonly Node[]): number {
    const isWithin = ({ start, end }: Node): boolean => body.start <= start && end <= body.end
    const isElement = (node: Node): boolean => {
      const isStore = 'kind' in node && (node.kind === 'assign' || node.kind === 'step')
      return elements.includes(isStore && node.target !== null ? node.target : node)
    }
    const others = this.on.plan.execution.events.filter(({ node }) => isWithin(node) && !isElement(node))
    const calls = this.callsWithin(body).length > 0 ? UNKNOWN_ARGUMENT : 0
    return others.flatMap(({ roots }) => [...roots]).reduce((bits, root) => bits | argumentBit(root), calls) >>> 0
  }

  /**
   * Whether the end of rows is loaded from memory that stays the same as long as the loop goes on, so that once is enough. What others store
   * there meanwhile is theirs to see at any time.
   */
  private isLoadedOnce(end: Expression, body: Block): boolean {
    const isIn = (node: Node, whole: Node): boolean => whole.start <= node.start && node.end <= whole.end
    const { events } = this.on.plan.execution
    const loads = events.filter(({ node }) => isIn(node, end))
    const writes = events.filter((event) => isWrite(event) && isIn(event.node, body))
    let hasVariables = false
    walk(end, (node) => {
      const type = 'kind' in node && node.kind === 'ident' ? this.analysis.typeOf(node) : null
      hasVariables ||= type?.kind === 'reference' && type.space !== 'storage' && type.space !== 'uniform'
      return !hasVariables
    })
    if (loads.length === 0 || hasVariables || this.callsWithin(body).length > 0) return false
    return !writes.some((write) => loads.some(({ roots }) => mayOverlap(roots, write.roots)))
  }

  private hasBarrier(node: Statement): boolean {
    const { start, end } = node
    return (
      this.on.plan.execution.barriers.some(({ fn, node: call }) => {
        return fn.node.start <= start && end <= fn.node.end && start <= call.start && call.end <= end
      }) || this.callsWithin(node).some((callee) => this.withBarrier.has(callee))
    )
  }

  private callsWithin({ start, end }: Node): FunctionInfo[] {
    return [...this.on.access.functions].flatMap(({ calls }) =>
      calls.filter(({ call }) => start <= call.start && call.end <= end).map(({ callee }) => callee),
    )
  }
}
