// The pictures of a report, as SVG that is stretched to the width of the page: one unit across is one bin of time or one bar. All
// text stands beside them as HTML, so that it stays readable at any width, and every figure is in a table too.

import { formatSize } from '../base/size.ts'
import { CAUSES } from '../trace/events.ts'
import type { Distribution } from './distribution.ts'
import { counted, formatCount, formatPart, formatTime } from './format.ts'
import { type Html, html } from './html.ts'
import type { ReportModel, ResidencyRow, TrafficRow } from './model.ts'

/** Shades between nothing and all; the style has a colour for each. */
export const SHADES = 8

/** Rows of the heat map; more would be a wall. */
export const HEAT_ROWS_MAX = 24

const DIRECTION_TITLES = {
  'host-to-device': 'To devices',
  'device-to-host': 'To the CPU',
  'device-to-device': 'Device to device',
}

/** A row per allocation, front of the array above, time from left to right. */
export function heatMap({ residency, bins, duration, header }: ReportModel): Html {
  const rows = residency.slice(0, HEAT_ROWS_MAX).map(
    (row) => html`
      <div class="label" title="${row.name}">${row.name}<small>${formatSize(row.nbytes)}</small></div>
      ${heatRow(row, bins.count)}`,
  )
  const left = residency.length - rows.length
  return html`<div class="rows time-charts">${rows}<div></div>${timeAxis(duration, header.timeUnit)}</div>
    ${left > 0 ? html`<p class="note">${counted(left, 'smaller array')} not shown; all are in the table of arrays.</p>` : ''}
    <div class="legend">not on a device <span class="ramp">${shades()}</span> all of it</div>`
}

function heatRow({ name, stripes, mean, peak }: ResidencyRow, nbins: number): Html {
  const title = `${name}: ${formatPart(mean)} on devices on average, ${formatPart(peak)} at most`
  // What the pointer reads: percent of the whole row, by bin.
  const shares = Array.from({ length: nbins }, (_, bin) =>
    Math.round((100 * stripes.reduce((sum, values) => sum + values[bin], 0)) / stripes.length),
  )
  return html`<svg class="heat-row time-chart" viewBox="0 0 ${nbins} ${stripes.length}" preserveAspectRatio="none"
      role="img" aria-label="${title}" data-name="${name}" data-shares="${shares.join(' ')}">
      <title>${title}</title>${shadePaths(stripes)}</svg>`
}

function shadePaths(stripes: ResidencyRow['stripes']): Html[] {
  const paths = new Map<number, string>()
  for (const [y, values] of stripes.entries()) {
    for (let x = 0; x < values.length; ) {
      const shade = shadeOf(values[x])
      let end = x + 1
      while (end < values.length && shadeOf(values[end]) === shade) end++
      if (shade > 0) paths.set(shade, `${paths.get(shade) ?? ''}M${x} ${y}h${end - x}v1h${x - end}z`)
      x = end
    }
  }
  return [...paths].map(([shade, d]) => html`<path class="s${shade}" d="${d}"/>`)
}

/** 0 for nothing at all, SHADES for everything. */
function shadeOf(part: number): number {
  return Math.ceil(Math.min(1, part) * SHADES - 1e-9)
}

function shades(): Html[] {
  return Array.from(
    { length: SHADES + 1 },
    (_, i) => html`<svg viewBox="0 0 1 1" aria-hidden="true"><rect class="s${i}" width="1" height="1"/></svg>`,
  )
}

/** Bytes in each bin, one colour above the other. */
export function trafficCharts({ traffic, bins, duration, header }: ReportModel): Html {
  const charts = traffic.map((row) => trafficChart(row, bins, header.timeUnit))
  return html`<div class="rows time-charts">${charts}<div></div>${timeAxis(duration, header.timeUnit)}</div>
    <ul class="legend causes">${CAUSES.map(
      (cause) => html`<li><svg viewBox="0 0 1 1" aria-hidden="true">
      <rect class="c-${cause}" width="1" height="1"/></svg> ${cause}</li>`,
    )}</ul>`
}

function trafficChart(
  { direction, byCause, total }: TrafficRow,
  bins: ReportModel['bins'],
  unit: ReportModel['header']['timeUnit'],
): Html {
  const sums = Array.from({ length: bins.count }, (_, bin) =>
    CAUSES.reduce((sum, cause) => sum + byCause[cause][bin], 0),
  )
  const peak = Math.max(...sums)
  const tops = new Float64Array(bins.count).fill(CHART_HEIGHT)
  const paths = CAUSES.map((cause) => {
    let d = ''
    byCause[cause].forEach((nbytes, bin) => {
      if (nbytes === 0) return
      const height = (nbytes / peak) * CHART_HEIGHT
      tops[bin] -= height
      d += `M${bin} ${coordinate(tops[bin])}h1v${coordinate(height)}h-1z`
    })
    return d === '' ? '' : html`<path class="c-${cause}" d="${d}"/>`
  })
  const all = CAUSES.reduce((sum, cause) => sum + total[cause], 0)
  const title = `${DIRECTION_TITLES[direction]}: ${formatSize(all)}`
  const fullHeight = `${formatSize(peak)} in ${formatTime(bins.width, unit)}`.replaceAll(' ', '\u00a0')
  return html`<div class="label">${DIRECTION_TITLES[direction]}<small>${formatSize(all)}</small>
      <small>full height: ${fullHeight}</small></div>
    <svg class="columns time-chart" viewBox="0 0 ${bins.count} ${CHART_HEIGHT}" preserveAspectRatio="none" role="img"
      aria-label="${title}"><title>${title}</title>${paths}</svg>`
}

const CHART_HEIGHT = 100

function coordinate(value: number): number {
  return Math.round(100 * value) / 100
}

/** Five times under a chart; a phone shows three of them. */
function timeAxis(duration: number, unit: ReportModel['header']['timeUnit']): Html {
  const times = [0, 0.25, 0.5, 0.75, 1].map((part) => html`<span>${formatTime(part * duration, unit)}</span>`)
  return html`<div class="axis" aria-hidden="true" data-duration="${duration}" data-unit="${unit}">${times}</div>`
}

/** A bar for each range of durations, on a logarithmic scale. */
export function histogram(title: string, { bars, p50, p99, max, count }: Distribution, unit: 'us' | 'step'): Html {
  const most = Math.max(...bars.map((bar) => bar.count))
  const rects = bars.map((bar, x) => {
    const height = coordinate((bar.count / most) * CHART_HEIGHT)
    const range = `${formatTime(bar.from, unit)} to ${formatTime(bar.to, unit)}: ${bar.count}`
    return html`<rect x="${x + 0.05}" y="${coordinate(CHART_HEIGHT - height)}" width="0.9" height="${height}">
      <title>${range}</title></rect>`
  })
  const [first, last] = [bars[0], bars[bars.length - 1]]
  return html`<figure class="histogram"><figcaption><b>${title}</b>
      <small>${formatCount(count)}: p50 ${formatTime(p50, unit)}, p99 ${formatTime(p99, unit)}, longest ${formatTime(max, unit)}</small></figcaption>
    <svg viewBox="0 0 ${bars.length} ${CHART_HEIGHT}" preserveAspectRatio="none" role="img"
      aria-label="${title}: half take up to ${formatTime(p50, unit)}, 99 of 100 up to ${formatTime(p99, unit)}">
      ${rects}</svg>
    <div class="axis" aria-hidden="true"><span>${formatTime(first.from, unit)}</span><span>${formatTime(last.to, unit)}</span></div>
  </figure>`
}
