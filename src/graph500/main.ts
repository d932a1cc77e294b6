// The program behind `npm start`.

import { makeTerminal } from '../cli/terminal.ts'
import { parseCommandLine, USAGE } from './command-line.ts'
import { closeJobHeaps } from './job-heap.ts'
import { runMainJob } from './main-job.ts'

const EXIT_FAILED = 1
const EXIT_USAGE = 2
/** How long somebody who has pressed Ctrl-C waits for a kernel, in milliseconds. */
const PATIENCE_MS = 2000
/** And the number of the signal, as shells say it. */
const EXIT_SIGNAL = 128

// A reader that has seen enough (`npm start | head`) is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

// Ends as a signal would end it, but lets the GPU come to its end, and removes what is half written. The signal may come more than
// once: a terminal sends it to all processes, and npm passes it on.
let isEnding = false
for (const [signal, number] of Object.entries({ SIGHUP: 1, SIGINT: 2, SIGTERM: 15 })) {
  process.on(signal, () => {
    isEnding = true
    const end = () => process.exit(EXIT_SIGNAL + number)
    setTimeout(end, PATIENCE_MS)
    void closeJobHeaps().then(end)
  })
}

async function main(args: readonly string[]): Promise<number> {
  const out = makeTerminal(process.stdout, process.env)
  const err = makeTerminal(process.stderr, process.env)
  const line = parseCommandLine(args)
  if ('help' in line) {
    out.line(USAGE)
    return 0
  }
  if ('complaint' in line) {
    err.line(`hetmem: ${line.complaint}; npm start -- --help tells more`)
    return EXIT_USAGE
  }
  try {
    await runMainJob(line.job, out, process.stdout)
    return 0
  } catch (error) {
    // Searches fail when their heap is closed under them; the process is about to end.
    if (isEnding) return await new Promise<never>(() => {})
    // Mistakes of the program itself come with the place where they were made.
    const isMistake = error instanceof Error && (error.name === 'AssertionError' || error.constructor === TypeError)
    err.line(`hetmem: ${isMistake ? error.stack : error instanceof Error ? error.message : String(error)}`)
    return EXIT_FAILED
  }
}

process.exitCode = await main(process.argv.slice(2))
