// A graph file that cannot be used, with the line that says so.

export class GraphFileError extends Error {
  override readonly name = 'GraphFileError'
  /** Path of the file. */
  readonly path: string
  /** Number of the line, from 1 on; null if the file as a whole is meant. */
  readonly line: number | null

  constructor(path: string, line: number | null, message: string, options?: ErrorOptions) {
    super(line === null ? `${path}: ${message}` : `${path}, line ${line}: ${message}`, options)
    this.path = path
    this.line = line
  }
}
