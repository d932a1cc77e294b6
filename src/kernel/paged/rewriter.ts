// Rewrites a kernel to go through the page table: every load, store and atomic of heap memory becomes a call of a generated
// function on an address; pointers become addresses. Everything else stays as the user wrote it.
//
//   y[i] += a * x[i];      { let hm_a = hm_at1(i, 1u, 0u); let hm_p = hm_w(hm_a);
//                            hm_keep0(hm_p, hm_lp_f32(hm_p) + (a * hm_ld_f32(hm_at0(i, 1u, 1u)))); }
//   let p = &n[i].key;     let p = hm_ref2(i, 3u) + 1u;
//   *p = 7u;               hm_keep1(hm_w(hm_null(p, 2u)), 7u);

import {
  type Analysis,
  alignOf,
  type Call,
  type Expression,
  emit,
  type Fragment,
  type FunctionInfo,
  fragmentFor,
  generated,
  type Ident,
  join,
  type Node,
  type Source,
  type Statement,
  sizeOf,
  structLayout,
  type Type,
  typeText,
  valueType,
} from '../../wgsl/index.ts'
import { ATOMIC_OPS } from './atomic-memory.ts'
import { asCall } from './execution.ts'
import { Foresight } from './foresight.ts'
import { callersOf, type HeapAccess, isHeap, type Roots } from './heap-access.ts'
import { HeldStores } from './held-stores.ts'
import { ImmediateAtomics } from './immediate-atomics.ts'
import { type LoopSite, Loops } from './loops.ts'
import type { PagedPlan } from './paged-plan.ts'
import type { PagedSite } from './paged-program.ts'
import { SpanBodies, type SpanSite } from './span-bodies.ts'
import { isLeaf, strideWords, TypedAccess } from './typed-access.ts'

export class Rewriter {
  readonly typed = new TypedAccess()
  readonly held: HeldStores
  private readonly once: ImmediateAtomics
  readonly sites: PagedSite[] = []
  private readonly access: HeapAccess
  private readonly analysis: Analysis
  private readonly source: Source
  private readonly plan: PagedPlan
  private readonly argNames: readonly string[]
  private readonly siteNumbers = new Map<Node, number>()
  // Functions that hold stores in registers have a copy for every call, with registers of its own.
  private readonly copied: ReadonlySet<FunctionInfo>
  private readonly copies = new Map<FunctionInfo, Fragment[]>()
  private readonly helpers = new Map<string, string>()
  private readonly spans: SpanBodies
  private readonly foresight: Foresight
  private readonly loops: Loops

  constructor(access: HeapAccess, plan: PagedPlan, argNames: readonly string[], spans: ReadonlySet<string>) {
    this.access = access
    this.analysis = access.analysis
    this.source = access.analysis.module.source
    this.plan = plan
    this.argNames = argNames
    this.held = new HeldStores(plan, this.typed)
    this.once = new ImmediateAtomics(this.held)
    this.foresight = new Foresight(access, plan)
    const { typed } = this
    const site: SpanSite['site'] = (...place) => this.site(...place)
    this.spans = new SpanBodies({ plan, typed, access, argNames, spans, site })
    const { events } = plan.execution
    const holding = events.filter(({ kind, node }) => kind !== 'load' && !plan.immediate.has(node)).map(({ fn }) => fn)
    this.copied = plan.hold === 'registers' ? callersOf(access.functions, holding) : new Set()
    const { foresight, inHeader, replace } = this
    const emitted: LoopSite['emit'] = (node) => this.emit(node)
    const row: LoopSite['row'] = (...place) => this.row(...place)
    this.loops = new Loops({ access, plan, foresight, inHeader, replace, emit: emitted, row })
  }

  /** The functions of the kernel; the entry point comes out as an ordinary function of the same name. */
  functions(entry: FunctionInfo): ReadonlyMap<FunctionInfo, Fragment> {
    // The entry point first: it reaches the copies in the order in which their stores happen.
    const whole = this.function(entry, entry.name)
    const texts = new Map<FunctionInfo, Fragment>()
    for (const fn of this.access.functions) {
      if (fn === entry) texts.set(fn, whole)
      else texts.set(fn, this.copied.has(fn) ? join(this.copies.get(fn) ?? [], '\n') : this.function(fn, fn.name))
    }
    return texts
  }

  /** See PagedProgram. */
  get rows(): readonly number[] {
    return this.loops.rows
  }

  /** See Foresight. */
  get vague(): number {
    return this.foresight.vague
  }

