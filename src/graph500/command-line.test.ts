import { describe, expect, test } from 'vitest'
import { MIB } from '../base/size.ts'
import { COLUMNS_MAX } from '../cli/terminal.ts'
import { parseCommandLine, USAGE } from './command-line.ts'

const DEFAULTS = {
  quick: false,
  graph: null,
  format: null,
  scale: null,
  keys: 16,
  deviceMemory: null,
  memory: null,
  mode: 'auto',
  official: false,
  out: '.',
}

describe('parseCommandLine()', () => {
  test('has a default for everything', () => {
    expect(parseCommandLine([])).toEqual({ job: DEFAULTS })
  })

  test('takes every option', () => {
    expect(
      parseCommandLine(
        '--graph g.csv --format csv --keys 4 --device-memory 16MiB --memory 64MiB --mode live --out o'.split(' '),
      ),
    ).toEqual({
      job: {
        ...DEFAULTS,
        graph: 'g.csv',
        format: 'csv',
        keys: 4,
        deviceMemory: 16 * MIB,
        memory: 64 * MIB,
        mode: 'live',
        out: 'o',
      },
    })
    expect(parseCommandLine(['--quick', '--scale=20', '--official', '--no-files'])).toEqual({
      job: { ...DEFAULTS, quick: true, scale: 20, official: true, out: null },
    })
  })

  test('takes memory in whole pages', () => {
    expect(parseCommandLine(['--memory', '1048577B'])).toMatchObject({ job: { memory: MIB + 4096 } })
  })

  test('helps', () => {
    expect(parseCommandLine(['--scale', '3', '-h'])).toEqual({ help: true })
    for (const line of USAGE.split('\n')) expect(line.length).toBeLessThanOrEqual(COLUMNS_MAX)
  })

  test.each([
    [['--scale', '40'], '--scale is "40", wanted a whole number from 1 to 24'],
    [['--scale', '1e1'], '--scale is "1e1", wanted a whole number from 1 to 24'],
    [['--keys', '0'], '--keys is "0", wanted a whole number from 1 to 64'],
    [['--device-memory', '8 MB'], '--device-memory is "8 MB", wanted bytes or a text like \'64 MiB\''],
    [['--memory', '0 B'], '--memory is "0 B", wanted at least 1 MiB'],
    [['--device-memory', '64KiB'], '--device-memory is "64KiB", wanted at least 1 MiB'],
    [['--mode', 'simulated'], '--mode is "simulated", wanted one of auto, live, live-user, explicit'],
    [['--graph', 'g', '--format', 'dot'], '--format is "dot", wanted one of snap, matrix-market, csv'],
    [['--graph', 'g', '--scale', '18'], '--graph and --scale exclude each other'],
    [['--format', 'csv'], '--format is for --graph FILE'],
    [['--fast'], "unknown option '--fast'"],
    [['graph.txt'], "unexpected argument 'graph.txt'"],
    [['--quick=yes'], "option '--quick' does not take an argument"],
  ])('complains about %j', (args, complaint) => {
    expect(parseCommandLine(args)).toEqual({ complaint: expect.stringContaining(complaint) })
  })

  test('complains about an option without its value in one line', () => {
    const line = parseCommandLine(['--scale'])
    expect('complaint' in line && line.complaint).toMatch(/--scale/)
    expect('complaint' in line && line.complaint).not.toContain('\n')
  })
})
