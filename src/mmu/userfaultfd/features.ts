// What this machine offers for live memory, and why not more. Kernels are asked, never compared by version: what is built in,
// allowed and back-ported differs too much. In this order:
//
//   userfaultfd, all faults          the system call, else /dev/userfaultfd             mode live
//   userfaultfd, user-mode faults    for everybody since Linux 5.11                     mode live-user
//   feature bits                     MINOR on shmem is needed, write protection decides how stores are tracked
//   self-test                        a thread really faults, and really goes on with the right bytes
//
// The self-test is what counts: sandboxes and emulators say yes to calls that do nothing.

import { EACCES, EINVAL, ENOENT, ENOSYS, EPERM } from '../../base/errno.ts'
import { isNode } from '../../base/runtime.ts'
import {
  UFFD_FEATURE_MINOR_SHMEM,
  UFFD_FEATURE_MISSING_SHMEM,
  UFFD_FEATURE_MOVE,
  UFFD_FEATURE_PAGEFAULT_FLAG_WP,
  UFFD_FEATURE_POISON,
  UFFD_FEATURE_THREAD_ID,
  UFFD_FEATURE_WP_ASYNC,
  UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
} from '../../uapi/userfaultfd.ts'
import { ARCHITECTURES, type Kernel, loadKernel, systemError, systemErrorName } from './ffi.ts'
import { Pagemap } from './pagemap.ts'
import { selfTest } from './self-test.ts'
import { canMapProtected, enableUffd, openUffd, UFFD_DEVICE, UFFD_SOURCES, type UffdSource } from './uffd.ts'
import { WRITE_TRACKING, type WriteTracking } from './userfaultfd-mmu.ts'

/** What the kernel has, of the things that matter here. */
export interface LiveFeatures {
  /** Faults on memory files, for pages that the file has (Linux 5.14). Nothing goes without. */
  readonly minor: boolean
  /** Write protection on memory files, from the moment in which a page is mapped (Linux 6.4; arm64: 6.10). */
  readonly writeProtect: boolean
  /** The kernel itself lets stores through and notes them (Linux 6.7). */
  readonly writeProtectAsync: boolean
  /** PAGEMAP_SCAN finds what was written (Linux 6.7). */
  readonly pagemapScan: boolean
  /** Faults tell the thread. */
  readonly threadId: boolean
  readonly poison: boolean
  readonly move: boolean
}

/** Why there is no live memory, or less of it than there could be. */
export const LIVE_CAUSES = [
  'platform', // not Linux, or not Node
  'architecture', // no system call numbers for this processor
  'koffi', // the package is missing or cannot be loaded
  'page-size', // the kernel's pages are not 4 KiB
  'not-built', // the kernel has no userfaultfd
  'forbidden', // a sandbox refuses userfaultfd, whoever asks
  'unprivileged', // this user may have faults from user mode only
  'old-kernel', // a feature is missing
  'no-pagemap', // /proc/self/pagemap cannot be read
  'self-test', // all calls succeed and yet it does not work
] as const
export type LiveCause = (typeof LIVE_CAUSES)[number]

export interface Lack {
  readonly cause: LiveCause
  /** A sentence for people, without a final period. */
  readonly reason: string
}

export interface LiveSupport {
  readonly mode: 'live' | 'live-user'
  readonly source: UffdSource
  readonly tracking: WriteTracking
  readonly features: LiveFeatures
  /** What would be better on another machine or with other privileges. */
  readonly lacks: readonly Lack[]
}

export interface NoLiveSupport extends Lack {
  readonly mode: 'unavailable'
}

export interface DetectOptions {
  /** Where a descriptor may come from. Default: UFFD_SOURCES, in this order. */
  readonly sources?: readonly UffdSource[]
  /** The best tracking to choose. Default 'async'. */
  readonly tracking?: WriteTracking
  /** Whether to serve a fault before saying yes; it takes as long as a worker needs to start. Default true. */
  readonly selfTest?: boolean
}

