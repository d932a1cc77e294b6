// What is wrong with the code of a kernel, at the user's own line:
//
//   saxpy:3:5: "x" is declared read, and is written here
//         x[id.x] = 2.0;
//         ^

import { type Position, pointAt, type Source } from '../wgsl/index.ts'

/** The code of a kernel is not what it should be: found by `kernel()` in the source, or by the compiler of a device. */
export class KernelError extends Error {
  override readonly name = 'KernelError'
  readonly code = 'BAD_KERNEL'
  /** Name of the kernel. */
  readonly kernel: string
  /** What is wrong, without the place. */
  readonly reason: string
  /** Where in the code, from 1; null if it is nowhere in particular. The column counts UTF-16 units. */
  readonly line: number | null
  readonly column: number | null

  /** The source has the name of the kernel. */
  constructor(reason: string, source: Source, place: Position | null, options?: ErrorOptions) {
    super(messageOf(reason, source, place), options)
    this.kernel = source.name
    this.reason = reason
    this.line = place?.line ?? null
    this.column = place?.column ?? null
  }
}

function messageOf(reason: string, source: Source, place: Position | null): string {
  if (place === null) return `${source.name}: ${reason}`
  return `${source.name}:${place.line}:${place.column}: ${reason}\n${pointAt(source.line(place.line), place)}`
}
