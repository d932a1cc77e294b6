// Tells the engine from where in the program a call comes, for events that name it. Asked for by `trace.sites`: looking at the stack
// takes some ten microseconds.

import type { EngineCall, EngineCalls, EnginePort, Reply } from './engine/protocol.ts'
import type { TraceSettings } from './trace-options.ts'

/** Where the package lies: what is below is us, and the first that is not is the program. */
const OWN_FOLDER = new URL('.', import.meta.url).href
/** Of the engine's way to the program; the usual ten may be all our own. */
const FRAMES_MAX = 20

/** The port, or one that says besides where each call comes from. */
export function withSites(port: EnginePort, { sites }: TraceSettings): EnginePort {
  return sites ? new SitePort(port) : port
}

class SitePort implements EnginePort {
  readonly #port: EnginePort

  constructor(port: EnginePort) {
    this.#port = port
  }

  call<C extends EngineCall>(call: C, args: EngineCalls[C]['args'], reply: (reply: Reply<C>) => void): void {
    const site = callSite()
    this.#port.call(call, site === undefined ? args : { ...args, site }, reply)
  }
}

/** 'file:line' of the program's innermost frame on the stack; undefined if there is none, or the runtime does not tell. */
function callSite(): string | undefined {
  const limited = Error as { stackTraceLimit?: number }
  const limit = limited.stackTraceLimit
  limited.stackTraceLimit = FRAMES_MAX
  const { stack = '' } = new Error()
  if (limit !== undefined) limited.stackTraceLimit = limit
  return siteOf(stack, OWN_FOLDER)
}

/** The first frame of a stack that lies outside of a folder. `ownFolder` is a URL that ends in a slash. */
export function siteOf(stack: string, ownFolder: string): string | undefined {
  const ownPath = ownFolder.replace(/^file:\/\//, '')
  for (const line of stack.split('\n')) {
    // `at f (URL:1:2)`, `at URL:1:2` and `at async URL:1:2`; in other engines `f@URL:1:2`.
    const [, file, number] = /(?:^\s*at (?:async )?(?:.*\()?|@)(.+?):(\d+):\d+\)?$/.exec(line) ?? []
    if (file === undefined || file.startsWith('node:') || file.startsWith(ownFolder) || file.startsWith(ownPath))
      continue
    return `${file.replace(/^file:\/\//, '')}:${number}`
  }
  return undefined
}
