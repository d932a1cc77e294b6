// heap.run and heap.batch, on the program's side: arguments are checked, launches become plain data, and what the engine answers
// becomes a receipt or an error with the user's own names and lines.

import { describe } from '../base/describe.ts'
import { formatSize } from '../base/size.ts'
import type { ArgumentValues, KernelArguments } from '../kernel/argument.ts'
import type { LaunchCount } from '../kernel/grid.ts'
import { Kernel } from '../kernel/kernel.ts'
import { type IndirectGrid, indirectGridOf, type PreparedLaunch, prepareLaunch } from '../kernel/launch.ts'
import type { KernelLaunch, KernelProgram } from '../kernel/program.ts'
import { type Allocations, allocationAddr } from './allocation.ts'
import type { HeapView } from './array-types.ts'
import { errorOf } from './engine/failure.ts'
import type { EnginePort, Failure, RunOutcome } from './engine/protocol.ts'
import { HeapError, HeapRangeError, HeapTypeError } from './heap-error.ts'
import { checkNames } from './option-checks.ts'
import type { OrderedPort } from './ordered-port.ts'
import { RunReceipt } from './run-receipt.ts'

/** How a kernel is to be run. Every option has a default. */
export interface RunOptions {
  /** Which device. Default: the first one that runs kernels. */
  readonly device?: string
  /** Copy what is written to system memory before the launch ends, so that a lost device takes nothing along. Default false. */
  readonly durable?: boolean
  /** Arrays that the pointers which a kernel follows may touch, for kernels that follow pointers. */
  readonly reach?: readonly HeapView[]
  /** Reject if the code uses elements that it was not given; it takes longer. Default false. */
  readonly strict?: boolean
  /** Gives the launch up, at the next slice. What it has written by then stays written. */
  readonly signal?: AbortSignal
  /** Workgroups of one slice along the dimension that is cut, at most. Default: as many as fit. */
  readonly slice?: number
}

/** What `heap.batch` is given: launches that run in the order in which they are named. */
export interface Batch {
  /** Adds a launch. Throws like `heap.run` for arguments that do not fit, and a HeapError CLOSED after the body has ended. */
  run<A extends KernelArguments>(kernel: Kernel<A>, args: ArgumentValues<A>, count: LaunchCount): void
}

/** A launch that was checked. */
interface Planned extends PreparedLaunch {
  readonly kernel: Kernel
  readonly strict: boolean
  /** The words that an indirect launch reads. */
  readonly words: Uint32Array | null
}

export class Runner {
  readonly #port: OrderedPort
  readonly #allocations: Allocations
  /** Programs that the engine knows, and what it knows them by. */
  readonly #programs = new WeakMap<KernelProgram, string>()
  #lastProgram = 0
  /** Several heaps may talk to one engine. */
  readonly #sender = makeSender()
  #lastRun = 0

  constructor(port: OrderedPort, allocations: Allocations) {
    this.#port = port
    this.#allocations = allocations
  }

  async run<A extends KernelArguments>(
    kernel: Kernel<A>,
    args: ArgumentValues<A>,
    count: LaunchCount,
    options: RunOptions,
  ): Promise<RunReceipt> {
    checkOptions(options)
    return await this.#send([this.#plan(kernel, args, count, options)], options)
  }

  async batch(body: (batch: Batch) => void, options: RunOptions): Promise<RunReceipt> {
    checkOptions(options)
    if (typeof body !== 'function') throw new HeapTypeError(`body is ${describe(body)}, wanted a function`)
    const planned: Planned[] = []
    let isOpen = true
    const run: Batch['run'] = (kernel, args, count) => {
      if (!isOpen)
        throw new HeapError('CLOSED', 'batch.run after the body of the batch has ended: the launch would be lost')
      planned.push(this.#plan(kernel, args, count, options))
    }
    let result: unknown
    try {
      result = body({ run })
    } finally {
      isOpen = false
    }
    if (isPromiseLike(result)) {
      // What is said here is all that there is to say, whatever comes of it.
      result.then(undefined, () => {})
      throw new HeapTypeError('body of the batch is asynchronous, wanted one that is not')
    }
    return await this.#send(planned, options)
  }

  /** Checks a launch. Throws a TypeError, RangeError or HeapError that names the argument. */
  #plan<A extends KernelArguments>(
    kernel: Kernel<A>,
    args: ArgumentValues<A>,
    count: LaunchCount,
    { strict = false, reach = [] }: RunOptions,
  ): Planned {
    if (!(kernel instanceof Kernel)) {
      throw new HeapTypeError(`kernel is ${describe(kernel)}, wanted what kernel() returns`)
    }
    const locate = (view: ArrayBufferView) => {
      const { allocation, start, end } = this.#allocations.partOf(view as HeapView)
      const arrayStart = allocationAddr(allocation)
      return { start, end, arrayStart, arrayEnd: arrayStart + allocation.nbytes, readOnly: allocation.readOnly }
    }
    const prepared = withCodes(() => prepareLaunch(kernel, args, count, { locate, strict, reach }))
    const { program } = prepared.launch
    if (strict && program.indexed === null) {
      throw new HeapRangeError(`run(${kernel.name}) cannot be strict: ${program.whyNotIndexed}`)
    }
    return { ...prepared, kernel: kernel as unknown as Kernel, strict, words: wordsOf(count) }
  }

