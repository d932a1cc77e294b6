// What stands out in a trace, in sentences: what cost time and why, and what one may do about it. A finding names figures of the
// model and nothing else, so that a reader can look them up.

import { PAGE_SIZE } from '../base/addr.ts'
import { formatSize } from '../base/size.ts'
import { sumByCause } from '../trace/counters.ts'
import { counted, formatCount, formatPart, formatTime } from './format.ts'
import type { AllocationRow, ReportModel } from './model.ts'

export interface Finding {
  /** 'bad' is wrong, 'slow' costs time, 'good' is as it should be. */
  readonly kind: 'bad' | 'slow' | 'good'
  readonly text: string
}

/** A part of the launches' time that is worth a sentence. */
const LARGE_PART = 0.5
/** Once is what it takes, and twice may be chance. */
const COPIED_OFTEN = 3
/** What is less of all copies is not worth a sentence. */
const SMALL_PART = 0.05
/** A device that has used so much of its memory has been full: the rest is kept free on purpose, or too small for what came. */
const FULL_PART = 0.9
/** Arrays that are named for one thing, at most. */
const ARRAYS_NAMED = 2

export function findingsOf(model: ReportModel): Finding[] {
  const findings = [...faults(model), ...pressure(model), ...slowness(model)]
  return findings.length > 0 ? findings : [{ kind: 'good', text: 'Nothing was lost, and nobody had to wait for long.' }]
}

/** What went wrong. */
function faults({ isCut, devices, kernels }: ReportModel): Finding[] {
  const findings: Finding[] = []
  const bad = (text: string) => findings.push({ kind: 'bad', text })
  if (isCut) bad('The trace ends in the middle of a line: the program was killed, and the last moments are missing.')
  for (const { name, lost } of devices) {
    if (lost !== undefined) bad(`Device "${name}" was lost: ${lost}.`)
  }
  for (const { name, launches, failed } of kernels) {
    if (failed > 0) bad(`${counted(failed, 'launch', 'launches')} of "${name}" failed, of ${launches}.`)
  }
  return findings
}

/** Memory that is too small, or wanted by two at once. */
function pressure({ totals, nevicted, devices, allocations, header }: ReportModel): Finding[] {
  const findings: Finding[] = []
  const slow = (text: string) => findings.push({ kind: 'slow', text })
  // A device that is closed evicts what it has, too.
  const full = devices.filter(({ nbytes, peak }) => nbytes === undefined || peak >= FULL_PART * nbytes)
  if (nevicted > 0 && full.length > 0) {
    const memory = full.map(({ name, nbytes }) => (nbytes === undefined ? name : `${name} (${formatSize(nbytes)})`))
    const { eviction } = totals.bytesDeviceToHost
    const copied = eviction === 0 ? 'none of them had to be copied' : `${formatSize(eviction)} of them copied`
    slow(`Device memory of ${memory.join(', ')} was full: ${counted(nevicted, 'page')} were evicted, ${copied}.`)
  }
  const copiedToDevices = sumByCause(totals.bytesHostToDevice)
  const again = allocations
    .filter((each) => timesCopied(each) >= COPIED_OFTEN && bytesCopied(each) >= SMALL_PART * copiedToDevices)
    .sort((a, b) => bytesCopied(b) - bytesCopied(a))
  for (const each of again.slice(0, ARRAYS_NAMED)) {
    const whole = `"${each.name}" (${formatSize(each.nbytes)})`
    const hadToGo = each.nevicted * PAGE_SIZE >= bytesCopied(each) / 2
    const why = hadToGo ? 'it was used again after it had to go' : 'CPU and device took turns with it'
    slow(`${whole} was copied to devices ${formatCount(Math.round(timesCopied(each)))} times over: ${why}.`)
  }
  if (totals.thrashing > 0) {
    const names = allocations.filter(({ counters }) => counters.thrashing > 0).map(({ name }) => `"${name}"`)
    const delay = formatTime(totals.throttlingDelay, header.timeUnit)
    const whose = names.length === 0 ? 'Pages' : `Pages of ${names.slice(0, 3).join(', ')}`
    const held = totals.throttlingDelay === 0 ? '' : `; touches were held back for ${delay} in all`
    slow(`${whose} went back and forth, between CPU and device or within a launch that wants more than fits${held}.`)
  }
  if (totals.pagesSwappedOut > 0) {
    slow(`System memory was full: ${formatSize(totals.bytesSwappedOut)} went to the swap file.`)
  }
  if (totals.stalls > 0) {
    const waited = formatTime(totals.stallDuration, header.timeUnit)
    slow(`${counted(totals.stalls, 'touch', 'touches')} waited for more than 50 ms, ${waited} in all.`)
  }
  return findings
}

function bytesCopied({ counters }: AllocationRow): number {
  return sumByCause(counters.bytesHostToDevice)
}

function timesCopied(row: AllocationRow): number {
  return row.nbytes > 0 ? bytesCopied(row) / row.nbytes : 0
}

/** Where the time of launches went, if not into kernels. */
function slowness({ totals }: ReportModel): Finding[] {
  const { launches, launchDuration, launchService, launchQueued } = totals
  if (launches === 0 || launchDuration === 0) return []
  const brought = sumByCause(totals.bytesHostToDevice)
  const [service, queued] = [launchService / launchDuration, launchQueued / launchDuration]
  if (service >= LARGE_PART) {
    const text = `Launches spent ${formatPart(service)} of their time on bringing in ${formatSize(brought)}: prefetch, or use what is there more often.`
    return [{ kind: 'slow', text }]
  }
  if (queued >= LARGE_PART) {
    return [{ kind: 'slow', text: `Launches spent ${formatPart(queued)} of their time waiting for those before them.` }]
  }
  return []
}
