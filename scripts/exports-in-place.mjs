// Says `export` where something is declared, in place of a list of names at the end of the file, and declares constants that follow each
// other together: a fiftieth of all declaration files is names said twice.

import ts from 'typescript'

const CONST = 'declare const '

/**
 * A plugin for the output of rollup, whose files are declarations.
 *
 * @returns {import('rollup').Plugin}
 */
export function exportsInPlace() {
  return {
    name: 'exports in place',
    generateBundle(_, bundle) {
      for (const file of Object.values(bundle)) {
        if (file.type === 'chunk') file.code = shorten(file.code)
      }
    },
  }
}

function shorten(code) {
  const { statements } = ts.createSourceFile('file.d.ts', code, ts.ScriptTarget.Latest, true)
  const declared = new Map()
  for (const statement of statements) {
    for (const name of namesOf(statement)) declared.set(name, statement)
  }
  const inPlace = new Set()
  const lists = new Map()
  for (const statement of statements.filter(ts.isExportDeclaration)) {
    if (statement.moduleSpecifier !== undefined || statement.exportClause === undefined) continue
    const { elements } = statement.exportClause
    const here = elements.filter(
      ({ name, propertyName }) => propertyName === undefined && canBeInPlace(statement, declared.get(name.text)),
    )
    for (const { name } of here) inPlace.add(name.text)
    lists.set(
      statement,
      elements.filter((element) => !here.includes(element)).map((element) => element.getText()),
    )
  }
  const kept = statements.filter((statement) => lists.get(statement)?.length !== 0)
  const texts = joinConstants(kept, inPlace).map(({ statement, text, isExported }) => {
    const list = lists.get(statement)
    if (list !== undefined) return `\nexport ${statement.isTypeOnly ? 'type ' : ''}{ ${list.join(', ')} };`
    const start = statement.getLeadingTriviaWidth()
    return isExported ? `${text.slice(0, start)}export ${text.slice(start)}` : text
  })
  // Without a list all declarations of a file are exported.
  const hasList = kept.some((statement) => ts.isExportDeclaration(statement))
  return `${texts.join('')}\n${hasList ? '' : 'export {};\n'}`
}

/** Type-only lists are fine for what is nothing but a type. */
function canBeInPlace({ isTypeOnly }, declaration) {
  if (declaration === undefined) return false
  return !isTypeOnly || ts.isInterfaceDeclaration(declaration) || ts.isTypeAliasDeclaration(declaration)
}

function namesOf(statement) {
  if (ts.isVariableStatement(statement)) return statement.declarationList.declarations.map(({ name }) => name.text)
  return statement.name === undefined || ts.isImportDeclaration(statement) ? [] : [statement.name.text]
}

/** The texts of statements with comments before them; those of constants that follow each other, and are all exported or none of them, as one. */
function joinConstants(statements, inPlace) {
  const joined = []
  for (const statement of statements) {
    const text = statement.getFullText()
    const isExported = namesOf(statement).some((name) => inPlace.has(name))
    const last = joined.at(-1)
    const isConst = ts.isVariableStatement(statement)
    if (isConst && last?.isConst === true && last.isExported === isExported) {
      last.text = `${last.text.replace(/;$/, ',')}${text.replace(CONST, '')}`
    } else joined.push({ statement, text, isExported, isConst })
  }
  return joined
}
