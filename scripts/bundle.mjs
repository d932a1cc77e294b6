// What is published, made of what was compiled: lib/ has the entry points of the package, the programs of its threads, and what they
// share in chunks, as small as can be, with one declaration file per entry point. `exports` and `bin` of package.json name them.
// It takes a second or two, and every build does it, so that our own programs use the package as others do.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import * as esbuild from 'esbuild'
import { rollup } from 'rollup'
import { dts } from 'rollup-plugin-dts'
import { trimDeclarations } from './trim-declarations.mjs'

/** Name in lib/, and what it is made of, below dist/src. */
const ENTRY_POINTS = {
  index: 'index',
  browser: 'browser-entry',
  'explicit-engine': 'engine-worker-node-entry',
  'explicit-engine-browser': 'engine-worker-entry',
  hmm: 'hmm-entry',
  trace: 'trace/index',
  webgpu: 'devices/webgpu/index',
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
  await esbuild.build({
    entryPoints: inputs({ ...ENTRY_POINTS, ...PROGRAMS }, '.js'),
    outdir: lib,
    bundle: true,
    splitting: true,
    chunkNames: 'chunk-[hash]',
    minify: true,
    lineLimit: 200, // an uncaught error shows the line that it comes from
    format: 'esm',
    platform: 'node',
    target: 'es2023',
    packages: 'external',
    logLevel: 'error',
  })
  const { browser: _, 'explicit-engine-browser': __, ...typed } = ENTRY_POINTS // they have the types of their namesakes
  const declarations = await rollup({
    input: inputs({ ...typed, ...NAMESPACES }, '.d.ts'),
    plugins: [
      namespacesApart(join(root, 'dist/src/hmm-entry.d.ts')),
      dts(),
      tabs,
      shorter,
      libraries,
      trimDeclarations(),
    ],
    external: [/^[^./]/],
    onwarn: () => {}, // types that are used and not exported: nobody has to name them
  })
  await declarations.write({
    dir: lib,
    format: 'es',
    entryFileNames: '[name].d.ts',
    chunkFileNames: 'types-[hash].d.ts',
  })
  await declarations.close()
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
