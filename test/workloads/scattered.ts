// Kernels that may use all of their arrays, about 50 pages: where they do not fit the device, they go through a page table. What they do
// must happen exactly once, whatever is run again.

import { atomic, kernel, read, readWrite, u32, write } from '../../src/index.ts'
import { expectSame, fill, MAIN, PAGE_WORDS, scatterPlaces, sorted, type Workload } from './workload.ts'

/** Pages of all arrays of a workload, about, and not more. */
export const SCATTERED_PAGES = 50

const INVOCATIONS = 256

const update = kernel({
  name: 'update',
  args: { at: read(u32), x: readWrite(u32) },
  code: `${MAIN} { x[at[id.x]] = 3u * x[at[id.x]] + 1u; }`,
})
const permute = kernel({
  name: 'permute',
  args: { at: read(u32), a: write(u32), b: readWrite(u32), c: read(u32) },
  code: `${MAIN} { let k = at[id.x]; a[k] = id.x; b[k] += c[k]; }`,
})
const scatter = kernel({
  name: 'scatter',
  args: { at: read(u32), sums: readWrite(atomic(u32)), last: readWrite(atomic(u32)) },
  code: `${MAIN} { atomicAdd(&sums[at[id.x]], id.x); atomicMax(&last[at[id.x]], id.x); }`,
})
const tickets = kernel({
  name: 'tickets',
  args: { counter: readWrite(atomic(u32)), order: read(u32), taken: readWrite(u32) },
  code: `${MAIN} { let k = atomicAdd(&counter[0], 1u); taken[order[k]] += id.x + 1u; }`,
})
const reduce = kernel({
  name: 'reduce',
  args: { at: read(u32), x: read(u32), sums: readWrite(u32) },
  code: `
    var<workgroup> part: array<u32, 64>;
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) i: u32, @builtin(workgroup_id) group: vec3u) {
      part[i] = x[at[id.x]];
      for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (i < half) { part[i] += part[i + half]; }
      }
      if (i == 0u) { sums[group.x] += part[0]; }
    }`,
})
const build = kernel({
  name: 'build',
  args: { keys: read(u32), table: readWrite(atomic(u32)), size: read(u32) },
  code: `${MAIN} {
    let key = keys[id.x];
    var slot = (key * 2654435761u) % size[0];
    loop {
      let old = atomicCompareExchangeWeak(&table[slot], 0u, key);
      if (old.exchanged || old.old_value == key) { break; }
      if (old.old_value != 0u) { slot = (slot + 1u) % size[0]; }
    }
  }`,
})
const probe = kernel({
  name: 'probe',
  args: { keys: read(u32), table: read(u32), size: read(u32), places: write(u32) },
  code: `${MAIN} {
    let key = keys[id.x];
    var slot = (key * 2654435761u) % size[0];
    while (table[slot] != key && table[slot] != 0u) { slot = (slot + 1u) % size[0]; }
    places[id.x] = select(0u, slot + 1u, table[slot] == key);
  }`,
})

const paged = (name: string, minimum: number, run: Workload['run']): Workload => ({ name, minimum, mode: 'paged', run })

export const SCATTERED: readonly Workload[] = [
  paged('non-idempotent update', 2, async (site) => {
    const x = fill(site.words(48 * PAGE_WORDS - 3), 1 << 24)
    const at = scatterPlaces(site.words(INVOCATIONS), x.length)
    const expected = x.slice()
    for (const k of at) expected[k] = 3 * expected[k] + 1
    await site.launch(update, { at, x }, at.length)
    await site.same('x', x, expected)
  }),

  paged('permutation with two stores', 4, async (site) => {
    const n = 16 * PAGE_WORDS
    const [a, b, c] = [site.words(n), fill(site.words(n), 1000, 2), fill(site.words(n), 1000, 3)]
    const at = scatterPlaces(site.words(INVOCATIONS), n)
    const [wantedA, wantedB] = [a.slice(), b.slice()]
    at.forEach((k, i) => {
      wantedA[k] = i
      wantedB[k] += c[k]
    })
    await site.launch(permute, { at, a, b, c }, at.length)
    await site.same('a', a, wantedA)
    await site.same('b', b, wantedB)
  }),

  paged('scatter with atomics', 3, async (site) => {
    const n = 24 * PAGE_WORDS
    const [sums, last] = [site.words(n), site.words(n)]
    const at = scatterPlaces(site.words(INVOCATIONS), n)
    at.copyWithin(INVOCATIONS / 2, 0, INVOCATIONS / 2) // each place twice
    const [wantedSums, wantedLast] = [sums.slice(), last.slice()]
    at.forEach((k, i) => {
      wantedSums[k] += i
      wantedLast[k] = Math.max(wantedLast[k], i)
    })
    await site.launch(scatter, { at, sums, last }, at.length)
    await site.same('sums', sums, wantedSums)
    await site.same('last', last, wantedLast)
  }),

  paged('ticket counter', 3, async (site) => {
    const taken = site.words(47 * PAGE_WORDS)
    const counter = site.words(1)
    const order = scatterPlaces(site.words(INVOCATIONS), taken.length)
    await site.launch(tickets, { counter, order, taken }, order.length)
    await site.same('counter', counter, Uint32Array.of(order.length))
    // Who has which ticket is left to chance: every ticket has one owner, everybody one ticket, and nothing else was touched.
    await site.own(taken)
    const owners = sorted(Array.from(order, (place) => taken[place]))
    const everybody = Uint32Array.from(order, (_, i) => i + 1)
    expectSame('owners', owners, everybody)
    expectSame('all owners', sorted(taken.filter((owner) => owner !== 0)), everybody)
  }),

  paged('workgroup reduction', 6, async (site) => {
    const x = fill(site.words(47 * PAGE_WORDS), 1000)
    const at = scatterPlaces(site.words(INVOCATIONS), x.length)
    const sums = fill(site.words(INVOCATIONS / 64), 1000, 7)
    const expected = sums.slice()
    at.forEach((k, i) => {
      expected[i >> 6] += x[k]
    })
    await site.launch(reduce, { at, x, sums }, { workgroups: sums.length })
    await site.same('sums', sums, expected)
  }),

  paged('hash table build and probe', 5, async (site) => {
    const table = site.words(44 * PAGE_WORDS)
    const size = site.words(1).fill(table.length)
    // Every key twice, and as many that are not in the table.
    const keys = fill(site.words(48), 1 << 20)
    keys.forEach((key, i) => {
      keys[i] = 2 * key + 2
    })
    keys.copyWithin(24, 0, 24)
    await site.launch(build, { keys, table, size }, keys.length)
    const asked = site.words(96)
    asked.set(await site.own(keys))
    asked.set(
      keys.map((key) => key + 1),
      48,
    )
    const places = site.words(96)
    await site.launch(probe, { keys: asked, table, size, places }, asked.length)
    await site.own(places)
    await site.own(table)
    expectSame('keys of the table', sorted(table.filter((key) => key !== 0)), sorted(new Set(keys)))
    const found = places.map((place) => (place === 0 ? 0 : table[place - 1]))
    const expected = asked.map((key, i) => (i < 48 ? key : 0))
    expectSame('keys that were found', found, expected)
  }),
]
