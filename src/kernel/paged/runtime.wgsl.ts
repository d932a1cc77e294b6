// What every paged kernel finds beside its own code: the page table, the first event, the ways to hold stores back, the journal, and
// the transaction around the user's entry point. The numbers are those of paged-program.ts.

import { JOURNAL, log } from './log.wgsl.ts'
import { lookup, report } from './lookup.wgsl.ts'
import {
  ASTRAY,
  PAGED_BINDINGS as B,
  EVENT_BAD,
  LINEAR_OVERRIDE,
  OPTIMISTIC_OVERRIDE,
  PAGE_BITS_OVERRIDE,
  PAGE_PART_OVERRIDE,
  PRESENT_OVERRIDE,
  REACH_MAX,
  REPLAY_OVERRIDE,
  ROOMY_OVERRIDE,
  SCOUT_OVERRIDE,
  SHIFTS_OVERRIDE,
  STOPPED,
} from './paged-program.ts'
import { type RuntimeOptions, u } from './runtime-options.ts'

/** The code with lengths of buffers as constants: then nobody asks for them at every access. In words, by the name of the buffer. */
export function withLengths(wgsl: string, lengths: Readonly<Record<string, number>>): string {
  return Object.entries(lengths).reduce((text, [name, words]) => {
    return text.replace(new RegExp(`(> ${name}: array<.*)>;`), `$1, ${words}>;`)
  }, wgsl)
}

/** A word of the pool, for reading. */
export const poolLoad = (isPoolAtomic: boolean, index: string): string =>
  isPoolAtomic ? `atomicLoad(&hm_pool[${index}])` : `hm_pool[${index}]`

/** A statement that stores a word of the pool. */
export const poolStore = (isPoolAtomic: boolean, index: string, value: string): string =>
  isPoolAtomic ? `atomicStore(&hm_pool[${index}], ${value});` : `hm_pool[${index}] = ${value};`

export function runtimeWgsl(o: RuntimeOptions): string {
  return [
    bindings(o),
    lookup(o),
    checks(o),
    report(o),
    words(o),
    o.logEntryWords > 0 ? log(o) : '',
    o.hasJournal ? JOURNAL : '',
  ]
    .filter((part) => part !== '')
    .join('\n')
}

function bindings({ argCount, isPoolAtomic, hasBound, usesScratch }: RuntimeOptions): string {
  return `
override ${PAGE_BITS_OVERRIDE}: u32 = 10u;
override ${PAGE_PART_OVERRIDE}: f32 = ${2 ** -10};
override ${SHIFTS_OVERRIDE}: bool = true;
// Nothing is expected to be missing: who is stopped only goes into the queue, and the other form of the kernel finds out why.
override ${OPTIMISTIC_OVERRIDE}: bool = false;
override ${REPLAY_OVERRIDE}: bool = false;
override ${ROOMY_OVERRIDE}: bool = false;
// Rows are looked up and not gone along, where everything else that the loop needs is in arguments of which all is there.
override ${SCOUT_OVERRIDE}: bool = false;
override ${PRESENT_OVERRIDE}: u32 = 0u;
// The launch has one dimension.
override ${LINEAR_OVERRIDE}: bool = false;
struct hm_Launch {
  mode: u32, base: u32, count: u32, capacity: u32,
  queue_in: u32, queue_out: u32, log_entries: u32, journal_words: u32,
  slots: u32, log_base: u32, reach_count: u32, steps_max: u32,
  extent: vec4<u32>, groups: vec4<u32>,
  args: array<vec4<u32>, ${Math.max(1, argCount)}>, reach: array<vec4<u32>, ${REACH_MAX}>,
}
@group(0) @binding(${B.pool}) var<storage, read_write> hm_pool: array<${isPoolAtomic ? 'atomic<u32>' : 'u32'}>;
@group(0) @binding(${B.table}) var<storage, read> hm_table: array<u32>;
@group(0) @binding(${B.faults}) var<storage, read_write> hm_faults: array<atomic<u32>>;
@group(0) @binding(${B.queue}) var<storage, read_write> hm_queue: array<u32>;
@group(0) @binding(${B.dirty}) var<storage, read_write> hm_dirty: array<u32>;
${usesScratch ? `@group(0) @binding(${B.scratch}) var<storage, read_write> hm_scratch: array<u32>;` : ''}
${hasBound ? `@group(0) @binding(${B.atomics}) var<storage, read_write> hm_atomics: array<atomic<u32>>;` : ''}
@group(0) @binding(${B.launch}) var<uniform> hm_launch: hm_Launch;
// What stopped this invocation first; 0 while nothing has. Whatever is computed afterwards comes from zeros and counts for nothing.
// In the optimistic form only the highest bit counts, that something has: lookups add the places that they find.
var<private> hm_event: u32;
fn hm_is_stopped() -> bool {
  if (${OPTIMISTIC_OVERRIDE}) { return bitcast<i32>(hm_event) < 0; }
  return hm_event != 0u;
}
var<private> hm_bad: u32;
var<private> hm_bad_high: u32;
// The invocation, its place among those of the dispatch, and its place in the journal.
var<private> hm_id: u32;
var<private> hm_index: u32;
var<private> hm_slot: u32;`
}

