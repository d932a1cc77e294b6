// The per-entry arguments of `range-fault` and `migrate-vma`, as a process of the recorder keeps them: in one text buffer that
// each call writes over from the start, with a character for each entry and one that ends the text. A `range-fault` without
// requests writes only the end, so behind it what earlier calls wrote is still there. With an empty mask it asks for nothing,
// but entries that the call does not write show it.
//
//   range-fault, requests FW W '' F      3 2 0 1 end           a digit is the request bits: 1 fault, 2 write
//   migrate-vma, to device, give 101     d 1 0 1 end           the kind of destination comes first
//   range-fault without requests         end 1 0 1 end         entry 1 shows a fault request

import type { Request } from '../../trace.ts'

const REQUESTS: readonly Request[] = ['', 'F', 'W', 'FW']
const END = ''

export class RequestBuffer {
  private readonly text: string[] = []

  /** Writes the requests of a range fault over the buffer. Returns what its `n` entries hold. */
  load(given: readonly Request[], n: number): Request[] {
    this.write(given.map((request) => String(REQUESTS.indexOf(request))))
    return Array.from({ length: n }, (_, i) => REQUESTS[Number(this.text[i] ?? 0)] ?? '')
  }

  /** Writes the arguments of a migration over the buffer. */
  loadMigration(to: string, give: string): void {
    this.write([to[0], ...give])
  }

  private write(characters: readonly string[]): void {
    characters.forEach((character, i) => {
      this.text[i] = character
    })
    this.text[characters.length] = END
  }
}
