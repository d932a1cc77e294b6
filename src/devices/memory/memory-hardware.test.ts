import { describe, expect, it } from 'vitest'
import { PAGE_SIZE } from '../../base/addr.ts'
import { ExplicitMmu } from '../../mmu/explicit/explicit-mmu.ts'
import { CopyList, VirtualClock } from '../driver/index.ts'
import { type CopierMaker, type LinkOptions, MemoryHardware } from './memory-hardware.ts'

/** Four system frames with their number in every byte, and four empty frames of a device. */
function make(link: Partial<LinkOptions> = {}, copier?: CopierMaker) {
  const mmu = new ExplicitMmu(new ArrayBuffer(4 * PAGE_SIZE))
  const space = mmu.attach()
  for (let pfn = 0; pfn < 4; pfn++) {
    mmu.allocFrame(space, pfn * PAGE_SIZE, 0)
    mmu.bytes(pfn).fill(pfn + 1)
  }
  const clock = new VirtualClock()
  const hardware = new MemoryHardware(
    mmu,
    4,
    clock,
    { latency: 0, bandwidth: Number.POSITIVE_INFINITY, ...link },
    copier,
  )
  const memory = hardware.bytes
  const frames = () => [0, 1, 2, 3].map((frame) => memory[frame * PAGE_SIZE])
  const system = () => [0, 1, 2, 3].map((pfn) => mmu.bytes(pfn)[PAGE_SIZE - 1])
  return { mmu, memory, clock, hardware, frames, system }
}

function list(...pairs: readonly (readonly [pfn: number, frame: number])[]): CopyList {
  const copies = new CopyList()
  for (const [pfn, frame] of pairs) copies.add(pfn, frame)
  return copies
}

/** When each promise settles, and how. */
function timesOf(clock: VirtualClock, promises: readonly (Promise<void> | null)[]): (number | string | null)[] {
  const times: (number | string | null)[] = promises.map(() => null)
  promises.forEach((promise, i) => {
    promise?.then(
      () => {
        times[i] = clock.now()
      },
      (error: Error) => {
        times[i] = error.message
      },
    )
  })
  return times
}

async function runOut(clock: VirtualClock): Promise<void> {
  do await new Promise(setImmediate)
  while (clock.step())
  await new Promise(setImmediate)
}

describe('MemoryHardware', () => {
  it('copies at once where copies take no time', () => {
    const { hardware, frames, system, memory } = make()
    expect([hardware.upload(list([0, 3], [2, 1])), hardware.uploaded(), frames()]).toEqual([null, null, [0, 3, 0, 1]])
    memory.fill(9)
    expect([hardware.download(list([1, 0])), system()]).toEqual([null, [1, 9, 3, 4]])
    hardware.clear([3])
    expect(frames()).toEqual([9, 9, 9, 0])
    hardware.move([3, 0], [0, 1].reverse())
    expect(frames()).toEqual([9, 0, 9, 0])
  })

  it('copies of one direction queue up behind each other, those of the other do not', async () => {
    const { hardware, clock } = make({ latency: 5, bandwidth: PAGE_SIZE * 1e6 }) // a page in a microsecond
    const uploads = [hardware.upload(list([0, 0], [1, 1], [2, 2])), hardware.upload(list([3, 3]))]
    const downloads = [hardware.download(list([0, 0], [1, 1]))]
    const uploaded = hardware.uploaded()
    const times = timesOf(clock, [...uploads, ...downloads, uploaded])
    await runOut(clock)
    expect(times).toEqual([8, 9, 7, 9])
    expect(hardware.uploaded()).toBeNull()
    const later = timesOf(clock, [hardware.upload(list([0, 0]))])
    await runOut(clock)
    expect(later).toEqual([9 + 1 + 5])
  })

  it('an upload takes the bytes as they are when it is asked for, a download brings them when it is over', async () => {
    const { hardware, clock, mmu, memory, frames, system } = make({ latency: 5 })
    void hardware.upload(list([0, 0]))
    mmu.bytes(0).fill(50)
    await runOut(clock)
    expect(frames()[0]).toBe(1)
    void hardware.download(list([1, 0]))
    expect(system()[1]).toBe(2)
    memory.fill(60, 0, PAGE_SIZE)
    await runOut(clock)
    expect(system()[1]).toBe(60)
  })

  it('nothing to copy is nothing to wait for', () => {
    const { hardware, clock } = make({ latency: 5 })
    expect([hardware.upload(list()), hardware.download(list()), clock.npending]).toEqual([null, null, 0])
  })

  it('fail() ends copies in flight, whose bytes do not arrive, and all later ones', async () => {
    const { hardware, clock, system, memory } = make({ latency: 5 })
    memory.fill(9)
    const times = timesOf(clock, [hardware.upload(list([0, 0])), hardware.download(list([1, 1])), hardware.uploaded()])
    hardware.fail(new Error('gone'))
    const after = timesOf(clock, [hardware.upload(list([0, 0])), hardware.download(list([1, 1])), hardware.uploaded()])
    await runOut(clock)
    expect([times, after]).toEqual([
      ['gone', 'gone', 'gone'],
      ['gone', 'gone', 'gone'],
    ])
    expect(system()).toEqual([1, 2, 3, 4])
  })

  describe('with a copier', () => {
    /** One that has to be told when it is done. */
    function makeCopied() {
      const copies: { list: CopyList; end: () => void }[] = []
      let isThere = true
      const copyOut = (list: CopyList) => (isThere ? new Promise<void>((end) => copies.push({ list, end })) : null)
      const machine = make({}, () => ({ copyOut, close: () => {} }))
      machine.hardware.upload(list([0, 3], [2, 1]))
      const leave = (): void => {
        isThere = false
      }
      return { ...machine, copies, leave }
    }

    it('has copied for it what nobody waits for, and nothing else', async () => {
      const { hardware, clock, copies, system, memory, leave } = makeCopied()
      expect(memory.buffer).toBeInstanceOf(SharedArrayBuffer)
      memory.fill(9)
      expect([hardware.download(list([1, 0])), system()]).toEqual([null, [1, 9, 3, 4]])
      const ahead = list([3, 2])
      const times = timesOf(clock, [hardware.download(ahead, true)])
      await runOut(clock)
      expect([times, copies.length, copies[0].list, system()]).toEqual([[null], 1, ahead, [1, 9, 3, 4]])
      copies[0].end()
      await runOut(clock)
      expect(times).toEqual([0])
      leave()
      expect([hardware.download(list([0, 0]), true), system()]).toEqual([null, [9, 9, 3, 4]])
    })

    it('lets it end what it has begun when the device fails', async () => {
      const { hardware, clock, copies } = makeCopied()
      const times = timesOf(clock, [hardware.download(list([3, 2]), true)])
      hardware.fail(new Error('gone'))
      await runOut(clock)
      expect(times).toEqual([null])
      copies[0].end()
      await runOut(clock)
      expect(times).toEqual([0])
    })
  })
})
