// Kernels through a page table and with bindings of their own, on data that is all on the device.

import { readWrite } from '../../src/kernel/argument.ts'
import { f32, u32 } from '../../src/kernel/data-type.ts'
import { compilePaged } from '../../src/kernel/paged/compile-paged.ts'
import { PagedDispatch } from '../../src/kernel/paged/paged-dispatch.ts'
import { createPagedPipeline } from '../../src/kernel/paged/paged-pipeline.ts'
import { spanCode } from '../../src/kernel/spans.ts'
import { analyse, parseWgsl } from '../../src/wgsl/index.ts'
import type { Contest } from '../harness.ts'
import { PlainGpu } from '../webgpu/plain-gpu.ts'
import { milliseconds } from '../webgpu/resident.ts'
import { ResidentPages } from './resident-pages.ts'

export interface BenchKernel {
  readonly name: string
  readonly code: string
  /** Element types and words by name, a power of two of them. */
  readonly args: Readonly<Record<string, { readonly type: string; readonly words: () => Uint32Array }>>
  readonly invocations: number
  /** What runs with bindings of its own, where that is not the same code. */
  readonly plain?: string
}

const WORKGROUP = 64
/** Arguments begin here and behind each other. */
const FIRST_WORD = 1024

function declarations({ args }: BenchKernel, bindings: boolean): string {
  return Object.entries(args)
    .map(([name, { type }], k) => {
      return `${bindings ? `@group(0) @binding(${k}) ` : ''}var<storage, read_write> ${name}: array<${type}>;`
    })
    .join('\n')
}

/** Milliseconds for one launch; against the same WGSL with bindings of its own. */
export async function prepareResidentKernel(kernel: BenchKernel): Promise<Contest> {
  const gpu = await PlainGpu.open()
  const buffers = Object.values(kernel.args).map(({ words }) => {
    const contents = words()
    const buffer = gpu.buffer(contents.byteLength)
    gpu.device.queue.writeBuffer(buffer, 0, contents as Uint32Array<ArrayBuffer>)
    return buffer
  })
  const plain = gpu.kernel(`${declarations(kernel, true)}\n${kernel.plain ?? kernel.code}`, buffers)
  return {
    candidate: await residentLaunch(gpu, kernel, 'bound'),
    baseline: () =>
      milliseconds(async () => {
        gpu.submit(plain, kernel.invocations / WORKGROUP)
        await gpu.done()
      }),
  }
}

/** A kernel with its atomics bound directly, against the same with them in the pool. */
export async function prepareBoundAtomics(kernel: BenchKernel): Promise<Contest> {
  const gpu = await PlainGpu.open()
  return {
    candidate: await residentLaunch(gpu, kernel, 'bound'),
    baseline: await residentLaunch(gpu, kernel, 'pool'),
  }
}

/** Launches through a page table, with atomics bound directly if there are any, or not. */
async function residentLaunch(
  { device }: PlainGpu,
  kernel: BenchKernel,
  atomics: 'bound' | 'pool',
): Promise<() => Promise<number>> {
  const arrays = Object.values(kernel.args).map(({ words }) => words())
  const heap = new Uint32Array(FIRST_WORD + arrays.reduce((sum, { length }) => sum + length, 0))
  let next = FIRST_WORD
  const args = arrays.map((words) => {
    heap.set(words, next)
    next += words.length
    return { word: next - words.length, length: words.length }
  })
  const pages = new ResidentPages(device, heap)
  const prelude = parseWgsl(declarations(kernel, false))
  const types = Object.entries(kernel.args).map(([name, { type }]) => [name, readWrite(type === 'f32' ? f32 : u32)])
  const spans = spanCode(parseWgsl(kernel.code), Object.fromEntries(types), new Set(), (reason) => {
    throw new Error(reason)
  })
  const module = parseWgsl(`${kernel.code}\n${spans.wgsl}`, { name: kernel.name })
  const analysis = analyse(module, { prelude })
  const compiled = compilePaged({ name: kernel.name, analysis, entry: analysis.entryPoints[0], spans: spans.args })
  const bound = atomics === 'bound' ? compiled.program.bound : null
  const form = { program: bound ?? compiled.program, map: bound === null ? compiled.map : compiled.boundMap }
  const pipeline = await createPagedPipeline(device, form, pages.pageBits)
  const dispatch = new PagedDispatch(device, pages)
  const launch = { args, uniforms: [], extent: [kernel.invocations, 1, 1] as const }
  return () => milliseconds(() => dispatch.run(pipeline, launch))
}

/** A round that finds nothing missing, against an empty submit with a small readback. */
export async function prepareEmptyRound(): Promise<Contest> {
  const contest = await prepareResidentKernel({
    name: 'nothing',
    code: `@compute @workgroup_size(${WORKGROUP}) fn main(@builtin(global_invocation_id) id: vec3u) { if (id.x > 999u) { x[0] = 1u; } }`,
    args: { x: { type: 'u32', words: () => new Uint32Array(1024) } },
    invocations: WORKGROUP,
  })
  const gpu = await PlainGpu.open()
  const buffer = gpu.buffer(4096)
  const words = new Uint8Array(256)
  return { candidate: contest.candidate, baseline: () => milliseconds(() => gpu.read(buffer, words)) }
}
