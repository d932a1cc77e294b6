// Takes the comments out of declarations that no entry point exports: types that others have in their hands but cannot name, mostly of the
// driver's insides. They are a sixth of all declaration files, and their readers have the sources.

import ts from 'typescript'

/**
 * A plugin for the output of rollup, whose files are declarations.
 *
 * @returns {import('rollup').Plugin}
 */
export function trimDeclarations() {
  return {
    name: 'trim declarations',
    generateBundle(_, bundle) {
      const chunks = Object.values(bundle).filter((file) => file.type === 'chunk')
      const files = new Map(chunks.map((chunk) => [chunk.fileName, parse(chunk)]))
      const nameable = new Set(
        chunks.flatMap(({ isEntry, fileName, exports }) =>
          isEntry ? exports.map((name) => declarationOf(files, fileName, name)) : [],
        ),
      )
      for (const chunk of chunks) chunk.code = trim(files.get(chunk.fileName), nameable)
    },
  }
}

/** What a file has under which names: its own declarations, what it imports, and what it hands on. */
function parse({ fileName, code }) {
  const source = ts.createSourceFile(fileName, code, ts.ScriptTarget.Latest, true)
  const imported = new Map()
  const exported = new Map()
  for (const statement of source.statements) {
    const from = statement.moduleSpecifier?.text.replace(/^\.\/(.*)\.js$/, '$1.d.ts')
    if (ts.isImportDeclaration(statement)) {
      for (const { name, propertyName } of statement.importClause?.namedBindings?.elements ?? []) {
        imported.set(name.text, { from, name: (propertyName ?? name).text })
      }
    } else if (ts.isExportDeclaration(statement)) {
      for (const { name, propertyName } of statement.exportClause?.elements ?? []) {
        exported.set(name.text, { from, name: (propertyName ?? name).text })
      }
    }
  }
  return { fileName, source, imported, exported }
}

/** Where something that a file exports is declared, as `file name`. */
function declarationOf(files, fileName, exportedName) {
  const { imported, exported } = files.get(fileName)
  const { from, name } = exported.get(exportedName) ?? { name: exportedName }
  const origin = from === undefined ? imported.get(name) : { from, name }
  return files.has(origin?.from) ? declarationOf(files, origin.from, origin.name) : `${fileName} ${name}`
}

function trim({ fileName, source }, nameable) {
  const isNameable = (name) => nameable.has(`${fileName} ${name}`)
  return source.statements
    .map((statement) => {
      const text = statement.getFullText()
      const name = statement.name ?? statement.declarationList?.declarations[0].name
      if (name === undefined || isNameable(name.text)) return text
      return text.replace(/\n[ \t]*\/\*\*[\s\S]*?\*\//g, '')
    })
    .join('')
    .concat('\n')
}
