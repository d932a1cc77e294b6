// The tables of a report. A cell shows a figure as people read it and carries the figure itself, which sorting goes by, and which a
// test compares with the trace.

import { formatSize } from '../base/size.ts'
import { type Counters, sumByCause } from '../trace/counters.ts'
import { CAUSES } from '../trace/events.ts'
import { formatCount, formatPart, formatTime } from './format.ts'
import { type Html, html } from './html.ts'
import type { AllocationRow, DeviceRow, KernelRow, ReportModel, SiteRow, TrafficRow, Wait } from './model.ts'

/** A column: its title, and what a row has in it. A number is sorted by; a text stands for itself. */
interface Column<Row> {
  readonly title: string
  /** For who wonders about the title. */
  readonly hint?: string
  value(row: Row): number | string
  /** Default: the text itself, or the number with separators. */
  show?(row: Row): string
}

/** Rows of a table; a trace may have thousands of arrays. */
const ROWS_MAX = 200

export function kernelTable({ kernels, header }: ReportModel): Html {
  const time = (of: (row: KernelRow) => number, title: string, hint?: string): Column<KernelRow> => ({
    title,
    ...(hint !== undefined && { hint }),
    value: of,
    show: (row) => formatTime(of(row), header.timeUnit),
  })
  return table('Kernels', kernels, [
    { title: 'kernel', value: ({ name }) => name },
    { title: 'device', value: ({ device }) => device },
    { title: 'mode', value: ({ modes }) => modes.join(', ') },
    { title: 'launches', value: ({ launches }) => launches },
    { title: 'failed', value: ({ failed }) => failed },
    time(({ duration }) => duration.mean * duration.count, 'total', 'all launches together, from the call to the end'),
    time(({ duration }) => duration.p50, 'p50', 'half of the launches took no longer'),
    time(({ duration }) => duration.p99, 'p99', '99 of 100 launches took no longer'),
    time(({ queued }) => queued, 'queued', 'waiting for launches before it'),
    time(({ service }) => service, 'service', 'bringing in pages'),
    time(({ transfer }) => transfer, 'copying', 'copies, most of it within service'),
    time(({ compute }) => compute, 'compute', 'running'),
    time(({ flush }) => flush, 'flush', 'making results safe'),
    {
      title: 'found',
      hint: 'part of its pages that were on the device already',
      value: ({ nresident, nbrought }) => nresident / Math.max(1, nresident + nbrought),
      show: ({ nresident, nbrought }) => formatPart(nresident / Math.max(1, nresident + nbrought)),
    },
  ])
}

export function siteTable({ sites, header }: ReportModel): Html {
  const figure = (title: string, value: (counters: Counters) => number, show?: (figure: number) => string) => ({
    title,
    value: ({ counters }: SiteRow) => value(counters),
    ...(show !== undefined && { show: ({ counters }: SiteRow) => show(value(counters)) }),
  })
  return table('Lines of the program', sites, [
    { title: 'line', value: ({ site }) => site },
    figure('launches', ({ launches }) => launches),
    figure(
      'time',
      ({ launchDuration }) => launchDuration,
      (time) => formatTime(time, header.timeUnit),
    ),
    figure('to devices', ({ bytesHostToDevice }) => sumByCause(bytesHostToDevice), formatSize),
    figure('to the CPU', ({ bytesDeviceToHost }) => sumByCause(bytesDeviceToHost), formatSize),
    figure('device faults', ({ deviceFaults }) => deviceFaults),
    figure('evicted', ({ pagesMigrated }) => pagesMigrated.eviction),
  ])
}

export function allocationTable({ allocations, residency }: ReportModel): Html {
  const means = new Map(residency.map(({ name, mean }) => [name, mean]))
  const moved = (of: (row: AllocationRow) => number, title: string, hint: string): Column<AllocationRow> => {
    return { title, hint, value: of, show: (row) => formatSize(of(row)) }
  }
  return table('Arrays', allocations, [
    { title: 'array', value: ({ name }) => name },
    { title: 'type', value: ({ type }) => type ?? '' },
    moved(({ nbytes }) => nbytes, 'size', 'whole pages'),
    {
      title: 'on devices',
      hint: 'on average over the whole time',
      value: ({ name }) => means.get(name) ?? 0,
      show: ({ name }) => (means.has(name) ? formatPart(means.get(name) as number) : ''),
    },
    moved(({ counters }) => sumByCause(counters.bytesHostToDevice), 'to devices', 'bytes copied'),
    moved(({ counters }) => sumByCause(counters.bytesDeviceToHost), 'to the CPU', 'bytes copied'),
    { title: 'CPU faults', value: ({ counters }) => counters.cpuFaults },
    { title: 'device faults', value: ({ counters }) => counters.deviceFaults },
    { title: 'evicted', hint: 'pages, dropped copies for reading included', value: ({ nevicted }) => nevicted },
    { title: 'duplicated', hint: 'pages copied for reading', value: ({ counters }) => counters.pagesDuplicated },
    { title: 'thrashing', hint: 'times that pages went back and forth', value: ({ counters }) => counters.thrashing },
  ])
}

