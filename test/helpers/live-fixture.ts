// A live backend inside the process of the test, with a program thread that touches its memory. Faults are served by the
// test between looks at that thread: stores to protected pages as the backend wants it, others by the test's own `onFault`.

import { PAGE_SIZE } from '../../src/base/addr.ts'
import { type Fault, parseFaults } from '../../src/mmu/userfaultfd/fault-events.ts'
import { type DetectOptions, detectLive, type LiveSupport, openDetected } from '../../src/mmu/userfaultfd/features.ts'
import { type Kernel, loadKernel } from '../../src/mmu/userfaultfd/ffi.ts'
import { SEGMENT_MAX } from '../../src/mmu/userfaultfd/segment.ts'
import { Uffd } from '../../src/mmu/userfaultfd/uffd.ts'
import { UserfaultfdMmu, type WriteTracking } from '../../src/mmu/userfaultfd/userfaultfd-mmu.ts'
import type { ProgramThread } from './program-thread.ts'

/** What a skipped test says that its machine lacks. */
export const CAPABILITY_LIVE = 'live memory'

export interface LiveMachine {
  readonly kernel: Kernel
  readonly support: LiveSupport
}

/** System calls and support of this machine, or why there is no live memory. */
export async function findLiveMachine(options: DetectOptions = {}): Promise<LiveMachine | string> {
  const support = await detectLive({ selfTest: false, ...options })
  if (support.mode === 'unavailable') return `${CAPABILITY_LIVE}: ${support.reason}`
  return { kernel: await loadKernel(), support }
}

/** The trackings that this machine can do. */
export function trackingsOf({ support }: LiveMachine): WriteTracking[] {
  const all: WriteTracking[] = ['async', 'sync', 'none']
  return all.slice(all.indexOf(support.tracking))
}

export class LiveFixture {
  readonly mmu: UserfaultfdMmu
  /** Called with faults that are none of a store to a protected page. A test that expects none leaves it. */
  onFault: (fault: Fault) => void = (fault) => {
    throw new Error(`unexpected fault ${JSON.stringify(fault)}`)
  }
  /** All faults that came, in order. */
  readonly faults: Fault[] = []
  readonly #kernel: Kernel
  readonly #fd: number
  readonly #thread: ProgramThread
  readonly #messages = Buffer.alloc(4096)

  /** `onStrays` is told of touches of pages that nobody has. */
  constructor(
    machine: LiveMachine,
    tracking: WriteTracking,
    nframes: number,
    thread: ProgramThread,
    onStrays: (count: number) => void = () => {},
  ) {
    this.#kernel = machine.kernel
    this.#thread = thread
    this.#fd = openDetected(machine.kernel, { ...machine.support, tracking })
    this.mmu = new UserfaultfdMmu({ kernel: machine.kernel, fd: this.#fd, tracking, nframes, onStrays })
  }

  /** Touches by the program, at an address of the heap. */
  load(addr: number): number {
    return this.#thread.load(this.#buffer(addr), addr % SEGMENT_MAX, this.#serve)
  }

  store(addr: number, value: number): void {
    this.#thread.store(this.#buffer(addr), addr % SEGMENT_MAX, value, this.#serve)
  }

  add(addr: number, value: number): number {
    return this.#thread.add(this.#buffer(addr), addr % SEGMENT_MAX, value, this.#serve)
  }

  /** What the engine sees: a word through the alias. */
  peek(addr: number): number {
    const bytes = this.mmu.bytes(Math.floor(addr / PAGE_SIZE))
    return new DataView(bytes.buffer, bytes.byteOffset).getInt32(addr % PAGE_SIZE, true)
  }

  poke(addr: number, value: number): void {
    const bytes = this.mmu.bytes(Math.floor(addr / PAGE_SIZE))
    new DataView(bytes.buffer, bytes.byteOffset).setInt32(addr % PAGE_SIZE, value, true)
  }

  /** Maps a page behind the backend's back, as another thread does. */
  mapElsewhere(vpn: number): void {
    new Uffd(this.#kernel, this.#fd).mapPages(this.mmu.frames.userAddr(vpn), PAGE_SIZE, true)
  }

  close(): void {
    this.#kernel.close(this.#fd)
    this.mmu.close()
  }

  #buffer(addr: number): SharedArrayBuffer {
    return this.mmu.buffers[Math.floor(addr / SEGMENT_MAX)]
  }

  readonly #serve = (): void => {
    const nbytes = this.#kernel.read(this.#fd, this.#kernel.addressOf(this.#messages), this.#messages.length)
    if (nbytes <= 0) return
    for (const fault of parseFaults(this.#messages, nbytes)) {
      this.faults.push(fault)
      const addr = this.mmu.heapAddr(fault.addr)
      if (!(fault.wp && this.mmu.resolveStore(addr))) this.onFault({ ...fault, addr })
    }
  }
}
