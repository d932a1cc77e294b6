// A fault of a kernel in terms of the heap: the address that it used, and the array that lies there. The device knows indices of arguments
// and words of pointers; arrays have names here.

import { formatSize } from '../../base/size.ts'
import type { GpuFaultError } from '../../kernel/paged/gpu-fault-error.ts'
import type { KernelLaunch } from '../../kernel/program.ts'
import type { ArrayTable, MappedArray } from './array-table.ts'

/** `...wrote "y"[300], which has 256 elements, in line 5; 0x24b0 is 176 B past the end of "levels"`. */
export function describeFault(error: GpuFaultError, launch: KernelLaunch, arrays: ArrayTable): string {
  const { reason, value } = error
  if (value !== null && reason === 'pointer' && value > 0) {
    return `${error.message}; ${placeOf(4 * value, arrays.at(4 * value))}`
  }
  const arg = launch.program.args.findIndex(({ name }) => name === error.site?.arg)
  if (value === null || reason !== 'index' || arg < 0) return error.message
  const { binding, stride } = launch.program.args[arg]
  const { skip, length } = launch.args[arg]
  const start = launch.ranges[binding].start + skip * stride
  // An index into an array inside of an element says no address.
  if (value >= 0 && value < length) return `${error.message}; it is "${arrays.nameAt(start)}"`
  return `${error.message}; ${placeOf(start + value * stride, arrays.at(start))}`
}

/** Where an address lies, seen from an array. */
function placeOf(addr: number, array: MappedArray | undefined): string {
  const shown = addr < 0 ? `-0x${(-addr).toString(16)}` : `0x${addr.toString(16)}`
  if (array === undefined) return `${shown} is in no array`
  const { name, start, dataEnd, readOnly } = array
  if (addr < start) return `${shown} is ${formatSize(start - addr)} before "${name}"`
  if (addr >= dataEnd) return `${shown} is ${formatSize(addr - dataEnd)} past the end of "${name}"`
  return `${shown} is in "${name}"${readOnly ? ', which was allocated readOnly' : ''}`
}
