// Files under Node.

import { closeSync, fstatSync, openSync, read } from 'node:fs'
import type { OpenFile } from './files.ts'
import { HeapError } from './heap-error.ts'

const PIECE_NBYTES = 1024 * 1024

/** Opens a file for reading. Throws a HeapError BAD_FILE. */
export function openFile(path: string): OpenFile {
  let fd = -1
  try {
    fd = openSync(path, 'r')
    const stats = fstatSync(fd)
    if (!stats.isFile()) throw new Error('it is no regular file')
    return new NodeFile(path, fd, stats.size, stats.mtimeMs)
  } catch (error) {
    if (fd >= 0) closeSync(fd)
    throw badFile(path, error)
  }
}

class NodeFile implements OpenFile {
  readonly path: string
  readonly fd: number
  readonly nbytes: number
  readonly mtimeMs: number
  #isOpen = true

  constructor(path: string, fd: number, nbytes: number, mtimeMs: number) {
    this.path = path
    this.fd = fd
    this.nbytes = nbytes
    this.mtimeMs = mtimeMs
  }

  async *pieces(offset: number): AsyncGenerator<Uint8Array> {
    // Not an array's own memory: a thread of Node's pool would have to wait for its pages.
    const buffer = new Uint8Array(PIECE_NBYTES)
    for (let position = offset; ; ) {
      const count = await this.#read(buffer, position)
      if (count === 0) return
      position += count
      yield buffer.subarray(0, count)
    }
  }

  close(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    closeSync(this.fd)
  }

  #read(buffer: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      read(this.fd, buffer, 0, buffer.length, position, (error, count) => {
        if (error === null) resolve(count)
        else reject(badFile(this.path, error))
      })
    })
  }
}

function badFile(path: string, error: unknown): HeapError {
  const why = error instanceof Error ? error.message : String(error)
  return new HeapError('BAD_FILE', `file ${JSON.stringify(path)}: ${why}`, { cause: error })
}
