// Functions, pointers, scopes and constants.

import { fill } from '../paged-run.ts'
import { body, COUNT, type KernelCase } from './table.ts'

const xy = { x: 'read f32', y: 'f32' }
const uv = { u: 'read u32', v: 'u32' }
const NODE = 'struct Node { key: u32, left: u32, right: u32 }'
const nodes = { contents: { n: fill(COUNT * 3, 1, 'small', COUNT) }, structs: NODE }

export const FUNCTIONS: readonly KernelCase[] = [
  body('function of a value', xy, 'y[i] = twice(x[i]);', { module: 'fn twice(a: f32) -> f32 { return 2.0 * a; }' }),
  body('function that loads', xy, 'y[i] = at(i) + at(1023u - i);', { module: 'fn at(k: u32) -> f32 { return x[k]; }' }),
  body('function that stores', xy, 'put(i, x[i]);', { module: 'fn put(k: u32, a: f32) { y[k] = a; }' }),
  body('function that stores, called twice', { v: 'u32' }, 'put(2u * i, 1u); put(2u * i + 1u, 2u);', {
    module: 'fn put(k: u32, a: u32) { v[k] = a + k; }',
    extent: [512],
  }),
  body('function that updates, called thrice', { v: 'u32' }, 'add(i, 1u); add(i, 10u); add(i, 100u);', {
    module: 'fn add(k: u32, a: u32) { v[k] += a; }',
  }),
  body('functions of functions', { v: 'u32' }, 'outer(i); outer(i);', {
    module: 'fn inner(k: u32) { v[k] = v[k] * 3u + 1u; }\nfn outer(k: u32) { inner(k); inner(k); }',
  }),
  body('function with a result and a store', { v: 'u32' }, 'let a = bump(i); v[i] = v[i] + a;', {
    module: 'fn bump(k: u32) -> u32 { v[k] += 5u; return v[k]; }',
  }),
  body('function in an index', { s: 'read u32', v: 'u32' }, 'v[hop(i)] = 1u;', {
    module: 'fn hop(k: u32) -> u32 { return s[s[k]]; }',
  }),
  body('function in a condition', uv, 'if (odd(i)) { v[i] = 1u; }', {
    module: 'fn odd(k: u32) -> bool { return u[k] % 2u == 1u; }',
  }),
  body('function with early return', uv, 'v[i] = f(i);', {
    module: 'fn f(k: u32) -> u32 { if (u[k] > 99u) { return 1u; } return u[k]; }',
  }),
  body('pointer', { v: 'u32' }, 'let a = &v[i]; *a = *a + 1u;'),
  body('pointer updated', { v: 'u32' }, 'let a = &v[i]; *a += 7u; (*a)++;'),
  body('pointer to a member', { n: 'Node' }, 'let a = &n[i].left; *a = *a * 2u;', nodes),
  body('pointer to a struct', { n: 'Node' }, 'let a = &n[i]; (*a).key = (*a).left; a.right = a.key;', nodes),
  body('pointer to a component', { n: 'vec4u' }, 'let a = &n[i]; (*a).y = (*a).x; a.z = a.w; a[3] = 0u;', {
    contents: { n: fill(COUNT * 4, 2) },
  }),
  body('pointer of a pointer', { n: 'Node' }, 'let a = &n[i]; let b = &(*a).right; *b = 4u;', nodes),
  body('typed pointer', { v: 'u32' }, 'let a: ptr<storage, u32, read_write> = &v[i]; *a = i;'),
  body('pointer that nobody follows', { v: 'u32' }, 'let a = &v[i + 5000u]; if (i > 5000u) { *a = 1u; } v[i] = i;'),
  body('pointer and index', { v: 'u32' }, 'let a = &v[i]; v[i] = 3u; *a = *a + 1u; v[i] += *a;'),
  body('address and back', { v: 'u32' }, '*&v[i] = *(&v[i]) + 1u;'),
  body('pointer parameter', { v: 'u32' }, 'add(&v[i], 3u);', {
    module: 'fn add(a: ptr<storage, u32, read_write>, b: u32) { *a += b; }',
  }),
  body('pointer parameter, two arrays', { v: 'u32', w: 'u32' }, 'add(&v[i]); add(&w[1023u - i]);', {
    module: 'fn add(a: ptr<storage, u32, read_write>) { *a = *a * 2u + 1u; }',
    contents: { w: fill(COUNT, 9) },
  }),
  body('pointer parameter to a struct', { n: 'Node' }, 'touch(&n[i]);', {
    ...nodes,
    module:
      'fn touch(a: ptr<storage, Node, read_write>) { a.key = a.left + a.right; touch2(&a.left); }\nfn touch2(a: ptr<storage, u32, read_write>) { *a = 0u; }',
  }),
  body('pointer to all of an array', { v: 'u32' }, 'assign(&v, i);', {
    module: 'fn assign(a: ptr<storage, array<u32>, read_write>, k: u32) { (*a)[k] = arrayLength(a) - k; a[k] += 1u; }',
  }),
  body('pointer to all of two arrays', { v: 'u32', w: 'u32' }, 'carry(&v, &w, i);', {
    module: `fn carry(a: ptr<storage, array<u32>, read_write>, b: ptr<storage, array<u32>, read_write>, k: u32) {
      let source = &(*a)[k]; (*b)[1023u - k] = *source; }`,
    contents: { w: fill(COUNT, 9) },
  }),
  body('alias of a pointer', { v: 'u32' }, 'add(&v[i]);', {
    module: 'alias Word = ptr<storage, u32, read_write>;\nfn add(a: Word) { *a += 2u; }',
  }),
  body('pointer into function memory', xy, 'var t = x[i]; square(&t); y[i] = t;', {
    module: 'fn square(a: ptr<function, f32>) { *a *= *a; }',
  }),
  body('pointer into private memory', xy, 'kept = x[i]; square(); y[i] = kept;', {
    module: 'var<private> kept: f32 = 1.0;\nfn square() { let a = &kept; *a *= *a; }',
  }),
  body('private counter', { v: 'u32' }, 'count(); count(); v[i] = n;', {
    module: 'var<private> n: u32 = 5u;\nfn count() { n++; }',
  }),
  body('shadowed by let', xy, 'let z = x[i]; { let x = 3.0; y[i] = z + x; }'),
  body(
    'shadowed by var',
    { v: 'u32' },
    'v[i] = 1u; { var v = array<u32, 2>(5u, 6u); v[0] = 7u; _ = v[1]; } v[i] += 1u;',
  ),
  body('shadowed by parameter', xy, 'y[i] = f(x[i]);', { module: 'fn f(x: f32) -> f32 { return x + 1.0; }' }),
  body('shadowed by loop variable', { v: 'u32' }, 'var t = v[i]; for (var v = 0u; v < 3u; v++) { t += v; } v[i] = t;'),
  body('shadowed builtin in a function', { v: 'u32' }, 'let max = v[i]; let min = 3u; v[i] = max + min;'),
  body('constants', xy, 'y[i] = x[(i + SHIFT) % SIZE] * SCALE;', {
    module: 'const SHIFT = 5u;\nconst SIZE: u32 = 1024;\nconst SCALE = 2;',
  }),
  body('overrides', xy, 'y[i] = x[(i + SHIFT) % 1024u];', {
    module: 'override SHIFT: u32 = 3u;',
    constants: { SHIFT: 9 },
  }),
  body('override left alone', xy, 'y[i] = x[(i + SHIFT) % 1024u];', { module: 'override SHIFT: u32 = 3u;' }),
  body('override as workgroup size', xy, 'y[i] = x[i];', {
    module: 'override W: u32 = 64u;',
    size: 'W',
    constants: { W: 32 },
  }),
  body('constant array', { v: 'u32' }, 'v[i] = TABLE[i % 4u];', { module: 'const TABLE = array<u32, 4>(3, 1, 4, 1);' }),
  body('alias', { a: 'V', b: 'V' }, 'b[i] = a[i] + V(1.0);', {
    structs: 'alias V = vec4f;',
    contents: { a: fill(COUNT * 4, 1, 'f32'), b: fill(COUNT * 4, 2, 'f32') },
  }),
  body('diagnostic and must_use', xy, 'y[i] = f(i);', { module: '@must_use fn f(k: u32) -> f32 { return x[k]; }' }),
  body('entry point with a struct', { v: 'u32' }, 'v[b.id.x] = b.local + b.group.x * 64u;', {
    module:
      'struct In { @builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u }',
    params: 'b: In',
  }),
  body('all ids', { v: 'u32' }, 'v[id.x] = local.x + index * 100u + group.x * 10000u + groups.x * 1000000u;', {
    params: `@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_id) local: vec3u,
      @builtin(local_invocation_index) index: u32, @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u`,
  }),
  body('two dimensions', { v: 'u32' }, 'v[id.x + id.y * 32u] = id.x * 100u + id.y;', {
    size: '8, 8',
    extent: [32, 32],
  }),
  body(
    'three dimensions',
    { v: 'u32' },
    'v[id.x + id.y * 8u + id.z * 64u] = id.x + 100u * local.y + 10000u * group.z;',
    {
      size: '4, 2, 2',
      extent: [8, 8, 16],
      params: `@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_id) local: vec3u, @builtin(workgroup_id) group: vec3u`,
    },
  ),
  body('transpose', { x: 'read f32', y: 'f32' }, 'y[id.y + id.x * 32u] = x[id.x + id.y * 32u];', {
    size: '8, 8',
    extent: [32, 32],
  }),
  {
    ...body('another entry point', { v: 'u32' }, 'v[i] = 1u;', {
      module:
        '@compute @workgroup_size(64)\nfn other(@builtin(global_invocation_id) id: vec3u) { v[id.x] = missing(id.x); }\nfn missing(k: u32) -> u32 { return k * 2u; }',
    }),
    entry: 'other',
  },
]