  /** Runs launches in order. An indirect one begins when those before it have ended, as they may say how large it is. */
  async #send(planned: readonly Planned[], options: RunOptions): Promise<RunReceipt> {
    const { signal } = options
    signal?.throwIfAborted()
    const name = nameOf(planned)
    const run = `${this.#sender} ${++this.#lastRun}`
    // Behind the launches, wherever these are: on the way to the engine, or there.
    let inner: EnginePort = this.#port
    const onAbort = (): void => inner.call('abort', { run }, () => {})
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      if (planned.every(({ indirect }) => indirect === null)) {
        return new RunReceipt(name, await this.#sendPart(this.#port, planned, run, options))
      }
      return await this.#port.before(async (port) => {
        const outcomes: RunOutcome[] = []
        inner = port
        for (const part of partsOf(planned)) {
          signal?.throwIfAborted()
          const [first] = part
          const known = first.indirect === null ? first : await sized(port, first, first.indirect)
          signal?.throwIfAborted()
          outcomes.push(...(await this.#sendPart(port, [known, ...part.slice(1)], run, options)))
        }
        return new RunReceipt(name, outcomes)
      })
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** Launches whose sizes are known, as one run; none if there is nothing to do. */
  async #sendPart(
    port: EnginePort,
    planned: readonly Planned[],
    run: string,
    { device, durable = false, slice, signal }: RunOptions,
  ): Promise<readonly RunOutcome[]> {
    const part = planned.filter(({ launch }) => launch.grid.count.every((n) => n > 0))
    if (part.length === 0) return []
    const launches = part.map(({ launch: { program, ...launch } }) => ({
      ...launch,
      program: this.#idOf(port, program),
    }))
    const args = { run, name: nameOf(part), launches, device: device ?? null, durable, sliceMax: slice ?? null }
    const outcomes = await new Promise<readonly RunOutcome[]>((resolve, reject) => {
      port.call('run', args, (reply) => {
        if (reply.ok) resolve(reply.answer)
        else reject(signal?.aborted && reply.failure.code === 'ABORTED' ? signal.reason : runError(reply.failure, part))
      })
    })
    for (const { strays } of outcomes) if (strays !== null) throw strayError(part[strays.launch], strays)
    return outcomes
  }

  /** What the engine knows a program by; it is told when it is new. */
  #idOf(port: EnginePort, program: KernelProgram): string {
    let id = this.#programs.get(program)
    if (id === undefined) {
      id = `${this.#sender} ${++this.#lastProgram}`
      this.#programs.set(program, id)
      port.call('program', { id, program }, () => {})
    }
    return id
  }
}

/** A name that no other heap has: two of them would take each other's programs. */
function makeSender(): string {
  const words = crypto.getRandomValues(new Uint32Array(4))
  return [...words].map((word) => word.toString(36)).join('')
}

function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function'
}

/** Parts that begin where an indirect launch does. */
function partsOf(planned: readonly Planned[]): readonly Planned[][] {
  const parts: Planned[][] = []
  for (const each of planned) {
    if (parts.length === 0 || each.indirect !== null) parts.push([each])
    else parts[parts.length - 1].push(each)
  }
  return parts
}

