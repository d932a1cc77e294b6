// Kernels: WGSL on named arrays. Start here.
//
//   const saxpy = kernel({
//     name: 'saxpy',
//     args: { x: read(f32), y: readWrite(f32), a: uniform(f32) },
//     code: `@compute @workgroup_size(64)
//       fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] += a * x[id.x]; }`,
//   })
//   await heap.run(saxpy, { x, y, a: 2 }, n)
//
// What a kernel is, is known when it is made: the code is read and checked (kernel-source.ts), and what devices run is generated
// from it (program-code.ts). No device is needed for that, and none is asked.

import { describe } from '../base/describe.ts'
import { Source, SourceMap } from '../wgsl/index.ts'
import { type ArrayArgument, checkArguments, type KernelArguments } from './argument.ts'
import { strideOf } from './data-type.ts'
import type { Triple } from './grid.ts'
import { type IndexForm, indexForms } from './index-form.ts'
import { KernelError } from './kernel-error.ts'
import { type EntryFacts, type KernelSource, readKernelSource } from './kernel-source.ts'
import { POINTER_BITS, type PointerBits } from './paged/pointer-helpers.ts'
import {
  decidePaging,
  nameOf,
  PAGING_OPTIONS,
  type PagingDecision,
  type PagingOption,
  whyAlwaysPaged,
} from './paging-decision.ts'
import { type KernelProgram, PROGRAM_FORMS, type ProgramForm } from './program.ts'
import { type ProgramLayout, programCode, whyNotIndexed } from './program-code.ts'

export { PAGING_OPTIONS, type PagingOption }

/** What `kernel` takes. */
export interface KernelSpec<A extends KernelArguments = KernelArguments> {
  /** In errors, receipts and traces. Default 'kernel'. */
  readonly name?: string
  /** What the code uses, by the names it uses. */
  readonly args: A
  /** WGSL, without bindings. */
  readonly code: string
  /** The entry point that `run` takes. Default: `main`, or the only one. */
  readonly entry?: string
  /**
   * A function that does one step of an invocation, instead of an entry point: `fn step(id: vec3u, state: ptr<function, T>) -> bool` is
   * called, from a state of zeros on, until it returns false. It needs the pages of one step only.
   */
  readonly step?: string
  /**
   * Whether launches that fit no device may go through a page table. Default 'auto': if the code lets them, see `Kernel.whyNotPaged`;
   * with 'require' code that does not is an error here.
   */
  readonly paging?: PagingOption
  /** Bits of the pointers that the code follows: with 64 a pointer is a `vec2<u32>`, the `ptr64` of structs. Default 32. */
  readonly pointers?: PointerBits
  /** Values of the overrides in the code. */
  readonly constants?: Readonly<Record<string, number>>
}

/** Names of arguments that share a binding, for all array arguments of an entry point. */
export type ArgumentGroups = readonly (readonly string[])[]

/** What a compiler says about the code of a program. */
export interface CompilerMessage {
  /** The code of the program. */
  readonly wgsl: string
  readonly text: string
  /** In that code, from 1; 0 if it is about no place. */
  readonly line: number
  readonly column: number
}

/**
 * Makes a kernel.
 *
 * Throws a KernelError, at the line of the code, for code that is no WGSL, uses names that are nothing, or uses an argument in
 * another way than declared, or that has to go through a page table and cannot; a TypeError or RangeError for options that are none.
 */
export function kernel<const A extends KernelArguments>(spec: KernelSpec<A>): Kernel<A> {
  if (typeof spec !== 'object' || spec === null) {
    throw new TypeError(`kernel(${describe(spec)}), wanted an object with ${SPEC_NAMES.join(', ')}`)
  }
  for (const name of Object.keys(spec)) {
    if ((SPEC_NAMES as readonly string[]).includes(name)) continue
    throw new TypeError(`${name} is no option of a kernel, wanted ${SPEC_NAMES.join(', ')}`)
  }
  const { name = 'kernel', args, code, entry, step, paging = 'auto', pointers = 32, constants = {} } = spec
  if (typeof name !== 'string' || name === '') throw new TypeError(`name is ${describe(name)}, wanted a text`)
  checkArguments(args)
  if (typeof code !== 'string') throw new TypeError(`code is ${describe(code)}, wanted a text`)
  if (!PAGING_OPTIONS.includes(paging)) {
    throw new RangeError(`paging is ${describe(paging)}, wanted one of ${PAGING_OPTIONS.join(', ')}`)
  }
  if (!POINTER_BITS.includes(pointers)) {
    throw new RangeError(`pointers is ${describe(pointers)}, wanted ${POINTER_BITS.join(' or ')}`)
  }
  if (typeof constants !== 'object' || constants === null) {
    throw new TypeError(`constants is ${describe(constants)}, wanted an object such as { SIZE: 64 }`)
  }
  if (step !== undefined && typeof step !== 'string') throw new TypeError(`step is ${describe(step)}, wanted a name`)
  if (step !== undefined && entry !== undefined) throw new TypeError('entry and step are given, wanted one of them')
  const source = readKernelSource({ name, args, code, constants, step: step ?? null, pointers })
  if (entry !== undefined) checkEntry(source, entry)
  return new Kernel<A>(source, entry ?? defaultEntry(source), paging)
}

