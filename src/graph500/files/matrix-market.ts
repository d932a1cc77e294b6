// Sparse matrices in the MatrixMarket exchange format, taken as graphs: an entry in row i and column j is an edge. Rows and columns are
// counted from 1. Values are not needed, but their number per line is checked, as a file without them is a damaged one.
//
//   %%MatrixMarket matrix coordinate real symmetric
//   % remarks
//   4 4 2           rows, columns, entries
//   2 1 0.5
//   4 3 1.25

import { EdgeBuilder } from './edge-builder.ts'
import type { EdgeParser } from './edge-parser.ts'
import { GraphFileError } from './graph-file-error.ts'
import { type Line, shorten } from './line-reader.ts'

export const MATRIX_MARKET_BANNER = '%%MatrixMarket'

/** Words that follow row and column, by the field of the banner. */
const VALUES: Readonly<Record<string, number>> = { pattern: 0, real: 1, double: 1, integer: 1, complex: 2 }
const SYMMETRIES = ['general', 'symmetric', 'skew-symmetric', 'hermitian']

export function matrixMarketParser(path: string): EdgeParser {
  const builder = new EdgeBuilder()
  let nvalues = -1
  let size: { readonly nvertices: number; readonly nentries: number } | null = null

  function entry(line: Line, nvertices: number, nentries: number): void {
    const row = line.takeVertex()
    const column = line.takeVertex()
    for (const [index, what] of [
      [row, 'row'],
      [column, 'column'],
    ] as const) {
      if (index < 1 || index > nvertices) throw line.fail(`${what} is ${index}, wanted 1 to ${nvertices}`)
    }
    for (let i = 0; i < nvalues; i++) {
      if (!line.skipWord())
        throw line.fail(`${shorten(line.text)} has no value, wanted ${nvalues} after row and column`)
    }
    if (line.skipBlanks()) throw line.fail(`${shorten(line.text)} has more than ${2 + nvalues} words`)
    if (builder.count === nentries) throw line.fail(`is one entry more than the ${nentries} that were announced`)
    builder.add(row - 1, column - 1)
  }

  return {
    line(line: Line) {
      if (nvalues === -1) {
        nvalues = parseBanner(line)
        return
      }
      if (!line.skipBlanks() || line.code === 0x25 /* % */) return
      if (size !== null) {
        entry(line, size.nvertices, size.nentries)
        return
      }
      const [rows, columns, nentries] = [line.takeVertex(), line.takeVertex(), line.takeVertex()]
      if (rows !== columns)
        throw line.fail(`the matrix has ${rows} rows and ${columns} columns, wanted as many for a graph`)
      size = { nvertices: rows, nentries }
    },
    end() {
      if (size === null) throw new GraphFileError(path, null, 'ends before the line with rows, columns and entries')
      if (builder.count < size.nentries) {
        throw new GraphFileError(path, null, `ends after ${builder.count} of ${size.nentries} entries`)
      }
      return builder.finish(size.nvertices)
    },
  }
}

/** Values per entry. */
function parseBanner(line: Line): number {
  const words = line.text.trim().split(/\s+/)
  const [banner, ...rest] = words
  const [object = '', format = '', field = '', symmetry = ''] = rest.map((word) => word.toLowerCase())
  const wanted = `"${MATRIX_MARKET_BANNER} matrix coordinate FIELD SYMMETRY"`
  if (banner.toLowerCase() !== MATRIX_MARKET_BANNER.toLowerCase() || object !== 'matrix') {
    throw line.fail(`${shorten(line.text)} begins no matrix, wanted ${wanted}`)
  }
  if (format !== 'coordinate') throw line.fail(`the format is ${shorten(format)}, wanted "coordinate": a sparse matrix`)
  if (!Object.hasOwn(VALUES, field)) {
    throw line.fail(`the field is ${shorten(field)}, wanted one of ${Object.keys(VALUES).join(', ')}`)
  }
  if (!SYMMETRIES.includes(symmetry)) {
    throw line.fail(`the symmetry is ${shorten(symmetry)}, wanted one of ${SYMMETRIES.join(', ')}`)
  }
  return VALUES[field]
}
