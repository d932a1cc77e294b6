import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { runProgram } from '../../test/helpers/child-program.ts'
import type { TraceEvent } from '../trace/events.ts'
import { parseJsonl } from '../trace/jsonl.ts'
import { openHeap } from './on-node.ts'
import { openTraceFiles, traceHeader } from './trace-files.ts'
import { parseTraceOptions, withTraceVariable } from './trace-options.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hetmem-trace-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const FAULT: TraceEvent = { time: 1, kind: 'cpu-fault', start: 0, end: 4096, access: 'read' }

function read(name: string) {
  return parseJsonl(readFileSync(join(folder, name), 'utf8'))
}

function open(format: 'jsonl' | 'perfetto', name: string, overwrite = false) {
  const files = [{ format, path: join(folder, name), overwrite }]
  return openTraceFiles({ files, allocations: false, header: traceHeader('explicit') })
}

describe('a heap with trace files', () => {
  it('writes what happens, with a header that says what was traced, and is done when the heap is closed', async () => {
    const trace = { jsonl: join(folder, 'run.jsonl'), perfetto: join(folder, 'run.json') }
    const heap = await openHeap({ mode: 'explicit', device: { kind: 'memory', memory: '1 MiB' }, trace })
    const x = heap.alloc(Float32Array, 10_000, { name: 'x' })
    await heap.prefetch(x)
    await heap.sync(x)
    await heap.discard(x)
    heap.free(x)
    await heap.close()

    const { events, ...header } = read('run.jsonl')
    expect(header).toMatchObject({ timeUnit: 'us', mode: 'explicit' })
    expect(Date.parse(header.started as string)).toBeLessThanOrEqual(Date.now())
    const kinds = new Set(events.map(({ kind }) => kind))
    for (const kind of ['device', 'alloc', 'duplication', 'transfer', 'duplicate-invalidated', 'discard', 'free']) {
      expect(kinds, kind).toContain(kind)
    }
    expect(events.find(({ kind }) => kind === 'alloc')).toMatchObject({ allocation: 'x', type: 'Float32Array' })
    const items = JSON.parse(readFileSync(join(folder, 'run.json'), 'utf8')) as { name: string }[]
    expect(items.map(({ name }) => name)).toContain('transfer x')
  })

  it('has invalidations too if it is verbose, with who was told', async () => {
    const trace = { jsonl: join(folder, 'run.jsonl'), verbose: true }
    const heap = await openHeap({ mode: 'explicit', device: { kind: 'memory', memory: '1 MiB' }, trace })
    const x = heap.alloc(Float32Array, 1000, { name: 'x' })
    await heap.prefetch(x, { access: 'readWrite' })
    await heap.sync(x)
    heap.free(x)
    await heap.close()

    const { events } = read('run.jsonl')
    const seen = events.flatMap((each) => (each.kind === 'invalidation' ? [`${each.event} ${each.allocation}`] : []))
    expect(seen).toContain('MIGRATE x')
    expect(seen).toContain('UNMAP x')
    expect(events.find((each) => each.kind === 'invalidation')).toMatchObject({ nsubscribers: 1 })
  })

  it('writes texts of any length, more than is written at once, in order', () => {
    const [sink] = open('jsonl', 'run.jsonl')
    const names = ['x', 'ü'.repeat(100_000), 'x'.repeat(70_000), 'y'.repeat(200_000), '中'.repeat(50_000)]
    for (const allocation of [...names, ...names]) sink.write({ ...FAULT, allocation })
    sink.close?.()

    expect(read('run.jsonl').events.map(({ allocation }) => allocation)).toEqual([...names, ...names])
  })

  it('takes HETMEM_TRACE besides, a file for each heap, and overwrites nothing', async () => {
    vi.stubEnv('HETMEM_TRACE', `jsonl=${join(folder, 'run.jsonl')}`)
    for (let i = 0; i < 2; i++) await (await openHeap({ mode: 'explicit' })).close()

    expect(readdirSync(folder).sort()).toEqual(['run-2.jsonl', 'run.jsonl'])
    expect(read('run-2.jsonl').mode).toBe('explicit')
  })

  it('is refused if a file cannot be opened, by name, and then leaves no other open', async () => {
    const trace = { jsonl: join(folder, 'run.jsonl'), perfetto: join(folder, 'none/run.json') }

    await expect(openHeap({ mode: 'explicit', trace })).rejects.toThrow(
      `FAILED: opening the trace ${trace.perfetto}: ENOENT: no such file or directory`,
    )
    expect(read('run.jsonl').events).toEqual([])
  })
})

