// The rules of the JSON trace event format, as viewers rely on them: what Perfetto's importer drops or miscounts, it does not mention.
// Source: "Trace Event Format", the document that chrome://tracing and Perfetto name as the definition of what they read.

interface Item {
  readonly name?: unknown
  readonly ph?: unknown
  readonly pid?: unknown
  readonly tid?: unknown
  readonly ts?: unknown
  readonly id?: unknown
  readonly cat?: unknown
  readonly s?: unknown
  readonly args?: unknown
}

/** Numbers of processes and threads are stored in as many bits. */
const ID_MAX = 2 ** 32 - 1

/** What a metadata event may say, and of which type. */
const METADATA: Readonly<Record<string, readonly [argument: string, type: 'string' | 'number']>> = {
  process_name: ['name', 'string'],
  process_labels: ['labels', 'string'],
  process_sort_index: ['sort_index', 'number'],
  thread_name: ['name', 'string'],
  thread_sort_index: ['sort_index', 'number'],
}

/** What is wrong with a trace, item by item; nothing if all is well. Throws a SyntaxError for what is no JSON. */
export function traceEventFaults(text: string): string[] {
  const items: unknown = JSON.parse(text)
  if (!Array.isArray(items)) return ['no array of events']
  const faults: string[] = []
  const slices = new AsyncSlices()
  items.forEach((item: Item, index) => {
    for (const fault of [...faultsOf(item), ...slices.add(item)]) faults.push(`item ${index}: ${fault}`)
  })
  return [...faults, ...slices.unended()]
}

function faultsOf({ name, ph, pid, tid, ts, s, args }: Item): string[] {
  const faults: string[] = []
  const check = (isRight: boolean, fault: string): void => void (isRight || faults.push(fault))
  check(typeof name === 'string' && name !== '', 'no name')
  check(isId(pid), `pid is ${pid}`)
  check(tid === undefined || isId(tid), `tid is ${tid}`)
  check(args === undefined || isRecord(args), `args is ${args}`)
  if (ph !== 'M') check(typeof ts === 'number' && ts >= 0 && Number.isFinite(ts), `ts is ${ts}`)
  switch (ph) {
    case 'M': {
      const [argument, type] = METADATA[`${name}`] ?? ['', 'none']
      check(isRecord(args) && typeof args[argument] === type, `metadata ${name} says nothing that is known`)
      check(!`${name}`.startsWith('thread_') || isId(tid), `${name} of no thread`)
      break
    }
    case 'C':
      check(isRecord(args) && Object.keys(args).length > 0, 'a counter without series')
      for (const [series, value] of Object.entries(args ?? {})) {
        check(typeof value === 'number' && Number.isFinite(value) && value >= 0, `series ${series} is ${value}`)
      }
      break
    case 'i':
      check(s === 't' || s === 'p' || s === 'g', `scope of an instant is ${s}`)
      check(isId(tid), 'an instant of no thread')
      break
    case 'b':
    case 'e':
      check(isId(tid), 'a slice of no thread')
      break
    default:
      check(false, `phase ${ph} is none that is written`)
  }
  return faults
}

/** Slices that may overlap with others of their track: each has an id, and what is inside of it begins later and ends before. */
class AsyncSlices {
  readonly #open = new Map<string, Item[]>()

  add(item: Item): string[] {
    const { ph, id, cat, name, ts } = item
    if (ph !== 'b' && ph !== 'e') return []
    if (typeof cat !== 'string' || cat === '' || typeof id !== 'string' || !/^0x[0-9a-f]+$/.test(id)) {
      return [`slice of category ${cat} and id ${id}`]
    }
    const stack = this.#open.get(`${cat} ${id}`) ?? []
    const around = stack.at(-1)
    if (ph === 'b') {
      this.#open.set(`${cat} ${id}`, [...stack, item])
      return around !== undefined && Number(ts) < Number(around.ts) ? [`${name} begins before what it is in`] : []
    }
    if (around === undefined) return [`${name} ends and has not begun`]
    this.#open.set(`${cat} ${id}`, stack.slice(0, -1))
    if (around.name !== name) return [`${name} ends within ${around.name}`]
    return Number(ts) < Number(around.ts) ? [`${name} ends before it begins`] : []
  }

  unended(): string[] {
    return [...this.#open.values()].flat().map(({ name }) => `${name} does not end`)
  }
}

function isId(value: unknown): boolean {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) <= ID_MAX
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
