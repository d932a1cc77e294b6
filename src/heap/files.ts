// Files as a heap needs them: to show them as arrays, and to fill arrays from them. Opening one is the platform's business; web
// pages have none, and fill arrays from streams.

import { describe } from '../base/describe.ts'
import type { ArrayFile } from './engine/protocol.ts'
import { HeapError, HeapTypeError } from './heap-error.ts'

/** A file that is open for reading. */
export interface OpenFile {
  readonly path: string
  /** Descriptor, for all threads of the process. */
  readonly fd: number
  /** Size in bytes. */
  readonly nbytes: number
  /** When it was written last, in milliseconds since 1970. */
  readonly mtimeMs: number
  /** The bytes from `offset` on. Each piece is of use until the next one is asked for. */
  pieces(offset: number): AsyncIterable<Uint8Array>
  close(): void
}

/** Opens a file. Throws a HeapError BAD_FILE. */
export type FileOpener = (path: string) => OpenFile

/** Where arrays are filled from: a path, or bytes as they come, from a web stream, a stream of Node, or a generator. */
export type DataSource = string | URL | AsyncIterable<Uint8Array> | Iterable<Uint8Array> | ReadableStreamLike

/** A stream of the web, also where those cannot be iterated. */
export interface ReadableStreamLike {
  /** Locks the stream for a reader. */
  getReader(): {
    /** The next bytes, or that there are none. */
    read(): Promise<{ readonly done: boolean; readonly value?: unknown }>
    /** Says that nothing more is wanted. */
    cancel(): Promise<unknown>
  }
}

/** A part of a file, for the engine. */
export function fileOfArray({ path, fd, nbytes, mtimeMs }: OpenFile, offset: number): ArrayFile {
  return { path, fd, offset, size: nbytes, mtimeMs }
}

/** The path that a source is; undefined for a stream. Throws a TypeError for what is none. */
export function pathOf(source: DataSource): string | undefined {
  if (typeof source === 'string') return source
  if (!(source instanceof URL)) return undefined
  if (source.protocol !== 'file:') throw new HeapTypeError(`source is ${source.href}, wanted a path or a file: URL`)
  return decodeURIComponent(source.pathname)
}

/** The pieces of a stream. Throws a TypeError for what is none, and for pieces that are no bytes. */
export async function* piecesOf(source: DataSource): AsyncGenerator<Uint8Array> {
  for await (const piece of iterate(source)) {
    if (!(piece instanceof Uint8Array)) {
      throw new HeapTypeError(`source gives ${describe(piece)}, wanted pieces of type Uint8Array`)
    }
    yield piece
  }
}

function iterate(source: DataSource): AsyncIterable<unknown> | Iterable<unknown> {
  if (typeof source === 'object' && source !== null) {
    if (Symbol.asyncIterator in source || Symbol.iterator in source) return source
    if ('getReader' in source) return readAll(source)
  }
  throw new HeapTypeError(`source is ${describe(source)}, wanted a path, a stream or an iterable of Uint8Arrays`)
}

async function* readAll(stream: ReadableStreamLike): AsyncGenerator<unknown> {
  const reader = stream.getReader()
  let isDone = false
  try {
    for (;;) {
      const { done, value } = await reader.read()
      isDone = done
      if (done) return
      yield value
    }
  } finally {
    if (!isDone) await reader.cancel()
  }
}

/**
 * Copies pieces to `target` until it is full, leaving out the first `skip` bytes. `own` is awaited before bytes are written.
 * Throws a HeapError BAD_FILE, with `what` as its subject, if the pieces end before.
 */
export async function fillFrom(
  target: Uint8Array,
  pieces: AsyncIterable<Uint8Array>,
  skip: number,
  what: string,
): Promise<void> {
  let left = skip
  let at = 0
  if (target.length === 0) return
  for await (const piece of pieces) {
    const from = Math.min(left, piece.length)
    left -= from
    const part = piece.subarray(from, from + target.length - at)
    target.set(part, at)
    at += part.length
    if (at === target.length) return
  }
  throw new HeapError('BAD_FILE', `${what} ends after ${at} bytes, wanted ${target.length}`)
}
