// What a value looks like in a message: short, whatever it is.

/** A value as a message shows it. */
export function describe(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value)
    case 'function':
      return value.name === '' ? 'a function' : value.name
    case 'bigint':
      return `${value}n`
    case 'object':
      if (value === null) return 'null'
      if (Array.isArray(value)) return 'a list'
      return Object.getPrototypeOf(value)?.constructor?.name ?? 'an object'
    default:
      return String(value)
  }
}