  /** Functions that the rewritten code calls. */
  get wgsl(): string {
    // The order matters: what is held asks for functions of its own.
    const held = this.held.wgsl
    return [...this.helpers.values(), this.spans.wgsl, this.once.wgsl, held, this.typed.wgsl].join('\n')
  }

  private function(fn: FunctionInfo, name: string): Fragment {
    const span = this.spans.textOf(fn)
    if (span !== null) return generated`${span}`
    const f = fragmentFor(this.source, fn.node)
    const params = fn.node.params.map((param) => {
      return fragmentFor(this.source, param)`${param.name.text}: ${this.emit(param.type)}`
    })
    const result = fn.node.returnType === null ? '' : f` -> ${this.emit(fn.node.returnType)}`
    const header = f`fn ${name}(${join(params, ', ')})${result} `
    const { start, body } = fn.node
    return f`${padLines(header, this.source.slice({ start, end: body.start }))}${this.emit(body)}`
  }

  private emit(node: Node): Fragment {
    return emit(this.source, node, this.replace)
  }

  /** What replaces a node has as many lines as it, so that the user's lines keep their numbers. */
  private readonly replace = (node: Node): Fragment | null => {
    const replaced = this.replacement(node)
    return replaced === null ? null : padLines(replaced, this.source.slice(node))
  }

  private replacement(node: Node): Fragment | null {
    if (!('kind' in node)) return null
    switch (node.kind) {
      case 'for':
        return this.loops.forLoop(node)
      case 'while':
        return this.loops.loop(node, node.body, [node.condition])
      case 'loop':
        return this.loops.loop(node, node.body, [])
      case 'assign':
      case 'step':
        return this.assignment(node, 'block')
      case 'call statement':
        return this.callStatement(node.call, ';')
      case 'ident':
      case 'member':
      case 'index':
      case 'unary':
      case 'paren':
      case 'call':
        return this.expression(node)
      default:
        return null
    }
  }

  // ---- Statements ----

  /** An assignment or a call as a part of the header of a loop. */
  private readonly inHeader = (statement: Statement): Fragment | null => {
    if (statement.kind === 'assign' || statement.kind === 'step') return this.assignment(statement, 'header')
    if (statement.kind === 'call statement') return this.callStatement(statement.call, '')
    return this.replace(statement)
  }

  /** See LoopSite. */
  private row(element: Expression & { kind: 'index' }, needs: number, count: Fragment): Fragment {
    const isStored = this.plan.execution.events.some(({ kind, node }) => {
      return kind === 'store' && 'target' in node && node.target === element
    })
    const site = this.site(element, isStored ? 'store' : 'load', this.access.rootsOf(element))
    const known = this.foresight.of(element)
    const address = generated`hm_site(${this.place(element, site, true)}, ${(known.needs | needs) >>> 0}u, ${known.bit}u)`
    const arg = this.access.argumentOf(element.base) as number
    const stride = strideWords((pointedAt(this.analysis.typeOf(element.base)) as Type & { kind: 'array' }).element)
    return generated` hm_row(${address}, ${count}, ${stride}u, hm_launch.args[${arg}].xy);`
  }

  private assignment(s: Statement & { kind: 'assign' | 'step' }, where: 'block' | 'header'): Fragment | null {
    const { target } = s
    const semicolon = where === 'block' ? ';' : ''
    if (target === null) {
      const atomic = s.kind === 'assign' ? asCall(s.value) : null
      return atomic === null ? null : this.deferred(atomic, semicolon)
    }
    if (!this.access.isPlace(target)) return null
    const f = fragmentFor(this.source, s)
    const type = valueType(this.analysis.typeOf(target))
    const site = this.site(target, 'store', this.access.rootsOf(target))
    const address = this.address(target, site, target)
    if (s.kind === 'assign' && s.op === '=') {
      const value = this.emit(s.value)
      const isSteady = this.plan.steady.has(s)
      return f`${isSteady ? this.held.storeSteadily(type, address, value) : this.held.store(type, address, value)}${semicolon}`
    }
    const op = s.kind === 'assign' ? s.op.slice(0, -1) : s.op[0]
    const value = s.kind === 'assign' ? this.emit(s.value) : generated`1`
    if (where === 'block') return f`{ let hm_a = ${address}; ${this.update(target, type, op, generated`(${value})`)} }`
    // The header of a `for` has room for a call only.
    const operand = s.kind === 'assign' ? typeText(valueType(this.analysis.typeOf(s.value))) : typeText(type)
    const name = `hm_update${this.helpers.size}`
    const operandType = operand.startsWith('abstract') ? typeText(type) : operand
    const body = this.update(target, type, op, generated`v`).text
    this.helpers.set(name, `fn ${name}(hm_a: u32, v: ${operandType}) { ${body} }`)
    return f`${name}(${address}, ${value})`
  }

