// The picture of a search at work: a row for each array, from its first element on the left to its last on the right, with what the
// device has of it at this moment. Small arrays stay, and the large one is seen to pass through, window by window.
//
//   columns   39.2 MiB  ·······▓████████████▓··········································   7.1 MiB there
//
// Rows are as long as the terminal is wide, up to 56 cells.

import { PAGE_SIZE } from '../base/addr.ts'
import { formatSize } from '../base/size.ts'
import type { Terminal } from '../cli/terminal.ts'
import type { TraceEvent } from '../trace/events.ts'
import { ResidencyTracker } from '../trace/residency.ts'
import type { Sink } from '../trace/sink.ts'

/** Cells of a row where there is room. */
export const STRIP_CELLS = 56
/** Columns of a row besides its cells, for names of eight letters. */
const OTHER_COLUMNS = 41

/** By how much of a cell's part of the array is on the device. */
const SHADES = ['·', '░', '▒', '▓', '█'] as const

/** A sink that draws where the pages of arrays are. */
export class ResidencyStrip implements Sink {
  readonly #out: Terminal
  readonly #ncells: number
  readonly #tracker: ResidencyTracker

  constructor(out: Terminal) {
    this.#out = out
    this.#ncells = Math.max(8, Math.min(STRIP_CELLS, out.columns - OTHER_COLUMNS))
    this.#tracker = new ResidencyTracker(this.#ncells)
  }

  write(event: TraceEvent): void {
    this.#tracker.add(event)
  }

  /** A row per array, in the order in which they were allocated. */
  rows(): string[] {
    const arrays = [...this.#tracker.all].filter(({ npages }) => npages > 0)
    const width = Math.max(0, ...arrays.map(({ name }) => name.length))
    return arrays.map(({ name, npages, stripes, onDevice }) => {
      const cells = Array.from(stripes, (there) => shade(there / (npages / this.#ncells)))
      const bytesThere = PAGE_SIZE * [...onDevice.values()].reduce((sum, pages) => sum + pages, 0)
      const size = formatSize(npages * PAGE_SIZE).padStart(10)
      return `  ${name.padEnd(width)} ${size}  ${paintCells(this.#out, cells)}  ${formatSize(bytesThere).padStart(9)} there`
    })
  }
}

function shade(part: number): string {
  // All and nothing have shades of their own; what is between shares the others.
  if (part <= 0.001) return SHADES[0]
  if (part >= 0.999) return SHADES[4]
  return SHADES[1 + Math.min(2, Math.floor(3 * part))]
}

function paintCells(out: Terminal, cells: readonly string[]): string {
  return cells
    .join('')
    .replace(/·+/g, (run) => out.paint('dim', run))
    .replace(/[░▒▓█]+/g, (run) => out.paint('cyan', run))
}
