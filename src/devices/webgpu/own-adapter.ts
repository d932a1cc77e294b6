// The WebGPU of the runtime: of browsers, Deno, and whatever else has `navigator.gpu`. Nothing here is Node's.

export const ADAPTER_SOURCES = ['navigator', 'dawn', 'dawn-software'] as const
/** `dawn-software`: Dawn on the software driver that was unpacked from npm packages. */
export type AdapterSource = (typeof ADAPTER_SOURCES)[number]

/** What a machine without an adapter lacks; the name that skipped tests give. */
export const CAPABILITY_ADAPTER = 'webgpu-adapter'

/** An adapter, and what it is. */
export interface FoundAdapter {
  readonly adapter: GPUAdapter
  readonly source: AdapterSource
  /** It runs on the CPU. */
  readonly isSoftware: boolean
  /** For people: `SwiftShader driver 5.0.0 (dawn-software)`. */
  readonly description: string
}

/** There is no adapter, and why. */
export interface MissingAdapter {
  readonly adapter: null
  /** Always CAPABILITY_ADAPTER. */
  readonly capability: string
  /** What was tried and what came of it, a sentence per line. */
  readonly reason: string
  /** The command that brings one along, as a sentence; null if there is none. */
  readonly help: string | null
}

/** Which adapter is wanted. */
export interface AdapterOptions {
  /** One that runs on the CPU, even if there is another. */
  readonly software?: boolean
  /** Which adapter to prefer where there are several. Default: what the platform prefers. */
  readonly powerPreference?: GPUPowerPreference
}

/** Looks for an adapter. Never rejects. */
export type AdapterFinder = (options?: AdapterOptions) => Promise<FoundAdapter | MissingAdapter>

/** Looks for an adapter of the runtime. Never rejects: where there is none it gives a MissingAdapter. */
export const findOwnAdapter: AdapterFinder = async ({ software = false, ...preference } = {}) => {
  const own = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu
  if (own === undefined) return missingAdapter('this runtime has no navigator.gpu')
  const adapter = await own.requestAdapter(software ? { forceFallbackAdapter: true } : preference)
  return adapter === null ? missingAdapter('navigator.gpu has no adapter') : foundAdapter(adapter, 'navigator')
}

export function missingAdapter(reason: string, help: string | null = null): MissingAdapter {
  return { adapter: null, capability: CAPABILITY_ADAPTER, reason, help }
}

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|software/i

export function foundAdapter(adapter: GPUAdapter, source: AdapterSource): FoundAdapter {
  const { description, device, vendor, isFallbackAdapter } = adapter.info
  const name = description || device || vendor || 'unnamed adapter'
  const isSoftware = source === 'dawn-software' || isFallbackAdapter === true || SOFTWARE.test(name)
  return { adapter, source, isSoftware, description: `${name} (${source})` }
}