/** Finds out what this machine offers. Never rejects: a machine without live memory is an answer. */
export async function detectLive(options: DetectOptions = {}): Promise<LiveSupport | NoLiveSupport> {
  const unsupported = unsupportedHere()
  if (unsupported !== null) return unsupported
  let kernel: Kernel
  try {
    kernel = await loadKernel()
  } catch (error) {
    const message = error instanceof Error ? error.message.split('\n', 1)[0] : String(error)
    return unavailable('koffi', `the package koffi cannot be loaded: ${message}`)
  }
  const pageSize = kernel.pageSize()
  if (pageSize !== 4096) return unavailable('page-size', `pages of this kernel are ${pageSize} bytes, wanted 4096`)

  const refusals: Refusal[] = []
  for (const source of options.sources ?? UFFD_SOURCES) {
    const offer = offerOf(kernel, source)
    if (typeof offer !== 'number') return await support(kernel, source, offer, refusals, options)
    refusals.push({ source, errno: offer })
  }
  return explainRefusals(refusals)
}

/** A source of descriptors that gave none, and its negative errno. */
export interface Refusal {
  readonly source: UffdSource
  readonly errno: number
}

/** Why no source gave a descriptor. */
export function explainRefusals(refusals: readonly Refusal[]): NoLiveSupport {
  const errnoOf = (wanted: UffdSource) => refusals.find(({ source }) => source === wanted)?.errno
  const tried = refusals.map(({ source, errno }) => `${source} ${systemErrorName(errno)}`).join(', ')
  if (errnoOf('syscall') === -ENOSYS) {
    return unavailable('not-built', `this kernel has no userfaultfd (${tried})`)
  }
  // Flags are looked at before privileges, so an old kernel does not get as far as EPERM.
  if (errnoOf('user-mode') === -EINVAL) {
    return unavailable(
      'old-kernel',
      `this kernel gives userfaultfd to root only (${tried}); Linux 5.11 gives it to everybody`,
    )
  }
  if (errnoOf('user-mode') === undefined) {
    return unavailable('unprivileged', `this user may not handle page faults of system calls (${tried})`)
  }
  if (refusals.every(({ errno }) => errno === -EPERM || errno === -EACCES || errno === -ENOENT)) {
    return unavailable('forbidden', `userfaultfd is refused whoever asks, as in containers (${tried})`)
  }
  return unavailable('not-built', `userfaultfd does not work here (${tried})`)
}

/** How stores are tracked best, and why not better. */
export function chooseTracking(
  features: LiveFeatures,
  best: WriteTracking,
): { tracking: WriteTracking; lack: Lack | null } {
  const can: Record<WriteTracking, boolean> = {
    async: features.writeProtect && features.writeProtectAsync && features.pagemapScan,
    sync: features.writeProtect,
    none: true,
  }
  const tracking = WRITE_TRACKING.slice(WRITE_TRACKING.indexOf(best)).find((kind) => can[kind]) ?? 'none'
  if (tracking === best) return { tracking, lack: null }
  if (!features.writeProtect) {
    const reason =
      'this kernel cannot protect memory files against stores: every page that was touched counts as written'
    return {
      tracking,
      lack: { cause: 'old-kernel', reason: `${reason} (x86-64 can since Linux 6.4, arm64 since 6.10)` },
    }
  }
  const slower = 'the first store to each page costs a fault'
  if (features.writeProtectAsync) {
    return { tracking, lack: { cause: 'no-pagemap', reason: `/proc/self/pagemap cannot be used: ${slower}` } }
  }
  return {
    tracking,
    lack: { cause: 'old-kernel', reason: `this kernel does not note stores by itself: ${slower} (Linux 6.7 does)` },
  }
}

/**
 * Makes a userfaultfd as detected, switched on with the features that its tracking needs. Returns the descriptor.
 *
 * Throws an MmError if the machine has changed its mind since.
 */
export function openDetected(kernel: Kernel, support: LiveSupport): number {
  const fd = openUffd(kernel, support.source)
  if (fd < 0) throw systemError(fd, 'userfaultfd')
  const result = enableUffd(kernel, fd, wantedBits(support))
  if (result < 0) {
    kernel.close(fd)
    throw systemError(result, 'UFFDIO_API')
  }
  return fd
}

function unsupportedHere(): NoLiveSupport | null {
  if (!isNode()) return unavailable('platform', 'live memory needs Node; this is another runtime')
  if (process.platform !== 'linux') {
    return unavailable('platform', `live memory needs the userfaultfd of Linux; this is ${process.platform}`)
  }
  if (!ARCHITECTURES.includes(process.arch)) {
    return unavailable(
      'architecture',
      `live memory knows the system calls of ${ARCHITECTURES.join(' and ')}; this is ${process.arch}`,
    )
  }
  return null
}

