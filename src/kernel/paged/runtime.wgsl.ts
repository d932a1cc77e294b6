// What every paged kernel finds beside its own code: the page table, the first event, the ways to hold stores back, the journal, and
// the transaction around the user's entry point. The numbers are those of paged-program.ts.

import {
  ASTRAY,
  PAGED_BINDINGS as B,
  CHAIN_ENTRIES,
  EVENT_BAD,
  EVENT_FULL,
  EVENT_MISS,
  EVENT_PAGE_MASK,
  EVENT_WRITE,
  FAULT_AHEAD,
  FAULT_BAD,
  FAULT_BAD_HIGH,
  FAULT_BAD_ID,
  FAULT_BAD_SITE,
  FAULT_BAD_VALUE,
  FAULT_COUNT,
  FAULT_FULL,
  FAULT_PROGRESS,
  FAULT_REPLAY,
  FAULT_STOP,
  FAULT_TORN,
  FAULT_WANTED,
  FAULT_WORDS,
  FULL_JOURNAL,
  FULL_LOG,
  FULL_READY,
  FULL_STEPS,
  LINEAR_OVERRIDE,
  MODE_REPLAY,
  OPTIMISTIC_OVERRIDE,
  PAGE_BITS_OVERRIDE,
  PRESENT_OVERRIDE,
  PTE_VALID,
  PTE_WRITE,
  REACH_MAX,
  REPLAY_OVERRIDE,
  ROOMY_OVERRIDE,
  SCOUT_OVERRIDE,
} from './paged-program.ts'
import { ENTRY_WORDS, ROW_PAGES_MAX } from './waiting.ts'

export interface RuntimeOptions {
  readonly argCount: number
  /** Atomics of the heap: then all of the pool is atomic, and plain accesses are atomic ones. */
  readonly isPoolAtomic: boolean
  /** Arguments are bound directly. */
  readonly hasBound: boolean
  readonly logEntryWords: 0 | 2 | 3
  /** There are several transactions in a dispatch of which each begins with an empty log; otherwise the host clears it. */
  readonly clearsChains: boolean
  readonly hasJournal: boolean
  readonly hasPointers: boolean
  /** See Foresight. */
  readonly vague: number
  /** The entry point and what it needs; see entryWgsl. */
  readonly usesScratch: boolean
}

