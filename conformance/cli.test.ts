import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runConformance } from './cli.ts'
import type { Expectation } from './expectations.ts'
import { RecordedDriver } from './testing/recorded-driver.ts'
import { makeSample } from './testing/sample.ts'

let folder: string
let file: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hetmem-conformance-'))
  file = join(folder, 'some.jsonl')
  const text = JSON.stringify(makeSample())
  const lines = [
    text,
    text.replace('sample-00001', 'other-00001'),
    text.replace('sample-00001', 'other-00002').replace('EFAULT', 'EPERM'),
    text.replace('sample-00001', 'other-00003').replace('wDD_', 'wdD_'),
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
})
afterAll(() => rmSync(folder, { recursive: true }))

async function run(args: string[], expectations: Expectation[] = []) {
  const out: string[] = []
  const err: string[] = []
  const status = await runConformance(args, {
    // The machine under test answers as the unchanged sample.
    makeDriver: () => new RecordedDriver(makeSample()),
    expectations,
    out: (line) => out.push(...line.split('\n')),
    err: (line) => err.push(line),
  })
  return { status, out, err }
}

const DEV_WRITE: Expectation = {
  name: 'dev-write',
  reason: 'A reason.',
  applies: ({ ops }, index, { path }) => ops[index].op === 'dev-write' && path === 'result.errno',
}

describe('runConformance()', () => {
  it('counts by group and in total, describes what differs, and ends with 1', async () => {
    const { status, out } = await run([file])
    expect(status).toBe(1)
    expect(out).toContain('sample          1 / 1')
    expect(out).toContain('other           1 / 3')
    expect(out.slice(0, 2)).toEqual([
      'other-00002, operation 5, proc 0: dev-write(dev 0, page 1, n 1, value 200)',
      '  result.errno: expected EPERM, actual EFAULT',
    ])
    expect(out).toContain('  state.0.pte[1]: expected d, actual D')
    expect(out.at(-1)).toBe('conformance: 2 of 4 sequences identical, 0 listed')
  })

  it('ends with 0 if all are identical', async () => {
    const { status, out } = await run([file, '--only', 'sample'])
    expect(status).toBe(0)
    expect(out.at(-1)).toBe('conformance: 1 of 1 sequences identical, 0 listed')
  })

  it('counts listed sequences apart', async () => {
    const { status, out } = await run([file], [DEV_WRITE])
    expect(status).toBe(1) // the other difference is not listed
    expect(out).toContain('other           1 / 2, 1 listed')
    expect(out).toContain('listed 1: dev-write. A reason.')
    expect(out.at(-1)).toBe('conformance: 2 of 3 sequences identical, 1 listed')
  })

  it('ends with 0 if all that differ are listed, and names expectations without use', async () => {
    const any: Expectation = { name: 'anything', reason: 'A reason.', applies: () => true }
    const { status, out } = await run([file], [any, DEV_WRITE])
    expect(status).toBe(0)
    expect(out).toContain('not needed by these recordings: dev-write')
    expect(out.at(-1)).toBe('conformance: 2 of 2 sequences identical, 2 listed')
  })

  it('ends with 1 if nothing was replayed', async () => {
    const { status, out } = await run([file, '--only', 'nothing'])
    expect(status).toBe(1)
    expect(out.at(-1)).toBe('conformance: 0 of 0 sequences identical, 0 listed')
  })

  it('describes no more differences than it was told to', async () => {
    const { out } = await run([file, '--max-failures', '1'])
    expect(out.filter((line) => line.startsWith('other-'))).toHaveLength(1)
    expect(out.find((line) => line.startsWith('and 1 more'))).toBeDefined()
  })

  it('writes JSON lines', async () => {
    const { status, out } = await run([file, '--json'], [DEV_WRITE])
    expect(status).toBe(1)
    const [first, second, summary] = out.map((line) => JSON.parse(line))
    expect(first).toEqual({
      id: 'other-00002',
      group: 'other',
      index: 5,
      operation: { op: 'dev-write', dev: 0, proc: 0, page: 1, n: 1, value: 200 },
      path: 'result.errno',
      expected: 'EPERM',
      actual: 'EFAULT',
      listed: 'dev-write',
    })
    expect(second).toMatchObject({ id: 'other-00003', index: 3, listed: null })
    expect(summary).toMatchObject({
      summary: { identical: 2, total: 3, listed: 1 },
      groups: { other: { identical: 1, total: 2, listed: 1 }, sample: { identical: 1, total: 1, listed: 0 } },
    })
  })

  it('counts first differences by kind', async () => {
    const { out } = await run([file, '--stats'])
    expect(out.slice(0, 2)).toEqual([
      '     1  dev-write        result.errno  other-00002',
      '     1  migrate-to-dev   state.pte  other-00003',
    ])
  })

  it('shows one sequence, with a status of its own', async () => {
    const identical = await run([file, '--show', 'other-00001'])
    expect(identical).toMatchObject({ status: 0, err: [] })
    expect(identical.out.at(-1)).toBe('identical')
    const different = await run([file, '--show', 'other-00002'])
    expect(different.status).toBe(1)
    expect(different.out.filter((line) => line.startsWith('>>>'))).toHaveLength(1)
    const listed = await run([file, '--show', 'other-00002'], [DEV_WRITE])
    expect(listed).toMatchObject({ status: 0 })
    expect(listed.out.at(-1)).toBe('listed: dev-write. A reason.')
  })

  it.each([
    [['--nonsense'], 'Unknown option'],
    [['missing.jsonl'], 'missing.jsonl does not exist or cannot be read'],
    [['package.json'], 'package.json is no recording'],
    [[], 'no recordings given'],
  ])('refuses %j with one sentence and 2', async (args, message) => {
    const { status, out, err } = await run(args)
    expect(status).toBe(2)
    expect(out).toEqual([])
    expect(err).toHaveLength(1)
    expect(err[0]).toContain(`conformance: `)
    expect(err[0]).toContain(message)
  })

  it('refuses an id that is not there, and a broken recording', async () => {
    expect(await run([file, '--show', 'other-00009'])).toMatchObject({
      status: 2,
      err: ['conformance: no sequence other-00009 in the given recordings'],
    })
    const broken = join(folder, 'broken.jsonl')
    writeFileSync(broken, '{"id":')
    const { status, err } = await run([broken])
    expect(status).toBe(2)
    expect(err[0]).toMatch(/^conformance: .*broken\.jsonl:1: not JSON: /)
  })

  it('prints its usage', async () => {
    const { status, out } = await run(['--help'])
    expect(status).toBe(0)
    expect(out[0]).toMatch(/^usage: npm run conformance/)
  })
})
