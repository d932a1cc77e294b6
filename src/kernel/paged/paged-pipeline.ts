// A paged program on one device: the pipeline and its bindings. Mistakes that only the device's compiler finds come back as places
// in the user's own code, if the place is his.

import { type OriginalPlace, Source, type SourceMap } from '../../wgsl/index.ts'
import { CompileError } from '../compile-error.ts'
import {
  PAGED_BINDINGS as B,
  LINEAR_OVERRIDE,
  OPTIMISTIC_OVERRIDE,
  PAGE_BITS_OVERRIDE,
  PAGE_PART_OVERRIDE,
  type PagedProgram,
  PRESENT_OVERRIDE,
  REPLAY_OVERRIDE,
  ROOMY_OVERRIDE,
  SCOUT_OVERRIDE,
  SHIFTS_OVERRIDE,
} from './paged-program.ts'
import { type PoolBanks, withBanks } from './pool-banks.ts'
import { withLengths } from './runtime.wgsl.ts'
import { MARK_WORDS } from './slice-size.ts'

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

/** Pages that have numbers of which floating-point numbers are exact. */
const NEAR_PAGES_MAX = 2 ** 23

/** Lengths of buffers. */
interface PagedWords {
  readonly pool: number
  readonly table: number
  readonly dirty: number
}

interface OptimisticForm {
  /** Of launches with one dimension. */
  readonly isLinear: boolean
  /** Of transactions in the queue. */
  readonly isReplay: boolean
  /** Of transactions that store much: their log is in memory. */
  readonly isRoomy: boolean
}

/** Settles as the promise of a device does; how to wait for one, its owner knows. */
export type Settle = <T>(promise: Promise<T>) => Promise<T>

export class PagedPipeline {
  readonly program: PagedProgram
  readonly layout: GPUBindGroupLayout
  /** The form that finds out what is missing. */
  readonly thorough: GPUComputePipeline
  /** Its transactions store more than the optimistic form has registers for. Found out by running it, as the rest of this. */
  storesMuch = false
  /** And more than a log in memory has room for, with so many of them at once. */
  storesTooMuch = false
  /** Entries of the longest log that a transaction has wanted. */
  logEntries = 8
  /** In the last slice of the last launch most transactions found all they needed. */
  isHopeful = false
  private readonly device: GPUDevice
  private readonly pageBits: number
  private readonly banks: PoolBanks
  private readonly settle: Settle
  // By lengths of buffers and values of overrides.
  private readonly forms = new Map<string, Promise<GPUComputePipeline>>()

  constructor(
    parts: Pick<PagedPipeline, 'program' | 'layout' | 'thorough'> & {
      device: GPUDevice
      pageBits: number
      banks: PoolBanks
      settle: Settle
    },
  ) {
    this.program = parts.program
    this.layout = parts.layout
    this.thorough = parts.thorough
    this.device = parts.device
    this.pageBits = parts.pageBits
    this.banks = parts.banks
    this.settle = parts.settle
  }

  /** The form for transactions that find all they need, for a pool and a table of so many words. Compiled when it is first asked for. */
  async optimistic(words: PagedWords, { isLinear, isReplay, isRoomy }: OptimisticForm): Promise<GPUComputePipeline> {
    const overrides = {
      [OPTIMISTIC_OVERRIDE]: 1,
      [LINEAR_OVERRIDE]: isLinear ? 1 : 0,
      [REPLAY_OVERRIDE]: isReplay ? 1 : 0,
      [ROOMY_OVERRIDE]: isRoomy ? 1 : 0,
    }
    return await this.form(words, { hm_faults: MARK_WORDS }, overrides)
  }

  /** The thorough form without the loops along rows that need nothing besides but arguments of which all is there. */
  async scouting(words: PagedWords, present: number): Promise<GPUComputePipeline> {
    return await this.form(words, {}, { [SCOUT_OVERRIDE]: 1, [PRESENT_OVERRIDE]: present })
  }

  private get wgsl(): string {
    return withBanks(this.program.wgsl, this.banks)
  }

