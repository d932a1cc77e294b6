// Vectors, matrices, structs and arrays as elements.

import { fill } from '../paged-run.ts'
import { body, COUNT, type KernelCase } from './table.ts'

const floats = (perElement: number, seed = 1): Uint32Array => fill(COUNT * perElement, seed, 'f32')
const smalls = (perElement: number, seed = 1): Uint32Array => fill(COUNT * perElement, seed, 'small', COUNT)
const NODE = 'struct Node { key: u32, left: u32, right: u32 }'
const BODY = 'struct Body { pos: vec3f, mass: f32, vel: vec3f, id: u32 }'
const DEEP =
  'struct Inner { a: array<u32, 3>, b: vec2f }\nstruct Deep { head: u32, inner: array<Inner, 2>, m: mat2x2f, tail: vec4i }'
// Bytes of Deep: 4 to 8, 2 * 24 to 56, 16 to 72, to 80 and 96.
const DEEP_WORDS = 24
const nodes = { contents: { n: smalls(3) }, structs: NODE }
const bodies = { contents: { b: floats(8) }, structs: BODY }
const deeps = { contents: { d: fill(COUNT * DEEP_WORDS, 3, 'small', 100) }, structs: DEEP }

export const SHAPES: readonly KernelCase[] = [
  body('vec2f', { a: 'read vec2f', b: 'vec2f' }, 'b[i] += a[i] * 2.0;', {
    contents: { a: floats(2), b: floats(2, 2) },
  }),
  body('vec3f', { a: 'read vec3f', b: 'vec3f' }, 'b[i] = a[i].zyx + b[i];', {
    contents: { a: floats(4), b: floats(4, 2) },
  }),
  body('vec4f', { a: 'read vec4f', b: 'vec4f' }, 'b[i] = a[1023u - i];', {
    contents: { a: floats(4), b: floats(4, 2) },
  }),
  body('vec4u', { a: 'vec4u' }, 'a[i] = a[i].wzyx;', { contents: { a: smalls(4) } }),
  body('vec2i', { a: 'vec2i' }, 'a[i] = -a[i] + vec2i(1, 2);', { contents: { a: smalls(2) } }),
  body('component loaded', { a: 'read vec4f', y: 'f32' }, 'y[i] = a[i].y + a[i].w;', { contents: { a: floats(4) } }),
  body('component stored', { a: 'vec4f' }, 'a[i].y = 1.5;', { contents: { a: floats(4) } }),
  body('component by letter of colour', { a: 'vec4f' }, 'a[i].b = a[i].r;', { contents: { a: floats(4) } }),
  body('component updated', { a: 'vec4f' }, 'a[i].z *= 2.0;', { contents: { a: floats(4) } }),
  body('component by index', { a: 'vec4f' }, 'a[i][2] = a[i][i % 4u];', { contents: { a: floats(4) } }),
  body('component by computed index', { a: 'vec4f' }, 'a[i][i % 4u] = 9.0;', { contents: { a: floats(4) } }),
  body('two components', { a: 'vec4f' }, 'a[i].x = 1.0; a[i].y = a[i].x + 1.0;', { contents: { a: floats(4) } }),
  body('whole after component', { a: 'vec4f' }, 'a[i].x = 1.0; a[i] = a[i] * 2.0;', { contents: { a: floats(4) } }),
  body('component after whole', { a: 'vec4f' }, 'a[i] = vec4f(1.0); a[i].x += a[i].y;', { contents: { a: floats(4) } }),
  body('swizzle of a gather', { s: 'read u32', a: 'read vec4f', y: 'f32' }, 'let t = a[s[i]].xz; y[i] = t.x + t.y;', {
    contents: { a: floats(4) },
  }),
  body('dot', { a: 'read vec3f', y: 'f32' }, 'y[i] = dot(a[i], a[1023u - i]);', { contents: { a: floats(4) } }),
  body('mat2x2f', { a: 'read mat2x2f', b: 'vec2f' }, 'b[i] = a[i] * b[i];', {
    contents: { a: floats(4), b: floats(2, 2) },
  }),
  body('mat3x3f', { a: 'read mat3x3f', b: 'vec3f' }, 'b[i] = b[i] * a[i];', {
    contents: { a: floats(12), b: floats(4, 2) },
  }),
  body('mat4x4f', { a: 'mat4x4f' }, 'a[i] = transpose(a[i]);', { contents: { a: floats(16) } }),
  body('mat4x3f', { a: 'mat4x3f' }, 'a[i] = a[i] * 2.0;', { contents: { a: floats(16) } }),
  body('column of a matrix', { a: 'mat4x4f' }, 'a[i][1] = a[i][2];', { contents: { a: floats(16) } }),
  body('element of a matrix', { a: 'mat4x4f' }, 'a[i][1][2] = a[i][3].x;', { contents: { a: floats(16) } }),
  body('column by computed index', { a: 'mat4x4f' }, 'a[i][i % 4u] = vec4f(1.0, 2.0, 3.0, 4.0);', {
    contents: { a: floats(16) },
  }),
  body('fixed arrays', { a: 'array<u32, 5>', v: 'u32' }, 'v[i] = a[i][i % 5u] + a[i][4];', {
    contents: { a: smalls(5) },
  }),
  body('fixed array stored', { a: 'array<u32, 5>' }, 'a[i] = array<u32, 5>(1u, 2u, 3u, 4u, i);', {
    contents: { a: smalls(5) },
  }),
  body(
    'fixed array copied',
    { a: 'array<u32, 5>' },
    'let t = a[i]; a[i] = array<u32, 5>(t[4], t[3], t[2], t[1], t[0]);',
    {
      contents: { a: smalls(5) },
    },
  ),
  body('long fixed array', { a: 'array<u32, 20>', v: 'u32' }, 'var t = a[i]; v[i] = t[i % 20u] + t[19];', {
    contents: { a: smalls(20) },
  }),
  body('long fixed array stored', { a: 'array<u32, 20>' }, 'var t = a[i]; t[3] = 77u; a[i] = t;', {
    contents: { a: smalls(20) },
  }),
  body('arrays of arrays', { a: 'array<array<u32, 3>, 2>' }, 'a[i][1][2] = a[i][0][i % 3u];', {
    contents: { a: smalls(6) },
  }),
  body('member', { n: 'Node', v: 'u32' }, 'v[i] = n[i].key + n[i].right;', nodes),
  body('member stored', { n: 'Node' }, 'n[i].left = i; n[i].right = n[i].key;', nodes),
  body('member updated', { n: 'Node' }, 'n[i].key += n[i].left; n[i].key++;', nodes),
  body('struct loaded', { n: 'Node', v: 'u32' }, 'let t = n[i]; v[i] = t.key ^ t.left ^ t.right;', nodes),
  body('struct stored', { n: 'Node' }, 'n[i] = Node(i, i + 1u, i + 2u);', nodes),
  body('struct copied', { n: 'Node', m: 'Node' }, 'm[1023u - i] = n[i];', {
    contents: { n: smalls(3), m: smalls(3, 9) },
    structs: NODE,
  }),
  body('struct changed', { n: 'Node' }, 'var t = n[i]; t.key *= 2u; n[i] = t;', nodes),
  body(
    'struct stored, member loaded',
    { n: 'Node' },
    'n[i] = Node(5u, 6u, 7u); n[i].key = n[i].left + n[i].right;',
    nodes,
  ),
  body('struct, then its member stored', { n: 'Node' }, 'n[i] = Node(5u, 6u, 7u); n[i].left = 9u;', nodes),
  body('member of a member', { n: 'Node', v: 'u32' }, 'v[i] = n[n[i].left].right;', nodes),
  body('struct with vectors', { b: 'Body' }, 'b[i].pos += b[i].vel * 0.5; b[i].id = i;', bodies),
  body('component of a member', { b: 'Body' }, 'b[i].pos.x += b[i].vel.z; b[i].vel.y = b[i].mass;', bodies),
  body(
    'struct with vectors loaded',
    { b: 'Body', y: 'f32' },
    'let t = b[i]; y[i] = t.pos.x * t.mass + t.vel.z;',
    bodies,
  ),
  body('struct with vectors stored', { b: 'Body' }, 'b[i] = Body(vec3f(1, 2, 3), 4, b[i].pos, i);', bodies),
  body('deep member', { d: 'Deep', v: 'u32' }, 'v[i] = d[i].inner[1].a[i % 3u] + d[i].head;', deeps),
  body('deep member stored', { d: 'Deep' }, 'd[i].inner[i % 2u].a[2] = i; d[i].tail.w = -i32(i);', deeps),
  body('deep part', { d: 'Deep' }, 'd[i].inner[0] = d[i].inner[1];', deeps),
  body('deep matrix', { d: 'Deep' }, 'd[i].m[1].x = d[i].m[0].y; d[i].m[0] = vec2f(1.0, 2.0);', deeps),
  body('deep whole', { d: 'Deep' }, 'd[i] = d[1023u - i];', { ...deeps, extent: [512] }),
  body('struct of the module', { v: 'u32' }, 'var t: Pair; t.a = v[i]; t.b = t.a * 2u; v[i] = sum(t);', {
    module: 'struct Pair { a: u32, b: u32 }\nfn sum(t: Pair) -> u32 { return t.a + t.b; }',
  }),
  body(
    'array in function memory',
    { u: 'read u32', v: 'u32' },
    'var t: array<u32, 4>; for (var k = 0u; k < 4u; k++) { t[k] = u[(i + k) % 1024u]; } v[i] = t[0] + t[1] * 2u + t[2] + t[3];',
  ),
]
