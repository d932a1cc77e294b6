// The tests of live memory on other versions of Node and as other users:
//
//   npm run live -- --node 24 --node /opt/node-22/bin/node --user root --user nobody [FILTER...]
//
// Each version runs as each user, one after the other; without options this version as this user. What privileges change is much of
// what these tests are about, so what was skipped is said for each, with the capability that is missing. Another user than this one
// gets a copy of the sources, because tests compile programs beside them; only root can become another user. Exit status 1 if anything failed.

import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { findNode, reported, testOn } from './other-node.mjs'
import { ROOT } from './setup.mjs'

/** What has to do with live memory: the MMU, heaps in all modes, and programs in processes of their own. */
const SUITE = ['src/mmu/userfaultfd', 'src/heap', 'test/unit/live-', 'test/unit/gpu-endings', 'test/unit/mmu-contract']

/** What tests need of a clone. */
const SOURCES = ['src', 'test', 'conformance', 'bench', 'scripts', 'package.json', 'tsconfig.json', 'vitest.config.ts']

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { node: { type: 'string', multiple: true }, user: { type: 'string', multiple: true } },
})

let failed = false
for (const user of values.user ?? [String(process.getuid?.() ?? '')]) {
  for (const node of values.node ?? [process.execPath]) {
    failed = !(await reported(async () => runSuite(await findNode(node), user))) || failed
  }
}
process.exitCode = failed ? 1 : 0

/** Returns whether everything passed. */
async function runSuite(node, user) {
  const ids = idsOf(user)
  const isOther = ids !== null && ids.uid !== process.getuid()
  const folder = isOther ? copyFor(ids) : ROOT
  try {
    return await testOn(node, {
      label: `node ${node.version} as ${user}`,
      project: 'unit',
      filters: positionals.length > 0 ? positionals : SUITE,
      folder,
      options: isOther ? { env: { ...process.env, HOME: folder }, ...ids } : {},
    })
  } finally {
    if (isOther) rmSync(folder, { recursive: true, force: true })
  }
}

/** @returns {{ uid: number, gid: number } | null} null where there are no users */
function idsOf(user) {
  if (process.getuid === undefined) return null
  const id = (option) => Number(execFileSync('id', [option, user], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

/** A copy of the sources that the user owns, with the packages of this clone. */
function copyFor({ uid, gid }) {
  if (process.getuid() !== 0) throw new Error('only root can run tests as another user')
  const folder = mkdtempSync(join(tmpdir(), 'hetmem-live-'))
  for (const name of SOURCES) cpSync(join(ROOT, name), join(folder, name), { recursive: true })
  // A folder of its own, as tools keep their temporary files there.
  mkdirSync(join(folder, 'node_modules'))
  mkdirSync(join(folder, '.cache'))
  for (const name of readdirSync(join(ROOT, 'node_modules'))) {
    if (!name.startsWith('.vite')) symlinkSync(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name))
  }
  execFileSync('chown', ['-R', '-h', `${uid}:${gid}`, folder])
  return folder
}
