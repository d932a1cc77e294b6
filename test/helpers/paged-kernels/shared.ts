// Atomics and workgroups.

import { fill } from '../paged-run.ts'
import { body, COUNT, type KernelCase } from './table.ts'

const zeros = (words: number): Uint32Array => fill(words, 0, 'zero')
const counters = (words: number): { contents: Record<string, Uint32Array> } => ({ contents: { c: zeros(words) } })
const local =
  '@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) l: u32, @builtin(workgroup_id) g: vec3u'

export const ATOMICS: readonly KernelCase[] = [
  body('count', { c: 'atomic<u32>' }, 'atomicAdd(&c[0], 1u);'),
  body('histogram', { u: 'read u32', c: 'atomic<u32>' }, 'atomicAdd(&c[u[i] % 64u], 1u);'),
  body('wide histogram', { u: 'read u32', c: 'atomic<u32>' }, 'atomicAdd(&c[u[i] % 1024u], i);', counters(COUNT)),
  body('maximum', { u: 'read u32', c: 'atomic<u32>' }, 'atomicMax(&c[i % 64u], u[i]);'),
  body('minimum', { u: 'read u32', c: 'atomic<u32>' }, 'atomicMin(&c[i % 64u], u[i]);', {
    contents: { c: fill(64, 1) },
  }),
  body('signed maximum', { u: 'read u32', c: 'atomic<i32>' }, 'atomicMax(&c[i % 64u], bitcast<i32>(u[i]));', {
    contents: { c: fill(64, 1) },
  }),
  body('signed minimum', { u: 'read u32', c: 'atomic<i32>' }, 'atomicMin(&c[i % 64u], bitcast<i32>(u[i]));', {
    contents: { c: fill(64, 1) },
  }),
  body('subtract', { c: 'atomic<i32>' }, 'atomicSub(&c[i % 64u], i32(i));'),
  body('and', { u: 'read u32', c: 'atomic<u32>' }, 'atomicAnd(&c[i % 64u], u[i]);', { contents: { c: fill(64, 1) } }),
  body('or', { u: 'read u32', c: 'atomic<u32>' }, 'atomicOr(&c[i % 64u], u[i]);'),
  body('xor', { u: 'read u32', c: 'atomic<u32>' }, 'atomicXor(&c[i % 64u], u[i]);'),
  body('exchange without result', { c: 'atomic<u32>' }, 'atomicExchange(&c[i], i);', counters(COUNT)),
  body('atomic store', { c: 'atomic<u32>' }, 'atomicStore(&c[i], i * 2u);', counters(COUNT)),
  body('atomic load', { c: 'atomic<u32>', v: 'u32' }, 'v[i] = atomicLoad(&c[i]);', { contents: { c: fill(COUNT, 3) } }),
  body('phony result', { c: 'atomic<u32>' }, '_ = atomicAdd(&c[i % 64u], 2u);'),
  body(
    'two atomics',
    { u: 'read u32', c: 'atomic<u32>' },
    'atomicAdd(&c[u[i] % 64u], 1u); atomicAdd(&c[(u[i] >> 8u) % 64u], 2u);',
  ),
  body(
    'atomic and store',
    { u: 'read u32', c: 'atomic<u32>', v: 'u32' },
    'atomicAdd(&c[u[i] % 64u], 1u); v[i] = u[i];',
  ),
  body(
    'atomic in a loop',
    { u: 'read u32', c: 'atomic<u32>' },
    'for (var k = 0u; k < 4u; k++) { atomicAdd(&c[(u[i] >> (8u * k)) % 64u], 1u); }',
  ),
  body(
    'atomic and store in a loop',
    { u: 'read u32', c: 'atomic<u32>', v: 'u32' },
    'for (var k = 0u; k < 4u; k++) { atomicAdd(&c[(u[i] >> k) % 64u], 1u); v[4u * i + k] = k; }',
    { extent: [256] },
  ),
  body('atomic by pointer', { c: 'atomic<u32>' }, 'let a = &c[i % 64u]; atomicAdd(a, i); add(&c[0]);', {
    module: 'fn add(a: ptr<storage, atomic<u32>, read_write>) { atomicAdd(a, 3u); }',
  }),
  body('atomic member', { n: 'Cell' }, 'atomicAdd(&n[i % 16u].hits, 1u); n[i % 16u].last = 7u;', {
    structs: 'struct Cell { hits: atomic<u32>, last: u32 }',
    contents: { n: zeros(32) },
  }),
  body('atomic array member', { n: 'Cell' }, 'atomicAdd(&n[i % 8u].hits[i % 4u], 1u);', {
    structs: 'struct Cell { hits: array<atomic<u32>, 4> }',
    contents: { n: zeros(32) },
  }),
  body(
    'load after an own add',
    { c: 'atomic<u32>', v: 'u32' },
    'atomicAdd(&c[i], i); v[i] = atomicLoad(&c[i]);',
    counters(COUNT),
  ),
  body('own results', { c: 'atomic<u32>', v: 'u32' }, 'v[i] = atomicAdd(&c[i], i) + atomicAdd(&c[i], 1u);', {
    contents: { c: fill(COUNT, 4, 'small') },
  }),
  body(
    'own exchanges',
    { c: 'atomic<u32>', v: 'u32' },
    'v[i] = atomicExchange(&c[i], 5u) * 2u + atomicExchange(&c[i], 6u);',
    { contents: { c: fill(COUNT, 4, 'small') } },
  ),
  body(
    'own compare and exchange',
    { c: 'atomic<u32>', v: 'u32' },
    `loop { let old = atomicLoad(&c[i]);
    let r = atomicCompareExchangeWeak(&c[i], old, old * 2u + 1u); if (r.exchanged) { v[i] = r.old_value; break; } }`,
    { contents: { c: fill(COUNT, 4, 'small') } },
  ),
  body(
    'signed compare and exchange',
    { c: 'atomic<i32>', v: 'i32' },
    `var old = atomicLoad(&c[i]); loop {
    let r = atomicCompareExchangeWeak(&c[i], old, old - 9); if (r.exchanged) { break; } old = r.old_value; } v[i] = old;`,
    { contents: { c: fill(COUNT, 4, 'small') } },
  ),
  body(
    'float sum by compare and exchange',
    { s: 'read u32', c: 'atomic<u32>' },
    `let a = f32(s[i] % 8u); let k = s[i] % 16u; loop { let old = atomicLoad(&c[k]);
    let next = bitcast<u32>(bitcast<f32>(old) + a); if (atomicCompareExchangeWeak(&c[k], old, next).exchanged) { break; } }`,
  ),
  body(
    'atomics that only read',
    { c: 'atomic<i32>', v: 'i32' },
    'var t = 0; for (var k = 0u; k < 4u; k++) { t += atomicLoad(&c[(i + k) % 1024u]); } v[i] = t;',
    { contents: { c: fill(COUNT, 8, 'small') } },
  ),
]

