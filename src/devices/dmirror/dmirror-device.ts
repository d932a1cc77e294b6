// The kernel's HMM test driver: a device whose only job is to let a program exercise every HMM call from user space.
// Follows lib/test_hmm.c of Linux 6.1 in what it does (spec section 8); commands are in dmirror-handle.ts, quirks in README.md.
//
// A machine has up to four, hmm_dmirror0 to 3. As in the kernel 0 and 1 have private memory and 2 and 3 coherent memory,
// unless the options say otherwise. The device object itself is the owner of its memory.

import { EINVAL, throwOnError } from '../../base/errno.ts'
import type { Mm } from '../../mm/mm.ts'
import type { System } from '../../mm/system.ts'
import { VM_FAULT_SIGBUS, type VmFault } from '../../mm/vm-fault.ts'
import type { HmmDevice } from '../device.ts'
import { DmirrorFile } from './device-file.ts'
import { type Chunk, DeviceMemory, DMIRROR_KINDS, type DmirrorKind } from './device-memory.ts'
import { type DmirrorCommandHost, DmirrorHandle } from './dmirror-handle.ts'
import { evictChunk, migrateFaultToRam } from './migration.ts'
import { Mirror } from './mirror.ts'

/** 256 MiB, as the kernel's driver has it. */
export const DMIRROR_CHUNK_PAGES = 65536

/** What a DmirrorDevice is made with. */
export interface DmirrorOptions {
  /** Default: private for devices 0 and 1, coherent for 2 and 3. */
  readonly kind?: DmirrorKind
  /** Pages by which the device memory grows. Default DMIRROR_CHUNK_PAGES. */
  readonly chunkPages?: number
  /** Chunks at a time. Default: no limit for private memory, 1 for coherent, which has one place in physical memory. */
  readonly chunksMax?: number
  /**
   * Milliseconds, for the deadline of a device fault. Default: time stands still while a command runs, so that results do
   * not depend on the speed of the machine; a loop without progress ends all the same.
   */
  readonly now?: () => number
}

/** The test device: a mirror of a process, with memory to migrate to. `struct dmirror_device`. */
export class DmirrorDevice implements HmmDevice<DmirrorHandle>, DmirrorCommandHost {
  readonly sys: System
  readonly number: number
  readonly kind: DmirrorKind
  readonly memory: DeviceMemory
  readonly mirrors = new Set<Mirror>()
  /** `/dev/hmm_dmirrorN` for mmap. */
  readonly file: DmirrorFile
  readonly now: () => number

  /** Adds the device and its first chunk of memory to the machine. `number` is 0 to 3. */
  constructor(sys: System, number: number, options: DmirrorOptions = {}) {
    if (!Number.isInteger(number) || number < 0 || number > 3) throw new RangeError(`device ${number}, wanted 0 to 3`)
    checkOptions(options)
    this.sys = sys
    this.number = number
    this.kind = options.kind ?? (number < 2 ? 'private' : 'coherent')
    this.now = options.now ?? (() => 0)
    this.file = new DmirrorFile(this.name)
    this.memory = new DeviceMemory(sys, {
      kind: this.kind,
      owner: this,
      chunkPages: options.chunkPages ?? DMIRROR_CHUNK_PAGES,
      chunksMax: options.chunksMax ?? (this.kind === 'private' ? Number.POSITIVE_INFINITY : 1),
      migrateToRam: (vmf) => this.migrateToRam(vmf),
    })
    throwOnError(this.memory.addChunk(), `${this.name}: addChunk`)
  }

  get name(): string {
    return `hmm_dmirror${this.number}`
  }

  get owner(): this {
    return this
  }

  get npagesUsed(): number {
    return this.memory.npagesUsed
  }

  /** Returns a handle that mirrors `mm`, or -EINVAL if the address space is dead (TD-3) or of another machine. */
  open(mm: Mm): DmirrorHandle | number {
    if (mm.sys !== this.sys) return -EINVAL
    const mirror = new Mirror(this, mm)
    const ret = mirror.subscribe()
    return ret === 0 ? new DmirrorHandle(this, mirror) : ret
  }

  evictAll(): void {
    for (const chunk of this.memory.chunks) this.evict(chunk)
  }

  /** Takes all memory of the device away (TD-30). Returns 0, or -EAGAIN while somebody still holds a page of it. */
  release(): number {
    return this.memory.removeChunks((chunk) => this.evict(chunk))
  }

  private evict(chunk: Chunk): void {
    evictChunk(this.sys, this.memory, chunk)
  }

  /** The mirror that migrated the page is its driver data, as with a real device. */
  private migrateToRam(vmf: VmFault): number {
    const mirror = this.sys.pages.zoneDeviceData.get(vmf.page)
    return mirror instanceof Mirror ? migrateFaultToRam(mirror, vmf) : VM_FAULT_SIGBUS
  }
}

/** Throws a TypeError or RangeError that names the option. */
function checkOptions({ kind, chunkPages, chunksMax }: DmirrorOptions): void {
  if (kind !== undefined && !DMIRROR_KINDS.includes(kind)) {
    throw new TypeError(`kind is ${kind}, wanted one of ${DMIRROR_KINDS.join(', ')}`)
  }
  if (chunkPages !== undefined && !(Number.isSafeInteger(chunkPages) && chunkPages > 0)) {
    throw new RangeError(`chunkPages is ${chunkPages}, wanted a positive integer`)
  }
  if (chunksMax !== undefined && !(chunksMax >= 1)) throw new RangeError(`chunksMax is ${chunksMax}, wanted at least 1`)
}
