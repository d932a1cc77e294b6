// What a transaction keeps to itself: the log of its stores, until it commits, and the journal of what it has learnt, for the case that it has to
// be replayed.

import {
  ASTRAY,
  EVENT_FULL,
  FULL_JOURNAL,
  FULL_LOG,
  OPTIMISTIC_OVERRIDE,
  ROOMY_OVERRIDE,
  SHIFTS_OVERRIDE,
  STOPPED,
} from './paged-program.ts'
import { type RuntimeOptions, u } from './runtime-options.ts'

/** Entries of the log that the optimistic form has in registers. */
export const NEAR_ENTRIES = 8

// Stores in loops, in the order in which they happened. In memory, entry e of invocation i lies beside that of invocation i + 1, and
// entries of which the hash is the same are a chain, from the last one back: to find its own stores nobody goes through all of them. The
// optimistic form has room for a few in registers: whoever stores more is run by another one.
export function log({ logEntryWords: words, vague, clearsChains }: RuntimeOptions): string {
  const op = words === 3
  const near = NEAR_ENTRIES + 1
  const stores = (place: (k: number) => string): string =>
    ['p', 'v', 'op']
      .slice(0, words)
      .map((value, k) => `${place(k)} = ${value};`)
      .join(' ')
  const sees = Array.from({ length: NEAR_ENTRIES }, (_, e) => {
    const isStore = op ? ` & (hm_near[${e + 2 * near}] == 0u)` : ''
    return `v = select(v, hm_near[${e + near}], (hm_near[${e}] == p)${isStore});`
  })
  return `
override hm_is_near: bool = ${OPTIMISTIC_OVERRIDE} && !${ROOMY_OVERRIDE};
var<private> hm_logged: u32;
// No word is at the place that the entries begin with.
var<private> hm_near: array<u32, ${words * near}> = array<u32, ${words * near}>(${'0xffffffffu, '.repeat(words * near)});
fn hm_log_at(e: u32, word: u32) -> u32 { return hm_launch.log_base + (e * ${words + 1}u + word) * hm_stride() + hm_index; }
fn hm_chain_at(k: u32) -> u32 { return hm_log_at(hm_launch.log_entries, k); }
// The higher half of a product (hm_page).
fn hm_chain_of(p: u32) -> u32 {
  if (${SHIFTS_OVERRIDE}) { return hm_chain_at(((p * 0x9e3779b1u) >> 16u) & hm_launch.groups.w); }
  let high = f32(bitcast<i32>((p * 0x9e3779b1u) & 0x7fffffffu)) * ${2 ** -16} + 8388608.0;
  return hm_chain_at(bitcast<u32>(high) & hm_launch.groups.w);
}
fn hm_entry(e: u32, word: u32) -> u32 {
  if (hm_is_near) { return hm_near[word * ${near}u + e]; }
  return hm_scratch[hm_log_at(e, word)];
}
fn hm_log(p: u32, v: u32${op ? ', op: u32' : ''}) {
  if (hm_is_near) {
    hm_event |= select(0u, ${u(STOPPED)}, hm_logged >= ${NEAR_ENTRIES}u);
    // Behind the last entry is another, for what has no room: cheaper than a branch.
    let e = min(hm_logged, ${NEAR_ENTRIES}u);
    ${stores((k) => `hm_near[e + ${k * near}u]`)}
    hm_logged = e + 1u;
    return;
  }
  let e = hm_logged;
  if (e < hm_launch.log_entries) {
    ${clearsChains ? 'if (e == 0u) { for (var k = 0u; k <= hm_launch.groups.w; k++) { hm_scratch[hm_chain_at(k)] = 0u; } }' : ''}
    let chain = hm_chain_of(p);
    ${stores((k) => `hm_scratch[hm_log_at(e, ${k}u)]`)}
    hm_scratch[hm_log_at(e, ${words}u)] = hm_scratch[chain];
    hm_scratch[chain] = e + 1u;
  } else { hm_full(${u(EVENT_FULL | FULL_LOG)}, ${u(vague)}); }
  // What has no room is counted all the same: so much is asked for.
  hm_logged = e + 1u;
}
fn hm_see(p: u32, w: u32) -> u32 {
  if (hm_is_near) {
    // All of them, of which the last one counts: cheaper than a loop, whose indices are not known beforehand.
    var v = w;
    ${sees.join('\n    ')}
    return v;
  }
  if (hm_logged == 0u) { return w; }
  var e = hm_scratch[hm_chain_of(p)];
  while (e > 0u) {
    e--;
    if (hm_entry(e, 0u) == p${op ? ' && hm_entry(e, 2u) == 0u' : ''}) { return hm_entry(e, 1u); }
    e = hm_scratch[hm_log_at(e, ${words}u)];
  }
  return w;
}`
}

// What an invocation learnt that it must not learn anew: results of atomics, which happen once, and what it read of memory that
// other invocations may have changed since. Word 0 of its column counts.
export const JOURNAL = `
var<private> hm_noted: u32;
var<private> hm_notes: u32;
fn hm_journal_at(j: u32) -> u32 { return j * hm_launch.slots + hm_slot; }
fn hm_is_replay() -> bool { return hm_noted < hm_notes; }
fn hm_replay() -> u32 {
  hm_noted++;
  return hm_scratch[hm_journal_at(hm_noted)];
}
fn hm_has_room(words: u32) -> bool {
  if (hm_is_stopped()) { return false; }
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
  if (hm_is_stopped()) { return v; }
  if (hm_is_replay()) { return hm_replay(); }
  if (hm_has_room(1u)) { hm_note(v); }
  return v;
}
fn hm_journal_open() {
  hm_noted = 0u;
  hm_notes = hm_scratch[hm_slot];
}
fn hm_journal_close() { hm_scratch[hm_slot] = hm_notes; }`