  /** What `target op= value` does at the address `hm_a`. A leaf is looked up once, for both its load and its store. */
  private update(target: Expression, type: Type, op: string, value: Fragment): Fragment {
    const flags = this.flags(target)
    if (isLeaf(type)) {
      const sum = generated`${this.typed.loadPlace(type, flags)}(hm_p) ${op} ${value}`
      return generated`let hm_p = hm_w(hm_a); ${this.held.storeAt(type, generated`hm_p`, sum)};`
    }
    const sum = generated`${this.typed.load(type, flags)}(hm_a) ${op} ${value}`
    return generated`${this.held.store(type, generated`hm_a`, sum)};`
  }

  private callStatement(call: Call, semicolon: string): Fragment | null {
    const waiting = this.deferred(call, semicolon)
    if (waiting !== null) return waiting
    const replaced = this.call(call)
    return replaced === null ? null : generated`${replaced}${semicolon}`
  }

  /** A store or atomic without result as a statement; null if the call is none, or happens at once. */
  private deferred(call: Call, semicolon: string): Fragment | null {
    const f = fragmentFor(this.source, call)
    const helper = this.access.helperOf(call)
    const what = this.atomicOf(call)
    if (helper?.does === 'store') {
      const address = this.reach(call, helper.type, true)
      const value = this.emit(call.args[1])
      return f`${this.held.store(helper.type, address, value)}${semicolon}`
    }
    if (what === null || this.plan.immediate.has(call) || what.op === 'atomicLoad') return null
    const address = what.address()
    const value = this.emit(call.args[1])
    if (what.op === 'atomicStore' && this.plan.bound.size === 0) {
      return f`${this.held.store(what.type, address, value)}${semicolon}`
    }
    // A store is an exchange whose result nobody uses.
    const op = ATOMIC_OPS.find((name) => what.op === `atomic${name}`) ?? 'Exchange'
    return f`${this.held.atomic(what.type, op, address, value)}${semicolon}`
  }

  // ---- Expressions ----

  private expression(e: Expression): Fragment | null {
    if (this.access.isPlace(e)) {
      const f = fragmentFor(this.source, e)
      const site = this.site(e, 'load', this.access.rootsOf(e))
      return f`${this.typed.load(valueType(this.analysis.typeOf(e)), this.flags(e))}(${this.address(e, site, e)})`
    }
    if (e.kind === 'call') return this.call(e)
    if (e.kind === 'ident') return this.typeName(e)
    if (e.kind === 'unary' && e.op === '&' && this.access.isPointer(e)) return this.pointer(e)
    return null
  }

  /** `ptr<storage, T>` becomes the type of addresses, or of ranges of them. */
  private typeName(e: Ident): Fragment | null {
    const [space, target] = e.template
    const isStorage = e.name === 'ptr' && space?.kind === 'ident' && space.name === 'storage'
    if (!isStorage || this.analysis.declarationOf(e) !== null) return null
    return fragmentFor(this.source, e)`${this.isRuntimeArrayName(target) ? 'vec2<u32>' : 'u32'}`
  }

  private isRuntimeArrayName(e: Expression): boolean {
    if (e.kind !== 'ident') return false
    const declaration = this.analysis.declarationOf(e)
    if (declaration?.kind === 'type') return isRuntimeArray(declaration.type)
    return e.name === 'array' && e.template.length === 1
  }

  /** The address of a place, with the checks of an access. `node` is the access as Foresight knows it. */
  private address(e: Expression, site: number, node: Node): Fragment {
    return this.announced(this.place(e, site, true), node)
  }

  /** An address, and before it is looked up, on what it depends. */
  private announced(address: Fragment, node: Node): Fragment {
    const { needs, bit } = this.foresight.of(node)
    return generated`hm_site(${address}, ${needs}u, ${bit}u)`
  }

