// Why a kernel cannot run through a page table, found in its source: the rules of what a transaction can hold. Each refusal names the
// line. What passes here runs paged with the results that it has with direct bindings.

import {
  BARRIERS,
  type EntryPoint,
  type FunctionInfo,
  type Node,
  type Span,
  WgslError,
  walk,
} from '../../wgsl/index.ts'
import { DataFlow } from './data-flow.ts'
import { ENTRY_VALUES } from './entry.wgsl.ts'
import type { HeapEvent } from './execution.ts'
import { isWrite } from './execution.ts'
import { callersOf, type HeapAccess, mayOverlap } from './heap-access.ts'
import type { PagedPlan } from './paged-plan.ts'
import { hasHalfWords } from './typed-access.ts'

// Builtin names that the generated code uses; a module that declares one of them anew would change its meaning.
const NEEDED_NAMES =
  /^(?:bool|[iuf]32|vec[234]|mat[234]x[234]|array|atomic|ptr|select|min|max|bitcast|workgroupUniformLoad|atomic(?:Load|Store|Add|Sub|Max|Min|And|Or|Xor|Exchange|CompareExchangeWeak))$/

/** Throws a WgslError of kind `paging` at the first thing that cannot be. */
export function checkPaging(access: HeapAccess, entry: EntryPoint | FunctionInfo, plan: PagedPlan): void {
  const fail = (reason: string, span: Span): never => {
    throw new WgslError('paging', reason, access.analysis.module.source, span)
  }
  checkNames(access, fail)
  if ('kind' in entry) checkStep(access, plan, fail)
  else checkInputs(entry, fail)
  checkCalls(access, fail)
  for (const { type, node } of plan.execution.events) {
    if (hasHalfWords(type)) fail('two numbers of 16 bits share a word, which cannot be stored alone', node)
  }
  if (plan.scope === 'workgroup' && !('kind' in entry)) checkWorkgroup(access, entry, plan, fail)
  checkWaiting(access, plan, fail)
}

type Fail = (reason: string, span: Span) => never

function checkNames({ analysis }: HeapAccess, fail: Fail): void {
  for (const { name, module, node } of analysis.globals.values()) {
    if (module !== analysis.module) continue
    if (NEEDED_NAMES.test(name)) fail(`"${name}" hides a builtin name that paging needs`, node.name)
    if (name.startsWith('hm_')) fail(`"${name}": names that begin with hm_ are the library's`, node.name)
  }
}

function checkInputs({ inputs, function: fn }: EntryPoint, fail: Fail): void {
  for (const { builtin, param } of inputs) {
    if (builtin in ENTRY_VALUES) continue
    const place = fn.node.params.find(({ name }) => name.text === param)
    fail(`${builtin} depends on which invocations run together, and a replay runs others`, place ?? fn.node)
  }
}

/** Steps of different invocations run at different times, and what is not in the state is gone after a step. */
function checkStep({ analysis, functions }: HeapAccess, plan: PagedPlan, fail: Fail): void {
  for (const fn of functions) {
    walk(fn.node.body, (node) => {
      if (!('kind' in node) || node.kind !== 'ident') return true
      const type = analysis.declarationOf(node) === null ? null : analysis.typeOf(node)
      if (type?.kind !== 'reference') return true
      if (type.space === 'workgroup')
        fail('invocations do not step together, so they share no memory of a workgroup', node)
      if (type.space === 'private') fail(`"${node.name}" is gone after a step: keep it in the state`, node)
      return true
    })
  }
  for (const { node } of plan.execution.barriers)
    fail('invocations do not step together, so no barrier brings them together', node)
  for (const node of plan.immediate) fail('the result of an atomic cannot be kept between steps', node)
}

function checkCalls({ functions }: HeapAccess, fail: Fail): void {
  for (const { builtinCalls } of functions) {
    for (const { name, call } of builtinCalls) {
      if (/^(?:subgroup|quad)/.test(name))
        fail(`${name} works across invocations of which some may have to be replayed`, call)
      if (name.startsWith('texture')) fail(`${name}: textures are not in the heap`, call)
    }
  }
}

function checkWorkgroup(access: HeapAccess, entry: EntryPoint, plan: PagedPlan, fail: Fail): void {
  const { execution } = plan
  const size = entry.workgroupSize
  if (size === null || size.includes(null))
    fail('the workgroup size depends on an override without a value', entry.function.node)
  for (const barrier of execution.barriers) {
    if (barrier.name !== 'storageBarrier') continue
    const crossing = execution.events.find((event) => isSeenAcross(plan, event, barrier))
    if (crossing === undefined) continue
    const { line } = access.analysis.module.source.position(crossing.node.start)
    fail(
      `what line ${line} accesses is stored before this barrier, and stores become visible when the workgroup ends`,
      barrier.node,
    )
  }
  const flow = new DataFlow(access, { conditions: true })
  const unsteady = flow.unsteadyBarrier(barrierFunctions(access))
  if (unsteady !== null)
    fail(`a barrier depends on ${unsteady.on}, which is not known before all pages are there`, unsteady.node)
  if (plan.hasJournal) {
    const local = usedWorkgroupAtomic(access)
    if (local !== null)
      fail(
        'the result of this atomic differs when the workgroup is replayed, but heap atomics that happened do not',
        local,
      )
  }
}

/** Whether a barrier is to make a store visible to an access of other invocations. */
function isSeenAcross({ execution }: PagedPlan, event: HeapEvent, barrier: { at: number }): boolean {
  if (event.kind === 'atomic') return false
  return execution.events.some((store) => {
    if (!isWrite(store) || store.kind === 'atomic' || !mayOverlap(store.roots, event.roots)) return false
    return execution.mayFollow(store, barrier) && execution.mayFollow(barrier, event)
  })
}

/** Functions in which a barrier may happen. */
function barrierFunctions({ functions }: HeapAccess): Set<FunctionInfo> {
  return callersOf(
    functions,
    [...functions].filter((fn) => fn.builtinCalls.some(({ name }) => BARRIERS.has(name))),
  )
}

function usedWorkgroupAtomic({ analysis, functions }: HeapAccess): Node | null {
  for (const fn of functions) {
    const statements = new Set(callStatements(fn))
    for (const { name, call } of fn.builtinCalls) {
      if (!name.startsWith('atomic') || name === 'atomicLoad' || name === 'atomicStore' || statements.has(call))
        continue
      const pointer = analysis.typeOf(call.args[0])
      if (pointer.kind === 'pointer' && pointer.space === 'workgroup') return call
    }
  }
  return null
}

function callStatements(fn: FunctionInfo): Node[] {
  const found: Node[] = []
  walk(fn.node, (node) => {
    if ('kind' in node && node.kind === 'call statement') found.push(node.call)
    return true
  })
  return found
}

/** Loops that wait for another invocation never end where that one has to be replayed first. */
function checkWaiting(access: HeapAccess, plan: PagedPlan, fail: Fail): void {
  const waiting = new DataFlow(access, { conditions: false }).waitingLoop(plan.execution.events)
  if (waiting !== null) fail('this loop waits for another invocation, which may have to be replayed first', waiting)
}
