// The looks of a report. Two palettes, for light and dark, both with enough contrast for small text (4.5) and for shapes (3);
// colours of causes differ in lightness too, for who does not see the difference in hue.

export const PAGE_STYLE = `
:root { color-scheme: light dark;
  --page: #fff; --card: #f6f7f9; --line: #d5d9e0; --text: #1a1d23; --soft: #565d6b; --accent: #1559b3;
  --s0: #e6e9ee; --s1: #c9daf0; --s2: #a9c6e9; --s3: #86afe0; --s4: #6497d4; --s5: #447fc6; --s6: #2a66b0; --s7: #174d93;
  --s8: #0a3470; --fault: #c2410c; --prefetch: #1d6fb8; --eviction: #8a6100; --coherence: #0c7a5c; --user: #7a3f98;
  --bad: #b3261e; --slow: #8a5a00; --good: #1b6e3c }
@media (prefers-color-scheme: dark) { :root {
  --page: #14161a; --card: #1d2026; --line: #3a3f4a; --text: #e7e9ee; --soft: #a2a9b6; --accent: #7db4f5;
  --s0: #262a32; --s1: #1b3354; --s2: #1f4474; --s3: #265894; --s4: #316db2; --s5: #4686cd; --s6: #66a1e2; --s7: #90bdf0;
  --s8: #c4dcfa; --fault: #ff8c52; --prefetch: #5fb0f2; --eviction: #e8bd4b; --coherence: #45c79d; --user: #cd9ae4;
  --bad: #ff8a80; --slow: #f0c04a; --good: #6ed19a } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif }
main, header, footer { max-width: 80rem; margin: 0 auto; padding: 0 1rem }
header { padding-top: 1.5rem }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem }
small, .note, .axis, .legend, footer { color: var(--soft); font-size: .85rem; font-weight: normal }
p { margin: .25rem 0 .75rem; max-width: 75ch }
.note { max-width: 90ch }
a { color: var(--accent) }
.tiles { display: grid; grid-template-columns: repeat(8, 1fr); gap: .75rem; margin: 1.25rem 0 }
.tiles div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; min-width: 0 }
.tiles dt { color: var(--soft); font-size: .85rem; white-space: nowrap }
.tiles dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums }
.findings { padding: 0; list-style: none; max-width: 75ch }
.findings li { border-left: .3rem solid var(--soft); padding: .1rem .75rem; margin: .5rem 0; overflow-wrap: anywhere }
.findings .bad { border-color: var(--bad) } .findings .slow { border-color: var(--slow) }
.findings .good { border-color: var(--good) }
.findings b { text-transform: capitalize }
.findings .bad b { color: var(--bad) } .findings .slow b { color: var(--slow) } .findings .good b { color: var(--good) }
svg { display: block }
.rows { display: grid; grid-template-columns: minmax(5rem, 13rem) minmax(0, 1fr); gap: .35rem .75rem; align-items: center }
.label { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; text-align: right; line-height: 1.25 }
.label small { display: block; white-space: normal }
.heat-row { width: 100%; height: 2.4rem; background: var(--s0); shape-rendering: crispEdges }
.s0 { fill: var(--s0) } .s1 { fill: var(--s1) } .s2 { fill: var(--s2) } .s3 { fill: var(--s3) } .s4 { fill: var(--s4) }
.s5 { fill: var(--s5) } .s6 { fill: var(--s6) } .s7 { fill: var(--s7) } .s8 { fill: var(--s8) }
.columns { width: 100%; height: 6rem; background: var(--card); border-bottom: 1px solid var(--line);
  shape-rendering: crispEdges }
.c-fault { fill: var(--fault) } .c-prefetch { fill: var(--prefetch) } .c-eviction { fill: var(--eviction) }
.c-coherence { fill: var(--coherence) } .c-user { fill: var(--user) }
.axis { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums }
.legend { display: flex; flex-wrap: wrap; gap: .25rem .75rem; align-items: center; margin: .5rem 0; padding: 0;
  list-style: none }
.legend svg { width: .9rem; height: .9rem; display: inline-block; vertical-align: -.1rem }
.legend .ramp { display: inline-flex } .legend .ramp svg { width: 1.1rem; border-radius: 0 }
.read { min-height: 1.5em; font-variant-numeric: tabular-nums }
.time-charts { position: relative; cursor: crosshair }
.cursor { position: absolute; top: 0; bottom: 0; width: 1px; background: var(--text); pointer-events: none }
.histograms { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1rem 2rem; align-items: end }
.histogram { margin: 0 } .histogram figcaption { margin-bottom: .25rem } .histogram figcaption small { display: block }
.histogram svg { width: 100%; height: 5rem; background: var(--card); border-bottom: 1px solid var(--line) }
.histogram rect { fill: var(--accent) }
/* A table that is wider than the page has a shadow where it goes on. */
.table { overflow-x: auto; margin: .5rem 0; background:
  linear-gradient(to right, var(--page) 1rem, transparent) left / 2rem 100% local,
  linear-gradient(to left, var(--page) 1rem, transparent) right / 2rem 100% local,
  linear-gradient(to right, var(--line), transparent) left / .6rem 100% scroll,
  linear-gradient(to left, var(--line), transparent) right / .6rem 100% scroll;
  background-repeat: no-repeat }
.table + .table, .table + .note + .table { margin-top: 1.75rem }
em { font-style: normal; font-weight: 600 }
.table:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; min-width: 100% }
caption { text-align: left; font-weight: 600; padding: .25rem 0; white-space: nowrap }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap }
thead th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; vertical-align: bottom }
.n { text-align: right }
th[scope=row] { max-width: 18rem; overflow: hidden; text-overflow: ellipsis }
tbody tr:hover { background: var(--card) }
th button { all: unset; cursor: pointer; color: inherit; font: inherit }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
th[aria-sort=ascending] button::after { content: " \\25b2" }
th[aria-sort=descending] button::after { content: " \\25bc" }
footer { padding-top: 2rem; padding-bottom: 3rem }
@media (max-width: 75rem) { .tiles { grid-template-columns: repeat(4, 1fr) } }
@media (max-width: 40rem) {
  .tiles { grid-template-columns: repeat(2, 1fr) } td, th { padding: .3rem .45rem }
  .axis span:nth-child(2):not(:last-child), .axis span:nth-child(4) { display: none }
  .rows { grid-template-columns: minmax(0, 1fr); gap: .15rem } .label { text-align: left; white-space: normal; margin-top: .5rem }
  .label small { display: inline; margin-left: .5rem } .rows > div:empty { display: none }
}
@media print { body { font-size: 11pt } .table { overflow: visible } }
`
