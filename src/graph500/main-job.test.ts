// The whole main job, small, in every mode: what it prints, what it leaves, and what it does not begin.

import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, test, vi } from 'vitest'
import { whyNoGpu } from '../../test/helpers/gpu.ts'
import { describeModes } from '../../test/helpers/mode-fixture.ts'
import { MIB } from '../base/size.ts'
import { COLUMNS_MAX, Terminal } from '../cli/terminal.ts'
import type { MainJob } from './command-line.ts'
import { REPORT_NAME, TRACE_NAME } from './job-files.ts'
import { runMainJob, scaleFor } from './main-job.ts'

const missing = await whyNoGpu()
// A software GPU on a busy machine takes its time.
vi.setConfig({ testTimeout: 60_000 })

await describeModes((mode) => {
  let folder: string
  beforeEach(async (test) => {
    if (missing !== null) test.skip(missing)
    folder = await mkdtemp(join(tmpdir(), 'hetmem-job-'))
  })
  afterEach(async () => {
    if (folder !== undefined) await rm(folder, { recursive: true })
  })

  async function run(job: Partial<MainJob>): Promise<string[]> {
    let text = ''
    const stream = { write: (part: string) => (text += part) }
    const defaults = {
      quick: false,
      graph: null,
      format: null,
      scale: 12,
      keys: 2,
      deviceMemory: MIB,
      memory: null,
      official: false,
    }
    await runMainJob({ ...defaults, mode: mode.name, out: null, ...job }, new Terminal(stream, false), stream)
    return text.split('\n')
  }

  it('computes, searches, validates, compares, and leaves a report and a trace', async () => {
    const lines = await run({ out: folder, official: true })
    const text = lines.join('\n')
    const isTrapped = mode.name !== 'explicit'
    expect(text).toMatch(isTrapped ? /hetmem +live mode.*, on / : /hetmem +explicit mode, on /)
    expect(text).toMatch(/y \+= 2 \* x +saxpy: direct, \d+ slices/)
    expect(text).toMatch(
      new RegExp(`y\\[511944\\] = 2: ${isTrapped ? 'page fault' : 'sync'}, [1-9]\\d* KiB from the GPU, [\\d.]+ ms`),
    )
    expect(text).toContain('all 524,289 elements of y are 2')
    expect(text).toContain('Kronecker graph of scale 12: 4,096 vertices, 65,536 edges')
    expect(text).toMatch(/columns .*[█▓▒░].* there/)
    expect(text).toMatch(/search 2 of 2: [\d,]+ vertices on \d levels, .* valid/)
    expect(lines.at(-2)).toBe('  validated: 2 searches, by the five rules of Graph500')
    expect(text).toMatch(/of the same kernels with everything on the device/)
    expect(text).toMatch(/of plain JavaScript/)
    expect(lines).toContain('SCALE: 12')
    expect(text).toMatch(/^bfs_harmonic_mean_TEPS: \d\.\d{17}e[+]\d\d$/m)
    for (const line of lines.filter((each) => !each.includes(folder)))
      expect(line.length).toBeLessThanOrEqual(COLUMNS_MAX)
    expect((await readdir(folder)).sort()).toEqual([REPORT_NAME, TRACE_NAME])
    expect(await readFile(join(folder, REPORT_NAME), 'utf8')).toMatch(
      /Graph500: Kronecker graph of scale 12[\s\S]*columns/,
    )
    const trace = await readFile(join(folder, TRACE_NAME), 'utf8')
    expect(JSON.stringify(JSON.parse(trace))).toContain('bfs from below')
  })

  it('stops after the first part if asked to', async () => {
    const text = (await run({ quick: true, out: folder })).join('\n')
    expect(text).toContain('all 524,289 elements of y are 2')
    expect(text).not.toContain('graph')
    expect(await readdir(folder)).toEqual([])
  })

  const RING = Array.from({ length: 100 }, (_, i) => [i, (i + 1) % 100])
  const FILES: readonly (readonly [name: string, format: string, lines: readonly string[]])[] = [
    ['ring.txt', 'snap', RING.map(([u, v]) => `${u}\t${v}`)],
    ['ring.csv', 'csv', ['from,to', ...RING.map(([u, v]) => `${u},${v}`)]],
    [
      'ring.mtx',
      'matrix-market',
      ['%%MatrixMarket matrix coordinate pattern general', '100 100 100', ...RING.map(([u, v]) => `${u + 1} ${v + 1}`)],
    ],
  ]
  // What has been read is the same in all modes.
  it.each(mode.name === 'explicit' ? FILES : FILES.slice(0, 1))(
    'searches a graph from a file: %s',
    async (name, format, lines) => {
      const path = join(folder, name)
      await writeFile(path, `${lines.join('\n')}\n`)
      const text = (await run({ graph: path, keys: 1 })).join('\n')
      expect(text).toContain(`${name} (${format}): 100 vertices, 100 edges`)
      expect(text).toContain('search 1 of 1: 100 vertices on 50 levels')
      expect(text).toContain('validated: 1 search,')
    },
  )

  it('says what is wrong before it begins', async (test) => {
    // Whoever says it does not know the mode, and in each of them the first part comes before some of it.
    if (mode.name !== 'explicit') test.skip('the same as in explicit')
    const path = join(folder, 'graph.txt')
    await writeFile(path, '0 1\n1 x\n')
    await expect(run({ graph: path })).rejects.toThrow(`${path}, line 2: "x" is no vertex`)
    await writeFile(path, '3 3\n4 4\n')
    await expect(run({ graph: path })).rejects.toThrow('graph.txt (snap) has no edge between two vertices')
    await expect(run({ scale: 16, deviceMemory: MIB })).rejects.toThrow(
      '--device-memory is 1 MiB, wanted at least 2 MiB: what is said of vertices has to be there as a whole, 776 KiB',
    )
    await expect(run({ graph: join(folder, 'missing') })).rejects.toThrow('there is no such file')
    await expect(run({ out: join(folder, 'missing') })).rejects.toThrow('there is no such folder')
    await rm(path)
    expect(await readdir(folder)).toEqual([])
  })
})

test('scaleFor() takes larger graphs on faster machines', () => {
  expect([0, 100 * MIB, 300 * MIB, 10_000 * MIB].map(scaleFor)).toEqual([18, 18, 19, 20])
})
