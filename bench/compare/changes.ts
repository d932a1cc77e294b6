// A simulation: the CPU changes one page in a hundred, the GPU looks at all of it. The heap finds out which pages they are; by hand the
// program has to remember them, which helps as long as everything is on the device.

import { f32, type Heap, kernel, read, write } from '../../src/index.ts'
import type { PlainGpu } from '../webgpu/plain-gpu.ts'
import { bufferOf, bytesOf, plainKernel, TwoSets } from './hand-written.ts'
import type { Solver, Workload } from './workload.ts'

const WORKGROUP = 64
const PAGE_FLOATS = 1024
/** Particles of one sum. */
const GROUP = 64
const STRIDE = 100

const ENERGIES = {
  name: 'energies',
  args: { speed: read(f32), energies: write(f32) },
  code: `
    @compute @workgroup_size(${WORKGROUP})
    fn main(@builtin(global_invocation_id) id: vec3u) {
      var sum = 0.0;
      for (var i = 0u; i < ${GROUP}u; i++) {
        let v = speed[id.x * ${GROUP}u + i];
        sum += v * v / 2.0;
      }
      energies[id.x] = sum;
    }`,
}

/** Particles: pages whose groups are whole workgroups. */
function lengthOf(nbytes: number): number {
  const npages = Math.floor(nbytes / (4 * (PAGE_FLOATS + PAGE_FLOATS / GROUP)) / 4) * 4
  return npages * PAGE_FLOATS
}

/** Pages that change in a step, as parts of the array, with what they get. */
function changedPages<Bytes extends ArrayBufferLike>(speed: Float32Array<Bytes>, step: number): Float32Array<Bytes>[] {
  const pages: Float32Array<Bytes>[] = []
  for (let at = ((37 * step) % STRIDE) * PAGE_FLOATS; at < speed.length; at += STRIDE * PAGE_FLOATS) {
    pages.push(speed.subarray(at, at + PAGE_FLOATS))
  }
  return pages
}
const valueAt = (step: number) => (step % 50) + 1

export const changes: Workload = {
  name: 'changes',
  summary: 'One page of a hundred written, sums of all, and the sums read',
  tolerance: 0,

  onHeap(nbytes, heap: Heap): Solver {
    const speed = heap.alloc(Float32Array, lengthOf(nbytes), { name: 'speed' })
    const energies = heap.alloc(Float32Array, speed.length / GROUP, { name: 'energies' })
    const launched = kernel(ENERGIES)
    let step = 0
    return {
      result: energies,
      async round() {
        const changed = changedPages(speed, ++step)
        await heap.sync(...changed)
        for (const page of changed) page.fill(valueAt(step))
        await heap.run(launched, { speed, energies }, energies.length)
        await heap.sync(energies, 'read')
      },
    }
  },

  resident(nbytes, gpu: PlainGpu): Solver {
    const speed = new Float32Array(lengthOf(nbytes))
    const energies = new Float32Array(speed.length / GROUP)
    const buffer = bufferOf(gpu, speed)
    const out = gpu.buffer(energies.byteLength)
    const launched = plainKernel(gpu, ENERGIES, [buffer, out])
    let step = 0
    return {
      result: energies,
      async round() {
        for (const page of changedPages(speed, ++step)) {
          page.fill(valueAt(step))
          gpu.device.queue.writeBuffer(buffer, page.byteOffset, page)
        }
        gpu.submit(launched, energies.length / WORKGROUP)
        await gpu.read(out, bytesOf(energies))
      },
    }
  },

  byHand(nbytes, gpu: PlainGpu, memory): Solver {
    const speed = new Float32Array(lengthOf(nbytes))
    const energies = new Float32Array(speed.length / GROUP)
    const partLength = (Math.floor(memory / 2 / 4 / PAGE_FLOATS / 4) * 4 - 4) * PAGE_FLOATS
    const sets = new TwoSets(gpu, (own) => {
      const [part, out] = [own.buffer(4 * partLength), own.buffer((4 * partLength) / GROUP)]
      return { own, part, out, launched: plainKernel(own, ENERGIES, [part, out]) }
    })
    let step = 0
    return {
      result: energies,
      async round() {
        for (const page of changedPages(speed, ++step)) page.fill(valueAt(step))
        await sets.run(speed.length, partLength, async ({ own, part, out, launched }, { from, to }) => {
          own.device.queue.writeBuffer(part, 0, speed, from, to - from)
          own.submit(launched, (to - from) / GROUP / WORKGROUP)
          await own.read(out, bytesOf(energies, from / GROUP, to / GROUP))
        })
      },
    }
  },

  plain(nbytes): Solver {
    const speed = new Float32Array(lengthOf(nbytes))
    const energies = new Float32Array(speed.length / GROUP)
    let step = 0
    return {
      result: energies,
      round() {
        for (const page of changedPages(speed, ++step)) page.fill(valueAt(step))
        for (let group = 0; group < energies.length; group++) {
          let sum = 0
          for (let i = group * GROUP; i < (group + 1) * GROUP; i++) sum += (speed[i] * speed[i]) / 2
          energies[group] = sum
        }
      },
    }
  },
}
