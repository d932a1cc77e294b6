import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { GraphFormat } from './formats.ts'
import { GraphFileError } from './graph-file-error.ts'
import { readGraph } from './read-graph.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hetmem-graph-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function write(contents: string | Uint8Array): Promise<string> {
  const path = join(folder, 'graph')
  await writeFile(path, contents)
  return path
}

/** The edges of a file as pairs, and what else is known. */
async function read(contents: string | Uint8Array, given: GraphFormat | null = null) {
  const { edges, format } = await readGraph(await write(contents), given)
  const pairs = Array.from(edges.from, (u, i) => [u, edges.to[i]])
  return { pairs, nvertices: edges.nvertices, format }
}

/** The message of the error that a file leads to, without its path. */
async function failure(contents: string | Uint8Array, given: GraphFormat | null = null): Promise<string> {
  const path = await write(contents)
  const error = await readGraph(path, given).then(
    () => null,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(GraphFileError)
  return (error as Error).message.replace(path, 'graph')
}

describe('SNAP edge lists', () => {
  test('have two vertices per line, remarks and empty lines', async () => {
    const text = '# Directed graph\n# FromNodeId\tToNodeId\n0\t1\n\n1 2\n  2   0  \n'
    expect(await read(text)).toEqual({
      pairs: [
        [0, 1],
        [1, 2],
        [2, 0],
      ],
      nvertices: 3,
      format: 'snap',
    })
  })

  test.each([
    ['no newline at the end', '0 1\n1 2'],
    ['lines that end as on Windows', '0 1\r\n1 2\r\n'],
    ['a mark of the byte order', '\ufeff0 1\n1 2\n'],
    ['further columns', '0 1 0.5 2014-01-01\n1 2 7 x\n'],
    ['remarks of KONECT', '% sym unweighted\n0 1\n1 2\n'],
  ])('may have %s', async (_, text) => {
    expect(await read(text)).toMatchObject({
      pairs: [
        [0, 1],
        [1, 2],
      ],
      format: 'snap',
    })
  })

  test('get numbers of their own where theirs are far apart, in the same order', async () => {
    expect(await read('4000000000 17\n17 5\n4000000000 4000000000\n')).toMatchObject({
      pairs: [
        [2, 1],
        [1, 0],
        [2, 2],
      ],
      nvertices: 3,
    })
  })

  test.each([
    ['0 1\n1 x2\n', 'graph, line 2: "x2" is no vertex, wanted a whole number below 4294967295'],
    ['0 1\n1 -2\n', 'graph, line 2: "-2" is no vertex, wanted a whole number below 4294967295'],
    ['0 1\n1 2.5\n', 'graph, line 2: "2.5" is no vertex, wanted a whole number below 4294967295'],
    ['0 4294967295\n', 'graph, line 1: "4294967295" is no vertex, wanted a whole number below 4294967295'],
    ['# remark\n\n0\n', 'graph, line 3: "0" ends early, wanted two vertices'],
    ['hello world\n', 'graph, line 1: "hello" is no vertex, wanted a whole number below 4294967295'],
  ])('name the line: %j', async (text, message) => {
    expect(await failure(text)).toBe(message)
  })
})

describe('MatrixMarket files', () => {
  const banner = '%%MatrixMarket matrix coordinate'

  test.each([
    ['pattern', '2 1\n4 3\n'],
    ['integer', '2 1 7\n4 3 -1\n'],
    ['real', '2 1 0.5\n4 3 1e-3\n'],
    ['complex', '2 1 0.5 1\n4 3 1 0\n'],
  ])('of %s entries count rows and columns from 1', async (field, entries) => {
    expect(await read(`${banner} ${field} symmetric\n% remark\n\n4 4 2\n${entries}`)).toEqual({
      pairs: [
        [1, 0],
        [3, 2],
      ],
      nvertices: 4,
      format: 'matrix-market',
    })
  })

  test('may be in capitals and general', async () => {
    const text = `${banner.toUpperCase()} PATTERN GENERAL\n3 3 2\n1 2\n2 1\n`
    expect(await read(text)).toMatchObject({
      pairs: [
        [0, 1],
        [1, 0],
      ],
    })
  })

  test.each([
    ['matrix array real general\n', 'line 1: the format is "array", wanted "coordinate": a sparse matrix'],
    [
      'matrix coordinate strange general\n',
      'line 1: the field is "strange", wanted one of pattern, real, double, integer, complex',
    ],
    [
      'matrix coordinate real round\n',
      'line 1: the symmetry is "round", wanted one of general, symmetric, skew-symmetric, hermitian',
    ],
    [
      'matrix coordinate pattern general\n3 4 1\n',
      'line 2: the matrix has 3 rows and 4 columns, wanted as many for a graph',
    ],
    ['matrix coordinate pattern general\n3 3 1\n1 4\n', 'line 3: column is 4, wanted 1 to 3'],
    ['matrix coordinate pattern general\n3 3 1\n0 1\n', 'line 3: row is 0, wanted 1 to 3'],
    ['matrix coordinate real general\n3 3 1\n1 2\n', 'line 3: "1 2" has no value, wanted 1 after row and column'],
    ['matrix coordinate pattern general\n3 3 1\n1 2 3\n', 'line 3: "1 2 3" has more than 2 words'],
    [
      'matrix coordinate pattern general\n3 3 1\n1 2\n2 3\n',
      'line 4: is one entry more than the 1 that were announced',
    ],
  ])('name the line: %j', async (text, message) => {
    expect(await failure(`%%MatrixMarket ${text}`)).toBe(`graph, ${message}`)
  })

  test('that end early say so', async () => {
    expect(await failure(`${banner} pattern general\n3 3 2\n1 2\n`)).toBe('graph: ends after 1 of 2 entries')
    expect(await failure(`${banner} pattern general\n% nothing\n`)).toBe(
      'graph: ends before the line with rows, columns and entries',
    )
  })
})

describe('CSV tables', () => {
  test.each([
    ['without a header', '0,1\n1,2\n'],
    ['with a header', 'a,b\n0,1\n1,2\n'],
    ['between semicolons', 'from;to\n0;1\n1;2\n'],
    ['between tabs', 'from\tto\n0\t1\n1\t2\n'],
    ['with columns by name', 'weight,Target,label,Source\n1,1,x,0\n2,2,y,1\n'],
    ['in quotes', '"from","to","name"\n"0","1","x, y"\n"1","2","say ""z"""\n'],
    ['with blanks, remarks and empty lines', '# edges\n0 , 1\n\n 1, 2\n'],
  ])('%s', async (_, text) => {
    expect(await read(text)).toMatchObject({
      pairs: [
        [0, 1],
        [1, 2],
      ],
      format: 'csv',
    })
  })

  test.each([
    ['0,1\n1,Bob\n', 'line 2: "Bob" is no vertex, wanted a whole number below 4294967295'],
    ['0,1\n1\n', 'line 2: "1" has 1 field, wanted at least 2'],
    ['0,1\n,2\n', 'line 2: "" is no vertex, wanted a whole number below 4294967295'],
    ['source,name,target\n0,x\n', 'line 2: "0,x" has 2 fields, wanted at least 3'],
    ['0,1\n"1,2\n', 'line 2: a quote is not closed on its line'],
  ])('name the line: %j', async (text, message) => {
    expect(await failure(text)).toBe(`graph, ${message}`)
  })
})

describe('readGraph()', () => {
  test('unpacks what is compressed', async () => {
    expect(await read(gzipSync('0 1\n1 2\n'))).toMatchObject({ nvertices: 3, format: 'snap' })
  })

  test('takes a format that is given', async () => {
    expect(await read('0 1\n', 'snap')).toMatchObject({ format: 'snap' })
    expect(await failure('0 1\n', 'matrix-market')).toContain('line 1: "0 1" begins no matrix')
    expect(await failure('0 1\n', 'csv')).toBe('graph, line 1: "0 1" is one field, wanted two vertices')
  })

  test('puts lines together that lie in several chunks', async () => {
    const count = 400_000
    const lines = Array.from({ length: count }, (_, i) => `${i} ${(i * 7919) % count}`)
    const { edges } = await readGraph(await write(lines.join('\n')))
    expect(edges.from.length).toBe(count)
    for (let i = 0; i < count; i++) {
      if (edges.from[i] !== i || edges.to[i] !== (i * 7919) % count) expect([edges.from[i], edges.to[i]]).toEqual(i)
    }
  })

  test.each([[''], ['\n\n'], ['# nothing but remarks\n'], ['from,to\n']])(
    'refuses a file without edges: %j',
    async (text) => {
      expect(await failure(text)).toBe('graph: has no edges')
    },
  )

  test('refuses what is no text, cut off, damaged, too long, or not there', async () => {
    const packed = gzipSync('0 1\n'.repeat(1000))
    const damaged = Uint8Array.from(packed)
    damaged.fill(0x55, 12, 24)
    expect(await failure(Uint8Array.of(48, 32, 0, 49))).toBe('graph: is no text file, it has bytes that are 0')
    expect(await failure(packed.subarray(0, 20))).toBe('graph: cannot be read: it is compressed, and cut off')
    expect(await failure(damaged)).toBe('graph: cannot be read: it is compressed, and damaged')
    expect(await failure(`0 1\n${'1'.repeat(3 << 20)}`)).toContain('line 2: is longer than 1048576 bytes')
    await expect(readGraph(join(folder, 'missing'))).rejects.toThrow('cannot be read: there is no such file')
    await expect(readGraph(folder)).rejects.toThrow('cannot be read: it is a directory')
  })
})
