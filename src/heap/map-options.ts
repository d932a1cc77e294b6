// What of a file an array shows: offset and length against the size of the file and the type.

import { describe } from '../base/describe.ts'
import { formatSize, type Size } from '../base/size.ts'
import { type ArrayType, checkLength } from './array-types.ts'
import type { OpenFile } from './files.ts'
import { HeapRangeError, HeapTypeError } from './heap-error.ts'
import { checkNames, parseBytes } from './option-checks.ts'

/** Which part of a file `map` shows. */
export interface MapOptions {
  /** Where the array begins in the file, in bytes: a multiple of the size of its elements. Default 0. */
  readonly offset?: Size
  /** Elements. Default: up to the end of the file. */
  readonly length?: number
  /** In errors, statistics and traces. Default: the path. */
  readonly name?: string
}

/** Where in its source `load` begins. */
export interface LoadOptions {
  /** Bytes of the file or stream that come before. Default 0. */
  readonly offset?: Size
}

/** Part of a file. */
export interface FilePart {
  readonly offset: number
  /** Elements. */
  readonly length: number
  readonly name: string
}

/** Throws a TypeError or RangeError that names the option, its value and what was wanted. */
export function parseMapOptions(options: MapOptions, type: ArrayType, file: OpenFile): FilePart {
  checkNames(options, 'options', ['offset', 'length', 'name'])
  const { name = file.path } = options
  if (typeof name !== 'string') throw new HeapTypeError(`name is ${describe(name)}, wanted a text`)
  const offset = parseOffset(options.offset)
  const size = type.BYTES_PER_ELEMENT
  if (offset % size !== 0) {
    throw new HeapRangeError(`offset is ${offset}, wanted a multiple of ${size} bytes for a ${type.name}`)
  }
  const left = Math.max(0, file.nbytes - offset)
  const rest = `file ${JSON.stringify(file.path)} has ${left} bytes from offset ${offset}`
  if (options.length === undefined) {
    if (left % size !== 0) throw new HeapRangeError(`${rest}, wanted a multiple of ${size}; give a length`)
    return { offset, length: checkLength(left / size), name }
  }
  const length = checkLength(options.length)
  if (length * size > left)
    throw new HeapRangeError(`${rest}, wanted ${formatSize(length * size)} for ${length} elements`)
  return { offset, length, name }
}

/** Throws a TypeError or RangeError. */
export function parseLoadOptions(options: LoadOptions): { readonly offset: number } {
  checkNames(options, 'options', ['offset'])
  return { offset: parseOffset(options.offset) }
}

function parseOffset(offset: Size = 0): number {
  return parseBytes(offset, 'offset')
}
