// Breadth-first search over a graph of about 40 pages, level by level: a vertex of the next level is found once, by an atomic whose result
// is used, and gets its place in the queue by another.

import { atomic, kernel, read, readWrite, u32, uniform } from '../../src/index.ts'
import { expectSame, fill, MAIN, type Workload } from './workload.ts'

const VERTICES = 512
const DEGREE = 72
const UNSEEN = 0xffff_ffff

const step = kernel({
  name: 'bfs step',
  args: {
    rows: read(u32),
    columns: read(u32),
    queue: read(u32),
    levels: readWrite(atomic(u32)),
    found: readWrite(u32),
    count: readWrite(atomic(u32)),
    level: uniform(u32),
  },
  code: `${MAIN} {
    let v = queue[id.x];
    for (var e = rows[v]; e < rows[v + 1u]; e++) {
      let to = columns[e];
      if (atomicLoad(&levels[to]) != ${UNSEEN}u) { continue; }
      let old = atomicCompareExchangeWeak(&levels[to], ${UNSEEN}u, level);
      if (old.exchanged) { found[atomicAdd(&count[0], 1u)] = to; }
    }
  }`,
})

/** Neighbours lie around each vertex, so that the search takes some levels. */
function fillGraph(rows: Uint32Array, columns: Uint32Array): void {
  fill(columns, 90)
  for (let v = 0; v <= VERTICES; v++) rows[v] = v * DEGREE
  for (let e = 0; e < columns.length; e++) columns[e] = (Math.floor(e / DEGREE) + columns[e] + VERTICES - 45) % VERTICES
}

function levelsOf(rows: Uint32Array, columns: Uint32Array): Uint32Array {
  const levels = new Uint32Array(VERTICES).fill(UNSEEN)
  levels[0] = 0
  const queue = [0]
  for (const from of queue) {
    for (const to of columns.subarray(rows[from], rows[from + 1])) {
      if (levels[to] !== UNSEEN) continue
      levels[to] = levels[from] + 1
      queue.push(to)
    }
  }
  return levels
}

export const SEARCH: Workload = {
  name: 'breadth-first search',
  minimum: 7, // two of columns, and one of each other array
  mode: 'paged',
  async run(site) {
    const [rows, columns] = [site.words(VERTICES + 1), site.words(VERTICES * DEGREE)]
    fillGraph(rows, columns)
    const expected = levelsOf(rows, columns)
    const levels = site.words(VERTICES).fill(UNSEEN)
    let [queue, found] = [site.words(VERTICES), site.words(VERTICES)]
    const count = site.words(1)
    levels[0] = 0
    let size = 1
    for (let level = 1; size > 0; level++) {
      await site.launch(step, { rows, columns, queue, levels, found, count, level }, size)
      await site.own(count)
      size = count[0]
      count[0] = 0
      const next = found
      found = queue
      queue = next
    }
    await site.same('levels', levels, expected)
    expectSame('depth', Uint32Array.of(Math.max(...expected)), Uint32Array.of(6))
  },
}
