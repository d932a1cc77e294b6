// From a kernel in ordinary WGSL to one that goes through a page table. Start here for the compiler; the rules of what can be paged
// are in paging-rules.ts, how it is done in paged-plan.ts, the new code comes from rewriter.ts and runtime.wgsl.ts.

import {
  type Analysis,
  alignOf,
  type EntryPoint,
  emitModule,
  type Fragment,
  type FunctionInfo,
  generated,
  join,
  type Module,
  type Node,
  SourceMap,
  sizeOf,
  type Type,
  typeText,
  verbatim,
  WgslError,
  walk,
} from '../../wgsl/index.ts'
import { ENTRY_VALUES, entryWgsl } from './entry.wgsl.ts'
import { isWrite, TooLargeError } from './execution.ts'
import { HeapAccess, POINTERS } from './heap-access.ts'
import { type PagedPlan, planPaging } from './paged-plan.ts'
import type { PagedArgument, PagedProgram, PagedUniform } from './paged-program.ts'
import { PAGED_BINDINGS } from './paged-program.ts'
import { checkPaging } from './paging-rules.ts'
import { pointerHelpers } from './pointer-helpers.ts'
import { padLines, Rewriter } from './rewriter.ts'
import { runtimeWgsl } from './runtime.wgsl.ts'
import { stateTypeOf, stateWgsl, stateWordsOf } from './step-record.ts'
import { strideWords } from './typed-access.ts'

export interface PagedSource {
  /** Name of the kernel, for messages. */
  readonly name: string
  /**
   * Of the user's module; its prelude declares the arguments: `var<storage, read_write> x: array<f32>`, `var<uniform> a: f32`, structs,
   * and for kernels that follow pointers the text of pointerHelpersWgsl().
   */
  readonly analysis: Analysis
  /** What runs: an entry point, or the step function of a resumable kernel. */
  readonly entry: EntryPoint | FunctionInfo
  /** Arguments that the entry point uses, where it is not all. */
  readonly used?: ReadonlySet<string>
  /** Arguments of which spans are used; the functions for them are in the module. */
  readonly spans?: ReadonlySet<string>
  /** Values of overrides. */
  readonly constants?: Readonly<Record<string, number>>
}

export interface CompiledPaged {
  readonly program: PagedProgram
  /** Leads from places in program.wgsl to the user's own. */
  readonly map: SourceMap
  /** From places in program.bound.wgsl. */
  readonly boundMap: SourceMap | null
}

/**
 * Compiles a kernel to run through a page table. Throws a WgslError of kind `paging`, with the line, if it cannot.
 *
 *     const analysis = analyse(parseWgsl(code), { prelude: parseWgsl('var<storage, read_write> x: array<f32>;') })
 *     const { program } = compilePaged({ name: 'double', analysis, entry: analysis.entryPoints[0] })
 */
export function compilePaged(source: PagedSource): CompiledPaged {
  const { analysis, used } = source
  const { program, map } = compileForm(source, new Set())
  const bindable = bindableOf(analysis, resourcesOf(analysis, used).args)
  if (program.how === null || bindable.size === 0) return { program, map, boundMap: null }
  const bound = compileForm(source, bindable)
  if (bound.program.boundArgs.length === 0) return { program, map, boundMap: null }
  return { program: { ...program, bound: bound.program }, map, boundMap: bound.map }
}

/** Arguments whose elements are atomics, or structs and arrays of nothing else. */
function bindableOf({ globals }: Analysis, args: readonly PagedArgument[]): Set<number> {
  const isAtomic = (type: Type): boolean => {
    if (type.kind === 'struct') return type.members.every((member) => isAtomic(member.type))
    return type.kind === 'array' ? isAtomic(type.element) : type.kind === 'atomic'
  }
  const found = args.flatMap(({ name }, i) => {
    const global = globals.get(name)
    return global?.kind === 'variable' && global.type.kind === 'reference' && isAtomic(global.type.store) ? [i] : []
  })
  return new Set(found)
}

