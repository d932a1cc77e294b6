// A paged program on one device: the pipeline and its bindings. Mistakes that only the device's compiler finds come back as places
// in the user's own code, if the place is his.

import { type OriginalPlace, Source, type SourceMap } from '../../wgsl/index.ts'
import { CompileError } from '../compile-error.ts'
import { PAGED_BINDINGS as B, PAGE_BITS_OVERRIDE, type PagedProgram } from './paged-program.ts'

/** The device does not take the code of a kernel. */
export class PagedPipelineError extends Error {
  override readonly name = 'PagedPipelineError'
  /** Where the user's code is wrong, null if the generated code is. */
  readonly place: OriginalPlace | null

  constructor(message: string, place: OriginalPlace | null) {
    super(message)
    this.place = place
  }
}

export interface PagedPipeline {
  readonly program: PagedProgram
  readonly pipeline: GPUComputePipeline
  readonly layout: GPUBindGroupLayout
}

const COMPUTE = 4 // GPUShaderStage.COMPUTE

/**
 * Compiles a program for pages of 2^pageBits words. Rejects with a PagedPipelineError, or without a map with a CompileError about the
 * code of the program.
 */
export async function createPagedPipeline(
  device: GPUDevice,
  { program, map }: { program: PagedProgram; map: SourceMap | null },
  pageBits: number,
): Promise<PagedPipeline> {
  const module = device.createShaderModule({ label: program.name, code: program.wgsl })
  const { messages } = await module.getCompilationInfo()
  const mistake = messages.find(({ type }) => type === 'error')
  if (mistake !== undefined && map === null)
    throw new CompileError(program.name, program.wgsl, mistake.message, mistake)
  if (mistake !== undefined && map !== null) {
    const offset = new Source(program.wgsl).offset({ line: mistake.lineNum, column: mistake.linePos })
    const place = map.find(offset)
    throw new PagedPipelineError(describe(program, mistake.message, place), place)
  }
  const layout = device.createBindGroupLayout({ label: program.name, entries: layoutEntries(program) })
  const pipeline = await device.createComputePipelineAsync({
    label: program.name,
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: { module, entryPoint: 'hm_main', constants: { ...program.constants, [PAGE_BITS_OVERRIDE]: pageBits } },
  })
  return { program, pipeline, layout }
}

function describe({ name }: PagedProgram, message: string, place: OriginalPlace | null): string {
  if (place === null) return `${name}: the generated code is wrong: ${message}`
  const { line, column } = place.source.position(place.offset)
  return `${place.source.name}:${line}:${column}: ${message}`
}

/** Whether a program has something to keep beside the pool. */
export function usesScratch({ logEntryWords, hasJournal, stateWords }: PagedProgram): boolean {
  return logEntryWords > 0 || hasJournal || stateWords > 0
}

function layoutEntries(program: PagedProgram): GPUBindGroupLayoutEntry[] {
  const entry = (binding: number, type: GPUBufferBindingType): GPUBindGroupLayoutEntry => {
    return { binding, visibility: COMPUTE, buffer: { type } }
  }
  return [
    entry(B.pool, 'storage'),
    entry(B.table, 'read-only-storage'),
    entry(B.faults, 'storage'),
    entry(B.queue, 'storage'),
    entry(B.dirty, 'storage'),
    ...(usesScratch(program) ? [entry(B.scratch, 'storage')] : []),
    entry(B.launch, 'uniform'),
    ...program.uniforms.map(({ binding }) => entry(binding, 'uniform')),
  ]
}
