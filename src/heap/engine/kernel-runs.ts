// Launches of kernels, on the engine's side: programs come once and are known by name, launches name them.

import { CompileError } from '../../kernel/compile-error.ts'
import { GpuFaultError } from '../../kernel/paged/gpu-fault-error.ts'
import { type KernelLaunch, type KernelProgram, PROGRAM_FORMS } from '../../kernel/program.ts'
import type { ArrayTable } from './array-table.ts'
import type { HeapBackend } from './backend.ts'
import type { EngineDevice } from './device.ts'
import { launchRefusalOf, Refusal } from './failure.ts'
import { describeFault } from './gpu-fault.ts'
import type { ByteRange, EngineCalls, RunLaunch, RunOutcome } from './protocol.ts'

/** Ranges that a launch uses, in bytes; each lies in one array. */
export interface LaunchUses {
  readonly read: readonly ByteRange[]
  readonly write: readonly ByteRange[]
  /** What is written completely and not read. Default: nothing is known to be. */
  readonly overwrite?: readonly ByteRange[]
}

/** The engine, as launches need it. */
export interface LaunchHost {
  readonly devices: readonly EngineDevice[]
  readonly arrays: ArrayTable
  readonly backend: HeapBackend
  /** Makes the ranges ready and calls `begin`, or throws a Refusal. */
  launch<T>(uses: LaunchUses, begin: () => Promise<T>): Promise<T>
}

export class KernelRuns {
  readonly #engine: LaunchHost
  /** By the names that heaps have given them. */
  readonly #programs = new Map<string, KernelProgram>()
  /** By what they are: the same program from several heaps, or made again, is compiled once. */
  readonly #known = new Map<string, KernelProgram>()
  /** Runs that have not ended. */
  readonly #open = new Map<string, AbortController>()

  constructor(engine: LaunchHost) {
    this.#engine = engine
  }

  addProgram({ id, program }: EngineCalls['program']['args']): null {
    const content = JSON.stringify(program)
    const known = this.#known.get(content) ?? program
    this.#known.set(content, known)
    this.#programs.set(id, known)
    return null
  }

  abort({ run }: EngineCalls['abort']['args']): null {
    this.#open.get(run)?.abort()
    return null
  }

  /** The launch is claimed before this returns. Throws a Refusal: NO_DEVICE, and as `Engine.launch`. */
  run(args: EngineCalls['run']['args']): Promise<readonly RunOutcome[]> {
    const { run, name, durable, sliceMax } = args
    const device = this.#deviceOf(args.device)
    const launches = args.launches.map((launch) => this.#launchOf(launch))
    const read: ByteRange[] = []
    const write: ByteRange[] = []
    for (const { program, ranges, reach } of launches) {
      for (const { start, end, write: isWritten } of reach) {
        if (isWritten) write.push({ start, end })
        else read.push({ start, end })
      }
      ranges.forEach((range, k) => {
        if (program.bindings[k].write) write.push(range)
        else read.push(range)
      })
    }
    // Of several launches one may read what another one writes.
    const overwrite = launches.length === 1 ? overwrittenBy(launches[0]) : []
    const controller = new AbortController()
    const around = this.#arraysAround([...read, ...write])
    const options = { name, durable, around, signal: controller.signal, ...(sliceMax !== null && { sliceMax }) }
    this.#open.set(run, controller)
    return this.#engine
      .launch({ read, write, overwrite }, () => device.run(launches, options))
      .catch((error) => {
        throw refusalOf(error, launches, this.#engine.arrays, controller.signal)
      })
      .finally(() => this.#open.delete(run))
  }

  /** Arrays of which more may come along. Where nobody traps the CPU, it would not find out that a page has gone. */
  #arraysAround(ranges: readonly ByteRange[]): ByteRange[] {
    const { arrays, backend } = this.#engine
    if (!backend.mmu.capabilities.traps) return []
    return ranges.flatMap(({ start }) => arrays.at(start) ?? [])
  }

  #launchOf({ program: id, ...launch }: RunLaunch): KernelLaunch {
    const program = this.#programs.get(id)
    if (program === undefined) throw new Refusal('FAILED', `the engine has no program ${id}`)
    return { program, ...launch }
  }

  #deviceOf(name: string | null): EngineDevice & Required<Pick<EngineDevice, 'run'>> {
    const { devices } = this.#engine
    const device = name === null ? devices.find(runsKernels) : devices.find((each) => each.name === name)
    if (device !== undefined && runsKernels(device)) return device
    if (name === null) throw new Refusal('NO_DEVICE', 'no device of the heap runs kernels')
    const names = devices.filter(runsKernels).map((each) => JSON.stringify(each.name))
    const wanted = names.length === 0 ? 'and no other one does' : `wanted ${names.join(' or ')}`
    const what = device === undefined ? `there is no device "${name}"` : `device "${name}" runs no kernels`
    throw new Refusal('NO_DEVICE', `${what}, ${wanted}`)
  }
}

/** Arguments that a launch overwrites, whatever was in them. */
function overwrittenBy({ program, args, ranges }: KernelLaunch): ByteRange[] {
  return program.args.flatMap(({ binding, stride }, k) => {
    const { isOverwritten, skip, length } = args[k]
    const start = ranges[binding].start + skip * stride
    return isOverwritten ? [{ start, end: start + length * stride }] : []
  })
}

function runsKernels(device: EngineDevice): device is EngineDevice & Required<Pick<EngineDevice, 'run'>> {
  return device.run !== undefined
}

function refusalOf(
  error: unknown,
  launches: readonly KernelLaunch[],
  arrays: ArrayTable,
  signal: AbortSignal,
): unknown {
  if (error instanceof CompileError) {
    const { wgsl, line, column, message } = error
    const launch = launches.findIndex(
      ({ program }) => program.paged?.wgsl === wgsl || PROGRAM_FORMS.some((form) => program[form] === wgsl),
    )
    return new Refusal('BAD_KERNEL', `${error.program}: ${message}`, {
      compile: { launch, wgsl, text: message, line, column },
    })
  }
  if (error instanceof GpuFaultError) {
    return new Refusal('GPU_FAULT', describeFault(error, launches[error.launch ?? 0], arrays))
  }
  const refusal = launchRefusalOf(error)
  return refusal === error && signal.aborted ? new Refusal('ABORTED', 'the launch was given up') : refusal
}
