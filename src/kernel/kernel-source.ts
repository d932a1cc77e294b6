// The code of a kernel, read and checked: what `kernel()` knows before any device has seen it. The user's text declares no bindings;
// his arguments are declared in front of it (the prelude), so that names and types are found, and mistakes have his lines.

import { describe } from '../base/describe.ts'
import {
  type Analysis,
  analyse,
  BARRIERS,
  type EntryPoint,
  type FunctionInfo,
  type GlobalDeclaration,
  type Module,
  type Position,
  parseWgsl,
  Source,
  type Span,
  structLayout,
  typeText,
  type VariableDeclaration,
  WgslError,
  walk,
} from '../wgsl/index.ts'
import type { KernelArguments } from './argument.ts'
import { type ArgumentUse, argumentUses } from './argument-uses.ts'
import { KernelError } from './kernel-error.ts'
import { type PointerBits, pointer64Code, pointerPrelude } from './paged/pointer-helpers.ts'
import { preludeOf } from './prelude.ts'
import { spanCode } from './spans.ts'

/** What a kernel is made of. */
export interface KernelText {
  readonly name: string
  readonly args: KernelArguments
  readonly code: string
  /** Values of overrides, by name. */
  readonly constants: Readonly<Record<string, number>>
  /** The step function of a resumable kernel, which takes the place of entry points; null for every other kernel. */
  readonly step: string | null
  /** Of the pointers that it follows. */
  readonly pointers: PointerBits
}

export interface EntryFacts {
  readonly entry: EntryPoint
  /** What it can call, itself included. */
  readonly functions: ReadonlySet<FunctionInfo>
  /** Uses of arguments in these. */
  readonly uses: readonly ArgumentUse[]
  /** Names of the arguments that it uses, in the order of `args`. */
  readonly args: readonly string[]
  /** Arguments that every invocation writes an element of, whatever happens. */
  readonly written: ReadonlySet<string>
  /** Why it runs in whole workgroups only, as a phrase; null if any number of invocations will do. */
  readonly whyWorkgroups: string | null
}

export interface KernelSource {
  readonly text: KernelText
  readonly module: Module
  readonly analysis: Analysis
  readonly entries: ReadonlyMap<string, EntryFacts>
  /** Values of overrides as a pipeline wants them: by `@id` where they have one, else by name. */
  readonly constants: Readonly<Record<string, number>>
  /** Arguments of which spans are used. */
  readonly spans: ReadonlySet<string>
}

/** Reads and checks the code. Throws a KernelError at the user's line, and a TypeError for constants that are none. */
export function readKernelSource(text: KernelText): KernelSource {
  const { name, args, code, constants, pointers } = text
  const written = parse(name, code)
  checkDeclarations(written, text)
  const spans = spanCode(written, args, declaredNames(written), (reason, span) => {
    throw new KernelError(reason, written.source, positionOf(written, span))
  })
  const added = [spans.wgsl, pointers === 64 ? pointer64Code(written) : ''].filter((wgsl) => wgsl !== '')
  const module = added.length === 0 ? written : parse(name, [code, ...added].join('\n'))
  const declarations = preludeOf(args, declaredNames(module))
  const helpers = pointerPrelude(module, declarations, pointers)
  const prelude = parseWgsl(`${declarations}\n${helpers}`, { name: `arguments of ${name}` })
  for (const [override, value] of Object.entries(constants)) {
    if (typeof value !== 'number') throw new TypeError(`constants.${override} is ${describe(value)}, wanted a number`)
    if (!Number.isFinite(value)) throw new RangeError(`constants.${override} is ${value}, wanted a finite number`)
  }
  const byKey = constantsByKey(module, constants)
  const analysis = analyseWith(module, prelude, text, byKey)
  checkStructs(analysis, text)
  const uses = argumentUses(analysis, (candidate) => Object.hasOwn(args, candidate))
  checkUses(module, text, uses)
  return {
    text,
    module,
    analysis,
    entries: entriesOf(module, analysis, text, uses),
    constants: byKey,
    spans: spans.args,
  }
}

/** All names at module scope. */
function declaredNames(module: Module): ReadonlySet<string> {
  return new Set(module.declarations.flatMap((node) => (node.kind === 'const_assert' ? [] : [node.name.text])))
}

function parse(name: string, code: string): Module {
  try {
    return parseWgsl(code, { name })
  } catch (error) {
    if (!(error instanceof WgslError)) throw error
    throw new KernelError(error.reason, new Source(code, name), error, { cause: error })
  }
}

