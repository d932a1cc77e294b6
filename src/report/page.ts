// The report as one HTML page that needs nothing else: no network, no framework. Its content security policy allows its own style
// and script and nothing more, so a trace from somewhere else can be looked at without a thought.

import { createHash } from 'node:crypto'
import { formatSize } from '../base/size.ts'
import { sumByCause } from '../trace/counters.ts'
import { heatMap, histogram, trafficCharts } from './charts.ts'
import { findingsOf } from './findings.ts'
import { formatCount, formatTime } from './format.ts'
import { Html, html } from './html.ts'
import type { LatencyKind, ReportModel } from './model.ts'
import { PAGE_SCRIPT } from './page-script.ts'
import { PAGE_STYLE } from './page-style.ts'
import { allocationTable, deviceTable, kernelTable, siteTable, trafficTable, waitTable } from './tables.ts'

const POLICY = [
  "default-src 'none'",
  `style-src '${hashOf(PAGE_STYLE)}'`,
  `script-src '${hashOf(PAGE_SCRIPT)}'`,
  "base-uri 'none'",
  "form-action 'none'",
].join('; ')

/** What the columns of the table of kernels are parts of. */
const KERNEL_NOTE = html`<p class="note">Times are sums over all launches. <em>total</em> is <em>queued</em> (behind other launches),
  <em>service</em> (until the data was there; <em>copying</em> is most of it), <em>compute</em> (the kernel itself) and <em>flush</em> (until
  results were safe). <em>found</em> is the part of the pages that were on the device already.</p>`

const LATENCY_TITLES: Readonly<Record<LatencyKind, string>> = {
  'cpu-fault': 'Page faults of the CPU',
  'device-fault': 'Faults of devices',
  service: 'Bringing in what a launch uses',
  compute: 'Kernels',
}

/** The page, as text. */
export function renderReport(model: ReportModel): string {
  const { program = 'hetmem' } = model.header
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${program}: hetmem report</title>
<style>${new Html(PAGE_STYLE)}</style>
</head>
<body>
<header><h1>${program}</h1><p class="note">${describe(model)}</p></header>
<main>
${summary(model)}
${residency(model)}
${traffic(model)}
${latencies(model)}
${tables(model)}
</main>
<footer>Made by <code>hetmem report</code> from a trace. Bytes are copies between system memory and devices; a page that nobody
wrote changes its place without being copied.</footer>
<script>${new Html(PAGE_SCRIPT)}</script>
</body>
</html>
`
  return page.text
}

function describe({ header, nevents, duration }: ReportModel): string {
  const { mode, started, timeUnit } = header
  const parts = [
    ...(mode === undefined ? [] : [`${mode} mode`]),
    ...(started === undefined ? [] : [`${started.slice(0, 16).replace('T', ' ')} UTC`]),
    formatTime(duration, timeUnit),
    `${formatCount(nevents)} events`,
  ]
  return parts.join(', ')
}

function summary(model: ReportModel): Html {
  const { totals, nevicted, header } = model
  const moved = sumByCause(totals.bytesHostToDevice)
  const returned = sumByCause(totals.bytesDeviceToHost)
  const tiles: [string, string, number][] = [
    ['launches', formatCount(totals.launches), totals.launches],
    ['computing', formatTime(totals.launchCompute, header.timeUnit), totals.launchCompute],
    ['bringing data', formatTime(totals.launchService, header.timeUnit), totals.launchService],
    ['copied to devices', formatSize(moved), moved],
    ['copied to the CPU', formatSize(returned), returned],
    ['CPU page faults', formatCount(totals.cpuFaults), totals.cpuFaults],
    ['pages evicted', formatCount(nevicted), nevicted],
    ['waits over 50 ms', formatCount(totals.stalls), totals.stalls],
  ]
  return html`<section aria-label="Summary">
    <dl class="tiles">${tiles.map(([name, text, value]) => html`<div><dt>${name}</dt><dd data-value="${value}">${text}</dd></div>`)}</dl>
    <h2>What stands out</h2>
    <ul class="findings">${findingsOf(model).map(({ kind, text }) => html`<li class="${kind}"><b>${kind}.</b> ${text}</li>`)}</ul>
  </section>`
}

function residency(model: ReportModel): Html | null {
  if (model.residency.length === 0) return null
  return html`<section><h2>Where arrays were</h2>
    <p class="note">Each row is an array, its first elements above, time from left to right. The stronger the colour, the more of
    it was on a device. Point at a row to read it.</p>${heatMap(model)}</section>`
}

function traffic(model: ReportModel): Html {
  if (model.traffic.length === 0) return html`<section><h2>Bytes by cause</h2><p>Nothing was copied.</p></section>`
  return html`<section><h2>Bytes by cause</h2>
    <p class="note">A fault is a touch of what was elsewhere; a prefetch came before the touch; an eviction made room; coherence
    kept somebody from seeing something old; user is what the program asked for.</p>
    ${trafficCharts(model)}${trafficTable(model)}</section>`
}

function latencies({ latencies: all, header }: ReportModel): Html | null {
  if (all.length === 0) return null
  const figures = all.map(({ kind, distribution }) => histogram(LATENCY_TITLES[kind], distribution, header.timeUnit))
  return html`<section><h2>How long it took</h2>
    <p class="note">How many took how long, from fast on the left to slow on the right; the scale is logarithmic. Half took no longer than p50, and 99 of 100 no longer than p99.</p>
    <div class="histograms">${figures}</div></section>`
}

function tables(model: ReportModel): Html {
  return html`<section><h2>Figures</h2>
    <p class="note">A click on the head of a column sorts by it.</p>
    ${model.kernels.length > 0 ? html`${kernelTable(model)}${KERNEL_NOTE}` : ''}
    ${model.sites.length > 0 ? siteTable(model) : ''}
    ${model.allocations.length > 0 ? allocationTable(model) : ''}
    ${model.devices.length > 0 ? deviceTable(model) : ''}
    ${model.waits.length > 0 ? waitTable(model) : ''}
  </section>`
}

function hashOf(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`
}
