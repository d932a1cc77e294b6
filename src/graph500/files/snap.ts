// Edge lists as SNAP and KONECT publish them: two vertices per line, between blanks; lines that begin with # or % are remarks. What
// follows on the line, such as a weight or a time, is not needed.

import { EdgeBuilder } from './edge-builder.ts'
import type { EdgeParser } from './edge-parser.ts'
import { isRemark, type Line } from './line-reader.ts'

export function snapParser(): EdgeParser {
  const builder = new EdgeBuilder()
  return {
    line(line: Line) {
      if (!line.skipBlanks() || isRemark(line.code)) return
      builder.add(line.takeVertex(), line.takeVertex())
    },
    end: () => builder.finish(),
  }
}
