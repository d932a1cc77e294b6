// One command, from set-up to exit status. Scripts of package.json come here through run.mjs.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { runAttached } from './process.mjs'
import { build, install, ROOT, SetupError } from './setup.mjs'
import { TASKS } from './tasks.mjs'
import { test } from './test.mjs'

/** Commands that take names of files. */
const WITH_FILES = ['conformance', 'start']

const COMMANDS = ['test', 'build', ...Object.keys(TASKS)]

/**
 * @param {string} command one of COMMANDS
 * @param {string[]} args
 * @returns {Promise<number>} exit status
 */
export async function runCommand(command, args) {
  if (!COMMANDS.includes(command)) {
    console.error(`usage: node scripts/run.mjs COMMAND [ARGS...], with one of ${COMMANDS.join(', ')}`)
    return 1
  }
  try {
    await install()
    if (command === 'test') return await test()
    if (command === 'build') {
      await build({ clean: args.includes('--clean') })
      return 0
    }
    return await runTask(command, TASKS[command](args))
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    console.error(error.message.trim())
    return 1
  }
}

async function runTask(command, { programs, source, env }) {
  if (source !== undefined) {
    if (!existsSync(join(ROOT, source))) throw new SetupError(`${command}: ${source} does not exist yet`)
    await build()
  }
  // Files named on the command line are relative to where the user stands; the tools belong to the root.
  const cwd = WITH_FILES.includes(command) ? (process.env.INIT_CWD ?? process.cwd()) : ROOT
  for (const program of programs) {
    const status = await runAttached(process.execPath, program, { cwd, env: { ...process.env, ...env } })
    if (status !== 0) return status
  }
  return 0
}
