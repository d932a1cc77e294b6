// Files in a heap: shown as arrays, or read into them. A live heap reads what it shows when it is touched; in explicit mode nobody
// would notice the touch, so it is read at once.

import type { ArrayOf, ArrayType, HeapView } from './array-types.ts'
import { checkArrayType, describe } from './array-types.ts'
import { errorOf } from './engine/failure.ts'
import { type DataSource, type FileOpener, fillFrom, type OpenFile, pathOf, piecesOf } from './files.ts'
import type { HeapArrays } from './heap-arrays.ts'
import { HeapError, HeapTypeError } from './heap-error.ts'
import { type LoadOptions, type MapOptions, parseLoadOptions, parseMapOptions } from './map-options.ts'
import { LoadReceipt } from './receipts.ts'

export interface HeapFilesSite {
  readonly arrays: HeapArrays
  /** A touch of an array can bring its pages from a file. */
  readonly isLive: boolean
  /** Null where there are no files. */
  readonly openPath: FileOpener | null
  /** Makes a view the CPU's. */
  readonly sync: (view: HeapView) => Promise<unknown>
}

export class HeapFiles {
  readonly #site: HeapFilesSite

  constructor(site: HeapFilesSite) {
    this.#site = site
  }

  /** Like `heap.map`. */
  async map<T extends ArrayType>(path: string | URL, type: T, options: MapOptions): Promise<ArrayOf<T>> {
    const { arrays, isLive } = this.#site
    checkArrayType(type)
    const file = this.#open(path)
    try {
      const { offset, length, name } = parseMapOptions(options, type, file)
      const shown = isLive ? { file, offset } : null
      const { array, allocation, mapped } = arrays.alloc(type, length, { name, readOnly: true }, shown)
      try {
        if (!isLive) await fillFrom(bytesOf(array), file.pieces(offset), 0, `file ${JSON.stringify(file.path)}`)
        const failure = await mapped
        if (failure !== null) throw errorOf(failure)
      } catch (error) {
        arrays.release(allocation)
        throw error
      }
      return array
    } finally {
      // The engine has opened it for itself by now.
      file.close()
    }
  }

  /** Like `heap.load`. */
  async load(view: HeapView, source: DataSource, options: LoadOptions): Promise<LoadReceipt> {
    const { arrays, isLive, sync } = this.#site
    const { offset } = parseLoadOptions(options)
    const { allocation } = arrays.allocations.partOf(view)
    if (arrays.isShown(allocation)) throw new HeapError('READ_ONLY', `"${allocation.name}" shows a file`)
    const path = pathOf(source)
    const file = path === undefined ? null : this.#open(path)
    const begin = performance.now()
    try {
      if (!isLive) await sync(view)
      const what = path === undefined ? 'source' : `file ${JSON.stringify(path)}`
      const pieces = file === null ? piecesOf(source) : file.pieces(offset)
      await fillFrom(bytesOf(view), pieces, file === null ? offset : 0, what)
      return new LoadReceipt(allocation.name, view.byteLength, performance.now() - begin)
    } finally {
      file?.close()
    }
  }

  /** Throws a HeapError BAD_FILE, or NOT_IN_MODE where there are no files. */
  #open(path: string | URL): OpenFile {
    const { openPath } = this.#site
    const text = pathOf(path)
    if (text === undefined) throw new HeapTypeError(`path is ${describe(path)}, wanted a text or a file: URL`)
    if (openPath === null) throw new HeapError('NOT_IN_MODE', `file ${JSON.stringify(text)}: there are no files here`)
    return openPath(text)
  }
}

/** The bytes of a view. */
function bytesOf({ buffer, byteOffset, byteLength }: HeapView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}
