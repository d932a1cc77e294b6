// `npm run bench -- [SUITE...] [--json]`: measures, prints ratios with their goals, and ends with 1 if one was missed.
// Every case, or group of cases, has a process of its own, so that what one case teaches the compiler or leaves on the
// heap does not reach the next. `--case NAME` runs one case in this very process, which is also how to profile it:
//
//   node --cpu-prof dist/bench/main.js core --case fault

import { type CommandLine, parseCommandLine, USAGE } from './command-line.ts'
import { casesOf, groupsOf, type Row, runGroup, type Suite } from './harness.ts'
import { runIsolated } from './isolated.ts'
import { describeCase, jsonReporter, tableReporter } from './report.ts'
import { isSuiteName, loadSuite, SUITE_NAMES } from './suites.ts'

const EXIT_MISSED = 1
const EXIT_USAGE = 2

const print = (line: string) => console.log(line)

async function main(argv: readonly string[]): Promise<number> {
  const line = parseCommandLine(argv)
  if ('complaint' in line) return refuse(line.complaint)
  if (line.help) {
    print(USAGE)
    return 0
  }
  const names = line.suites.length > 0 ? line.suites : SUITE_NAMES
  const suites: Suite[] = []
  for (const name of names) {
    if (!isSuiteName(name)) return refuse(`there is no suite ${name}, only ${SUITE_NAMES.join(', ')}`)
    suites.push(await loadSuite(name))
  }
  if (line.list) {
    for (const suite of suites) {
      print(`${suite.name}: ${suite.summary}`)
      for (const benchCase of casesOf(suite)) print(describeCase(benchCase))
    }
    return 0
  }
  return await run(suites, line)
}

/** Returns the exit status. */
async function run(suites: readonly Suite[], { json, caseNames }: CommandLine): Promise<number> {
  const reporter = json ? jsonReporter(print) : tableReporter(print)
  let missed = false
  for (const suite of suites) {
    const all = casesOf(suite)
    const unknown = caseNames.find((wanted) => all.every(({ name }) => name !== wanted))
    if (unknown !== undefined) return refuse(`suite ${suite.name} has no case ${unknown}`)
    const cases = all.filter(({ name }) => caseNames.length === 0 || caseNames.includes(name))
    reporter.suite(suite)
    const rows: Row[] = []
    for (const group of groupsOf(cases)) {
      const measured = caseNames.length === 0 ? runIsolated(suite.name, group) : runGroup(suite.name, group)
      for (const row of await measured) {
        reporter.row(row)
        rows.push(row)
      }
    }
    reporter.end(rows)
    missed ||= rows.some((row) => !row.ok)
  }
  return missed ? EXIT_MISSED : 0
}

function refuse(why: string): number {
  console.error(`bench: ${why}`)
  return EXIT_USAGE
}

process.exitCode = await main(process.argv.slice(2))
