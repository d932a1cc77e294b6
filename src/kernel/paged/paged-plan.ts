// How a kernel runs through a page table, decided from its source alone: what is one transaction, how its stores are held back until
// it commits, which loads have to see stores of their own transaction, and which of its steps happen once and are noted.
//
// - Stores outside loops, and those in loops that are always to the same element, wait in a register each. Other stores in loops go to a log
//   that grows when it is full. Or they do not wait at all: a kernel
//   that reads nothing of what it writes is run twice, dry, which finds out what is missing, and if nothing is, with its stores. Nobody
//   else writes what it reads as long as the launch lasts, so the second time goes the way of the first.
// - Atomics whose results nobody uses wait like stores. The others happen at once, at most once, and their results are noted in a
//   journal, from which a replay takes them. A replay must take the same way as the first attempt, or what happened would not
//   fit what comes; so loads of memory that other invocations may change are noted too.
// - Where all atomics are in arguments that are nothing else, these can be bound directly: then the rest of the pool is plain memory.

import { type Declaration, type FunctionInfo, type Node, sizeOf, type Type, walk } from '../../wgsl/index.ts'
import { Execution, type HeapEvent, isWrite } from './execution.ts'
import { type HeapAccess, mayOverlap } from './heap-access.ts'
import { NEAR_ENTRIES } from './log.wgsl.ts'
import { isLeaf } from './typed-access.ts'

export interface PagedPlan {
  readonly scope: 'invocation' | 'workgroup' | 'step'
  readonly hold: 'registers' | 'log' | 'dry run'
  /** Arguments with atomics that are bound directly. */
  readonly bound: ReadonlySet<number>
  /** Some memory of the pool is accessed by atomics. */
  readonly isPoolAtomic: boolean
  readonly hasJournal: boolean
  /** Stores in loops that wait in a register of their own: see steadyStores. */
  readonly steady: ReadonlySet<Node>
  /** Stores and atomics wait in the log together. */
  readonly defersAtomics: boolean
  /** Loads that may follow a store of their own transaction to the same memory. */
  readonly seeing: ReadonlySet<Node>
  /** Loads that are noted in the journal. */
  readonly noted: ReadonlySet<Node>
  /** Atomics that happen at once. */
  readonly immediate: ReadonlySet<Node>
  readonly execution: Execution
}

// Registers of one invocation that may hold stores back, in words; more go to the log.
const REGISTER_WORDS_MAX = 64

/** `bindable` are the arguments that may be bound directly: they are, if that is all that atomics are used on. */
export function planPaging(
  access: HeapAccess,
  entry: FunctionInfo,
  { isStep, bindable }: { isStep: boolean; bindable: ReadonlySet<number> },
): PagedPlan {
  const execution = new Execution(access, entry)
  const { events } = execution
  const atomics = events.filter(({ kind }) => kind === 'atomic')
  const isBound = atomics.length > 0 && atomics.every(({ roots }) => [...roots].every((root) => bindable.has(root)))
  const immediate = immediateAtomics(execution, atomics)
  const hasJournal = immediate.size > 0
  const deferred = atomics.filter((event) => isWrite(event) && !immediate.has(event.node))
  const stores = events.filter(({ kind }) => kind === 'store')
  const loads = events.filter(({ kind }) => kind === 'load')
  const seeing = new Set<Node>()
  let seesWholes = false
  for (const load of loads) {
    const before = execution.writesBefore(load).filter(({ kind }) => kind === 'store')
    if (before.length > 0) seeing.add(load.node)
    seesWholes ||= before.some(({ type }) => !isLeaf(type))
  }
  const waiting = [...stores, ...deferred]
  const steady = steadyStores(access, execution)
  const hasLoopStores = waiting.some((event) => execution.isInLoop(event) && !steady.has(event.node))
  const isTooMuch = waiting.reduce((words, { type }) => words + 1 + sizeOf(type) / 4, 0) > REGISTER_WORDS_MAX
  const scope = usesWorkgroup(access, execution) ? 'workgroup' : isStep ? 'step' : 'invocation'
  const isMuch = hasLoopStores || seesWholes || isTooMuch
  const isDry = isMuch && scope === 'invocation' && !hasJournal && canRunDry(execution, waiting)
  return {
    scope,
    hold: isDry ? 'dry run' : isMuch ? 'log' : 'registers',
    bound: isBound ? new Set(atomics.flatMap(({ roots }) => [...roots])) : new Set(),
    isPoolAtomic: atomics.length > 0 && !isBound,
    hasJournal,
    steady,
    defersAtomics: deferred.length > 0,
    seeing,
    noted: hasJournal ? changingLoads(events) : new Set(),
    immediate,
    execution,
  }
}

