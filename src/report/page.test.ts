import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { sampleTrace } from '../../test/helpers/sample-trace.ts'
import type { TraceEvent } from '../trace/events.ts'
import { ReportBuilder } from './builder.ts'
import { findingsOf } from './findings.ts'
import { formatCount, formatPart, formatTime } from './format.ts'
import { html } from './html.ts'
import { renderReport } from './page.ts'

function model(events: readonly TraceEvent[], isCut = false) {
  const builder = new ReportBuilder({ timeUnit: 'us', program: '<b>&"x"' })
  for (const event of events) builder.write(event)
  return builder.build({ isCut })
}

/** The page without its script, which looks for what is undefined. */
function contents(page: string): string {
  return page.slice(0, page.indexOf('<script>'))
}

describe('renderReport()', () => {
  it('allows its own style and script by their hashes, and nothing else', () => {
    const page = renderReport(model(sampleTrace().events))
    const [policy] = /content="default-src[^"]*"/.exec(page) as RegExpExecArray

    for (const tag of ['style', 'script']) {
      const blocks = [...page.matchAll(new RegExp(`<${tag}>([^]*?)</${tag}>`, 'g'))]
      expect(blocks.length).toBe(1)
      expect(policy).toContain(`sha256-${createHash('sha256').update(blocks[0][1]).digest('base64')}`)
    }
    expect(page).not.toMatch(/ style=|<script [^>]*src|<link|https?:|url\(/)
  })

  it('shows names as they are, whatever they look like', () => {
    const page = renderReport(model(sampleTrace(1).events))

    expect(page).toContain('<h1>&lt;b&gt;&amp;&quot;x&quot;</h1>')
    expect(page).toContain('levels &lt;of &quot;all&quot; &amp; more&gt;')
    expect(page).not.toContain('levels <of')
  })

  it('makes a page of a trace without events', () => {
    const page = renderReport(model([]))

    expect(page).toContain('Nothing was copied.')
    expect(contents(page)).not.toMatch(/NaN|undefined|Infinity/)
  })

  it('has no figure that is none in a page of everything', () => {
    expect(contents(renderReport(model(sampleTrace().events)))).not.toMatch(/NaN|undefined|Infinity/)
  })
})

describe('findingsOf()', () => {
  const launch: TraceEvent = {
    ...{ time: 100, kind: 'launch', device: 'gpu', kernel: 'bfs', mode: 'direct', duration: 10, nslices: 1 },
    ...{ queued: 1, service: 1, transfer: 1, compute: 8, flush: 0 },
    ...{ nresident: 1, nduplicated: 0, npinned: 0, nmigrated: 0 },
  }
  const texts = (events: readonly TraceEvent[], isCut = false) =>
    findingsOf(model(events, isCut)).map(({ kind, text }) => `${kind}: ${text}`)

  it('says that all is well where it is', () => {
    expect(texts([launch])).toEqual(['good: Nothing was lost, and nobody had to wait for long.'])
  })

  it.each([
    [{ ...launch, error: 'out of memory' }, 'bad: 1 launch of "bfs" failed, of 1.'],
    [{ time: 1, kind: 'device-lost', device: 'gpu', reason: 'unplugged' }, 'bad: Device "gpu" was lost: unplugged.'],
    [{ ...launch, service: 8 }, 'slow: Launches spent 80 % of their time on bringing in 0 B: prefetch,'],
    [{ ...launch, queued: 6 }, 'slow: Launches spent 60 % of their time waiting for those before them.'],
    [
      { time: 1, kind: 'swap-out', start: 0, end: 4096, npages: 1, nbytes: 4096 },
      'slow: System memory was full: 4 KiB',
    ],
    [
      { time: 1, kind: 'stall', start: 0, end: 4096, duration: 64_000, thread: 1, reason: 'a launch' },
      'slow: 1 touch waited for more than 50 ms, 64 ms in all.',
    ],
  ] as [TraceEvent, string][])('finds what is in %j', (event, text) => {
    expect(texts([event])[0]).toContain(text)
  })

  it('says whose memory was full, what went back and forth, and that the end is missing', () => {
    const found = texts(sampleTrace().events, true)

    expect(found[0]).toContain('bad: The trace ends in the middle of a line')
    expect(found[1]).toMatch(/^slow: Device memory of gpu 0 \(8 MiB\) was full: [\d,]+ pages were evicted, [\d.]+ MiB /)
    expect(found[2]).toMatch(/^slow: "edges" \(32 MiB\) was copied to devices 12 times over/)
    expect(found[3]).toContain('slow: Pages of "levels <of "all" & more>" went back and forth')
  })
})

describe('html', () => {
  it('escapes what is put in, unless it is HTML, and puts lists one after the other', () => {
    const list = ['<', html`<i>${'&'}</i>`, null, undefined, 0]

    expect(html`<b title="${'"'}">${list}</b>`.text).toBe('<b title="&quot;">&lt;<i>&amp;</i>0</b>')
  })
})

describe('figures', () => {
  it.each([
    [0, '0'],
    [0.25, '0.25 µs'],
    [1, '1 µs'],
    [1234, '1.23 ms'],
    [59_990_000, '60 s'],
    [125e6, '2 min 5 s'],
  ])('formatTime(%d) is %s', (us, text) => {
    expect(formatTime(us, 'us')).toBe(text)
  })

  it('are as people read them', () => {
    expect([formatTime(1, 'step'), formatTime(1500, 'step')]).toEqual(['1 step', '1,500 steps'])
    expect([formatCount(1234567), formatCount(0.12345)]).toEqual(['1,234,567', '0.123'])
    expect([formatPart(0), formatPart(0.001), formatPart(0.5)]).toEqual(['0 %', '< 1 %', '50 %'])
  })
})
