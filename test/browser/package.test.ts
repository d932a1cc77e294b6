// The package as it is installed: how large it is, that its types are all there, and that to import it starts nothing.

import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import * as esbuild from 'esbuild'
import { expect, it } from 'vitest'
import { PACKAGE, PROJECT } from './project.ts'

const run = promisify(execFile)
const { exports } = JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')) as { exports: object }
const ENTRY_POINTS = Object.keys(exports).filter((path) => path !== './package.json' && path !== './engine-worker')

it('unpacked it has at most 1 MB', () => {
  const files = readdirSync(PACKAGE, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const sizes = files.map(({ parentPath, name }) => statSync(join(parentPath, name)).size)
  const nbytes = sizes.reduce((sum, size) => sum + size, 0)
  expect(nbytes).toBeGreaterThan(100_000)
  expect(nbytes).toBeLessThanOrEqual(1_000_000)
})

/** Prints the native libraries of Node that the process has loaded. */
const PRINT_NATIVE = `
  process.report.excludeNetwork = true
  console.log(JSON.stringify(process.report.getReport().sharedObjects.filter((path) => path.endsWith('.node'))))`

it('to import it loads no native library', async () => {
  const program = `
    for (const path of ${JSON.stringify(ENTRY_POINTS)}) await import('hetmem' + path.slice(1))
    ${PRINT_NATIVE}`
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', program], { cwd: PROJECT })
  expect(JSON.parse(stdout)).toEqual([])
})

it('nor does it when it was bundled for Node, and it still opens heaps', async () => {
  const contents = `
    import { openHeap } from 'hetmem'
    ${PRINT_NATIVE}
    const heap = await openHeap({ mode: 'explicit', device: { kind: 'memory', memory: '1 MiB' } })
    const x = heap.alloc(Int32Array, 1024).fill(3)
    await heap.prefetch(x, { access: 'readWrite' })
    await heap.sync(x)
    console.log(x[7], heap.mode)
    await heap.close()`
  const { warnings } = await esbuild.build({
    stdin: { contents, resolveDir: PROJECT, sourcefile: 'program.ts' },
    outdir: join(PROJECT, 'for-node'),
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    logLevel: 'silent',
    tsconfigRaw: {},
  })
  expect(warnings).toEqual([])
  const { stdout } = await run(process.execPath, [join(PROJECT, 'for-node/stdin.mjs')])
  expect(stdout).toBe('[]\n3 explicit\n')
})

it('its types are complete and strict', async () => {
  const program = `
    import { type Heap, openHeap } from 'hetmem'
    import { Machine, hmmRangeFault } from 'hetmem/hmm'
    import { RingSink } from 'hetmem/trace'
    const heap: Heap = await openHeap({ device: { kind: 'memory', memory: '1 MiB' }, trace: { sinks: [new RingSink(8)] } })
    const x: Float32Array = heap.alloc(Float32Array, 10)
    const fault: (range: Parameters<typeof hmmRangeFault>[0]) => number = hmmRangeFault
    // @ts-expect-error: there is no such option
    await openHeap({ speed: 'fast' })
    export { fault, Machine, x }`
  writeFileSync(join(PROJECT, 'types.ts'), program)
  const compilerOptions = {
    noEmit: true,
    skipDefaultLibCheck: true,
    strict: true,
    module: 'nodenext',
    target: 'es2023',
    types: ['node'], // those of WebGPU are in the DOM's
  }
  writeFileSync(join(PROJECT, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['types.ts'] }))
  const tsc = join(import.meta.dirname, '../../node_modules/typescript/bin/tsc')
  const { stdout } = await run(process.execPath, [tsc, '-p', '.'], { cwd: PROJECT }).catch(
    (error: { stdout: string }) => error,
  )
  expect(stdout).toBe('')
})
