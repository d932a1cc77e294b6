// Checks of options, by name: what is wrong, what it is, and what was wanted.

import { describe } from '../base/describe.ts'
import { parseSize, type Size } from '../base/size.ts'
import { HeapRangeError, HeapTypeError } from './heap-error.ts'

/** Throws a TypeError for what is no object, or has something else than the options. */
export function checkNames(options: unknown, where: string, names: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new HeapTypeError(`${where} is ${describe(options)}, wanted an object with ${names.join(', ')}`)
  }
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw new HeapTypeError(`${where}.${name} is no option, wanted ${names.join(', ')}`)
  }
}

/** The value if it is one of a list, or the default. Throws a RangeError for another text and a TypeError for the rest. */
export function oneOf<T extends string>(value: T | undefined, name: string, values: readonly T[], byDefault?: T): T {
  if (value === undefined && byDefault !== undefined) return byDefault
  if (values.includes(value as T)) return value as T
  const wanted = `wanted one of ${values.join(', ')}`
  if (typeof value === 'string') throw new HeapRangeError(`${name} is ${describe(value)}, ${wanted}`)
  throw new HeapTypeError(`${name} is ${describe(value)}, ${wanted}`)
}

/** True or false, or the default. Throws a TypeError for anything else. */
export function flag(value: boolean | undefined, name: string, byDefault: boolean): boolean {
  if (value === undefined) return byDefault
  if (typeof value !== 'boolean') throw new HeapTypeError(`${name} is ${describe(value)}, wanted true or false`)
  return value
}

/** The size in bytes. Throws a TypeError or RangeError with a code. */
export function parseBytes(size: Size, name: string): number {
  try {
    return parseSize(size, name)
  } catch (error) {
    if (error instanceof TypeError) throw new HeapTypeError(error.message)
    if (error instanceof RangeError) throw new HeapRangeError(error.message)
    throw error
  }
}
