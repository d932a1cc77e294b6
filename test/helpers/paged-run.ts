// Runs a kernel twice, for tests: with ordinary bindings, and through a page table with little memory. Both begin with the same words
// and have to end with the same.

import { withPauses } from '../../src/devices/webgpu/pauses.ts'
import { formFor } from '../../src/kernel/paged/bound-atomics.ts'
import { type CompiledPaged, compilePaged } from '../../src/kernel/paged/compile-paged.ts'
import { PagedDispatch } from '../../src/kernel/paged/paged-dispatch.ts'
import type { ReachRange } from '../../src/kernel/paged/paged-launch.ts'
import { createPagedPipeline } from '../../src/kernel/paged/paged-pipeline.ts'
import type { PagedReceipt } from '../../src/kernel/paged/paged-run.ts'
import { type PointerBits, pointer64Code, pointerHelpersWgsl } from '../../src/kernel/paged/pointer-helpers.ts'
import { type Analysis, analyse, parseWgsl, type StructType } from '../../src/wgsl/index.ts'
import { PagedMemory } from './paged-memory.ts'

export interface TestKernel {
  readonly name: string
  readonly code: string
  /** Structs of the arguments, as WGSL declares them. */
  readonly structs?: string
  /** Element types by name; those that begin with `read ` are read-only. */
  readonly args: Readonly<Record<string, string>>
  /** Types and words by name. */
  readonly uniforms?: Readonly<Record<string, readonly [type: string, ...words: number[]]>>
  readonly constants?: Readonly<Record<string, number>>
  readonly extent: readonly [number, number?, number?]
  /** Which entry point; the first if there are several. */
  readonly entry?: string
  /** The step function of a resumable kernel, instead of an entry point. */
  readonly step?: string
  /** It follows pointers into its first argument, which is of `vec2<u32>` and begins at POINTED_WORD. */
  readonly pointers?: PointerBits
}

/** Of the argument that pointers lead into, with pages of 128 words; see placeArguments. */
export const POINTED_WORD = 128 + 18

/** Words of each argument, by name. */
export type Contents = Readonly<Record<string, Uint32Array>>

/** What a kernel's arguments are, as WGSL in front of it. */
function preludeOf({ structs = '', args, uniforms = {} }: TestKernel, bindings: boolean, helpers: string): string {
  let binding = 0
  const at = (): string => (bindings ? `@group(0) @binding(${binding++}) ` : '')
  const arrays = Object.entries(args).map(([name, type]) => {
    const [, readOnly, element] = /^(read )?(.*)$/s.exec(type)!
    const access = readOnly === undefined || bindings ? 'read_write' : 'read'
    return `${at()}var<storage, ${access}> ${name}: array<${element}>;`
  })
  const values = Object.entries(uniforms).map(([name, [type]]) => `${at()}var<uniform> ${name}: ${type};`)
  return [structs, helpers, ...arrays, ...values].join('\n')
}

function structTypes(kernel: TestKernel): StructType[] {
  if (kernel.structs === undefined) return []
  return [...analyse(parseWgsl(kernel.structs)).globals.values()].flatMap((global) =>
    global.kind === 'type' && global.type.kind === 'struct' ? [global.type] : [],
  )
}

/** The code, with what pointers of 64 bits are worked out with. */
function codeOf({ code, pointers }: TestKernel): string {
  return pointers === 64 ? `${code}\n${pointer64Code(parseWgsl(code))}` : code
}

