// Generates text with a small transformer, whose weights are in a file and are more than the device has room for.
//
// `map` shows the file as an array. Its pages are read when they are needed, and go through the device layer by layer for each
// token; the keys and values of earlier tokens stay there. Rows of a matrix, and the place where a key goes, are just `subarray`s.
//
// The weights are random, so the text is nonsense. That plain JavaScript makes the same nonsense is what is checked.
//
// Prints:
//   weights: 6 MiB in a file, the device: 2 MiB
//   text: "..."
//   the same as on the CPU, to ...

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Batch, f32, formatSize, kernel, openHeap, read, readWrite, u32, uniform, write } from 'hetmem'

const WIDTH = 128
const HEAD_WIDTH = 32
const HIDDEN = 4 * WIDTH
const LAYERS = 8
const VOCABULARY = 96 // characters, from the space on
const CONTEXT = 12
const memory = '2 MiB'

// ---- what a layer is made of, for the GPU ----

/** y = W x, or y + W x; one row for each invocation. */
const multiplyRows = kernel({
  name: 'multiply',
  args: {
    w: read(f32),
    x: read(f32),
    y: readWrite(f32),
    columns: uniform(u32),
    keep: uniform(f32),
    least: uniform(f32),
  },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      var sum = keep * y[id.x];
      for (var k = 0u; k < columns; k++) { sum += w[id.x * columns + k] * x[k]; }
      y[id.x] = max(sum, least);
    }`,
})

const normalizeAll = kernel({
  name: 'normalize',
  args: { x: read(f32), y: write(f32), length: uniform(u32) },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      var squares = 0.0;
      for (var k = 0u; k < length; k++) { squares += x[k] * x[k]; }
      y[id.x] = x[id.x] / sqrt(squares / f32(length) + 1e-5);
    }`,
})

/** What a token takes from those before it, weighted by how well its query fits their keys. */
const attendTo = kernel({
  name: 'attend',
  args: { query: read(f32), keys: read(f32), values: read(f32), y: write(f32), count: uniform(u32) },
  code: /* wgsl */ `
    @compute @workgroup_size(64)
    fn main(@builtin(global_invocation_id) id: vec3u) {
      let head = id.x / ${HEAD_WIDTH}u * ${HEAD_WIDTH}u;
      var total = 0.0;
      var sum = 0.0;
      for (var t = 0u; t < count; t++) {
        var fit = 0.0;
        for (var k = 0u; k < ${HEAD_WIDTH}u; k++) { fit += query[head + k] * keys[t * ${WIDTH}u + head + k]; }
        let weight = exp(fit / sqrt(${HEAD_WIDTH}.0));
        total += weight;
        sum += weight * values[t * ${WIDTH}u + id.x];
      }
      y[id.x] = sum / total;
    }`,
})

interface MultiplyOptions {
  /** Add to what is in y. */
  readonly add?: boolean
  /** Nothing below zero. */
  readonly rectify?: boolean
}

/** The three operations, on whatever computes them. */
interface Operations {
  multiply(w: Float32Array, x: Float32Array, y: Float32Array, options?: MultiplyOptions): void
  normalize(x: Float32Array, y: Float32Array): void
  attend(query: Float32Array, keys: Float32Array, values: Float32Array, y: Float32Array, count: number): void
}

const onGpu = (batch: Batch): Operations => ({
  multiply(w, x, y, { add = false, rectify = false } = {}) {
    const least = rectify ? 0 : -3e38
    batch.run(multiplyRows, { w, x, y, columns: x.length, keep: add ? 1 : 0, least }, y.length)
  },
  normalize: (x, y) => batch.run(normalizeAll, { x, y, length: x.length }, x.length),
  attend: (query, keys, values, y, count) => batch.run(attendTo, { query, keys, values, y, count }, y.length),
})

const onCpu: Operations = {
  multiply(w, x, y, { add = false, rectify = false } = {}) {
    for (let row = 0; row < y.length; row++) {
      let sum = add ? y[row] : 0
      for (let k = 0; k < x.length; k++) sum += w[row * x.length + k] * x[k]
      y[row] = rectify ? Math.max(sum, 0) : sum
    }
  },
  normalize(x, y) {
    const squares = x.reduce((sum, value) => sum + value * value, 0)
    for (let i = 0; i < x.length; i++) y[i] = x[i] / Math.sqrt(squares / x.length + 1e-5)
  },
  attend(query, keys, values, y, count) {
    for (let i = 0; i < y.length; i++) {
      const head = i - (i % HEAD_WIDTH)
      let total = 0
      let sum = 0
      for (let t = 0; t < count; t++) {
        let fit = 0
        for (let k = 0; k < HEAD_WIDTH; k++) fit += query[head + k] * keys[t * WIDTH + head + k]
        const weight = Math.exp(fit / Math.sqrt(HEAD_WIDTH))
        total += weight
        sum += weight * values[t * WIDTH + i]
      }
      y[i] = sum / total
    }
  },
}

// ---- the model ----

