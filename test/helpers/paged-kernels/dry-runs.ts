// Kernels that store much and read nothing of what they write: these run twice, dry and with their stores.

import { fill } from '../paged-run.ts'
import { body, type CaseOptions, COUNT, type KernelCase } from './table.ts'

const rows = Uint32Array.from({ length: 65 }, (_, i) => (i * i) / 4)
/** 64 invocations, each with 16 elements of an array of 1024. */
const wide = (
  name: string,
  args: Readonly<Record<string, string>>,
  text: string,
  options: CaseOptions = {},
): KernelCase => body(`dry ${name}`, args, text, { extent: [64], ...options })

export const DRY_RUNS: readonly KernelCase[] = [
  wide('fill', { v: 'u32' }, 'for (var k = 0u; k < 16u; k++) { v[16u * i + k] = i * k; }'),
  wide('map', { u: 'read u32', v: 'u32' }, 'for (var k = 0u; k < 16u; k++) { v[16u * i + k] = u[16u * i + k] ^ k; }'),
  wide(
    'two arrays',
    { x: 'read f32', y: 'f32', v: 'u32' },
    `for (var k = 0u; k < 16u; k++) {
    y[16u * i + k] = x[16u * i + k] * 2.0; v[16u * i + k] = k; }`,
  ),
  wide(
    'the last of several stores',
    { u: 'read u32', v: 'u32' },
    'for (var k = 0u; k < 64u; k++) { v[16u * i + k % 16u] = u[i] + k; }',
  ),
  wide('scatter', { p: 'read u32', v: 'u32' }, 'for (var k = 0u; k < 16u; k++) { v[p[16u * i + k]] = i; }', {
    frames: 16,
  }),
  wide(
    'gathered rows',
    { s: 'read u32', u: 'read u32', v: 'u32' },
    `let r = s[i] % 64u;
  for (var k = 0u; k < 16u; k++) { v[16u * i + k] = u[16u * r + k]; }`,
    { frames: 8 },
  ),
  wide('rows of loaded lengths', { r: 'read u32', v: 'u32' }, 'for (var k = r[i]; k < r[i + 1u]; k++) { v[k] = i; }', {
    contents: { r: rows, v: fill(COUNT, 1) },
  }),
  wide('while', { u: 'read u32', v: 'u32' }, 'var k = 0u; while (k < u[i] % 16u) { v[16u * i + k] = k; k++; }'),
  wide(
    'loop with a break',
    { u: 'read u32', v: 'u32' },
    `var k = 0u;
  loop { if (k == 16u || u[16u * i + k] % 9u == 0u) { break; } v[16u * i + k] = u[16u * i + k]; k++; }`,
  ),
  wide(
    'continue',
    { u: 'read u32', v: 'u32' },
    'for (var k = 0u; k < 16u; k++) { if (u[16u * i + k] % 2u == 0u) { continue; } v[16u * i + k] = k; }',
  ),
  wide(
    'early return',
    { u: 'read u32', v: 'u32' },
    `if (u[i] % 3u == 0u) { return; }
  for (var k = 0u; k < 16u; k++) { v[16u * i + k] = i + k; if (k > u[i] % 16u) { return; } }`,
  ),
  wide(
    'nested loops',
    { u: 'read u32', v: 'u32' },
    `for (var a = 0u; a < 4u; a++) {
    for (var b = 0u; b < 4u; b++) { v[16u * i + 4u * a + b] = u[i] + a * b; } }`,
  ),
  wide(
    'vectors',
    { u: 'read u32', w: 'vec4<u32>' },
    'for (var k = 0u; k < 4u; k++) { w[4u * i + k] = vec4u(u[i], k, i, 7u); }',
    {
      contents: { w: fill(COUNT, 2) },
    },
  ),
  wide(
    'structs',
    { u: 'read u32', w: 'Cell' },
    `for (var k = 0u; k < 4u; k++) {
    w[4u * i + k] = Cell(u[i], vec2u(k, i), array<u32, 3>(1u, k, u[k])); w[4u * i + k].c[1] = 9u; }`,
    {
      structs: 'struct Cell { a: u32, b: vec2u, c: array<u32, 3> }',
      contents: { w: fill(8 * 256, 2) },
    },
  ),
  wide(
    'large structs without a loop',
    { u: 'read u32', w: 'Large' },
    'var l: Large; l.a[3] = u[i]; l.a[63] = i; w[i] = l;',
    {
      structs: 'struct Large { a: array<u32, 65> }',
      contents: { w: fill(65 * 64, 2) },
    },
  ),
  wide(
    'atomics',
    { u: 'read u32', c: 'atomic<u32>', v: 'u32' },
    `for (var k = 0u; k < 16u; k++) {
    atomicAdd(&c[u[16u * i + k] % 64u], 1u); v[16u * i + k] = k; }`,
  ),
  wide(
    'signed atomics',
    { u: 'read u32', c: 'atomic<i32>' },
    `for (var k = 0u; k < 16u; k++) {
    atomicMax(&c[k], i32(u[16u * i + k] % 512u) - 300); atomicStore(&c[16u + i % 16u], 5); }`,
  ),
  wide(
    'by pointer',
    { u: 'read u32', v: 'u32' },
    'for (var k = 0u; k < 16u; k++) { put(&v[16u * i + k], u[i] + k); }',
    {
      module: 'fn put(p: ptr<storage, u32, read_write>, n: u32) { *p = n; }',
    },
  ),
  wide('in a function', { u: 'read u32', v: 'u32' }, 'row(16u * i, u[i]); ', {
    module: 'fn row(at: u32, n: u32) { for (var k = 0u; k < 16u; k++) { v[at + k] = n + k; } }',
  }),
  wide(
    'private variables',
    { u: 'read u32', v: 'u32' },
    'for (var k = 0u; k < 16u; k++) { total += u[16u * i + k]; count++; v[16u * i + k] = total * count; seen[k % 3u] = k; }',
    {
      module:
        'const START = 3u;\nvar<private> total: u32 = START + 4u;\nvar<private> count = 2u;\nvar<private> seen: array<u32, 3>;',
    },
  ),
  wide(
    'private variables of functions',
    { u: 'read u32', v: 'u32' },
    'for (var k = 0u; k < 16u; k++) { v[16u * i + k] = next(u[i]); }',
    {
      module:
        'struct State { n: u32, at: vec2u }\nvar<private> state: State;\nfn next(n: u32) -> u32 { state.n += n; state.at.y ^= state.n; return state.n + state.at.y; }',
    },
  ),
]
