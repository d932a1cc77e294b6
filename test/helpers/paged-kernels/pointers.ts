// Pointers of 32 and of 64 bits: the same bodies with both. They lead into the array `m`: nodes of four words, in an order of their own.
//
//   | value | sum | next, 8 bytes |        with 32 bits the low half of `next` is the pointer

import { fill, POINTED_WORD } from '../paged-run.ts'
import { body, COUNT, type KernelCase, permutation } from './table.ts'

const NODES = 512
const NODE_WORDS = 4

/** A list through all nodes, which ends after the last one. */
function nodes(): Uint32Array {
  const words = fill(NODES * NODE_WORDS, 8, 'small')
  const order = permutation(NODES)
  order.forEach((node, k) => {
    const next = k + 1 < NODES ? POINTED_WORD + NODE_WORDS * order[k + 1] : 0
    words.set([next, 0], NODE_WORDS * node + 2)
  })
  return words
}

const MODULES = {
  32: `fn at(word: u32) -> u32 { return ${POINTED_WORD}u + word; }
fn plus(p: u32, words: u32) -> u32 { return p + words; }
fn next(p: u32) -> u32 { return loadU32(p + 2u); }
fn is_end(p: u32) -> bool { return p == 0u; }`,
  64: `fn at(word: u32) -> ptr64 { return add64(ptr64(${POINTED_WORD}u, 0u), word); }
fn plus(p: ptr64, words: u32) -> ptr64 { return add64(p, words); }
fn next(p: ptr64) -> ptr64 { return loadPtr64(add64(p, 2u)); }
fn is_end(p: ptr64) -> bool { return isNull64(p); }`,
} as const

const BODIES: readonly (readonly [
  name: string,
  args: Readonly<Record<string, string>>,
  text: string,
  frames?: number,
])[] = [
  ['load', { v: 'u32' }, 'v[i] = loadU32(at(i * 2u));'],
  ['load of bits', { y: 'f32' }, 'y[i] = f32(loadI32(at(i)) % 64) + loadF32(at(i * 2u)) * 0.0;'],
  ['load of a vector', { v: 'u32' }, 'let pair = loadVec2U(at(2u * i)); v[i] = pair.x * 3u + pair.y;'],
  [
    'load at a loaded place',
    { s: 'read u32', v: 'u32' },
    'v[i] = loadU32(at(s[i] * 2u)) + loadU32(plus(at(0u), s[i]));',
  ],
  ['store', { v: 'read u32' }, 'storeU32(at(2u * i), v[i]);'],
  ['store of a vector', { v: 'read u32' }, 'storeVec2U(at(2u * i), vec2u(v[i], i));'],
  ['update', { v: 'read u32' }, 'storeU32(at(2u * i), loadU32(at(2u * i)) * 2u + v[i]);'],
  [
    'two stores to the same word',
    { v: 'read u32' },
    'storeU32(at(2u * i), v[i]); storeU32(at(2u * i), loadU32(at(2u * i)) + 1u);',
  ],
  ['stores in a loop', { v: 'read u32' }, 'for (var k = 0u; k < 2u; k++) { storeU32(at(2u * i + k), v[i] + k); }'],
  ['scatter', { p: 'read u32', v: 'read u32' }, 'storeU32(at(2u * p[i]), v[i]);'],
  [
    'next of each node',
    { v: 'u32' },
    `if (i < ${NODES}u) { let p = next(at(4u * i)); if (!is_end(p)) { v[i] = loadU32(p); } }`,
  ],
  [
    'walk of ten nodes',
    { v: 'u32' },
    `var p = at(4u * (i % ${NODES}u)); var sum = 0u;
  for (var k = 0u; k < 10u && !is_end(p); k++) { sum += loadU32(p); p = next(p); } v[i] = sum;`,
    24,
  ],
  [
    'sums beside the nodes',
    { v: 'read u32' },
    `if (i < ${NODES}u) { let p = at(4u * i); let q = next(p); if (!is_end(q)) { storeU32(plus(p, 1u), loadU32(q) + v[i]); } }`,
  ],
  [
    'copy of pointers',
    { v: 'u32' },
    `if (i < ${NODES}u) { let p = next(at(4u * i)); storeU32(plus(at(4u * i), 1u), select(1u, 0u, is_end(p))); v[i] = 7u; }`,
  ],
  ['in a function', { v: 'u32' }, 'v[i] = twice(i);'],
]

function pointerKernel(bits: 32 | 64, [name, args, text, frames]: (typeof BODIES)[number]): KernelCase {
  const twice = 'fn twice(i: u32) -> u32 { return 2u * loadU32(plus(at(0u), i)); }'
  const module = `${MODULES[bits]}\n${twice}`
  const options = { module, contents: { m: nodes() }, ...(frames !== undefined && { frames }) }
  // The array that they lead into comes first: that is where POINTED_WORD is.
  return {
    ...body(`${name}, ${bits} bits`, { m: 'vec2<u32>', ...args }, text, { ...options, extent: [COUNT] }),
    pointers: bits,
  }
}

export const POINTERS: readonly KernelCase[] = ([32, 64] as const).flatMap((bits) => {
  return BODIES.map((each) => pointerKernel(bits, each))
})
