// What most of the time of tests on a GPU goes into is the compiler of the software driver: 20 to 100 ms for each pipeline. Here a
// device compiles what it has compiled a moment ago not again, and while it compiles its processor is left to it: Dawn asks whether
// it is done as often as the event loop goes round, which takes a processor of its own (src/devices/webgpu/pauses.ts).
//
// Those who share a pipeline notice nothing of each other: all that is told to it lies in buffers.

import { withPauses } from '../../src/devices/webgpu/pauses.ts'

/** Pipelines that are kept: all forms of the last few kernels, whose machine code takes room. */
const KEPT = 32

/** Changes a device, and returns it. */
export function compileOnce(device: GPUDevice): GPUDevice {
  const codes = new WeakMap<GPUShaderModule, string>()
  const kept = new Map<string, Promise<GPUComputePipeline>>()
  const createModule = device.createShaderModule.bind(device)
  device.createShaderModule = (descriptor) => {
    const module = createModule(descriptor)
    codes.set(module, descriptor.code)
    return module
  }
  const createPipeline = device.createComputePipelineAsync.bind(device)
  device.createComputePipelineAsync = (descriptor) => {
    const { module, ...stage } = descriptor.compute
    // Bindings are declared in the code, so layouts for the same code are alike.
    const key = JSON.stringify([codes.get(module), stage])
    const pipeline = kept.get(key) ?? withPauses(createPipeline(descriptor))
    kept.delete(key)
    kept.set(key, pipeline)
    const [oldest] = kept.keys()
    if (kept.size > KEPT) kept.delete(oldest)
    return pipeline
  }
  return device
}
