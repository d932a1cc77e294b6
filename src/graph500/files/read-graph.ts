// A graph from a file: `--graph FILE`. Start here for the formats; each has a file of its own.

import type { EdgeList } from '../edge-list.ts'
import type { EdgeParser } from './edge-parser.ts'
import { detectFormat, type GraphFormat, makeParser } from './formats.ts'
import { GraphFileError } from './graph-file-error.ts'
import { type Line, readLines } from './line-reader.ts'

export interface GraphFile {
  readonly edges: EdgeList
  readonly format: GraphFormat
}

/**
 * Reads a graph, compressed or not. The format is seen from the contents unless it is given.
 *
 *     const { edges } = await readGraph('roadNet-CA.txt.gz')
 *
 * Rejects with a GraphFileError that names the line.
 */
export async function readGraph(path: string, format: GraphFormat | null = null): Promise<GraphFile> {
  let parser: EdgeParser | null = format === null ? null : makeParser(format, path)
  await readLines(path, (line: Line) => {
    if (parser === null) {
      format = detectFormat(line)
      if (format === null) return
      parser = makeParser(format, path)
    }
    parser.line(line)
  })
  // Typed again: the compiler does not see that the visitor has run.
  const used = parser as EdgeParser | null
  if (used === null || format === null) throw new GraphFileError(path, null, 'has no edges')
  const edges = used.end()
  if (edges.from.length === 0) throw new GraphFileError(path, null, 'has no edges')
  return { edges, format }
}
