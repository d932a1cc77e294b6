// Conjugate gradients on the five-point star: five vectors that every step uses as a whole, and a number that the CPU has to know in the
// middle of each, so nobody can do several steps on one part. The two kernels are what the formulas of a step come down to; a
// row of zeros above and below the grid spares them the question where it ends.
//
//   direction' = residual + factor * direction      product = A direction'      step = residual^2 / (direction' * product)
//   u += step * direction'      residual -= step * product      factor = residual'^2 / residual^2

import { f32, type Heap, kernel, read, readWrite, uniform, write } from '../../src/index.ts'
import type { PlainGpu } from '../webgpu/plain-gpu.ts'
import { bufferOf, bytesOf, plainKernel, TwoSets, uniformBuffer } from './hand-written.ts'
import type { Solver, Workload } from './workload.ts'

const WORKGROUP = 64
/** Of a row of the grid. */
const COLUMNS = 512
const STEPS_PER_ROUND = 1

/** Neighbouring points of an invocation, which it sums up: that is cheaper than barriers. */
const STRIP = 32

const CONSTANTS = `const COLUMNS = ${COLUMNS}u; const STRIP = ${STRIP}u;`
const MAIN = `@compute @workgroup_size(${WORKGROUP}) fn main(@builtin(global_invocation_id) id: vec3u)`

const TURN = {
  name: 'turn',
  args: {
    residual: read(f32),
    before: read(f32),
    direction: write(f32),
    product: write(f32),
    partial: write(f32),
    factor: uniform(f32),
  },
  code: `
    ${CONSTANTS}
    fn turned(i: u32) -> f32 { return residual[i] + factor * before[i]; }
    ${MAIN} {
      var sum = 0.0;
      for (var k = 0u; k < STRIP; k++) {
        let point = id.x * STRIP + k;
        let i = point + COLUMNS;
        let column = point % COLUMNS;
        let centre = turned(i);
        var value = 4.0 * centre - turned(i - COLUMNS) - turned(i + COLUMNS);
        if (column > 0u) { value -= turned(i - 1u); }
        if (column < COLUMNS - 1u) { value -= turned(i + 1u); }
        direction[i] = centre;
        product[point] = value;
        sum += centre * value;
      }
      partial[id.x] = sum;
    }`,
}

const DESCEND = {
  name: 'descend',
  args: {
    u: readWrite(f32),
    residual: readWrite(f32),
    direction: read(f32),
    product: read(f32),
    partial: write(f32),
    step: uniform(f32),
  },
  code: `
    ${CONSTANTS}
    ${MAIN} {
      var sum = 0.0;
      for (var k = 0u; k < STRIP; k++) {
        let point = id.x * STRIP + k;
        let i = point + COLUMNS;
        u[point] += step * direction[i];
        let left = residual[i] - step * product[point];
        residual[i] = left;
        sum += left * left;
      }
      partial[id.x] = sum;
    }`,
}

/** Rows that are whole workgroups. */
const ROWS = (WORKGROUP * STRIP) / COLUMNS
/** Points of the grid. */
const lengthOf = (nbytes: number) => Math.floor(nbytes / 4 / 5 / COLUMNS / ROWS) * ROWS * COLUMNS
const padded = (length: number) => length + 2 * COLUMNS
const sum = (values: Float32Array) => values.reduce((total, value) => total + value, 0)

/** Fills the residual that u = 0 leaves; something of every frequency is in it. */
function fillResidual(residual: Float32Array): void {
  for (let i = COLUMNS; i < residual.length - COLUMNS; i++) residual[i] = ((i * 7919) % 101) / 101
}

/** The two halves of a step, each with what the CPU needs of it: direction * product, and residual^2. */
interface Halves {
  turn(factor: number): Promise<number> | number
  descend(step: number): Promise<number> | number
}

/** The loop that all ways have in common; the results are the squares of the residuals. */
function loop(residual: Float32Array, { turn, descend }: Halves): Solver {
  const result = new Float32Array(STEPS_PER_ROUND)
  let squared = residual.reduce((total, value) => total + value * value, 0)
  let factor = 0
  return {
    result,
    async round() {
      for (let i = 0; i < STEPS_PER_ROUND; i++) {
        const step = squared / (await turn(factor))
        const next = await descend(step)
        factor = next / squared
        squared = next
        result[i] = squared
      }
    },
  }
}

