import { describe, expect, it } from 'vitest'
import { EVENT_KINDS, EVENT_SCHEMA } from '../trace/index.ts'
import { runCommand } from './commands.ts'
import { COLUMNS_MAX, type OutputStream, Terminal } from './terminal.ts'

async function hetmem(argv: readonly string[], stream: Partial<OutputStream> = {}, color = false) {
  const text = { out: '', err: '' }
  const out = new Terminal({ ...stream, write: (part) => (text.out += part) }, color)
  const err = new Terminal({ ...stream, write: (part) => (text.err += part) }, color)
  return { status: await runCommand(argv, out, err), ...text }
}

const COMMANDS = ['doctor', 'run', 'report', 'schema', 'bench', 'conformance', 'tour', 'completion', 'help']

describe('runCommand()', () => {
  it('runs a command', async () => {
    const { status, out, err } = await hetmem(['tour'])

    expect([status, err]).toEqual([0, ''])
    expect(out).toContain("A page's life")
  })

  it.each([[[]], [['help']], [['--help']], [['-h']]])(
    'lists commands, exit codes and examples for %j',
    async (argv) => {
      const { status, out, err } = await hetmem(argv)

      expect([status, err]).toEqual([0, ''])
      for (const name of COMMANDS) expect(out).toMatch(new RegExp(`^  ${name}\\b.* {2,}\\S`, 'm'))
      expect(out).toMatch(/Exit status:\n {2}0 .*\n {2}1 .*\n {2}2 .*\n\nExamples:/)
    },
  )

  it.each(['run', 'report', 'completion'])('explains %s with examples, both ways', async (name) => {
    const { status, out } = await hetmem(['help', name])

    expect(status).toBe(0)
    expect(out).toMatch(new RegExp(`^Usage: hetmem ${name} .*<`))
    expect(out).toContain(`Examples:\n  `)
    expect((await hetmem([name, '--help'])).out).toBe(out)
  })

  it.each([
    [['toru'], "hetmem: unknown command 'toru' (did you mean tour?); try hetmem help"],
    [['constructor'], "hetmem: unknown command 'constructor'; try hetmem help"],
    [['tour', 'fast'], "hetmem: too many arguments for 'tour'. Expected 0 arguments but got 1; try hetmem help"],
    [['doctor', '--jsn'], "hetmem: unknown option '--jsn' (did you mean --json?); try hetmem help"],
    [['run'], "hetmem: missing required argument 'script'; try hetmem help"],
    [['completion', 'fish'], /argument value 'fish' is invalid for argument 'shell'. Allowed choices are bash, zsh/],
    [['run', 'none.js'], 'hetmem: run: there is no file none.js'],
    [['run', '.'], 'hetmem: run: there is no file .'],
    [['report', 'none.jsonl'], 'hetmem: none.jsonl: no such file or directory'],
    [['report', '.'], 'hetmem: .: illegal operation on a directory'],
    [['report', 'package.json'], 'hetmem: package.json: trace line 1: '],
  ])('refuses %j with status 2 and one line on the other stream', async (argv, message) => {
    const { status, out, err } = await hetmem(argv)

    expect([status, out]).toEqual([2, ''])
    expect(err.split('\n').length).toBe(2)
    if (typeof message === 'string') expect(err).toContain(message)
    else expect(err).toMatch(message)
  })

  it.each(['/proc/none/results', 'package.json'])('ends with 1 where run cannot write: %s', async (folder) => {
    const { status, out, err } = await hetmem(['run', '--out', folder, 'vitest.config.ts'])

    expect([status, out]).toEqual([1, ''])
    expect(err).toMatch(new RegExp(`^hetmem: writing to the folder ${folder}: [a-z ]+\n$`))
  })

  it.each([['help'], ...COMMANDS.map((name) => ['help', name]), ['schema']])(
    'prints no line of %s %s that is wider than the terminal, nor than is pleasant',
    async (...argv) => {
      for (const [columns, widest] of [
        [64, 64],
        [500, COLUMNS_MAX],
      ]) {
        const { out } = await hetmem(argv, { columns, isTTY: true })
        const [text] = out.split('Examples:') // they are to be copied
        expect(text.split('\n').filter((line) => line.length > widest)).toEqual([])
      }
    },
  )

  it('lists what the lines of a trace hold: all that the reader checks', async () => {
    const { out } = await hetmem(['schema'])

    const [, header, common, ...kinds] = out.trimEnd().split('\n\n')
    expect(header).toMatch(/^the header\n {2}format: hetmem-trace\n {2}version: 1\n/)
    expect(common).toMatch(/^every event\n {2}time: a number\n/)
    expect(kinds.map((text) => text.split('\n', 1)[0])).toEqual(EVENT_KINDS)
    const fieldsIn = (text: string): string[] => [...text.matchAll(/^ {2}(\w+): /gm)].map(([, name]) => name)
    for (const [i, kind] of EVENT_KINDS.entries()) {
      const listed = new Set([...fieldsIn(common), ...fieldsIn(kinds[i])])
      expect([kind, [...listed].sort()]).toEqual([kind, Object.keys(EVENT_SCHEMA[kind]).sort()])
    }
    expect(kinds[EVENT_KINDS.indexOf('cpu-fault')]).toBe(`cpu-fault
  start: an integer from 0
  end: an integer from 0
  access: one of read, write
  thread: an integer from 0, optional`)
  })

  it('paints titles where there is colour, and says the same', async () => {
    const [plain, colored] = [await hetmem(['help']), await hetmem(['help'], {}, true)]

    expect(plain.out).not.toContain('\x1b')
    expect(colored.out).toContain('\x1b[1mCommands:\x1b[0m')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what colours are made of
    expect(colored.out.replace(/\x1b\[\d+m/g, '')).toBe(plain.out)
  })

  it('prints its version', async () => {
    expect((await hetmem(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})