/** What loads and stores through pointers do, with ordinary bindings. */
function directPointers({ pointers, args }: TestKernel): string {
  if (pointers === undefined) return ''
  const [m] = Object.keys(args)
  const [type, word] = pointers === 64 ? ['vec2<u32>', 'p.x'] : ['u32', 'p']
  const at = `${m}[(${word} - ${POINTED_WORD}u) / 2u]`
  const part = `${at}[(${word} - ${POINTED_WORD}u) % 2u]`
  const scalars = ['U32', 'I32', 'F32'].flatMap((name) => [
    `fn load${name}(p: ${type}) -> ${name.toLowerCase()} { return bitcast<${name.toLowerCase()}>(${part}); }`,
    `fn store${name}(p: ${type}, v: ${name.toLowerCase()}) { ${part} = bitcast<u32>(v); }`,
  ])
  const vectors = ['Vec2U', 'Ptr64'].flatMap((name) => [
    `fn load${name}(p: ${type}) -> vec2<u32> { return ${at}; }`,
    `fn store${name}(p: ${type}, v: vec2<u32>) { ${at} = v; }`,
  ])
  return [...scalars, ...vectors].join('\n')
}

export function analyseKernel(kernel: TestKernel, withPointers: boolean): Analysis {
  const { pointers } = kernel
  const isFollowing = withPointers || pointers !== undefined
  const helpers = isFollowing ? pointerHelpersWgsl(structTypes(kernel), pointers ?? 32) : ''
  const prelude = parseWgsl(preludeOf(kernel, false, helpers), { name: `arguments of ${kernel.name}` })
  const overrides = kernel.constants ?? {}
  return analyse(parseWgsl(codeOf(kernel), { name: kernel.name }), { prelude, overrides })
}

/** Throws a WgslError for a kernel that cannot run paged. */
export function compileKernel(kernel: TestKernel, withPointers = false): CompiledPaged {
  const analysis = analyseKernel(kernel, withPointers)
  const step = kernel.step === undefined ? undefined : analysis.globals.get(kernel.step)
  if (step?.kind === 'function') return compilePaged({ name: kernel.name, analysis, entry: step })
  const entry = analysis.entryPoints.find(({ name }) => kernel.entry === undefined || name === kernel.entry)
  if (entry === undefined) throw new Error(`${kernel.name} has no entry point`)
  return compilePaged({ name: kernel.name, analysis, entry, constants: kernel.constants ?? {} })
}

function extentOf({ extent: [x, y = 1, z = 1] }: TestKernel): [number, number, number] {
  return [x, y, z]
}

function uniformBytes({ uniforms = {} }: TestKernel): Uint8Array<ArrayBuffer>[] {
  // A word that is no whole number is one of a float.
  return Object.values(uniforms).map(([, ...words]) => {
    const bytes = new DataView(new ArrayBuffer(4 * words.length))
    words.forEach((word, i) => {
      if (Number.isInteger(word)) bytes.setUint32(4 * i, word >>> 0, true)
      else bytes.setFloat32(4 * i, word, true)
    })
    return new Uint8Array(bytes.buffer)
  })
}

/** The contents after the kernel ran with ordinary bindings. Its extent is whole workgroups. */
export async function runDirect(device: GPUDevice, kernel: TestKernel, contents: Contents): Promise<Contents> {
  const code = `${preludeOf(kernel, true, directPointers(kernel))}\n${codeOf(kernel)}`
  const module = device.createShaderModule({ code })
  const { messages } = await module.getCompilationInfo()
  const mistake = messages.find(({ type }) => type === 'error')
  if (mistake !== undefined) throw new Error(`${kernel.name}: ${mistake.lineNum}: ${mistake.message}\n${code}`)
  const names = Object.keys(kernel.args)
  const uniforms = uniformBytes(kernel)
  const entries: GPUBindGroupLayoutEntry[] = [
    ...names.map((_, binding) => ({ binding, visibility: 4, buffer: { type: 'storage' as const } })),
    ...uniforms.map((_, i) => ({ binding: names.length + i, visibility: 4, buffer: { type: 'uniform' as const } })),
  ]
  const layout = device.createBindGroupLayout({ entries })
  const { size, entry } = directSize(kernel)
  const pipeline = await device.createComputePipelineAsync({
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module, entryPoint: entry, constants: { ...kernel.constants } },
  })
  const buffers = names.map((name) => bufferWith(device, 128 | 4 | 8, contents[name]))
  const uniformBuffers = uniforms.map((bytes) => bufferWith(device, 64 | 8, bytes))
  const resources = [...buffers, ...uniformBuffers].map((buffer, binding) => ({ binding, resource: { buffer } }))
  const encoder = device.createCommandEncoder()
  const pass = encoder.beginComputePass()
  pass.setPipeline(pipeline)
  pass.setBindGroup(0, device.createBindGroup({ layout, entries: resources }))
  const groups = extentOf(kernel).map((n, d) => Math.ceil(n / size[d]))
  pass.dispatchWorkgroups(groups[0], groups[1], groups[2])
  pass.end()
  device.queue.submit([encoder.finish()])
  const result: Record<string, Uint32Array> = {}
  for (const [i, name] of names.entries()) result[name] = await readBuffer(device, buffers[i], contents[name].length)
  for (const buffer of [...buffers, ...uniformBuffers]) buffer.destroy()
  return result
}

