// What is published, made of what was compiled: lib/ has the entry points of the package, the programs of its threads, and what they
// share in chunks, as small as can be, with one declaration file per entry point. `exports` and `bin` of package.json name them.
// It takes a second or two, and every build does it, so that our own programs use the package as others do.

import { chmodSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import * as esbuild from 'esbuild'
import { rollup } from 'rollup'
import { dts } from 'rollup-plugin-dts'
import { assignedFields } from './assigned-fields.mjs'
import { exportsInPlace } from './exports-in-place.mjs'
import { trimDeclarations } from './trim-declarations.mjs'
import { withoutInternals } from './without-internals.mjs'

/** Name in lib/, and what it is made of, below dist/src. */
const ENTRY_POINTS = {
  index: 'index',
  browser: 'browser-entry',
  'explicit-engine': 'engine-worker-node-entry',
  'explicit-engine-browser': 'engine-worker-entry',
  hmm: 'hmm-entry',
  trace: 'trace/index',
  webgpu: 'webgpu-entry',
}

/** Nobody imports these. Programs of threads are loaded by the names that their files have. */
const PROGRAMS = {
  cli: 'cli/main',
  'engine-worker': 'heap/live/engine-worker',
  'page-io-worker': 'heap/live/page-io-worker',
}

/** What `export * as` names: declarations of its own, because types in a namespace are more than the bundler can write. */
const NAMESPACES = {
  hmm2015: 'hmm/mirror/index',
  hmmV51: 'hmm/hmm-vma',
}

/** Makes lib/ of `root`. Throws when something that is named here does not exist. */
export async function bundle(root) {
  const lib = join(root, 'lib')
  const inputs = (entries, extension) =>
    Object.fromEntries(Object.entries(entries).map(([name, path]) => [name, join(root, 'dist/src', path + extension)]))
  rmSync(lib, { recursive: true, force: true })
  const { browser: _, 'explicit-engine-browser': __, ...typed } = ENTRY_POINTS // they have the types of their namesakes
  const names = await bundleDeclarations(lib, inputs({ ...typed, ...NAMESPACES }, '.d.ts'), root)
  await bundlePrograms(lib, inputs({ ...ENTRY_POINTS, ...PROGRAMS }, '.js'), names)
}

/** What the compiler of others reads. Returns all names that an entry point exports, those of types too. */
async function bundleDeclarations(lib, input, root) {
  const declarations = await rollup({
    input,
    plugins: [
      withoutInternals(),
      namespacesApart(join(root, 'dist/src/hmm-entry.d.ts')),
      dts(),
      tabs,
      shorter,
      libraries,
      trimDeclarations(),
      exportsInPlace(),
    ],
    external: [/^[^./]/],
    onwarn: () => {}, // types that are used and not exported: nobody has to name them
  })
  const { output } = await declarations.write({
    dir: lib,
    format: 'es',
    entryFileNames: '[name].d.ts',
    chunkFileNames: 'types-[hash].d.ts',
    minifyInternalExports: false, // a short name for each costs more than it saves
  })
  await declarations.close()
  return new Set(output.flatMap((file) => (file.isEntry ? file.exports : [])))
}

/** What runs: the fewer files a thread loads, the sooner it begins. Classes of `names` keep theirs. */
async function bundlePrograms(lib, input, names) {
  const parts = new Parts(input)
  const programs = await rollup({
    input,
    external: [/^[^./]/],
    plugins: [wgsl, assignedFields()],
    // Helpers of the compiler look at `this`.
    onLog: (level, log, handler) => log.code !== 'THIS_IS_UNDEFINED' && handler(level, log),
  })
  await programs.write({
    dir: lib,
    format: 'es',
    chunkFileNames: 'chunk-[hash].js',
    hoistTransitiveImports: false,
    manualChunks: (id, { getModuleInfo }) => parts.of(id, getModuleInfo),
    plugins: [minified(names)],
  })
  await programs.close()
  chmodSync(join(lib, 'cli.js'), 0o755)
}

/**
 * Which chunk a module goes to: those that the same of these programs load go together, and what none of the first three loads is
 * left to the bundler. A module imports only what all its programs load too, so chunks do not import each other in circles. What
 * pages may load, now or later, stands apart, as they have to do without what only Node has.
 */
class Parts {
  static #PROGRAMS = [
    { names: ['index'] },
    { names: ['engine-worker'] },
    { names: ['browser'] },
    { names: ['browser', 'explicit-engine-browser'], later: true },
    { names: ['webgpu', 'hmm'] },
    { names: ['trace'] },
  ]
  static #FIRST_THREE = 0b111
  #bits = null
  #input

  constructor(input) {
    this.#input = input
  }

  of(id, getModuleInfo) {
    this.#bits ??= this.#findBits(getModuleInfo)
    const bits = this.#bits.get(id) ?? 0
    // A program itself does something when it is loaded, so nobody else may have to load it.
    return getModuleInfo(id).isEntry || (bits & Parts.#FIRST_THREE) === 0 ? undefined : `part-${bits}`
  }

  #findBits(getModuleInfo) {
    const bits = new Map()
    for (const [i, { names, later = false }] of Parts.#PROGRAMS.entries()) {
      const bit = 1 << i
      const left = names.map((name) => this.#input[name])
      for (let id = left.pop(); id !== undefined; id = left.pop()) {
        const info = getModuleInfo(id)
        if (((bits.get(id) ?? 0) & bit) !== 0 || info === null || info.isExternal) continue
        bits.set(id, (bits.get(id) ?? 0) | bit)
        left.push(...info.importedIds, ...(later ? info.dynamicallyImportedIds : []))
      }
    }
    return bits
  }
}

/** Files of WGSL without its comments and indentation. Places of errors are those of what a device is given, so nobody misses them. */
const wgsl = {
  name: 'wgsl',
  transform: (code, id) => (id.endsWith('.wgsl.js') ? code.replace(/^\s+|\s*\/\/.*$/gm, '') : null),
}

const minified = (names) => ({
  name: 'minified',
  async renderChunk(code) {
    const { outputFiles } = await esbuild.build({
      stdin: { contents: withClassNames(code, names) },
      bundle: true, // of this file alone, so that constants are known where they are used
      external: ['*'],
      write: false,
      minify: true,
      lineLimit: 1000, // an uncaught error shows its line
      format: 'esm',
      platform: 'neutral',
      target: 'es2023',
    })
    return { code: outputFiles[0].text, map: null }
  },
})

/** Classes that others may see keep their names, which uncaught errors and `console.log` show. */
function withClassNames(code, names) {
  return code.replace(/^class (\w+?)(?:\$\d+)?(?: extends [\w$.]+)? \{/gm, (line, name) =>
    names.has(name) || name.endsWith('Error') ? `${line} static name = "${name}";` : line,
  )
}

/** The file that has namespaces imports them as if they were another package's. */
function namespacesApart(file) {
  return {
    name: 'namespaces apart',
    resolveId(source, importer) {
      if (importer !== file) return null
      const found = Object.entries(NAMESPACES).find(([, path]) => source === `./${path}.ts`)
      return found === undefined ? null : { id: `./${found[0]}.js`, external: true }
    },
  }
}

/** A tab in place of each four spaces: a thirtieth of everything. */
const tabs = {
  name: 'tabs',
  renderChunk: (code) => code.replace(/^(?: {4})+/gm, (spaces) => '\t'.repeat(spaces.length / 4)),
}

/** Without private members, whose names are nobody's business, and the frames of comments. */
const shorter = {
  name: 'shorter',
  renderChunk: (code) =>
    code
      .replace(/\n\t*private (?!constructor)[^\n;]*;/g, '')
      .replace(/\/\*\*\n\t* \* ?/g, '/** ')
      .replace(/\n\t* \* ?(?!\/)/g, '\n')
      .replace(/\n\t* \*\//g, ' */'),
}

/** `await using` is younger than the library of types that most programs have. */
const libraries = {
  name: 'libraries',
  renderChunk: (code) => (code.includes('asyncDispose') ? `/// <reference lib="esnext.disposable" />\n${code}` : null),
}