  /** `isAccess`: the place is loaded or stored now; otherwise a pointer to it is made, which may never be used. */
  private place(e: Expression, site: number, isAccess: boolean): Fragment {
    const f = fragmentFor(this.source, e)
    switch (e.kind) {
      case 'paren':
        return this.place(e.inner, site, isAccess)
      case 'unary':
        return this.target(e.operand, site, isAccess)
      case 'index': {
        const whole = pointedAt(this.analysis.typeOf(e.base))
        const index = this.index(e.index)
        if (whole.kind === 'array' && whole.count === 'runtime') {
          const stride = strideWords(whole.element)
          const arg = this.wholeArgument(e.base)
          if (arg === undefined) return f`hm_at_span(${this.span(e.base)}, ${index}, ${stride}u, ${site}u)`
          return isAccess ? f`hm_at${arg}(${index}, ${stride}u, ${site}u)` : f`hm_ref${arg}(${index}, ${stride}u)`
        }
        const { count, stride } = partsOf(whole)
        const base = this.base(e.base, site, isAccess)
        const known = this.analysis.constantOf(e.index)
        if (typeof known === 'number' && known >= 0 && known < count) return f`${base} + ${known * stride}u`
        return f`${base} + hm_in(${index}, ${count}u, ${stride}u, ${site}u)`
      }
      case 'member': {
        const whole = pointedAt(this.analysis.typeOf(e.base))
        const base = this.base(e.base, site, isAccess)
        return f`${base} + ${memberWords(whole, e.name.text)}u`
      }
      default:
        throw new TypeError(`${e.kind} is no place in the heap`)
    }
  }

  /** The address of what a member or element is a part of: a place, or what a pointer points to. */
  private base(e: Expression, site: number, isAccess: boolean): Fragment {
    return this.access.isPointer(e) ? this.target(e, site, isAccess) : this.place(e, site, isAccess)
  }

  private target(pointer: Expression, site: number, isAccess: boolean): Fragment {
    if (pointer.kind === 'paren') return this.target(pointer.inner, site, isAccess)
    // `*&x[i]` is x[i].
    if (pointer.kind === 'unary' && pointer.op === '&') return this.place(pointer.operand, site, isAccess)
    const f = fragmentFor(this.source, pointer)
    return isAccess ? f`hm_null(${this.pointer(pointer)}, ${site}u)` : this.pointer(pointer)
  }

  /** A pointer as a value: an address, or a range of them for a runtime-sized array. */
  private pointer(e: Expression): Fragment {
    if (isRuntimeArray(pointedAt(this.analysis.typeOf(e)))) return this.span(e)
    if (e.kind === 'paren') return generated`(${this.pointer(e.inner)})`
    if (e.kind !== 'unary' || e.op !== '&') return this.emit(e)
    const site = this.site(e, 'address', this.access.rootsOf(e))
    return this.place(e.operand, site, false)
  }

  /** The range of a runtime-sized array, given as a place or as a pointer. */
  private span(e: Expression): Fragment {
    const arg = this.wholeArgument(e)
    if (arg !== undefined) return fragmentFor(this.source, e)`hm_launch.args[${arg}].xy`
    if (e.kind === 'paren') return this.span(e.inner)
    return e.kind === 'unary' ? this.span(e.operand) : this.emit(e)
  }

  /** The argument that `x`, `&x`, `*&x` or `(x)` are. */
  private wholeArgument(e: Expression): number | undefined {
    if (e.kind === 'paren') return this.wholeArgument(e.inner)
    if (e.kind === 'unary' && (e.op === '&' || e.op === '*')) return this.wholeArgument(e.operand)
    return this.access.argumentOf(e)
  }

  private index(e: Expression): Fragment {
    const type = typeText(valueType(this.analysis.typeOf(e)))
    const f = fragmentFor(this.source, e)
    if (type === 'abstract-int') return f`${(this.analysis.constantOf(e) as number) >>> 0}u`
    return type === 'i32' ? f`hm_u(${this.emit(e)})` : this.emit(e)
  }

  private call(e: Call): Fragment | null {
    const f = fragmentFor(this.source, e)
    const helper = this.access.helperOf(e)
    if (helper?.does === 'load') {
      return f`${this.typed.load(helper.type, this.flags(e))}(${this.reach(e, helper.type, false)})`
    }
    const atomic = this.atomicOf(e)
    if (atomic !== null) return this.immediate(e, atomic)
    const callee = this.access.calleeOf(e)
    if (callee !== null) {
      const args = e.args.map((arg) => (this.access.isPointer(arg) ? this.pointer(arg) : this.emit(arg)))
      return f`${this.nameOf(callee)}(${join(args, ', ')})`
    }
    if (
      e.callee.name === 'arrayLength' &&
      this.analysis.declarationOf(e.callee) === null &&
      this.access.isPointer(e.args[0])
    ) {
      const arg = this.wholeArgument(e.args[0])
      return arg === undefined ? f`(${this.span(e.args[0])}).y` : f`hm_launch.args[${arg}u].y`
    }
    return null
  }

  /** The name of a function at a call; one that holds stores in registers gets a copy for the call. */
  private nameOf(callee: FunctionInfo): string {
    if (!this.copied.has(callee)) return callee.name
    const copies = this.copies.get(callee) ?? []
    this.copies.set(callee, copies)
    const name = copies.length === 0 ? callee.name : `hm_${callee.name}_${copies.length}`
    // The place is taken first: numbers follow the order of calls, not of nesting.
    const k = copies.push(generated``) - 1
    copies[k] = this.function(callee, name)
    return name
  }

