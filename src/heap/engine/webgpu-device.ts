// A WebGPU device as the engine sees it: finds an adapter, and says what it is when it is not what one would expect.

import { PAGE_SIZE } from '../../base/addr.ts'
import { formatSize } from '../../base/size.ts'
import { GpuError, requestGpuDevice } from '../../devices/webgpu/gpu-context.ts'
import type { GpuLaunch } from '../../devices/webgpu/gpu-launch.ts'
import { KernelDispatcher } from '../../devices/webgpu/kernel-dispatch.ts'
import { type KernelOptions, runKernels } from '../../devices/webgpu/kernel-launch.ts'
import { KernelPipelines } from '../../devices/webgpu/kernel-pipelines.ts'
import type { AdapterFinder, FoundAdapter } from '../../devices/webgpu/own-adapter.ts'
import { WebGpuDevice } from '../../devices/webgpu/webgpu-device.ts'
import { type BufferRange, withBuffers } from '../../devices/webgpu/with-buffer.ts'
import type { KernelLaunch } from '../../kernel/program.ts'
import type { AdapterOption, WebGpuDeviceSettings } from '../device-options.ts'
import { HeapError } from '../heap-error.ts'
import { DriverEngineDevice } from './driver-device.ts'
import type { DeviceSite } from './engine.ts'
import type { ByteRange, RunOutcome } from './protocol.ts'

export class WebGpuEngineDevice extends DriverEngineDevice<GpuLaunch> {
  readonly device: WebGpuDevice
  readonly hardware: string
  readonly note: string | null
  readonly #pipelines: KernelPipelines
  readonly #dispatcher: KernelDispatcher

  /** Rejects with a HeapError NO_DEVICE if there is no adapter, or if the device is lost or has no memory. */
  static async create(
    site: DeviceSite,
    settings: WebGpuDeviceSettings,
    findAdapter: AdapterFinder,
  ): Promise<WebGpuEngineDevice> {
    const { sys, policy, tracer, nameAt, onFilled } = site
    const { name, memory, adapter, onLost, deadline } = settings
    const notes: string[] = []
    let { gpuDevice } = settings
    let hardware = 'a GPUDevice of the program'
    if (gpuDevice === null) {
      const found = await findOrThrow(findAdapter, name, adapter)
      hardware = found.description
      if (found.isSoftware && adapter !== 'software') notes.push(`it is ${hardware}, software on the CPU and slow`)
      gpuDevice = await requestGpuDevice(found.adapter)
    }
    const making = WebGpuDevice.create(sys, gpuDevice, {
      name,
      memory,
      policy,
      tracer,
      onLost,
      deadline,
      ownsDevice: settings.gpuDevice === null,
      nameAt: (_, addr) => nameAt(addr),
      onFilled: (_, addr) => onFilled(addr, name),
    })
    const device = await making.catch((error: unknown) => {
      throw error instanceof GpuError ? new HeapError('NO_DEVICE', `device "${name}": ${error.message}`) : error
    })
    const nbytes = device.parts.pool.npages * PAGE_SIZE
    if (nbytes < memory)
      notes.push(`it has ${formatSize(nbytes)}, as there is no room for the ${formatSize(memory)} wanted`)
    return new WebGpuEngineDevice(device, site, hardware, notes)
  }

  abandon(): Promise<void> {
    return this.device.hardware.abandon()
  }

  async lend(
    ranges: readonly ByteRange[],
    write: boolean,
    use: (ranges: readonly BufferRange[]) => Promise<void>,
  ): Promise<void> {
    await withBuffers(this.handle, ranges, write ? 'write' : 'read', use)
  }

  private constructor(device: WebGpuDevice, { mm }: DeviceSite, hardware: string, notes: readonly string[]) {
    super(device, mm)
    this.device = device
    this.#pipelines = new KernelPipelines(device.hardware.context)
    this.#dispatcher = new KernelDispatcher(device.hardware.context)
    this.hardware = hardware
    this.note = notes.length === 0 ? null : notes.join('; ')
  }

  run(launches: readonly KernelLaunch[], options: KernelOptions): Promise<readonly RunOutcome[]> {
    const { context, banks } = this.device.hardware
    const site = { context, banks, pipelines: this.#pipelines, dispatcher: this.#dispatcher, handle: this.handle }
    return runKernels(site, launches, options)
  }

  override async close(): Promise<void> {
    await super.close()
    this.#dispatcher.destroy()
  }
}

async function findOrThrow(
  findAdapter: AdapterFinder,
  name: string,
  adapter: AdapterOption | null,
): Promise<FoundAdapter> {
  const isSoftware = adapter === 'software'
  const found = await findAdapter(
    isSoftware ? { software: true } : adapter === null ? {} : { powerPreference: adapter },
  )
  if (found.adapter !== null) return found
  const reason = found.reason.replaceAll('\n', '; ')
  const help = found.help === null ? '' : `. ${found.help}`
  throw new HeapError('NO_DEVICE', `device "${name}": there is no WebGPU adapter here: ${reason}${help}`)
}
