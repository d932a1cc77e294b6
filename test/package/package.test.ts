// The package as npm would publish it: packed, held against what resolvers and type checkers expect of one, and installed in a new
// TypeScript project outside of the repository, where nothing of ours is found by chance. None of the optional packages is there.

import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { npm } from '../helpers/npm.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const UNPACKED_BYTES_MAX = 1_000_000

/** What `npm pack --json` says of a package. */
interface Packed {
  readonly filename: string
  readonly unpackedSize: number
  readonly files: readonly { readonly path: string }[]
}

let folder = ''
let packed: Packed

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hetmem-package-'))
  const report = await npm(ROOT, 'pack', '--json', '--ignore-scripts', '--pack-destination', folder)
  packed = (JSON.parse(report) as [Packed])[0]
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What Node prints for it, in the new project; if it fails, the error has what it printed. */
async function node(...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder })
  return stdout
}

describe('the tarball', () => {
  it('has what is needed, and at most 1 MB of it', () => {
    const paths = packed.files.map(({ path }) => path)
    expect(paths).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'package.json']))
    expect(paths.filter((path) => !/^lib\/[\w-]+(\.d\.ts|\.js)$|^[A-Z]+(\.md)?$|^package\.json$/.test(path))).toEqual(
      [],
    )
    expect(packed.unpackedSize).toBeLessThanOrEqual(UNPACKED_BYTES_MAX)
  })

  it('is as publint wants it', async () => {
    const tarball = new Uint8Array(readFileSync(join(folder, packed.filename))).buffer
    const { messages, pkg } = await publint({ pack: { tarball }, strict: true })
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([])
  })

  it('has types for each way to import it that there is', async () => {
    const attw = join(ROOT, 'node_modules/@arethetypeswrong/cli/dist/index.js')
    // As a package of ES modules it may lack what `require` wants, and who resolves types without `exports`. Fails with its report.
    const report = await node(attw, packed.filename, '--profile', 'esm-only', '--format', 'json')
    const { analysis } = JSON.parse(report) as { analysis: { entrypoints: object } }
    const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { exports: object }
    expect(Object.keys(analysis.entrypoints)).toEqual(Object.keys(exports))
  })
})

describe('a new project that has installed it', () => {
  beforeAll(async () => {
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'new', private: true, type: 'module' }))
    const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']
    await npm(folder, 'install', ...quiet, `./${packed.filename}`)
  })

  it('has nothing of the packages that are optional', () => {
    const { packages } = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')) as { packages: object }
    expect(Object.keys(packages)).toEqual(['', 'node_modules/commander', 'node_modules/hetmem'])
  })

  it('type-checks and runs a program', async () => {
    writeFileSync(join(folder, 'program.ts'), PROGRAM)
    const compilerOptions = {
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      module: 'nodenext',
      target: 'es2023',
      types: [], // no package of types is wanted
    }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['program.ts'] }))
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    const { stdout } = await promisify(execFile)(process.execPath, [tsc, '-p', '.'], { cwd: folder }).catch(
      (error: { stdout: string }) => error,
    )
    expect(stdout).toBe('')
    expect((await node('program.js')).trimEnd().split('\n')).toEqual([
      'explicit 3 pages on gpu, 1 with the CPU',
      '7 8',
      'DDDD 42 wDDD',
      'true 16384 bytes to the device',
    ])
  })

  it('has names for what programs print', async () => {
    writeFileSync(join(folder, 'names.js'), NAMES)
    const [error, receipt, ...heap] = (await node('names.js')).trimEnd().split('\n')
    expect([error, receipt]).toEqual(['HeapError: CLOSED: the heap was closed', 'Receipt'])
    expect(heap.join('')).toMatch(/^Heap \{/)
  })

  it('has the command, which says what is missing', async () => {
    const report = JSON.parse(await npm(folder, 'exec', '--offline', '--', 'hetmem', 'doctor', '--json'))
    const titles = (report as { findings: { title: string }[] }).findings.map(({ title }) => title)
    expect(report).toMatchObject({ mode: 'explicit' })
    expect(titles).toEqual(expect.arrayContaining([expect.stringContaining('package koffi is not installed')]))
  })
})

const NAMES = `
import { openHeap } from 'hetmem'
import { inspect } from 'node:util'

const heap = await openHeap({ mode: 'explicit', device: [] })
const receipt = await heap.sync()
await heap.close()
try {
  heap.alloc(Int32Array, 1)
} catch (error) {
  console.log(inspect(error).split('\\n')[0])
}
console.log(inspect(receipt).split(' ')[0])
console.log(inspect(heap))
`

const PROGRAM = `
import { type HeapStats, openHeap } from 'hetmem'
import { DmirrorDevice, Machine } from 'hetmem/hmm'
import { RingSink } from 'hetmem/trace'

const sink = new RingSink(1000)
const heap = await openHeap({
  mode: 'explicit',
  device: { kind: 'memory', name: 'gpu', memory: '1 MiB' },
  trace: { sinks: [sink] },
})
const x: Float32Array = heap.alloc(Float32Array, 4096, { name: 'x' })
x.fill(7)
await heap.prefetch(x, { access: 'readWrite' })
await heap.sync(x.subarray(0, 1))
const { pages } = await heap.where(x)
console.log(\`\${heap.mode} \${pages['gpu']} pages on gpu, \${pages['cpu']} with the CPU\`)
await heap.sync(x)
x[4095]! += 1
console.log(x[0], x[4095])
const stats: HeapStats = await heap.stats()
await heap.close()

const machine = new Machine({ memory: '64 MiB' })
const process = machine.createProcess()
const addr = process.mmap({ length: 4 * 4096 })
process.store32(addr, 42)
const handle = new DmirrorDevice(machine.sys, 0).open(process.mm)
if (typeof handle === 'number') throw new Error(\`errno \${handle}\`)
handle.migrateToDev(addr, 4, new Uint8Array(4 * 4096))
const before = process.dumpPte(addr, 4, () => 0)
console.log(before, process.load32(addr), process.dumpPte(addr, 4, () => 0))

const migrated = sink.events().filter(({ kind }) => kind === 'migration')
console.log(migrated.length > 0, stats.counters.bytesHostToDevice.prefetch, 'bytes to the device')
`