  private reach(call: Call, type: Type, isWrite: boolean): Fragment {
    // A vector lies in one page if it begins where vectors do.
    const align = alignOf(type) / 4
    const isAtomic = this.access.helperOf(call)?.does.startsWith('atomic')
    const site = this.site(call, isAtomic ? 'atomic' : isWrite ? 'store' : 'load', new Set(), align)
    const is64 = valueType(this.analysis.typeOf(call.args[0])).kind === 'vector'
    const f = fragmentFor(this.source, call)
    const address = f`hm_reach${is64 ? '64' : ''}(${this.emit(call.args[0])}, ${sizeOf(type) / 4}u, ${align}u, ${String(isWrite)}, ${site}u)`
    return this.announced(address, call)
  }

  /** What an atomic function does to the heap; null for every other call. */
  private atomicOf(e: Call): { op: string; type: Type; address: () => Fragment } | null {
    const helper = this.access.helperOf(e)
    if (helper?.does.startsWith('atomic')) {
      return {
        op: helper.does,
        type: helper.type,
        address: () => this.reach(e, helper.type, helper.does !== 'atomicLoad'),
      }
    }
    const isBuiltin = e.callee.name.startsWith('atomic') && this.analysis.declarationOf(e.callee) === null
    if (!isBuiltin || !this.access.isPointer(e.args[0])) return null
    const store = pointedAt(this.analysis.typeOf(e.args[0]))
    const type = store.kind === 'atomic' ? store.element : store
    const address = (): Fragment => {
      return this.announced(this.target(e.args[0], this.site(e, 'atomic', this.access.rootsOf(e.args[0])), true), e)
    }
    return { op: e.callee.name, type, address }
  }

  /** An atomic that happens at once, and at most once. */
  private immediate(e: Call, { op, type, address }: { op: string; type: Type; address: () => Fragment }): Fragment {
    const f = fragmentFor(this.source, e)
    const place = address()
    if (op === 'atomicLoad') {
      const noted = this.plan.immediate.has(e)
      if (this.plan.bound.size === 0) return f`${this.typed.load(type, { seeing: false, noted })}(${place})`
      const word = f`atomicLoad(&hm_atomics[${place}])`
      return f`bitcast<${typeText(type)}>(${noted ? f`hm_once(${word})` : word})`
    }
    const values = e.args.slice(1).map((arg) => this.emit(arg))
    return f`${this.once.functionFor(op, type)}(${join([place, ...values], ', ')})`
  }

  private flags(node: Node): { seeing: boolean; noted: boolean } {
    return { seeing: this.plan.seeing.has(node), noted: this.plan.noted.has(node) }
  }

  private site(node: Node, kind: PagedSite['kind'], roots: Roots, align = 1): number {
    const known = this.siteNumbers.get(node)
    if (known !== undefined) return known
    const [root] = roots
    const arg = roots.size === 1 && root >= 0 ? this.argNames[root] : null
    const site = this.sites.push({ ...this.source.position(node.start), kind, arg, align }) - 1
    this.siteNumbers.set(node, site)
    return site
  }
}

/** Adds the line breaks that a text has lost to its rewriting. */
export function padLines(fragment: Fragment, original: string): Fragment {
  const count = (text: string): number => text.split('\n').length - 1
  const lost = count(original) - count(fragment.text)
  return lost > 0 ? generated`${fragment}${'\n'.repeat(lost)}` : fragment
}

/** What a place holds, or a pointer points to. */
function pointedAt(type: Type): Type {
  return isHeap(type, 'pointer') || isHeap(type, 'reference') ? type.store : type
}

function isRuntimeArray(type: Type): boolean {
  return type.kind === 'array' && type.count === 'runtime'
}

/** How many elements an array, vector or matrix has, and words from one to the next. */
function partsOf(type: Type): { count: number; stride: number } {
  if (type.kind === 'array') return { count: type.count as number, stride: strideWords(type.element) }
  if (type.kind === 'matrix') return { count: type.columns, stride: type.rows === 2 ? 2 : 4 }
  if (type.kind === 'vector') return { count: type.size, stride: 1 }
  throw new TypeError(`${typeText(type)} has no elements`)
}

function memberWords(type: Type, name: string): number {
  if (type.kind === 'struct') return structLayout(type).find((member) => member.name === name)!.offset / 4
  return 'xyzwrgba'.indexOf(name) % 4
}
