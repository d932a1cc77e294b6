// Runs kernels on a GPU with ordinary buffers, without heap and driver: what they do to memory is theirs alone. Each slice gets
// exactly the bytes that it asked for, at places of their own, and only what it declared written comes back.

import { PAGE_SIZE } from '../../src/base/addr.ts'
import { GpuContext } from '../../src/devices/webgpu/gpu-context.ts'
import { KernelDispatcher, type Strays } from '../../src/devices/webgpu/kernel-dispatch.ts'
import { type KernelPipeline, KernelPipelines } from '../../src/devices/webgpu/kernel-pipelines.ts'
import { withPauses } from '../../src/devices/webgpu/pauses.ts'
import type { ArrayOf, ArrayType } from '../../src/heap/array-types.ts'
import type { ArgumentValues, KernelArguments } from '../../src/kernel/argument.ts'
import { CompileError } from '../../src/kernel/compile-error.ts'
import { dispatchesOf } from '../../src/kernel/dispatches.ts'
import type { LaunchCount } from '../../src/kernel/grid.ts'
import type { Kernel } from '../../src/kernel/kernel.ts'
import { prepareLaunch, type ViewPlace } from '../../src/kernel/launch.ts'
import type { ProgramForm } from '../../src/kernel/program.ts'
import { type LaunchSlice, planSlices } from '../../src/kernel/slices.ts'
import { openGpu } from './gpu.ts'

/** Usage of the buffers: storage, and copies both ways. */
const USAGE = 0x80 | 0x04 | 0x08
const READ_USAGE = 0x01 | 0x08

export interface BenchOptions {
  /** Pages of the device. Default: many. */
  readonly npages?: number
  /** Workgroups of a slice along the dimension that is cut, at most. */
  readonly sliceMax?: number
  readonly strict?: boolean
}

export interface BenchResult {
  readonly slices: readonly LaunchSlice[]
  readonly strays: Strays | null
}

export class KernelBench {
  readonly device: GPUDevice
  readonly memory = new ArrayBuffer(4 << 20)
  private readonly context: GpuContext
  private readonly pipelines: KernelPipelines
  private readonly dispatcher: KernelDispatcher
  private readonly home: GPUBuffer
  private places: { start: number; end: number }[] = []
  private free = 0

  static async open(): Promise<KernelBench> {
    return new KernelBench(await openGpu())
  }

  private constructor(device: GPUDevice) {
    this.device = device
    this.context = new GpuContext(device, () => {})
    this.pipelines = new KernelPipelines(this.context)
    this.dispatcher = new KernelDispatcher(this.context)
    this.home = device.createBuffer({ size: this.memory.byteLength, usage: USAGE })
  }

  /** An array that begins with a page, as those of a heap do. */
  alloc<T extends ArrayType>(type: T, length: number): ArrayOf<T> {
    const nbytes = length * type.BYTES_PER_ELEMENT
    const start = this.free
    this.free += Math.ceil(nbytes / PAGE_SIZE) * PAGE_SIZE + PAGE_SIZE
    if (this.free > this.memory.byteLength) throw new RangeError(`no room for ${nbytes} bytes`)
    this.places.push({ start, end: start + nbytes })
    return new (type as new (buffer: ArrayBuffer, offset: number, length: number) => ArrayOf<T>)(
      this.memory,
      start,
      length,
    )
  }

  /** Forgets all arrays. */
  reset(): void {
    this.places = []
    this.free = 0
    new Uint8Array(this.memory).fill(0)
  }

  readonly locate = (view: ArrayBufferView): ViewPlace => {
    const start = view.byteOffset
    const end = start + view.byteLength
    const array = this.places.find((place) => place.start <= start && end <= place.end)
    if (view.buffer !== this.memory || array === undefined) throw new RangeError('the view is of no array')
    return { start, end, arrayStart: array.start, arrayEnd: array.end }
  }

