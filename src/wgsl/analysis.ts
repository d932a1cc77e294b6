// What a module means: which name is which, the type of every expression, the values of constants, who calls whom, and what the
// entry points are. Start with analyse(); Analysis answers questions afterwards.

import { analyseBody, type BodyContext } from './analyse-body.ts'
import type { Attribute, Call, Expression, GlobalDeclaration, Ident, Module, VariableDeclaration } from './ast.ts'
import { type Constant, type ConstantContext, evaluate } from './constants.ts'
import { type EntryPoint, entryPointOf } from './entry-point.ts'
import { inferType } from './infer.ts'
import { type Declaration, type FunctionInfo, Scope, type TypeInfo, type VariableInfo } from './scope.ts'
import type { Span } from './source.ts'
import { defaultAccess, enumerant, isPredeclaredType, predeclaredType } from './type-names.ts'
import {
  ACCESS_MODES,
  ADDRESS_SPACES,
  concrete,
  convertsTo,
  type StructType,
  type StructTypeMember,
  type Type,
  typeText,
  UNKNOWN,
  VOID,
  valueType,
} from './types.ts'
import { WgslError, type WgslErrorKind } from './wgsl-error.ts'

export interface AnalyseOptions {
  /** Declarations that stand before the module, from a text of their own: the arguments of a kernel, say. */
  readonly prelude?: Module
  /** Values of overrides, by name or `@id`. */
  readonly overrides?: Readonly<Record<string, number>>
}

/**
 * Works out what a module means. Throws a WgslError (`name`, `type` or `constant`) for what cannot mean anything; what passes may
 * still be refused by a device, which checks more.
 *
 *     const analysis = analyse(parseWgsl(code), { prelude: parseWgsl('@group(0) @binding(0) var<storage> x: array<f32>;') })
 *     analysis.entryPoints[0].workgroupSize // [64, 1, 1]
 */
export function analyse(module: Module, options: AnalyseOptions = {}): Analysis {
  return new Analyzer(module, options).run()
}

export class Analysis {
  readonly module: Module
  readonly prelude: Module | null
  /** Declarations at module scope by name, those of the prelude first. */
  readonly globals: ReadonlyMap<string, Declaration>
  readonly entryPoints: readonly EntryPoint[]
  private readonly types: ReadonlyMap<Expression, Type>
  private readonly uses: ReadonlyMap<Ident, Declaration>
  private readonly evaluateConstant: (expression: Expression) => Constant | null

  constructor(parts: {
    module: Module
    prelude: Module | null
    globals: ReadonlyMap<string, Declaration>
    entryPoints: readonly EntryPoint[]
    types: ReadonlyMap<Expression, Type>
    uses: ReadonlyMap<Ident, Declaration>
    evaluateConstant: (expression: Expression) => Constant | null
  }) {
    this.module = parts.module
    this.prelude = parts.prelude
    this.globals = parts.globals
    this.entryPoints = parts.entryPoints
    this.types = parts.types
    this.uses = parts.uses
    this.evaluateConstant = parts.evaluateConstant
  }

  /** All functions of the module and the prelude, in order. */
  get functions(): FunctionInfo[] {
    return [...this.globals.values()].filter((declaration) => declaration.kind === 'function')
  }

  /** The type of an expression; a reference where it names memory. `unknown` for what is no value. */
  typeOf(expression: Expression): Type {
    return this.types.get(expression) ?? UNKNOWN
  }

  /** What a name in the text means; null for predeclared names. */
  declarationOf(ident: Ident): Declaration | null {
    return this.uses.get(ident) ?? null
  }

  /** The value of a constant expression, or of one that the given overrides fix; null for any other. */
  constantOf(expression: Expression): Constant | null {
    return this.evaluateConstant(expression)
  }
}

class Analyzer implements BodyContext {
  private readonly module: Module
  private readonly prelude: Module | null
  private readonly overrides: Readonly<Record<string, number>>
  private readonly moduleScope = new Scope(null)
  private readonly globals = new Map<string, Declaration>()
  // Declarations at module scope whose meaning is not worked out yet: their order does not matter in WGSL.
  private readonly pending = new Map<string, { node: GlobalDeclaration & { name: Span }; module: Module }>()
  private readonly resolving = new Set<string>()
  private readonly types = new Map<Expression, Type>()
  private readonly uses = new Map<Ident, Declaration>()
  private current: Module

  constructor(module: Module, options: AnalyseOptions) {
    this.module = module
    this.prelude = options.prelude ?? null
    this.overrides = options.overrides ?? {}
    this.current = module
  }

