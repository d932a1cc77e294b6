// What is going to be done with memory, and where: options of the calls that move it.

import { oneOf } from './option-checks.ts'

/** What is going to be done with memory: reading, or reading and writing. */
export const ACCESS_OPTIONS = ['read', 'readWrite'] as const
export type AccessOption = (typeof ACCESS_OPTIONS)[number]

/** Where `prefetch` brings pages, and for what. */
export interface PrefetchOptions {
  /** 'cpu', or the name of a device. Default: the first device. */
  readonly to?: string
  /** 'read' lets the CPU go on reading. Default 'read'. */
  readonly access?: AccessOption
}

/** Throws a TypeError or RangeError for what is none. */
export function checkAccess(access: AccessOption): AccessOption {
  return oneOf(access, 'access', ACCESS_OPTIONS)
}
