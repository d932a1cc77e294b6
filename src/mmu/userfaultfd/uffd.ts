// A userfaultfd and its operations. The descriptor delivers the page faults of the ranges that are registered with it
// (fault-events.ts reads them) and takes orders about their translations, each an ioctl with a struct in the control block.
//
// Descriptors are numbers of the whole process: any thread can give orders, if it has system calls of its own.

import { closeSync, constants, openSync } from 'node:fs'
import { type Addr, PAGE_SIZE } from '../../base/addr.ts'
import { EACCES, EAGAIN, EINVAL, EIO, ENOENT, EPERM } from '../../base/errno.ts'
import {
  UFFD_API,
  UFFD_USER_MODE_ONLY,
  UFFDIO_API,
  UFFDIO_CONTINUE,
  UFFDIO_CONTINUE_MODE_WP,
  UFFDIO_REGISTER,
  UFFDIO_UNREGISTER,
  UFFDIO_WAKE,
  UFFDIO_WRITEPROTECT,
  UFFDIO_WRITEPROTECT_MODE_WP,
  USERFAULTFD_IOC_NEW,
} from '../../uapi/userfaultfd.ts'
import { type Kernel, O_CLOEXEC, O_NONBLOCK, systemError } from './ffi.ts'

/**
 * Where a descriptor comes from. `syscall` and `device` see all faults; `user-mode` is for everybody and sees no faults that
 * the kernel takes inside a system call.
 */
export const UFFD_SOURCES = ['syscall', 'device', 'user-mode'] as const
export type UffdSource = (typeof UFFD_SOURCES)[number]

export const UFFD_DEVICE = '/dev/userfaultfd'

/** Makes a descriptor. Without O_NONBLOCK an event loop could not wait for it. Returns a negative errno on failure. */
export function openUffd(kernel: Kernel, source: UffdSource): number {
  const flags = O_CLOEXEC | O_NONBLOCK
  if (source === 'syscall') return kernel.userfaultfd(flags)
  if (source === 'user-mode') return kernel.userfaultfd(flags | UFFD_USER_MODE_ONLY)
  let device: number
  try {
    device = openSync(UFFD_DEVICE, constants.O_RDWR)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'EACCES' ? -EACCES : code === 'EPERM' ? -EPERM : code === 'ENOENT' ? -ENOENT : -EIO
  }
  try {
    return kernel.ioctl(device, USERFAULTFD_IOC_NEW, flags)
  } finally {
    closeSync(device)
  }
}

/**
 * Switches a new descriptor on, with `features` (UFFD_FEATURE_*). It can be done once per descriptor.
 *
 * Returns the features that this kernel has, or -EINVAL when it lacks one that was asked for.
 */
export function enableUffd(kernel: Kernel, fd: number, features: number): number {
  const { control } = kernel
  control.set(0, UFFD_API)
  control.set(1, features)
  control.set(2, 0)
  const result = kernel.ioctl(fd, UFFDIO_API)
  return result < 0 ? result : control.get(1)
}

/** Whether pages can be mapped so that nobody stores to them unseen, not even at once (Linux 6.4). `fd` is switched on. */
export function canMapProtected(kernel: Kernel, fd: number): boolean {
  const { control } = kernel
  // Of a page that is not registered, so nothing can happen to it. What the kernel does not know is refused first.
  const page = control.addr - (control.addr % PAGE_SIZE)
  control.set(0, page)
  control.set(1, PAGE_SIZE)
  control.set(2, UFFDIO_CONTINUE_MODE_WP)
  control.set(3, 0)
  return kernel.ioctl(fd, UFFDIO_CONTINUE) !== -EINVAL
}

export class Uffd {
  readonly fd: number
  readonly #kernel: Kernel

  /** `fd` is switched on. It stays the caller's. */
  constructor(kernel: Kernel, fd: number) {
    this.#kernel = kernel
    this.fd = fd
  }

  /** From now on the faults of a range arrive at the descriptor. `modes` is UFFDIO_REGISTER_MODE_*. */
  register(addr: Addr, nbytes: number, modes: number): void {
    this.#setRange(addr, nbytes, modes)
    const result = this.#kernel.ioctl(this.fd, UFFDIO_REGISTER)
    if (result < 0) throw systemError(result, 'UFFDIO_REGISTER', addr)
  }

  /** The range becomes ordinary memory, and threads that wait there go on. Returns 0 or a negative errno. */
  unregister(addr: Addr, nbytes: number): number {
    this.#setRange(addr, nbytes, 0)
    return this.#kernel.ioctl(this.fd, UFFDIO_UNREGISTER)
  }

  /** Threads that wait in the range try again. */
  wake(addr: Addr, nbytes: number): void {
    this.#setRange(addr, nbytes, 0)
    const result = this.#kernel.ioctl(this.fd, UFFDIO_WAKE)
    if (result < 0) throw systemError(result, 'UFFDIO_WAKE', addr)
  }

  /**
   * Maps pages of the file, from the front, and wakes who waits for them. With `protect` the first store to each is reported
   * (or noted by the kernel, where it does that itself).
   *
   * Returns the number of bytes done, less than `nbytes` when a page further on cannot be mapped; or, about the first page,
   * - -EEXIST it is mapped already
   * - -EFAULT the file has no such page
   * - -EAGAIN the address space is changing
   */
  mapPages(addr: Addr, nbytes: number, protect: boolean): number {
    const { control } = this.#kernel
    this.#setRange(addr, nbytes, protect ? UFFDIO_CONTINUE_MODE_WP : 0)
    control.set(3, 0)
    const result = this.#kernel.ioctl(this.fd, UFFDIO_CONTINUE)
    if (result === 0) return nbytes
    const done = control.get(3)
    if (done > 0) return done
    return done < 0 ? done : result
  }

  /** Protects pages against stores that nobody is told of, or lets stores through and wakes who waits to make one. */
  writeProtect(addr: Addr, nbytes: number, protect: boolean): void {
    this.#setRange(addr, nbytes, protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0)
    let result: number
    do result = this.#kernel.ioctl(this.fd, UFFDIO_WRITEPROTECT)
    while (result === -EAGAIN)
    if (result < 0) throw systemError(result, 'UFFDIO_WRITEPROTECT', addr)
  }

  /** The fields that all arguments begin with; those of some end after the second. */
  #setRange(addr: Addr, nbytes: number, mode: number): void {
    const { control } = this.#kernel
    control.set(0, addr)
    control.set(1, nbytes)
    control.set(2, mode)
  }
}
