// Structures full of pointers, about 50 pages, that the CPU builds and a device with less memory walks.

import { kernel, ptr, read, struct, u32, uniform, write } from '../../src/index.ts'
import { fill, MAIN, type Site, type Workload } from './workload.ts'

const Link = struct('Link', { value: u32, next: ptr })
const LINKS = 24_000
const LINK = 'struct Link { value: u32, next: u32 }'

const walk = kernel({
  name: 'walk',
  args: { sums: write(u32), first: uniform(ptr), hops: uniform(u32) },
  code: `${LINK}
    ${MAIN} {
      var sum = 0u;
      var p = first + id.x * Link_words;
      for (var n = 0u; n < hops && p != 0u; n++) {
        let link = loadLink(p);
        sum += link.value;
        p = link.next;
      }
      sums[id.x] = sum;
    }`,
})
const walkInSteps = kernel({
  name: 'walk in steps',
  step: 'hop',
  args: { sums: write(u32), first: uniform(ptr), hops: uniform(u32) },
  code: `${LINK}
    struct Walk { hops: u32, at: u32, sum: u32 }
    fn hop(id: vec3u, s: ptr<function, Walk>) -> bool {
      if (s.hops == 0u) { s.at = first + id.x * Link_words; }
      if (s.hops == hops || s.at == 0u) { sums[id.x] = s.sum; return false; }
      let link = loadLink(s.at);
      s.sum += link.value;
      s.at = link.next;
      s.hops++;
      return true;
    }`,
})

const Node = struct('Node', { key: u32, left: ptr, right: ptr, value: u32 })
const NODES = 12_000

const lookUp = kernel({
  name: 'look up',
  args: { keys: read(u32), values: write(u32), root: uniform(ptr) },
  code: `struct Node { key: u32, left: u32, right: u32, value: u32 }
    ${MAIN} {
      var p = root;
      while (p != 0u) {
        let node = loadNode(p);
        if (node.key == keys[id.x]) { break; }
        p = select(node.right, node.left, keys[id.x] < node.key);
      }
      if (p != 0u) { values[id.x] = loadU32(p + Node_value); }
    }`,
})

/** A list through the links, each of them far from the one before, in rings. Returns what the walks have to find. */
function buildList(site: Site, links: Uint32Array, walks: number, hops: number): Uint32Array {
  const first = site.ptr(links)
  const nextOf = (i: number): number => (i + 5003) % LINKS
  const values = fill(new Uint32Array(LINKS), 1 << 28)
  for (let i = 0; i < LINKS; i++) Link.set(links, i, { value: values[i], next: first + 2 * nextOf(i) })
  return new Uint32Array(walks).map((_, i) => {
    let sum = 0
    for (let n = 0, at = i; n < hops; n++, at = nextOf(at)) sum = (sum + values[at]) >>> 0
    return sum
  })
}

/** A balanced search tree of even keys, level by level, so that its top is in few pages. Returns the root. */
function buildTree(site: Site, nodes: Uint32Array): number {
  const first = site.ptr(nodes)
  const pointerTo = (i: number): number => (i < NODES ? first + 4 * i : 0)
  let key = 0
  const inOrder = (i: number): void => {
    if (i >= NODES) return
    inOrder(2 * i + 1)
    Node.set(nodes, i, { key, left: pointerTo(2 * i + 1), right: pointerTo(2 * i + 2), value: 3 * key + 1 })
    key += 2
    inOrder(2 * i + 2)
  }
  inOrder(0)
  return first
}

export const LINKED: readonly Workload[] = [
  {
    name: 'linked list',
    minimum: 8, // six links and a sum, and one more page as a link may be reached from two
    mode: 'always paged',
    async run(site) {
      const [walks, hops] = [128, 6]
      const [links, sums] = [site.words(2 * LINKS), site.words(walks)]
      const expected = buildList(site, links, walks, hops)
      await site.launch(walk, { sums, first: site.ptr(links), hops }, walks, [links])
      await site.same('sums', sums, expected)
    },
  },
  {
    name: 'linked list in steps',
    minimum: 1,
    mode: 'always paged',
    async run(site) {
      const [walks, hops] = [24, 12]
      const [links, sums] = [site.words(2 * LINKS), site.words(walks)]
      const expected = buildList(site, links, walks, hops)
      await site.launch(walkInSteps, { sums, first: site.ptr(links), hops }, walks, [links])
      await site.same('sums', sums, expected)
    },
  },
  {
    name: 'binary tree lookups',
    minimum: 9, // seven levels in pages of their own, a key and a value
    mode: 'always paged',
    async run(site) {
      const nodes = site.words(NODES * (Node.stride / 4))
      const root = buildTree(site, nodes)
      const keys = site.words(96)
      const values = site.words(96)
      keys.forEach((_, i) => {
        keys[i] = ((i >> 3) * 977 * 2 + (i & 7)) % (2 * NODES)
      })
      const expected = keys.map((key) => (key % 2 === 0 ? 3 * key + 1 : 0))
      await site.launch(lookUp, { keys, values, root }, keys.length, [nodes])
      await site.same('values', values, expected)
    },
  },
]
