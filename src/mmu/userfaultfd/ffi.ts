// The system calls of the live backend, made from JavaScript through the package `koffi`. Node on Linux only, on x86-64 and
// arm64; the package is loaded when it is first asked for, so that importing this file costs nothing elsewhere.
//
// Addresses and sizes are Numbers: user space ends at 2^47, so they are exact. Arguments that the kernel reads from memory
// are put into one control block, field by field. A call that fails throws an MmError with the name of the call; the few
// whose failure is an ordinary answer return a negative errno instead, and say so.

import type { Addr } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { EINTR, EIO, ENODEV, ENOSYS, errnoName, hasErrnoName, MmError } from '../../base/errno.ts'
import { isNode } from '../../base/runtime.ts'
import { SYS_USERFAULTFD_ARM64, SYS_USERFAULTFD_X86_64 } from '../../uapi/userfaultfd.ts'

export const MFD_CLOEXEC = 1
export const FALLOC_FL_KEEP_SIZE = 1
export const FALLOC_FL_PUNCH_HOLE = 2
export const O_NONBLOCK = 0x800
export const O_CLOEXEC = 0x80000

type Koffi = typeof import('koffi').default
type KoffiFunction = ReturnType<ReturnType<Koffi['load']>['func']>

/** Largest part of memory that one ArrayBuffer can show. Beyond it Node 20 ends the process instead of throwing. */
export const VIEW_MAX = 2 ** 32 // bytes, buffer.constants.MAX_LENGTH

const CONTROL_NBYTES = 32 * 1024

const SYS_USERFAULTFD: Readonly<Record<string, number>> = {
  x64: SYS_USERFAULTFD_X86_64,
  arm64: SYS_USERFAULTFD_ARM64,
}

/** Processors (`process.arch`) whose system call numbers are known here. */
export const ARCHITECTURES: readonly string[] = Object.keys(SYS_USERFAULTFD)

/** Memory of a fixed address for what calls read and write. Fields are 64-bit words, by index. */
export class ControlBlock {
  readonly addr: Addr
  readonly words: Uint32Array
  readonly bytes: Uint8Array

  constructor(buffer: ArrayBuffer, addr: Addr) {
    this.addr = addr
    this.words = new Uint32Array(buffer)
    this.bytes = new Uint8Array(buffer)
  }

  /** Writes a field; `value` is from 0 to 2^53 - 1. Two stores of 32 bits cost a tenth of a BigInt. */
  set(index: number, value: number): void {
    this.words[2 * index] = value
    this.words[2 * index + 1] = value / 0x1_0000_0000
  }

  /** A field as a signed number. */
  get(index: number): number {
    return (this.words[2 * index + 1] | 0) * 0x1_0000_0000 + this.words[2 * index]
  }
}

/** The system calls, for one thread. */
export class Kernel {
  readonly control: ControlBlock
  readonly #koffi: Koffi
  readonly #mmap: KoffiFunction
  readonly #munmap: KoffiFunction
  readonly #madvise: KoffiFunction
  readonly #memfdCreate: KoffiFunction
  readonly #ftruncate: KoffiFunction
  readonly #fallocate: KoffiFunction
  readonly #ioctl: KoffiFunction
  readonly #syscall: KoffiFunction
  readonly #dup3: KoffiFunction
  readonly #pipe2: KoffiFunction
  readonly #close: KoffiFunction
  readonly #read: KoffiFunction
  readonly #pread: KoffiFunction
  readonly #getpagesize: KoffiFunction
  readonly #setenv: KoffiFunction
  readonly #alarm: KoffiFunction
  readonly #exit: KoffiFunction

  constructor(koffi: Koffi) {
    const libc = koffi.load(null) // what the process itself is linked to: glibc or musl
    this.#koffi = koffi
    this.#mmap = libc.func('mmap', 'intptr_t', ['uint64_t', 'uint64_t', 'int', 'int', 'int', 'int64_t'])
    this.#munmap = libc.func('munmap', 'int', ['uint64_t', 'uint64_t'])
    this.#madvise = libc.func('madvise', 'int', ['uint64_t', 'uint64_t', 'int'])
    this.#memfdCreate = libc.func('memfd_create', 'int', ['str', 'uint'])
    this.#ftruncate = libc.func('ftruncate', 'int', ['int', 'int64_t'])
    this.#fallocate = libc.func('fallocate', 'int', ['int', 'int', 'int64_t', 'int64_t'])
    this.#ioctl = libc.func('ioctl', 'int', ['int', 'uint64_t', 'uint64_t'])
    this.#syscall = libc.func('syscall', 'int64_t', ['int64_t', 'int64_t'])
    this.#dup3 = libc.func('dup3', 'int', ['int', 'int', 'int'])
    this.#pipe2 = libc.func('pipe2', 'int', ['uint64_t', 'int'])
    this.#close = libc.func('close', 'int', ['int'])
    this.#read = libc.func('read', 'int64_t', ['int', 'uint64_t', 'uint64_t'])
    this.#pread = libc.func('pread', 'int64_t', ['int', 'uint64_t', 'uint64_t', 'int64_t'])
    this.#getpagesize = libc.func('getpagesize', 'int', [])
    this.#alarm = libc.func('alarm', 'uint', ['uint'])
    this.#exit = libc.func('_exit', 'void', ['int'])
    this.#setenv = libc.func('setenv', 'int', ['str', 'str', 'int'])
    const buffer = new ArrayBuffer(CONTROL_NBYTES)
    this.control = new ControlBlock(buffer, this.addressOf(new Uint8Array(buffer)))
  }