export const conjugateGradient: Workload = {
  name: 'cg',
  summary: `${STEPS_PER_ROUND} steps of conjugate gradients`,
  tolerance: 1e-3,

  onHeap(nbytes, heap: Heap): Solver {
    const length = lengthOf(nbytes)
    const [turn, descend] = [kernel(TURN), kernel(DESCEND)]
    const alloc = (name: string, n: number) => heap.alloc(Float32Array, n, { name })
    const [u, product] = [alloc('u', length), alloc('product', length)]
    const partial = alloc('partial sums', length / STRIP)
    const residual = alloc('residual', padded(length))
    let [before, direction] = [alloc('direction 0', padded(length)), alloc('direction 1', padded(length))]
    fillResidual(residual)
    const summed = async () => {
      await heap.sync(partial, 'read')
      return sum(partial)
    }
    return loop(residual.slice(), {
      async turn(factor) {
        await heap.run(turn, { residual, before, direction, product, partial, factor }, partial.length)
        return await summed()
      },
      async descend(step) {
        await heap.run(descend, { u, residual, direction, product, partial, step }, partial.length)
        ;[before, direction] = [direction, before]
        return await summed()
      },
    })
  },

  resident(nbytes, gpu: PlainGpu): Solver {
    const length = lengthOf(nbytes)
    const values = new Float32Array(padded(length))
    const partial = new Float32Array(length / STRIP)
    fillResidual(values)
    const { queue } = gpu.device
    const [u, product, sums] = [gpu.buffer(4 * length), gpu.buffer(4 * length), gpu.buffer(partial.byteLength)]
    const residual = bufferOf(gpu, values)
    const directions = [gpu.buffer(values.byteLength), gpu.buffer(values.byteLength)]
    const number = uniformBuffer(gpu)
    // One of each for every direction in which the two of them are used.
    const turns = [0, 1].map((i) =>
      plainKernel(gpu, TURN, [residual, directions[i], directions[1 - i], product, sums, number]),
    )
    const descents = [0, 1].map((i) =>
      plainKernel(gpu, DESCEND, [u, residual, directions[1 - i], product, sums, number]),
    )
    let at = 0
    const launch = async (kernels: typeof turns, value: number) => {
      queue.writeBuffer(number, 0, Float32Array.of(value))
      gpu.submit(kernels[at], partial.length / WORKGROUP)
      await gpu.read(sums, bytesOf(partial))
      return sum(partial)
    }
    return loop(values, {
      turn: (factor) => launch(turns, factor),
      async descend(step) {
        const squared = await launch(descents, step)
        at = 1 - at
        return squared
      },
    })
  },

  byHand(nbytes, gpu: PlainGpu, memory): Solver {
    const length = lengthOf(nbytes)
    const { queue } = gpu.device
    const [u, product] = [new Float32Array(length), new Float32Array(length)]
    const partial = new Float32Array(length / STRIP)
    const residual = new Float32Array(padded(length))
    let [before, direction] = [new Float32Array(padded(length)), new Float32Array(padded(length))]
    fillResidual(residual)
    // Two sets of four vectors, of whole rows, with one more above and below.
    const partLength = (Math.floor(memory / 8 / 4 / COLUMNS / ROWS) - 1) * ROWS * COLUMNS
    const number = uniformBuffer(gpu)
    const sets = new TwoSets(gpu, (own) => {
      const [a, b, c] = [0, 1, 2].map(() => own.buffer(4 * padded(partLength)))
      const [d, sums] = [own.buffer(4 * partLength), own.buffer((4 * partLength) / STRIP)]
      return {
        ...{ own, a, b, c, d, sums },
        turn: plainKernel(own, TURN, [a, b, c, d, sums, number]),
        descend: plainKernel(own, DESCEND, [d, a, b, c, sums, number]),
      }
    })
    return loop(residual, {
      async turn(factor) {
        queue.writeBuffer(number, 0, Float32Array.of(factor))
        await sets.run(length, partLength, async ({ own, a, b, c, d, sums, turn }, { from, to }) => {
          queue.writeBuffer(a, 0, residual, from, padded(to - from))
          queue.writeBuffer(b, 0, before, from, padded(to - from))
          own.submit(turn, (to - from) / STRIP / WORKGROUP)
          await own.readAll([
            { buffer: c, offset: 4 * COLUMNS, target: bytesOf(direction, from + COLUMNS, to + COLUMNS) },
            { buffer: d, target: bytesOf(product, from, to) },
            { buffer: sums, target: bytesOf(partial, from / STRIP, to / STRIP) },
          ])
        })
        return sum(partial)
      },
      async descend(step) {
        queue.writeBuffer(number, 0, Float32Array.of(step))
        await sets.run(length, partLength, async ({ own, a, b, c, d, sums, descend }, { from, to }) => {
          const n = to - from
          queue.writeBuffer(d, 0, u, from, n)
          queue.writeBuffer(a, 4 * COLUMNS, residual, from + COLUMNS, n)
          queue.writeBuffer(b, 4 * COLUMNS, direction, from + COLUMNS, n)
          queue.writeBuffer(c, 0, product, from, n)
          own.submit(descend, n / STRIP / WORKGROUP)
          await own.readAll([
            { buffer: d, target: bytesOf(u, from, to) },
            { buffer: a, offset: 4 * COLUMNS, target: bytesOf(residual, from + COLUMNS, to + COLUMNS) },
            { buffer: sums, target: bytesOf(partial, from / STRIP, to / STRIP) },
          ])
        })
        ;[before, direction] = [direction, before]
        return sum(partial)
      },
    })
  },

  plain(nbytes): Solver {
    const length = lengthOf(nbytes)
    const [u, product] = [new Float32Array(length), new Float32Array(length)]
    const residual = new Float32Array(padded(length))
    let [before, direction] = [new Float32Array(padded(length)), new Float32Array(padded(length))]
    fillResidual(residual)
    return loop(residual, {
      turn(factor) {
        // First all of the direction, in which neighbours are then looked up.
        for (let i = COLUMNS; i < length + COLUMNS; i++) direction[i] = residual[i] + factor * before[i]
        let total = 0
        for (let k = 0; k < length; k++) {
          const i = k + COLUMNS
          const column = k % COLUMNS
          let value = 4 * direction[i] - direction[i - COLUMNS] - direction[i + COLUMNS]
          if (column > 0) value -= direction[i - 1]
          if (column < COLUMNS - 1) value -= direction[i + 1]
          product[k] = value
          total += direction[i] * value
        }
        return total
      },
      descend(step) {
        let total = 0
        for (let k = 0; k < length; k++) {
          u[k] += step * direction[k + COLUMNS]
          const left = residual[k + COLUMNS] - step * product[k]
          residual[k + COLUMNS] = left
          total += left * left
        }
        ;[before, direction] = [direction, before]
        return total
      },
    })
  },
}
