// Text files line by line, as bytes: a graph of a hundred million edges should not become a hundred million strings. Compressed
// files (gzip) are known by their first bytes and unpacked on the way.

import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import { createGunzip } from 'node:zlib'
import { VERTICES_MAX } from '../edge-list.ts'
import { GraphFileError } from './graph-file-error.ts'

const TAB = 9
const NEWLINE = 10
const RETURN = 13
const SPACE = 32
const DIGIT_0 = 48
const DIGIT_9 = 57

/** Longest line, in bytes: what is longer is no list of edges. */
const LINE_MAX = 1 << 20

/** A line and a place in it. The same object for all lines: nothing of it may be kept. */
export class Line {
  /** From 1 on. */
  number = 0
  readonly #path: string
  #bytes: Uint8Array = new Uint8Array(0)
  #start = 0
  #at = 0
  #end = 0

  constructor(path: string) {
    this.#path = path
  }

  /** @internal For readLines: the next line is bytes[start, end). */
  set(bytes: Uint8Array, start: number, end: number): void {
    if (end > start && bytes[end - 1] === RETURN) end--
    this.number++
    this.#bytes = bytes
    this.#start = start
    this.#at = start
    this.#end = end
  }

  /** The whole line, without its end. */
  get text(): string {
    return new TextDecoder().decode(this.#bytes.subarray(this.#start, this.#end))
  }

  /** Goes to what is not blank. False at the end of the line. */
  skipBlanks(): boolean {
    while (this.#at < this.#end && (this.#bytes[this.#at] === SPACE || this.#bytes[this.#at] === TAB)) this.#at++
    return this.#at < this.#end
  }

  /** The byte at this place, as a code of ASCII; -1 at the end of the line. */
  get code(): number {
    return this.#at < this.#end ? this.#bytes[this.#at] : -1
  }

  /** Passes what is between blanks. False if there was nothing. */
  skipWord(): boolean {
    if (!this.skipBlanks()) return false
    while (this.#at < this.#end && this.#bytes[this.#at] !== SPACE && this.#bytes[this.#at] !== TAB) this.#at++
    return true
  }

  /** Takes the whole number that comes next, between blanks: a vertex. Fails if there is none. */
  takeVertex(): number {
    if (!this.skipBlanks()) throw this.fail(`${this.#shown()} ends early, wanted two vertices`)
    const start = this.#at
    let value = 0
    for (; this.#at < this.#end; this.#at++) {
      const byte = this.#bytes[this.#at]
      if (byte < DIGIT_0 || byte > DIGIT_9) break
      value = 10 * value + byte - DIGIT_0
    }
    const isWhole = this.#at > start && (this.code === -1 || this.code === SPACE || this.code === TAB)
    if (isWhole && value < VERTICES_MAX) return value
    this.#at = start
    this.skipWord()
    const word = new TextDecoder().decode(this.#bytes.subarray(start, this.#at))
    throw this.fail(badVertex(word))
  }

  /** The error for something that is wrong in this line. */
  fail(message: string): GraphFileError {
    return new GraphFileError(this.#path, this.number, message)
  }

  #shown(): string {
    return shorten(this.text)
  }
}

/** Whether a line that begins with this byte is a remark, in formats that have them. */
export function isRemark(code: number): boolean {
  return code === 0x23 /* # */ || code === 0x25 /* % */
}

/** The message for a word that is no vertex. */
export function badVertex(word: string): string {
  return `${shorten(word)} is no vertex, wanted a whole number below ${VERTICES_MAX}`
}

/** A text in quotes, not too long for a message. */
export function shorten(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 37)}...` : text)
}

/** Rejects with a GraphFileError for a file that cannot be opened, or is a directory. */
export async function checkReadable(path: string): Promise<void> {
  try {
    const file = await open(path)
    try {
      await file.read(new Uint8Array(1), 0, 1, 0)
    } finally {
      await file.close()
    }
  } catch (error) {
    throw unreadable(path, error)
  }
}

/** Calls `visit` for each line of a file. Rejects with a GraphFileError for a file that cannot be read, or is no text. */
export async function readLines(path: string, visit: (line: Line) => void): Promise<void> {
  const line = new Line(path)
  /** The beginning of a line whose end is in the next chunk. */
  let rest: Uint8Array = new Uint8Array(0)
  try {
    for await (const chunk of await openText(path)) {
      const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      if (bytes.includes(0)) throw new GraphFileError(path, null, 'is no text file, it has bytes that are 0')
      let start = 0
      for (let end = bytes.indexOf(NEWLINE, 0); end !== -1; end = bytes.indexOf(NEWLINE, start)) {
        line.set(bytes, start, end)
        visit(line)
        start = end + 1
      }
      rest = bytes.subarray(start)
      if (rest.length > LINE_MAX) {
        throw new GraphFileError(path, line.number + 1, `is longer than ${LINE_MAX} bytes, wanted an edge per line`)
      }
    }
  } catch (error) {
    throw error instanceof GraphFileError ? error : unreadable(path, error)
  }
  if (rest.length > 0) {
    line.set(rest, 0, rest.length)
    visit(line)
  }
}

/** The text of a file in chunks. */
async function openText(path: string): Promise<AsyncIterable<Uint8Array>> {
  const file = await open(path)
  const magic = new Uint8Array(3)
  try {
    await file.read(magic, 0, magic.length, 0)
  } finally {
    await file.close()
  }
  const isGzip = magic[0] === 0x1f && magic[1] === 0x8b
  // A mark of the byte order is no part of the text.
  const hasMark = magic[0] === 0xef && magic[1] === 0xbb && magic[2] === 0xbf
  const stream = createReadStream(path, { highWaterMark: 1 << 20, start: hasMark ? 3 : 0 })
  if (!isGzip) return stream
  const unpacked = createGunzip({ chunkSize: 1 << 20 })
  stream.on('error', (error) => unpacked.destroy(error))
  return stream.pipe(unpacked)
}

function unreadable(path: string, error: unknown): GraphFileError {
  const { code, message } = error as NodeJS.ErrnoException
  const reasons: Readonly<Record<string, string>> = {
    ENOENT: 'there is no such file',
    EACCES: 'it may not be read',
    EISDIR: 'it is a directory',
    Z_BUF_ERROR: 'it is compressed, and cut off',
    Z_DATA_ERROR: 'it is compressed, and damaged',
  }
  return new GraphFileError(path, null, `cannot be read: ${reasons[code ?? ''] ?? message}`, { cause: error })
}
