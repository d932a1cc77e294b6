// Generates the WGSL of a program: the user's text, changed where it has to be and nowhere else, and behind it the declarations
// and the entry point that the library adds. What is changed:
//
//   @compute @workgroup_size(64)                               taken from the user's entry points, which become ordinary functions
//   fn main(@builtin(global_invocation_id) id: vec3u) {        that `hm_main` calls for those invocations that exist
//     y[id.x] = x[id.x + 1u];                                  untouched in the direct form; in the indexed form
//     y[hm_at_y(u32(id.x))] = x[hm_at_x(u32(id.x + 1u))];      each index is confined and moved
//   }

import {
  type Attribute,
  type Call,
  type EntryPoint,
  emit,
  emitModule,
  type Fragment,
  fragmentFor,
  generated,
  type Ident,
  type Index,
  type Node,
  verbatim,
} from '../wgsl/index.ts'
import type { ArrayArgument } from './argument.ts'
import type { ArgumentUse } from './argument-uses.ts'
import type { EntryFacts, KernelSource } from './kernel-source.ts'
import { arrayOf, structsOf } from './prelude.ts'
import { ENTRY_POINT, type KernelProgram, type ProgramForm } from './program.ts'

/** Which bindings there are: a program without its code. */
export type ProgramLayout = Omit<KernelProgram, ProgramForm | 'whyNotIndexed' | 'paged' | 'whyNotPaged'>

/** Words that a strict program leaves behind: how many strays, and the first one. */
export const STRAY_WORDS = ['count', 'argument', 'write', 'index', 'x', 'y', 'z'] as const
export const STRAY_BYTES = 32

/** The code of a program in one form. Its pieces lead back to the user's text. */
export function programCode(
  source: KernelSource,
  facts: EntryFacts,
  layout: ProgramLayout,
  form: ProgramForm,
): Fragment {
  const { module } = source
  const body = emitModule(module, replacements(source, facts, layout, form))
  const { directives } = module
  const head =
    directives.length === 0 ? [] : [verbatim(module.source, { start: 0, end: directives[directives.length - 1].end })]
  const enable = needsEnable(source) ? 'enable f16; ' : ''
  return generated`${enable}${head}${body}
// What follows is not part of the kernel's own code.
${declarations(source, layout).join('\n')}
${form === 'indexed' ? indexFunctions(layout).join('\n') : ''}
${entryFunction(source, facts, layout, form)}
`
}

/** Why the indices of an argument cannot be moved, as a phrase; null if they can. */
export function whyNotIndexed(
  { module }: KernelSource,
  { uses }: EntryFacts,
  names: ReadonlySet<string>,
): string | null {
  const use = uses.find(({ name, kind, element }) => names.has(name) && element === null && kind !== 'length')
  if (use === undefined) return null
  return `"${use.name}" is passed on as a whole in line ${module.source.position(use.ident.start).line}`
}

function needsEnable({ text, module }: KernelSource): boolean {
  const isEnabled = module.directives.some(({ kind, names }) => kind === 'enable' && names.includes('f16'))
  return !isEnabled && Object.values(text.args).some(({ type }) => type.needsF16)
}

// ---- the user's text ----

function replacements(source: KernelSource, facts: EntryFacts, layout: ProgramLayout, form: ProgramForm) {
  const { module } = source
  const elements = new Map<Node, ArgumentUse>()
  const names = new Map<Node, ArgumentUse>()
  const lengths = new Map<Node, ArgumentUse>()
  if (form === 'indexed') {
    // Arguments that this entry point does not use are declared for the other functions, and used as they are.
    const ours = new Set(facts.args)
    for (const use of facts.uses) {
      if (!ours.has(use.name) || source.text.args[use.name].kind !== 'array') continue
      if (use.length !== null) lengths.set(use.length, use)
      else if (use.element !== null) elements.set(use.element, use)
      names.set(use.ident, use)
    }
  }
  const erased = new Set<Node>([...source.entries.values()].flatMap(({ entry }) => entryAttributes(entry)))
  const at = (node: Node) => fragmentFor(module.source, node)

  return function replace(node: Node): Fragment | null {
    if (erased.has(node)) return at(node)``
    if (!('kind' in node)) return null
    const element = elements.get(node)
    if (element !== undefined) {
      const { base, index } = node as Index
      const write = layout.faultBinding === null ? '' : `, ${Number(element.kind !== 'read')}u`
      const inner = emit(module.source, index, replace)
      return at(node)`${emit(module.source, base, replace)}[hm_at_${element.name}(u32(${inner})${write})]`
    }
    const length = lengths.get(node)
    if (length !== undefined) return at(node as Call)`${argumentWords(layout, length.name)}.w`
    const name = names.get(node)
    if (name !== undefined) return at(node)`${variableOf(layout, name.name)}`
    return node.kind === 'ident' && node.name === 'ptr'
      ? storagePointer(node, at(node), (e) => emit(module.source, e, replace))
      : null
  }
}

