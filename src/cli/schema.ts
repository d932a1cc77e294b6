// `hetmem schema`: what the lines of a trace hold, from the table by which the reader checks them. What is meant by it is in
// docs/trace-schema.md of the repository, and with the types of `hetmem/trace`.

import {
  COMMON_SCHEMA,
  EVENT_KINDS,
  EVENT_SCHEMA,
  type FieldSchema,
  HEADER_SCHEMA,
  TRACE_FORMAT,
  TRACE_VERSION,
} from '../trace/index.ts'
import type { Terminal } from './terminal.ts'

const ABOUT = `JSON Lines in UTF-8: the header, then events in the order in which they happened. Addresses are numbers of bytes, \
pages have 4096 bytes, times and durations are in the timeUnit of the header. What a kind of event has beside the fields of every event, \
or needs where they are optional, stands behind its name.`

type Fields = Readonly<Record<string, FieldSchema>>

/** Prints a table of fields for the header, for every event, and for each kind of event. */
export function schema(out: Terminal): void {
  out.line(out.paint('bold', `${TRACE_FORMAT}, version ${TRACE_VERSION}`))
  out.paragraph(ABOUT, 0)
  table(out, 'the header', HEADER_SCHEMA)
  table(out, 'every event', COMMON_SCHEMA)
  const common: Fields = COMMON_SCHEMA
  for (const kind of EVENT_KINDS) {
    const own = Object.entries<FieldSchema>(EVENT_SCHEMA[kind])
    table(out, kind, Object.fromEntries(own.filter(([name, { required }]) => required !== common[name]?.required)))
  }
}

function table(out: Terminal, title: string, fields: Fields): void {
  out.line()
  out.line(out.paint('bold', title))
  for (const [name, { wanted, required }] of Object.entries(fields)) {
    out.paragraph(`${name}: ${wanted}${required ? '' : ', optional'}`, 2)
  }
}
