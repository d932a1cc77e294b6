// Random programs: made from a seed while they run, so that commands fit what is there; and made shorter when they fail.

import { COMMANDS } from './commands/index.ts'
import { Command, type Program, parseProgram, printProgram } from './notation.ts'
import { Random } from './random.ts'
import { SETUPS } from './setups.ts'
import { World } from './world.ts'

export interface Outcome {
  readonly program: Program
  /** What broke; null if nothing did. */
  readonly error: Error | null
}

const COMMAND_WEIGHTS = COMMANDS.map(({ weight }) => weight)
const SETUP_WEIGHTS = SETUPS.map(({ weight }) => weight)

/** Makes the program of a seed and runs it, as far as it goes. Without `machine` the seed says on which. */
export function tryRandomProgram(seed: number, nsteps: number, machine?: string): Outcome {
  const random = new Random(seed)
  const drawn = weighted(SETUPS, SETUP_WEIGHTS, random).name
  const commands: Command[] = []
  const program = { machine: machine ?? drawn, commands }
  const error = attempt(() => {
    const world = new World(program.machine)
    while (commands.length < nsteps) {
      const command = randomCommand(world, random, commands.length === 0)
      if (command === null) continue
      commands.push(command)
      world.step(command)
    }
    world.finish()
  })
  return { program, error }
}

/** A program begins with a mapping, as nothing else makes sense before. Returns null if the draw makes no sense now. */
function randomCommand(world: World, random: Random, isFirst: boolean): Command | null {
  const kind = isFirst ? COMMANDS[0] : weighted(COMMANDS, COMMAND_WEIGHTS, random)
  const args = kind.pick(world, random)
  return args === null ? null : new Command(kind, args)
}

function weighted<T>(list: readonly T[], weights: readonly number[], random: Random): T {
  let at = random.below(weights.reduce((sum, weight) => sum + weight, 0))
  let i = 0
  while (at >= weights[i]) at -= weights[i++]
  return list[i]
}

export function tryProgram(program: Program): Outcome {
  const error = attempt(() => {
    const world = new World(program.machine)
    for (const command of program.commands) world.step(command)
    world.finish()
  })
  return { program, error }
}

function attempt(run: () => void): Error | null {
  try {
    run()
    return null
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

/** Runs a program given as text. Throws what breaks. */
export function runProgram(text: string): void {
  const { error } = tryProgram(parseProgram(text, COMMANDS))
  if (error !== null) throw error
}

/** A shorter program that breaks something, too: commands left out, then arguments made simpler, as long as that helps. */
export function shrink(failure: Outcome, tryAgain: (program: Program) => Outcome = tryProgram): Outcome {
  let smallest = failure
  for (;;) {
    const next = withSimplerArguments(withFewerCommands(smallest, tryAgain), tryAgain)
    if (next === smallest) return smallest
    smallest = next
  }
}

function withFewerCommands(failure: Outcome, tryAgain: (program: Program) => Outcome): Outcome {
  let smallest = failure
  for (let count = failure.program.commands.length >> 1; count >= 1; count >>= 1) {
    for (let at = smallest.program.commands.length - count; at >= 0; at -= count) {
      const { machine, commands } = smallest.program
      const found = tryAgain({ machine, commands: commands.toSpliced(at, count) })
      if (found.error !== null) smallest = found
    }
  }
  return smallest
}

function withSimplerArguments(failure: Outcome, tryAgain: (program: Program) => Outcome): Outcome {
  let smallest = failure
  for (let i = 0; i < smallest.program.commands.length; i++) {
    const { machine, commands } = smallest.program
    for (const command of commands[i].simpler()) {
      const found = tryAgain({ machine, commands: commands.with(i, command) })
      if (found.error === null) continue
      smallest = found
      i-- // there may be simpler ones still
      break
    }
  }
  return smallest
}

/** What to print of a program that broke something. */
export function describeFailure({ program, error }: Outcome): string {
  return `${error?.name}: ${error?.message}\n\n${printProgram(program)}\n`
}
