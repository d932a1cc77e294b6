// Where the words of the heap are in the pool, what was missed on the way, and how that is told to the host: the pages in two lists, the
// transaction in the queue.

import {
  ENTRY_READ_ONLY,
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
  FAULT_REPLAY,
  FAULT_STOP,
  FAULT_TORN,
  FAULT_WANTED,
  FAULT_WORDS,
  FULL_READY,
  MARK_FIRST,
  MARK_TORN,
  OPTIMISTIC_OVERRIDE,
  PAGE_BITS_OVERRIDE,
  PAGE_PART_OVERRIDE,
  SHIFTS_OVERRIDE,
  STOPPED,
} from './paged-program.ts'
import { type RuntimeOptions, u } from './runtime-options.ts'
import { ENTRY_WORDS, ROW_PAGES_MAX } from './waiting.ts'

/** Turns of loops after something was missed, at most: in all, and without another page. */
const TURNS_AFTER_MAX = 2 ** 12
const FRUITLESS_TURNS_MAX = 8
/** Pages that an invocation misses after the first one, at most, that it tells. */
const MORE_MAX = 16

// What was missed is known by places in the code (foresight.ts). What comes afterwards and does not depend on it is told too.
export function lookup({ vague }: RuntimeOptions): string {
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
  if (${OPTIMISTIC_OVERRIDE}) { return hm_is_stopped(); }
  if (hm_event == 0u) { return false; }
  hm_turns++;
  hm_fruitless++;
  return (hm_missed & needs) != 0u || hm_turns > ${TURNS_AFTER_MAX}u || hm_fruitless > ${FRUITLESS_TURNS_MAX}u;
}
fn hm_full(event: u32, lost: u32) {
  if (${OPTIMISTIC_OVERRIDE}) { hm_event |= ${u(STOPPED)}; return; }
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
  var page = hm_page(a);
  let end_page = hm_page(last);
  let first = page;
  let before = hm_event;
  for (var k = 0u; k < ${ROW_PAGES_MAX}u; k++) {
    if (page > end_page) { break; }
    let e = hm_table[page];
    hm_use(e);
    if (e == 0u) { hm_miss(page | ${u(EVENT_MISS)}); }
    page++;
  }
  if (before == 0u && hm_event != 0u) {
    hm_row_event = hm_event;
    let missing = hm_event & ${u(EVENT_PAGE_MASK)};
    hm_row_pages = ((missing - first) << 16u) | (page - 1u - missing);
  }
}
fn hm_ready() { hm_event = select(hm_event, ${u(EVENT_FULL | FULL_READY)}, hm_event == 0u); }
// Software adapters shift a vector's numbers one by one, at the price of a load. Multiples of pages are exact as floating-point numbers, and added
// to 2^23 a page number is in the lowest bits. GPUs shift, as conversions are what is slow there.
fn hm_page(a: u32) -> u32 {
  if (${SHIFTS_OVERRIDE}) { return a >> ${PAGE_BITS_OVERRIDE}; }
  let start = f32(bitcast<i32>(a & ~((1u << ${PAGE_BITS_OVERRIDE}) - 1u)));
  return bitcast<u32>(start * ${PAGE_PART_OVERRIDE} + 8388608.0) - 0x4b000000u;
}
// Behind the words of written frames is one for what is absent, and then those of frames that were looked up.
fn hm_use(e: u32) { hm_dirty[hm_launch.extent.w + hm_page(e)] = 1u; }${translate('hm_r', false)}${translate('hm_w', true)}`
}

function translate(name: string, isWrite: boolean): string {
  const event = isWrite ? EVENT_MISS | EVENT_WRITE : EVENT_MISS
  const missing = isWrite ? `e == 0u || (e & ${ENTRY_READ_ONLY}u) != 0u` : 'e == 0u'
  // What is absent has the highest bit, and what may not be written has the lowest; shifts are slow.
  const stops = isWrite ? `p | (e * ${u(STOPPED / ENTRY_READ_ONLY)})` : 'p'
  return `
fn ${name}(a: u32) -> u32 {
  let e = hm_table[hm_page(a)];
  // The distance from the end of the page, and that end.
  let p = (a | ~((1u << ${PAGE_BITS_OVERRIDE}) - 1u)) + (e & ~${ENTRY_READ_ONLY}u);
  if (${OPTIMISTIC_OVERRIDE}) { hm_event |= ${stops}; }
  else {
    hm_use(e);
    if (${missing}) { hm_miss(hm_page(a) | ${u(event)}); }
  }
  return p;
}`
}

// One entry of the list for a page, however many invocations miss it; the list may overflow, then the queue says what is missing.
export const report = ({ logEntryWords }: RuntimeOptions): string => `
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
      if (hm_table[first + k] == 0u) { hm_tell((first + k) | ${u(EVENT_MISS)}, 2u, ${FAULT_AHEAD}u, hm_launch.capacity); }
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
  atomicStore(&hm_faults[select(${FAULT_TORN}u, ${MARK_TORN}u, ${OPTIMISTIC_OVERRIDE})], 1u);
}
// Neither reported nor queued: a bit says who was stopped.
fn hm_mark(word: u32, bit: u32) { atomicOr(&hm_faults[${MARK_FIRST}u + word], 1u << bit); }
fn hm_requeue(id: u32, slot: u32, event: u32) {
  let k = hm_launch.queue_out + ${ENTRY_WORDS}u * atomicAdd(&hm_faults[${FAULT_REPLAY}], 1u);
  hm_queue[k] = id;
  hm_queue[k + 1u] = slot;
  hm_queue[k + 2u] = event;
  hm_queue[k + 3u] = select(0u, hm_row_pages, event == hm_row_event);
}`
