// A driver for a device that uses the memory of a process, written by hand on `hetmem/hmm`, as one would be for the kernel.
//
// The device has a page table of its own, a mirror of the process's. The two halves of every such driver are here: `#fault` asks
// for pages and enters them, the callback of the notifier takes them out before the process's own table changes. Between them
// lies the one rule: what was found before an event must not be entered after it.
//
// Prints:
//   the device adds 2000 numbers: 1999000, 1 device fault
//   once more: 1999000, 0 device faults
//   after fork it may only read: 1 event
//   it doubles them in a copy for the parent: 3998 and 1999, 1 device fault
//   after munmap: EFAULT

import {
  addrToVpn,
  EBUSY,
  errnoName,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  hmmPfnAt,
  hmmPfnToPfn,
  hmmPfnWritable,
  hmmRangeFault,
  Machine,
  type Mm,
  type MmuIntervalNotifier,
  mmuIntervalNotifierInsert,
  mmuIntervalReadBegin,
  mmuIntervalReadRetry,
  mmuIntervalSetSeq,
  PAGE_SIZE,
  type Pfn,
  throwOnError,
} from 'hetmem/hmm'

/** What the device knows of a page: where it is, and whether it may be written. */
interface DeviceEntry {
  readonly pfn: Pfn
  readonly isWritable: boolean
}

class AddingDevice {
  readonly #mm: Mm
  readonly #table = new Map<number, DeviceEntry>()
  readonly #notifier: MmuIntervalNotifier
  faults = 0
  events = 0

  /** Mirrors `nbytes` of an address space from `start` on. */
  constructor(mm: Mm, start: number, nbytes: number) {
    this.#mm = mm
    const notifier = mmuIntervalNotifierInsert(mm, start, nbytes, {
      invalidate: (sub, range, seq) => {
        mmuIntervalSetSeq(sub, seq)
        for (let addr = range.start; addr < range.end; addr += PAGE_SIZE) this.#table.delete(addrToVpn(addr))
        this.events++
        return true
      },
    })
    if (typeof notifier === 'number') throw new Error(`no notifier: ${errnoName(notifier)}`)
    this.#notifier = notifier
  }

  /** Sum of `count` numbers. */
  add(addr: number, count: number): number {
    let sum = 0
    this.#forEachPage(addr, count, false, (words) => {
      for (const word of words) sum += word
    })
    return sum
  }

  double(addr: number, count: number): void {
    this.#forEachPage(addr, count, true, (words) => {
      for (let i = 0; i < words.length; i++) words[i] *= 2
    })
  }

  /** Runs `work` on the memory behind `count` words, page by page, as the device sees it. */
  #forEachPage(addr: number, count: number, write: boolean, work: (words: Uint32Array) => void): void {
    const end = addr + 4 * count
    for (let at = addr; at < end; at += PAGE_SIZE) {
      let entry = this.#table.get(addrToVpn(at))
      if (entry === undefined || (write && !entry.isWritable)) {
        this.#fault(at, end, write)
        entry = this.#table.get(addrToVpn(at)) as DeviceEntry
      }
      const page = this.#mm.sys.mmu.bytes(entry.pfn)
      work(new Uint32Array(page.buffer, page.byteOffset, Math.min(PAGE_SIZE, end - at) / 4))
    }
  }

  /** A page fault of the device: enters the pages of `[start, end)` in its table. */
  #fault(start: number, end: number, write: boolean): void {
    const mm = this.#mm
    const npages = Math.ceil((end - start) / PAGE_SIZE)
    const hmmPfns = new BigUint64Array(npages)
    for (;;) {
      const notifierSeq = mmuIntervalReadBegin(this.#notifier)
      if (!mm.mmapLock.tryRead()) throw new Error('nothing else runs here, so nobody holds the lock')
      const err = hmmRangeFault({
        notifier: this.#notifier,
        notifierSeq,
        start,
        end: start + npages * PAGE_SIZE,
        hmmPfns,
        defaultFlags: write ? HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE : HMM_PFN_REQ_FAULT,
        pfnFlagsMask: 0n,
        devPrivateOwner: null,
      })
      mm.mmapLock.unlockRead()
      if (err === -EBUSY) continue
      throwOnError(err, 'hmmRangeFault', { addr: start })
      // A kernel takes the driver's lock here, which the callback takes too. In JavaScript nothing comes between.
      if (!mmuIntervalReadRetry(this.#notifier, notifierSeq)) break
    }
    for (let i = 0; i < npages; i++) {
      const entry = hmmPfnAt(hmmPfns, i)
      const isWritable = hmmPfnWritable(entry)
      this.#table.set(addrToVpn(start) + i, { pfn: hmmPfnToPfn(entry), isWritable })
    }
    this.faults++
  }
}

const count = 2000
const machine = new Machine()
const parent = machine.createProcess()
const addr = parent.mmap({ length: 4 * count })
for (let i = 0; i < count; i++) parent.store32(addr + 4 * i, i)

const device = new AddingDevice(parent.mm, addr, 4 * count)

/** Device faults and events since the last call. */
function happened(): { faults: string; events: string } {
  const { faults, events } = device
  device.faults = 0
  device.events = 0
  return {
    faults: `${faults} device fault${faults === 1 ? '' : 's'}`,
    events: `${events} event${events === 1 ? '' : 's'}`,
  }
}

console.log(`the device adds ${count} numbers: ${device.add(addr, count)}, ${happened().faults}`)
console.log(`once more: ${device.add(addr, count)}, ${happened().faults}`)

const child = parent.fork()
console.log(`after fork it may only read: ${happened().events}`)
device.double(addr, count)
const last = addr + 4 * (count - 1)
console.log(
  `it doubles them in a copy for the parent: ${parent.load32(last)} and ${child.load32(last)}, ${happened().faults}`,
)

parent.munmap(addr, 4 * count)
try {
  device.add(addr, count)
} catch (error) {
  console.log(`after munmap: ${(error as { code: string }).code}`)
}
