// The whole recordings are replayed by `npm run conformance`. Here: that the driver follows the rules of the recorder in what
// no single recording pins down, and that a change to a real recording is found on the real machine.

import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { checkSequence, type Failure } from '../../check.ts'
import { isCrash, replay } from '../../replay.ts'
import { groupOf, type Observation, parseSequence, readSequences, type Sequence } from '../../trace.ts'
import { SimulatedDriver } from './simulated-driver.ts'

const TRACES = fileURLToPath(new URL('../../traces/linux-6.1/', import.meta.url))
const makeDriver = (sequence: Sequence) => new SimulatedDriver(sequence)

async function firstSequence(group: string): Promise<Sequence> {
  for await (const sequence of readSequences(`${TRACES}linux-6.1-${group}.jsonl.gz`)) return sequence
  throw new Error(`no sequence in group ${group}`)
}

/** Executes operations that were never recorded. */
function execute(ops: object[], options: Partial<Sequence> = {}): Observation[] {
  const withResults = ops.map((op) => ({ ...op, result: {} }))
  const text = JSON.stringify({ id: 'test-1', pages: 8, baseOffset: 0, filePages: 8, ...options, ops: withResults })
  return [...replay(parseSequence(text, 'test'), makeDriver, { validate: true })].map((seen) => {
    if (isCrash(seen)) throw new Error(seen.exception)
    return seen
  })
}

const RW = { prot: 'rw', proc: 0 }

