import { describe, expect, it } from 'vitest'
import { COMMANDS } from './commands/index.ts'
import { type Program, parseProgram, printProgram } from './notation.ts'
import { type Outcome, runProgram, shrink, tryRandomProgram } from './program.ts'

const TEXT = `machine small
mmap(p1, 0x1f4000, 12 pages, rw, private)
store(p1, 0x1f5000, 3 pages, first)
fork(p1, p2)
migrate(m1, a0, p1, 0x1f4000, 2 pages, to device)`

describe('programs as text', () => {
  it('parseProgram() reads what printProgram() writes, with comments and empty lines left out', () => {
    const commented = TEXT.replace('fork', '\n  // as a shell does\n  fork')
    expect(printProgram(parseProgram(commented, COMMANDS))).toBe(TEXT)
  })

  it.each([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])('the random program of seed %i comes back the same', (seed) => {
    const { program, error } = tryRandomProgram(seed, 50)
    expect(error).toBeNull()
    expect(program.commands).toHaveLength(50)
    const text = printProgram(program)
    expect(printProgram(parseProgram(text, COMMANDS))).toBe(text)
    expect(printProgram(tryRandomProgram(seed, 50).program)).toBe(text)
    runProgram(text)
  })

  it('parseProgram() names what it does not understand', () => {
    expect(() => parseProgram('mmap()', COMMANDS)).toThrow('begins with a line "machine NAME"')
    expect(() => parseProgram('machine small\nmap(p1)', COMMANDS)).toThrow('no such command: map(p1)')
    expect(() => parseProgram('machine small\nexit(p1, p2)', COMMANDS)).toThrow('bad arguments: exit(p1, p2)')
    expect(() => parseProgram('machine small\nexit(12)', COMMANDS)).toThrow('bad arguments: exit(12)')
  })

  it('commands that name what is not there do nothing', () => {
    runProgram(
      'machine small\nload(p7, 0x1f4000, 1 page, first)\nfinish(m1)\nunpin(pin3)\nread(d9, p1, 0x1f4000, 1 page)',
    )
  })
})

describe('shrink()', () => {
  /** As if every program broke that forks after a store of two pages or more. */
  function breaksOnFork(program: Program): Outcome {
    const names = program.commands.map(String)
    const store = names.findIndex((name) => /^store\(.* ([2-9]|\d\d) pages/.test(name))
    const isBroken = store >= 0 && names.slice(store).some((name) => name.startsWith('fork'))
    return { program, error: isBroken ? new Error('broken') : null }
  }

  it('leaves the commands that it takes, with the simplest arguments', () => {
    const program = parseProgram(`${TEXT}\nexit(p2)\nstore(p1, 0x1f4000, 1 page, last)`, COMMANDS)
    const { program: shortest, error } = shrink(breaksOnFork(program), breaksOnFork)
    expect(printProgram(shortest)).toBe('machine small\nstore(p1, 0x1f5000, 2 pages, first)\nfork(p1, p2)')
    expect(error?.message).toBe('broken')
  })
})
