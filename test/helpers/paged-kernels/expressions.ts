// Loads and stores in all kinds of expressions and statements.

import { fill } from '../paged-run.ts'
import { body, COUNT, type KernelCase } from './table.ts'

const xy = { x: 'read f32', y: 'f32' }
const uv = { u: 'read u32', v: 'u32' }
const gather = { s: 'read u32', x: 'read f32', y: 'f32' }
const scatter = { p: 'read u32', x: 'read f32', y: 'f32' }

export const EXPRESSIONS: readonly KernelCase[] = [
  body('copy', xy, 'y[i] = x[i];'),
  body('saxpy', xy, 'y[i] += a * x[i];', { uniforms: { a: ['f32', 2.5] } }),
  body('reverse', xy, 'y[i] = x[1023u - i];'),
  body('gather', gather, 'y[i] = x[s[i]];', { extent: [256] }),
  body('gather twice', gather, 'y[i] = x[s[s[i]]] + x[s[i]];', { extent: [256] }),
  body('gather thrice', { s: 'read u32', v: 'u32' }, 'v[i] = s[s[s[s[i]]]];', { extent: [256] }),
  body('scatter', scatter, 'y[p[i]] = x[i];', { extent: [256] }),
  body('scatter update', scatter, 'y[p[i]] += x[p[i]] * 0.5;', { extent: [256] }),
  body('permute in two arrays', { p: 'read u32', y: 'f32', z: 'f32' }, 'y[p[i]] = f32(i); z[p[i]] = -f32(i);', {
    extent: [256],
  }),
  body('constant index', xy, 'y[i] = x[0] + x[1023];'),
  body('index of i32', xy, 'let k = i32(i); y[k] = x[1023 - k];'),
  body('index with parentheses', xy, 'y[(i)] = (x)[(i)];'),
  body('comparison', uv, 'v[i] = select(1u, 2u, u[i] > v[i]);'),
  body('and also', uv, 'if (u[i] > 7u && u[u[i] % 1024u] > 5u) { v[i] = 1u; }', { extent: [256] }),
  body('or else', uv, 'if (u[i] < 7u || u[u[i] % 1024u] > 5u) { v[i] = 1u; }', { extent: [256] }),
  body('bits', uv, 'v[i] = (u[i] & 0xffu) | (v[i] ^ 0xff00u);'),
  body('shifts', uv, 'v[i] = (u[i] << 3u) | (v[i] >> 5u);'),
  body('unary', { x: 'read f32', u: 'read u32', y: 'f32', v: 'u32' }, 'y[i] = -x[i]; v[i] = ~u[i];'),
  body('builtin functions', xy, 'y[i] = clamp(x[i], -1.0, 1.0) + abs(x[i]) + floor(y[i]) + min(x[i], y[i]);'),
  body('mix and select', xy, 'y[i] = mix(x[i], y[i], 0.25) + select(x[i], y[i], x[i] < y[i]);'),
  body('conversions', { x: 'read f32', v: 'u32' }, 'v[i] = u32(abs(x[i])) + u32(i32(x[i]) + 100);'),
  body('bitcast', { x: 'read f32', v: 'u32' }, 'v[i] = bitcast<u32>(x[i]) ^ v[i];'),
  body('let', xy, 'let a = x[i]; let b = y[i]; y[i] = a * b;'),
  body('var', xy, 'var a = x[i]; a += 1.0; a *= y[i]; y[i] = a;'),
  body('typed let', xy, 'let a: f32 = x[i]; y[i] = a;'),
  body('phony load', xy, '_ = x[i]; y[i] = 3.0;'),
  body('add to', uv, 'v[i] += u[i];'),
  body('subtract from', uv, 'v[i] -= u[i];'),
  body('multiply by', uv, 'v[i] *= u[i];'),
  body('divide by', uv, 'v[i] /= (u[i] | 1u);'),
  body('remainder by', uv, 'v[i] %= (u[i] | 1u);'),
  body('and with', uv, 'v[i] &= u[i];'),
  body('or with', uv, 'v[i] |= u[i];'),
  body('xor with', uv, 'v[i] ^= u[i];'),
  body('shift left by', uv, 'v[i] <<= u[i] % 32u;'),
  body('shift right by', uv, 'v[i] >>= u[i] % 32u;'),
  body('increment', uv, 'v[i]++;'),
  body('decrement', { v: 'i32' }, 'v[i]--;'),
  body('update at a loaded index', { p: 'read u32', v: 'u32' }, 'v[p[i]] += p[p[i]];', { extent: [256] }),
  body('two stores', { x: 'read f32', y: 'f32', z: 'f32' }, 'y[i] = x[i]; z[1023u - i] = x[i] * 2.0;'),
  body('four stores', { v: 'u32' }, 'v[4u * i] = 1u; v[4u * i + 1u] = 2u; v[4u * i + 2u] = 3u; v[4u * i + 3u] = 4u;', {
    extent: [256],
  }),
  body('store under condition', xy, 'if (x[i] > 0.0) { y[i] = x[i]; }'),
  body('store in both branches', xy, 'if (x[i] > 0.0) { y[i] = x[i]; } else { y[1023u - i] = 1.0; }', {
    contents: { x: fill(COUNT, 0, 'zero') },
  }),
  body(
    'else if',
    uv,
    'if (u[i] % 3u == 0u) { v[i] = 1u; } else if (u[i] % 3u == 1u) { v[i] = 2u; } else { v[i] = 3u; }',
  ),
  body('early return', xy, 'if (x[i] < 0.0) { return; } y[i] = x[i];'),
  body('store, then load', { v: 'u32' }, 'v[i] = i; v[i] = v[i] * 3u;'),
  body('store, then load elsewhere', { v: 'u32' }, 'v[i] = i * 3u; v[i] += v[i] + 1u;'),
  body('store, then load by another name', { v: 'u32' }, 'let k = i; v[i] = 7u; let w = v[k]; v[k] = w + i;'),
  body('store twice', { v: 'u32' }, 'v[i] = 1u; v[i] = 2u;'),
  body('store thrice and load', { v: 'u32' }, 'v[i] = 1u; v[i] += 10u; v[i] += 100u; v[i] = v[i] * 2u;'),
  body(
    'conditional store, then load',
    { u: 'read u32', v: 'u32' },
    'if (u[i] % 2u == 0u) { v[i] = 5u; } v[i] = v[i] + 1u;',
  ),
  body('swap', { y: 'f32', z: 'f32' }, 'let t = y[i]; y[i] = z[i]; z[i] = t;'),
  body('swap inside', { v: 'u32' }, 'let t = v[2u * i]; v[2u * i] = v[2u * i + 1u]; v[2u * i + 1u] = t;', {
    extent: [512],
  }),
  body('arrayLength', { v: 'u32' }, 'v[i] = arrayLength(&v) - i;'),
  body('arrayLength as a bound', { u: 'read u32', v: 'u32' }, 'if (i + 1u < arrayLength(&u)) { v[i] = u[i + 1u]; }'),
  body(
    'stencil',
    xy,
    'let l = max(i, 1u) - 1u; let r = min(i + 1u, 1023u); y[i] = 0.25 * x[l] + 0.5 * x[i] + 0.25 * x[r];',
  ),
  body('uniform struct', xy, 'y[i] = x[i] * k.scale + k.offset;', {
    structs: 'struct K { scale: f32, offset: f32 }',
    uniforms: { k: ['K', 1.5, 0.5] },
  }),
  body('two uniforms', uv, 'v[i] = u[i] * a + b;', { uniforms: { a: ['u32', 3], b: ['u32', 4] } }),
  body('nothing to store', { x: 'read f32', y: 'f32' }, 'let a = x[i]; if (a > 1e30) { y[0] = a; }'),
  body(
    'comments and odd lines',
    xy,
    `// y[i] = 1.0;
    /* x[i] /* nested */ */ y[i] // left
      = x[ // index
        i ] ;`,
  ),
]
