// Reads trace files into reports, at once or while they grow.

import { closeSync, openSync, readSync } from 'node:fs'
import { StringDecoder } from 'node:string_decoder'
import { ReportBuilder, type ReportModel } from '../report/index.ts'
import type { TraceEvent } from '../trace/events.ts'
import { JsonlReader } from '../trace/jsonl.ts'
import { EXIT_USAGE, fileProblem, UserError } from './user-error.ts'

const PIECE_BYTES = 1 << 20

/** The report of a whole trace file. Throws a UserError for a file that cannot be read, or is no trace. */
export function readTrace(path: string): ReportModel {
  const follower = new TraceFollower(path)
  follower.read()
  return follower.finish()
}

/** A trace that may still be growing. */
export class TraceFollower {
  readonly #path: string
  readonly #fd: number
  readonly #decoder = new StringDecoder('utf8')
  readonly #reader: JsonlReader
  readonly #piece = Buffer.alloc(PIECE_BYTES)
  #builder: ReportBuilder | null = null

  constructor(path: string) {
    this.#path = path
    this.#reader = new JsonlReader((event) => this.#take(event))
    try {
      this.#fd = openSync(path, 'r')
    } catch (error) {
      throw new UserError(`${path}: ${fileProblem(error)}`, EXIT_USAGE, { cause: error })
    }
  }

  /** What was read so far; null before the first event. */
  get builder(): ReportBuilder | null {
    return this.#builder
  }

  /** Reads what has been written since the last time. Throws a UserError if that is no trace. */
  read(): void {
    this.#guard(() => {
      for (let isFirst = true; ; isFirst = false) {
        const nbytes = readSync(this.#fd, this.#piece)
        if (nbytes === 0) return
        const text = this.#decoder.write(this.#piece.subarray(0, nbytes))
        if (isFirst && this.#builder === null && text.startsWith('[')) {
          throw new SyntaxError('this is a trace for Perfetto; the report is made of the trace in JSON lines')
        }
        this.#reader.push(text)
      }
    })
  }

  /** Nothing more comes. Returns the report. Throws a UserError if the file is no trace. */
  finish(): ReportModel {
    closeSync(this.#fd)
    return this.#guard(() => {
      const isCut = this.#reader.end({ lastLineMayBeCut: true })
      const builder = this.#builder ?? new ReportBuilder(this.#reader.header)
      return builder.build({ isCut })
    })
  }

  #take(event: TraceEvent): void {
    this.#builder ??= new ReportBuilder(this.#reader.header)
    this.#builder.write(event)
  }

  #guard<T>(act: () => T): T {
    try {
      return act()
    } catch (error) {
      if (error instanceof SyntaxError)
        throw new UserError(`${this.#path}: ${error.message}`, EXIT_USAGE, { cause: error })
      throw new UserError(`${this.#path}: ${fileProblem(error)}`, EXIT_USAGE, { cause: error })
    }
  }
}