/** `@compute`, `@workgroup_size` and the builtins of an entry point: only `hm_main` has them. */
function entryAttributes({ function: fn }: EntryPoint): Attribute[] {
  const own = fn.node.attributes.filter(({ name }) => name === 'compute' || name === 'workgroup_size')
  const members = fn.params.flatMap(({ type }) => (type.kind === 'struct' ? type.members : []))
  const places = [...fn.node.params, ...members.flatMap(({ node }) => (node === null ? [] : [node]))]
  return [...own, ...places.flatMap(({ attributes }) => attributes.filter(({ name }) => name === 'builtin'))]
}

/** All arguments are bound for reading and writing, so pointers to them are for reading and writing. */
function storagePointer(node: Ident, f: ReturnType<typeof fragmentFor>, inner: (e: Node) => Fragment): Fragment | null {
  const [space, store] = node.template
  if (space?.kind !== 'ident' || space.name !== 'storage' || store === undefined) return null
  return f`ptr<storage, ${inner(store)}, read_write>`
}

// ---- what is added ----

function declarations({ text, module }: KernelSource, layout: ProgramLayout): string[] {
  const declared = new Set(
    module.declarations.flatMap((node) => (node.kind === 'const_assert' ? [] : [node.name.text])),
  )
  const variables = layout.bindings.map(({ binding, args }) => {
    const type = arrayOf(text.args[args[0]] as ArrayArgument)
    return `@group(0) @binding(${binding}) var<storage, read_write> ${variableOf(layout, args[0])}: ${type};`
  })
  // Those that the entry point does not use: functions that it does not call may name them, and they are not bound.
  const bound = new Set([...layout.args, ...layout.uniforms].map(({ name }) => name))
  let free = layout.launchBinding + layout.uniforms.length + 1
  for (const [name, arg] of Object.entries(text.args)) {
    if (bound.has(name) && !(arg.kind === 'array' && variableOf(layout, name) !== name)) continue
    const space = arg.kind === 'uniform' ? 'uniform' : 'storage, read_write'
    const type = arg.kind === 'uniform' ? arg.type.wgsl : arrayOf(arg)
    variables.push(`@group(0) @binding(${free++}) var<${space}> ${name}: ${type};`)
  }
  for (const { name, binding } of layout.uniforms) {
    variables.push(`@group(0) @binding(${binding}) var<uniform> ${name}: ${text.args[name].type.wgsl};`)
  }
  const faults =
    layout.faultBinding === null
      ? []
      : [
          `@group(0) @binding(${layout.faultBinding}) var<storage, read_write> hm_strays: array<atomic<u32>, ${STRAY_BYTES / 4}>;`,
          'var<private> hm_invocation: vec3<u32>;',
        ]
  return [
    ...structsOf(text.args, declared).values(),
    ...variables,
    ...faults,
    `struct hm_Launch {
  first: vec3<u32>,
  count: vec3<u32>,
  groups: vec3<u32>,
  first_group: vec3<u32>,
  args: array<vec4<u32>, ${Math.max(1, layout.args.length)}>,
}
@group(0) @binding(${layout.launchBinding}) var<uniform> hm_launch: hm_Launch;`,
  ]
}

/** The variable that an argument is in; one of the library's own if it shares its binding with others. */
function variableOf({ bindings, args }: ProgramLayout, name: string): string {
  const { binding } = args.find((arg) => arg.name === name)!
  return bindings[binding].args.length === 1 ? name : `hm_shared_${binding}`
}

function argumentWords({ args }: ProgramLayout, name: string): string {
  return `hm_launch.args[${args.findIndex((arg) => arg.name === name)}]`
}

