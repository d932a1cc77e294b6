// A search tree that the CPU builds and the GPU walks, along the same pointers.
//
// A heap pointer is a number that means the same on both sides: words of four bytes from the beginning of the heap, 0 for nowhere.
// `struct` describes a node once: for the CPU, which reads and writes fields by name, and for WGSL, which sees a struct.
//
// Prints:
//   30000 nodes on 29 levels
//   30000 of 60000 keys are in the tree
//   the value of key 59998 is 119996

import { kernel, openHeap, ptr, read, struct, u32, uniform, write } from 'hetmem'

const Node = struct('Node', { key: u32, value: u32, left: ptr, right: ptr })
const NODE_WORDS = Node.stride / 4

const count = 30_000
const heap = await openHeap({ device: { memory: '8 MiB' } })
const nodes = heap.alloc(Uint32Array, count * NODE_WORDS, { name: 'nodes' })
const first = heap.ptr(nodes)

// ---- built by the CPU ----

const pointerTo = (index: number) => first + index * NODE_WORDS
const nodeAt = (pointer: number) => Node.at(nodes, (pointer - first) / NODE_WORDS)

let levels = 1
for (let i = 0; i < count; i++) {
  // Even keys, in an order that keeps the tree low.
  const key = 2 * ((i * 7919) % count)
  Node.set(nodes, i, { key, value: 2 * key, left: 0, right: 0 })
  if (i > 0) insert(pointerTo(i), key)
}
console.log(`${count} nodes on ${levels} levels`)

function insert(pointer: number, key: number): void {
  let parent = nodeAt(first)
  for (let level = 2; ; level++) {
    const side = key < parent.key ? 'left' : 'right'
    if (parent[side] === 0) {
      parent[side] = pointer
      levels = Math.max(levels, level)
      return
    }
    parent = nodeAt(parent[side])
  }
}

// ---- walked by the GPU ----

const MISSING = 0xffff_ffff
const keys = heap.alloc(Uint32Array, 2 * count, { name: 'keys' })
const values = heap.alloc(Uint32Array, keys.length, { name: 'values' })
for (let i = 0; i < keys.length; i++) keys[i] = i

const search = kernel({
  name: 'search',
  args: { nodes: read(Node), keys: read(u32), values: write(u32), root: uniform(ptr), base: uniform(ptr) },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      let key = keys[id.x];
      var value = ${MISSING}u;
      var pointer = root;
      while (pointer != 0) {
        let node = nodes[(pointer - base) / ${NODE_WORDS}u];
        if (node.key == key) {
          value = node.value;
          break;
        }
        pointer = select(node.right, node.left, key < node.key);
      }
      values[id.x] = value;
    }`,
})
await heap.run(search, { nodes, keys, values, root: first, base: first }, keys.length)
await heap.sync(values, 'read')

const found = values.filter((value) => value !== MISSING).length
const last = keys.length - 2
console.log(`${found} of ${keys.length} keys are in the tree`)
console.log(`the value of key ${last} is ${values[last]}`)
const wrong = values.findIndex((value, key) => value !== (key % 2 === 0 ? 2 * key : MISSING))
if (wrong >= 0) throw new Error(`the value of key ${wrong} is ${values[wrong]}`)
await heap.close()
