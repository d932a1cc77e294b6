// Where a WebGPU adapter comes from. Start here for "why is there none".
//
//   navigator.gpu            browsers, Deno, and whatever else brings WebGPU along
//   package `webgpu` (Dawn)  Node; on the GPU of the machine, else on the software driver of `@sparticuz/chromium`
//
// The native packages are optional and are loaded in Node alone: Bun, Deno and Electron use the WebGPU of the runtime or
// get a reason. A machine without an adapter is no error here: the answer is the capability that is missing, and why.

export const ADAPTER_SOURCES = ['navigator', 'dawn', 'dawn-software'] as const
/** `dawn-software`: Dawn on the software driver that was unpacked from npm packages. */
export type AdapterSource = (typeof ADAPTER_SOURCES)[number]

/** What a machine without an adapter lacks; the name that skipped tests give. */
export const CAPABILITY_ADAPTER = 'webgpu-adapter'

export interface FoundAdapter {
  readonly adapter: GPUAdapter
  readonly source: AdapterSource
  /** It runs on the CPU. */
  readonly isSoftware: boolean
  /** For people: `SwiftShader driver 5.0.0 (dawn-software)`. */
  readonly description: string
}

export interface MissingAdapter {
  readonly adapter: null
  /** Always CAPABILITY_ADAPTER. */
  readonly capability: string
  /** What was tried and what came of it, a sentence per line. */
  readonly reason: string
  /** The command that brings one along, as a sentence; null if there is none. */
  readonly help: string | null
}

export interface AdapterOptions {
  /** One that runs on the CPU, even if there is another. */
  readonly software?: boolean
  /** Which adapter to prefer where there are several. Default: what the platform prefers. */
  readonly powerPreference?: GPUPowerPreference
}

/** Looks for an adapter. Never rejects: a machine without one gives a MissingAdapter. */
export async function findAdapter(options: AdapterOptions = {}): Promise<FoundAdapter | MissingAdapter> {
  const { software = false, ...preference } = options
  const tried: string[] = []
  const own = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu
  if (own === undefined) tried.push('this runtime has no navigator.gpu')
  else {
    const adapter = await own.requestAdapter(software ? { forceFallbackAdapter: true } : preference)
    if (adapter !== null) return found(adapter, 'navigator')
    tried.push('navigator.gpu has no adapter')
  }
  if (!isNode()) tried.push('native packages are loaded in Node only')
  else {
    const { findDawnAdapter } = await import('./dawn.ts')
    const dawn = await findDawnAdapter(preference, software, tried)
    if (dawn !== null) return found(dawn.adapter, dawn.source)
  }
  return { adapter: null, capability: CAPABILITY_ADAPTER, reason: tried.join('\n'), help: isNode() ? HELP : null }
}

/** The software driver of the last two is for linux on x86-64; elsewhere the first is enough. */
const HELP = 'This brings one along: npm install webgpu koffi @sparticuz/chromium'

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|software/i

function found(adapter: GPUAdapter, source: AdapterSource): FoundAdapter {
  const { description, device, vendor, isFallbackAdapter } = adapter.info
  const name = description || device || vendor || 'unnamed adapter'
  const isSoftware = source === 'dawn-software' || isFallbackAdapter === true || SOFTWARE.test(name)
  return { adapter, source, isSoftware, description: `${name} (${source})` }
}

/** Node itself, not a runtime that says it is Node. */
function isNode(): boolean {
  const versions: Record<string, string | undefined> | undefined = globalThis.process?.versions
  if (versions?.['node'] === undefined || 'Deno' in globalThis) return false
  return versions['bun'] === undefined && versions['electron'] === undefined
}