function analyseWith(
  module: Module,
  prelude: Module,
  { code, args }: KernelText,
  overrides: KernelSource['constants'],
): Analysis {
  try {
    return analyse(module, { prelude, overrides })
  } catch (error) {
    if (!(error instanceof WgslError)) throw error
    if (error.sourceName === prelude.source.name) {
      const reason = `the declarations of the arguments are no WGSL: ${error.reason}`
      throw new KernelError(reason, module.source, null, { cause: error })
    }
    const word = /^\w+/.exec(code.slice(module.source.offset(error)))?.[0] ?? ''
    const arg = Object.hasOwn(args, word) ? args[word] : undefined
    if (error.reason === 'this is read-only' && arg !== undefined) {
      const declared = arg.kind === 'uniform' ? 'a uniform' : 'declared read'
      throw new KernelError(`"${word}" is ${declared}, and is written here`, module.source, error, { cause: error })
    }
    throw new KernelError(error.reason, module.source, error, { cause: error })
  }
}

/** The user leaves to the library what belongs to it. Throws a TypeError for names of arguments, a KernelError for those of the code. */
function checkDeclarations(module: Module, { args }: KernelText): void {
  for (const [name, { type }] of Object.entries(args)) {
    const taken = [name, ...type.structs.keys()].find((each) => NEEDED.has(each))
    if (taken === undefined) continue
    throw new TypeError(
      `"${taken}" is the name of an argument or its struct, and the library needs the predeclared one`,
    )
  }
  const fail = (reason: string, span: Span): never => {
    throw new KernelError(reason, module.source, positionOf(module, span))
  }
  for (const node of module.declarations) {
    if (node.kind === 'var' && (node.attributes.length > 0 || /^(storage|uniform)$/.test(spaceOf(node.template)))) {
      const name = node.name.text
      const what = Object.hasOwn(args, name)
        ? `"${name}" is an argument, which the library declares and binds: leave this declaration out`
        : `"${name}" is bound by hand: make it an argument, which the library declares and binds`
      fail(what, node)
    }
    if (node.kind !== 'const_assert' && Object.hasOwn(args, node.name.text)) {
      fail(`"${node.name.text}" is the name of an argument, and is declared here`, node.name)
    }
    walk(node, (inner) => {
      if (!('name' in inner) || typeof inner.name !== 'object') return true
      // Members have names of their own.
      if ('base' in inner || !('kind' in inner)) return true
      const { text } = inner.name
      if (text.startsWith('hm_')) fail(`"${text}": names that begin with hm_ are the library's`, inner.name)
      if (NEEDED.has(text)) fail(`"${text}" is declared here, and the library needs the predeclared one`, inner.name)
      return true
    })
  }
}

/** Predeclared names that generated code uses. */
const NEEDED: ReadonlySet<string> = new Set(
  'u32 vec3 vec4 array atomic ptr any clamp atomicAdd atomicLoad atomicStore'.split(' '),
)

function spaceOf(template: readonly { kind: string }[]): string {
  const [space] = template
  return space !== undefined && 'name' in space ? String(space.name) : ''
}

/** Structs that both the code and the arguments declare have to be the same. */
function checkStructs(analysis: Analysis, { args }: KernelText): void {
  for (const [name, arg] of Object.entries(args)) {
    const { type } = arg
    if (!('offsets' in type)) continue
    const declaration = analysis.globals.get(type.wgsl)
    if (declaration?.kind !== 'type' || declaration.module !== analysis.module) continue
    const offsets = type.offsets as Readonly<Record<string, number>>
    const fields = (type as unknown as { fields: Record<string, { wgsl: string }> }).fields
    const wanted = Object.keys(offsets).map((field) => `${field}: ${fields[field].wgsl} at ${offsets[field]}`)
    const found =
      declaration.type.kind === 'struct'
        ? structLayout(declaration.type).map((member) => `${member.name}: ${typeText(member.type)} at ${member.offset}`)
        : [typeText(declaration.type)]
    if (found.join() === wanted.join()) continue
    const reason = `struct ${type.wgsl} has ${found.join(', ')}, that of argument "${name}" ${wanted.join(', ')}`
    throw new KernelError(reason, analysis.module.source, positionOf(analysis.module, declaration.node.name))
  }
}

/** Throws a TypeError for a name that is no override. */
function constantsByKey(module: Module, constants: KernelText['constants']): KernelSource['constants'] {
  const overrides = module.declarations.filter(isOverride)
  const entries = Object.entries(constants).map(([name, value]) => {
    const override = overrides.find((node) => node.name.text === name)
    if (override === undefined) {
      const names = overrides.map((node) => node.name.text)
      const wanted = names.length === 0 ? 'and it has none' : `wanted ${names.join(', ')}`
      throw new TypeError(`constants.${name} is no override of the code, ${wanted}`)
    }
    const id = override.attributes.find((attribute) => attribute.name === 'id')?.args[0]
    return [id?.kind === 'literal' ? String(id.value) : name, value] as const
  })
  return Object.fromEntries(entries)
}

function isOverride(node: GlobalDeclaration): node is VariableDeclaration {
  return node.kind === 'override'
}