  private async form(
    { pool, table, dirty }: PagedWords,
    more: Readonly<Record<string, number>>,
    overrides: Readonly<Record<string, number>>,
  ): Promise<GPUComputePipeline> {
    const lengths = { hm_pool: pool, hm_table: table, hm_dirty: dirty, ...more }
    // The words for written frames are more than there are frames.
    const isExact = Math.max(table, dirty) <= NEAR_PAGES_MAX && Math.max(table, dirty) * 2 ** this.pageBits <= 2 ** 31
    const shifts = !isExact || this.device.adapterInfo?.isFallbackAdapter !== true
    const constants = { ...overrides, [SHIFTS_OVERRIDE]: shifts ? 1 : 0 }
    const key = JSON.stringify([lengths, constants])
    const known = this.forms.get(key) ?? this.compile(withLengths(this.wgsl, lengths), constants)
    this.forms.set(key, known)
    return await known
  }

  private async compile(code: string, overrides: Readonly<Record<string, number>>): Promise<GPUComputePipeline> {
    const { device, program, layout, pageBits } = this
    const module = device.createShaderModule({ label: program.name, code })
    const creating = device.createComputePipelineAsync(descriptor(program, device, layout, module, pageBits, overrides))
    return await this.settle(creating)
  }
}

const COMPUTE = 4 // GPUShaderStage.COMPUTE

/**
 * Compiles a program for pages of 2^pageBits words. Rejects with a PagedPipelineError, or without a map with a CompileError about the
 * code of the program. `settle` waits for the device's compiler.
 */
export async function createPagedPipeline(
  device: GPUDevice,
  { program, map }: { program: PagedProgram; map: SourceMap | null },
  pageBits: number,
  banks: PoolBanks = { count: 1, words: 0 },
  settle: Settle = (promise) => promise,
): Promise<PagedPipeline> {
  // What is added lies behind the user's code.
  // A mistake is told to the caller, and is no uncaptured error of a device that may be his own.
  device.pushErrorScope('validation')
  const module = device.createShaderModule({ label: program.name, code: withBanks(program.wgsl, banks) })
  const captured = device.popErrorScope().catch(() => null) // rejects on a lost device
  const [{ messages }] = await Promise.all([module.getCompilationInfo(), captured])
  const mistake = messages.find(({ type }) => type === 'error')
  if (mistake !== undefined && map === null)
    throw new CompileError(program.name, program.wgsl, mistake.message, mistake)
  if (mistake !== undefined && map !== null) {
    const offset = new Source(program.wgsl).offset({ line: mistake.lineNum, column: mistake.linePos })
    const place = map.find(offset)
    throw new PagedPipelineError(describe(program, mistake.message, place), place)
  }
  const layout = device.createBindGroupLayout({ label: program.name, entries: layoutEntries(program, banks) })
  const creating = device.createComputePipelineAsync(descriptor(program, device, layout, module, pageBits, {}))
  return new PagedPipeline({ program, layout, thorough: await settle(creating), device, pageBits, banks, settle })
}

function descriptor(
  program: PagedProgram,
  device: GPUDevice,
  layout: GPUBindGroupLayout,
  module: GPUShaderModule,
  pageBits: number,
  constants: Readonly<Record<string, number>>,
): GPUComputePipelineDescriptor {
  return {
    label: program.name,
    layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
    compute: {
      module,
      entryPoint: 'hm_main',
      constants: {
        ...program.constants,
        [PAGE_BITS_OVERRIDE]: pageBits,
        [PAGE_PART_OVERRIDE]: 2 ** -pageBits,
        ...constants,
      },
    },
  }
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

function layoutEntries(program: PagedProgram, { count }: PoolBanks): GPUBindGroupLayoutEntry[] {
  const entry = (binding: number, type: GPUBufferBindingType): GPUBindGroupLayoutEntry => {
    return { binding, visibility: COMPUTE, buffer: { type } }
  }
  return [
    entry(B.pool, 'storage'),
    ...Array.from({ length: count - 1 }, (_, i) => entry(B.banks + 1 + i, 'storage')),
    entry(B.table, 'read-only-storage'),
    entry(B.faults, 'storage'),
    entry(B.queue, 'storage'),
    entry(B.dirty, 'storage'),
    ...(usesScratch(program) ? [entry(B.scratch, 'storage')] : []),
    ...(program.boundArgs.length > 0 ? [entry(B.atomics, 'storage')] : []),
    entry(B.launch, 'uniform'),
    ...program.uniforms.map(({ binding }) => entry(binding, 'uniform')),
  ]
}
