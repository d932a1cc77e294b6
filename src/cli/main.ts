#!/usr/bin/env node
// The command `hetmem`: runs one of the subcommands in commands.ts.

import { runCommand } from './commands.ts'
import { makeTerminal } from './terminal.ts'

// A reader that has seen enough (`hetmem tour | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

const out = makeTerminal(process.stdout, process.env)
const err = makeTerminal(process.stderr, process.env)
process.exitCode = await runCommand(process.argv.slice(2), out, err)