function directSize(kernel: TestKernel): { size: readonly number[]; entry: string } {
  const analysis = analyseKernel(kernel, false)
  const entry = analysis.entryPoints.find(({ name }) => kernel.entry === undefined || name === kernel.entry)!
  return { size: entry.workgroupSize!.map((n) => n ?? 1), entry: entry.name }
}

function bufferWith(device: GPUDevice, usage: number, data: Uint32Array | Uint8Array): GPUBuffer {
  const buffer = device.createBuffer({ size: Math.max(16, Math.ceil(data.byteLength / 4) * 4), usage })
  device.queue.writeBuffer(
    buffer,
    0,
    new Uint8Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) as ArrayBuffer),
  )
  return buffer
}

async function readBuffer(device: GPUDevice, buffer: GPUBuffer, words: number): Promise<Uint32Array> {
  const staging = device.createBuffer({ size: 4 * words, usage: 1 | 8 })
  const encoder = device.createCommandEncoder()
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, 4 * words)
  device.queue.submit([encoder.finish()])
  await withPauses(staging.mapAsync(1))
  const copy = new Uint32Array(staging.getMappedRange().slice(0))
  staging.destroy()
  return copy
}

export interface PagedTestOptions {
  /** Frames, or a part of the pages of the arguments. Default: a quarter of them, at least 4. */
  readonly frames?: number
  readonly fraction?: number
  readonly pageBits?: number
  readonly faultCapacity?: number
  readonly withPointers?: boolean
  /** Words of the heap from the beginnings of the arguments. */
  readonly reach?: (words: Readonly<Record<string, number>>) => ReachRange[]
  readonly scratchBytesMax?: number
  readonly stepsMax?: number
  /** Buffers of the pool. Default 1. */
  readonly banks?: number
  /** Atomics in a buffer of their own, where the kernel lets them. Default true. */
  readonly bound?: boolean
  /** Called with the contents where the launch fails. */
  readonly onFault?: (contents: Contents) => void
  /** Changes the generated code before it is run. */
  readonly change?: (wgsl: string) => string
  /** As many pages as there is room for are on the device beforehand. */
  readonly isWarm?: boolean
}

export interface PagedResult {
  readonly contents: Contents
  readonly receipt: PagedReceipt
}

/** Where each argument begins: on pages of its own, somewhere in it, as its alignment lets it. */
export function placeArguments(
  kernel: TestKernel,
  contents: Contents,
  pageWords: number,
  aligns: readonly number[],
): number[] {
  let next = pageWords
  return Object.keys(kernel.args).map((name, i) => {
    const align = aligns[i] / 4
    const word = next + Math.ceil((17 * (i + 1)) / align) * align
    // A page between two arguments stays unused.
    next = (Math.ceil((word + contents[name].length) / pageWords) + 1) * pageWords
    return word
  })
}

function pagesOf(word: number, length: number, pageWords: number): number[] {
  const first = Math.floor(word / pageWords)
  return Array.from({ length: Math.ceil((word + length) / pageWords) - first }, (_, i) => first + i)
}

