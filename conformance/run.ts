// The program behind `npm run conformance`: replays on the simulated machine.

import { runConformance } from './cli.ts'
import { SimulatedDriver } from './drivers/simulated/simulated-driver.ts'
import { EXPECTATIONS } from './expectations.ts'

// Whoever reads the output may stop before its end, as head does.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(1)
})

process.exitCode = await runConformance(process.argv.slice(2), {
  makeDriver: (sequence) => new SimulatedDriver(sequence),
  expectations: EXPECTATIONS,
  out: (line) => process.stdout.write(`${line}\n`),
  err: (line) => process.stderr.write(`${line}\n`),
})
