// What the tour looks at: a machine with a process, perhaps its child, and a device, and the picture of their page tables.
// Nothing is drawn that was not read from the machine: entries and frames from the page tables, the device's from its own
// table, events from a notifier of our own, memory in use from the allocator.

import { type Addr, addrToVpn, PAGE_SIZE, type Pfn, pteIndex } from '../base/addr.ts'
import { DmirrorDevice, type DmirrorHandle, TAG_ATOMIC, TAG_WRITE } from '../devices/dmirror/index.ts'
import { Machine } from '../machine/machine.ts'
import type { Process } from '../machine/process.ts'
import { pagemapOf } from '../mm/memremap.ts'
import type { Mm } from '../mm/mm.ts'
import {
  MMU_NOTIFY_EXCLUSIVE,
  MMU_NOTIFY_MIGRATE,
  type MmuIntervalNotifier,
  type MmuNotifierRange,
  mmuIntervalNotifierInsert,
  mmuIntervalNotifierRemove,
  mmuIntervalSetSeq,
} from '../mm/mmu-notifier.ts'
import { PTE_SPECIAL, pteNamesFrame, ptePresent } from '../mm/pte.ts'
import { NOTIFY_EVENTS } from '../trace/events.ts'
import { plural, type Style, type Terminal } from './terminal.ts'

/** Pages that are drawn. */
export const STAGE_PAGES = 8

const LABEL_WIDTH = 13
const CELL_WIDTH = 8
/** Room for what the driver heard, before what is in use. */
const HEARD_WIDTH = 44

/** How each state of an entry looks, and what it means: the letters of mm/dump.ts that the tour meets. */
const STATES: Readonly<Record<string, { style: Style; text: string }>> = {
  _: { style: 'dim', text: 'not mapped' },
  t: { style: 'dim', text: 'mapped, no page table' },
  '-': { style: 'dim', text: 'empty entry' },
  z: { style: 'onGrey', text: 'page of zeroes' },
  r: { style: 'onCyan', text: 'readable' },
  w: { style: 'onGreen', text: 'writable' },
  D: { style: 'onMagenta', text: 'on the device, writable' },
  d: { style: 'onMagenta', text: 'on the device, read-only' },
  X: { style: 'onYellow', text: 'on loan to the device' },
  x: { style: 'onYellow', text: 'on loan, read-only' },
  a: { style: 'onYellow', text: 'exclusive to the device' },
}

/** A letter of STATES and the name of the frame, '' for none. */
interface Cell {
  readonly letter: string
  readonly frame: string
}

export class TourStage {
  readonly machine: Machine
  readonly process: Process
  readonly device: DmirrorDevice
  /** The first of the STAGE_PAGES pages; 0 before the tour has mapped them. */
  base: Addr = 0
  child: Process | null = null
  #handle: DmirrorHandle | null = null
  #watch: MmuIntervalNotifier | null = null
  #events: string[] = []
  readonly #out: Terminal
  /** Frames in use before anything happened: the page of zeroes, and what the device set up. */
  readonly #nfreeAtStart: number
  readonly #explained = new Set<string>()

  constructor(out: Terminal) {
    this.#out = out
    this.machine = new Machine({ memory: '64 MiB' })
    this.device = new DmirrorDevice(this.machine.sys, 0)
    this.process = this.machine.createProcess('parent')
    this.#nfreeAtStart = this.machine.mmu.nfree
  }

  /** Address of a page of the stage. */
  page(i: number): Addr {
    return this.base + i * PAGE_SIZE
  }

