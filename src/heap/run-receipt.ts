// What a launch of kernels came to, to look into and to print:
//
//   console.log(`${await heap.run(saxpy, { x, y, a: 2 }, n)}`)
//   // saxpy: direct, 3 slices; 400 MiB to webgpu (fault), 200 MiB back (eviction); 412.3 ms: 95.1 service, 310.2 kernel

import { formatSize } from '../base/size.ts'
import { type ByCause, type Counters, makeCounters, sumByCause } from '../trace/counters.ts'
import { CAUSES } from '../trace/events.ts'
import type { RunOutcome } from './engine/protocol.ts'

/** Where the time went, in milliseconds. */
export interface RunTimes {
  /** Waiting for launches before it that use the same arrays, or the same device. */
  readonly queued: number
  /** Bringing pages, as far as the kernel had to wait for them. */
  readonly service: number
  /** Copies between system memory and the device; most of it within `service`, or beside the kernel. */
  readonly transfer: number
  /** The kernel. */
  readonly kernel: number
  /** Making durable what was written; 0 unless that was asked for. */
  readonly flush: number
}

/** How pages came to be on the device. */
export interface RunPages {
  /** Were there already. */
  readonly resident: number
  /** Copied for reading. */
  readonly duplicated: number
  /** Moved, with their place in system memory kept. */
  readonly pinned: number
  /** Moved. */
  readonly migrated: number
}

/** What a launch moved, where its time went, and how it was cut. */
export class RunReceipt {
  /** Names of the kernels. */
  readonly name: string
  /** Where it ran; empty if there was nothing to do. */
  readonly device: string
  /** How the arguments lay in device memory: each in one piece, or through a page table. */
  readonly mode: 'direct' | 'paged'
  /** Why that mode, as a phrase. */
  readonly why: string
  /** Parts that the launch was cut into to fit the device; 1 for one that fits, 0 if there was nothing to do. */
  readonly slices: number
  readonly pages: RunPages
  /**
   * Arrays of which the launch missed pages that it had had before, and how often: more is used at once than the device has room for.
   * Smaller launches, sorted indices, or a kernel in steps need less at once.
   */
  readonly thrashing: readonly { readonly array: string; readonly faults: number; readonly refaults: number }[]
  /** Bytes that were copied for it, by cause. */
  readonly bytesToDevice: Readonly<ByCause>
  readonly bytesFromDevice: Readonly<ByCause>
  /** Sums over all that happened for it. */
  readonly counters: Counters
  readonly times: RunTimes

  /** @internal One for several runs, which were one after the other. */
  constructor(name: string, outcomes: readonly RunOutcome[]) {
    const sum = (of: (outcome: RunOutcome) => number) => outcomes.reduce((total, outcome) => total + of(outcome), 0)
    const paged = outcomes.find(({ mode }) => mode === 'paged')
    const shown = paged ?? outcomes[0]
    this.name = name
    this.device = shown?.device ?? ''
    this.mode = shown?.mode ?? 'direct'
    this.why = shown?.why ?? 'there was nothing to do'
    this.slices = sum(({ nslices }) => nslices)
    this.pages = {
      resident: sum(({ pages }) => pages.resident),
      duplicated: sum(({ pages }) => pages.duplicated),
      pinned: sum(({ pages }) => pages.pinned),
      migrated: sum(({ pages }) => pages.migrated),
    }
    this.thrashing = outcomes.flatMap(({ thrashing }) => thrashing)
    this.counters = sumOf(outcomes.map(({ counters }) => counters))
    this.bytesToDevice = this.counters.bytesHostToDevice
    this.bytesFromDevice = this.counters.bytesDeviceToHost
    const ms = (of: (times: RunOutcome['times']) => number) => sum(({ times }) => of(times)) / 1000
    this.times = {
      queued: ms(({ queued }) => queued),
      service: ms(({ service }) => service),
      transfer: ms(({ transfer }) => transfer),
      kernel: ms(({ kernel }) => kernel),
      flush: ms(({ flush }) => flush),
    }
  }

  /** In one line, for people. */
  toString(): string {
    const { queued, service, kernel, flush } = this.times
    const slices = `${this.slices} slice${this.slices === 1 ? '' : 's'}`
    const moved = [describeBytes(this.bytesToDevice, `to ${this.device}`), describeBytes(this.bytesFromDevice, 'back')]
    const bytes = moved.filter((text) => text !== '').join(', ')
    const split = Object.entries({ queued, service, kernel, flush })
      .filter(([, time]) => time >= 0.05)
      .map(([what, time]) => `${time.toFixed(1)} ${what}`)
    const total = `${(queued + service + kernel + flush).toFixed(1)} ms`
    const again = this.thrashing.map(
      ({ array, faults, refaults }) => `; "${array}" thrashed, ${refaults} of ${faults} faults`,
    )
    return `${this.name}: ${this.mode}, ${slices}; ${bytes === '' ? 'nothing copied' : bytes}; ${[total, ...(split.length > 1 ? [split.join(', ')] : [])].join(': ')}${again.join('')}`
  }
}

function describeBytes(bytes: Readonly<ByCause>, where: string): string {
  const nbytes = sumByCause(bytes)
  if (nbytes === 0) return ''
  const causes = CAUSES.filter((cause) => bytes[cause] > 0)
  const split = causes.map((cause) => (causes.length === 1 ? cause : `${cause} ${formatSize(bytes[cause])}`))
  return `${formatSize(nbytes)} ${where} (${split.join(', ')})`
}

function sumOf(all: readonly Counters[]): Counters {
  const total = makeCounters()
  for (const counters of all) {
    for (const name of Object.keys(total) as (keyof Counters)[]) addTo(total, counters, name)
  }
  return total
}

function addTo(total: Counters, counters: Counters, name: keyof Counters): void {
  const [to, from] = [total as unknown as Record<string, number | ByCause>, counters[name]]
  if (typeof from === 'number') to[name] = (to[name] as number) + from
  else for (const cause of CAUSES) (to[name] as ByCause)[cause] += from[cause]
}
