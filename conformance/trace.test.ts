import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeSample } from './testing/sample.ts'
import { groupOf, parseSequence, readSequences, type Sequence, TraceError } from './trace.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'hetmem-trace-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function write(name: string, content: string | Uint8Array): string {
  const file = join(folder, name)
  writeFileSync(file, content)
  return file
}

async function readAll(file: string): Promise<Sequence[]> {
  const sequences: Sequence[] = []
  for await (const sequence of readSequences(file)) sequences.push(sequence)
  return sequences
}

describe('readSequences()', () => {
  const lines = [1, 2, 3].map((number) => JSON.stringify({ ...makeSample(), id: `sample-${number}` }))

  it('reads the lines of a .jsonl file, with or without a line end after the last', async () => {
    for (const text of [lines.join('\n'), `${lines.join('\n')}\n`]) {
      const sequences = await readAll(write('plain.jsonl', text))
      expect(sequences.map(({ id }) => id)).toEqual(['sample-1', 'sample-2', 'sample-3'])
      expect(sequences[0].ops).toEqual(makeSample().ops)
    }
  })

  it('unpacks .jsonl.gz', async () => {
    const sequences = await readAll(write('packed.jsonl.gz', gzipSync(lines.join('\n'))))
    expect(sequences.map(({ id }) => id)).toEqual(['sample-1', 'sample-2', 'sample-3'])
  })

  it('puts lines together that come in pieces, also in the middle of a character', async () => {
    const id = `sample-${'ä'.repeat(100_000)}`
    const text = [...lines, JSON.stringify({ ...makeSample(), id }), ...lines].join('\n')
    const sequences = await readAll(write('long.jsonl', text))
    expect(sequences.length).toBe(7)
    expect(sequences[3].id).toBe(id)
  })

  it('names file, line and reason of a malformed line', async () => {
    const file = write('broken.jsonl', [lines[0], lines[1].slice(0, -10), lines[2]].join('\n'))
    await expect(readAll(file)).rejects.toThrow(TraceError)
    await expect(readAll(file)).rejects.toThrow(`${file}:2: not JSON`)
  })

  it('names a file that does not exist, and one that is not what its name says', async () => {
    const missing = join(folder, 'missing.jsonl')
    await expect(readAll(missing)).rejects.toThrow(`${missing}: ENOENT`)
    const plain = write('plain.jsonl.gz', lines.join('\n'))
    await expect(readAll(plain)).rejects.toThrow(`${plain}: incorrect header check`)
    const cut = write('cut.jsonl.gz', gzipSync(lines.join('\n')).subarray(0, -20))
    await expect(readAll(cut)).rejects.toThrow(`${cut}: unexpected end of file`)
  })
})

describe('parseSequence()', () => {
  const withOp = (op: object) => JSON.stringify({ ...makeSample(), ops: [op] })
  const mmap = { op: 'mmap', proc: 0, page: 0, n: 1, prot: 'rw', kind: 'anon-private', result: { ret: 0 } }

  it.each([
    ['[]', 'not an object'],
    [JSON.stringify({ ...makeSample(), id: 7 }), 'id is not a name'],
    [JSON.stringify({ ...makeSample(), pages: -1 }), 'pages is not a number of pages'],
    [JSON.stringify({ ...makeSample(), ops: {} }), 'ops is not a list'],
    [withOp({ ...mmap, op: 'mmapp' }), 'ops[0] is no operation: "mmapp"'],
    [withOp({ ...mmap, op: 'toString' }), 'ops[0] is no operation: "toString"'],
    [withOp({ ...mmap, prot: 'rwx' }), 'ops[0] (mmap) has prot "rwx"'],
    [withOp({ ...mmap, n: undefined }), 'ops[0] (mmap) has n undefined'],
    [withOp({ ...mmap, proc: 2 }), 'ops[0] (mmap) has proc 2'],
    [withOp({ ...mmap, result: undefined }), 'ops[0] (mmap) has no result'],
    [withOp({ ...mmap, events: {} }), 'ops[0] (mmap) has events that is no list'],
  ])('refuses %s', (text, reason) => {
    expect(() => parseSequence(text, 'here:1')).toThrow(`here:1: ${reason}`)
  })
})

describe('groupOf()', () => {
  it('is the id without its number', () => {
    expect(groupOf(makeSample())).toBe('sample')
    expect(groupOf({ ...makeSample(), id: 'two-words-00001' })).toBe('two-words')
  })
})
