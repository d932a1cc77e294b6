// The guided tour: what happens to a few pages from mmap to munmap when a device shares the address space. Each step does
// one thing on a simulated machine, says what it did, and draws the page tables as they are then.
//
// Figures in the sentences are read from the machine too. Where a sentence says what must have happened, `expect` has
// looked: the tour stops rather than tell something that is not so.

import { PAGE_SIZE } from '../base/addr.ts'
import { ENOENT, errnoName } from '../base/errno.ts'
import type { DmirrorHandle, DmirrorResult } from '../devices/dmirror/index.ts'
import { plural, type Terminal } from './terminal.ts'
import { STAGE_PAGES, TourStage } from './tour-stage.ts'

/** Runs the tour and prints it, at most 100 columns wide. */
export function tour(out: Terminal): void {
  const stage = new TourStage(out)
  const script = new Script(out, stage)
  opening(out)
  mappingAndFaults(script, stage)
  const device = mirroring(script, stage)
  migration(script, stage, device)
  sharing(script, stage)
  loan(script, stage, device)
  ending(script, stage)
}

function opening(out: Terminal): void {
  out.line()
  out.line(`  ${out.paint('bold', "A page's life")}`)
  out.paragraph(
    `A machine with its own page tables, a process, and a device with memory of its own that shares the
     process's addresses. Follow eight pages from mmap to munmap. A cell is one page: the state of its entry, and
     the frame behind it (#n in RAM, dev n on the device).`,
    2,
  )
}

function mappingAndFaults(script: Script, stage: TourStage): void {
  const { process } = stage
  stage.base = process.mmap({ length: STAGE_PAGES * PAGE_SIZE })
  script.step(
    'A mapping is a promise',
    `mmap({ length: ${STAGE_PAGES} * 4096 })`,
    `The process owns ${STAGE_PAGES} pages of addresses and not one page of memory. There is not even a page table: the
     kernel has written one line in its list of mappings.`,
  )

  const zeroes = [process.load32(stage.page(0)), process.load32(stage.page(1))]
  expect(zeroes.every((value) => value === 0) && stage.npagesSystem === 0, 'reading untouched pages took memory')
  script.step(
    'Reading nothing costs nothing',
    'load32(page 0), load32(page 1)',
    `Two page faults; both reads give ${zeroes[0]}. One page of zeroes, shared by everybody and read-only, stands behind
     all memory that was only ever read.`,
  )

  for (let i = 1; i <= 4; i++) process.store32(stage.page(i), 100 + i)
  expect(stage.npagesSystem === 4, 'four stores did not take four pages')
  script.step(
    'The first store makes a page',
    'store32(page 1 to 4, 101 to 104)',
    `Four page faults, four cleared frames. Page 1 could be read before but not written, so its fault looks the same
     to the process as that of an empty page: the store simply works.`,
  )
}

function mirroring(script: Script, stage: TourStage): DmirrorHandle {
  const { process } = stage
  const device = stage.openDevice()
  const seen = new Uint8Array(4 * PAGE_SIZE)
  const read = succeed(device.read(stage.page(0), 4, seen))
  expect(word(seen, 3) === 103, 'the device read something else than the process wrote')
  script.step(
    'A device looks through the same addresses',
    'device.read(page 0 to 3)',
    `The driver asked hmm_range_fault() once (${plural(read.faults, 'device fault')}) and copied what it said into the
     device's own page table. The device reads ${word(seen, 3)} from page 3: the same frames, nothing was copied.`,
  )

  process.store32(stage.page(0), 100)
  expect(device.table.tagOf(stage.page(0) / PAGE_SIZE) < 0, 'the device kept a translation that is no longer true')
  script.step(
    'A mirror must never be older than the original',
    'store32(page 0, 100)',
    `Before the page of zeroes is replaced, the driver is told and drops its entry: the device cannot see the old page
     once the new one is there. (This is the kernel's test driver, which drops one page too many; that costs a fault.)`,
  )

  const wrote = succeed(device.write(stage.page(1), 2, words(201, 202)))
  const values = [process.load32(stage.page(1)), process.load32(stage.page(2))]
  expect(values[0] === 201 && values[1] === 202, 'the process does not see what the device wrote')
  script.step(
    'The device writes',
    'device.write(page 1 to 2, 201 to 202)',
    `It knows page 2, but page 1 it has to ask for again (${plural(wrote.faults, 'device fault')}). Then the process loads
     ${values[0]} and ${values[1]}. No call in between, no copy: this is one memory.`,
  )
  return device
}

