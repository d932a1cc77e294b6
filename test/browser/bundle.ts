// Pages of the project, bundled as their authors would: with esbuild, or with Vite.

import { writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import * as esbuild from 'esbuild'
import * as vite from 'vite'
import { PROJECT } from './project.ts'
import { htmlFor, type SiteFiles } from './site.ts'

export const BUNDLERS = ['esbuild', 'Vite'] as const
export type Bundler = (typeof BUNDLERS)[number]

export interface Bundle {
  readonly files: SiteFiles
  /** Those files that the page loads at once; others when it comes to them. */
  readonly initial: readonly string[]
  /** Everything that the bundler has to say. */
  readonly warnings: readonly string[]
}

/**
 * Bundles pages/NAME.ts. Rejects when the bundler fails. `workers` are programs beside it, which esbuild has to be told of, and Vite
 * finds by itself.
 */
export function bundlePage(bundler: Bundler, name: string, workers: readonly string[] = []): Promise<Bundle> {
  const key = `${bundler} ${name}`
  const bundle = bundles.get(key) ?? (bundler === 'esbuild' ? bundleWithEsbuild(name, workers) : bundleWithVite(name))
  bundles.set(key, bundle)
  return bundle
}

/** Several tests open the same page. */
const bundles = new Map<string, Promise<Bundle>>()

async function bundleWithEsbuild(name: string, workers: readonly string[]): Promise<Bundle> {
  const { outputFiles, warnings, metafile } = await esbuild.build({
    absWorkingDir: PROJECT,
    entryPoints: [name, ...workers].map((each) => `pages/${each}.ts`),
    outdir: PROJECT,
    bundle: true,
    splitting: true,
    minify: true,
    metafile: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    write: false,
    logLevel: 'silent',
    tsconfigRaw: {}, // not the one of this repository, which has paths to the sources
  })
  const files = new Map<string, string | Uint8Array>([['index.html', htmlFor(`/${name}.js`)]])
  for (const { path, text } of outputFiles) files.set(relative(PROJECT, path), text)
  const importsOf = (path: string) => metafile.outputs[path].imports.filter(({ kind }) => kind === 'import-statement')
  const initial = reachable(`${name}.js`, (path) => importsOf(path).map((each) => each.path))
  return { files, initial, warnings: warnings.map(({ text }) => text) }
}

async function bundleWithVite(name: string): Promise<Bundle> {
  const page = `${name}.html`
  writeFileSync(join(PROJECT, page), htmlFor(`/pages/${name}.ts`))
  const warnings: string[] = []
  const logger = vite.createLogger('warn')
  logger.warn = (text) => warnings.push(text)
  const built = (await vite.build({
    root: PROJECT,
    configFile: false,
    customLogger: logger,
    build: {
      write: false,
      reportCompressedSize: false,
      target: 'es2022',
      rollupOptions: { input: join(PROJECT, page) },
    },
  })) as vite.Rollup.RollupOutput
  const files = new Map<string, string | Uint8Array>()
  for (const file of built.output) {
    files.set(file.fileName === page ? 'index.html' : file.fileName, file.type === 'chunk' ? file.code : file.source)
  }
  const chunks = new Map(built.output.flatMap((file) => (file.type === 'chunk' ? [[file.fileName, file]] : [])))
  const [entry] = [...chunks.values()].filter(({ isEntry }) => isEntry)
  const initial = reachable(entry.fileName, (path) => chunks.get(path)?.imports ?? [])
  return { files, initial, warnings }
}

/** A file and all that follow from it. */
function reachable(first: string, next: (path: string) => readonly string[], found = new Set<string>()): string[] {
  if (found.has(first)) return []
  found.add(first)
  for (const path of next(first)) reachable(path, next, found)
  return [...found]
}
