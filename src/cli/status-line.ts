// One line at the bottom of the terminal that says what a program does, while its own output goes by above. Only where somebody
// watches: not in pipes, not in CI.

import type { ChildProcess } from 'node:child_process'
import { PAGE_SIZE } from '../base/addr.ts'
import { formatSize } from '../base/size.ts'
import { counted } from '../report/format.ts'
import type { ReportBuilder } from '../report/index.ts'
import { sumByCause } from '../trace/counters.ts'
import type { Terminal } from './terminal.ts'

const ERASE_LINE = '\r\x1b[K'

export class StatusLine {
  readonly #terminal: Terminal
  readonly #startedAt = performance.now()
  #text = ''
  #isShown = false
  /** The program has written half a line, which we must not write behind. */
  #isWithinLine = false

  private constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  /** A status line on a terminal that somebody watches, or null. */
  static where(terminal: Terminal, env: Readonly<Record<string, string | undefined>> = process.env): StatusLine | null {
    const isCi = env['CI'] !== undefined && env['CI'] !== '' && env['CI'] !== 'false'
    return terminal.isWatched && !isCi ? new StatusLine(terminal) : null
  }

  /** Lets the output of a program go by, to the streams of this process. */
  passThrough(
    child: Pick<ChildProcess, 'stdout' | 'stderr'>,
    streams: Readonly<Record<'stdout' | 'stderr', { write(piece: Buffer): unknown }>> = process,
  ): void {
    for (const [from, to] of [
      [child.stdout, streams.stdout],
      [child.stderr, streams.stderr],
    ] as const) {
      from?.on('data', (piece: Buffer) => {
        this.#hide()
        to.write(piece)
        this.#isWithinLine = piece.at(-1) !== 0x0a
        this.#draw()
      })
    }
  }

  /** Shows what the heaps of the program have done. */
  show(heaps: readonly ReportBuilder[]): void {
    const seconds = ((performance.now() - this.#startedAt) / 1000).toFixed(1)
    const text = `hetmem ${seconds} s  ${describe(heaps)}`
    this.#hide()
    this.#text = text.slice(0, this.#terminal.columns - 1)
    this.#draw()
  }

  /** Takes the line away. */
  clear(): void {
    this.#hide()
    this.#text = ''
  }

  #draw(): void {
    if (this.#text === '' || this.#isWithinLine) return
    this.#terminal.write(this.#terminal.paint('dim', this.#text))
    this.#isShown = true
  }

  #hide(): void {
    if (this.#isShown) this.#terminal.write(ERASE_LINE)
    this.#isShown = false
  }
}

/** '12 launches, 3 CPU faults, 1.5 GiB to devices, 3 MiB back, 40 MiB evicted; gpu: 8 MiB' */
export function describe(heaps: readonly ReportBuilder[]): string {
  if (heaps.length === 0) return 'no heap yet'
  const sum = (of: (heap: ReportBuilder) => number) => heaps.reduce((total, heap) => total + of(heap), 0)
  const faults = sum(({ totals }) => totals.cpuFaults)
  const bytes: [number, string][] = [
    [sum(({ totals }) => sumByCause(totals.bytesHostToDevice)), 'to devices'],
    [sum(({ totals }) => sumByCause(totals.bytesDeviceToHost)), 'back'],
    [sum(({ totals }) => totals.pagesMigrated.eviction * PAGE_SIZE), 'evicted'],
  ]
  const shown = [
    counted(
      sum(({ totals }) => totals.launches),
      'launch',
      'launches',
    ),
    ...(faults > 0 ? [counted(faults, 'CPU fault')] : []),
    ...bytes.filter(([nbytes]) => nbytes > 0).map(([nbytes, what]) => `${formatSize(nbytes)} ${what}`),
  ]
  const devices = heaps.flatMap((heap) => heap.devices.map((name) => `; ${name}: ${formatSize(heap.bytesOn(name))}`))
  return shown.join(', ') + devices.join('')
}
