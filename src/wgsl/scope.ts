// What names mean: declarations, and the scopes they are found in. A module has one scope, every block adds one; inner names
// hide outer ones, and any declared name hides a predeclared one such as `min` or `vec3f`.

import type {
  AliasDeclaration,
  Call,
  FunctionDeclaration,
  Module,
  Parameter,
  StructDeclaration,
  VariableDeclaration,
} from './ast.ts'
import type { Type } from './types.ts'

export interface VariableInfo {
  readonly kind: 'variable'
  readonly name: string
  readonly node: VariableDeclaration
  readonly module: Module
  /** Null at module scope. */
  readonly function: FunctionInfo | null
  /** A reference for a `var`, the value's type for everything else. */
  readonly type: Type
}

export interface ParameterInfo {
  readonly kind: 'parameter'
  readonly name: string
  readonly node: Parameter
  readonly module: Module
  readonly function: FunctionInfo
  readonly type: Type
}

export interface FunctionInfo {
  readonly kind: 'function'
  readonly name: string
  readonly node: FunctionDeclaration
  readonly module: Module
  readonly params: ParameterInfo[]
  returnType: Type
  /** Calls in its body of functions of the module, in order. */
  readonly calls: { readonly call: Call; readonly callee: FunctionInfo }[]
  /** Calls in its body of builtin functions, in order. */
  readonly builtinCalls: { readonly call: Call; readonly name: string }[]
}

export interface TypeInfo {
  readonly kind: 'type'
  readonly name: string
  readonly node: StructDeclaration | AliasDeclaration
  readonly module: Module
  readonly type: Type
}

export type Declaration = VariableInfo | ParameterInfo | FunctionInfo | TypeInfo

export class Scope {
  readonly parent: Scope | null
  /** Null outside functions. */
  readonly function: FunctionInfo | null
  private readonly names = new Map<string, Declaration>()

  constructor(parent: Scope | null, fn: FunctionInfo | null = parent?.function ?? null) {
    this.parent = parent
    this.function = fn
  }

  /** False if the scope itself already has the name. */
  declare(declaration: Declaration): boolean {
    if (this.names.has(declaration.name)) return false
    this.names.set(declaration.name, declaration)
    return true
  }

  find(name: string): Declaration | null {
    for (let scope: Scope | null = this; scope !== null; scope = scope.parent) {
      const found = scope.names.get(name)
      if (found !== undefined) return found
    }
    return null
  }
}