export const WORKGROUPS: readonly KernelCase[] = [
  body('reverse in a workgroup', { x: 'read f32', y: 'f32' }, 't[l] = x[i]; workgroupBarrier(); y[i] = t[63u - l];', {
    params: local,
    module: 'var<workgroup> t: array<f32, 64>;',
  }),
  body(
    'reduction',
    { u: 'read u32', v: 'u32' },
    `t[l] = u[i]; workgroupBarrier();
    for (var d = 32u; d > 0u; d /= 2u) { if (l < d) { t[l] += t[l + d]; } workgroupBarrier(); } if (l == 0u) { v[g.x] = t[0]; }`,
    { params: local, module: 'var<workgroup> t: array<u32, 64>;' },
  ),
  body(
    'scan',
    { u: 'read u32', v: 'u32' },
    `t[l] = u[i] % 100u; workgroupBarrier();
    for (var d = 1u; d < 64u; d *= 2u) { var a = 0u; if (l >= d) { a = t[l - d]; } workgroupBarrier(); t[l] += a; workgroupBarrier(); } v[i] = t[l];`,
    { params: local, module: 'var<workgroup> t: array<u32, 64>;' },
  ),
  body(
    'tiles',
    { x: 'read f32', z: 'read f32', y: 'f32' },
    `var t = 0.0;
    for (var k = 0u; k < 4u; k++) { a[l.y][l.x] = x[id.y * 32u + k * 8u + l.x]; b[l.y][l.x] = z[(k * 8u + l.y) * 32u + id.x]; workgroupBarrier();
      for (var j = 0u; j < 8u; j++) { t += a[l.y][j] * b[j][l.x]; } workgroupBarrier(); } y[id.y * 32u + id.x] = t;`,
    {
      module: 'var<workgroup> a: array<array<f32, 8>, 8>;\nvar<workgroup> b: array<array<f32, 8>, 8>;',
      size: '8, 8',
      extent: [32, 32],
      frames: 30,
      params: '@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_id) l: vec3u',
    },
  ),
  body(
    'uniform load',
    { u: 'read u32', v: 'u32' },
    'if (l == 0u) { t = u[i]; } let a = workgroupUniformLoad(&t); v[i] = a + l;',
    { params: local, module: 'var<workgroup> t: u32;' },
  ),
  body('barrier in a function', { u: 'read u32', v: 'u32' }, 't[l] = u[i]; meet(); v[i] = t[(l + 1u) % 64u];', {
    params: local,
    module: 'var<workgroup> t: array<u32, 64>;\nfn meet() { workgroupBarrier(); }',
  }),
  body(
    'barrier in a uniform loop',
    { u: 'read u32', v: 'u32' },
    't[l] = u[i]; for (var k = 0u; k < n; k++) { workgroupBarrier(); let a = t[(l + 1u) % 64u]; workgroupBarrier(); t[l] = a; } v[i] = t[l];',
    {
      params: local,
      module: 'var<workgroup> t: array<u32, 64>;',
      uniforms: { n: ['u32', 5] },
    },
  ),
  body(
    'workgroup atomics',
    { u: 'read u32', v: 'u32' },
    'atomicAdd(&t[u[i] % 8u], 1u); workgroupBarrier(); if (l < 8u) { v[g.x * 8u + l] = atomicLoad(&t[l]); }',
    { params: local, module: 'var<workgroup> t: array<atomic<u32>, 8>;' },
  ),
  body(
    'workgroup histogram',
    { u: 'read u32', c: 'atomic<u32>' },
    'atomicAdd(&t[u[i] % 64u], 1u); workgroupBarrier(); atomicAdd(&c[l], atomicLoad(&t[l]));',
    { params: local, module: 'var<workgroup> t: array<atomic<u32>, 64>;' },
  ),
  body('storage barrier with nothing across', { x: 'read f32', y: 'f32' }, 'y[i] = x[i] * 2.0; storageBarrier();', {
    params: local,
  }),
  body(
    'gather in a workgroup',
    { s: 'read u32', v: 'u32' },
    't[l] = s[s[i]]; workgroupBarrier(); v[s[i] / 1024u + i] = t[l ^ 1u] + s[t[l]];',
    { params: local, frames: 26, module: 'var<workgroup> t: array<u32, 64>;' },
  ),
  body(
    'loop without barrier beside one',
    { s: 'read u32', v: 'u32' },
    'var k = i; for (var n = 0u; n < s[i] % 7u; n++) { k = s[k]; } t[l] = k; workgroupBarrier(); v[i] = t[63u - l];',
    { params: local, frames: 26, module: 'var<workgroup> t: array<u32, 64>;' },
  ),
  body(
    'private and workgroup memory',
    { u: 'read u32', v: 'u32' },
    'mine = u[i]; t[l] = mine; workgroupBarrier(); mine += t[l ^ 3u]; v[i] = mine;',
    { params: local, module: 'var<workgroup> t: array<u32, 64>;\nvar<private> mine: u32;' },
  ),
  body(
    'stores in loops of a workgroup',
    { u: 'read u32', v: 'u32' },
    't[l] = u[i]; workgroupBarrier(); for (var k = 0u; k < 3u; k++) { v[i] = t[(l + k) % 64u] + v[i]; }',
    { params: local, module: 'var<workgroup> t: array<u32, 64>;' },
  ),
  body(
    'struct in workgroup memory',
    { u: 'read u32', v: 'u32' },
    't[l].a = u[i]; t[l].b = vec2u(i, l); workgroupBarrier(); let p = t[63u - l]; v[i] = p.a + p.b.x * p.b.y;',
    { params: local, module: 'struct Pair { a: u32, b: vec2u }\nvar<workgroup> t: array<Pair, 64>;' },
  ),
]
