// The program as it is started: what it prints where, and its exit status.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type ProgramOptions, type ProgramResult, runProgram } from '../../test/helpers/child-program.ts'
import { whyNoGpu } from '../../test/helpers/gpu.ts'
import { programUrl } from '../../test/helpers/programs.ts'
import { USAGE } from './command-line.ts'
import { TRACE_NAME } from './job-files.ts'

const missing = await whyNoGpu()
// Each test starts a process or two, and compiles what changed.
vi.setConfig({ testTimeout: 60_000 })

function run(...args: string[]): Promise<ProgramResult> {
  return runAs({}, ...args)
}

function runAs(options: ProgramOptions, ...args: string[]): Promise<ProgramResult> {
  return runProgram('src/graph500/main.ts', { ...options, args, timeoutMs: 60_000 })
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

/** Makes the package webgpu one that is not installed. */
const WITHOUT_WEBGPU = moduleUrl(`
  import { register } from 'node:module'
  register(${JSON.stringify(
    moduleUrl(`export async function resolve(specifier, context, next) {
      if (specifier === 'webgpu') throw new Error("Cannot find package 'webgpu'")
      return await next(specifier, context)
    }`),
  )})`)

function moduleUrl(code: string): string {
  return `data:text/javascript,${encodeURIComponent(code)}`
}

test('main.ts says where there is no adapter what brings one along, and ends with 1', async () => {
  const { status, stdout, stderr } = await runAs(
    { nodeArgs: [`--import=${WITHOUT_WEBGPU}`] },
    '--mode',
    'explicit',
    '--no-files',
  )
  expect([status, stdout]).toEqual([1, ''])
  expect(stderr).toMatch(/^hetmem: .*there is no WebGPU adapter here: .* npm install webgpu .*\n$/)
})

describe.skipIf(missing !== null)('main.ts, in a folder of its own,', () => {
  const NOBODY = 65534
  const SMALL = ['--mode', 'explicit', '--device-memory', '1MiB']
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'hetmem-main-'))
    // For everybody.
    chmodSync(folder, 0o755)
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  test.each([
    ['snap.txt', '0 1\n1 x\n', 'line 2: "x" is no vertex, wanted a whole number below 4294967295'],
    [
      'matrix.mtx',
      '%%MatrixMarket matrix coordinate pattern general\n3 3 2\n1 2\n9 1\n',
      'line 4: row is 9, wanted 1 to 3',
    ],
    ['table.csv', 'from,to\n0,1\n2\n', 'line 3: "2" has 1 field, wanted at least 2'],
  ])(
    'names the line of %s that is malformed, ends with 1, and leaves nothing behind',
    async (name, text, complaint) => {
      const path = join(folder, name)
      writeFileSync(path, text)
      const { status, stderr } = await run(...SMALL, '--graph', path, '--out', folder)
      rmSync(path)
      expect([status, stderr]).toEqual([1, `hetmem: ${path}, ${complaint}\n`])
      expect(readdirSync(folder)).toEqual([])
    },
  )

  test('says how much memory it needs, and ends with 1', async () => {
    const { status, stderr } = await run(...SMALL, '--scale', '16', '--out', folder)
    expect(status).toBe(1)
    expect(stderr).toMatch(/^hetmem: --device-memory is 1 MiB, wanted at least 2 MiB: .*\n$/)
    expect(await run('--memory', '1MiB', '--out', folder)).toMatchObject({ status: 1, stdout: '' })
    expect(readdirSync(folder)).toEqual([])
  })

  test.each(['SIGINT', 'SIGTERM'] as const)(
    'ends by %s in the middle of a search, and leaves nothing behind',
    async (signal) => {
      const program = fileURLToPath(programUrl('src/graph500/main.ts'))
      const child = spawn(process.execPath, [program, '--scale', '16', '--out', folder])
      child.stdout.on('data', (text: Buffer) => {
        if (!text.includes('search 1 of 16')) return
        expect(readdirSync(folder)).toEqual([`${TRACE_NAME}.${child.pid}`])
        child.kill(signal)
      })
      const [status] = await once(child, 'close')
      expect(status).toBe(128 + constants.signals[signal])
      expect(readdirSync(folder)).toEqual([])
    },
  )

  // Root may read and write everything; others cannot become somebody else.
  test.skipIf(process.getuid?.() !== 0)('does not begin where it may not read or write', async () => {
    const path = join(folder, 'locked.txt')
    writeFileSync(path, '0 1\n')
    chmodSync(path, 0)
    const unreadable = await runAs({ uid: NOBODY }, '--graph', path, '--no-files')
    rmSync(path)
    expect(unreadable).toMatchObject({
      status: 1,
      stdout: '',
      stderr: `hetmem: ${path}: cannot be read: it may not be read\n`,
    })
    expect(await runAs({ uid: NOBODY }, '--out', folder)).toMatchObject({
      status: 1,
      stdout: '',
      stderr: `hetmem: files cannot be written to ${folder}: it may not be written\n`,
    })
    expect(readdirSync(folder)).toEqual([])
  })
})

test.skipIf(missing !== null)('main.ts ends with 0 when all is well', async () => {
  const args = ['--quick', '--mode', 'explicit', '--device-memory', '1MiB', '--out', tmpdir()]
  const { status, stdout, stderr } = await run(...args)
  expect([status, stderr]).toEqual([0, ''])
  expect(stdout).toContain('all 524,289 elements of y are 2')
})