  /** The device begins to mirror the process, and so do we: we hear what it hears. */
  openDevice(): DmirrorHandle {
    const handle = must(this.device.open(this.process.mm))
    this.#handle = handle
    this.#watch = must(
      mmuIntervalNotifierInsert(this.process.mm, this.base, STAGE_PAGES * PAGE_SIZE, {
        invalidate: (sub, range, seq) => {
          mmuIntervalSetSeq(sub, seq)
          this.#events.push(this.#describeEvent(range))
          return true
        },
      }),
    )
    return handle
  }

  /** The device stops mirroring. */
  closeDevice(): void {
    if (this.#watch !== null) mmuIntervalNotifierRemove(this.#watch)
    this.#handle?.close()
    this.#watch = null
    this.#handle = null
  }

  /** Pages of system memory in use, not counting those that stand for the device's own memory. */
  get npagesSystem(): number {
    return this.#nfreeAtStart - this.machine.mmu.nfree - this.device.npagesUsed
  }

  get npagesDevice(): number {
    return this.device.npagesUsed
  }

  /** Draws the page tables as they are now, and what was heard since the last drawing. */
  draw(): void {
    const out = this.#out
    const letters = new Set<string>()
    const row = (label: string, cells: readonly Cell[]) => {
      for (const { letter } of cells) letters.add(letter)
      out.line(`    ${label.padEnd(LABEL_WIDTH)}${cells.map((cell) => this.#paintCell(cell)).join(' ')}`)
    }
    const numbers = Array.from({ length: STAGE_PAGES }, (_, i) => ` ${i}`.padEnd(CELL_WIDTH))
    out.line(`    ${out.paint('dim', `${'page'.padEnd(LABEL_WIDTH)}${numbers.join(' ')}`.trimEnd())}`)
    row(this.process.name, this.#cpuRow(this.process))
    if (this.child !== null) row(this.child.name, this.#cpuRow(this.child))
    if (this.#handle !== null) row('device', this.#deviceRow(this.#handle))
    const inUse = `${plural(this.npagesSystem, 'page')} of RAM`
    if (this.#handle === null) {
      this.#fact('in use', inUse)
    } else {
      const heard = this.#events.length > 0 ? this.#events.join(', ') : 'nothing'
      this.#fact('driver hears', heard.padEnd(HEARD_WIDTH), `${inUse}, ${this.npagesDevice} of device memory`)
    }
    this.#explain(letters)
    this.#events = []
  }

  /** A line below the picture, with an aside at its end. */
  #fact(label: string, text: string, aside = ''): void {
    const end = aside === '' ? '' : ` ${this.#out.paint('dim', aside)}`
    this.#out.line(`    ${this.#out.paint('dim', label.padEnd(LABEL_WIDTH))} ${text}${end}`)
  }

  /** Says what letters mean that appear for the first time. */
  #explain(letters: ReadonlySet<string>): void {
    const fresh = Object.keys(STATES).filter((letter) => letters.has(letter) && !this.#explained.has(letter))
    if (fresh.length === 0) return
    for (const letter of fresh) this.#explained.add(letter)
    const text = fresh.map((letter) => `${this.#out.paint(STATES[letter].style, ` ${letter} `)} ${STATES[letter].text}`)
    this.#fact('new here', text.join('  '))
  }

  #paintCell({ letter, frame }: Cell): string {
    const text = ` ${letter}${frame === '' ? '' : ` ${frame}`}`.padEnd(CELL_WIDTH)
    return this.#out.paint(STATES[letter].style, text)
  }

  #cpuRow(process: Process): Cell[] {
    const letters = process.dumpPte(this.base, STAGE_PAGES, (owner) => (owner === this.device ? 0 : undefined))
    return Array.from(letters, (letter, i) => ({
      letter,
      frame: this.#frameName(frameBehind(process.mm, this.page(i))),
    }))
  }

  #deviceRow(handle: DmirrorHandle): Cell[] {
    return Array.from({ length: STAGE_PAGES }, (_, i) => {
      const vpn = addrToVpn(this.page(i))
      const tag = handle.table.tagOf(vpn)
      if (tag < 0) return { letter: '-', frame: '' }
      const pfn = handle.table.find(vpn)
      if (pfn === this.machine.sys.zeroPfn) return { letter: 'z', frame: '' }
      const letter = tag === TAG_ATOMIC ? 'a' : tag === TAG_WRITE ? 'w' : 'r'
      return { letter, frame: this.#frameName(this.#devicePageOf(pfn)) }
    })
  }

  /** `#17` for system memory, `dev 3` for device memory, '' for no frame. */
  #frameName(pfn: Pfn): string {
    if (pfn < 0) return ''
    const pagemap = pagemapOf(this.machine.sys, pfn)
    // The driver hands its memory out from the top.
    return pagemap === null ? `#${pfn}` : `dev ${pagemap.pfn + pagemap.npages - 1 - pfn}`
  }

  /** The device page whose data is in this hidden system frame, or the frame itself if it hides behind none. */
  #devicePageOf(pfn: Pfn): Pfn {
    const { memory } = this.device
    for (const chunk of memory.chunks) {
      for (let page = chunk.lowestUsed; page < chunk.end; page++) {
        if (this.machine.sys.pages.refcount[page] > 0 && memory.dataPage(page) === pfn) return page
      }
    }
    return pfn
  }

  #describeEvent(range: MmuNotifierRange): string {
    const first = Math.max(0, (range.start - this.base) / PAGE_SIZE)
    const last = Math.min(STAGE_PAGES, (range.end - this.base) / PAGE_SIZE) - 1
    const pages = first === last ? `page ${first}` : `pages ${first} to ${last}`
    const hasOwner = range.event === MMU_NOTIFY_MIGRATE || range.event === MMU_NOTIFY_EXCLUSIVE
    return `${NOTIFY_EVENTS[range.event]} ${pages}${hasOwner && range.owner === this.device ? ' (its own)' : ''}`
  }
}

/** The frame that the entry of `addr` names, -1 for none. The page of zeroes counts as none. */
function frameBehind(mm: Mm, addr: Addr): Pfn {
  const words = mm.pageTable.findPte(addr)?.words
  if (words === undefined) return -1
  const i = 2 * pteIndex(addr)
  const flags = words[i + 1]
  const names = ptePresent(flags) ? (flags & PTE_SPECIAL) === 0 : pteNamesFrame(flags)
  return names ? words[i] : -1
}

/** The stage never runs out of anything, so a refusal is a bug of the tour. */
function must<T>(result: T | number): T {
  if (typeof result === 'number') throw new Error(`the tour met error ${result}`)
  return result
}