/** An indirect launch with the size that the heap says now. */
async function sized(port: EnginePort, planned: Planned, indirect: IndirectGrid): Promise<Planned> {
  await new Promise<void>((resolve, reject) => {
    port.call('sync', { ranges: [indirect.range], write: false }, (reply) => {
      if (reply.ok) resolve()
      else reject(errorOf(reply.failure))
    })
  })
  const { launch, words } = planned
  const { name, workgroupSize } = launch.program
  const grid = withCodes(() => indirectGridOf([...words!], indirect, workgroupSize, `run(${name})`))
  return { ...planned, launch: { ...launch, grid } }
}

function wordsOf(count: LaunchCount): Uint32Array | null {
  if (typeof count !== 'object' || count === null) return null
  if ('indirect' in count) return count.indirect
  return 'workgroups' in count ? wordsOf(count.workgroups) : null
}

/** 'saxpy', or 'saxpy, reduce and 3 more'. */
function nameOf(planned: readonly Planned[]): string {
  const names = [...new Set(planned.map(({ launch }) => launch.program.name))]
  if (names.length === 0) return 'batch'
  const shown = names.slice(0, 3).join(', ')
  return names.length > 3 ? `${shown} and ${names.length - 3} more` : shown
}

// ---- what was not right ----

const OPTION_NAMES = [
  'device',
  'durable',
  'reach',
  'strict',
  'signal',
  'slice',
] as const satisfies readonly (keyof RunOptions)[]

function checkOptions(options: RunOptions): void {
  checkNames(options, 'options', OPTION_NAMES)
  const { device, durable, reach, strict, signal, slice } = options
  if (reach !== undefined && !Array.isArray(reach)) {
    throw new HeapTypeError(`options.reach is ${describe(reach)}, wanted a list of arrays`)
  }
  if (device !== undefined && typeof device !== 'string') {
    throw new HeapTypeError(`options.device is ${describe(device)}, wanted the name of a device`)
  }
  for (const [name, value] of Object.entries({ durable, strict })) {
    if (value === undefined || typeof value === 'boolean') continue
    throw new HeapTypeError(`options.${name} is ${describe(value)}, wanted true or false`)
  }
  if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
    throw new HeapTypeError(`options.signal is ${describe(signal)}, wanted an AbortSignal`)
  }
  if (slice === undefined) return
  if (typeof slice !== 'number') throw new HeapTypeError(`options.slice is ${describe(slice)}, wanted a whole number`)
  if (!Number.isInteger(slice) || slice < 1) {
    throw new HeapRangeError(`options.slice is ${slice}, wanted a whole number of workgroups from 1`)
  }
}

/** Errors about arguments get a code, as all of the heap have. */
function withCodes<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (error instanceof HeapRangeError || error instanceof HeapTypeError) throw error
    if (error instanceof TypeError) throw new HeapTypeError(error.message)
    if (error instanceof RangeError) throw new HeapRangeError(error.message)
    throw error
  }
}

function runError(failure: Failure, planned: readonly Planned[]): Error {
  const { compile } = failure
  const launch = compile === undefined ? undefined : planned[compile.launch]
  if (compile === undefined || launch === undefined) return errorOf(failure)
  return launch.kernel.errorOf(launch.groups, launch.strict, compile)
}

/** `GPU fault: kernel "bfs" invocation 17,0,0 wrote 0x0004_1000, 96 KiB past the end of "levels" (readWrite, 4 MiB)`. */
function strayError(
  { launch, kernel }: { readonly launch: KernelLaunch; readonly kernel: Kernel },
  { count, argument: k, write, index, invocation }: NonNullable<RunOutcome['strays']>,
): HeapError {
  const { program, ranges, args } = launch
  const { name, binding, stride } = program.args[k]
  const { skip, length } = args[k]
  const addr = ranges[binding].start + (skip + index) * stride
  const arg = kernel.args[name]
  const access = arg.kind === 'array' ? arg.access : 'uniform'
  const past = index >= length ? `${formatSize((index - length) * stride)} past the end of` : 'outside of its slice of'
  const others = count === 1 ? '' : `; ${count - 1} more like it`
  const what = `${write ? 'wrote' : 'read'} element ${index} (0x${addr.toString(16)}), ${past} "${name}"`
  const size = `${access}, ${formatSize(length * stride)}`
  return new HeapError(
    'OUT_OF_BOUNDS',
    `kernel "${program.name}" invocation ${invocation.join(',')} ${what} (${size})${others}`,
  )
}
