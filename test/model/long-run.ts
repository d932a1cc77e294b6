// `npm run model:long`: many random programs on several processes at once, with a line that says how far it is. A program is
// its seed, so a run that was stopped goes on where it was, and any program can be had again:
//
//   npm run model:long                                      100,000 programs of 50 steps
//   npm run model:long -- --from 52000 --programs 48000     the rest of a run that was stopped there
//   npm run model:long -- --from 4711 --programs 1          one of them
//
// The first one that breaks something ends the run: it is made shorter, and printed to be pasted into found.test.ts.

import { type ChildProcess, fork } from 'node:child_process'
import { parseArgs } from 'node:util'
import { describeFailure, shrink, tryRandomProgram } from './program.ts'
import { SETUPS } from './setups.ts'

const USAGE = `usage: npm run model:long -- [--from SEED] [--programs N] [--steps N] [--processes N] [--machine NAME]
  --from       seed of the first program; default 0
  --programs   how many; default HETMEM_MODEL_RUNS, or 100000
  --steps      commands in each; default HETMEM_MODEL_STEPS, or 50
  --processes  at a time; default 2
  --machine    one of ${SETUPS.map(({ name }) => name).join(', ')}; default: as the seed has it`

/** Programs that a worker gets at a time. */
const BATCH = 50
/** A program of 50 steps takes milliseconds: one that takes this long does not end. */
const HANGS_AFTER_MS = 120_000

interface Options {
  readonly from: number
  readonly programs: number
  readonly steps: number
  readonly processes: number
  readonly machine: string | undefined
}

/** From a worker: a program begins, all are done, or one broke something. */
type Report = { begins: number } | { done: true } | { seed: number; failure: string }

if (process.send === undefined) process.exitCode = await supervise(readOptions())
else work(readOptions())

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      from: { type: 'string', default: '0' },
      programs: { type: 'string', default: process.env['HETMEM_MODEL_RUNS'] ?? '100000' },
      steps: { type: 'string', default: process.env['HETMEM_MODEL_STEPS'] ?? '50' },
      processes: { type: 'string', default: '2' },
      machine: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  const [from, programs, steps, processes] = [values.from, values.programs, values.steps, values.processes].map(Number)
  const isWrong = [from, programs, steps, processes].some((value) => !Number.isSafeInteger(value) || value < 0)
  const isUnknown = values.machine !== undefined && !SETUPS.some(({ name }) => name === values.machine)
  if (values.help || isWrong || isUnknown || processes === 0) {
    console.log(USAGE)
    process.exit(values.help ? 0 : 1)
  }
  return { from, programs, steps, processes, machine: values.machine }
}

// ---- workers ----

function work({ steps, machine }: Options): void {
  const report = (message: Report): void => void process.send?.(message)
  process.on('message', ({ from, to }: { from: number; to: number }) => {
    for (let seed = from; seed < to; seed++) {
      report({ begins: seed })
      const outcome = tryRandomProgram(seed, steps, machine)
      if (outcome.error !== null) {
        report({ seed, failure: describeFailure(shrink(outcome)) })
        return
      }
    }
    report({ done: true })
  })
  process.on('disconnect', () => process.exit())
}

// ---- the one that hands out seeds ----

interface Worker {
  readonly child: ChildProcess
  /** Seed of the program that it runs, and since when; those of its batch above are still to come. */
  seed: number
  since: number
}

/** Returns the exit status. */
function supervise(options: Options): Promise<number> {
  const { from, programs, steps, processes } = options
  const end = from + programs
  const workers = new Set<Worker>()
  const start = performance.now()
  let next = from
  let ndone = 0

  return new Promise((resolve) => {
    const ticking = setInterval(tick, process.stdout.isTTY ? 500 : 10_000)
    process.once('SIGINT', () => finish(130, stopped()))
    process.once('SIGTERM', () => finish(143, stopped()))
    for (let i = 0; i < processes && next < end; i++) startWorker()
    if (programs === 0) finish(0, summary())

    function startWorker(): void {
      const worker = { child: fork(process.argv[1], process.argv.slice(2)), seed: next, since: performance.now() }
      workers.add(worker)
      worker.child.on('message', (report: Report) => hear(worker, report))
      worker.child.on('exit', (status) => {
        if (workers.has(worker)) finish(1, `a worker ended with status ${status} in the program of seed ${worker.seed}`)
      })
      giveBatch(worker)
    }

    function giveBatch(worker: Worker): void {
      const to = Math.min(next + BATCH, end)
      worker.seed = next
      worker.since = performance.now()
      worker.child.send({ from: next, to })
      next = to
    }

    function hear(worker: Worker, report: Report): void {
      if ('failure' in report) {
        finish(1, `seed ${report.seed} of ${steps} steps, made shorter:\n\n${report.failure}\n${summary()}`)
      } else if ('begins' in report) {
        if (report.begins > worker.seed) ndone++
        worker.seed = report.begins
        worker.since = performance.now()
      } else {
        ndone++
        if (next < end) {
          giveBatch(worker)
          return
        }
        workers.delete(worker)
        worker.child.disconnect()
        if (workers.size === 0) finish(0, summary())
      }
    }

    function tick(): void {
      for (const { seed, since } of workers) {
        if (performance.now() - since > HANGS_AFTER_MS) finish(1, `the program of seed ${seed} does not end`)
      }
      const left = Math.round((end - from - ndone) / rate())
      const line = `${ndone} of ${programs} programs, ${rate().toFixed(0)} per second, ${left} s left`
      process.stdout.write(process.stdout.isTTY ? `\r${line}\x1b[K` : `${line}\n`)
    }

    function finish(status: number, text: string): void {
      clearInterval(ticking)
      for (const { child } of workers) child.kill('SIGKILL')
      workers.clear()
      console.log(`${process.stdout.isTTY ? '\r\x1b[K' : ''}${text}`)
      resolve(status)
    }
  })

  function rate(): number {
    return ndone / Math.max((performance.now() - start) / 1000, 0.001)
  }

  function summary(): string {
    const seconds = ((performance.now() - start) / 1000).toFixed(0)
    return `${ndone} random programs of ${steps} steps without an invariant broken, ${rate().toFixed(0)} per second, ${seconds} s`
  }

  /** All seeds below the lowest one that runs are done. */
  function stopped(): string {
    const first = Math.min(next, ...[...workers].map(({ seed }) => seed))
    return `${summary()}\ngo on with: npm run model:long -- --from ${first} --programs ${end - first} --steps ${steps}`
  }
}
