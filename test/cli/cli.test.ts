// The command as it was built, in a process of its own: what it prints where, what it leaves behind, and with what it ends.

import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join, resolve } from 'node:path'
import type { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { report as doctorReport } from '../../src/cli/doctor.ts'
import type { ReportModel } from '../../src/report/index.ts'
import { formatJsonl, parseJsonl } from '../../src/trace/jsonl.ts'
import { sampleTrace } from '../helpers/sample-trace.ts'
import { traceEventFaults } from '../helpers/trace-event-format.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { bin: { hetmem: string } }
const MAIN = join(ROOT, bin.hetmem)
/** Below the root, so that programs find the package under its name. */
const SCRATCH = join(ROOT, '.cache')

const NOBODY = 65534

let folder = ''
beforeEach(() => {
  mkdirSync(SCRATCH, { recursive: true })
  folder = mkdtempSync(join(SCRATCH, 'cli-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

interface Ended {
  readonly status: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

interface CallOptions {
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly main?: string
  readonly user?: { readonly uid?: number; readonly gid?: number }
  /** Called with the process as soon as it has printed something. */
  readonly onOutput?: (child: ChildProcessByStdio<null, Readable, Readable>) => void
}

async function hetmem(
  args: readonly string[],
  { env, main = MAIN, user = {}, onOutput }: CallOptions = {},
): Promise<Ended> {
  const child = spawn(process.execPath, [main, ...args], {
    cwd: folder,
    ...user,
    env: { ...process.env, HETMEM_TRACE: undefined, FORCE_COLOR: undefined, NO_COLOR: undefined, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const text = { out: '', err: '' }
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text.out += piece
    onOutput?.(child)
  })
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    text.err += piece
  })
  const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { status, signal, ...text }
}

function write(name: string, text: string): void {
  writeFileSync(join(folder, name), text)
}

function read(name: string): string {
  return readFileSync(join(folder, name), 'utf8')
}

/** A program that uses a device, prints its arguments and ends as it is told. */
function program(end: string, heaps = 1): string {
  return `
import { openHeap } from 'hetmem'
for (let i = 0; i < ${heaps}; i++) {
  const heap = await openHeap({ mode: 'explicit', device: { kind: 'memory', memory: '1 MiB' } })
  const x = heap.alloc(Float32Array, 100_000, { name: 'x' + i })
  await heap.prefetch(x)
  await heap.sync(x)
  if (i > 0) await heap.close()
}
console.log('arguments', process.argv.slice(2).join(' '))
${end}
`
}

/** Prints the kinds of events that its own sink gets. */
const LIVE_PROGRAM = `
import { openHeap } from 'hetmem'
const kinds = []
const trace = { sinks: [{ write: ({ kind }) => kinds.push(kind) }] }
const heap = await openHeap({ mode: 'live', device: { kind: 'memory', memory: '1 MiB' }, trace })
const x = heap.alloc(Float32Array, 100_000, { name: 'x' }).fill(1)
await heap.prefetch(x, { access: 'readWrite' })
x[0] += 1
await heap.close()
console.log(JSON.stringify(kinds))
`

describe('hetmem run', () => {
  it('runs a program as it would run alone, and leaves report and traces behind', async () => {
    write('saxpy.mjs', program(''))
    const { status, out, err } = await hetmem(['run', 'saxpy.mjs', '--scale', '20', '--help'])

    expect([status, out]).toEqual([0, 'arguments --scale 20 --help\n'])
    expect(err).toBe(
      [
        'hetmem: saxpy.mjs has ended; written:',
        '  hetmem-report.html',
        '  hetmem-trace.jsonl',
        '  hetmem-trace.perfetto.json  (for https://ui.perfetto.dev)',
        '',
      ].join('\n'),
    )
    expect(readdirSync(folder).sort()).toEqual([
      'hetmem-report.html',
      'hetmem-trace.jsonl',
      'hetmem-trace.perfetto.json',
      'saxpy.mjs',
    ])
    const { events, program: name, mode } = parseJsonl(read('hetmem-trace.jsonl'))
    expect([name, mode]).toEqual(['saxpy.mjs', 'explicit'])
    expect(events.some(({ kind, allocation }) => kind === 'transfer' && allocation === 'x0')).toBe(true)
    const perfetto = read('hetmem-trace.perfetto.json')
    expect(perfetto).toContain('"transfer x0"')
    // The heap was not closed, so the last bracket may be missing.
    expect(traceEventFaults(perfetto.trimEnd().endsWith(']') ? perfetto : `${perfetto}]`)).toEqual([])
    expect(read('hetmem-report.html')).toContain('<h1>saxpy.mjs</h1>')
  })

  it('runs TypeScript', async () => {
    write('typed.ts', program('const status: number = 3\nprocess.exit(status)'))
    const { status, out } = await hetmem(['run', '--quiet', '--out', 'results', 'typed.ts'])

    expect([status, out]).toEqual([3, 'arguments \n'])
    expect(readdirSync(join(folder, 'results')).length).toBe(3)
  })

  it('ends with the status of the program, and reports all the same', async () => {
    write('failing.mjs', program("throw new Error('so it is')", 2))
    const { status, err } = await hetmem(['run', 'failing.mjs'])

    expect(status).toBe(1)
    expect(err).toContain('Error: so it is')
    expect(err).toContain(
      'hetmem: failing.mjs ended with status 1; written:\n  hetmem-report.html\n  hetmem-report-2.html\n',
    )
    expect(read('hetmem-report-2.html')).toContain('x1')
  })

  it('ends with 128 and the number of the signal that ended the program', async () => {
    write('waiting.mjs', program('setInterval(() => {}, 1000)'))
    const { status } = await hetmem(['run', 'waiting.mjs'], { onOutput: (child) => void child.kill('SIGTERM') })

    expect(status).toBe(128 + 15)
    expect(existsSync(join(folder, 'hetmem-report.html'))).toBe(true)
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([])
  })

  it('traces a live heap where its engine is: page faults, with how long they took', async ({ skip }) => {
    const { mode, findings } = JSON.parse((await hetmem(['doctor', '--json'])).out) as ReturnType<typeof doctorReport>
    if (mode === 'explicit') skip(`live memory: ${findings.find(({ topic }) => topic === 'live')?.title}`)
    write('live.mjs', LIVE_PROGRAM)
    const { status, out, err } = await hetmem(['run', '--sites', 'live.mjs'])

    expect([status, err]).toEqual([0, expect.stringContaining('hetmem-report.html')])
    const { events, mode: traced } = parseJsonl(read('hetmem-trace.jsonl'))
    expect(traced).toBe(mode)
    const fault = events.findLast(({ kind }) => kind === 'cpu-fault')
    expect(fault).toMatchObject({ allocation: 'x', thread: expect.any(Number), duration: expect.any(Number) })
    expect(events.find(({ kind }) => kind === 'alloc')?.site).toMatch(/live\.mjs:\d+$/)
    // What the program's own sink got over there is what the file has.
    expect(JSON.parse(out)).toEqual(events.map(({ kind }) => kind))
    const perfetto = read('hetmem-trace.perfetto.json')
    expect(JSON.parse(perfetto)).toContainEqual(expect.objectContaining({ name: 'cpu-fault x' }))
    expect(traceEventFaults(perfetto)).toEqual([])
  })

  it('says so if there was no heap, and leaves nothing behind', async () => {
    write('nothing.mjs', '')
    const { status, err } = await hetmem(['run', 'nothing.mjs'])

    expect([status, err]).toEqual([0, 'hetmem: nothing.mjs opened no heap, so there is nothing to report\n'])
    expect(readdirSync(folder)).toEqual(['nothing.mjs'])
  })

  it('refuses a folder that it cannot write to, in one sentence, before anything is run', async () => {
    write('saxpy.mjs', program(''))
    write('results', 'a file')
    const { status, out, err } = await hetmem(['run', '--out', 'results', 'saxpy.mjs'])

    expect([status, out]).toEqual([1, ''])
    expect(err).toBe('hetmem: writing to the folder results: not a directory\n')
  })
})

describe('hetmem report', () => {
  it('makes the page of a trace', async () => {
    write('run.jsonl', formatJsonl(sampleTrace()))
    const { status, out, err } = await hetmem(['report', 'run.jsonl', '-o', 'page.html'])

    expect([status, out, err]).toEqual([0, 'report: page.html\n', ''])
    expect(read('page.html')).toMatch(/^<!doctype html>[\s\S]*<\/html>\n$/)
    expect(readdirSync(folder).sort()).toEqual(['page.html', 'run.jsonl'])
  })

  it('prints the figures as JSON', async () => {
    const { events } = sampleTrace(2)
    write('run.jsonl', formatJsonl(sampleTrace(2)))
    const { status, out } = await hetmem(['report', 'run.jsonl', '--json'])

    expect(status).toBe(0)
    const model = JSON.parse(out) as ReportModel
    expect(model.totals.launches).toBe(events.filter(({ kind }) => kind === 'launch').length)
    expect(readdirSync(folder)).toEqual(['run.jsonl'])
  })

  it('makes do with a trace whose end is missing', async () => {
    const text = formatJsonl(sampleTrace(1))
    write('run.jsonl', text.slice(0, -20))
    const { status } = await hetmem(['report', 'run.jsonl'])

    expect(status).toBe(0)
    expect(read('hetmem-report.html')).toContain('The trace ends in the middle of a line')
  })

  it.each([
    ['nothing', '', 'trace: no header line, wanted {"format":"hetmem-trace",...}'],
    ['something else', 'x,y\n', 'trace line 1: '],
    ['a bad event', `${formatJsonl(sampleTrace(1))}{"kind":"free"}\n`, 'free.time is missing, wanted a number'],
    [
      'a trace for Perfetto',
      '[\n{}\n]\n',
      'this is a trace for Perfetto; the report is made of the trace in JSON lines',
    ],
  ])('refuses %s, by line, and writes nothing', async (_, text, message) => {
    write('run.jsonl', text)
    const { status, out, err } = await hetmem(['report', 'run.jsonl'])

    expect([status, out]).toEqual([2, ''])
    expect(err).toMatch(/^hetmem: run\.jsonl: .*\n$/)
    expect(err).toContain(message)
    expect(readdirSync(folder)).toEqual(['run.jsonl'])
  })

  it('refuses a folder that is read-only, and writes nothing', async ({ skip }) => {
    if (process.platform === 'win32') skip('folders that are read-only')
    write('run.jsonl', formatJsonl(sampleTrace(1)))
    chmodSync(folder, 0o555)
    // Root may write everywhere.
    const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
    const { status, err } = await hetmem(['report', 'run.jsonl'], { user })
    chmodSync(folder, 0o755)

    expect([status, err]).toEqual([1, 'hetmem: writing the report hetmem-report.html: permission denied\n'])
  })

  it('refuses a page in a folder that is not there', async () => {
    write('run.jsonl', formatJsonl(sampleTrace(1)))
    const { status, err } = await hetmem(['report', 'run.jsonl', '-o', 'none/page.html'])

    expect([status, err]).toEqual([1, 'hetmem: writing the report none/page.html: no such file or directory\n'])
  })
})

describe('hetmem bench and conformance', () => {
  it('run in a clone, with all their own options', async () => {
    const bench = await hetmem(['bench', '--list'])
    expect([bench.status, bench.err]).toEqual([0, ''])
    expect(bench.out).toContain('core: ')

    const conformance = await hetmem(['conformance', '--help'])
    expect(conformance.status).toBe(0)
    expect(conformance.out).toContain('--max-failures')
    expect((await hetmem(['bench', 'nonsense'])).status).toBe(2)
  })

  it.each(['bench', 'conformance'])('%s says in an installed package where it is', async (name) => {
    const installed = join(folder, 'node_modules/hetmem')
    cpSync(join(ROOT, 'lib'), join(installed, 'lib'), { recursive: true })
    cpSync(join(ROOT, 'package.json'), join(installed, 'package.json'))
    const { status, out, err } = await hetmem([name], { main: join(installed, bin.hetmem) })

    expect([status, out]).toEqual([1, ''])
    const where = `clone it, and run npm run ${name} there`
    expect(err).toBe(`hetmem: ${name} is part of the repository and not of the installed package: ${where}\n`)
  })
})

describe('hetmem', () => {
  it('paints where it is told to, and not into a pipe', async () => {
    const outputs = await Promise.all(
      [{}, { FORCE_COLOR: '1' }, { FORCE_COLOR: '1', NO_COLOR: '1' }].map(
        async (env) => (await hetmem(['tour'], { env })).out,
      ),
    )
    expect(outputs.map((out) => out.includes('\x1b['))).toEqual([false, true, false])
  })

  it('is quiet about a reader that has seen enough', async () => {
    const child = spawn('sh', ['-c', `"$0" "$1" tour | head -1; echo "$?"`, process.execPath, MAIN], { cwd: folder })
    let text = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (piece: string) => {
        text += piece
      })
    }
    await once(child, 'close')
    expect(text.trim()).toBe('0')
  })
})
