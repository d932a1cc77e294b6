// HTML as values: what is put into a template is escaped unless it is HTML itself, so that no name of an array or a kernel can
// become a tag.
//
//   html`<td>${name}</td>`.text

export class Html {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

/** Nothing is left out; lists are put one after the other. */
export type HtmlValue = Html | string | number | null | undefined | readonly HtmlValue[]

export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return new Html(strings.map((string, i) => (i === 0 ? '' : textOf(values[i - 1])) + string).join(''))
}

function textOf(value: HtmlValue): string {
  if (value === null || value === undefined) return ''
  if (value instanceof Html) return value.text
  if (Array.isArray(value)) return value.map(textOf).join('')
  return escapeHtml(String(value))
}

/** For text and for attributes in double quotes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => ENTITIES[char])
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
