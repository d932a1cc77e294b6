// Takes out of declarations what is marked @internal, before they are bundled, so that types that nothing else needs go with it. Nobody
// outside can make sense of them, and a third of the declarations were such types.

import ts from 'typescript'

/**
 * A plugin for rollup, to stand before the one that reads declarations.
 *
 * @returns {import('rollup').Plugin}
 */
export function withoutInternals() {
  return {
    name: 'without internals',
    transform: (code, id) => (id.endsWith('.d.ts') ? { code: strip(id, code), map: null } : null),
  }
}

function strip(id, code) {
  const source = ts.createSourceFile(id, code, ts.ScriptTarget.Latest, true)
  const cuts = []
  for (const statement of source.statements) {
    if (!ts.isClassDeclaration(statement) && !ts.isInterfaceDeclaration(statement)) continue
    for (const clause of statement.heritageClauses ?? []) {
      // What a class implements it declares itself.
      if (clause.token === ts.SyntaxKind.ImplementsKeyword) cuts.push({ node: clause, text: '' })
    }
    for (const member of statement.members) {
      if (ts.getJSDocTags(member).every(({ tagName }) => tagName.text !== 'internal')) continue
      // Without a constructor of its own everybody could make one.
      cuts.push({ node: member, text: ts.isConstructorDeclaration(member) ? ' protected constructor();' : '' })
    }
  }
  return cuts
    .toSorted((a, b) => b.node.pos - a.node.pos)
    .reduce((text, { node, text: instead }) => text.slice(0, node.pos) + instead + text.slice(node.end), code)
}
