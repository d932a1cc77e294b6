/**
 * JSON of events, made by hand: a trace has one object per event, and JSON.stringify with a copy of the event for the order of its
 * fields takes three times as long.
 */

/** Texts as JSON. A trace has few of them, again and again. */
const quotedTexts = new Map<string, string>()
const QUOTED_MAX = 4096

/** A text as JSON. */
export function quoted(text: string): string {
  let json = quotedTexts.get(text)
  if (json === undefined) {
    if (quotedTexts.size >= QUOTED_MAX) quotedTexts.clear()
    json = JSON.stringify(text)
    quotedTexts.set(text, json)
  }
  return json
}

/** `,"name":value` for each field with a number or a text, in the order of the object, except those in `skip`. */
export function jsonFields(object: object, skip: ReadonlySet<string>): string {
  let text = ''
  for (const name in object) {
    if (skip.has(name)) continue
    const value = (object as Record<string, unknown>)[name]
    if (typeof value === 'number') text += `,"${name}":${value}`
    else if (typeof value === 'string') text += `,"${name}":${quoted(value)}`
  }
  return text
}