export function deviceTable({ devices, header, duration }: ReportModel): Html {
  const busy = ({ compute }: DeviceRow) => (duration > 0 ? compute / duration : 0)
  return table('Devices', devices, [
    { title: 'device', value: ({ name }) => name },
    { title: 'hardware', value: ({ hardware }) => hardware ?? '' },
    {
      title: 'memory',
      value: ({ nbytes }) => nbytes ?? 0,
      show: ({ nbytes }) => (nbytes === undefined ? '' : formatSize(nbytes)),
    },
    { title: 'most used', value: ({ peak }) => peak, show: ({ peak }) => formatSize(peak) },
    { title: 'used', hint: 'on average', value: ({ mean }) => mean, show: ({ mean }) => formatSize(mean) },
    { title: 'launches', value: ({ launches }) => launches },
    {
      title: 'computing',
      value: ({ compute }) => compute,
      show: ({ compute }) => formatTime(compute, header.timeUnit),
    },
    { title: 'busy', hint: 'part of the whole time', value: busy, show: (row) => formatPart(busy(row)) },
  ])
}

const DIRECTIONS_SHOWN = {
  'host-to-device': 'to devices',
  'device-to-host': 'to the CPU',
  'device-to-device': 'device to device',
}

export function trafficTable({ traffic }: ReportModel): Html {
  return table('Bytes by cause', traffic, [
    { title: 'direction', value: ({ direction }) => DIRECTIONS_SHOWN[direction] },
    ...CAUSES.map((cause): Column<TrafficRow> => {
      return { title: cause, value: ({ total }) => total[cause], show: ({ total }) => formatSize(total[cause]) }
    }),
    { title: 'total', value: ({ total }) => sumByCause(total), show: ({ total }) => formatSize(sumByCause(total)) },
  ])
}

export function waitTable({ waits, header }: ReportModel): Html {
  const time = (of: (row: Wait) => number, title: string): Column<Wait> => {
    return { title, value: of, show: (row) => formatTime(of(row), header.timeUnit) }
  }
  return table('Longest waits', waits, [
    time((wait) => wait.time, 'at'),
    time(({ duration }) => duration, 'waited'),
    { title: 'array', value: ({ allocation }) => allocation ?? '' },
    { title: 'thread', value: ({ thread }) => thread, show: ({ thread }) => String(thread) },
    { title: 'for', value: ({ reason }) => reason },
  ])
}

function table<Row>(caption: string, rows: readonly Row[], columns: readonly Column<Row>[]): Html {
  const head = columns.map(({ title, hint }, i) => {
    const isNumber = rows.length > 0 && typeof columns[i].value(rows[0]) === 'number'
    return html`<th scope="col" class="${isNumber ? 'n' : ''}" title="${hint ?? ''}">${title}</th>`
  })
  const body = rows
    .slice(0, ROWS_MAX)
    .map((row) => html`<tr>${columns.map((column, i) => cell(column, row, i === 0))}</tr>`)
  const left = rows.length - body.length
  return html`<div class="table" role="region" aria-label="${caption}" tabindex="0"><table>
      <caption>${caption}</caption><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table></div>
    ${left > 0 ? html`<p class="note">${formatCount(left)} more rows are in the trace.</p>` : ''}`
}

function cell<Row>({ value, show }: Column<Row>, row: Row, isFirst: boolean): Html {
  const content = value(row)
  if (isFirst && typeof content === 'string') return html`<th scope="row" title="${content}">${content}</th>`
  if (typeof content === 'string') return html`<td>${content}</td>`
  return html`<td class="n" data-value="${content}">${show?.(row) ?? formatCount(content)}</td>`
}