/** Indices against the range of their argument, pointers against what the launch lets them touch. */
function checks({ argCount, hasPointers }: RuntimeOptions): string {
  const index = `
fn hm_refuse(is_bad: bool, value: u32, site: u32) {
  if (${OPTIMISTIC_OVERRIDE}) { hm_event |= select(0u, ${u(STOPPED)}, is_bad); return; }
  let is_first = is_bad && hm_event == 0u;
  hm_bad = select(hm_bad, value, is_first);
  hm_event = select(hm_event, site | ${u(EVENT_BAD)}, is_first);
  hm_missed = select(hm_missed, hm_missed | ${u(ASTRAY)}, is_bad);
}
${Array.from({ length: argCount }, (_, k) => argumentFunctions(k)).join('\n')}
fn hm_at_span(range: vec2<u32>, i: u32, stride: u32, site: u32) -> u32 {
  let is_bad = i >= range.y;
  hm_refuse(is_bad, i, site);
  return select(range.x + i * stride, 0u, is_bad);
}
fn hm_in(i: u32, count: u32, stride: u32, site: u32) -> u32 {
  hm_refuse(i >= count, i, site);
  return min(i, count - 1u) * stride;
}
fn hm_u(i: i32) -> u32 { return bitcast<u32>(i); }
fn hm_null(a: u32, site: u32) -> u32 {
  hm_refuse(a == 0u, 0u, site);
  return a;
}`
  if (!hasPointers) return index
  return `${index}
fn hm_reach(a: u32, words: u32, align: u32, is_write: bool, site: u32) -> u32 {
  var is_bad = true;
  for (var k = 0u; k < hm_launch.reach_count; k++) {
    let range = hm_launch.reach[k];
    if (a >= range.x && a < range.y && range.y - a >= words && (range.z != 0u || !is_write)) { is_bad = a % align != 0u; }
  }
  hm_refuse(is_bad, a, site);
  return select(a, 0u, is_bad);
}
// A heap has less than 2^32 words.
fn hm_reach64(p: vec2<u32>, words: u32, align: u32, is_write: bool, site: u32) -> u32 {
  let is_far = p.y != 0u;
  hm_bad_high = select(hm_bad_high, p.y, is_far && hm_event == 0u);
  hm_refuse(is_far, p.x, site);
  return hm_reach(select(p.x, 0u, is_far), words, align, is_write, site);
}`
}

// Functions of their own for each argument: a place in the launch block that is known beforehand is read once for all invocations. The
// optimistic form takes no comparison, as no array has more than 2^31 elements there; where a wrong index leads does not matter.
function argumentFunctions(k: number): string {
  return `fn hm_at${k}(i: u32, stride: u32, site: u32) -> u32 {
  if (${OPTIMISTIC_OVERRIDE}) {
    hm_event |= (hm_launch.args[${k}].y - 1u - i) | i;
    return hm_launch.args[${k}].x + i * stride;
  }
  let is_bad = i >= hm_launch.args[${k}].y;
  hm_refuse(is_bad, i, site);
  return select(hm_launch.args[${k}].x + i * stride, 0u, is_bad);
}
fn hm_ref${k}(i: u32, stride: u32) -> u32 {
  return select(hm_launch.args[${k}].x + i * stride, 0u, i >= hm_launch.args[${k}].y);
}`
}

function words({ isPoolAtomic }: RuntimeOptions): string {
  return `
fn hm_word(p: u32) -> u32 { return ${poolLoad(isPoolAtomic, 'p')}; }
fn hm_put(p: u32, v: u32) {
  hm_dirty[hm_page(p)] = 1u;
  ${poolStore(isPoolAtomic, 'p', 'v')}
}`
}
