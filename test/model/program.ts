// Random programs: made from a seed while they run, so that commands fit what is there; and made shorter when they fail.

import { COMMANDS } from './commands/index.ts'
import type { Command as AnyCommand, CommandKind, Program } from './notation.ts'
import { Command, parseProgram, printProgram } from './notation.ts'
import { Random } from './random.ts'
import { SETUPS } from './setups.ts'
import { World } from './world.ts'

/** A program that broke something. */
export interface Failure {
  readonly program: Program
  readonly error: unknown
}

const WEIGHTS = COMMANDS.map(({ weight }) => weight)

/** Makes the program of a seed and runs it. Returns null if nothing broke. */
export function tryRandomProgram(seed: number, nsteps: number, machine?: string): Failure | null {
  const random = new Random(seed)
  const drawn = weighted(
    SETUPS,
    SETUPS.map(({ weight }) => weight),
    random,
  ).name
  const commands: AnyCommand[] = []
  const program = { machine: machine ?? drawn, commands }
  try {
    const world = new World(program.machine)
    while (commands.length < nsteps) {
      const command = randomCommand(world, random, commands.length === 0)
      if (command === null) continue
      commands.push(command)
      world.step(command)
    }
    world.finish()
    return null
  } catch (error) {
    return { program, error }
  }
}

/** A program begins with a mapping, as nothing else makes sense before. */
function randomCommand(world: World, random: Random, isFirst: boolean): Command | null {
  const kind: CommandKind = isFirst ? COMMANDS[0] : weighted(COMMANDS, WEIGHTS, random)
  const args = kind.pick(world, random)
  return args === null ? null : new Command(kind, args)
}

function weighted<T>(list: readonly T[], weights: readonly number[], random: Random): T {
  let at = random.below(weights.reduce((sum, weight) => sum + weight, 0))
  let i = 0
  while (at >= weights[i]) at -= weights[i++]
  return list[i]
}

/** Runs a program. Returns what broke, or null. */
export function tryProgram(program: Program): Failure | null {
  try {
    const world = new World(program.machine)
    for (const command of program.commands) world.step(command)
    world.finish()
    return null
  } catch (error) {
    return { program, error }
  }
}

/** Runs a program given as text. Throws what breaks. */
export function runProgram(text: string): void {
  const failure = tryProgram(parseProgram(text, COMMANDS))
  if (failure !== null) throw failure.error
}

/** A shorter program that breaks something, too: commands left out, then arguments made simpler, as long as that helps. */
export function shrink(failure: Failure): Failure {
  let smallest = failure
  for (;;) {
    const fewer = withFewerCommands(smallest)
    const simpler = withSimplerArguments(fewer)
    if (simpler === smallest) return smallest
    smallest = simpler
  }
}

function withFewerCommands(failure: Failure): Failure {
  let smallest = failure
  for (let count = Math.ceil(smallest.program.commands.length / 2); count >= 1; count = count === 1 ? 0 : count >> 1) {
    for (let at = smallest.program.commands.length - count; at >= 0; at -= count) {
      const { machine, commands } = smallest.program
      smallest = tryProgram({ machine, commands: commands.toSpliced(at, count) }) ?? smallest
    }
  }
  return smallest
}

function withSimplerArguments(failure: Failure): Failure {
  let smallest = failure
  for (let i = smallest.program.commands.length - 1; i >= 0; i--) {
    const { machine, commands } = smallest.program
    for (const command of commands[i]?.simpler() ?? []) {
      const found = tryProgram({ machine, commands: commands.with(i, command) })
      if (found === null) continue
      smallest = found
      i++
      break
    }
  }
  return smallest
}

/** What to print of a failure. */
export function describeFailure({ program, error }: Failure): string {
  return `${error instanceof Error ? `${error.name}: ${error.message}` : String(error)}\n\n${printProgram(program)}\n`
}