  run(): Analysis {
    const modules = this.prelude === null ? [this.module] : [this.prelude, this.module]
    for (const module of modules) this.collect(module)
    for (const module of modules) {
      for (const node of module.declarations) if (node.kind !== 'const_assert') this.global(node.name.text)
    }
    for (const module of modules) this.within(module, () => this.analyseModule(module))
    const globals = new Map([...this.pending.keys()].map((name) => [name, this.globals.get(name)!]))
    const functions = [...globals.values()].filter((declaration) => declaration.kind === 'function')
    this.refuseRecursion(functions)
    const entryPoints = functions.flatMap((fn) =>
      this.within(fn.module, () => entryPointOf(this, fn, this.moduleScope) ?? []),
    )
    const { module, prelude, types, uses } = this
    const evaluateConstant = (e: Expression): Constant | null => this.evaluate(e, true)
    return new Analysis({ module, prelude, globals, entryPoints, types, uses, evaluateConstant })
  }

  private collect(module: Module): void {
    for (const node of module.declarations) {
      if (node.kind === 'const_assert') continue
      const name = node.name.text
      if (this.pending.has(name)) {
        this.within(module, () => this.fail('name', `"${name}" is declared twice`, node.name))
      }
      this.pending.set(name, { node, module })
    }
  }

  private analyseModule(module: Module): void {
    for (const node of module.declarations) {
      if (node.kind === 'const_assert') {
        this.infer(node.condition, this.moduleScope)
        if (this.constant(node.condition, this.moduleScope) === 0) this.fail('constant', 'const_assert failed', node)
      } else if (node.kind === 'fn') {
        const fn = this.globals.get(node.name.text) as FunctionInfo
        const scope = new Scope(this.moduleScope, fn)
        for (const param of fn.params) {
          if (!scope.declare(param)) this.fail('name', `"${param.name}" is declared twice`, param.node.name)
        }
        this.inferAttributes(node.attributes)
        analyseBody(this, fn, scope)
      }
    }
  }

  private inferAttributes(attributes: readonly Attribute[]): void {
    for (const { name, args } of attributes) {
      if (name === 'workgroup_size') for (const arg of args) this.infer(arg, this.moduleScope)
    }
  }

  /** A declaration at module scope, worked out when it is first asked for. */
  private global(name: string): Declaration | null {
    const known = this.globals.get(name)
    if (known !== undefined) return known
    const found = this.pending.get(name)
    if (found === undefined) return null
    const { node, module } = found
    return this.within(module, () => {
      if (this.resolving.has(name)) this.fail('name', `"${name}" depends on itself`, node.name)
      this.resolving.add(name)
      const declaration = this.declareGlobal(node as GlobalDeclaration, module)
      this.globals.set(name, declaration)
      this.moduleScope.declare(declaration)
      return declaration
    })
  }

  private declareGlobal(node: GlobalDeclaration, module: Module): Declaration {
    switch (node.kind) {
      case 'alias':
        return { kind: 'type', name: node.name.text, node, module, type: this.namedType(node.type, this.moduleScope) }
      case 'struct':
        return this.declareStruct(node, module)
      case 'fn':
        return this.declareFunction(node, module)
      case 'const_assert':
        throw new TypeError('const_assert declares nothing')
      default: {
        const type = this.declaredType(node, this.moduleScope)
        return { kind: 'variable', name: node.name.text, node, module, function: null, type }
      }
    }
  }

  private declareStruct(node: GlobalDeclaration & { kind: 'struct' }, module: Module): TypeInfo {
    const names = new Set<string>()
    const members = node.members.map((member): StructTypeMember => {
      const name = member.name.text
      if (names.has(name)) this.fail('name', `"${name}" is declared twice`, member.name)
      names.add(name)
      const type = this.namedType(member.type, this.moduleScope)
      const number = (attribute: string): number | null => {
        const found = member.attributes.find((candidate) => candidate.name === attribute)
        if (found === undefined) return null
        const value = this.constant(found.args[0], this.moduleScope)
        return typeof value === 'number' ? value : this.fail('constant', `@${attribute} wants a constant`, found)
      }
      return { name, type, align: number('align'), size: number('size'), node: member }
    })
    const type: StructType = { kind: 'struct', name: node.name.text, members }
    return { kind: 'type', name: type.name, node, module, type }
  }

  private declareFunction(node: GlobalDeclaration & { kind: 'fn' }, module: Module): FunctionInfo {
    const name = node.name.text
    const fn: FunctionInfo = {
      kind: 'function',
      name,
      node,
      module,
      params: [],
      returnType: VOID,
      calls: [],
      builtinCalls: [],
    }
    for (const param of node.params) {
      const type = this.namedType(param.type, this.moduleScope)
      fn.params.push({ kind: 'parameter', name: param.name.text, node: param, module, function: fn, type })
    }
    if (node.returnType !== null) fn.returnType = this.namedType(node.returnType, this.moduleScope)
    return fn
  }

  private refuseRecursion(functions: readonly FunctionInfo[]): void {
    const done = new Set<FunctionInfo>()
    const open = new Set<FunctionInfo>()
    const visit = (fn: FunctionInfo): void => {
      if (done.has(fn)) return
      open.add(fn)
      for (const { call, callee } of fn.calls) {
        if (open.has(callee)) this.within(fn.module, () => this.fail('name', `"${callee.name}" calls itself`, call))
        visit(callee)
      }
      open.delete(fn)
      done.add(fn)
    }
    for (const fn of functions) visit(fn)
  }

