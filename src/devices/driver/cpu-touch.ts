// The CPU touched a page that the device has (MG-91). The page comes back, and with it as many of its neighbours as the policy
// says: only pages that lie beside it on the device too, so that nobody loses anything for them.
//
// A touch waits when a launch writes the page, also one that has it no longer or does not have it yet, until that has ended;
// when an operation of the device uses the page for writing; and when the page goes back and forth so often that nothing gets
// done, for a moment that the policy chooses.

import { type Addr, addrToVpn, PAGE_SIZE, vpnToAddr } from '../../base/addr.ts'
import { assert } from '../../base/assert.ts'
import { ENOMEM } from '../../base/errno.ts'
import { WaitQueue } from '../../base/wait-queue.ts'
import type { TouchDecision } from '../../hmm/policy.ts'
import { waitForPage } from '../../mm/page-alloc.ts'
import { VM_FAULT_OOM, VM_FAULT_RETRY, VM_FAULT_SIGBUS, type VmFault } from '../../mm/vm-fault.ts'
import { runningWriter } from '../claims.ts'
import { isDeviceFault, withUser } from '../edge.ts'
import type { DeviceParts } from './device-parts.ts'
import type { DeviceSpace } from './device-space.ts'
import { CAPTURED_FOR_WRITING, FRAME_PAGE } from './frame-pool.ts'
import { readAhead } from './read-ahead.ts'
import type { ToSystem } from './to-system.ts'
import { makePurpose } from './traffic.ts'

const ALONE: TouchDecision = { npages: 1, isThrashing: false, delay: 0 }

/**
 * Answers the fault; it holds mmapLock for reading. `space` is null for an address space that the device does not mirror,
 * such as a child. `nqueued` is how many operations the device has to do.
 *
 * Returns 0, VM_FAULT_RETRY with `sys.waitFor` set, VM_FAULT_OOM, or VM_FAULT_SIGBUS for a page that is lost.
 */
export function answerTouch(
  parts: DeviceParts,
  toSystem: ToSystem,
  space: DeviceSpace | null,
  nqueued: number,
  vmf: VmFault,
): number {
  const { sys, pool, clock } = parts
  const { vma, address, page } = vmf
  const frame = pool.frameOf(page)
  if ((pool.captured[frame] & CAPTURED_FOR_WRITING) !== 0) {
    // An operation that meets a page of its own there would wait for itself: somebody changed the mapping behind its back.
    if (parts.isFaulting) return VM_FAULT_SIGBUS
    sys.waitFor = pool.released
    return VM_FAULT_RETRY
  }
  const writer = isDeviceFault(sys) ? undefined : runningWriter(vma.mm, { start: address, end: address + PAGE_SIZE })
  if (writer !== undefined) {
    sys.waitFor = wokenBy(writer.whenEnded())
    return VM_FAULT_RETRY
  }
  space?.readBacks.asked(address, address + PAGE_SIZE)
  const decision = space === null ? ALONE : decide(parts, space, address, nqueued)
  if (space !== null && mustWait(parts, space, address, decision)) return VM_FAULT_RETRY
  const isForward = space?.touches.isSequential(addrToVpn(address)) === true
  const [start, end] = windowAround(parts, space, vmf, decision.npages, isForward)
  const { err, done } = toSystem.bringBack(vma, start, end, page, makePurpose('fault'))
  if (space !== null) {
    const next = space.touches.answered(addrToVpn(address), addrToVpn(end), decision.npages)
    space.touches.moved(addrToVpn(start), addrToVpn(end), 'host', clock.now())
    const { nahead = 0 } = decision
    // At once, so that the copies are under way while what has come is mapped.
    if (err === 0 && nahead > 0) readAhead(parts, toSystem, space, next, nahead)
  }
  if (err !== 0) {
    // The others of the window are on their way all the same.
    if (done !== null) keepLocked(vmf, done)
    return err === -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS
  }
  if (done === null) return 0
  keepLocked(vmf, done)
  waitForPage(sys, page)
  return VM_FAULT_RETRY
}

function decide({ policy, clock }: DeviceParts, space: DeviceSpace, addr: Addr, nqueued: number): TouchDecision {
  const { touches } = space
  const vpn = addrToVpn(addr)
  return policy.touch({
    window: touches.window,
    isSequential: touches.isSequential(vpn),
    nmoves: touches.nmoves(vpn, clock.now(), policy.moveWindow) + 1,
    nqueued,
  })
}

/** Reports thrashing, and sets `sys.waitFor` if the touch has to wait a moment; it waits once, then it is served. */
function mustWait(parts: DeviceParts, space: DeviceSpace, addr: Addr, { isThrashing, delay }: TouchDecision): boolean {
  const { sys, clock, policy, traffic } = parts
  const { mm, touches } = space
  const vpn = addrToVpn(addr)
  const run = { mm, start: addr, end: addr + PAGE_SIZE }
  const waitsUntil = touches.waitsUntil(vpn)
  if (waitsUntil > clock.now()) {
    sys.waitFor = wokenAt(parts, waitsUntil)
    return true
  }
  if (isThrashing) traffic.thrashed(run, touches.nmoves(vpn, clock.now(), policy.moveWindow) + 1)
  if (waitsUntil > 0 || delay <= 0) {
    touches.setWait(vpn, 0)
    return false
  }
  touches.setWait(vpn, clock.now() + delay)
  traffic.throttled(run, delay)
  sys.waitFor = wokenAt(parts, clock.now() + delay)
  return true
}

function wokenBy(event: Promise<void>): WaitQueue {
  const queue = new WaitQueue()
  void event.then(() => queue.wake())
  return queue
}

function wokenAt({ clock }: DeviceParts, time: number): WaitQueue {
  const queue = new WaitQueue()
  clock.callAt(time, () => queue.wake())
  return queue
}

/**
 * The part of the mapping that comes back with the page: at most `npages`, from the page on if touches go forward, else
 * aligned around it; and only pages that were reserved beside it, are there, and can leave.
 */
function windowAround(
  { pool }: DeviceParts,
  space: DeviceSpace | null,
  vmf: VmFault,
  npages: number,
  isForward: boolean,
): [Addr, Addr] {
  const { vma, address } = vmf
  const frame = pool.frameOf(vmf.page)
  const block = pool.blockAt(frame)
  const vpn = addrToVpn(address)
  // mremap moves pages and leaves their blocks behind; a child has the pages of its parent.
  if (space === null || block.mm !== space.mm || pool.vpnOf(frame) !== vpn) return [address, address + PAGE_SIZE]
  const from = isForward ? vpn : vpn - (vpn % npages)
  const canLeave = (at: number): boolean =>
    pool.isOf(block, at) && pool.state[at] === FRAME_PAGE && (pool.captured[at] & CAPTURED_FOR_WRITING) === 0
  let first = vpn
  while (first > from && canLeave(frame - (vpn - first) - 1)) first--
  let end = vpn + 1
  while (end < from + npages && canLeave(frame + (end - vpn))) end++
  return [Math.max(vpnToAddr(first), vma.start), Math.min(vpnToAddr(end), vma.end)]
}

/** The fault gives its lock back when it returns; the migration keeps one of its own, and the address space. */
function keepLocked({ vma }: VmFault, done: Promise<void>): void {
  const { mm } = vma
  assert(mm.mmapLock.tryRead(true), 'a fault holds mmapLock for reading')
  void withUser(mm, () => done).finally(() => mm.mmapLock.unlockRead())
}
