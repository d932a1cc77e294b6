// Figures of kernels: a row for each kernel on each device, summed over its launches.

import type { LaunchEvent, LaunchMode } from '../trace/events.ts'
import { type Distribution, Durations } from './distribution.ts'
import type { KernelRow } from './model.ts'

export class KernelFigures {
  readonly #kernels = new Map<string, Kernel>()

  add(event: LaunchEvent): void {
    const key = JSON.stringify([event.kernel, event.device])
    let kernel = this.#kernels.get(key)
    if (kernel === undefined) {
      kernel = new Kernel(event.kernel, event.device)
      this.#kernels.set(key, kernel)
    }
    kernel.add(event)
  }

  /** Those that took longest first. */
  rows(): KernelRow[] {
    return [...this.#kernels.values()].map((kernel) => kernel.row()).sort((a, b) => totalOf(b) - totalOf(a))
  }
}

class Kernel {
  readonly #name: string
  readonly #device: string
  readonly #modes = new Set<LaunchMode>()
  readonly #durations = new Durations()
  readonly #sums = {
    failed: 0,
    queued: 0,
    service: 0,
    transfer: 0,
    compute: 0,
    flush: 0,
    nresident: 0,
    nbrought: 0,
  }

  constructor(name: string, device: string) {
    this.#name = name
    this.#device = device
  }

  /** Of a launch that failed only the parts are known that it got to. */
  add(event: LaunchEvent): void {
    const sums = this.#sums
    this.#durations.add(event.duration)
    if (event.error === undefined) this.#modes.add(event.mode)
    else sums.failed++
    sums.queued += event.queued
    sums.service += event.service
    sums.transfer += event.transfer
    sums.compute += event.compute
    sums.flush += event.flush
    sums.nresident += event.nresident
    sums.nbrought += event.nduplicated + event.npinned + event.nmigrated
  }

  row(): KernelRow {
    // It has been launched, or it would not be here.
    const duration = this.#durations.distribution() as Distribution
    const { count: launches } = duration
    return { name: this.#name, device: this.#device, modes: [...this.#modes], launches, duration, ...this.#sums }
  }
}

function totalOf({ duration }: KernelRow): number {
  return duration.mean * duration.count
}