async function support(
  kernel: Kernel,
  source: UffdSource,
  offer: Offer,
  refusals: readonly Refusal[],
  options: DetectOptions,
): Promise<LiveSupport | NoLiveSupport> {
  const features = readFeatures(kernel, offer)
  if (!features.minor) {
    return unavailable('old-kernel', 'userfaultfd of this kernel does not do memory files (MINOR); Linux 5.14 does')
  }
  const { tracking, lack } = chooseTracking(features, options.tracking ?? 'async')
  const lacks: Lack[] = lack === null ? [] : [lack]
  if (source === 'user-mode') lacks.unshift({ cause: 'unprivileged', reason: explainUserMode(refusals) })
  const mode = source === 'user-mode' ? 'live-user' : 'live'
  const found: LiveSupport = { mode, source, tracking, features, lacks }
  return options.selfTest === false ? found : await tested(kernel, found)
}

/** What was found, with the best tracking that passes the test. */
async function tested(kernel: Kernel, found: LiveSupport): Promise<LiveSupport | NoLiveSupport> {
  const lacks = [...found.lacks]
  for (const tracking of WRITE_TRACKING.slice(WRITE_TRACKING.indexOf(found.tracking))) {
    const candidate: LiveSupport = { ...found, tracking, lacks }
    if (tracking === 'sync' && !found.features.writeProtect) continue
    const failure = await selfTest(kernel, () => openDetected(kernel, candidate), tracking)
    if (failure === null) return candidate
    lacks.push({ cause: 'self-test', reason: `tracking stores (${tracking}) was tried and does not work: ${failure}` })
  }
  const { reason } = lacks[found.lacks.length]
  return unavailable('self-test', reason.replace(/^tracking stores \(\w+\)/, 'userfaultfd'))
}

function explainUserMode(refusals: readonly Refusal[]): string {
  const why = refusals.map(({ source, errno }) => `${source} ${systemErrorName(errno)}`).join(', ')
  return (
    'this user may handle page faults of programs but not those of system calls' +
    (why === '' ? '' : ` (${why}; ${UFFD_DEVICE} or CAP_SYS_PTRACE would do)`)
  )
}

/** What a descriptor can do. There is no feature bit for the second. */
interface Offer {
  readonly bits: number
  readonly mapsProtected: boolean
}

/** What a source has to offer, or the negative errno that it refuses with. */
function offerOf(kernel: Kernel, source: UffdSource): Offer | number {
  const fd = openUffd(kernel, source)
  if (fd < 0) return fd
  try {
    // A descriptor can be switched on once, so this one is for asking only.
    const bits = enableUffd(kernel, fd, 0)
    return bits < 0 ? bits : { bits, mapsProtected: canMapProtected(kernel, fd) }
  } finally {
    kernel.close(fd)
  }
}

function readFeatures(kernel: Kernel, { bits, mapsProtected }: Offer): LiveFeatures {
  const has = (mask: number) => (bits & mask) === mask
  let pagemapScan = false
  try {
    const pagemap = new Pagemap(kernel)
    pagemapScan = pagemap.canScan()
    pagemap.close()
  } catch {
    // No /proc, or not ours to read.
  }
  return {
    minor: has(UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM),
    writeProtect: mapsProtected && has(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM),
    writeProtectAsync: has(UFFD_FEATURE_WP_ASYNC),
    pagemapScan,
    threadId: has(UFFD_FEATURE_THREAD_ID),
    poison: has(UFFD_FEATURE_POISON),
    move: has(UFFD_FEATURE_MOVE),
  }
}

/** Exactly what is used. Older kernels do not do what they were not asked for. */
function wantedBits({ tracking, features }: LiveSupport): number {
  let bits = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM
  if (features.threadId) bits |= UFFD_FEATURE_THREAD_ID
  if (tracking !== 'none') bits |= UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM
  if (tracking === 'async') bits |= UFFD_FEATURE_WP_ASYNC
  return bits
}

function unavailable(cause: LiveCause, reason: string): NoLiveSupport {
  return { mode: 'unavailable', cause, reason }
}
