// Which elements of an argument an invocation uses, where the code says so plainly: index expressions that are sums of ids,
// loop counters, uniforms and numbers, times uniforms and numbers. `m[id.y * width + id.x + 1u]` is
//
//   width * id.y  +  1 * id.x  +  1          three terms
//
// From these a launch, which knows the uniforms, works out which elements belong to which rows of workgroups (slicing.ts).
// Whatever is not of this form is simply not known, and the argument is needed whole.

import {
  type Analysis,
  type Call,
  type Expression,
  type For,
  type FunctionInfo,
  type ParameterInfo,
  typeText,
  type VariableDeclaration,
  valueType,
  walk,
} from '../wgsl/index.ts'
import { DIMENSIONS, type Dimension } from './argument.ts'
import type { ArgumentUse } from './argument-uses.ts'
import type { EntryFacts, KernelSource } from './kernel-source.ts'

/** A number that invocations differ in. */
export type IndexVariable =
  | { readonly per: 'invocation' | 'workgroup' | 'local'; readonly dimension: 0 | 1 | 2 }
  /** `local_invocation_index`. */
  | { readonly per: 'local index' }
  /** A loop counter: from `min` to `max`, which has no variables. */
  | { readonly per: 'loop'; readonly min: number; readonly max: IndexForm }
  /** What `min` or `max` of a form and a bound without variables adds to the form. */
  | {
      readonly per: 'limit'
      readonly op: 'min' | 'max'
      readonly of: IndexForm
      readonly bound: IndexForm
      /** Below zero they begin again from above. */
      readonly isUnsigned: boolean
    }

/** `factor * uniform * variable`; null stands for 1. */
export interface IndexTerm {
  readonly factor: number
  /** Name of an argument. */
  readonly uniform: string | null
  readonly variable: IndexVariable | null
}

/** The sum of the terms. */
export type IndexForm = readonly IndexTerm[]

/** The elements of an argument that an entry point uses, a form for each place; null if some place has none. */
export function indexForms(source: KernelSource, facts: EntryFacts, argument: string): readonly IndexForm[] | null {
  const reader = new FormReader(source, facts)
  const forms: IndexForm[] = []
  for (const use of facts.uses) {
    if (use.name !== argument || use.kind === 'length') continue
    const found = reader.formsOfUse(use)
    if (found === null) return null
    forms.push(...found)
  }
  return forms
}

/** A function is analysed once for each place that calls it; where there are more, nothing is known. */
const FORMS_MAX = 64

class FormReader {
  private readonly analysis: Analysis
  private readonly args: KernelSource['text']['args']
  private readonly facts: EntryFacts
  /** Loops by the declaration of their counter. */
  private readonly loops = new Map<VariableDeclaration, For>()

  constructor({ analysis, text }: KernelSource, facts: EntryFacts) {
    this.analysis = analysis
    this.args = text.args
    this.facts = facts
    for (const fn of facts.functions) {
      walk(fn.node.body, (node) => {
        if ('kind' in node && node.kind === 'for' && node.init?.kind === 'declaration') {
          this.loops.set(node.init.declaration, node)
        }
        return true
      })
    }
  }

  formsOfUse({ element }: ArgumentUse): readonly IndexForm[] | null {
    return element === null ? null : this.forms(element.index)
  }

  /** All forms that an expression can have, one for each way to call the function that it is in. */
  private forms(e: Expression): readonly IndexForm[] | null {
    const value = this.analysis.constantOf(e)
    if (typeof value === 'number') return [[{ factor: value, uniform: null, variable: null }]]
    switch (e.kind) {
      case 'paren':
        return this.forms(e.inner)
      case 'ident':
        return this.formsOfName(e)
      case 'member': {
        const builtin = this.builtinOf(e.base)
        const dimension = DIMENSIONS.indexOf(e.name.text as Dimension)
        return builtin === null || dimension < 0 ? null : variableForms(builtin, dimension as 0 | 1 | 2)
      }
      case 'call':
        return this.analysis.declarationOf(e.callee) === null ? this.formsOfCall(e) : null
      case 'binary':
        return this.formsOfBinary(e.op, this.forms(e.left), this.forms(e.right))
      default:
        return null
    }
  }