/** One form of the kernel. `bindable` are the arguments that may be bound directly in it. */
function compileForm(
  { name, analysis, entry, used, spans = new Set(), constants = {} }: PagedSource,
  bindable: ReadonlySet<number>,
): { program: PagedProgram; map: SourceMap } {
  const { args, uniforms } = resourcesOf(analysis, used)
  const structs = [...analysis.globals.values()].flatMap((global) =>
    global.kind === 'type' && global.type.kind === 'struct' ? [global.type] : [],
  )
  const argNames = args.map((arg) => arg.name)
  const isStep = 'kind' in entry
  const fn = isStep ? entry : entry.function
  const state = isStep ? stateTypeOf(entry, analysis.module.source) : null
  const access = new HeapAccess(analysis, fn, argNames, pointerHelpers(structs))
  const plan = planOrRefuse(analysis, access, fn, { isStep, bindable })
  checkPaging(access, entry, plan)
  const rewriter = new Rewriter(access, plan, argNames, spans)
  const functions = rewriter.functions(fn)
  const hasPointers = [...access.functions].some(({ calls }) =>
    calls.some(({ call }) => access.helperOf(call) !== null),
  )
  const writesPointers = plan.execution.events.some((event) => isWrite(event) && event.roots.has(POINTERS))
  const logEntryWords = rewriter.held.logEntryWords
  const { hasJournal, isPoolAtomic } = plan
  const usesScratch = logEntryWords > 0 || hasJournal || state !== null
  const runtime = runtimeWgsl({
    argCount: args.length,
    isPoolAtomic,
    hasBound: plan.bound.size > 0,
    logEntryWords,
    clearsChains: isStep,
    hasJournal,
    hasPointers,
    vague: rewriter.vague,
    usesScratch,
  })
  const size = ((isStep ? null : entry.workgroupSize) ?? [1, 1, 1]).map((n) => n ?? 1) as [number, number, number]
  const call = isStep ? fn.name : `${fn.name}(${entryArguments(entry).join(', ')});`
  const main = entryWgsl({
    scope: plan.scope,
    workgroupSize: size.join(', '),
    size,
    call,
    hasJournal,
    real: plan.hold === 'dry run' ? `hm_is_real = true; ${restart(access)} ${call}` : null,
  })
  const stepText = state === null ? '' : `${stateWgsl(state)}\n${rewriter.held.forgetWgsl}`
  const user = emitModule(analysis.module, (node) => {
    if (!('kind' in node)) return null
    if (node.kind === 'fn') {
      const text = functions.get(analysis.globals.get(node.name.text) as never) ?? generated``
      return padLines(text, analysis.module.source.slice(node))
    }
    return replaceDeclaration(node, analysis)
  })
  const whole = join(
    [
      generated`${directives(analysis.module)}${user}`,
      preludeText(analysis, uniforms),
      generated`${runtime}\n${rewriter.wgsl}\n${stepText}\n${main}\n`,
    ],
    '\n',
  )
  const program: PagedProgram = {
    name,
    wgsl: whole.text,
    scope: plan.scope,
    workgroupSize: size,
    args,
    uniforms,
    pointers: !hasPointers ? null : writesPointers ? 'write' : 'read',
    logEntryWords,
    hasJournal,
    stateWords: state === null ? 0 : stateWordsOf(state),
    rows: rewriter.rows,
    boundArgs: [...plan.bound],
    bound: null,
    how: howOf(plan),
    sites: rewriter.sites,
    constants,
  }
  return { program, map: new SourceMap(whole) }
}

/** Gives the variables of the kernel that outlive a call of its entry point the values that they began with. */
function restart({ analysis, functions }: HeapAccess): string {
  const assignments = new Map<string, string>()
  for (const fn of functions) {
    walk(fn.node.body, (node) => {
      const declaration = 'kind' in node && node.kind === 'ident' ? analysis.declarationOf(node) : null
      if (declaration?.kind !== 'variable' || declaration.function !== null) return true
      const { name, type, node: variable, module } = declaration
      if (type.kind !== 'reference' || type.space !== 'private') return true
      const value = variable.init === null ? `${typeText(type.store)}()` : module.source.slice(variable.init)
      assignments.set(name, `${name} = ${value};`)
      return true
    })
  }
  return [...assignments.values()].join(' ')
}

