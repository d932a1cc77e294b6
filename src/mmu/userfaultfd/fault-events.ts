// Page faults as events of this thread's loop. While the thread sleeps in its loop it costs nothing; promises, timers and
// messages go on between faults. A blocking read in a thread would be simpler and could never be ended: neither
// `process.exit` nor `terminate` reaches a thread that sleeps in the kernel.
//
// Node watches sockets, pipes and terminals, and a userfaultfd is none of them. So a socket is made over a pipe, and before
// the loop has asked the kernel for its events, the descriptor of the pipe is replaced by the userfaultfd under the same
// number (dup3). The socket is then its only owner: when this thread ends, for whatever reason, the kernel closes it and
// threads that wait in a fault go on.

import { Socket } from 'node:net'
import { type Addr, pageAlignDown } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import {
  UFFD_EVENT_PAGEFAULT,
  UFFD_MSG_LAYOUT,
  UFFD_PAGEFAULT_FLAG_MINOR,
  UFFD_PAGEFAULT_FLAG_WP,
  UFFD_PAGEFAULT_FLAG_WRITE,
} from '../../uapi/userfaultfd.ts'
import { type Kernel, O_CLOEXEC } from './ffi.ts'

/** A thread waits for a page. The same fault may arrive again: each signal to the thread repeats it. */
export interface Fault {
  /** First byte of the page, as the process sees it. */
  readonly addr: Addr
  /** The thread wants to store. */
  readonly write: boolean
  /** The page is mapped and protected against stores. */
  readonly wp: boolean
  /** The file has the page, only the translation is missing. Neither this nor `wp`: the file has no such page. */
  readonly minor: boolean
  /** The thread, as the system numbers them; 0 where the kernel does not tell. */
  readonly tid: number
}

const BATCH_MAX = 128 // messages of one read, 4 KiB

export class FaultEvents {
  /** The descriptor, under the number that it has from now on. Orders go to it, nobody else closes it. */
  readonly fd: number
  readonly #socket: Socket
  readonly #onFaults: (faults: readonly Fault[]) => void

  /**
   * Takes over a userfaultfd that is switched on and does not block; its old number is closed. `onFaults` is called with all
   * faults that have come in; when it throws, the thread ends as with any uncaught exception.
   */
  constructor(kernel: Kernel, uffd: number, onFaults: (faults: readonly Fault[]) => void) {
    const pipe = kernel.pipe()
    this.fd = pipe.read
    this.#onFaults = onFaults
    const buffer = Buffer.alloc(BATCH_MAX * UFFD_MSG_LAYOUT.size)
    const options = {
      fd: pipe.read,
      readable: true,
      writable: false,
      onread: {
        buffer,
        callback: (nbytes: number) => {
          this.#onFaults(parseFaults(buffer, nbytes))
          return true
        },
      },
    }
    this.#socket = new Socket(options)
    kernel.dup3(uffd, pipe.read, O_CLOEXEC)
    kernel.close(pipe.write)
    kernel.close(uffd)
    this.#socket.resume()
  }

  /** Closes the descriptor at once: all ranges become ordinary memory, and whoever waits there goes on. */
  close(): void {
    this.#socket.destroy()
  }

  /** The thread may end while faults are still watched. */
  unref(): void {
    this.#socket.unref()
  }
}

/** The faults in a batch of messages (`struct uffd_msg`). */
export function parseFaults(buffer: Buffer, nbytes: number): Fault[] {
  const { size } = UFFD_MSG_LAYOUT
  assert(nbytes % size === 0, () => `${nbytes} bytes of messages, wanted a multiple of ${size}`)
  const faults: Fault[] = []
  for (let at = 0; at < nbytes; at += size) {
    const event = buffer[at + UFFD_MSG_LAYOUT.event]
    // The others are never asked for: whoever calls madvise or fork would wait for us to read them.
    assert(event === UFFD_EVENT_PAGEFAULT, () => `event 0x${event.toString(16)} of a userfaultfd, wanted a page fault`)
    const flags = buffer.readUInt32LE(at + UFFD_MSG_LAYOUT.flags)
    const low = buffer.readUInt32LE(at + UFFD_MSG_LAYOUT.address)
    const high = buffer.readUInt32LE(at + UFFD_MSG_LAYOUT.address + 4)
    faults.push({
      addr: pageAlignDown(high * 0x1_0000_0000 + low),
      write: (flags & UFFD_PAGEFAULT_FLAG_WRITE) !== 0,
      wp: (flags & UFFD_PAGEFAULT_FLAG_WP) !== 0,
      minor: (flags & UFFD_PAGEFAULT_FLAG_MINOR) !== 0,
      tid: buffer.readUInt32LE(at + UFFD_MSG_LAYOUT.threadId),
    })
  }
  return faults
}
