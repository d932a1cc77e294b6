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
  /** Everything that the bundler has to say. */
  readonly warnings: readonly string[]
}

/** Bundles pages/NAME.ts. Rejects when the bundler fails. */
export function bundlePage(bundler: Bundler, name: string): Promise<Bundle> {
  return bundler === 'esbuild' ? bundleWithEsbuild(name) : bundleWithVite(name)
}

async function bundleWithEsbuild(name: string): Promise<Bundle> {
  const { outputFiles, warnings } = await esbuild.build({
    absWorkingDir: PROJECT,
    entryPoints: [`pages/${name}.ts`, 'pages/engine.ts'],
    outdir: PROJECT,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    write: false,
    logLevel: 'silent',
    tsconfigRaw: {}, // not the one of this repository, which has paths to the sources
  })
  const files = new Map<string, string | Uint8Array>([['index.html', htmlFor(`/${name}.js`)]])
  for (const { path, contents } of outputFiles) files.set(relative(PROJECT, path), contents)
  return { files, warnings: warnings.map(({ text }) => text) }
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
    build: { write: false, target: 'es2022', rollupOptions: { input: join(PROJECT, page) } },
  })) as vite.Rollup.RollupOutput
  const files = new Map<string, string | Uint8Array>()
  for (const file of built.output) {
    files.set(file.fileName === page ? 'index.html' : file.fileName, file.type === 'chunk' ? file.code : file.source)
  }
  return { files, warnings }
}