/** The code with the lengths of the pool and of the table as constants: then nobody asks for them at every access. In words. */
export function withLengths(wgsl: string, poolWords: number, tableWords: number): string {
  const lengths = { hm_pool: poolWords, hm_table: tableWords }
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

/** Entries of the log that the optimistic form has in registers. */
export const NEAR_ENTRIES = 8

const u = (value: number): string => `${value >>> 0}u`

export function runtimeWgsl(o: RuntimeOptions): string {
  return [
    bindings(o),
    translation(o),
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
// Nothing is expected to be missing: who is stopped only goes into the queue, and the other form of the kernel finds out why.
override ${OPTIMISTIC_OVERRIDE}: bool = false;
override ${REPLAY_OVERRIDE}: bool = false;
override ${ROOMY_OVERRIDE}: bool = false;
// Rows are looked up and not gone along, where everything else that the loop needs is in arguments of which all is there.
override ${SCOUT_OVERRIDE}: bool = false;
override ${PRESENT_OVERRIDE}: u32 = 0u;
// The launch has one dimension.
override ${LINEAR_OVERRIDE}: bool = false;
struct HmLaunch {
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
@group(0) @binding(${B.launch}) var<uniform> hm_launch: HmLaunch;
// What stopped this invocation first; 0 while nothing has. Whatever is computed afterwards comes from zeros and counts for nothing.
// In the optimistic form any number but 0: that something has.
var<private> hm_event: u32;
var<private> hm_bad: u32;
var<private> hm_bad_high: u32;
// The invocation, its place among those of the dispatch, and its place in the journal.
var<private> hm_id: u32;
var<private> hm_index: u32;
var<private> hm_slot: u32;`
}

/** Turns of loops after something was missed, at most: in all, and without another page. */
const TURNS_AFTER_MAX = 2 ** 12
const FRUITLESS_TURNS_MAX = 8
/** Pages that an invocation misses after the first one, at most, that it tells. */
const MORE_MAX = 16

// What was missed is known by places in the code (foresight.ts). What comes afterwards and does not depend on it is told too.
function translation({ vague }: RuntimeOptions): string {
  return `
var<private> hm_missed: u32;
var<private> hm_needs: u32;
var<private> hm_bit: u32;
var<private> hm_turns: u32;
var<private> hm_fruitless: u32;
var<private> hm_last: u32;
// The row that stopped this invocation, if one did: its first missing page, and how many pages it has before and behind that one.
var<private> hm_row_event: u32;
var<private> hm_row_pages: u32;
fn hm_site(a: u32, needs: u32, bit: u32) -> u32 {
  if (!${OPTIMISTIC_OVERRIDE}) { hm_needs = needs; hm_bit = bit; }
  return a;
}
fn hm_ends(needs: u32) -> bool {
  if (${OPTIMISTIC_OVERRIDE} || hm_event == 0u) { return hm_event != 0u; }
  hm_turns++;
  hm_fruitless++;
  return (hm_missed & needs) != 0u || hm_turns > ${TURNS_AFTER_MAX}u || hm_fruitless > ${FRUITLESS_TURNS_MAX}u;
}
fn hm_full(event: u32, lost: u32) {
  if (hm_event == 0u) { hm_event = event; }
  hm_missed |= lost;
}
// What is missed next is told at the end: the code for that costs devices that run all branches as much as an access.
var<private> hm_more: array<u32, ${MORE_MAX + 1}>;
var<private> hm_nmore: u32;
fn hm_miss(event: u32) {
  if (event != hm_last && (hm_missed & hm_needs) == 0u) {
    if (hm_event == 0u) { hm_event = event; }
    else {
      hm_more[min(hm_nmore, ${MORE_MAX}u)] = event;
      hm_nmore++;
    }
    hm_last = event;
    hm_fruitless = 0u;
  }
  hm_missed |= hm_bit | ${u(vague)};
}
fn hm_row(a: u32, count: u32, stride: u32, range: vec2<u32>) {
  let end = min(a + count * stride, range.x + range.y * stride);
  let last = max(end, a + 1u) - 1u;
  var page = a >> ${PAGE_BITS_OVERRIDE};
  let first = page;
  let before = hm_event;
  for (var k = 0u; k < ${ROW_PAGES_MAX}u && page <= (last >> ${PAGE_BITS_OVERRIDE}); k++) {
    let e = hm_table[page];
    hm_dirty[hm_launch.extent.w + (e >> ${PAGE_BITS_OVERRIDE})] = 1u;
    if ((e & ${PTE_VALID}u) == 0u) { hm_miss(page | ${u(EVENT_MISS)}); }
    page++;
  }
  if (before == 0u && hm_event != 0u) {
    hm_row_event = hm_event;
    let missing = hm_event & ${u(EVENT_PAGE_MASK)};
    hm_row_pages = ((missing - first) << 16u) | (page - 1u - missing);
  }
}
fn hm_ready() { hm_event = select(hm_event, ${u(EVENT_FULL | FULL_READY)}, hm_event == 0u); }${translate('hm_r', PTE_VALID, EVENT_MISS)}${translate('hm_w', PTE_VALID | PTE_WRITE, EVENT_MISS | EVENT_WRITE)}`
}

function translate(name: string, wanted: number, event: number): string {
  return `
fn ${name}(a: u32) -> u32 {
  let page = a >> ${PAGE_BITS_OVERRIDE};
  let e = hm_table[page];
  let mask = (1u << ${PAGE_BITS_OVERRIDE}) - 1u;
  if (${OPTIMISTIC_OVERRIDE}) { hm_event |= ~e & ${u(wanted)}; }
  else {
    hm_dirty[hm_launch.extent.w + (e >> ${PAGE_BITS_OVERRIDE})] = 1u;
    if ((e & ${u(wanted)}) != ${u(wanted)}) { hm_miss(page | ${u(event)}); }
  }
  return (e & ~mask) | (a & mask);
}`
}

/** Indices against the range of their argument, pointers against what the launch lets them touch. */
function checks({ argCount, hasPointers }: RuntimeOptions): string {
  const index = `
fn hm_refuse(is_bad: bool, value: u32, site: u32) {
  if (${OPTIMISTIC_OVERRIDE}) { hm_event = select(hm_event, 1u, is_bad); return; }
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

// Functions of their own for each argument: a place in the launch block that is known beforehand is read once for all invocations.
function argumentFunctions(k: number): string {
  return `fn hm_at${k}(i: u32, stride: u32, site: u32) -> u32 {
  let is_bad = i >= hm_launch.args[${k}].y;
  hm_refuse(is_bad, i, site);
  return select(hm_launch.args[${k}].x + i * stride, 0u, is_bad);
}
fn hm_ref${k}(i: u32, stride: u32) -> u32 {
  return select(hm_launch.args[${k}].x + i * stride, 0u, i >= hm_launch.args[${k}].y);
}`
}

// One entry of the list for a page, however many invocations miss it; the list may overflow, then the queue says what is missing.
const report = ({ logEntryWords }: RuntimeOptions): string => `
fn hm_tell(event: u32, plane: u32, counter: u32, list: u32) {
  let page = event & ${u(EVENT_PAGE_MASK)};
  let word = ${FAULT_WORDS}u + 2u * hm_launch.capacity + (page >> 3u);
  let bit = 1u << ((page & 7u) * 4u + plane + (event >> 31u));
  if ((atomicLoad(&hm_faults[word]) & bit) != 0u) { return; }
  if ((atomicOr(&hm_faults[word], bit) & bit) != 0u) { return; }
  let k = atomicAdd(&hm_faults[counter], 1u);
  if (k < hm_launch.capacity) { atomicStore(&hm_faults[${FAULT_WORDS}u + list + k], event); }
}
fn hm_report() {
  let event = hm_event;
  for (var k = 0u; k < min(hm_nmore, ${MORE_MAX}u); k++) { hm_tell(hm_more[k], 2u, ${FAULT_AHEAD}u, hm_launch.capacity); }
  if (event == hm_row_event && event != 0u) {
    let first = (event & ${u(EVENT_PAGE_MASK)}) + 1u;
    for (var k = 0u; k < (hm_row_pages & 0xffffu); k++) {
      if ((hm_table[first + k] & ${PTE_VALID}u) == 0u) { hm_tell((first + k) | ${u(EVENT_MISS)}, 2u, ${FAULT_AHEAD}u, hm_launch.capacity); }
    }
  }
  ${logEntryWords > 0 ? `if (hm_logged > hm_launch.log_entries) { atomicMax(&hm_faults[${FAULT_WANTED}], hm_logged); }` : ''}
  if ((event & ${u(EVENT_BAD)}) != 0u && (event & ${u(EVENT_MISS)}) == 0u) {
    if (atomicExchange(&hm_faults[${FAULT_BAD}], 1u) == 0u) {
      atomicStore(&hm_faults[${FAULT_BAD_SITE}], event & ${u(EVENT_PAGE_MASK)});
      atomicStore(&hm_faults[${FAULT_BAD_ID}], hm_id);
      atomicStore(&hm_faults[${FAULT_BAD_VALUE}], hm_bad);
      atomicStore(&hm_faults[${FAULT_BAD_HIGH}], hm_bad_high);
      atomicStore(&hm_faults[${FAULT_STOP}], 1u);
    }
    return;
  }
  if ((event & ${u(EVENT_MISS)}) == 0u) {
    atomicOr(&hm_faults[${FAULT_FULL}], event & ${u(EVENT_PAGE_MASK)});
    return;
  }
  hm_tell(event, 0u, ${FAULT_COUNT}u, 0u);
}
// What cannot be: the second run of a transaction goes the way of the first, and found everything.
fn hm_tear() {
  let word = select(${FAULT_TORN}u, (hm_launch.count + 31u) / 32u, ${OPTIMISTIC_OVERRIDE});
  atomicStore(&hm_faults[word], 1u);
}
// Neither reported nor queued: a bit says who was stopped.
fn hm_mark(transaction: u32) { atomicOr(&hm_faults[transaction >> 5u], 1u << (transaction & 31u)); }
fn hm_requeue(id: u32, slot: u32, event: u32) {
  let k = hm_launch.queue_out + ${ENTRY_WORDS}u * atomicAdd(&hm_faults[${FAULT_REPLAY}], 1u);
  hm_queue[k] = id;
  hm_queue[k + 1u] = slot;
  hm_queue[k + 2u] = event;
  hm_queue[k + 3u] = select(0u, hm_row_pages, event == hm_row_event);
}`

function words({ isPoolAtomic }: RuntimeOptions): string {
  return `
fn hm_word(p: u32) -> u32 { return ${poolLoad(isPoolAtomic, 'p')}; }
fn hm_put(p: u32, v: u32) {
  hm_dirty[p >> ${PAGE_BITS_OVERRIDE}] = 1u;
  ${poolStore(isPoolAtomic, 'p', 'v')}
}`
}

// Stores in loops, in the order in which they happened. In memory, entry e of invocation i lies beside that of invocation i + 1, and
// entries of which the hash is the same are a chain, from the last one back: to find its own stores nobody goes through all of them. The
// optimistic form has room for a few in registers: whoever stores more is run by another one.
function log({ logEntryWords: words, vague, clearsChains }: RuntimeOptions): string {
  const op = words === 3
  const near = NEAR_ENTRIES + 1
  const stores = (place: (k: number) => string): string =>
    ['p', 'v', 'op']
      .slice(0, words)
      .map((value, k) => `${place(k)} = ${value};`)
      .join(' ')
  return `
override hm_is_near: bool = ${OPTIMISTIC_OVERRIDE} && !${ROOMY_OVERRIDE};
var<private> hm_logged: u32;
var<private> hm_near: array<u32, ${words * near}>;
fn hm_log_at(e: u32, word: u32) -> u32 { return hm_launch.log_base + (e * ${words + 1}u + word) * hm_stride() + hm_index; }
fn hm_chains() -> u32 { return max(1u, hm_launch.log_entries / ${CHAIN_ENTRIES}u); }
fn hm_chain_at(k: u32) -> u32 { return hm_log_at(hm_launch.log_entries, k); }
fn hm_chain_of(p: u32) -> u32 { return hm_chain_at(((p * 0x9e3779b1u) >> 16u) & (hm_chains() - 1u)); }
fn hm_entry(e: u32, word: u32) -> u32 {
  if (hm_is_near) { return hm_near[word * ${near}u + e]; }
  return hm_scratch[hm_log_at(e, word)];
}
fn hm_log(p: u32, v: u32${op ? ', op: u32' : ''}) {
  if (hm_is_near) {
    hm_event = select(hm_event, ${u(EVENT_FULL | FULL_LOG)}, hm_logged >= ${NEAR_ENTRIES}u && hm_event == 0u);
    // Behind the last entry is another, for what has no room: cheaper than a branch.
    let e = min(hm_logged, ${NEAR_ENTRIES}u);
    ${stores((k) => `hm_near[e + ${k * near}u]`)}
    hm_logged = e + 1u;
    return;
  }
  let e = hm_logged;
  if (e < hm_launch.log_entries) {
    ${clearsChains ? 'if (e == 0u) { for (var k = 0u; k < hm_chains(); k++) { hm_scratch[hm_chain_at(k)] = 0u; } }' : ''}
    let chain = hm_chain_of(p);
    ${stores((k) => `hm_scratch[hm_log_at(e, ${k}u)]`)}
    hm_scratch[hm_log_at(e, ${words}u)] = hm_scratch[chain];
    hm_scratch[chain] = e + 1u;
  } else { hm_full(${u(EVENT_FULL | FULL_LOG)}, ${u(vague)}); }
  // What has no room is counted all the same: so much is asked for.
  hm_logged = e + 1u;
}
fn hm_see(p: u32, w: u32) -> u32 {
  if (hm_logged == 0u) { return w; }
  var e = hm_logged;
  if (!hm_is_near) { e = hm_scratch[hm_chain_of(p)]; }
  while (e > 0u) {
    e--;
    if (hm_entry(e, 0u) == p${op ? ' && hm_entry(e, 2u) == 0u' : ''}) { return hm_entry(e, 1u); }
    if (!hm_is_near) { e = hm_scratch[hm_log_at(e, ${words}u)]; }
  }
  return w;
}`
}

// What an invocation learnt that it must not learn anew: results of atomics, which happen once, and what it read of memory that
// other invocations may have changed since. Word 0 of its column counts.
const JOURNAL = `
var<private> hm_noted: u32;
var<private> hm_notes: u32;
fn hm_journal_at(j: u32) -> u32 { return j * hm_launch.slots + hm_slot; }
fn hm_is_replay() -> bool { return hm_noted < hm_notes; }
fn hm_replay() -> u32 {
  hm_noted++;
  return hm_scratch[hm_journal_at(hm_noted)];
}
fn hm_has_room(words: u32) -> bool {
  if (hm_event != 0u) { return false; }
  if (hm_noted + words < hm_launch.journal_words) { return true; }
  hm_full(${u(EVENT_FULL | FULL_JOURNAL)}, ${u(ASTRAY)});
  return false;
}
fn hm_note(v: u32) {
  hm_noted++;
  hm_notes = hm_noted;
  hm_scratch[hm_journal_at(hm_noted)] = v;
}
fn hm_once(v: u32) -> u32 {
  if (hm_event != 0u) { return v; }
  if (hm_is_replay()) { return hm_replay(); }
  if (hm_has_room(1u)) { hm_note(v); }
  return v;
}
fn hm_journal_open() {
  hm_noted = 0u;
  hm_notes = hm_scratch[hm_slot];
}
fn hm_journal_close() { hm_scratch[hm_slot] = hm_notes; }`

export interface EntryOptions {
  readonly scope: 'invocation' | 'workgroup' | 'step'
  /** As the user wrote it, for workgroup scope. */
  readonly workgroupSize: string
  readonly size: readonly [number, number, number]
  /** A call of the user's entry point, or the name of his step. */
  readonly call: string
  readonly hasJournal: boolean
  /** The call finds out what is missing; where nothing is, this text makes it a second time with its stores. Null if they wait. */
  readonly real: string | null
}

/** Names of builtin values, as the runtime has them at the call of the user's entry point. */
export const ENTRY_VALUES: Readonly<Record<string, string>> = {
  global_invocation_id: 'hm_global',
  local_invocation_id: 'hm_local',
  local_invocation_index: 'hm_local_index',
  workgroup_id: 'hm_group',
  num_workgroups: 'hm_launch.groups.xyz',
}

export function entryWgsl(o: EntryOptions): string {
  if (o.scope === 'workgroup') return workgroupEntry(o)
  return o.scope === 'step' ? stepEntry(o) : invocationEntry(o)
}

function transaction({ call, hasJournal }: EntryOptions): string {
  return hasJournal ? `\n  hm_journal_open();\n  ${call}\n  hm_journal_close();` : `\n  ${call}`
}

const FIND_INVOCATION = `
fn hm_stride() -> u32 { return hm_launch.count; }
@compute @workgroup_size(64)
fn hm_main(@builtin(workgroup_id) w: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  hm_index = w.x * 64u + l;
  if (hm_index >= hm_launch.count) { return; }
  hm_id = hm_launch.base + hm_index;
  hm_slot = hm_index;
  if (${REPLAY_OVERRIDE} || (!${OPTIMISTIC_OVERRIDE} && hm_launch.mode == ${MODE_REPLAY}u)) {
    hm_id = hm_queue[hm_launch.queue_in + ${ENTRY_WORDS}u * hm_index];
    hm_slot = hm_queue[hm_launch.queue_in + ${ENTRY_WORDS}u * hm_index + 1u];
  }
  if (!${OPTIMISTIC_OVERRIDE}) {
    if (atomicLoad(&hm_faults[${FAULT_STOP}]) != 0u) { hm_requeue(hm_id, hm_slot, 0u); return; }
  }
  // Divisions are slow.
  var hm_global = vec3<u32>(hm_id, 0u, 0u);
  if (!${LINEAR_OVERRIDE}) {
    let row = hm_id / hm_launch.extent.x;
    hm_global = vec3<u32>(hm_id % hm_launch.extent.x, row % hm_launch.extent.y, row / hm_launch.extent.y);
  }`

function invocationEntry(o: EntryOptions): string {
  const [x, y, z] = o.size
  const size = `vec3<u32>(${x}u, ${y}u, ${z}u)`
  const needs = (value: string): boolean => o.call.includes(value)
  const group = needs('hm_group') ? `\n  let hm_group = hm_global / ${size};` : ''
  const local = needs('hm_local') ? `\n  let hm_local = hm_global % ${size};` : ''
  const index = `\n  let hm_local_index = hm_local.x + hm_local.y * ${x}u + hm_local.z * ${x * y}u;`
  return `${FIND_INVOCATION}${group}${local}${needs('hm_local_index') ? index : ''}${transaction(o)}
  if (hm_event == 0u) { ${o.real === null ? 'hm_commit();' : `${o.real} if (hm_event != 0u) { hm_tear(); }`} }
  else if (${OPTIMISTIC_OVERRIDE}) { hm_mark(hm_index); }
  else { hm_report(); hm_requeue(hm_id, hm_slot, hm_event); }
}`
}

// Each step is a transaction. What it has done to the state is kept when it has committed; a step that is stopped is taken again, from
// the state before it.
function stepEntry({ call }: EntryOptions): string {
  return `${FIND_INVOCATION}
  var hm_current = hm_state_load();
  for (var hm_step = 0u; hm_step < hm_launch.steps_max; hm_step++) {
    let hm_before = hm_current;
    hm_forget();
    let hm_goes_on = ${call}(hm_global, &hm_current);
    if (hm_event != 0u) {
      hm_state_save(hm_before);
      hm_report();
      hm_requeue(hm_id, hm_slot, hm_event);
      return;
    }
    hm_commit();
    atomicStore(&hm_faults[${FAULT_PROGRESS}], 1u);
    if (!hm_goes_on) { return; }
  }
  hm_state_save(hm_current);
  atomicOr(&hm_faults[${FAULT_FULL}], ${FULL_STEPS}u);
  hm_requeue(hm_id, hm_slot, 0u);
}`
}

// The decision is the workgroup's: one invocation that was stopped keeps all from committing. An index that is wrong may come from another one
// that missed something, so it counts only where nothing was missed.
function workgroupEntry(o: EntryOptions): string {
  const invocations = o.size[0] * o.size[1] * o.size[2]
  return `
struct HmGroup { id: u32, slot: u32, stop: u32 }
var<workgroup> hm_group_state: HmGroup;
// What stopped one of its invocations, where that is something; 0 while all go on.
var<workgroup> hm_group_event: atomic<u32>;
fn hm_stride() -> u32 { return hm_launch.count * ${invocations}u; }
@compute @workgroup_size(${o.workgroupSize})
fn hm_main(@builtin(workgroup_id) w: vec3<u32>, @builtin(local_invocation_id) hm_local: vec3<u32>, @builtin(local_invocation_index) hm_local_index: u32) {
  if (w.x >= hm_launch.count) { return; }
  var state = HmGroup(hm_launch.base + w.x, w.x, 0u);
  if (!${OPTIMISTIC_OVERRIDE}) {
    if (hm_local_index == 0u) {
      hm_group_state = state;
      if (hm_launch.mode == ${MODE_REPLAY}u) {
        hm_group_state.id = hm_queue[hm_launch.queue_in + ${ENTRY_WORDS}u * w.x];
        hm_group_state.slot = hm_queue[hm_launch.queue_in + ${ENTRY_WORDS}u * w.x + 1u];
      }
      hm_group_state.stop = atomicLoad(&hm_faults[${FAULT_STOP}]);
    }
    state = workgroupUniformLoad(&hm_group_state);
    if (state.stop != 0u) {
      if (hm_local_index == 0u) { hm_requeue(state.id, state.slot, 0u); }
      return;
    }
  }
  var hm_group = vec3<u32>(state.id, 0u, 0u);
  if (!${LINEAR_OVERRIDE}) {
    let row = state.id / hm_launch.groups.x;
    hm_group = vec3<u32>(state.id % hm_launch.groups.x, row % hm_launch.groups.y, row / hm_launch.groups.y);
  }
  let hm_global = hm_group * vec3<u32>(${o.size.map((n) => `${n}u`).join(', ')}) + hm_local;
  hm_id = state.id * ${invocations}u + hm_local_index;
  hm_index = w.x * ${invocations}u + hm_local_index;
  hm_slot = state.slot * ${invocations}u + hm_local_index;${transaction(o)}
  let hm_is_bad = (hm_event & ${u(EVENT_BAD | EVENT_MISS)}) == ${u(EVENT_BAD)};
  if (hm_event != 0u) {
    if (!${OPTIMISTIC_OVERRIDE} && !hm_is_bad) { hm_report(); }
    atomicMax(&hm_group_event, select(hm_event, 1u, hm_is_bad));
  }
  workgroupBarrier();
  let hm_stopped = atomicLoad(&hm_group_event);
  if (hm_stopped == 0u) { hm_commit(); }
  else if (${OPTIMISTIC_OVERRIDE}) { if (hm_local_index == 0u) { hm_mark(w.x); } }
  else {
    if (hm_stopped == 1u && hm_is_bad) { hm_report(); }
    if (hm_local_index == 0u) { hm_requeue(state.id, state.slot, hm_stopped); }
  }
}`
}
