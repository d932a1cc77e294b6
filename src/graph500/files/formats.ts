// The formats in which graphs are published, and how a file says which one it is in.

import { csvParser } from './csv.ts'
import type { EdgeParser } from './edge-parser.ts'
import { isRemark, type Line } from './line-reader.ts'
import { MATRIX_MARKET_BANNER, matrixMarketParser } from './matrix-market.ts'
import { snapParser } from './snap.ts'

export const GRAPH_FORMATS = ['snap', 'matrix-market', 'csv'] as const
export type GraphFormat = (typeof GRAPH_FORMATS)[number]

/** A parser for a file in a format. */
export function makeParser(format: GraphFormat, path: string): EdgeParser {
  switch (format) {
    case 'snap':
      return snapParser()
    case 'matrix-market':
      return matrixMarketParser(path)
    case 'csv':
      return csvParser()
    default:
      return format satisfies never
  }
}

/** The format of a file that has this line; null if the line does not say, which is so for empty ones and remarks. */
export function detectFormat(line: Line): GraphFormat | null {
  const text = line.text.trim()
  if (text.toLowerCase().startsWith(MATRIX_MARKET_BANNER.toLowerCase())) return 'matrix-market'
  if (text === '' || isRemark(text.charCodeAt(0))) return null
  if (/[,;"]/.test(text)) return 'csv'
  // A header between tabs. Numbers between tabs are an edge list, which is read faster.
  return text.includes('\t') && !/^\d/.test(text) ? 'csv' : 'snap'
}
