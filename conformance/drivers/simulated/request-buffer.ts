// The per-entry requests of `range-fault`, as the recorder keeps them: in one text buffer that each call writes over from
// the start, with a character for each entry and one that ends the text. A call without requests writes only the end, so
// behind it the requests of earlier calls, of any process, are still there. With an empty mask they ask for nothing, but
// entries that the call does not write show them.

import type { Request } from '../../trace.ts'

export class RequestBuffer {
  private readonly requests: Request[] = []

  /** Writes the requests of a call over the buffer. Returns what its `n` entries hold. */
  load(given: readonly Request[], n: number): Request[] {
    given.forEach((request, i) => {
      this.requests[i] = request
    })
    this.requests[given.length] = ''
    return Array.from({ length: n }, (_, i) => this.requests[i] ?? '')
  }
}