describe('SimulatedDriver', () => {
  it('starts with an empty arena and a file whose pages have their numbers', () => {
    const seen = execute([
      { op: 'cpu-read', proc: 0, page: 0, n: 2 },
      { op: 'mmap', ...RW, page: 2, n: 2, kind: 'file-private', filePage: 7 },
      { op: 'cpu-read', proc: 0, page: 2, n: 2 },
    ])
    expect(seen[0]).toEqual({
      result: { values: ['segv', 'segv'] },
      state: { 0: { pte: '________', attr: '........', pagemap: '........' } },
    })
    expect(seen[2].result).toEqual({ values: [1_000_007, 'sigbus'] })
  })

  it('has one frame per process behind special and pfnmap pages', () => {
    const seen = execute([
      { op: 'mmap', ...RW, page: 0, n: 2, kind: 'special' },
      { op: 'mmap', ...RW, page: 4, n: 1, kind: 'pfnmap' },
      { op: 'cpu-write', proc: 0, page: 1, n: 1, value: 5 },
      { op: 'cpu-read', proc: 0, page: 0, n: 5 },
      { op: 'fork', childDevs: [] },
      { op: 'mmap', ...RW, proc: 1, page: 6, n: 1, kind: 'special' },
      { op: 'cpu-read', proc: 1, page: 0, n: 7 },
      { op: 'exit-child' },
    ])
    expect(seen[3].result).toEqual({ values: [5, 5, 'segv', 'segv', 5] })
    expect(seen[6].result).toEqual({ values: [5, 5, 'segv', 'segv', 5, 'segv', 777] })
  })

  it('sorts the events of an eviction by page and keeps all others in order', () => {
    const page = (op: string, page: number) => ({ op, proc: 0, dev: 0, page, n: 1 })
    const seen = execute([
      { op: 'mmap', ...RW, page: 0, n: 4, kind: 'anon-private' },
      { op: 'cpu-write', proc: 0, page: 0, n: 4, value: 1 },
      page('migrate-to-dev', 2),
      page('migrate-to-dev', 0),
      page('migrate-to-dev', 1),
      { op: 'reopen', proc: 0, dev: 0 },
      { op: 'mremap', proc: 0, page: 3, n: 1, to: 6 },
    ])
    expect(seen[5].events).toEqual([
      [0, 'CLEAR', 0, 1, ''],
      [0, 'CLEAR', 1, 2, ''],
      [0, 'CLEAR', 2, 3, ''],
    ])
    expect(seen[6].events?.map(([, event, start]) => [event, start])).toEqual([
      ['UNMAP', 3],
      ['UNMAP', 3],
    ])
  })

  it('reports watch events by slot, and none of a slot that is not watched any more', () => {
    const seen = execute([
      { op: 'mmap', ...RW, page: 0, n: 4, kind: 'anon-private' },
      { op: 'watch', proc: 0, slot: 3, page: 0, n: 4 },
      { op: 'watch', proc: 0, slot: 1, page: 2, n: 1 },
      { op: 'cpu-write', proc: 0, page: 0, n: 4, value: 1 },
      { op: 'madvise', proc: 0, page: 0, n: 4, advice: 'dontneed' },
      { op: 'unwatch', proc: 0, slot: 3 },
      { op: 'cpu-write', proc: 0, page: 2, n: 1, value: 1 },
      { op: 'madvise', proc: 0, page: 2, n: 1, advice: 'dontneed' },
      { op: 'watch', proc: 0, slot: 2, page: 0, n: 0 },
    ])
    expect(seen[4].watch).toEqual([
      [0, 1, 'CLEAR', 0, 4, ''],
      [0, 3, 'CLEAR', 0, 4, ''],
    ])
    expect(seen[7].watch).toEqual([[0, 1, 'CLEAR', 2, 3, '']])
    expect(seen[8].result).toEqual({ errno: 'EOVERFLOW' })
  })

  it('says whether an event came between read-begin and read-retry', () => {
    const retry = { op: 'read-retry', proc: 0, slot: 0 }
    const seen = execute([
      { op: 'mmap', ...RW, page: 0, n: 4, kind: 'anon-private' },
      { op: 'cpu-write', proc: 0, page: 0, n: 4, value: 1 },
      { op: 'read-begin', proc: 0, slot: 0 },
      retry,
      { op: 'munmap', proc: 0, page: 0, n: 1 },
      retry,
    ])
    expect(seen[3].result).toEqual({ retry: false })
    expect(seen[5].result).toEqual({ retry: true })
  })

  it('forks a second child after the first one ended', () => {
    const seen = execute([
      { op: 'mmap', ...RW, page: 0, n: 1, kind: 'anon-private' },
      { op: 'fork', childDevs: [0, 1] },
      { op: 'exit-child' },
      { op: 'fork', childDevs: [] },
      { op: 'cpu-write', proc: 1, page: 0, n: 1, value: 9 },
      { op: 'cpu-read', proc: 0, page: 0, n: 1 },
      { op: 'exit-child' },
    ])
    expect(seen[3].state).toEqual(seen[1].state)
    expect(seen[4].result).toEqual({ status: ['ok'] })
    expect(seen[5].result).toEqual({ values: [0] })
  })

  it('counts pins, and drops them all at once', () => {
    const pin = (page: number) => ({ op: 'pin', proc: 0, page, n: 2, write: true })
    const seen = execute([
      { op: 'mmap', ...RW, page: 0, n: 2, kind: 'anon-private' },
      pin(0),
      pin(1),
      { op: 'unpin', proc: 0 },
    ])
    expect(seen[1].result).toEqual({ pinned: 2 })
    expect(seen[1].state?.[0].attr).toBe('ff......')
    expect(seen[2]).toEqual({ result: { pinned: 1 } })
    expect(seen[3].state?.[0].attr).toBe('77......')
  })
})

describe('a real recording', () => {
  const check = (sequence: Sequence): Failure | null => checkSequence(sequence, makeDriver, [], { validate: true })

  it.each(['matrix', 'fork', 'coh', 'mix', 'thp', 'hugetlb', 'poison'])('of group %s is identical', async (group) => {
    const sequence = await firstSequence(group)
    expect(groupOf(sequence)).toBe(group)
    expect(check(sequence)).toBeNull()
  })

  it('is not identical with any one observation changed', async () => {
    const sequence = await firstSequence('watch')
    const text = JSON.stringify(sequence)
    const changes = [
      ...text.matchAll(/"(pte|attr|pagemap)":"[^"]*?([_\-.rw79])|"(UNMAP|MIGRATE|CLEAR)"|"retry":(true|false)/g),
    ]
    expect(changes.length).toBeGreaterThan(10)
    for (const { 0: found, index } of changes) {
      const changed = `${text.slice(0, index)}${change(found)}${text.slice(index + found.length)}`
      expect(check(JSON.parse(changed)), `${found} at ${index}`).not.toBeNull()
    }
  })
})

/** The same text with another observation in it. */
function change(found: string): string {
  if (found.startsWith('"retry"')) return found.endsWith('true') ? '"retry":false' : '"retry":true'
  return /[A-Z]"$/.test(found) ? '"EXCLUSIVE"' : `${found.slice(0, -1)}S`
}
