// The arguments of the bench command.

export const USAGE = `npm run bench -- [SUITE...] [--json]

  Measures the given suites, by default all. Every figure is a ratio to a baseline that is measured in turn with it.
  Exit status: 0 if every goal is met, 1 if the whole 95 % interval of a ratio misses its goal, 2 for a wrong call.

  --json        one JSON object per case and line
  --list        what the suites measure, without running them
  --case NAME   only this case, in this process; again for more of them`

export interface CommandLine {
  readonly suites: readonly string[]
  readonly json: boolean
  readonly list: boolean
  readonly help: boolean
  /** None for all. */
  readonly caseNames: readonly string[]
}

/** Reads the arguments, or says in a few words what is wrong with them. */
export function parseCommandLine(argv: readonly string[]): CommandLine | { readonly complaint: string } {
  const suites: string[] = []
  const flags = { json: false, list: false, help: false }
  const caseNames: string[] = []
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i]
    if (arg === '--json') flags.json = true
    else if (arg === '--list') flags.list = true
    else if (arg === '--help' || arg === '-h') flags.help = true
    else if (arg === '--case') {
      i++
      if (i === argv.length) return { complaint: '--case wants the name of a case' }
      caseNames.push(argv[i])
    } else if (arg.startsWith('-')) return { complaint: `there is no option ${arg}` }
    else suites.push(arg)
  }
  if (caseNames.length > 0 && suites.length !== 1) return { complaint: '--case wants exactly one suite beside it' }
  return { suites, ...flags, caseNames }
}
