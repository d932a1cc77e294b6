// The subcommands of `hetmem`. Exit status 0 if all went well, 1 if the command failed, 2 if it was called wrongly.

import { doctor } from './doctor.ts'
import type { Terminal } from './terminal.ts'
import { tour } from './tour.ts'

const EXIT_USAGE = 2

interface Command {
  readonly summary: string
  /** `args` is what follows the name of the command. Returns the exit status. */
  run(args: readonly string[], out: Terminal, err: Terminal): number | Promise<number>
}

const COMMANDS: Readonly<Record<string, Command>> = {
  tour: {
    summary: "a page's life: a guided tour on a simulated machine",
    run(args, out, err) {
      if (args.length > 0) {
        err.line(`hetmem: tour takes no arguments, got ${args.join(' ')}`)
        return EXIT_USAGE
      }
      tour(out)
      return 0
    },
  },
  doctor: {
    summary: 'what this machine offers, why not more, and what to do about it (--json)',
    async run(args, out, err) {
      const unknown = args.filter((arg) => arg !== '--json')
      if (unknown.length > 0) {
        err.line(`hetmem: doctor takes --json or nothing, got ${unknown.join(' ')}`)
        return EXIT_USAGE
      }
      await doctor(out, args.includes('--json'))
      return 0
    },
  },
  help: {
    summary: 'this list',
    run(_args, out) {
      printHelp(out)
      return 0
    },
  },
}

const ALIASES: Readonly<Record<string, string>> = { '-h': 'help', '--help': 'help' }

/** Runs a command line, without the names of node and script. Complaints go to `err`. Returns the exit status. */
export async function runCommand(argv: readonly string[], out: Terminal, err: Terminal): Promise<number> {
  const [given = 'help', ...args] = argv
  const name = Object.hasOwn(ALIASES, given) ? ALIASES[given] : given
  if (!Object.hasOwn(COMMANDS, name)) {
    err.line(`hetmem: there is no command ${given}; try hetmem help`)
    return EXIT_USAGE
  }
  return COMMANDS[name].run(args, out, err)
}

function printHelp(out: Terminal): void {
  out.line('hetmem: one address space for CPU code and devices')
  out.line()
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length))
  for (const [name, { summary }] of Object.entries(COMMANDS)) {
    out.line(`  hetmem ${out.paint('bold', name.padEnd(width))}  ${summary}`)
  }
}