  /** Of a conversion or a builtin function. */
  private formsOfCall({ callee, args }: Call): readonly IndexForm[] | null {
    const [first, ...bounds] = args.map((arg) => this.forms(arg))
    switch (callee.name) {
      case 'u32':
      case 'i32':
        return args.length === 1 ? first : null
      case 'min':
      case 'max': {
        const [a, b] = [first, bounds[0]]
        const isUnsigned = this.isUnsigned(args[0]) || this.isUnsigned(args[1])
        return limits(a, callee.name, b, isUnsigned) ?? limits(b, callee.name, a, isUnsigned)
      }
      case 'clamp': {
        const isUnsigned = args.some((arg) => this.isUnsigned(arg))
        return limits(limits(first, 'max', bounds[0], isUnsigned), 'min', bounds[1], isUnsigned)
      }
      default:
        return null
    }
  }

  private isUnsigned(e: Expression): boolean {
    return typeText(valueType(this.analysis.typeOf(e))) === 'u32'
  }

  private formsOfName(e: Expression & { kind: 'ident' }): readonly IndexForm[] | null {
    const declaration = this.analysis.declarationOf(e)
    if (declaration?.kind === 'parameter') {
      const builtin = this.builtinOf(e)
      if (builtin !== null) return builtin === 'local_invocation_index' ? [[one({ per: 'local index' })]] : null
      return this.formsOfParameter(declaration)
    }
    if (declaration?.kind !== 'variable') return null
    if (declaration.function === null) {
      const isNumber = Object.hasOwn(this.args, e.name) && /^[ui]32$/.test(this.args[e.name].type.wgsl)
      return isNumber && this.args[e.name].kind === 'uniform'
        ? [[{ factor: 1, uniform: e.name, variable: null }]]
        : null
    }
    const { node } = declaration
    if (node.kind === 'let' && node.init !== null) return this.forms(node.init)
    const loop = this.loops.get(node)
    return loop === undefined ? null : this.formsOfCounter(loop, node)
  }

  /** What the callers of a function give it. */
  private formsOfParameter({ function: fn, node }: ParameterInfo): readonly IndexForm[] | null {
    const k = fn.node.params.indexOf(node)
    const forms: IndexForm[] = []
    for (const caller of this.facts.functions) {
      for (const { call, callee } of caller.calls) {
        if (callee !== fn) continue
        const given = this.forms(call.args[k])
        if (given === null || forms.length + given.length > FORMS_MAX) return null
        forms.push(...given)
      }
    }
    return forms
  }

  private formsOfBinary(
    op: string,
    left: readonly IndexForm[] | null,
    right: readonly IndexForm[] | null,
  ): readonly IndexForm[] | null {
    if (left === null || right === null || left.length * right.length > FORMS_MAX) return null
    const forms: IndexForm[] = []
    for (const a of left) {
      for (const b of right) {
        const form = combine(op, a, b)
        if (form === null) return null
        forms.push(form)
      }
    }
    return forms
  }

  /** `for (var k = A; k < B; k++)`, where nothing else changes k. */
  private formsOfCounter({ condition, update, body }: For, node: VariableDeclaration): readonly IndexForm[] | null {
    const min = node.init === null ? null : this.analysis.constantOf(node.init)
    const isCounter = (e: Expression | null): boolean => {
      const declaration = e?.kind === 'ident' ? this.analysis.declarationOf(e) : null
      return declaration?.kind === 'variable' && declaration.node === node
    }
    const isUp =
      update?.kind === 'step'
        ? update.op === '++' && isCounter(update.target)
        : update?.kind === 'assign' && update.op === '+=' && isCounter(update.target) && this.isPositive(update.value)
    if (typeof min !== 'number' || !isUp || condition?.kind !== 'binary' || !isCounter(condition.left)) return null
    if (condition.op !== '<' && condition.op !== '<=') return null
    let isChanged = false
    walk(body, (inner) => {
      if (!('kind' in inner)) return true
      if ((inner.kind === 'assign' || inner.kind === 'step') && isCounter(inner.target)) isChanged = true
      if (inner.kind === 'unary' && inner.op === '&' && isCounter(inner.operand)) isChanged = true
      return true
    })
    const ends = this.forms(condition.right)
    const end = ends?.length === 1 && ends[0].every(({ variable }) => variable === null) ? ends[0] : null
    if (isChanged || end === null) return null
    const max = condition.op === '<' ? [...end, { factor: -1, uniform: null, variable: null }] : end
    return [[one({ per: 'loop', min, max })]]
  }

