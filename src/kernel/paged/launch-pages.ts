// The pages that a launch may use, by its arguments and what its pointers may touch.

import { GpuFaultError } from './gpu-fault-error.ts'
import type { PagedLaunch } from './paged-launch.ts'
import { argumentBit, EVENT_PAGE_MASK, EVENT_WRITE, type PagedProgram, UNKNOWN_ARGUMENT } from './paged-program.ts'

/** Pages by number. */
export interface MissedPages {
  readonly read: readonly number[]
  readonly write: readonly number[]
}

export class LaunchPages {
  private readonly program: PagedProgram
  private readonly launch: PagedLaunch
  private readonly pageWords: number

  constructor(program: PagedProgram, launch: PagedLaunch, pageBits: number) {
    this.program = program
    this.launch = launch
    this.pageWords = 2 ** pageBits
  }

  /** Pages to be brought, each once. Throws a GpuFaultError for one that the launch may not use. */
  of({ read, write }: MissedPages): { read: number[]; write: number[] } {
    const toWrite = new Set(write)
    // A page of an array that is written comes to be written at once: most are, and to ask twice takes another round.
    for (const page of read) if (this.isWritten(page)) toWrite.add(page)
    const toRead = new Set(read)
    for (const page of toWrite) toRead.delete(page)
    for (const pages of [toRead, toWrite]) for (const page of pages) this.check(page)
    return { read: [...toRead], write: [...toWrite] }
  }

  /** Those of arguments that are small: together no more than `room` pages, in the order of the arguments, of which `args` has bits. */
  small(room: number): { read: number[]; write: number[]; args: number } {
    let left = room
    let args = 0
    const wanted = { read: [] as number[], write: [] as number[] }
    for (const [i, { write }] of this.program.args.entries()) {
      const [first, end] = this.ofArgument(i)
      if (end - first > left || this.program.boundArgs.includes(i)) continue
      left -= end - first
      args |= argumentBit(i) & ~UNKNOWN_ARGUMENT
      for (let page = first; page < end; page++) wanted[write ? 'write' : 'read'].push(page)
    }
    return { ...this.of(wanted), args: args >>> 0 }
  }

  /** An address that is in no argument cannot be reached by a kernel that was compiled right, but costs little to look for. */
  private check(page: number): void {
    if (this.launch.args.some((_, i) => this.isOf(i, page))) return
    if ((this.launch.reach ?? []).some(({ start, end }) => this.isIn(page, start, end))) return
    const value = page * this.pageWords
    const what = { reason: 'page', kernel: this.program.name, invocation: null, site: null, value } as const
    throw new GpuFaultError(what, `used word 0x${value.toString(16)} or one behind it, which is in no argument`)
  }

  private isWritten(page: number): boolean {
    return this.program.args.some(({ write }, i) => write && this.isOf(i, page))
  }

  /** Whether a page has elements of an argument. */
  private isOf(arg: number, page: number): boolean {
    const [first, end] = this.ofArgument(arg)
    return page >= first && page < end
  }

  private ofArgument(arg: number): [first: number, end: number] {
    const { word, length } = this.launch.args[arg]
    const end = word + (length * this.program.args[arg].stride) / 4
    const first = Math.floor(word / this.pageWords)
    return [first, length === 0 ? first : Math.ceil(end / this.pageWords)]
  }

  private isIn(page: number, start: number, end: number): boolean {
    return page >= Math.floor(start / this.pageWords) && page * this.pageWords < end
  }
}

/** The pages of some events. */
export function pagesIn(events: Iterable<number>): MissedPages {
  const pages = { read: [] as number[], write: [] as number[] }
  for (const event of events) {
    const list = (event & EVENT_WRITE) !== 0 ? pages.write : pages.read
    list.push(event & EVENT_PAGE_MASK)
  }
  return pages
}
