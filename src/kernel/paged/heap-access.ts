// Which expressions of a kernel name memory of the heap, and of which argument. A pointer of WGSL cannot be stored or selected, so
// what it points into is known from the text: by its `let`, or by the calls that pass it on.

import type { Analysis, Call, Expression, FunctionInfo, ParameterInfo, PointerType, Type } from '../../wgsl/index.ts'
import type { PointerHelper } from './pointer-helpers.ts'

/** Indices of arguments; POINTERS stands for everything that pointers may touch, arguments among them. */
export type Roots = ReadonlySet<number>
export const POINTERS = -1

export class HeapAccess {
  readonly analysis: Analysis
  readonly helpers: ReadonlyMap<string, PointerHelper>
  /** Functions that the entry point may call, itself first. */
  readonly functions: ReadonlySet<FunctionInfo>
  private readonly args: ReadonlyMap<string, number>
  private readonly paramRoots = new Map<ParameterInfo, Set<number>>()

  constructor(
    analysis: Analysis,
    entry: FunctionInfo,
    argNames: readonly string[],
    helpers: ReadonlyMap<string, PointerHelper>,
  ) {
    this.analysis = analysis
    this.helpers = helpers
    this.args = new Map(argNames.map((name, i) => [name, i]))
    this.functions = reachable(entry)
    this.spreadRoots()
  }

  /** Whether an expression names memory of the heap: loading it is a load through the page table. */
  isPlace(e: Expression): boolean {
    return isHeap(this.analysis.typeOf(e), 'reference')
  }

  /** Whether an expression is a pointer into the heap. */
  isPointer(e: Expression): boolean {
    return isHeap(this.analysis.typeOf(e), 'pointer')
  }

  /** The argument that an expression is as a whole, undefined for every other one. */
  argumentOf(e: Expression): number | undefined {
    if (e.kind === 'paren') return this.argumentOf(e.inner)
    const declaration = e.kind === 'ident' ? this.analysis.declarationOf(e) : null
    if (declaration?.kind !== 'variable' || declaration.function !== null) return undefined
    return this.args.get(declaration.name)
  }

  /** The arguments that a place or pointer may be in. */
  rootsOf(e: Expression): Roots {
    switch (e.kind) {
      case 'paren':
        return this.rootsOf(e.inner)
      case 'member':
      case 'index':
        return this.rootsOf(e.base)
      case 'unary':
        return this.rootsOf(e.operand)
      case 'ident': {
        const arg = this.argumentOf(e)
        if (arg !== undefined) return new Set([arg])
        const declaration = this.analysis.declarationOf(e)
        if (declaration?.kind === 'parameter') return this.paramRoots.get(declaration) ?? new Set()
        if (declaration?.kind === 'variable' && declaration.node.init !== null)
          return this.rootsOf(declaration.node.init)
        return new Set()
      }
      default:
        return new Set([POINTERS])
    }
  }

  /** The helper for pointers that a call names, null for every other call. */
  helperOf(call: Call): PointerHelper | null {
    const declaration = this.analysis.declarationOf(call.callee)
    const isOurs = declaration?.kind === 'function' && declaration.module === this.analysis.prelude
    return isOurs ? (this.helpers.get(declaration.name) ?? null) : null
  }

  /** The function of the user that a call names, null for every other call. */
  calleeOf(call: Call): FunctionInfo | null {
    const declaration = this.analysis.declarationOf(call.callee)
    return declaration?.kind === 'function' && this.helperOf(call) === null ? declaration : null
  }

  /** Passes what pointers point into on from arguments to parameters, until nothing changes. */
  private spreadRoots(): void {
    for (let isChanged = true; isChanged; ) {
      isChanged = false
      for (const fn of this.functions) {
        for (const { call, callee } of fn.calls) {
          callee.params.forEach((param, i) => {
            if (!isHeap(param.type, 'pointer')) return
            const known = this.paramRoots.get(param) ?? new Set<number>()
            this.paramRoots.set(param, known)
            for (const root of this.rootsOf(call.args[i])) {
              if (known.has(root)) continue
              known.add(root)
              isChanged = true
            }
          })
        }
      }
    }
  }
}

/** Whether two places may be the same memory, as far as their arguments tell. */
export function mayOverlap(a: Roots, b: Roots): boolean {
  if (a.has(POINTERS) || b.has(POINTERS)) return true
  return [...a].some((root) => b.has(root))
}

export function isHeap(type: Type, kind: PointerType['kind']): type is PointerType {
  return type.kind === kind && type.space === 'storage'
}

function reachable(entry: FunctionInfo): Set<FunctionInfo> {
  const found = new Set([entry])
  for (const fn of found) for (const { callee } of fn.calls) found.add(callee)
  return found
}

/** Functions that are among some, or call one of them, directly or not. */
export function callersOf(all: ReadonlySet<FunctionInfo>, some: readonly FunctionInfo[]): Set<FunctionInfo> {
  const found = new Set(some)
  for (let size = -1; size !== found.size; ) {
    size = found.size
    for (const fn of all) if (fn.calls.some(({ callee }) => found.has(callee))) found.add(fn)
  }
  return found
}
