// The kernels of the cases, twice each: for a heap, and with bindings written by hand.

import { f32, kernel, read, readWrite } from '../../src/index.ts'

export const WORKGROUP_SIZE = 64

const BODY = `y[id.x] += 2.0 * x[id.x];`

export const saxpy = kernel({
  name: 'saxpy',
  args: { x: read(f32), y: readWrite(f32) },
  code: `
    @compute @workgroup_size(${WORKGROUP_SIZE})
    fn main(@builtin(global_invocation_id) id: vec3u) { ${BODY} }`,
})

export const PLAIN_SAXPY = `
  @group(0) @binding(0) var<storage, read> x: array<f32>;
  @group(0) @binding(1) var<storage, read_write> y: array<f32>;
  @compute @workgroup_size(${WORKGROUP_SIZE})
  fn main(@builtin(global_invocation_id) id: vec3u) {
    if (id.x < arrayLength(&y)) { ${BODY} }
  }`
