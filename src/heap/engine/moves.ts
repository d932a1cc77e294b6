// How pages change hands on request: to the CPU, for the time of a call or for as long as it holds them, and to devices. What has to be
// waited for is waited for here: launches that use the pages, migrations, and whatever a fault of mm waits for.

import { PAGE_SIZE } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EAGAIN } from '../../base/errno.ts'
import { isClaimed, whenUnclaimed } from '../../devices/claims.ts'
import { mmapReadLock } from '../../devices/edge.ts'
import type { Access, Direction } from '../../trace/events.ts'
import type { EngineDevice } from './device.ts'
import type { EngineParts } from './engine-parts.ts'
import { failureOf, Refusal } from './failure.ts'
import { bringHome, type HandOverCounts, handOver } from './hand-over.ts'
import { OutcomeBuilder } from './outcome.ts'
import type { ByteRange, EngineCalls, Outcome } from './protocol.ts'
import { countPages, inParts, type Pages, type Ranges } from './ranges.ts'

/** How often a range may change hands between being given to the CPU and being held for it. */
const HOLD_ROUNDS_MAX = 16

export class Moves {
  readonly #parts: EngineParts
  readonly #ranges: Ranges

  constructor(parts: EngineParts, ranges: Ranges) {
    this.#parts = parts
    this.#ranges = ranges
  }

  sync(ranges: readonly ByteRange[], write: boolean): Promise<Outcome> {
    return this.#handOver(this.#ranges.pagesOf(ranges), write)
  }

