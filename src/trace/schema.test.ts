import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ONE_OF_EACH } from '../../test/helpers/one-of-each-event.ts'
import { EVENT_KINDS, type TraceEvent } from './events.ts'
import {
  COMMON_SCHEMA,
  checkEvent,
  checkHeader,
  EVENT_SCHEMA,
  type FieldSchema,
  HEADER_SCHEMA,
  TRACE_FORMAT,
  TRACE_VERSION,
} from './schema.ts'

type Fields = Readonly<Record<string, FieldSchema>>

/** What the documentation says of the fields of each section: its second column by its first. */
function readDocumentation(): Map<string, Map<string, string>> {
  const sections = new Map<string, Map<string, string>>()
  let fields = new Map<string, string>()
  for (const line of readFileSync('docs/trace-schema.md', 'utf8').split('\n')) {
    const heading = /^### (\S+)$/.exec(line)
    if (heading !== null) {
      fields = new Map()
      sections.set(heading[1], fields)
    }
    const row = /^\| `(\w+)` \| ([^|]+) \|/.exec(line)
    if (row !== null) fields.set(row[1], row[2])
  }
  return sections
}

function described(schema: Fields): Map<string, string> {
  const entries = Object.entries(schema)
  return new Map(entries.map(([name, { wanted, required }]) => [name, required ? wanted : `${wanted}, optional`]))
}

/** What a kind adds to the fields that all events have. */
function ownFields(schema: Fields): Fields {
  const common: Fields = COMMON_SCHEMA
  return Object.fromEntries(
    Object.entries(schema).filter(([name, { required }]) => !(name in common) || required !== common[name].required),
  )
}

describe('docs/trace-schema.md', () => {
  const sections = readDocumentation()

  it('describes the header, the common fields and every kind, and nothing else', () => {
    expect(new Set(sections.keys())).toEqual(new Set(['header', 'common', ...EVENT_KINDS]))
    expect(sections.get('header')).toEqual(described(HEADER_SCHEMA))
    expect(sections.get('common')).toEqual(described(COMMON_SCHEMA))
  })

  it.each(EVENT_KINDS)('describes each field of %s', (kind) => {
    expect(sections.get(kind)).toEqual(described(ownFields(EVENT_SCHEMA[kind])))
  })
})

describe('checkEvent()', () => {
  it.each(ONE_OF_EACH.map((event): [string, TraceEvent] => [event.kind, event]))(
    'takes an event %s, and refuses it with any field wrong or missing',
    (kind, event) => {
      const value = event as unknown as Record<string, unknown>
      expect(checkEvent({ ...value })).toEqual(event)

      const schema: Fields = EVENT_SCHEMA[event.kind]
      for (const [name, { required }] of Object.entries(schema)) {
        const prefix = name === 'kind' ? '' : `${kind}.`
        expect(() => checkEvent({ ...value, [name]: [] })).toThrow(`${prefix}${name} is [], wanted `)
        if (!required) continue
        const { [name]: _, ...rest } = value
        expect(() => checkEvent(rest)).toThrow(`${prefix}${name} is missing, wanted `)
      }
    },
  )
})

describe('checkHeader()', () => {
  const header = { format: TRACE_FORMAT, version: TRACE_VERSION, timeUnit: 'us', program: 'a.ts' }

  it('hands out what the header says about the trace', () => {
    expect(checkHeader(header)).toEqual({ timeUnit: 'us', program: 'a.ts' })
  })

  it.each(Object.keys(HEADER_SCHEMA))('refuses a wrong %s', (name) => {
    expect(() => checkHeader({ ...header, [name]: [] })).toThrow(`${name} is [], wanted `)
  })
})
