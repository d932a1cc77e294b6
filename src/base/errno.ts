/**
 * Error numbers of Linux, and the error that the public surface throws.
 *
 * Numbers follow asm-generic/errno-base.h and errno.h. Inside mm and hmm a function returns 0 or a negative number, as
 * in the kernel, because -EBUSY and retry are ordinary steps there. At the surface a negative result becomes an MmError
 * in the shape of Node's system errors: callers match on `code`, the message may change.
 */

import type { Addr } from './addr.ts'
import { assert, formatAddr } from './assert.ts'

export const EPERM = 1
export const ENOENT = 2
export const ESRCH = 3
export const EINTR = 4
export const EIO = 5
export const ENXIO = 6
export const E2BIG = 7
export const EBADF = 9
export const EAGAIN = 11
export const ENOMEM = 12
export const EACCES = 13
export const EFAULT = 14
export const EBUSY = 16
export const EEXIST = 17
export const ENODEV = 19
export const EINVAL = 22
export const ENFILE = 23
export const EMFILE = 24
export const ENOTTY = 25
export const ENOSPC = 28
export const EROFS = 30
export const ENOSYS = 38
export const EBADMSG = 74
export const EOVERFLOW = 75
export const EOPNOTSUPP = 95
export const ESTALE = 116
export const EHWPOISON = 133

/** Made by a function, whose type has the names and not all of the table. */
const ERRORS = errorTable({
  EPERM: { errno: EPERM, text: 'operation not permitted' },
  ENOENT: { errno: ENOENT, text: 'no such entry' },
  ESRCH: { errno: ESRCH, text: 'no such process' },
  EINTR: { errno: EINTR, text: 'interrupted' },
  EIO: { errno: EIO, text: 'input or output error' },
  ENXIO: { errno: ENXIO, text: 'no such device or address' },
  E2BIG: { errno: E2BIG, text: 'argument list too long' },
  EBADF: { errno: EBADF, text: 'bad file descriptor' },
  EAGAIN: { errno: EAGAIN, text: 'try again' },
  ENOMEM: { errno: ENOMEM, text: 'out of memory' },
  EACCES: { errno: EACCES, text: 'permission denied' },
  EFAULT: { errno: EFAULT, text: 'bad address' },
  EBUSY: { errno: EBUSY, text: 'busy' },
  EEXIST: { errno: EEXIST, text: 'already exists' },
  ENODEV: { errno: ENODEV, text: 'no such device' },
  EINVAL: { errno: EINVAL, text: 'invalid argument' },
  ENFILE: { errno: ENFILE, text: 'too many open files in the system' },
  EMFILE: { errno: EMFILE, text: 'too many open files' },
  ENOTTY: { errno: ENOTTY, text: 'no such operation on this file' },
  ENOSPC: { errno: ENOSPC, text: 'no space left' },
  EROFS: { errno: EROFS, text: 'can only be read' },
  ENOSYS: { errno: ENOSYS, text: 'not implemented' },
  EBADMSG: { errno: EBADMSG, text: 'damaged contents' },
  EOVERFLOW: { errno: EOVERFLOW, text: 'value too large' },
  EOPNOTSUPP: { errno: EOPNOTSUPP, text: 'operation not supported' },
  ESTALE: { errno: ESTALE, text: 'file is not what it was' },
  EHWPOISON: { errno: EHWPOISON, text: 'memory page has a hardware error' },
})

export type ErrnoName = keyof typeof ERRORS

function errorTable<Name extends string>(errors: Record<Name, { readonly errno: number; readonly text: string }>) {
  return errors
}

const NAMES: ReadonlyMap<number, ErrnoName> = new Map(
  (Object.keys(ERRORS) as ErrnoName[]).map((name) => [ERRORS[name].errno, name]),
)

/** Whether this file knows the error number, given as in errno.h or negated. */
export function hasErrnoName(errno: number): boolean {
  return NAMES.has(Math.abs(errno))
}

/** Name of an error number of this file, given as in errno.h or negated as functions return it. */
export function errnoName(errno: number): ErrnoName {
  const name = NAMES.get(Math.abs(errno))
  assert(name !== undefined, () => `error number ${errno} has no name`)
  return name
}

/** Where an error happened. */
export interface MmErrorDetails {
  /** Byte address that the error is about. */
  addr?: Addr | undefined
  /** What is wrong there, as a phrase without a final period. */
  detail?: string | undefined
}

/** A refused operation, at the public surface. */
export class MmError extends Error {
  override readonly name = 'MmError'
  /** Name of the error, for callers to match on. */
  readonly code: ErrnoName
  /** Negative error number, as the inner function returned it. */
  readonly errno: number
  /** The function that failed. */
  readonly syscall: string
  /** Byte address, when there is one. */
  readonly addr: Addr | undefined
  /** What exactly was wrong, as a phrase. */
  readonly detail: string | undefined

  /** @param errno negative, as the inner function returned it */
  constructor(errno: number, syscall: string, details: MmErrorDetails = {}) {
    assert(errno < 0, () => `${syscall}: an MmError needs a negative error number, got ${errno}`)
    const code = errnoName(errno)
    const where = details.addr === undefined ? '' : ` ${formatAddr(details.addr)}`
    const why = details.detail === undefined ? '' : `: ${details.detail}`
    super(`${code}: ${ERRORS[code].text}, ${syscall}${where}${why}`)
    this.code = code
    this.errno = errno
    this.syscall = syscall
    this.addr = details.addr
    this.detail = details.detail
  }
}

/** Turns a negative result into a thrown MmError; hands any other result through. */
export function throwOnError(result: number, syscall: string, details?: MmErrorDetails): number {
  if (result < 0) throw new MmError(result, syscall, details)
  return result
}