/**
 * Confine an index to what the slice has of an argument, and move it to where that lies in the binding. What they need of the launch block
 * each invocation reads once: software adapters load it anew for each access, for one invocation after the other.
 */
function indexFunctions(layout: ProgramLayout): string[] {
  const isStrict = layout.faultBinding !== null
  const functions = layout.args.map(({ name }, k) => {
    const [param, check] = isStrict ? [', w: u32', `if (i < a.x || i > a.y) { hm_stray(${k}u, w, i); } `] : ['', '']
    return `var<private> ${placeOf(k)}: vec3<u32>;
fn hm_at_${name}(i: u32${param}) -> u32 { let a = ${placeOf(k)}; ${check}return clamp(i, a.x, a.y) + a.z; }`
  })
  if (isStrict) functions.push(STRAY_FUNCTION)
  return functions
}

/** The variable with the place of an argument, by its number. */
const placeOf = (k: number) => `hm_place${k}`

const STRAY_FUNCTION = `fn hm_stray(argument: u32, write: u32, index: u32) {
  if (atomicAdd(&hm_strays[0], 1u) != 0u) { return; }
  atomicStore(&hm_strays[1], argument);
  atomicStore(&hm_strays[2], write);
  atomicStore(&hm_strays[3], index);
  atomicStore(&hm_strays[4], hm_invocation.x);
  atomicStore(&hm_strays[5], hm_invocation.y);
  atomicStore(&hm_strays[6], hm_invocation.z);
}`

/** Calls the user's entry point for the invocations that exist, with the ids that they have in the launch as a whole. */
function entryFunction(
  { module }: KernelSource,
  { entry, whyWorkgroups }: EntryFacts,
  layout: ProgramLayout,
  form: ProgramForm,
): string {
  const isStrict = layout.faultBinding !== null
  const size = entry.function.node.attributes.find(({ name }) => name === 'workgroup_size')!
  const sizes = size.args.map((arg) => module.source.slice(arg)).join(', ')
  // Guarding would make control flow depend on the invocation, which barriers do not allow; full workgroups need no guard.
  const isGuarded = whyWorkgroups === null && form !== 'whole'
  const inputs = new Set(entry.inputs.map(({ builtin }) => builtin))
  const needsId = isGuarded || isStrict || inputs.has('global_invocation_id')
  if (needsId) inputs.add('global_invocation_id')
  inputs.delete('num_workgroups')
  const types = new Map(entry.inputs.map(({ builtin, type }) => [builtin, type]))
  const params = [...inputs].map((builtin) => {
    const isVector = types.get(builtin)?.kind === 'vector' || builtin === 'global_invocation_id'
    return `@builtin(${builtin}) hm_${builtin}: ${isVector ? 'vec3<u32>' : 'u32'}`
  })
  const value = (builtin: string): string => {
    if (form !== 'whole' && builtin === 'global_invocation_id') return 'hm_id'
    if (form !== 'whole' && builtin === 'workgroup_id') return 'hm_workgroup_id + hm_launch.first_group'
    return builtin === 'num_workgroups' ? 'hm_launch.groups' : `hm_${builtin}`
  }
  const args = entry.function.params.map(({ name, node }) => {
    const own = entry.inputs.filter(({ param }) => param === name).map(({ builtin }) => value(builtin))
    return own.length === 1 && entry.inputs.some(({ param, member }) => param === name && member === null)
      ? own[0]
      : `${module.source.slice(node.type)}(${own.join(', ')})`
  })
  const lines = [
    `@compute @workgroup_size(${sizes})`,
    `fn ${ENTRY_POINT}(${params.join(', ')}) {`,
    ...(needsId && form !== 'whole' ? ['  let hm_id = hm_global_invocation_id + hm_launch.first;'] : []),
    ...(isGuarded ? ['  if (any(hm_id >= hm_launch.count)) { return; }'] : []),
    ...(isStrict ? ['  hm_invocation = hm_id;'] : []),
    ...(form === 'indexed' ? layout.args.map((_, k) => `  ${placeOf(k)} = hm_launch.args[${k}].xyz;`) : []),
    `  ${entry.name}(${args.join(', ')});`,
    '}',
  ]
  return lines.join('\n')
}
