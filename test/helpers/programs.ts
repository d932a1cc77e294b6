// The programs of the tests that run in processes and threads of their own, bundled into .cache/programs before the tests of a project
// run (vitest.config.ts names this file as their global set-up). Bundled, because a process or thread that loads some hundred modules
// one by one spends more time on that than on what is tested; all at once, so that an engine and what a test adds to it share modules.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { BuildOptions } from 'esbuild'
import type { TestProject } from 'vitest/node'

const ROOT = resolve(import.meta.dirname, '../..')
const OUT = join(ROOT, '.cache/programs')

/** All that lies in these folders is one. */
const FOLDERS = ['test/explicit', 'test/live', 'test/trace']

const OTHERS = [
  'src/devices/webgpu/adapter.ts',
  'src/engine-worker-node-entry.ts',
  'src/graph500/main.ts',
  'src/heap/live/engine-worker.ts',
  'src/heap/live/page-io-worker.ts',
  'test/helpers/attached-thread.ts',
  'test/helpers/engine-extensions.ts',
  'test/helpers/kernel-thread.ts',
]

export default async function buildPrograms(project: TestProject): Promise<void> {
  await bundle()
  project.onTestsRerun(bundle) // of `vitest --watch`
}

/** Where the program of a source is, by its path from the root. Throws if it has none. */
export function programUrl(file: string): URL {
  const path = outputOf(join(ROOT, file))
  if (!existsSync(path)) throw new Error(`${file} is not among the programs of test/helpers/programs.ts`)
  return pathToFileURL(path)
}

async function bundle(): Promise<void> {
  const inFolders = FOLDERS.flatMap((folder) => readdirSync(join(ROOT, folder)).map((name) => `${folder}/${name}`))
  const { build } = await import('esbuild') // tests import this file too
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: [...inFolders, ...OTHERS],
    outbase: ROOT,
    outdir: OUT,
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    write: false,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    packages: 'external',
    plugins: [{ name: 'places', setup: keepPlaces }],
  })
  // Another run in the same clone may be using what is there.
  for (const { path, contents } of outputFiles) {
    if (existsSync(path) && readFileSync(path).equals(contents)) continue
    mkdirSync(dirname(path), { recursive: true })
    const temporary = `${path}.${process.pid}`
    writeFileSync(temporary, contents)
    renameSync(temporary, path)
  }
  removeAllBut(new Set(outputFiles.map(({ path }) => path)))
}

/** What a source finds beside itself it finds in its bundle: the URL of a module is that of its own program, whichever file it is in. */
const keepPlaces: NonNullable<BuildOptions['plugins']>[number]['setup'] = ({ onLoad }) => {
  onLoad({ filter: /\.ts$/ }, ({ path }) => {
    const url = JSON.stringify(pathToFileURL(outputOf(path)).href)
    return { loader: 'ts', contents: readFileSync(path, 'utf8').replaceAll('import.meta.url', url) }
  })
}

function removeAllBut(kept: ReadonlySet<string>): void {
  for (const entry of readdirSync(OUT, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile() && !kept.has(path)) rmSync(path, { force: true })
  }
}

function outputOf(source: string): string {
  return join(OUT, relative(ROOT, source)).replace(/\.ts$/, '.js')
}
