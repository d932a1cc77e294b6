// The program as it is started: what it prints where, and its exit status.

import { tmpdir } from 'node:os'
import { expect, test, vi } from 'vitest'
import { type ProgramResult, runProgram } from '../../test/helpers/child-program.ts'
import { whyNoGpu } from '../../test/helpers/gpu.ts'
import { USAGE } from './command-line.ts'

const missing = await whyNoGpu()
// Each test starts a process or two, and compiles what changed.
vi.setConfig({ testTimeout: 60_000 })

function run(...args: string[]): Promise<ProgramResult> {
  return runProgram(['src/graph500/main.ts'], { args, timeoutMs: 60_000 })
}

test('main.ts helps', async () => {
  expect(await run('--help')).toMatchObject({ status: 0, stdout: `${USAGE}\n`, stderr: '' })
})

test('main.ts says in one line what is wrong with a call, and ends with 2', async () => {
  const { status, stdout, stderr } = await run('--keys', '100')
  expect([status, stdout]).toEqual([2, ''])
  expect(stderr).toBe('hetmem: --keys is "100", wanted a whole number from 1 to 64; npm start -- --help tells more\n')
})

test('main.ts says in one line what went wrong, before it begins, and ends with 1', async () => {
  expect(await run('--graph', '/missing.txt', '--no-files')).toMatchObject({
    status: 1,
    stdout: '',
    stderr: 'hetmem: /missing.txt: cannot be read: there is no such file\n',
  })
  expect(await run('--out', '/missing')).toMatchObject({
    status: 1,
    stdout: '',
    stderr: 'hetmem: files cannot be written to /missing: there is no such folder\n',
  })
})

test.skipIf(missing !== null)('main.ts ends with 0 when all is well', async () => {
  const args = ['--quick', '--mode', 'explicit', '--device-memory', '1MiB', '--out', tmpdir()]
  const { status, stdout, stderr } = await run(...args)
  expect([status, stderr]).toEqual([0, ''])
  expect(stdout).toContain('all 524,289 elements of y are 2')
})