describe('openTraceFiles()', () => {
  it('shows what happens while it happens', async () => {
    const [sink] = open('jsonl', 'run.jsonl')
    sink.write(FAULT)

    await vi.waitFor(() => expect(read('run.jsonl').events).toEqual([FAULT]), { timeout: 5000 })
    sink.close?.()
  })

  it('overwrites what options name', () => {
    writeFileSync(join(folder, 'run.jsonl'), 'something else, and longer than what is written here\n'.repeat(100))
    for (const sink of open('jsonl', 'run.jsonl', true)) sink.close?.()

    expect(read('run.jsonl').events).toEqual([])
    expect(readdirSync(folder)).toEqual(['run.jsonl'])
  })

  it('reports a disk that is full to whoever writes next, and not before', async ({ skip }) => {
    if (!existsSync('/dev/full')) skip('/dev/full')
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const files = [{ format: 'jsonl' as const, path: '/dev/full', overwrite: true }]
    const [sink] = openTraceFiles({ files, allocations: false, header: traceHeader('explicit') })

    await vi.waitFor(
      () =>
        expect(() => sink.write(FAULT)).toThrow('FAILED: writing the trace /dev/full: ENOSPC: no space left on device'),
      { timeout: 5000 },
    )
    expect(() => sink.close?.()).not.toThrow()
    expect(warn.mock.calls).toEqual([
      ['FAILED: writing the trace /dev/full: ENOSPC: no space left on device; its end is missing', 'TraceWarning'],
    ])
  })

  it('writes the rest when the program ends without closing anything', async () => {
    const { status } = await runProgram('test/trace/leave.ts', { args: [join(folder, 'run.jsonl')] })

    expect(status).toBe(3)
    expect(read('run.jsonl').events).toEqual([FAULT])
  })
})

describe('trace options', () => {
  const none = parseTraceOptions({})

  it('come with defaults, and files in plain data', () => {
    expect(none).toEqual({ files: [], allocations: false, sites: false, verbose: false, sinks: [] })
    expect(parseTraceOptions({ perfetto: 'a.json', sites: true })).toMatchObject({
      files: [{ format: 'perfetto', path: 'a.json', overwrite: true }],
      sites: true,
    })
  })

  it('refuse what is no path', () => {
    expect(() => parseTraceOptions({ jsonl: '' })).toThrow('trace.jsonl is "", wanted the path of a file')
    expect(() => parseTraceOptions({ jsonl: 1 as unknown as string })).toThrow('trace.jsonl is 1, wanted')
  })

  it('are added to by HETMEM_TRACE', () => {
    const settings = parseTraceOptions({ jsonl: 'mine.jsonl' })

    expect(withTraceVariable(settings, 'jsonl=a=b.jsonl,perfetto=c.json,verbose,sites')).toEqual({
      files: [
        { format: 'jsonl', path: 'mine.jsonl', overwrite: true },
        { format: 'jsonl', path: 'a=b.jsonl', overwrite: false },
        { format: 'perfetto', path: 'c.json', overwrite: false },
      ],
      allocations: false,
      sites: true,
      verbose: true,
      sinks: [],
    })
    expect(withTraceVariable(settings, '')).toBe(settings)
    expect(withTraceVariable(settings, undefined)).toBe(settings)
  })

  it.each(['1', 'jsonl=', 'jsonl', 'verbose=1', 'jsonl=a,,verbose', 'toString'])(
    'refuse HETMEM_TRACE=%s',
    (variable) => {
      expect(() => withTraceVariable(none, variable)).toThrow(
        /^HETMEM_TRACE has ".*", wanted jsonl=PATH, perfetto=PATH, verbose, sites, allocations, separated by commas$/,
      )
    },
  )
})
