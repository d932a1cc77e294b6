// What an operation of a device did: how its pages came to be there, what moved and why, and where the time went.

import { formatSize } from '../../base/size.ts'
import { type Counters, sumByCause } from '../../trace/counters.ts'

/** How the ranges of a launch lay in device memory. */
export type LaunchMode =
  | 'direct' // each in one piece
  | 'paged' // some in several pieces

/** How the pages of an operation came to be on the device. Pages that it uses twice count twice. */
export interface PageCounts {
  /** Were there already. */
  readonly resident: number
  readonly duplicated: number
  readonly pinned: number
  readonly migrated: number
}

/** Microseconds. */
export interface LaunchTimes {
  /** Until the launches before it that use the same data, or the same device, had ended. */
  readonly queued: number
  /** Until all pages were there. For later slices, as far as the kernel had nothing to do meanwhile. */
  readonly service: number
  /** Copies between system memory and the device, most of it within `service`. */
  readonly transfer: number
  readonly kernel: number
  /** Until everything was safe in system memory; 0 unless durable. */
  readonly flush: number
}

export interface OperationReceipt {
  readonly device: string
  readonly pages: PageCounts
  /** Sums over what happened for it: pages and bytes by cause, evictions included. */
  readonly counters: Counters
}

export interface PrefetchReceipt extends OperationReceipt {
  /** Pages for which there was no room. */
  readonly nskipped: number
}

/** An array of which a launch missed what it had had before: more is used at once than the device has room for. */
export interface ThrashedArray {
  /** Its name; the address of the range where it has none. */
  readonly array: string
  /** Pages that were missed, each time it happened. */
  readonly faults: number
  /** Of these, pages that the launch had had, and that were given up for others. */
  readonly refaults: number
}

export interface LaunchReceipt extends OperationReceipt {
  readonly name: string
  readonly mode: LaunchMode
  /** Why that mode, as a phrase. */
  readonly why: string
  /** Parts that it was cut into, one after the other; 1 for a launch that fits. */
  readonly nslices: number
  /** Empty for a launch that had what it wanted at once. */
  readonly thrashing: readonly ThrashedArray[]
  readonly times: LaunchTimes
}

/** One line: `saxpy on mem0: direct, pages: 24 resident, 8 pinned; 32 KiB up, 0 B down; 120 us`. */
export function formatReceipt({ name, device, mode, pages, counters, times }: LaunchReceipt): string {
  const { resident, duplicated, pinned, migrated } = pages
  const found = Object.entries({ resident, duplicated, pinned, migrated }).filter(([, count]) => count > 0)
  const where = found.map(([how, count]) => `${count} ${how}`).join(', ')
  const up = formatSize(sumByCause(counters.bytesHostToDevice))
  const down = formatSize(sumByCause(counters.bytesDeviceToHost))
  const total = times.queued + times.service + times.kernel + times.flush
  return `${name} on ${device}: ${mode}, pages: ${where}; ${up} up, ${down} down; ${Math.round(total)} us`
}
