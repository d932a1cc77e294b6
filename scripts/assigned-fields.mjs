// Takes out of classes the declarations of fields that their constructors assign anyway: once declared, a field is undefined first, and
// what is published says each name one more time.

import ts from 'typescript'

/**
 * A plugin for rollup, for what the compiler made.
 *
 * @returns {import('rollup').Plugin}
 */
export function assignedFields() {
  return {
    name: 'assigned fields',
    transform: (code) => (code.includes('constructor(') ? { code: strip(code), map: null } : null),
  }
}

function strip(code) {
  const source = ts.createSourceFile('file.js', code, ts.ScriptTarget.Latest, true)
  const cuts = []
  const visit = (node) => {
    if (ts.isClassLike(node)) cuts.push(...assignedIn(node))
    ts.forEachChild(node, visit)
  }
  visit(source)
  return cuts
    .toSorted((a, b) => b.pos - a.pos)
    .reduce((text, field) => text.slice(0, field.pos) + text.slice(field.end), code)
}

/** Fields without a value of which a statement of the constructor is the assignment. Private names have to be declared. */
function assignedIn({ members }) {
  const statements = members.find(ts.isConstructorDeclaration)?.body.statements ?? []
  const assigned = new Set(statements.map(({ expression }) => assignedBy(expression)))
  return members.filter(
    (member) =>
      ts.isPropertyDeclaration(member) &&
      member.initializer === undefined &&
      member.modifiers === undefined &&
      ts.isIdentifier(member.name) &&
      assigned.has(member.name.text),
  )
}

/** `name` of `this.name = ...`. */
function assignedBy(expression) {
  if (expression?.operatorToken?.kind !== ts.SyntaxKind.EqualsToken) return undefined
  const { left } = expression
  return ts.isPropertyAccessExpression(left) && left.expression.kind === ts.SyntaxKind.ThisKeyword
    ? left.name.text
    : undefined
}
