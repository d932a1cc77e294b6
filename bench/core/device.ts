// A device with private memory and a driver that does the least that a driver has to do: hand out frames, take them
// back. Its memory has no contents, so migrations cost what mm costs.

import type { Pfn } from '../../src/base/addr.ts'
import { MEMORY_DEVICE_PRIVATE, memremapPages, zoneDevicePageInit } from '../../src/mm/memremap.ts'
import type { System } from '../../src/mm/system.ts'
import { VM_FAULT_SIGBUS } from '../../src/mm/vm-fault.ts'

export class BenchDevice {
  readonly #sys: System
  /** Free frames; the last one freed is the next one used. */
  readonly #free: Int32Array
  #nfree: number

  constructor(sys: System, npages: number) {
    this.#sys = sys
    this.#free = new Int32Array(npages)
    this.#nfree = npages
    const pagemap = memremapPages(sys, {
      type: MEMORY_DEVICE_PRIVATE,
      npages,
      owner: this,
      ops: {
        pageFree: (pfn) => {
          this.#free[this.#nfree++] = pfn
        },
        migrateToRam: () => VM_FAULT_SIGBUS, // no CPU touches the memory here
      },
    })
    if (typeof pagemap === 'number') throw new Error(`bench: no device memory, errno ${pagemap}`)
    for (let i = 0; i < npages; i++) this.#free[i] = pagemap.pfn + npages - 1 - i
  }

  get nfree(): number {
    return this.#nfree
  }

  /** A frame, locked and with one reference. */
  alloc(): Pfn {
    if (this.#nfree === 0) throw new Error('bench: the device has no memory left')
    this.#nfree--
    const pfn = this.#free[this.#nfree]
    zoneDevicePageInit(this.#sys, pfn)
    return pfn
  }
}