  // ---- Context: what the parts of the analysis ask ----

  infer(expression: Expression, scope: Scope): Type {
    const known = this.types.get(expression)
    if (known !== undefined) return known
    const type = inferType(this, expression, scope)
    this.types.set(expression, type)
    return type
  }

  resolve(ident: Ident, scope: Scope): Declaration | null {
    const declaration = scope.find(ident.name) ?? this.global(ident.name)
    if (declaration !== null) this.uses.set(ident, declaration)
    return declaration
  }

  typeNamed(expression: Expression, scope: Scope): Type | null {
    if (expression.kind !== 'ident') return null
    const declaration = this.resolve(expression, scope)
    if (declaration !== null) return declaration.kind === 'type' ? declaration.type : null
    return predeclaredType(this, expression, scope)
  }

  constant(
    expression: Expression,
    scope: Scope,
    options: { overrides: boolean } = { overrides: false },
  ): Constant | null {
    this.infer(expression, scope)
    return this.evaluate(expression, options.overrides)
  }

  noteCall(call: Call, callee: FunctionInfo | string, scope: Scope): void {
    if (scope.function === null) return
    if (typeof callee === 'string') scope.function.builtinCalls.push({ call, name: callee })
    else scope.function.calls.push({ call, callee })
  }

  fail(kind: WgslErrorKind, reason: string, span: Span): never {
    throw new WgslError(kind, reason, this.current.source, span)
  }

  declareLocal(node: VariableDeclaration, type: Type, scope: Scope): void {
    const name = node.name.text
    const info: VariableInfo = { kind: 'variable', name, node, module: this.current, function: scope.function, type }
    if (!scope.declare(info)) this.fail('name', `"${name}" is declared twice`, node.name)
  }

  declaredType(node: VariableDeclaration, scope: Scope): Type {
    const init = node.init === null ? null : valueType(this.infer(node.init, scope))
    const written = node.type === null ? null : this.namedType(node.type, scope)
    if (init !== null && written !== null && !convertsTo(init, written)) {
      this.fail('type', `"${node.name.text}" is ${typeText(written)}, its value ${typeText(init)}`, node.init!)
    }
    if (init?.kind === 'void') this.fail('type', 'this has no value', node.init!)
    const store = written ?? (node.kind === 'const' ? init! : concrete(init!))
    if (node.kind !== 'var') return store
    const spaceName = node.template[0]
    const handle = store.kind === 'opaque' ? 'handle' : scope.function === null ? null : 'function'
    const space = spaceName === undefined ? handle : enumerant(spaceName, ADDRESS_SPACES)
    if (space === null) this.fail('type', `"${node.name.text}" has no address space`, node.name)
    const access = node.template[1] === undefined ? defaultAccess(space) : enumerant(node.template[1], ACCESS_MODES)
    if (access === null) this.fail('type', 'this is no access mode', node.template[1])
    return { kind: 'reference', space, access, store }
  }

  private namedType(ident: Ident, scope: Scope): Type {
    const type = this.typeNamed(ident, scope)
    if (type !== null) return type
    const isKnown = this.uses.has(ident) || isPredeclaredType(ident.name)
    return isKnown
      ? this.fail('type', `"${ident.name}" is no type`, ident)
      : this.fail('name', `unresolved type "${ident.name}"`, ident)
  }

  private evaluate(expression: Expression, overrides: boolean): Constant | null {
    const context: ConstantContext = {
      typeOf: (e) => this.types.get(e) ?? UNKNOWN,
      constructs: (call) => {
        const declaration = this.uses.get(call.callee)
        const isType = declaration === undefined ? isPredeclaredType(call.callee.name) : declaration.kind === 'type'
        return isType ? (this.types.get(call) ?? null) : null
      },
      valueOf: (ident) => {
        const declaration = this.uses.get(ident)
        if (declaration?.kind !== 'variable') return null
        const { kind, init } = declaration.node
        if (kind === 'override' && overrides) {
          const given = this.givenOverride(declaration)
          if (given !== null) return given
        } else if (kind !== 'const') return null
        return init === null ? null : evaluate(context, init)
      },
      fail: (reason, e) => this.fail('constant', reason, e),
    }
    return evaluate(context, expression)
  }

  private givenOverride({ name, node }: VariableInfo): number | null {
    const id = node.attributes.find((attribute) => attribute.name === 'id')?.args[0]
    const key = id === undefined ? name : String(this.constant(id, this.moduleScope))
    return this.overrides[key] ?? null
  }

  /** Errors that happen inside are about this module's text. */
  private within<T>(module: Module, work: () => T): T {
    const before = this.current
    this.current = module
    const result = work()
    this.current = before
    return result
  }
}
