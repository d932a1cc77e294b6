// The entry point of a paged kernel: who an invocation is, the transaction around the user's own entry point, and how it ends.

import {
  EVENT_BAD,
  EVENT_MISS,
  FAULT_FULL,
  FAULT_PROGRESS,
  FAULT_STOP,
  FULL_STEPS,
  LINEAR_OVERRIDE,
  MODE_REPLAY,
  OPTIMISTIC_OVERRIDE,
  REPLAY_OVERRIDE,
} from './paged-program.ts'
import { u } from './runtime-options.ts'
import { ENTRY_WORDS } from './waiting.ts'

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
fn hm_main(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) n: vec3<u32>, @builtin(local_invocation_index) l: u32) {
  // Few of them, which take long, are in as many workgroups as the host wants.
  hm_index = select(w.x * 64u + l, l * n.x + w.x, ${REPLAY_OVERRIDE});
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
  if (!hm_is_stopped()) { ${o.real === null ? 'hm_commit();' : `${o.real} if (hm_is_stopped()) { hm_tear(); }`} }
  else if (${OPTIMISTIC_OVERRIDE}) {
    if (${REPLAY_OVERRIDE}) { hm_mark(hm_index >> 5u, hm_index & 31u); }
    else { hm_mark(2u * w.x + select(0u, 1u, l >= 32u), l & 31u); }
  }
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
    if (hm_is_stopped()) {
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
struct hm_Group { id: u32, slot: u32, stop: u32 }
var<workgroup> hm_group_state: hm_Group;
// What stopped one of its invocations, where that is something; 0 while all go on.
var<workgroup> hm_group_event: atomic<u32>;
fn hm_stride() -> u32 { return hm_launch.count * ${invocations}u; }
@compute @workgroup_size(${o.workgroupSize})
fn hm_main(@builtin(workgroup_id) w: vec3<u32>, @builtin(local_invocation_id) hm_local: vec3<u32>, @builtin(local_invocation_index) hm_local_index: u32) {
  if (w.x >= hm_launch.count) { return; }
  var state = hm_Group(hm_launch.base + w.x, w.x, 0u);
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
  if (hm_is_stopped()) {
    if (!${OPTIMISTIC_OVERRIDE} && !hm_is_bad) { hm_report(); }
    atomicMax(&hm_group_event, select(hm_event, 1u, hm_is_bad));
  }
  workgroupBarrier();
  let hm_stopped = atomicLoad(&hm_group_event);
  if (hm_stopped == 0u) { hm_commit(); }
  else if (${OPTIMISTIC_OVERRIDE}) { if (hm_local_index == 0u) { hm_mark(w.x >> 5u, w.x & 31u); } }
  else {
    if (hm_stopped == 1u && hm_is_bad) { hm_report(); }
    if (hm_local_index == 0u) { hm_requeue(state.id, state.slot, hm_stopped); }
  }
}`
}
