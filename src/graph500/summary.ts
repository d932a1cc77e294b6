// What the main job came to, for somebody who reads it once: how fast, compared with what; where the time went; what moved, and why.
// All figures are counted or measured; a comparison that was not made is not printed.

import { formatSize } from '../base/size.ts'
import { type Terminal, visibleLength } from '../cli/terminal.ts'
import { type ByCause, type Counters, sumByCause } from '../trace/counters.ts'
import { CAUSES, type Cause } from '../trace/events.ts'
import { count, FACT_INDENT, fact, factLine, heading } from './layout.ts'
import type { SearchStatistics } from './statistics.ts'

export interface JobSummary {
  readonly statistics: SearchStatistics
  readonly nsearches: number
  /** Speed as a part of that with everything on the device; null if that was not measured. */
  readonly ofResident: number | null
  /** The same of plain JavaScript. */
  readonly ofPlain: number
  /** The kernels run on the cores that plain JavaScript has to itself. */
  readonly isSoftware: boolean
  /** Of the searches alone. Durations are microseconds. */
  readonly counters: Counters
  /** Bytes of all arrays. */
  readonly arrayBytes: number
  /** Bytes of device memory. */
  readonly deviceBytes: number
}

const BAR_WIDTH = 40

export function printSummary(out: Terminal, job: JobSummary): void {
  const { statistics, nsearches, counters } = job
  const { teps, seconds } = statistics
  heading(out, 'What it came to')
  fact(out, 'speed', `${out.paint('bold', `${millions(teps.mean)} edges/s`)}, the harmonic mean; ${spread(teps)}`)
  if (job.ofResident !== null) {
    fact(out, '', `${ratio(job.ofResident)} of the same kernels with everything on the device`)
  }
  const why = job.isSoftware ? '; this GPU is software, and computes on the same cores' : ''
  fact(out, '', `${ratio(job.ofPlain)} of plain JavaScript with everything in memory${why}`)
  fact(out, 'memory', `${formatSize(job.arrayBytes)} of arrays through ${formatSize(job.deviceBytes)} of device memory`)
  const total = seconds.mean * nsearches
  fact(out, 'time', `${total.toFixed(2)} s in all, ${(1000 * seconds.median).toFixed(0)} ms for a search`)
  for (const line of timeSplit(out, counters, total)) factLine(out, '', line)
  fact(out, 'to device', byCause(counters.bytesHostToDevice, TO_DEVICE_TEXTS))
  fact(out, 'from device', byCause(counters.bytesDeviceToHost, FROM_DEVICE_TEXTS))
  fact(out, 'pages', pages(counters))
  if (counters.pagesSwappedOut > 0) fact(out, 'swap', swapped(counters))
}

/** The last line of the main job. */
export function printVerdict(out: Terminal, nsearches: number): void {
  const searches = nsearches === 1 ? '1 search' : `${nsearches} searches`
  out.line()
  out.line(`  ${out.paint('bold', 'validated')}: ${searches}, by the five rules of Graph500`)
}

/** What was counted between two moments. */
export function countersSince(before: Counters, after: Counters): Counters {
  const difference = (from: object, to: object): object =>
    Object.fromEntries(
      Object.entries(to).map(([name, value]) => {
        const earlier = from[name as keyof typeof from]
        return [name, typeof value === 'number' ? value - earlier : difference(earlier, value)]
      }),
    )
  return difference(before, after) as Counters
}

/** Where the time went: a bar of parts, and what they are. */
function timeSplit(out: Terminal, counters: Counters, totalSeconds: number): string[] {
  const known = [
    { what: 'kernels', style: 'onCyan', mark: '█', seconds: counters.launchCompute / 1e6 },
    {
      what: 'bringing memory',
      style: 'onMagenta',
      mark: '▒',
      seconds: (counters.launchService + counters.launchFlush) / 1e6,
    },
  ] as const
  const rest = Math.max(0, totalSeconds - known.reduce((sum, { seconds }) => sum + seconds, 0))
  const parts = [...known, { what: 'everything else', style: 'onGrey', mark: '·', seconds: rest } as const]
  const sum = parts.reduce((total, { seconds }) => total + seconds, 0)
  let drawn = 0
  let upTo = 0
  const bar = parts.map(({ style, mark, seconds }) => {
    upTo += seconds
    const width = Math.round((BAR_WIDTH * upTo) / sum) - drawn
    drawn += width
    return out.color ? out.paint(style, ' '.repeat(width)) : mark.repeat(width)
  })
  const names = parts.map(({ what, style, mark, seconds }) => {
    const sign = out.color ? out.paint(style, '  ') : mark
    return `${sign} ${what} ${Math.round((100 * seconds) / sum)} %`
  })
  const line = names.join('  ')
  const fits = visibleLength(line) <= out.columns - FACT_INDENT
  return [bar.join(''), ...(fits ? [line] : names)]
}

/** What the causes of a copy are called here. */
const TO_DEVICE_TEXTS: Readonly<Record<Cause, string>> = {
  fault: 'because a kernel used it',
  prefetch: 'ahead of use',
  eviction: 'to make room',
  coherence: 'because another copy was written',
  user: 'because the program asked',
}
const FROM_DEVICE_TEXTS: Readonly<Record<Cause, string>> = { ...TO_DEVICE_TEXTS, fault: 'because the CPU touched it' }

function byCause(bytes: Readonly<ByCause>, texts: Readonly<Record<Cause, string>>): string {
  const parts = CAUSES.filter((cause) => bytes[cause] > 0).map((cause) => `${formatSize(bytes[cause])} ${texts[cause]}`)
  if (parts.length === 0) return 'nothing'
  return parts.length === 1 ? parts[0] : `${formatSize(sumByCause(bytes))}: ${parts.join(', ')}`
}

function pages(counters: Counters): string {
  const copied = `${count(counters.pagesDuplicated)} came to the device as copies for reading`
  return `${copied}, ${count(sumByCause(counters.pagesMigrated))} moved`
}

function swapped({ pagesSwappedOut, pagesSwappedIn }: Counters): string {
  return `${count(pagesSwappedOut)} pages went to the swap file, ${count(pagesSwappedIn)} came back`
}

function spread({ min, median, max }: { readonly min: number; readonly median: number; readonly max: number }): string {
  return `least ${millions(min)}, median ${millions(median)}, most ${millions(max)}`
}

function millions(value: number): string {
  const scaled = value / 1e6
  return `${scaled >= 100 ? scaled.toFixed(0) : scaled.toPrecision(3)} M`
}

/** '38 %', '0.4 %', '2.4 times the speed'. */
function ratio(value: number): string {
  if (value < 0.01) return `${(100 * value).toPrecision(1)} %`
  return value < 1.5 ? `${Math.round(100 * value)} %` : `${value.toFixed(1)} times the speed`
}
