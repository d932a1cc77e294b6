// What the commands print on: lines of limited width, with colour where somebody will see it.

/** Widest line that is printed. */
export const COLUMNS_MAX = 100
/** Narrower terminals wrap for themselves. */
const COLUMNS_MIN = 40

/** Colours and the like, as SGR parameters of ECMA-48. */
export const STYLES = {
  bold: '1',
  dim: '2',
  red: '31',
  cyan: '36',
  boldCyan: '1;36',
  onGreen: '30;42',
  onCyan: '30;46',
  onYellow: '30;43',
  onMagenta: '97;45',
  onGrey: '97;100',
} as const
export type Style = keyof typeof STYLES

/** The part of a stream that matters here; process.stdout is one. */
export interface OutputStream {
  write(text: string): unknown
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
}

export class Terminal {
  readonly color: boolean
  readonly #stream: OutputStream

  constructor(stream: OutputStream, color: boolean) {
    this.#stream = stream
    this.color = color
  }

  /** Columns that a line may have. A terminal that does not know its width says 0. */
  get columns(): number {
    return Math.max(COLUMNS_MIN, Math.min(COLUMNS_MAX, this.#stream.columns || COLUMNS_MAX))
  }

  /** Somebody sits before it, and lines may change. */
  get isWatched(): boolean {
    return this.#stream.isTTY === true
  }

  /** Prints a line, without the spaces at its end. */
  line(text = ''): void {
    this.write(`${text.trimEnd()}\n`)
  }

  /** Prints a text as it is. */
  write(text: string): void {
    this.#stream.write(text)
  }

  /** Prints a paragraph, wrapped between the indent and the last column. */
  paragraph(text: string, indent: number): void {
    for (const line of wrap(text, this.columns - indent)) this.line(' '.repeat(indent) + line)
  }

  /** The text in a style, if this terminal shows any. Its width stays the same. */
  paint(style: Style, text: string): string {
    return this.color ? `\x1b[${STYLES[style]}m${text}\x1b[0m` : text
  }
}

/** Colour for people at a terminal, unless they said no (https://no-color.org). FORCE_COLOR says yes to a pipe too. */
export function makeTerminal(stream: OutputStream, env: Readonly<Record<string, string | undefined>>): Terminal {
  const isSet = (name: string) => env[name] !== undefined && env[name] !== ''
  if (isSet('NO_COLOR')) return new Terminal(stream, false)
  if (isSet('FORCE_COLOR')) return new Terminal(stream, env['FORCE_COLOR'] !== '0')
  return new Terminal(stream, stream.isTTY === true && env['TERM'] !== 'dumb')
}

/** `1 page`, `2 pages`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** Columns that a text takes: styles take none. */
export function visibleLength(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: this is what styles are made of
  return text.replace(/\x1b\[[\d;]*m/g, '').length
}

/** Breaks a text at its spaces, so that no line is wider than `width` unless a single word is. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(/\s+/).filter((w) => w !== '')) {
    if (line !== '' && visibleLength(line) + 1 + visibleLength(word) > width) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  if (line !== '') lines.push(line)
  return lines
}