  /** Rejects with what prepareLaunch or the planning refuses, and with a KernelError for what the device does not compile. */
  async run<A extends KernelArguments>(
    kernel: Kernel<A>,
    values: ArgumentValues<A>,
    count: LaunchCount,
    { npages = 4096, sliceMax, strict = false }: BenchOptions = {},
  ): Promise<BenchResult> {
    const { launch, groups } = prepareLaunch(kernel, values, count, { locate: this.locate, strict })
    const limits = { npages, bindingBytes: this.device.limits.maxStorageBufferBindingSize }
    const slices = planSlices(launch, sliceMax === undefined ? limits : { ...limits, workgroups: sliceMax })
    this.device.queue.writeBuffer(this.home, 0, this.memory)
    if (strict) this.dispatcher.clearStrays()
    for (const slice of slices) {
      const dispatches = dispatchesOf(launch, slice, this.dispatcher.workgroupsMax)
      const pipelines: Partial<Record<ProgramForm, KernelPipeline>> = {}
      for (const { form } of dispatches) {
        pipelines[form] = await this.pipelines.compile(launch.program, form).catch((error) => {
          if (!(error instanceof CompileError)) throw error
          const { wgsl, message: text, line, column } = error
          throw kernel.errorOf(groups, strict, { wgsl, text, line, column })
        })
      }
      await this.runSlice({ launch, slice, dispatches, pipelines })
    }
    const strays = strict ? await this.dispatcher.readStrays() : null
    new Uint8Array(this.memory).set(await this.read())
    if (this.context.uncaptured.length > 0) throw new Error(this.context.uncaptured.join('\n'))
    return { slices, strays }
  }

  private async runSlice(command: Omit<Parameters<KernelDispatcher['submit']>[0][number], 'places'>): Promise<void> {
    const { ranges } = command.slice
    const size = ranges.reduce((sum, { start, end }) => sum + Math.ceil((end - start) / 4096) * 4096 + 4096, 4096)
    // What lies between the ranges is not zero, so that reading it shows.
    const around = new Uint32Array(size / 4).fill(0xdeadbeef)
    const frames = this.device.createBuffer({ size, usage: USAGE })
    this.device.queue.writeBuffer(frames, 0, around)
    let offset = 4096
    const places = ranges.map(({ start, end }) => {
      const place = { buffer: frames, offset, size: end - start }
      offset += Math.ceil(place.size / 4096) * 4096 + 4096
      return place
    })
    this.copy(ranges.map(({ start }, i) => ({ ...places[i], to: this.home, from: start, in: true })))
    this.dispatcher.submit([{ ...command, places }])
    const written = ranges.flatMap(({ start, write }, i) =>
      write ? [{ ...places[i], to: this.home, from: start }] : [],
    )
    this.copy(written.map((each) => ({ ...each, in: false })))
    await this.device.queue.onSubmittedWorkDone()
    frames.destroy()
  }

  private copy(
    list: { buffer: GPUBuffer; offset: number; size: number; to: GPUBuffer; from: number; in: boolean }[],
  ): void {
    const encoder = this.device.createCommandEncoder()
    for (const { buffer, offset, size, to, from, in: isIn } of list) {
      if (isIn) encoder.copyBufferToBuffer(to, from, buffer, offset, size)
      else encoder.copyBufferToBuffer(buffer, offset, to, from, size)
    }
    this.device.queue.submit([encoder.finish()])
  }

  private async read(): Promise<Uint8Array> {
    const buffer = this.device.createBuffer({ size: this.memory.byteLength, usage: READ_USAGE })
    const encoder = this.device.createCommandEncoder()
    encoder.copyBufferToBuffer(this.home, 0, buffer, 0, this.memory.byteLength)
    this.device.queue.submit([encoder.finish()])
    await withPauses(buffer.mapAsync(1))
    const bytes = new Uint8Array(buffer.getMappedRange()).slice()
    buffer.destroy()
    return bytes
  }

  close(): void {
    this.dispatcher.destroy()
    this.home.destroy()
    this.context.close()
    this.device.destroy()
  }
}
