// How programs are written down: one command a line, as a call with its arguments. What is printed of a failing program can
// be read back, so it becomes a fixed example by pasting it (found.test.ts).
//
//   machine small
//   mmap(p1, 0x1f4000, 12 pages, rw, private)
//   store(p1, 0x1f5000, first)
//   fork(p1, p2)
//
// Processes, pins and migrations have names that the command gives which makes them, so a program keeps its meaning when
// commands are left out: one that names what is not there does nothing.

import type { Addr } from '../../src/base/addr.ts'
import type { Random } from './random.ts'
import type { World } from './world.ts'

/** The type of an argument: how it is written, and what simpler values there are to try in its place. */
export interface Param<T> {
  print(value: T): string
  /** undefined if the text is none. */
  parse(text: string): T | undefined
  simpler(value: T): readonly T[]
}

export const NAME: Param<string> = {
  print: (name) => name,
  parse: (text) => (/^[a-z]\w*$/.test(text) ? text : undefined),
  simpler: () => [],
}

export const ADDR: Param<Addr> = {
  print: (addr) => `0x${addr.toString(16)}`,
  parse: (text) => (/^0x[0-9a-f]+$/.test(text) ? Number(text) : undefined),
  simpler: () => [],
}

export const PAGES: Param<number> = {
  print: (npages) => (npages === 1 ? '1 page' : `${npages} pages`),
  parse: (text) => (/^\d+ pages?$/.test(text) ? Number.parseInt(text, 10) : undefined),
  simpler: (npages) => [1, npages >> 1, npages - 1].filter((fewer) => fewer >= 1 && fewer < npages),
}

/** One of several words, the simplest first. */
export function wordOf<T extends string>(words: readonly T[]): Param<T> {
  return {
    print: (word) => word,
    parse: (text) => words.find((word) => word === text),
    simpler: (word) => words.slice(0, words.indexOf(word)),
  }
}

/** What can be done to a world. */
// biome-ignore lint/suspicious/noExplicitAny: commands of all kinds stand in one list
export interface CommandKind<Args extends readonly unknown[] = any> {
  readonly name: string
  readonly params: { readonly [I in keyof Args]: Param<Args[I]> }
  /** How often it is tried, against the other kinds. */
  readonly weight: number
  /** Arguments that make sense now, or null if none do. */
  pick(world: World, random: Random): Args | null
  /** Does it and looks at the outcome. Throws WouldWait if it has to be done again later. */
  run(world: World, ...args: Args): void
}

/** Gives a kind of command its types. */
export function command<Args extends readonly unknown[]>(kind: CommandKind<Args>): CommandKind<Args> {
  return kind
}

export class Command {
  readonly kind: CommandKind
  readonly args: readonly unknown[]

  constructor(kind: CommandKind, args: readonly unknown[]) {
    this.kind = kind
    this.args = args
  }

  run(world: World): void {
    this.kind.run(world, ...this.args)
  }

  /** The same with one argument simpler, all that there are. */
  simpler(): Command[] {
    return this.args.flatMap((arg, i) =>
      (this.kind.params[i] as Param<unknown>)
        .simpler(arg)
        .map((value) => new Command(this.kind, [...this.args.slice(0, i), value, ...this.args.slice(i + 1)])),
    )
  }

  toString(): string {
    return `${this.kind.name}(${this.args.map((arg, i) => (this.kind.params[i] as Param<unknown>).print(arg)).join(', ')})`
  }
}

/** A machine and what is done to it. */
export interface Program {
  readonly machine: string
  readonly commands: readonly Command[]
}

export function printProgram({ machine, commands }: Program): string {
  return [`machine ${machine}`, ...commands].join('\n')
}

/** Throws a SyntaxError that names the line. Empty lines and what stands behind // are left out. */
export function parseProgram(text: string, kinds: readonly CommandKind[]): Program {
  const lines = text
    .split('\n')
    .map((line) => line.replace(/\/\/.*/, '').trim())
    .filter((line) => line !== '')
  const machine = /^machine (\w+)$/.exec(lines[0] ?? '')
  if (machine === null)
    throw new SyntaxError(`a program begins with a line "machine NAME", this one with "${lines[0]}"`)
  return { machine: machine[1], commands: lines.slice(1).map((line) => parseCommand(line, kinds)) }
}

function parseCommand(line: string, kinds: readonly CommandKind[]): Command {
  const call = /^(\w+)\((.*)\)$/.exec(line)
  const kind = call === null ? undefined : kinds.find(({ name }) => name === call[1])
  if (call === null || kind === undefined) throw new SyntaxError(`no such command: ${line}`)
  const texts = call[2] === '' ? [] : call[2].split(', ')
  const args = texts.map((text, i) => (kind.params as readonly Param<unknown>[])[i]?.parse(text))
  if (texts.length !== kind.params.length || args.includes(undefined)) throw new SyntaxError(`bad arguments: ${line}`)
  return new Command(kind, args)
}
