// The list of suites. Each is loaded when it is asked for: it may need a package or a machine that others do without.

import type { Suite } from './harness.ts'

const SUITES = {
  core: async () => (await import('./core.ts')).core,
  webgpu: async () => (await import('./webgpu.ts')).webgpu,
  paging: async () => (await import('./paging.ts')).paging,
  trace: async () => (await import('./trace.ts')).trace,
  compare: async () => (await import('./compare.ts')).compare,
  search: async () => (await import('./search.ts')).search,
  live: async () => (await import('./live.ts')).live,
}

export type SuiteName = keyof typeof SUITES

export const SUITE_NAMES = Object.keys(SUITES) as readonly SuiteName[]

export function isSuiteName(name: string): name is SuiteName {
  return Object.hasOwn(SUITES, name)
}

export function loadSuite(name: SuiteName): Promise<Suite> {
  return SUITES[name]()
}
