// What the formats of graph files have in common.

import type { EdgeList } from '../edge-list.ts'
import type { Line } from './line-reader.ts'

/** Takes the lines of a file one by one, and has a list of edges in the end. Throws GraphFileErrors. */
export interface EdgeParser {
  line(line: Line): void
  end(): EdgeList
}