function migration(script: Script, stage: TourStage, device: DmirrorHandle): void {
  const { process } = stage
  const before = stage.npagesSystem
  succeed(device.migrateToDev(stage.page(0), 4, new Uint8Array(4 * PAGE_SIZE)))
  expect(stage.npagesDevice === 4 && stage.npagesSystem === before - 4, 'four pages did not move')
  script.step(
    'Migration: the data moves, the addresses stay',
    'device.migrateToDev(page 0 to 3)',
    `Four pages were copied to device memory and their frames given back to the system. The process keeps an entry that
     names the device's page, but that its CPU cannot use.`,
  )

  const value = process.load32(stage.page(1))
  expect(value === 201 && stage.npagesDevice === 3, 'the touch did not bring one page back')
  script.step(
    'A touch brings a page home',
    'load32(page 1)',
    `The CPU faults on the device entry, mm asks the driver, the driver migrates page 1 back, and the load that
     started all this returns ${value}. The others stay where they are.`,
  )

  process.pin(stage.page(1), 1, { write: true })
  const again = device.migrateToDev(stage.page(0), 4, new Uint8Array(4 * PAGE_SIZE))
  expect(again.ret === -ENOENT && stage.npagesDevice === 3, 'a pinned page moved')
  script.step(
    'A pinned page stays',
    'pin(page 1), device.migrateToDev(page 0 to 3)',
    `Some other hardware may write to the frame of page 1 at any time, so it cannot move. Migration is a request: the
     driver looks at what became of each page, and answers ${errnoName(again.ret)} because it does not have all four.`,
  )
}

function sharing(script: Script, stage: TourStage): void {
  const { process } = stage
  stage.child = process.fork('child')
  const { child } = stage
  expect(stage.npagesDevice === 3, 'fork copied device memory')
  script.step(
    'fork: one frame, two owners',
    'fork()',
    `Parent and child share their frames, on the device too, and neither may write to them. Only page 1 was copied at
     once: the hardware that pinned it goes on writing to the parent's.`,
  )

  child.store32(stage.page(2), 333)
  const values = [process.load32(stage.page(2)), child.load32(stage.page(2))]
  expect(values[0] === 202 && values[1] === 333, 'the child wrote into the memory of the parent')
  script.step(
    'Copy on write, across the bus',
    'child.store32(page 2, 333)',
    `The page comes home for both, because it was one page. Then the child gets its own copy to write on: the parent
     still reads ${values[0]}, the child ${values[1]}.`,
  )
}

function loan(script: Script, stage: TourStage, device: DmirrorHandle): void {
  const { process } = stage
  stage.child?.exit()
  stage.child = null
  process.unpinAll()
  succeed(device.exclusive(stage.page(4), 1, new Uint8Array(PAGE_SIZE)))
  expect(device.checkExclusive(stage.page(4), 1).ret !== 0, 'the device has the page not for itself')
  script.step(
    'A page for the device alone',
    'child.exit(), unpin(page 1), device.exclusive(page 4)',
    `The child is gone, and page 4 is the parent's alone again. For atomic operations the device wants it undisturbed: the
     frame stays in RAM, but the CPU's entry is replaced by a mark, on loan.`,
  )

  const value = process.load32(stage.page(4))
  expect(device.checkExclusive(stage.page(4), 1).ret === 0, 'the loan did not end')
  script.step(
    'The loan ends with a touch',
    'load32(page 4)',
    `The CPU faults on the mark. The driver is told to stop using the page, the entry is put back, and the load gives
     ${value}.`,
  )
}

function ending(script: Script, stage: TourStage): void {
  stage.process.munmap(stage.base, STAGE_PAGES * PAGE_SIZE)
  expect(stage.npagesSystem === 0 && stage.npagesDevice === 0, 'pages were lost')
  script.step(
    'Everything goes back',
    `munmap(page 0 to ${STAGE_PAGES - 1})`,
    `The driver hears it, drops what it still has, and then the pages go: ${plural(stage.npagesSystem, 'page')} of RAM
     and ${plural(stage.npagesDevice, 'page')} of device memory are left in use.`,
  )
  stage.closeDevice()
  stage.process.exit()
}

class Script {
  readonly #out: Terminal
  readonly #stage: TourStage
  #nsteps = 0

  constructor(out: Terminal, stage: TourStage) {
    this.#out = out
    this.#stage = stage
  }

  /** Tells about something that was just done, and draws what it led to. */
  step(title: string, call: string, text: string): void {
    const out = this.#out
    this.#nsteps++
    out.line()
    out.line(`${out.paint('boldCyan', `${String(this.#nsteps).padStart(2)}  ${title}`)}   ${out.paint('dim', call)}`)
    out.paragraph(text, 4)
    this.#stage.draw()
  }
}

/** A buffer of pages that begin with these words. */
function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * PAGE_SIZE)
  const view = new DataView(bytes.buffer)
  values.forEach((value, i) => {
    view.setUint32(i * PAGE_SIZE, value, true)
  })
  return bytes
}

/** The first word of page `i` of a buffer. */
function word(bytes: Uint8Array, i: number): number {
  return new DataView(bytes.buffer).getUint32(i * PAGE_SIZE, true)
}

function expect(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(`the tour stops: ${otherwise}`)
}

function succeed(result: DmirrorResult): DmirrorResult {
  expect(result.ret === 0, `a device command ended with ${result.ret}`)
  return result
}