  private isPositive(e: Expression): boolean {
    const value = this.analysis.constantOf(e)
    return typeof value === 'number' && value > 0
  }

  /** The builtin value that a name or a member of a parameter is, through any number of `let`. */
  private builtinOf(e: Expression): string | null {
    const { entry } = this.facts
    if (e.kind === 'paren') return this.builtinOf(e.inner)
    if (e.kind === 'member' && e.base.kind === 'ident') {
      const param = this.analysis.declarationOf(e.base)
      if (param?.kind !== 'parameter' || param.function !== entry.function) return null
      return entry.inputs.find((input) => input.param === param.name && input.member === e.name.text)?.builtin ?? null
    }
    const declaration = e.kind === 'ident' ? this.analysis.declarationOf(e) : null
    if (declaration?.kind === 'variable' && declaration.node.kind === 'let' && declaration.node.init !== null) {
      return this.builtinOf(declaration.node.init)
    }
    if (declaration?.kind !== 'parameter') return null
    if (isEntry(declaration.function, this.facts)) {
      return entry.inputs.find(({ param, member }) => param === declaration.name && member === null)?.builtin ?? null
    }
    return this.builtinOfParameter(declaration)
  }

  /** Of a parameter of another function: what all its callers pass. */
  private builtinOfParameter({ function: fn, node }: ParameterInfo): string | null {
    const k = fn.node.params.indexOf(node)
    const found = new Set<string | null>()
    for (const caller of this.facts.functions) {
      for (const { call, callee } of caller.calls) if (callee === fn) found.add(this.builtinOf(call.args[k]))
    }
    const [builtin = null] = found
    return found.size === 1 ? builtin : null
  }
}

function isEntry(fn: FunctionInfo, { entry }: EntryFacts): boolean {
  return fn === entry.function
}

const PER = { global_invocation_id: 'invocation', workgroup_id: 'workgroup', local_invocation_id: 'local' } as const

function variableForms(builtin: string, dimension: 0 | 1 | 2): readonly IndexForm[] | null {
  if (!Object.hasOwn(PER, builtin)) return null
  return [[one({ per: PER[builtin as keyof typeof PER], dimension })]]
}

function one(variable: IndexVariable): IndexTerm {
  return { factor: 1, uniform: null, variable }
}

/** Forms with a bound that has no variables. Null if some have none, or the bound has several or variables. */
function limits(
  forms: readonly IndexForm[] | null | undefined,
  op: 'min' | 'max',
  bounds: readonly IndexForm[] | null | undefined,
  isUnsigned: boolean,
): readonly IndexForm[] | null {
  if (!forms || bounds?.length !== 1 || bounds[0].some(({ variable }) => variable !== null)) return null
  const [bound] = bounds
  return forms.map((of) => [...of, one({ per: 'limit', op, of, bound, isUnsigned })])
}

function combine(op: string, a: IndexForm, b: IndexForm): IndexForm | null {
  switch (op) {
    case '+':
      return [...a, ...b]
    case '-':
      return [...a, ...scale(b, -1)]
    case '*':
      return multiply(a, b)
    case '<<':
      return b.length === 1 && b[0].uniform === null && b[0].variable === null ? scale(a, 2 ** b[0].factor) : null
    default:
      return null
  }
}

function scale(form: IndexForm, factor: number): IndexForm {
  return form.map((term) => ({ ...term, factor: term.factor * factor }))
}

/** Null if a product has two uniforms or two variables. */
function multiply(a: IndexForm, b: IndexForm): IndexForm | null {
  const terms: IndexTerm[] = []
  for (const s of a) {
    for (const t of b) {
      if ((s.uniform !== null && t.uniform !== null) || (s.variable !== null && t.variable !== null)) return null
      terms.push({ factor: s.factor * t.factor, uniform: s.uniform ?? t.uniform, variable: s.variable ?? t.variable })
    }
  }
  return terms
}
