// The command line of `hetmem`: its commands, their options and their help. What a command does is in a file of its own.
//
// Exit status: 0 if all went well, 1 if what was to be done failed, 2 if the call is wrong or names what cannot be read. `run`
// ends with the status of the program, 128 and the number of the signal if one ended it.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Argument, Command, CommanderError } from 'commander'
import { COMPLETION_SHELLS, type CompletionShell, completion } from './completion.ts'
import { doctor } from './doctor.ts'
import { type ReportOptions, report } from './report.ts'
import { PACKAGE_ROOT, runInRepository } from './repository.ts'
import { type RunOptions, run } from './run.ts'
import { schema } from './schema.ts'
import { type Terminal, wrap } from './terminal.ts'
import { tour } from './tour.ts'
import { EXIT_OK, EXIT_USAGE, UserError } from './user-error.ts'

const EXIT_CODES = `
Exit status:
  0  all went well
  1  what was to be done failed
  2  the call is wrong, or names what cannot be read`

/** Runs a command line, without the names of node and script. Complaints go to `err`. Returns the exit status. */
export async function runCommand(argv: readonly string[], out: Terminal, err: Terminal): Promise<number> {
  let status = EXIT_OK
  const program = makeProgram(out, err, (result) => {
    status = result
  })
  try {
    await program.parseAsync(argv.length === 0 ? ['help'] : argv, { from: 'user' })
    return status
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE
    if (!(error instanceof UserError)) throw error
    err.line(`hetmem: ${error.message}`)
    return error.exitCode
  }
}

/** `done` gets the exit status of a command that ran. */
function makeProgram(out: Terminal, err: Terminal, done: (status: number) => void): Command {
  const program = new Command('hetmem')
  program
    .description('One address space for CPU code and WebGPU devices.')
    .version(readVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help for the command')
    .helpCommand('help [command]', 'print help for a command')
    .exitOverride()
    .configureHelp({
      helpWidth: out.columns,
      minWidthToWrap: 20,
      styleTitle: (title) => out.paint('bold', title),
      // Only the root lists what its options are; it has two.
      subcommandTerm: (command) => `${command.name()} ${argumentsOf(command)}`.trimEnd(),
    })
    .configureOutput({
      writeOut: (text) => out.write(text),
      writeErr: (text) => err.write(text),
      getOutHasColors: () => out.color,
      getErrHasColors: () => err.color,
      outputError: (text) => err.line(`hetmem: ${complaint(text)}; try hetmem help`),
    })
    .addHelpText('after', EXIT_CODES)
    .addHelpText('after', '\nExamples:\n  hetmem doctor\n  hetmem run saxpy.ts\n  hetmem help run')

  addCommand(program, 'doctor', 'what this machine offers, why not more, and what to do about it')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      wrapped('\nEnds with 0 whatever it finds: a machine without live memory is no failure.', out.columns),
    )
    .action(({ json = false }: { json?: boolean }) => doctor(out, json))

  addCommand(program, 'run', 'run a program with tracing, and write a report of what happened')
    .argument('<script>', 'JavaScript or TypeScript; everything behind it is the program’s')
    .argument('[args...]', 'arguments of the program')
    .option('-o, --out <folder>', 'where to write report and traces', '.')
    .option('--sites', 'name the line of the program that led to an event')
    .option('--verbose', 'trace each step behind an event too')
    .option('--allocations', 'a track per array in the Perfetto trace')
    .option('--quiet', 'no status line and no list of files')
    .passThroughOptions()
    .addHelpText(
      'after',
      wrapped(
        `
Writes hetmem-report.html, hetmem-trace.jsonl (\`hetmem schema\` lists its fields) and hetmem-trace.perfetto.json, \
which opens in https://ui.perfetto.dev. A program with several heaps gets a set of files for each, numbered. \
The program finds HETMEM_TRACE set, which openHeap reads; nothing in it has to be changed.

TypeScript is run by Node from 22.18 on; before that by the package tsx, if it is installed.

Exit status: that of the program; 128 and the number of the signal if one ended it; 2 if there is no such program.

Examples:
  hetmem run saxpy.ts
  hetmem run --out results bfs.js --scale 20`,
        out.columns,
      ),
    )
    .action(async (script: string, args: string[], options: RunOptions) => {
      done(await run({ script, args, ...options }, err))
    })

  addCommand(program, 'report', 'make a page of a trace')
    .argument('<trace>', 'a trace in JSON lines, as `hetmem run` writes it')
    .option('-o, --out <file>', 'the page', 'hetmem-report.html')
    .option('--open', 'open the page in a browser')
    .option('--json', 'print the figures as one JSON object, and write no page')
    .addHelpText('after', '\nExamples:\n  hetmem report hetmem-trace.jsonl --open\n  hetmem report run.jsonl --json')
    .action((trace: string, options: ReportOptions) => report(trace, options, out))

  addCommand(program, 'schema', 'list what the lines of a trace hold').action(() => schema(out))

  for (const [name, summary] of [
    ['bench', 'measure what things cost, as ratios'],
    ['conformance', 'replay recordings of a real kernel and compare'],
  ] as const) {
    addCommand(program, name, `${summary} (in a clone of the repository)`)
      .argument('[args...]', `those of npm run ${name}; --help lists them`)
      .helpOption(false)
      .passThroughOptions()
      .allowUnknownOption()
      .action(async (args: string[]) => {
        done(await runInRepository(name, args))
      })
  }

  addCommand(program, 'tour', "a page's life: a guided tour on a simulated machine").action(() => tour(out))

  addCommand(program, 'completion', 'print what makes a shell complete the commands')
    .addArgument(new Argument('<shell>', 'which shell').choices(COMPLETION_SHELLS))
    .addHelpText(
      'after',
      `
Examples:
  echo 'source <(hetmem completion bash)' >> ~/.bashrc
  hetmem completion zsh > ~/.zsh/completions/_hetmem`,
    )
    .action((shell: CompletionShell) => out.write(completion(shell, program)))
  return program
}

function addCommand(program: Command, name: string, summary: string): Command {
  // Options behind a script are the script's, so those of the root stand before the command.
  return program
    .enablePositionalOptions()
    .command(name)
    .summary(summary)
    .description(sentence(summary))
    .allowExcessArguments(false)
}

/** Each line is a paragraph, and those with a space in front stay as they are. */
function wrapped(text: string, columns: number): string {
  const lines = text.split('\n').flatMap((line) => (/^\S/.test(line) ? wrap(line, columns) : line))
  return lines.join('\n')
}

function argumentsOf(command: Command): string {
  return command.registeredArguments.map((each) => (each.required ? `<${each.name()}>` : `[${each.name()}]`)).join(' ')
}

function sentence(text: string): string {
  return `${text[0].toUpperCase()}${text.slice(1)}.`
}

/** What commander complains about, in one line: 'unknown option --jsn (did you mean --json?)'. */
function complaint(text: string): string {
  return text
    .replace(/^error: /, '')
    .trim()
    .replace(/\.?\n\(Did you mean (.*)\?\)$/, ' (did you mean $1?)')
    .replace(/\.$/, '')
}

function readVersion(): string {
  const { version } = JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as { version: string }
  return version
}
