// Commands that need more than the package: benchmarks and recordings are in the repository only.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { exitStatusOf } from './child-status.ts'
import { EXIT_FAILED, UserError } from './user-error.ts'

/** The folder of the package, or of the clone. */
export const PACKAGE_ROOT = findRoot(dirname(fileURLToPath(import.meta.url)))

/** Runs `npm run NAME` of the clone that this is. Returns its exit status. Throws a UserError in an installed package. */
export async function runInRepository(name: string, args: readonly string[], root = PACKAGE_ROOT): Promise<number> {
  const script = join(root, 'scripts/run.mjs')
  if (!existsSync(script) || !existsSync(join(root, name))) {
    const text = `${name} is part of the repository and not of the installed package: clone it, and run npm run ${name} there`
    throw new UserError(text, EXIT_FAILED)
  }
  // Files that the user names are relative to where he stands.
  const env = { ...process.env, INIT_CWD: process.cwd() }
  return await exitStatusOf(spawn(process.execPath, [script, name, ...args], { stdio: 'inherit', env }))
}

/** The nearest folder above with a package.json: this file is built to another depth. */
function findRoot(folder: string): string {
  return existsSync(join(folder, 'package.json')) ? folder : findRoot(dirname(folder))
}
