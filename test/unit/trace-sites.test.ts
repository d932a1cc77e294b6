// Events that name the line of the program which led to them. The test is the program here, so it lies outside of the package.

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { openHeap } from '../../src/heap/on-node.ts'
import { siteOf } from '../../src/heap/site-port.ts'
import type { TraceEvent } from '../../src/trace/events.ts'
import { RingSink } from '../../src/trace/ring-sink.ts'

const SOURCE = readFileSync(import.meta.filename, 'utf8').split('\n')

/** The line of this file that a site names. */
function lineOf(site: string | undefined): string | undefined {
  const [, file, line] = /^(.+):(\d+)$/.exec(site ?? '') ?? []
  expect(file).toBe(import.meta.filename)
  return SOURCE[Number(line) - 1]?.trim()
}

async function trace(sites: boolean): Promise<TraceEvent[]> {
  const ring = new RingSink()
  const device = { kind: 'memory', memory: '1 MiB' } as const
  const heap = await openHeap({ mode: 'explicit', device, trace: { sinks: [ring], sites } })
  const x = heap.alloc(Float32Array, 1000, { name: 'x' })
  await heap.prefetch(x, { access: 'readWrite' })
  await heap.discard(x)
  heap.free(x)
  await heap.close()
  return ring.events()
}

describe('trace.sites', () => {
  it('names the line behind allocations, what is discarded, and copies that take their time', async () => {
    const events = await trace(true)
    const siteOfKind = (kind: string) => lineOf(events.find((event) => event.kind === kind)?.site)

    expect(siteOfKind('alloc')).toBe("const x = heap.alloc(Float32Array, 1000, { name: 'x' })")
    expect(siteOfKind('migration')).toBe("await heap.prefetch(x, { access: 'readWrite' })")
    expect(siteOfKind('transfer')).toBe("await heap.prefetch(x, { access: 'readWrite' })")
    expect(siteOfKind('free')).toBe('heap.free(x)')
  })

  it('is not there unless asked for', async () => {
    expect((await trace(false)).filter(({ site }) => site !== undefined)).toEqual([])
  })
})

describe('siteOf()', () => {
  const own = 'file:///app/node_modules/hetmem/lib/'

  it.each([
    ['    at f (file:///app/main.js:12:5)', '/app/main.js:12'],
    ['    at file:///app/main.js:12:5', '/app/main.js:12'],
    ['    at async file:///app/main.js:12:5', '/app/main.js:12'],
    ['    at Object.<anonymous> (/app/main.cjs:3:1)', '/app/main.cjs:3'],
    ['    at async main (C:\\app\\main.js:7:9)', 'C:\\app\\main.js:7'],
    ['run@https://example.org/main.js:4:10', 'https://example.org/main.js:4'],
    ['    at new Promise (<anonymous>)', undefined],
  ])('reads %j', (line, site) => {
    const stack = `Error\n    at a (${own}chunk-1.js:1:2)\n    at b (/app/node_modules/hetmem/lib/index.js:1:2)\n    at node:internal/x:1:2\n`
    expect(siteOf(stack + line, own)).toBe(site)
  })
})
