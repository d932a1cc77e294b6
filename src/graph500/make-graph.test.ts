import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { EDGE_FACTOR, generateEdges } from './kronecker.ts'
import { makeGraph } from './make-graph.ts'

test('makeGraph() makes a Kronecker graph part by part, and tells how far it is', async () => {
  const parts: number[] = []
  const { edges, csr, name } = await makeGraph({ graph: null, format: null, scale: 13 }, (part) => parts.push(part))
  const nedges = EDGE_FACTOR * 2 ** 13
  const whole = { from: new Uint32Array(nedges), to: new Uint32Array(nedges) }
  generateEdges(whole, 13)
  expect(edges).toEqual({ nvertices: 2 ** 13, ...whole })
  expect(csr.nvertices).toBe(2 ** 13)
  expect(name).toBe('Kronecker graph of scale 13')
  expect(parts).toEqual([0.5, 1])
})

test('makeGraph() reads a file', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'hetmem-graph-'))
  const path = join(folder, 'roads.txt')
  await writeFile(path, '0 1\n1 2\n')
  const { name, csr } = await makeGraph({ graph: path, format: null, scale: 18 })
  await rm(folder, { recursive: true })
  expect(name).toBe('roads.txt (snap)')
  expect([...csr.columns]).toEqual([1, 0, 2, 1])
})

test('makeGraph() says how much memory a graph needs that is too large', async () => {
  const Real = Uint32Array
  vi.stubGlobal(
    'Uint32Array',
    class extends Real {
      constructor(length: number) {
        if (length > 2 ** 20) throw new RangeError('Array buffer allocation failed')
        super(length)
      }
    },
  )
  const made = makeGraph({ graph: null, format: null, scale: 20 })
  await expect(made).rejects.toThrow(
    'a graph of 16777216 edges needs 384 MiB of memory, which this machine does not give',
  )
  vi.unstubAllGlobals()
})