/** Arguments are used, and as they are declared. That `read` is not written the analysis has found already. */
function checkUses(module: Module, { name, args }: KernelText, uses: readonly ArgumentUse[]): void {
  for (const use of uses) {
    const arg = args[use.name]
    if (arg.kind !== 'array' || arg.access !== 'write' || use.kind === 'write' || use.kind === 'length') continue
    const how = use.kind === 'address' ? 'its address is taken here' : 'is read here'
    const reason = `"${use.name}" is declared write, and ${how}: declare it readWrite`
    throw new KernelError(reason, module.source, positionOf(module, use.ident))
  }
  for (const arg of Object.keys(args)) {
    if (uses.some((use) => use.name === arg)) continue
    throw new TypeError(`argument "${arg}" of ${name} is not used by the code`)
  }
}

function entriesOf(
  module: Module,
  analysis: Analysis,
  { name, args, step }: KernelText,
  uses: readonly ArgumentUse[],
): ReadonlyMap<string, EntryFacts> {
  const entries = new Map<string, EntryFacts>()
  if (step !== null) return entries.set(step, stepFacts(module, analysis, step, uses, args))
  for (const entry of analysis.entryPoints) {
    const { node } = entry.function
    if (entry.stage !== 'compute') {
      throw new KernelError(
        `"${entry.name}" is a ${entry.stage} shader, wanted @compute`,
        module.source,
        positionOf(module, node.name),
      )
    }
    checkInputs(module, entry)
    const functions = calledFrom(entry.function)
    const ours = uses.filter(({ fn }) => functions.has(fn))
    const used = Object.keys(args).filter((arg) => ours.some((use) => use.name === arg))
    const whyWorkgroups = whyWholeWorkgroups(module, entry, functions)
    const written = alwaysWritten(entry.function, ours)
    entries.set(entry.name, { entry, functions, uses: ours, args: used, written, whyWorkgroups })
  }
  if (entries.size > 0) return entries
  throw new KernelError(`no entry point, wanted a function with @compute and @workgroup_size`, module.source, null)
}

/** A step as what `run` takes: invocations come one by one, as they are ready. */
function stepFacts(
  module: Module,
  analysis: Analysis,
  step: string,
  uses: readonly ArgumentUse[],
  args: KernelArguments,
): EntryFacts {
  const fn = analysis.globals.get(step)
  if (fn?.kind !== 'function') {
    throw new KernelError(`no function "${step}", which is to be the step`, module.source, null)
  }
  const functions = calledFrom(fn)
  const ours = uses.filter((use) => functions.has(use.fn))
  const entry: EntryPoint = { name: step, stage: 'compute', function: fn, workgroupSize: [1, 1, 1], inputs: [] }
  const used = Object.keys(args).filter((arg) => ours.some((use) => use.name === arg))
  return { entry, functions, uses: ours, args: used, written: new Set(), whyWorkgroups: null }
}

/** What statements of the entry point itself write as a whole, up to the first one that may return. */
function alwaysWritten({ node }: FunctionInfo, uses: readonly ArgumentUse[]): ReadonlySet<string> {
  const names = new Set<string>()
  for (const statement of node.body.statements) {
    if (statement.kind === 'assign') {
      const use = uses.find(({ kind, element }) => kind === 'write' && element === statement.target)
      if (use !== undefined) names.add(use.name)
    }
    let mayReturn = false
    walk(statement, (inner) => {
      mayReturn ||= 'kind' in inner && inner.kind === 'return'
      return true
    })
    if (mayReturn) break
  }
  return names
}

const INPUTS = [
  'global_invocation_id',
  'local_invocation_id',
  'local_invocation_index',
  'workgroup_id',
  'num_workgroups',
  'subgroup_invocation_id',
  'subgroup_size',
  'subgroup_id',
  'num_subgroups',
]

/** Builtin values that mean something else when a launch is cut are made right by the library, which has to know them. */
function checkInputs(module: Module, { inputs, function: fn }: EntryPoint): void {
  for (const { builtin, param, member } of inputs) {
    if (INPUTS.includes(builtin)) continue
    const place = fn.node.params.find(({ name }) => name.text === param)!
    const what = member === null ? `"${param}"` : `"${param}.${member}"`
    const reason = `${what} is the builtin ${builtin}, which kernels here do not have, only ${INPUTS.join(', ')}`
    throw new KernelError(reason, module.source, positionOf(module, place))
  }
}

function calledFrom(fn: FunctionInfo): ReadonlySet<FunctionInfo> {
  const found = new Set([fn])
  for (const each of found) for (const { callee } of each.calls) found.add(callee)
  return found
}

function whyWholeWorkgroups(module: Module, entry: EntryPoint, functions: ReadonlySet<FunctionInfo>): string | null {
  const line = (span: Span): string => `in line ${positionOf(module, span).line}`
  for (const { builtinCalls } of functions) {
    for (const { name, call } of builtinCalls) {
      if (BARRIERS.has(name) || /^(subgroup|quad)/.test(name)) return `it calls ${name} ${line(call)}`
    }
  }
  const input = entry.inputs.find(({ builtin }) => /workgroup|subgroup/.test(builtin))
  return input === undefined ? null : `it takes ${input.builtin}`
}

function positionOf(module: Module, span: Span): Position {
  return module.source.position(span.start)
}
