// Loops, branches and what stores in them.

import { fill } from '../paged-run.ts'
import { body, COUNT, type KernelCase } from './table.ts'

const xy = { x: 'read f32', y: 'f32' }
const uv = { u: 'read u32', v: 'u32' }
const sv = { s: 'read u32', v: 'u32' }
const rows = { x: 'read f32', m: 'read f32', y: 'f32' }

export const LOOPS: readonly KernelCase[] = [
  body('sum of neighbours', xy, 'var t = 0.0; for (var k = 0u; k < 8u; k++) { t += x[(i + k) % 1024u]; } y[i] = t;'),
  body('sum while', uv, 'var t = 0u; var k = 0u; while k < 5u { t += u[(i * 7u + k) % 1024u]; k++; } v[i] = t;'),
  body(
    'sum in a loop',
    uv,
    'var t = 0u; var k = 0u; loop { if (k >= 5u) { break; } t += u[(i + k) % 1024u]; k++; } v[i] = t;',
  ),
  body(
    'loop with continuing',
    uv,
    'var t = 0u; var k = 0u; loop { if (k == 3u) { continue; } t += u[(i + k) % 1024u]; continuing { k++; break if k >= 6u; } } v[i] = t;',
  ),
  body('chase', sv, 'var k = i; for (var n = 0u; n < 16u; n++) { k = s[k]; } v[i] = k;', { frames: 18 }),
  body(
    'chase until',
    sv,
    'var k = i; var n = 0u; while (k > 100u && n < 50u) { k = s[k]; n++; } v[i] = k + n * 1000u;',
    { frames: 18 },
  ),
  body(
    'chase from the header',
    sv,
    'var t = 0u; for (var k = s[i]; k > 512u && t < 20u; k = s[k]) { t++; } v[i] = t;',
    { frames: 18, extent: [256] },
  ),
  body(
    'loop of loaded length',
    sv,
    'var t = 0u; for (var k = 0u; k < s[i] % 10u; k++) { t += s[(i + k) % 1024u]; } v[i] = t;',
  ),
  body(
    'collatz',
    uv,
    'var a = u[i] % 1000u + 1u; var n = 0u; while (a != 1u) { a = select(3u * a + 1u, a / 2u, a % 2u == 0u); n++; } v[i] = n;',
  ),
  body(
    'continue',
    uv,
    'var t = 0u; for (var k = 0u; k < 8u; k++) { if (u[(i + k) % 1024u] % 2u == 0u) { continue; } t += k; } v[i] = t;',
  ),
  body(
    'return from a loop',
    uv,
    'for (var k = 0u; k < 8u; k++) { if (u[(i + k) % 1024u] % 4u == 0u) { v[i] = k; return; } } v[i] = 99u;',
  ),
  body(
    'nested loops',
    uv,
    'var t = 0u; for (var a = 0u; a < 4u; a++) { for (var b = 0u; b < 4u; b++) { t += u[(i + a * 32u + b) % 1024u] * b; } } v[i] = t;',
  ),
  body(
    'break of an inner loop',
    uv,
    'var t = 0u; for (var a = 0u; a < 4u; a++) { for (var b = 0u; b < 9u; b++) { if (u[(i + b) % 1024u] % 3u == 0u) { break; } t++; } } v[i] = t;',
  ),
  body(
    'switch',
    uv,
    'switch u[i] % 5u { case 0u: { v[i] = 1u; } case 1u, 2u { v[i] = u[1023u - i]; } case 3u: { } default { v[i] += 2u; } }',
  ),
  body(
    'switch in a loop',
    uv,
    'var t = 0u; for (var k = 0u; k < 4u; k++) { switch (u[(i + k) % 1024u] % 3u) { case 0u: { t += 1u; } case 1u: { continue; } default: { t += 10u; break; } } t += 100u; } v[i] = t;',
  ),
  body('switch on a constant', uv, 'switch MODE { case 1: { v[i] = 1u; } default: { v[i] = u[i]; } }', {
    module: 'const MODE = 2;',
  }),
  body('stores in a loop', { v: 'u32' }, 'for (var k = 0u; k < 4u; k++) { v[4u * i + k] = i * k; }', { extent: [256] }),
  body(
    'stores in a loop of loaded length',
    { s: 'read u32', w: 'u32' },
    'for (var k = 0u; k < s[i] % 16u; k++) { w[16u * i + k] = s[i] + k; }',
    {
      contents: { w: fill(16 * COUNT, 1) },
    },
  ),
  body('many stores', { w: 'u32' }, 'for (var k = 0u; k < 100u; k++) { w[100u * i + k] += k; }', {
    contents: { w: fill(100 * 64, 1) },
    extent: [64],
  }),
  body(
    'stores that are loaded again',
    { v: 'u32' },
    'for (var k = 1u; k < 4u; k++) { v[4u * i + k] = v[4u * i + k - 1u] + 1u; }',
    { extent: [256] },
  ),
  body(
    'prefix sums',
    { v: 'u32' },
    'var t = 0u; for (var k = 0u; k < 16u; k++) { t += v[16u * i + k]; v[16u * i + k] = t; }',
    { extent: [64] },
  ),
  body(
    'sorting',
    { v: 'u32' },
    `let b = 8u * i;
    for (var a = 0u; a < 8u; a++) { for (var k = 0u; k + 1u < 8u - a; k++) {
      if (v[b + k] > v[b + k + 1u]) { let t = v[b + k]; v[b + k] = v[b + k + 1u]; v[b + k + 1u] = t; } } }`,
    { extent: [128] },
  ),
  body('update in the header', { v: 'u32' }, 'for (var k = 0u; k < 3u; v[i] += 2u) { k++; }'),
  body('increment in the header', { v: 'u32' }, 'for (v[i] = 0u; v[i] < 5u; v[i]++) { }'),
  body('call in the header', { v: 'u32' }, 'var k = 0u; for (assign(i, 0u); k < 3u; assign(i, k)) { k++; }', {
    module: 'fn assign(a: u32, b: u32) { v[a] = b + v[a] * 2u; }',
  }),
  body('store in continuing', { v: 'u32' }, 'var k = 0u; loop { k++; continuing { v[i] += k; break if k == 4u; } }'),
  body('vectors in a loop', { a: 'vec4f' }, 'for (var k = 0u; k < 4u; k++) { a[i][k] = f32(k); a[i] += vec4f(1.0); }', {
    contents: { a: fill(4 * COUNT, 2, 'f32') },
  }),
  body('function with a loop', xy, 'y[i] = total(i) - total(1023u - i);', {
    module:
      'fn total(k: u32) -> f32 { var t = 0.0; for (var a = 0u; a < 4u; a++) { t += x[(k + a) % 1024u]; } return t; }',
  }),
  body('function that stores in a loop', { v: 'u32' }, 'fill(4u * i, 4u);', {
    module: 'fn fill(first: u32, n: u32) { for (var k = 0u; k < n; k++) { v[first + k] = k; } }',
    extent: [256],
  }),
  body('storing function in a loop', { v: 'u32' }, 'for (var k = 0u; k < 4u; k++) { put(4u * i + k); }', {
    module: 'fn put(k: u32) { v[k] = k * 3u; }',
    extent: [256],
  }),
  body(
    'matrix times vector',
    rows,
    'var t = 0.0; for (var k = 0u; k < 32u; k++) { t += m[32u * i + k] * x[k]; } y[i] = t;',
    {
      contents: { m: fill(64 * 32, 5, 'f32') },
      extent: [64],
    },
  ),
  body(
    'binary search',
    { t: 'read u32', u: 'read u32', v: 'u32' },
    `var low = 0u; var high = arrayLength(&t);
    while (low < high) { let middle = (low + high) / 2u; if (t[middle] < u[i] % 4096u) { low = middle + 1u; } else { high = middle; } } v[i] = low;`,
    {
      contents: { t: Uint32Array.from({ length: COUNT }, (_, i) => i * 4 + (i % 3)) },
    },
  ),
  body(
    'histogram of its own',
    { s: 'read u32', v: 'u32' },
    'for (var k = 0u; k < 16u; k++) { v[4u * i + s[(i * 16u + k) % 1024u] % 4u]++; }',
    { extent: [256] },
  ),
]