  /** Maps memory; `addr` 0 lets the kernel choose the place. */
  mmap(addr: Addr, nbytes: number, prot: number, flags: number, fd: number): Addr {
    return this.#throwing('mmap', this.#mmap(addr, nbytes, prot, flags, fd, 0))
  }

  munmap(addr: Addr, nbytes: number): void {
    this.#throwing('munmap', this.#munmap(addr, nbytes))
  }

  madvise(addr: Addr, nbytes: number, advice: number): void {
    if (this.#madvise(addr, nbytes, advice) < 0) this.#fail('madvise', addr)
  }

  /** An empty file in memory that no child process inherits. `name` shows in /proc/self/maps. */
  memfdCreate(name: string): number {
    return this.#throwing('memfd_create', this.#memfdCreate(name, MFD_CLOEXEC))
  }

  ftruncate(fd: number, nbytes: number): void {
    this.#throwing('ftruncate', this.#ftruncate(fd, nbytes))
  }

  /** A signal makes the call undo itself, so it begins again. */
  fallocate(fd: number, mode: number, offset: number, nbytes: number): void {
    while (this.#fallocate(fd, mode, offset, nbytes) < 0) {
      if (this.#koffi.errno() !== EINTR) this.#fail('fallocate')
    }
  }

  /** `ioctl` with the control block, or with the number `arg`. Returns its result, or a negative errno. */
  ioctl(fd: number, request: number, arg = this.control.addr): number {
    const result = this.#ioctl(fd, request, arg)
    return result < 0 ? -this.#koffi.errno() : result
  }

  /** Makes a userfaultfd. Returns the descriptor, or a negative errno. */
  userfaultfd(flags: number): number {
    const number = SYS_USERFAULTFD[process.arch]
    if (number === undefined) return -ENOSYS
    const fd = this.#syscall(number, flags)
    return fd < 0 ? -this.#koffi.errno() : fd
  }

  dup3(from: number, to: number, flags: number): void {
    this.#throwing('dup3', this.#dup3(from, to, flags))
  }

  /** A pipe that does not block and that no child process inherits. */
  pipe(): { readonly read: number; readonly write: number } {
    this.#throwing('pipe2', this.#pipe2(this.control.addr, O_CLOEXEC | O_NONBLOCK))
    return { read: this.control.words[0], write: this.control.words[1] }
  }

  /** Closes a descriptor. Node's own close complains in a worker about descriptors that it has not opened. */
  close(fd: number): void {
    this.#throwing('close', this.#close(fd))
  }

  /** Reads to an address. Returns the number of bytes, or a negative errno. */
  read(fd: number, addr: Addr, nbytes: number): number {
    const count = this.#read(fd, addr, nbytes)
    return count < 0 ? -this.#koffi.errno() : count
  }

  /** Reads from a place in a file to an address. Returns the number of bytes, or a negative errno. */
  pread(fd: number, addr: Addr, nbytes: number, offset: number): number {
    const count = this.#pread(fd, addr, nbytes, offset)
    return count < 0 ? -this.#koffi.errno() : count
  }

  /** Size of a page of this kernel: 4096 bytes, but 16 or 64 KiB on some arm64 systems. */
  pageSize(): number {
    return this.#getpagesize()
  }

  /** Sets a variable for native code too: in a worker `process.env` is a copy that only JavaScript sees. */
  setenv(name: string, value: string): void {
    this.#throwing('setenv', this.#setenv(name, value, 1))
    process.env[name] = value
  }

  /** Ends the process in so many seconds, by SIGALRM, whatever its threads are doing then. */
  alarm(seconds: number): void {
    this.#alarm(seconds)
  }

  /** Ends the process at once, whatever its threads are doing. Nothing is tidied up, and nobody is told. */
  exit(code: number): void {
    this.#exit(code)
  }

  /** Where a view begins in memory. It must not be one on the JavaScript heap: views of buffers are not. */
  addressOf(view: Uint8Array): Addr {
    return Number(this.#koffi.address(view))
  }

  /**
   * A buffer over memory, at most VIEW_MAX bytes of it. It counts as external memory and makes the garbage collector run,
   * so it is made once per mapping.
   */
  view(addr: Addr, nbytes: number): ArrayBuffer {
    assert(nbytes > 0 && nbytes <= VIEW_MAX, () => `a view of ${nbytes} bytes, wanted 1 to ${VIEW_MAX}`)
    return this.#koffi.view(addr, nbytes)
  }

  #throwing(call: string, result: number): number {
    return result < 0 ? this.#fail(call) : result
  }

  #fail(call: string, addr?: Addr): never {
    throw systemError(-this.#koffi.errno(), call, addr)
  }
}

/** The error for a negative errno of the kernel. A number that has no name here is an EIO that tells it. */
export function systemError(errno: number, call: string, addr?: Addr): MmError {
  if (hasErrnoName(errno)) return new MmError(errno, call, { addr })
  return new MmError(-EIO, call, { addr, detail: `the kernel says error number ${-errno}` })
}

/** Name of a negative errno, `error 77` for one without. */
export function systemErrorName(errno: number): string {
  return hasErrnoName(errno) ? errnoName(errno) : `error ${-errno}`
}

let kernel: Promise<Kernel> | undefined

/**
 * The system calls, loaded once per thread.
 *
 * Rejects with ENODEV outside of Linux and Node, and with the error of the import where `koffi` is not installed.
 */
export function loadKernel(): Promise<Kernel> {
  kernel ??= load()
  return kernel
}

async function load(): Promise<Kernel> {
  if (!isNode() || process.platform !== 'linux') {
    throw new MmError(-ENODEV, 'loadKernel', { detail: 'live memory needs Node on Linux' })
  }
  const { default: koffi } = await import('koffi')
  return new Kernel(koffi)
}
