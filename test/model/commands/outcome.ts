// What a process may expect of an access or a call, by the model, and how the answer is held against it.

import { errnoName, MmError } from '../../../src/base/errno.ts'
import { type AccessOutcome, accessOutcome } from '../../../src/machine/page-fault.ts'
import { PROT_READ, PROT_WRITE } from '../../../src/uapi/mman.ts'
import type { PageModel } from '../contents.ts'
import type { World } from '../world.ts'

/** Runs a call of the public surface: what it returns, or the negative errno of what it throws. */
export function resultOf(call: () => unknown): number {
  try {
    const result = call()
    return typeof result === 'number' ? result : 0
  } catch (error) {
    if (error instanceof MmError) return error.errno
    throw error
  }
}

/** How an access of the CPU must end, if memory and the world are in order. */
export function expectedAccess(page: PageModel | undefined, write: boolean): AccessOutcome {
  if (page === undefined) return 'segv'
  const allowed = write ? (page.prot & PROT_WRITE) !== 0 : page.prot !== 0
  if (!allowed) return 'segv'
  return page.isMissing ? 'sigbus' : 'ok'
}

/** A device must be able to reach the page: hmm asks for READ, too, and does not touch I/O memory. */
export function deviceMayAccess(page: PageModel | undefined, write: boolean): boolean {
  const wanted = write ? PROT_READ | PROT_WRITE : PROT_READ
  return page !== undefined && (page.prot & wanted) === wanted && !page.isMissing && page.kind !== 'frames'
}

/** An access or a call may fail although the mapping allows it: no memory, a broken page, a page that the parent took. */
export function mayFail(world: World, page: PageModel | undefined): boolean {
  if (world.isShort || page === undefined) return true
  if (page.isBroken || page.content.poisoned || (world.broken.size > 0 && page.content.first === 0)) return true
  return page.kind === 'huge' && (page.borrowed || !world.sys.hugetlb.hasUnreserved)
}

/** Throws unless the access ended as it must. True if it succeeded. */
export function checkAccess(
  world: World,
  what: string,
  result: number,
  page: PageModel | undefined,
  write: boolean,
): boolean {
  const outcome = accessOutcome(result)
  if (outcome === 'would-wait') world.wait(what)
  const expected = expectedAccess(page, write)
  if (outcome === expected) return outcome === 'ok'
  if (expected === 'ok' && outcome !== 'segv' && mayFail(world, page)) return false
  // A write looks for a frame before it learns that the file has no page there.
  if (expected === 'sigbus' && outcome === 'out-of-memory' && world.isShort) return false
  throw new Error(`${what} ended with ${outcome}, wanted ${expected}`)
}

/** Throws unless the result is one of the errnos given (positive numbers), or 0 and more where 0 is given. */
export function checkResult(what: string, result: number, ...wanted: number[]): void {
  if (wanted.some((errno) => (errno === 0 ? result >= 0 : result === -errno))) return
  const names = wanted.map((errno) => (errno === 0 ? 'success' : errnoName(errno)))
  throw new Error(`${what} returned ${result < 0 ? errnoName(result) : result}, wanted ${names.join(' or ')}`)
}
