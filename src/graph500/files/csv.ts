// Tables of edges: a line per edge, fields between commas, semicolons or tabs. A first line without numbers is a header. Where it names
// two columns that sound like the ends of an edge these are taken, otherwise the first two; others are not needed.

import { VERTICES_MAX } from '../edge-list.ts'
import { EdgeBuilder } from './edge-builder.ts'
import type { EdgeParser } from './edge-parser.ts'
import { badVertex, isRemark, type Line, shorten } from './line-reader.ts'

const SEPARATORS = [',', ';', '\t'] as const

/** Names of columns, in lower case. */
const FROM_NAMES = ['source', 'src', 'from', 'u', 'node1', 'id1', 'tail']
const TO_NAMES = ['target', 'dst', 'dest', 'destination', 'to', 'v', 'node2', 'id2', 'head']

export function csvParser(): EdgeParser {
  const builder = new EdgeBuilder()
  let table: { readonly separator: string; readonly from: number; readonly to: number } | null = null
  return {
    line(line: Line) {
      if (!line.skipBlanks() || isRemark(line.code)) return
      const { text } = line
      if (table === null) {
        const separator = SEPARATORS.find((each) => text.includes(each))
        if (separator === undefined) throw line.fail(`${shorten(text)} is one field, wanted two vertices`)
        const fields = splitFields(line, text, separator)
        const isHeader = fields.slice(0, 2).every((field) => !isWhole(field))
        table = { separator, ...(isHeader ? columnsOf(fields) : { from: 0, to: 1 }) }
        if (isHeader) return
      }
      const fields = splitFields(line, text, table.separator)
      if (fields.length <= Math.max(table.from, table.to)) {
        const wanted = `wanted at least ${1 + Math.max(table.from, table.to)}`
        throw line.fail(`${shorten(text)} has ${fields.length} field${fields.length === 1 ? '' : 's'}, ${wanted}`)
      }
      builder.add(vertexOf(line, fields[table.from]), vertexOf(line, fields[table.to]))
    },
    end: () => builder.finish(),
  }
}

function columnsOf(header: readonly string[]): { from: number; to: number } {
  const names = header.map((name) => name.toLowerCase())
  const from = names.findIndex((name) => FROM_NAMES.includes(name))
  const to = names.findIndex((name) => TO_NAMES.includes(name))
  return from === -1 || to === -1 ? { from: 0, to: 1 } : { from, to }
}

function isWhole(field: string): boolean {
  return /^\d+$/.test(field)
}

function vertexOf(line: Line, field: string): number {
  const value = Number(field)
  if (isWhole(field) && value < VERTICES_MAX) return value
  throw line.fail(badVertex(field))
}

/** The fields of a line, without the blanks and quotes around them. */
function splitFields(line: Line, text: string, separator: string): string[] {
  if (!text.includes('"')) return text.split(separator).map((field) => field.trim())
  const fields: string[] = []
  let field = ''
  let isQuoted = false
  for (let i = 0; i < text.length; i++) {
    const char = text[i]
    if (char === '"') {
      // Two quotes inside of a quoted field are one.
      if (isQuoted && text[i + 1] === '"') field += text[i++]
      else isQuoted = !isQuoted
    } else if (char === separator && !isQuoted) {
      fields.push(field.trim())
      field = ''
    } else field += char
  }
  if (isQuoted) throw line.fail('a quote is not closed on its line')
  return [...fields, field.trim()]
}
