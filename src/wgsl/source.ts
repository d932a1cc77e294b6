// A WGSL text and places in it. Everything in this folder says where it is by offsets into the text, in UTF-16 code units;
// lines and columns, which people and WebGPU's messages use, are counted from 1 and worked out only when someone asks.

/** From `start` to before `end`, as offsets into the text. */
export interface Span {
  readonly start: number
  readonly end: number
}

/** Line and column, both from 1; the column in UTF-16 code units, as in GPUCompilationMessage. */
export interface Position {
  readonly line: number
  readonly column: number
}

// The line breaks of WGSL: CR LF counts once.
const LINE_BREAK = /\r\n|[\n\v\f\r\u0085\u2028\u2029]/g

export class Source {
  readonly text: string
  /** What error messages call it. */
  readonly name: string
  /** Offset at which each line begins. */
  private readonly lineStarts: number[] = [0]

  constructor(text: string, name = 'wgsl') {
    this.text = text
    this.name = name
    for (const match of text.matchAll(LINE_BREAK)) this.lineStarts.push(match.index + match[0].length)
  }

  /** Where an offset is. */
  position(offset: number): Position {
    let low = 0
    let high = this.lineStarts.length
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if (this.lineStarts[middle] <= offset) low = middle
      else high = middle
    }
    return { line: low + 1, column: offset - this.lineStarts[low] + 1 }
  }

  /** The offset of a place, clamped to the text. */
  offset({ line, column }: Position): number {
    const row = Math.min(Math.max(line, 1), this.lineStarts.length) - 1
    const end = this.lineStarts[row + 1] ?? this.text.length
    return Math.min(this.lineStarts[row] + Math.max(column, 1) - 1, end)
  }

  /** A line without its line break. */
  line(line: number): string {
    const end = this.lineStarts[line] ?? this.text.length
    return this.text.slice(this.lineStarts[line - 1], end).replace(LINE_BREAK, '')
  }

  slice({ start, end }: Span): string {
    return this.text.slice(start, end)
  }
}