const SPEC_NAMES = [
  'name',
  'args',
  'code',
  'entry',
  'step',
  'paging',
  'pointers',
  'constants',
] as const satisfies readonly (keyof KernelSpec)[]

/** A kernel, as `kernel()` makes it. It belongs to no heap and no device. */
export class Kernel<A extends KernelArguments = KernelArguments> {
  readonly name: string
  readonly args: A
  readonly paging: PagingOption
  readonly #source: KernelSource
  readonly #entry: string | null
  readonly #programs = new Map<string, GeneratedProgram>()
  readonly #entries = new Map<string, Kernel<A>>()
  #decision: PagingDecision | null = null
  readonly #forms = new Map<string, readonly IndexForm[] | null>()

  /** @internal Use kernel(). */
  constructor(source: KernelSource, entry: string | null, paging: PagingOption) {
    this.name = source.text.name
    this.args = source.text.args as A
    this.paging = paging
    this.#source = source
    this.#entry = entry
    const facts = source.entries.get(entry ?? '')
    if (facts === undefined || (paging !== 'require' && whyAlwaysPaged(source, facts) === null)) return
    if (this.whyNotPaged !== null) throw this.whyNotPaged
  }

  get code(): string {
    return this.#source.text.code
  }

  /** Names of the entry points, in the order of the code. */
  get entryPoints(): readonly string[] {
    return [...this.#source.entries.keys()]
  }

  /** The same kernel with another entry point. Throws a RangeError for a name that is none. */
  entry(name: string): Kernel<A> {
    checkEntry(this.#source, name)
    let entry = this.#entries.get(name)
    if (entry === undefined) {
      entry = new Kernel<A>(this.#source, name, this.paging)
      this.#entries.set(name, entry)
    }
    return entry
  }

  /** The same kernel with other values of overrides; those that are not named stay. Made once, used often. Throws like kernel(). */
  with(constants: Readonly<Record<string, number>>): Kernel<A> {
    const { text } = this.#source
    const source = readKernelSource({ ...text, constants: { ...text.constants, ...constants } })
    return new Kernel<A>(source, this.#entry, this.paging)
  }

  /**
   * Why launches cannot go through a page table, with the line of the code; null if they can. Throws a TypeError for a kernel of which
   * the entry point has to be chosen first.
   */
  get whyNotPaged(): KernelError | null {
    return this.#paging().whyNot
  }

  #paging(): PagingDecision {
    this.#decision ??= decidePaging(this.#source, this.facts, this.paging)
    return this.#decision
  }

  /** @internal Invocations of a workgroup. */
  get workgroupSize(): Triple {
    const { entry } = this.facts
    return entry.workgroupSize!.map((n, d) => {
      if (n !== null) return n
      throw new TypeError(
        `${'xyz'[d]} of the workgroup size of ${this.name} has no value: give its override one in constants`,
      )
    }) as unknown as Triple
  }

  /** @internal What is known of the entry point. Throws a TypeError if it has to be chosen first. */
  get facts(): EntryFacts {
    const facts = this.#source.entries.get(this.#entry ?? '')
    if (facts !== undefined) return facts
    throw new TypeError(
      `${this.name} has the entry points ${this.entryPoints.join(', ')}: choose one with kernel.entry(name)`,
    )
  }

  /** @internal The elements of an argument that an invocation uses, as far as the code says. */
  formsOf(argument: string): readonly IndexForm[] | null {
    let forms = this.#forms.get(argument)
    if (forms === undefined) {
      forms = indexForms(this.#source, this.facts, argument)
      this.#forms.set(argument, forms)
    }
    return forms
  }

  /** @internal What a device runs: always the same object for the same groups. */
  program(groups: ArgumentGroups, strict: boolean): KernelProgram {
    return this.#generate(groups, strict).program
  }

  /** @internal What a compiler said about the code of a program, as an error at the user's line. */
  errorOf(groups: ArgumentGroups, strict: boolean, { wgsl, text, line, column }: CompilerMessage): KernelError {
    const { source } = this.#source.module
    const { program, maps } = this.#generate(groups, strict)
    const { paged } = this.#paging()
    const ofPaged =
      program.paged?.wgsl === wgsl ? paged?.map : program.paged?.bound?.wgsl === wgsl ? paged?.boundMap : null
    const map = ofPaged ?? PROGRAM_FORMS.flatMap((form) => (program[form] === wgsl ? (maps[form] ?? []) : []))[0]
    const place = line === 0 ? null : (map?.find(new Source(wgsl).offset({ line, column })) ?? null)
    return new KernelError(text, source, place === null ? null : place.source.position(place.offset))
  }

  #generate(groups: ArgumentGroups, strict: boolean): GeneratedProgram {
    const key = `${strict ? 'strict ' : ''}${groups.map((names) => names.join('+')).join(' ')}`
    let generated = this.#programs.get(key)
    if (generated === undefined) {
      generated = generateProgram(this.#source, this.facts, this.workgroupSize, groups, strict, this.#paging())
      this.#programs.set(key, generated)
    }
    return generated
  }
}

/** A program, and the way from its code back to the user's. */
interface GeneratedProgram {
  readonly program: KernelProgram
  readonly maps: Readonly<Partial<Record<ProgramForm, SourceMap>>>
}

function generateProgram(
  source: KernelSource,
  facts: EntryFacts,
  workgroupSize: Triple,
  groups: ArgumentGroups,
  strict: boolean,
  { paged, whyNot: whyNotPaged }: PagingDecision,
): GeneratedProgram {
  const layout = layoutOf(source, facts, workgroupSize, groups, strict)
  const isShared = groups.some((names) => names.length > 1)
  const whyNot = whyNotIndexed(source, facts, new Set(groups.flat()))
  const whyAlways = whyAlwaysPaged(source, facts)
  const isAsWritten = !isShared && !strict && whyAlways === null
  const whole = isAsWritten ? programCode(source, facts, layout, 'whole') : null
  const direct = isAsWritten ? programCode(source, facts, layout, 'direct') : null
  const indexed = whyNot === null && whyAlways === null ? programCode(source, facts, layout, 'indexed') : null
  return {
    program: {
      ...layout,
      name: nameOf(source, facts),
      whole: whole?.text ?? null,
      direct: direct?.text ?? null,
      indexed: indexed?.text ?? null,
      whyNotIndexed: whyAlways ?? whyNot,
      paged: paged?.program ?? null,
      whyNotPaged: whyNotPaged === null ? null : lineAndReason(whyNotPaged),
    },
    maps: {
      ...(whole !== null && { whole: new SourceMap(whole) }),
      ...(direct !== null && { direct: new SourceMap(direct) }),
      ...(indexed !== null && { indexed: new SourceMap(indexed) }),
    },
  }
}

function lineAndReason({ line, reason }: KernelError): string {
  return line === null ? reason : `line ${line}: ${reason}`
}

/** Numbers the bindings: arrays, strays, the launch block, uniforms. */
function layoutOf(
  { text, constants }: KernelSource,
  facts: EntryFacts,
  workgroupSize: Triple,
  groups: ArgumentGroups,
  strict: boolean,
): ProgramLayout {
  const { args, name } = text
  const isWritten = (arg: string): boolean => (args[arg] as ArrayArgument).access !== 'read'
  const faultBinding = strict ? groups.length : null
  const launchBinding = groups.length + (strict ? 1 : 0)
  const uniforms = facts.args.filter((arg) => args[arg].kind === 'uniform')
  return {
    name,
    workgroupSize,
    bindings: groups.map((names, binding) => ({ binding, args: names, write: names.some(isWritten) })),
    args: groups.flatMap((names, binding) =>
      names.map((arg) => ({ name: arg, write: isWritten(arg), binding, stride: strideOf(args[arg].type) })),
    ),
    faultBinding,
    launchBinding,
    uniforms: uniforms.map((arg, i) => ({ name: arg, binding: launchBinding + 1 + i, size: args[arg].type.size })),
    constants,
  }
}

function checkEntry({ entries, text }: KernelSource, entry: string): void {
  if (entries.has(entry)) return
  throw new RangeError(`${describe(entry)} is no entry point of ${text.name}, wanted ${[...entries.keys()].join(', ')}`)
}

function defaultEntry({ entries }: KernelSource): string | null {
  if (entries.has('main')) return 'main'
  return entries.size === 1 ? [...entries.keys()][0] : null
}
