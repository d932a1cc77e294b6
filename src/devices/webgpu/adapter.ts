// Where a WebGPU adapter comes from. Start here for "why is there none".
//
//   navigator.gpu            browsers, Deno, and whatever else brings WebGPU along
//   package `webgpu` (Dawn)  Node; on the GPU of the machine, else on the software driver of `@sparticuz/chromium`
//
// The native packages are optional and are loaded in Node alone: Bun, Deno and Electron use the WebGPU of the runtime or
// get a reason. A machine without an adapter is no error here: the answer is the capability that is missing, and why.

import { isNode } from '../../base/runtime.ts'
import { type AdapterFinder, findOwnAdapter, foundAdapter, missingAdapter } from './own-adapter.ts'

export {
  ADAPTER_SOURCES,
  type AdapterFinder,
  type AdapterOptions,
  type AdapterSource,
  CAPABILITY_ADAPTER,
  type FoundAdapter,
  type MissingAdapter,
} from './own-adapter.ts'

/** Looks for an adapter. Never rejects: a machine without one gives a MissingAdapter. */
export const findAdapter: AdapterFinder = async (options = {}) => {
  const own = await findOwnAdapter(options)
  if (own.adapter !== null) return own
  const tried = [own.reason]
  if (!isNode()) return missingAdapter([...tried, 'native packages are loaded in Node only'].join('\n'))
  const { software = false, ...preference } = options
  const { findDawnAdapter } = await import('./dawn.ts')
  const dawn = await findDawnAdapter(preference, software, tried)
  return dawn === null ? missingAdapter(tried.join('\n'), HELP) : foundAdapter(dawn.adapter, dawn.source)
}

/** The software driver of the last two is for linux on x86-64; elsewhere the first is enough. */
const HELP = 'This brings one along: npm install webgpu koffi @sparticuz/chromium'
