import { describe, expect, it } from 'vitest'
import { PAGE_SIZE } from '../../base/addr.ts'
import { ExplicitMmu } from '../../mmu/explicit/explicit-mmu.ts'
import { CopyList, VirtualClock } from '../driver/index.ts'
import { type LinkOptions, MemoryHardware } from './memory-hardware.ts'

/** Four system frames with their number in every byte, and four empty frames of a device. */
function make(link: Partial<LinkOptions> = {}) {
  const mmu = new ExplicitMmu(new ArrayBuffer(4 * PAGE_SIZE))
  const space = mmu.attach()
  for (let pfn = 0; pfn < 4; pfn++) {
    mmu.allocFrame(space, pfn * PAGE_SIZE, 0)
    mmu.bytes(pfn).fill(pfn + 1)
  }
  const clock = new VirtualClock()
  const hardware = new MemoryHardware(mmu, 4, clock, { latency: 0, bandwidth: Number.POSITIVE_INFINITY, ...link })
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
})
