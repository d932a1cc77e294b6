// Kernels compiled for a GPUDevice: a pipeline for each form of a program that was ever needed, kept by its code.

import { CompileError } from '../../kernel/compile-error.ts'
import { ENTRY_POINT, type KernelProgram, type ProgramForm } from '../../kernel/program.ts'
import { Source } from '../../wgsl/index.ts'
import { type GpuContext, GpuError } from './gpu-context.ts'
import { settled } from './waits.ts'
import { STAGE_COMPUTE } from './webgpu-flags.ts'

export interface KernelPipeline {
  readonly pipeline: GPUComputePipeline
  readonly layout: GPUBindGroupLayout
}

/** The compiled kernels of one device, made when they are first wanted. */
export class KernelPipelines {
  private readonly context: GpuContext
  private readonly known = new WeakMap<KernelProgram, Partial<Record<ProgramForm, Promise<KernelPipeline>>>>()
  private readonly byCode = new Map<string, Promise<KernelPipeline>>()

  constructor(context: GpuContext) {
    this.context = context
  }

  /**
   * The pipeline of a program. Rejects with a CompileError for code that the device does not take, and with a RangeError for a
   * program that needs more bindings than the device has.
   */
  compile(program: KernelProgram, form: ProgramForm): Promise<KernelPipeline> {
    const forms = this.known.get(program) ?? {}
    this.known.set(program, forms)
    forms[form] ??= this.compileCode(program, form)
    return forms[form]
  }

  private compileCode(program: KernelProgram, form: ProgramForm): Promise<KernelPipeline> {
    const code = program[form]
    if (code === null) throw new RangeError(`${program.name} has no ${form} form`)
    const key = JSON.stringify([code, program.constants])
    let pipeline = this.byCode.get(key)
    if (pipeline === undefined) {
      pipeline = this.compileNew(program, code)
      this.byCode.set(key, pipeline)
    }
    return pipeline
  }

  private async compileNew(program: KernelProgram, code: string): Promise<KernelPipeline> {
    const { device } = this.context
    const { name: label, constants } = program
    const entries = bindingsOf(program, device.limits)
    checkExtensions(label, code, device)
    device.pushErrorScope('validation')
    const module = device.createShaderModule({ label, code })
    const layout = device.createBindGroupLayout({ label, entries })
    const creating = device.createComputePipelineAsync({
      label,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: ENTRY_POINT, constants },
    })
    const [info, pipeline] = await settled(
      device.queue,
      Promise.allSettled([module.getCompilationInfo(), creating, device.popErrorScope()]),
    )
    const first = info.status === 'fulfilled' ? info.value.messages.find(({ type }) => type === 'error') : undefined
    if (first !== undefined) throw new CompileError(label, code, first.message, first)
    if (pipeline.status === 'fulfilled') return { pipeline: pipeline.value, layout }
    if (this.context.lostBecause !== null) throw new GpuError(`the device is lost: ${this.context.lostBecause}`)
    throw new CompileError(label, code, firstLine(pipeline.reason))
  }
}

/** Extensions of WGSL, and what a device needs to have for them. */
const EXTENSIONS: readonly { readonly feature: GPUFeatureName; readonly name: RegExp }[] = [
  { feature: 'shader-f16', name: /\bf16\b/ },
  { feature: 'subgroups', name: /\bsubgroups\b/ },
]

/** What may stand before a directive, and directives: they come first in code. */
const BEFORE_DIRECTIVE = /(?:\s|\/\/.*|\/\*[\s\S]*?\*\/)*/y
const DIRECTIVE = /(?:enable|requires|diagnostic)\b[^;]*;/y

/** Throws a CompileError at the directive that enables what the device does not have. */
function checkExtensions(label: string, code: string, { features }: GPUDevice): void {
  for (let at = 0; ; ) {
    BEFORE_DIRECTIVE.lastIndex = at
    at += BEFORE_DIRECTIVE.exec(code)![0].length
    DIRECTIVE.lastIndex = at
    const directive = DIRECTIVE.exec(code)?.[0]
    if (directive === undefined) return
    const isMissing = ({ feature, name }: (typeof EXTENSIONS)[number]): boolean =>
      directive.startsWith('enable') && name.test(directive) && !features.has(feature)
    const missing = EXTENSIONS.find(isMissing)
    if (missing !== undefined) {
      const { line, column } = new Source(code).position(at)
      const place = { lineNum: line, linePos: column }
      throw new CompileError(label, code, `the device has no ${missing.feature}`, place)
    }
    at += directive.length
  }
}

/** Throws a RangeError if the device has fewer bindings, or smaller ones. */
function bindingsOf(program: KernelProgram, limits: GPUSupportedLimits): GPUBindGroupLayoutEntry[] {
  const storage = program.bindings.map(({ binding }) => binding)
  if (program.faultBinding !== null) storage.push(program.faultBinding)
  const uniform = [program.launchBinding, ...program.uniforms.map(({ binding }) => binding)]
  checkCount(program, storage.length, limits.maxStorageBuffersPerShaderStage, 'arrays')
  checkCount(program, uniform.length, limits.maxUniformBuffersPerShaderStage, 'uniforms, its own included')
  for (const { name, size } of program.uniforms) {
    const max = limits.maxUniformBufferBindingSize
    if (size > max)
      throw new RangeError(`uniform "${name}" of ${program.name} has ${size} bytes, the device takes ${max}`)
  }
  const entry = (binding: number, type: GPUBufferBindingType) => ({
    binding,
    visibility: STAGE_COMPUTE,
    buffer: { type },
  })
  return [
    ...storage.map((binding) => entry(binding, 'storage')),
    ...uniform.map((binding) => entry(binding, 'uniform')),
  ]
}

function checkCount({ name }: KernelProgram, count: number, max: number, what: string): void {
  if (count > max) throw new RangeError(`${name} binds ${count} ${what}, the device has ${max}`)
}

function firstLine(error: unknown): string {
  const [line] = (error instanceof Error ? error.message : String(error)).split('\n', 1)
  return line
}