/** How atomics, and stores that do not wait, happen, as a phrase. */
function howOf({ execution, immediate, bound, hold }: PagedPlan): string | null {
  const writes = execution.events.filter((event) => event.kind === 'atomic' && isWrite(event))
  if (writes.length === 0 && bound.size === 0) return hold === 'dry run' ? 'its stores follow a dry run' : null
  const wait = hold === 'dry run' ? 'follow a dry run' : 'wait for the commit'
  const later = writes.some(({ node }) => !immediate.has(node)) ? [wait] : []
  const atOnce = immediate.size > 0 ? ['happen once and are noted'] : []
  const how = [...later, ...atOnce].join(' or ') || 'are loads'
  return `its atomics ${how}${bound.size > 0 ? ', in a buffer of their own' : ''}`
}

function planOrRefuse(
  analysis: Analysis,
  access: HeapAccess,
  fn: FunctionInfo,
  options: Parameters<typeof planPaging>[2],
): PagedPlan {
  try {
    return planPaging(access, fn, options)
  } catch (error) {
    if (!(error instanceof TooLargeError)) throw error
    throw new WgslError('paging', 'its functions are called in too many ways', analysis.module.source, fn.node)
  }
}

/** The variables of the prelude, in order. */
function resourcesOf(
  analysis: Analysis,
  used: ReadonlySet<string> | undefined,
): { args: PagedArgument[]; uniforms: PagedUniform[] } {
  const args: PagedArgument[] = []
  const uniforms: PagedUniform[] = []
  for (const global of analysis.globals.values()) {
    if (global.kind !== 'variable' || global.type.kind !== 'reference') continue
    const { name, node, type, module } = global
    const { space, store, access } = type
    if (space !== 'storage' && space !== 'uniform' && space !== 'handle') continue
    if (used !== undefined && !used.has(name)) continue
    if (module !== analysis.prelude) {
      throw new WgslError('paging', `"${name}" is a binding of its own, not an argument`, module.source, node)
    }
    if (space === 'uniform')
      uniforms.push({ name, binding: PAGED_BINDINGS.uniforms + uniforms.length, size: sizeOf(store) })
    else args.push(argument(name, store, access !== 'read'))
  }
  return { args, uniforms }
}

function argument(name: string, type: Type, write: boolean): PagedArgument {
  if (type.kind !== 'array' || type.count !== 'runtime')
    throw new TypeError(`argument ${name} is ${typeText(type)}, wanted an array`)
  // Numbers of 16 bits are refused where the code uses them, with the line.
  return { name, write, stride: 4 * strideWords(type.element), align: Math.max(4, alignOf(type.element)) }
}

/** Structs, constants and uniforms of the prelude; its arrays are memory of the heap, its functions stand for accesses to it. */
function preludeText({ prelude }: Analysis, uniforms: readonly PagedUniform[]): Fragment {
  if (prelude === null) return generated``
  const kept = prelude.declarations.map((node) => {
    if (node.kind === 'fn') return generated``
    if (node.kind !== 'var') return verbatim(prelude.source, node)
    const uniform = uniforms.find(({ name }) => name === node.name.text)
    if (uniform === undefined || node.type === null) return generated``
    return generated`@group(0) @binding(${uniform.binding}) var<uniform> ${uniform.name}: ${verbatim(prelude.source, node.type)};`
  })
  return join(
    kept.filter(({ text }) => text !== ''),
    '\n',
  )
}

function directives({ source, directives: nodes }: Module): Fragment {
  return verbatim(source, { start: 0, end: nodes.at(-1)?.end ?? 0 })
}

/** Aliases of pointers into the heap go: pointers are addresses now, and where they are named they are replaced. */
function replaceDeclaration(node: Node, analysis: Analysis): Fragment | null {
  if (!('kind' in node) || node.kind !== 'alias') return null
  const declaration = analysis.globals.get(node.name.text)
  if (declaration?.kind !== 'type' || declaration.type.kind !== 'pointer' || declaration.type.space !== 'storage')
    return null
  const { store } = declaration.type
  const isRange = store.kind === 'array' && store.count === 'runtime'
  return generated`alias ${node.name.text} = ${isRange ? 'vec2<u32>' : 'u32'};`
}

/** The builtin values, as the entry point takes them. */
function entryArguments({ function: fn, inputs }: EntryPoint): string[] {
  return fn.params.map((param) => {
    const own = inputs.filter((input) => input.param === param.name)
    const values = own.map(({ builtin }) => ENTRY_VALUES[builtin])
    return own.length === 1 && own[0].member === null ? values[0] : `${typeText(param.type)}(${values.join(', ')})`
  })
}
