// WebGPU in Node: the package `webgpu` (Dawn), which needs a Vulkan driver on Linux. Where the machine has none, the software
// driver of software-driver.ts takes its place. Loaded by adapter.ts, in Node only.

import { canLoadSystemVulkan, loadSoftwareDriver } from './software-driver.ts'

export interface DawnAdapter {
  readonly adapter: GPUAdapter
  readonly source: 'dawn' | 'dawn-software'
}

/**
 * What `create` of Dawn returned, by the driver below it. It must live as long as the process: when the collector takes it
 * while a device is in use, the process dies with SIGSEGV, and holding the adapter or the device is not enough. So it hangs
 * on the global object, where all copies of this module find it.
 */
const instances: Partial<Record<DawnAdapter['source'], GPU>> = keptForever('hetmem.webgpu.dawn')

function keptForever(name: string): object {
  const global = globalThis as Record<symbol, object | undefined>
  const key = Symbol.for(name)
  global[key] ??= {}
  return global[key]
}

/** An adapter of Dawn, that of the software driver if `software`, or null; each attempt that failed adds a sentence to `tried`. */
export async function findDawnAdapter(
  options: GPURequestAdapterOptions,
  software: boolean,
  tried: string[],
): Promise<DawnAdapter | null> {
  let create: (flags: string[]) => GPU
  try {
    create = (await import('webgpu')).create
  } catch (error) {
    tried.push(`the package webgpu cannot be loaded (npm install webgpu): ${firstLine(error)}`)
    return null
  }
  if (instances['dawn-software'] === undefined) {
    if (software) tried.push('a software driver was asked for')
    // Dawn complains on standard error when there is no Vulkan at all, so it is only asked where there is.
    else if (process.platform !== 'linux' || (await canLoadSystemVulkan())) {
      instances.dawn ??= create([])
      const adapter = await instances.dawn.requestAdapter(options)
      if (adapter !== null) return { adapter, source: 'dawn' }
      tried.push('the package webgpu finds no GPU')
    } else tried.push('there is no Vulkan on this machine')
    const failure = await loadSoftwareDriver()
    if (failure !== null) {
      tried.push(failure)
      return null
    }
    instances['dawn-software'] = create([])
  }
  const adapter = await instances['dawn-software'].requestAdapter(options)
  if (adapter !== null) return { adapter, source: 'dawn-software' }
  tried.push('the package webgpu does not accept the software driver')
  return null
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0]
}