class Weights {
  readonly embedding: Float32Array
  readonly layers: readonly Record<'query' | 'key' | 'value' | 'out' | 'up' | 'down', Float32Array>[]

  constructor(all: Float32Array) {
    let used = 0
    const matrix = (rows: number, columns: number) => {
      used += rows * columns
      return all.subarray(used - rows * columns, used)
    }
    this.embedding = matrix(VOCABULARY, WIDTH)
    this.layers = Array.from({ length: LAYERS }, () => ({
      query: matrix(WIDTH, WIDTH),
      key: matrix(WIDTH, WIDTH),
      value: matrix(WIDTH, WIDTH),
      out: matrix(WIDTH, WIDTH),
      up: matrix(HIDDEN, WIDTH),
      down: matrix(WIDTH, HIDDEN),
    }))
  }

  static readonly length = VOCABULARY * WIDTH + LAYERS * (4 * WIDTH * WIDTH + 2 * WIDTH * HIDDEN)
}

/** What changes while text is made. `alloc` makes an array. */
function makeState(alloc: (length: number, name: string) => Float32Array) {
  return {
    x: alloc(WIDTH, 'x'),
    normal: alloc(WIDTH, 'normal'),
    query: alloc(WIDTH, 'query'),
    attended: alloc(WIDTH, 'attended'),
    hidden: alloc(HIDDEN, 'hidden'),
    logits: alloc(VOCABULARY, 'logits'),
    keys: alloc(LAYERS * CONTEXT * WIDTH, 'keys'),
    values: alloc(LAYERS * CONTEXT * WIDTH, 'values'),
  }
}
type State = ReturnType<typeof makeState>

function runLayer(on: Operations, weights: Weights, state: State, layer: number, position: number): void {
  const { query, key, value, out, up, down } = weights.layers[layer]
  const { x, normal, attended, hidden } = state
  const ofLayer = (cache: Float32Array) => cache.subarray(layer * CONTEXT * WIDTH, (layer + 1) * CONTEXT * WIDTH)
  const ofToken = (cache: Float32Array) => ofLayer(cache).subarray(position * WIDTH, (position + 1) * WIDTH)
  on.normalize(x, normal)
  on.multiply(query, normal, state.query)
  on.multiply(key, normal, ofToken(state.keys))
  on.multiply(value, normal, ofToken(state.values))
  on.attend(state.query, ofLayer(state.keys), ofLayer(state.values), attended, position + 1)
  on.multiply(out, attended, x, { add: true })
  on.normalize(x, normal)
  on.multiply(up, normal, hidden, { rectify: true })
  on.multiply(down, hidden, x, { add: true })
}

function runHead(on: Operations, weights: Weights, { x, normal, logits }: State): void {
  on.normalize(x, normal)
  on.multiply(weights.embedding, normal, logits)
}

function embed({ embedding }: Weights, { x }: State, token: number): void {
  x.set(embedding.subarray(token * WIDTH, (token + 1) * WIDTH))
}

// ---- text ----

const folder = mkdtempSync(join(tmpdir(), 'hetmem-example-'))
const heap = await openHeap({ device: { memory } })
try {
  const file = join(folder, 'weights.bin')
  writeFileSync(file, makeWeights())
  const all = await heap.map(file, Float32Array, { name: 'weights' })
  const weights = new Weights(all)
  console.log(`weights: ${formatSize(Math.floor(all.byteLength / 2 ** 20) * 2 ** 20)} in a file, the device: ${memory}`)

  const state = makeState((length, name) => heap.alloc(Float32Array, length, { name }))
  const plain = makeState((length) => new Float32Array(length))
  let token = 'h'.charCodeAt(0) - 32
  let text = ''
  let difference = 0
  for (let position = 0; position < CONTEXT; position++) {
    await heap.sync(state.x)
    embed(weights, state, token)
    embed(weights, plain, token)
    for (let layer = 0; layer < LAYERS; layer++) {
      await heap.batch((batch) => runLayer(onGpu(batch), weights, state, layer, position))
      runLayer(onCpu, weights, plain, layer, position)
    }
    await heap.batch((batch) => runHead(onGpu(batch), weights, state))
    runHead(onCpu, weights, plain)
    await heap.sync(state.logits, 'read')
    difference = plain.logits.reduce((most, value, i) => Math.max(most, Math.abs(value - state.logits[i])), difference)
    token = state.logits.indexOf(Math.max(...state.logits))
    text += String.fromCharCode(32 + token)
  }
  console.log(`text: ${JSON.stringify(text)}`)
  console.log(`the same as on the CPU, to ${difference.toExponential(1)}`)
  if (!(difference < 1e-2)) throw new Error('the GPU and the CPU do not agree')
} finally {
  await heap.close()
  rmSync(folder, { recursive: true })
}

/** Numbers that look random and are the same every time. */
function makeWeights(): Float32Array {
  let seed = 1
  return Float32Array.from({ length: Weights.length }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return (seed / 2 ** 31 - 1) * 0.15
  })
}
