// The options that bound the memory of a live heap: how much of it may be RAM, and how much more may be in a swap file.

import { pageAlignUp } from '../base/addr.ts'
import { describe } from '../base/describe.ts'
import { formatSize, MIB, type Size } from '../base/size.ts'
import { ON_LOST, type OnLost } from '../devices/driver/device-parts.ts'
import { HEAP_BYTES_MAX } from './arena.ts'
import { HeapRangeError, HeapTypeError } from './heap-error.ts'
import { checkNames, oneOf, parseBytes } from './option-checks.ts'

/** A swap file with more said about it than its size. */
export interface SwapSpec {
  /**
   * Directory on a disk with room. The file has no name there, so nothing is left of it whatever happens. Default: that for
   * temporary files.
   */
  readonly path?: string
  readonly size: Size
  /** What is found where a block cannot be read back, or is not what was written: an error, or bytes 0xff. Default 'sigbus': an error. */
  readonly onLost?: OnLost
}

/** Bytes, whole pages. */
export interface MemorySettings {
  /** System memory that the heap may keep; null: as much as it likes. */
  readonly limit: number | null
  readonly swap: SwapSettings | null
}

export interface SwapSettings {
  readonly nbytes: number
  /** Null: the directory for temporary files. */
  readonly directory: string | null
  readonly onLost: OnLost
}

/** Frames that only pages coming back from devices may use. */
export const RESERVE_BYTES = 2 * MIB

/** With less memory the pages of a few faults would push each other out. */
const LIMIT_MIN_WITH_SWAP = 16 * MIB

/** Throws a TypeError or RangeError. */
export function parseMemory(memory: Size | undefined, swap: Size | SwapSpec | undefined): MemorySettings {
  const limit = memory === undefined ? null : pageAlignUp(parseBytes(memory, 'memory'))
  if (limit === 0 || (limit !== null && limit > HEAP_BYTES_MAX)) {
    throw new HeapRangeError(`memory is ${memory}, wanted more than 0 bytes and at most ${formatSize(HEAP_BYTES_MAX)}`)
  }
  if (swap === undefined) return { limit, swap: null }
  const settings = typeof swap === 'object' ? parseSwap(swap, 'swap.size') : parseSwap({ size: swap }, 'swap')
  if (limit === null) {
    throw new HeapRangeError('swap without memory, wanted memory too: the bytes of RAM that the heap may keep')
  }
  if (limit < LIMIT_MIN_WITH_SWAP) {
    throw new HeapRangeError(`memory is ${memory}, wanted at least ${formatSize(LIMIT_MIN_WITH_SWAP)} beside swap`)
  }
  return { limit, swap: settings }
}

/** `where` names the size. */
function parseSwap(swap: SwapSpec, where: string): SwapSettings | null {
  checkNames(swap, 'swap', ['path', 'size', 'onLost'])
  const { path = null, size } = swap
  if (path !== null && (typeof path !== 'string' || path === '')) {
    throw new HeapTypeError(`swap.path is ${describe(path)}, wanted a directory`)
  }
  const nbytes = pageAlignUp(parseBytes(size, where))
  return nbytes === 0 ? null : { nbytes, directory: path, onLost: oneOf(swap.onLost, 'swap.onLost', ON_LOST, 'sigbus') }
}