  async hold(ranges: readonly ByteRange[], write: boolean): Promise<EngineCalls['hold']['answer']> {
    const { mm, holds } = this.#parts
    const pages = this.#ranges.pagesOf(ranges)
    this.#ranges.checkHoldable(pages)
    const outcome = await this.#handOver(pages, write)
    // Where memory is limited the first pages of a long range may be gone again when the last ones are here.
    const isLimited = mm.sys.memoryPages < mm.sys.mmu.nframes
    const parts = isLimited ? inParts(pages) : [pages]
    const taken: number[] = []
    try {
      for (const part of parts) taken.push(await this.#holdPart(part, write))
    } catch (error) {
      for (const hold of taken) holds.release(hold)
      throw error
    }
    return { hold: holds.merge(taken), outcome }
  }

  async prefetch(ranges: readonly ByteRange[], access: Access, name: string | null): Promise<Outcome> {
    const { devices } = this.#parts
    const pages = this.#ranges.pagesOf(ranges)
    const outcome = new OutcomeBuilder()
    const device = name === null ? devices[0] : devices.find((each) => each.name === name)
    if (device === undefined) {
      if (name !== null) throw this.#noDevice(name)
      for (const { array, firstPage, endPage } of pages)
        outcome.skip(array, countPages(firstPage, endPage), 'no device')
      return outcome.build(0)
    }
    this.#ranges.checkOwned(pages)
    const nbytes = await this.#countCopies(pages, 'host-to-device', async () => {
      for (const each of pages) await this.#prefetchOne(device, each, access, outcome)
    })
    return outcome.build(nbytes)
  }

  /** Pages go to system memory, and the CPU does not get them. */
  async makeCold(ranges: readonly ByteRange[]): Promise<Outcome> {
    const pages = this.#ranges.pagesOf(ranges)
    const outcome = new OutcomeBuilder()
    const nbytes = await this.#countCopies(pages, 'device-to-host', async () => {
      for (const each of pages) await this.#makeOneCold(each, outcome)
    })
    return outcome.build(nbytes)
  }

  /** Tells mm of what the CPU may have written; nothing is waited for, so that launches keep their order. */
  adopt(pages: readonly Pages[]): void {
    const { mm, backend } = this.#parts
    // Not a new reader that should let a waiting writer pass: it is over before anybody else gets a turn.
    assert(mm.mmapLock.tryRead(true), 'nobody holds mmapLock for writing across a wait')
    try {
      for (const each of pages) {
        const err = backend.adopt(mm, each.firstPage, each.endPage)
        if (err !== 0) throw this.#ranges.refusalFor(err, each)
      }
    } finally {
      mm.mmapLock.unlockRead()
    }
  }

  async #holdPart(pages: readonly Pages[], write: boolean): Promise<number> {
    const { mm, backend, holds } = this.#parts
    const held = pages.map(({ firstPage, endPage }) => ({ start: firstPage, end: endPage }))
    for (let round = 0; round < HOLD_ROUNDS_MAX; round++) {
      await mmapReadLock(mm)
      let hold: number
      try {
        this.#ranges.checkHoldable(pages)
        hold = backend.forCpu(() => holds.add(held, write))
      } finally {
        mm.mmapLock.unlockRead()
      }
      if (hold < 0 && hold !== -EAGAIN) throw this.#ranges.refusalFor(hold, pages[0])
      // What was taken away in between comes again, and what is held cannot be taken any more.
      await this.#handOver(pages, write)
      if (hold >= 0) return hold
    }
    throw new Refusal('FAILED', `"${pages[0].array.name}" does not stay where it is`)
  }

  async #prefetchOne(device: EngineDevice, pages: Pages, access: Access, outcome: OutcomeBuilder): Promise<void> {
    const { array, firstPage, endPage } = pages
    const npages = countPages(firstPage, endPage)
    this.#ranges.checkNotFilled([pages])
    if (this.#parts.holds.covers({ start: firstPage, end: endPage })) {
      outcome.skip(array, npages, 'held')
      return
    }
    if (access === 'write' && array.readOnly) {
      throw new Refusal('READ_ONLY', `"${array.name}" was allocated readOnly, and is prefetched for writing`)
    }
    if (npages * PAGE_SIZE > device.nbytes) {
      outcome.skip(array, npages, 'no room')
      return
    }
    this.adopt([pages])
    const { moved, resident } = await this.#ranges.orLoss(
      [pages],
      device.prefetch({ start: firstPage, end: endPage }, access),
    )
    outcome.pages += moved
    outcome.skip(array, resident, 'in place')
  }

  async #makeOneCold(pages: Pages, outcome: OutcomeBuilder): Promise<void> {
    const { mm, places } = this.#parts
    const { array, firstPage, endPage } = pages
    await whenUnclaimed(mm, { start: firstPage, end: endPage })
    const away = places.countAway(firstPage, endPage)
    await this.#bringBack(pages)
    const err = await bringHome(mm, firstPage, endPage)
    if (err !== 0) throw this.#ranges.refusalFor(err, pages)
    outcome.pages += away
    outcome.skip(array, countPages(firstPage, endPage) - away, 'in place')
  }

  async #handOver(pages: readonly Pages[], write: boolean): Promise<Outcome> {
    const { mm, backend } = this.#parts
    this.#ranges.checkNotFilled(pages)
    const outcome = new OutcomeBuilder()
    for (const { firstPage, endPage } of pages) {
      const range = { start: firstPage, end: endPage }
      if (isClaimed(mm, range)) await whenUnclaimed(mm, range)
    }
    this.#ranges.checkOwned(pages)
    const nbytes = await this.#countCopies(pages, 'device-to-host', async () => {
      for (const each of pages) {
        const counts: HandOverCounts = { given: 0, inPlace: 0 }
        await this.#bringBack(each)
        const err = await handOver(backend, mm, each.firstPage, each.endPage, write, counts)
        outcome.pages += counts.given
        outcome.skip(each.array, counts.inPlace, 'in place')
        if (err !== 0) throw this.#ranges.refusalFor(err, each)
      }
      // On the way here they may have turned out to be lost.
      this.#ranges.checkNotFilled(pages)
    })
    return outcome.build(nbytes)
  }

  /** Brings a range back as a whole: what devices do in one go is quicker than a fault for each page. */
  async #bringBack({ array, start, end, firstPage, endPage }: Pages): Promise<void> {
    for (const device of this.#parts.places.devicesIn(firstPage, endPage)) {
      const lost = device.lostIn({ start, end })
      if (lost !== null) throw new Refusal('LOST', lost)
      try {
        await device.bringBack({ start: firstPage, end: endPage })
      } catch (error) {
        // A device that is lost meanwhile says so when the page is touched.
        if (device.lostIn({ start, end }) === null)
          throw new Refusal('FAILED', `"${array.name}": ${failureOf(error).message}`)
      }
    }
  }

  /** Runs `work`. Resolves with the bytes that were copied meanwhile for some ranges. */
  async #countCopies(ranges: readonly ByteRange[], direction: Direction, work: () => Promise<void>): Promise<number> {
    const { copies } = this.#parts
    const count = copies.begin(ranges, direction)
    try {
      await work()
    } finally {
      copies.end(count)
    }
    return count.nbytes
  }

  #noDevice(name: string): Refusal {
    const names = this.#parts.devices.map((device) => JSON.stringify(device.name)).join(', ')
    return new Refusal(
      'NO_DEVICE',
      `there is no device ${JSON.stringify(name)}, ${names === '' ? 'nor any other' : `only ${names}`}`,
    )
  }
}