/**
 * Stores such as `found[0] = 1u`: to an element that the code names, in a loop or not, of an array that nothing else changes and of which the
 * transaction reads nothing afterwards. Of all that are held back the last one counts, so a register does for them.
 */
function steadyStores(access: HeapAccess, execution: Execution): Set<Node> {
  const { events } = execution
  const found = events.filter((event) => {
    const { kind, node, roots, type } = event
    if (kind !== 'store' || !isLeaf(type) || !execution.isInLoop(event) || !('kind' in node)) return false
    const place = node.kind === 'assign' && node.op === '=' && node.target?.kind === 'index' ? node.target : null
    if (place === null || access.argumentOf(place.base) === undefined) return false
    if (access.analysis.constantOf(place.index) === null) return false
    const others = events.filter((other) => other !== event && mayOverlap(other.roots, roots))
    return !others.some((other) => isWrite(other) || execution.mayFollow(event, other))
  })
  return new Set(found.map(({ node }) => node))
}

/**
 * Whether a kernel may be run twice, and that costs less than a log. It may if it reads nothing of what it writes. It costs less where more is
 * stored than a log has room for in registers, unless there is a loop that only reads or computes: that would be gone through twice for
 * stores that are few beside it.
 */
function canRunDry(execution: Execution, waiting: readonly HeapEvent[]): boolean {
  const { events, loops } = execution
  const words = waiting.reduce((sum, event) => sum + (execution.timesOf(event) * sizeOf(event.type)) / 4, 0)
  if (words <= NEAR_ENTRIES) return false
  const writes = events.filter(isWrite)
  const reads = events.filter(({ kind, op }) => kind === 'load' || op === 'atomicLoad')
  const readsOwn = reads.some(({ roots }) => writes.some((write) => mayOverlap(write.roots, roots)))
  return !readsOwn && loops.every(({ start, end }) => waiting.some(({ at }) => start <= at && at < end))
}

/** Atomics whose results are used, and those that share memory with them: an order among them has to be kept. */
function immediateAtomics(execution: Execution, atomics: readonly HeapEvent[]): Set<Node> {
  const writes = atomics.filter(isWrite)
  const needed = atomics.filter((event) => {
    // A load alone can be repeated; one that may follow an own change of the memory cannot wait for the commit.
    if (event.op === 'atomicLoad') return execution.writesBefore(event).length > 0
    return event.isUsed || event.op === 'atomicCompareExchangeWeak'
  })
  if (needed.length === 0) return new Set()
  const immediate = new Set<Node>()
  const roots = needed.map((event) => event.roots)
  // Once there is a journal, every atomic load belongs in it.
  for (const event of atomics) if (event.op === 'atomicLoad') immediate.add(event.node)
  for (const event of writes) {
    if (needed.includes(event) || roots.some((other) => mayOverlap(other, event.roots))) immediate.add(event.node)
  }
  return immediate
}

/** Loads of memory that the launch also writes. */
function changingLoads(events: readonly HeapEvent[]): Set<Node> {
  const writes = events.filter(isWrite)
  const loads = events.filter(
    ({ kind, roots }) => kind === 'load' && writes.some((write) => mayOverlap(write.roots, roots)),
  )
  return new Set(loads.map(({ node }) => node))
}

/** Kernels whose invocations talk to each other commit by workgroups. */
function usesWorkgroup({ analysis, functions }: HeapAccess, { barriers }: Execution): boolean {
  if (barriers.length > 0) return true
  const isWorkgroup = (type: Type): boolean =>
    (type.kind === 'reference' || type.kind === 'pointer') && type.space === 'workgroup'
  const shared = [...analysis.globals.values()].filter(
    (global) => global.kind === 'variable' && isWorkgroup(global.type),
  )
  return shared.length > 0 && [...functions].some((fn) => namesOneOf(analysis, fn, shared))
}

function namesOneOf(analysis: HeapAccess['analysis'], fn: FunctionInfo, declarations: readonly Declaration[]): boolean {
  let isFound = false
  walk(fn.node, (node) => {
    if ('kind' in node && node.kind === 'ident') {
      const declaration = analysis.declarationOf(node)
      isFound ||= declaration !== null && declarations.includes(declaration)
    }
    return !isFound
  })
  return isFound
}