/** The contents after the kernel ran through a page table. */
export async function runPaged(
  device: GPUDevice,
  kernel: TestKernel,
  contents: Contents,
  options: PagedTestOptions = {},
): Promise<PagedResult> {
  const compiled = compileKernel(kernel, options.withPointers)
  const { program } = compiled
  const pageBits = options.pageBits ?? 7
  const pageWords = 2 ** pageBits
  const names = Object.keys(kernel.args)
  const words = placeArguments(
    kernel,
    contents,
    pageWords,
    program.args.map(({ align }) => align),
  )
  const pages = names.reduce((sum, name) => sum + Math.ceil(contents[name].length / pageWords) + 1, 0)
  const frames = options.frames ?? Math.max(4, Math.ceil(pages * (options.fraction ?? 0.25)))
  const end = words.at(-1)! + contents[names.at(-1)!].length
  const { banks = 1 } = options
  // Lengths are compiled in, so pools for all pages let launches with few frames and with many share what is compiled. Where a pool is in
  // several buffers all of them have to be used.
  const room = banks === 1 ? pages : 0
  const memory = new PagedMemory(device, { words: end + pageWords, frames, room, pageBits, banks })
  names.forEach((name, i) => {
    memory.heap.set(contents[name], words[i])
  })
  const dispatch = new PagedDispatch(device, memory, {
    ...(options.faultCapacity === undefined ? {} : { faultCapacity: options.faultCapacity }),
    ...(options.stepsMax === undefined ? {} : { stepsMax: options.stepsMax }),
    ...(options.scratchBytesMax === undefined ? {} : { scratchBytesMax: options.scratchBytesMax }),
  })
  try {
    if (options.isWarm) {
      const first = names.flatMap((name, i) => pagesOf(words[i], contents[name].length, pageWords)).slice(0, frames)
      await memory.service({ read: [], write: first, pinned: new Set(first) })
    }
    const args = names.map((name, i) => ({
      word: words[i],
      length: Math.floor((contents[name].length * 4) / program.args[i].stride),
    }))
    const [m] = names
    const whole = { start: words[0], end: words[0] + contents[m].length, write: true }
    const reach =
      options.reach?.(Object.fromEntries(names.map((name, i) => [name, words[i]]))) ??
      (kernel.pointers === undefined ? [] : [whole])
    const launch = { args, uniforms: uniformBytes(kernel), extent: extentOf(kernel), reach }
    const form = (options.bound ?? true) ? formFor(program, launch, memory) : program
    const map = form === program ? compiled.map : compiled.boundMap
    const changed = options.change === undefined ? form : { ...form, wgsl: options.change(form.wgsl) }
    const pipeline = await createPagedPipeline(device, { program: changed, map }, pageBits, memory.banks)
    const after = async (): Promise<Contents> => {
      await memory.flush()
      const slices = names.map((name, i) => memory.heap.slice(words[i], words[i] + contents[name].length))
      return Object.fromEntries(names.map((name, i) => [name, slices[i]]))
    }
    try {
      const receipt = await dispatch.run(pipeline, launch)
      return { contents: await after(), receipt }
    } catch (error) {
      options.onFault?.(await after())
      throw error
    }
  } finally {
    dispatch.destroy()
    memory.destroy()
  }
}

/** Repeatable words, small numbers among them. */
export function fill(
  words: number,
  seed: number,
  kind: 'u32' | 'f32' | 'small' | 'zero' = 'u32',
  below = 256,
): Uint32Array {
  const result = new Uint32Array(words)
  if (kind === 'zero') return result
  const floats = new Float32Array(result.buffer)
  let state = (seed * 2654435761 + 12345) >>> 0
  for (let i = 0; i < words; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    if (kind === 'u32') result[i] = state
    else if (kind === 'small') result[i] = (state >>> 8) % below
    else floats[i] = ((state >>> 8) % 2000) / 16 - 50
  }
  return result
}
