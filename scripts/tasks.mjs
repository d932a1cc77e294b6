// What each `npm run` command starts, once the clone is set up. All paths are below the root of the repository.

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './setup.mjs'

const TRACES = join(ROOT, 'conformance/traces/linux-6.1')
const CRUISED = ['src', 'studio', 'conformance', 'bench', 'examples', 'test', 'scripts']

/**
 * A task: the programs to run one after the other, each with Node.
 *
 * @typedef {object} Task
 * @property {string[][]} programs  script and arguments
 * @property {string} [source]      the source of a program that has to be built first
 * @property {Record<string, string>} [env]
 */

/** @type {Record<string, (args: string[]) => Task>} */
export const TASKS = {
  start: (args) => compiled('src/graph500/main', args),
  tour: (args) => compiled('src/cli/main', ['tour', ...args]),
  types: (args) => ({
    programs: ['tsconfig.json', 'tsconfig.core.json', 'tsconfig.browser.json'].map((file) => [
      tool('typescript/bin/tsc'),
      '-p',
      file,
      ...args,
    ]),
  }),
  lint: (args) => ({ programs: [[tool('@biomejs/biome/bin/biome'), 'check', '--error-on-warnings', ...args]] }),
  fix: (args) => ({ programs: [[tool('@biomejs/biome/bin/biome'), 'check', '--write', ...args]] }),
  layers: (args) => ({
    programs: [
      [
        tool('dependency-cruiser/bin/dependency-cruise.mjs'),
        ...['--config', '.dependency-cruiser.mjs', ...CRUISED.filter((folder) => existsSync(join(ROOT, folder)))],
        ...args,
      ],
    ],
  }),
  core: (args) => vitest('core', ['--poolOptions.forks.isolate=false', '--poolOptions.forks.maxForks=1', ...args]),
  unit: (args) => vitest('unit', args),
  model: (args) => vitest('model', args),
  examples: (args) => vitest('examples', args),
  browser: (args) => vitest('browser', args),
  'model:long': (args) => compiled('test/model/long-run', args),
  stress: (args) => compiled('test/live/stress', [...args, '--seconds', '60', '--pages', '131072', '--swap']),
  live: (args) => ({ programs: [[join(ROOT, 'scripts/live.mjs'), ...args]] }),
  versions: (args) => ({ programs: [[join(ROOT, 'scripts/versions.mjs'), ...args]] }),
  conformance: (args) => compiled('conformance/run', withRecordings(args)),
  bench: (args) => compiled('bench/main', args),
  docs: (args) => ({ programs: [[tool('typedoc/bin/typedoc'), '--logLevel', 'Warn', ...args]] }),
}

/** @returns {Task} */
function compiled(name, args) {
  return { source: `${name}.ts`, programs: [[join(ROOT, 'dist', `${name}.js`), ...args]] }
}

/** @returns {Task} */
function vitest(project, args) {
  return { programs: [[tool('vitest/vitest.mjs'), 'run', '--project', project, ...args]] }
}

function tool(path) {
  return join(ROOT, 'node_modules', path)
}

/** Without a FILE the replay takes all recordings of the repository. */
function withRecordings(args) {
  if (args.includes('--help') || args.some((arg) => /\.jsonl(\.gz)?$/.test(arg))) return args
  const recordings = existsSync(TRACES) ? readdirSync(TRACES).filter((name) => name.endsWith('.jsonl.gz')) : []
  return [...args, ...recordings.sort().map((name) => join(TRACES, name))]
}
