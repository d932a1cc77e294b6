// Walks the body of a function: declares what it declares, in the scopes where it does, and infers every expression.

import type { Block, Expression, Statement, VariableDeclaration } from './ast.ts'
import type { Context } from './context.ts'
import { operatorType } from './infer.ts'
import { type FunctionInfo, Scope } from './scope.ts'
import { concrete, convertsTo, type Type, typeText, valueType } from './types.ts'

export interface BodyContext extends Context {
  /** Declares a variable of a function. */
  declareLocal(node: VariableDeclaration, type: Type, scope: Scope): void
  /** The type that a declaration gives its variable: a reference for a `var`. */
  declaredType(node: VariableDeclaration, scope: Scope): Type
}

/** `scope` is that of the function's parameters; its body declares in the same one. */
export function analyseBody(c: BodyContext, fn: FunctionInfo, scope: Scope): void {
  for (const statement of fn.node.body.statements) analyseStatement(c, statement, scope)
}

function analyseBlock(c: BodyContext, block: Block, scope: Scope): void {
  const inner = new Scope(scope)
  for (const statement of block.statements) analyseStatement(c, statement, inner)
}

function analyseStatement(c: BodyContext, statement: Statement, scope: Scope): void {
  switch (statement.kind) {
    case 'block':
      analyseBlock(c, statement, scope)
      return
    case 'if':
      wants(c, statement.condition, 'bool', scope)
      analyseBlock(c, statement.then, scope)
      if (statement.else !== null) analyseStatement(c, statement.else, scope)
      return
    case 'switch': {
      const type = concrete(valueType(c.infer(statement.selector, scope)))
      if (type.kind !== 'unknown' && typeText(type) !== 'i32' && typeText(type) !== 'u32') {
        c.fail('type', `a switch on ${typeText(type)}, wanted i32 or u32`, statement.selector)
      }
      for (const { selectors, body } of statement.clauses) {
        for (const selector of selectors) if (selector !== 'default') c.infer(selector, scope)
        analyseBlock(c, body, scope)
      }
      return
    }
    case 'loop': {
      // The continuing block sees what the body declares.
      const inner = new Scope(scope)
      for (const part of statement.body.statements) analyseStatement(c, part, inner)
      if (statement.continuing !== null) analyseBlock(c, statement.continuing, inner)
      return
    }
    case 'for': {
      const inner = new Scope(scope)
      if (statement.init !== null) analyseStatement(c, statement.init, inner)
      if (statement.condition !== null) wants(c, statement.condition, 'bool', inner)
      if (statement.update !== null) analyseStatement(c, statement.update, inner)
      analyseBlock(c, statement.body, inner)
      return
    }
    case 'while':
      wants(c, statement.condition, 'bool', scope)
      analyseBlock(c, statement.body, scope)
      return
    case 'break if':
    case 'const_assert':
      wants(c, statement.condition, 'bool', scope)
      return
    case 'return':
      analyseReturn(c, statement.value, statement, scope)
      return
    case 'assign':
      analyseAssign(c, statement, scope)
      return
    case 'step':
      stored(c, statement.target, scope)
      return
    case 'call statement':
      c.infer(statement.call, scope)
      return
    case 'declaration':
      c.declareLocal(statement.declaration, c.declaredType(statement.declaration, scope), scope)
      return
    case 'break':
    case 'continue':
    case 'discard':
    case 'empty':
      return
  }
}

function wants(c: BodyContext, e: Expression, wanted: string, scope: Scope): void {
  const type = valueType(c.infer(e, scope))
  if (type.kind !== 'unknown' && typeText(type) !== wanted) {
    c.fail('type', `a condition of type ${typeText(type)}, wanted ${wanted}`, e)
  }
}

function analyseReturn(c: BodyContext, value: Expression | null, at: Statement, scope: Scope): void {
  const { name, returnType } = scope.function!
  const type = value === null ? null : valueType(c.infer(value, scope))
  const isRight = type === null ? returnType.kind === 'void' : convertsTo(type, returnType)
  if (isRight) return
  const returned = type === null ? 'nothing' : typeText(type)
  c.fail('type', `${name} returns ${returned}, wanted ${typeText(returnType)}`, value ?? at)
}

function analyseAssign(c: BodyContext, { target, op, value }: Statement & { kind: 'assign' }, scope: Scope): void {
  const type = valueType(c.infer(value, scope))
  if (target === null) return
  const store = stored(c, target, scope)
  const result = op === '=' ? type : operatorType(op.slice(0, -1), store, type)
  if (result === null) c.fail('type', `no "${op}" for ${typeText(store)} and ${typeText(type)}`, target)
  if (!convertsTo(result, store)) c.fail('type', `${typeText(result)} stored to ${typeText(store)}`, value)
}

/** The type of what an expression names, which has to be memory that may be written. */
function stored(c: BodyContext, target: Expression, scope: Scope): Type {
  const type = c.infer(target, scope)
  if (type.kind !== 'reference')
    return c.fail('type', `this cannot be assigned to: it is a value of ${typeText(type)}`, target)
  if (type.access === 'read') c.fail('type', 'this is read-only', target)
  return type.store
}
