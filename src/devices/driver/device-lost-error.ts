// The error of a lost device. It stands alone, as a program that has its engine elsewhere loads it and no driver.

import { type Addr, PAGE_SIZE } from '../../base/addr.ts'
import { formatAddr } from '../../base/assert.ts'
import type { Mm } from '../../mm/mm.ts'

/** Pages whose only newest copy was on a device that is lost. */
export interface LostRange {
  readonly mm: Mm
  readonly start: Addr
  readonly end: Addr
  /** Name of the allocation, if it has one. */
  readonly name: string | undefined
}

/** What operations of a lost device reject with. */
export class DeviceLostError extends Error {
  override readonly name = 'DeviceLostError'
  readonly code = 'DEVICE_LOST'
  readonly device: string
  readonly lost: readonly LostRange[]

  constructor(device: string, reason: string, lost: readonly LostRange[]) {
    super(`${device} is lost: ${reason}; ${describe(lost)}`)
    this.device = device
    this.lost = lost
  }
}

function describe(lost: readonly LostRange[]): string {
  if (lost.length === 0) return 'nothing was only there'
  const texts = lost.slice(0, 4).map(({ start, end, name }) => {
    const npages = (end - start) / PAGE_SIZE
    const where = `${npages} ${npages === 1 ? 'page' : 'pages'} at ${formatAddr(start)}`
    return name === undefined ? where : `${where} of "${name}"`
  })
  return `lost: ${texts.join(', ')}${lost.length > texts.length ? ` and ${lost.length - texts.length} more ranges` : ''}`
}
