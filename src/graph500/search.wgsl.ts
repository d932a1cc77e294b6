// The search on the GPU, in WGSL. One launch is one level: `depth` is the level of the vertices that were reached last, and the launch
// finds those of the next. Two kernels do the same in opposite directions:
//
//   fromAbove   strips of vertices on level `depth` tell their neighbours               good while few were reached last
//   fromBelow   strips of vertices that are not reached yet look for a neighbour on it  good while few are left
//
// Of several possible parents the smallest number wins, whatever ran first. So a search gives the same tree on every device, with
// either kernel, and however its launches were cut.

import { NONE } from './edge-list.ts'
import { BLOCK, STRIP } from './strips.ts'

/** Words of `progress` before those of the blocks. */
export const PROGRESS_BLOCKS = 1

/** progress[0] counts the vertices that were found; then a word per block, not zero if a vertex was found that has strips in it. */
const COMMON = /* wgsl */ `
const STRIP = ${STRIP}u;
const BLOCK = ${BLOCK}u;
const NONE = ${NONE}u;
const PROGRESS_BLOCKS = ${PROGRESS_BLOCKS}u;

// v was reached over an edge from the level \`depth\`. Levels of vertices that were not reached are NONE, greater than any other.
fn reach(v: u32, parent: u32) {
  if (atomicMin(&parents[v], parent) != NONE) { return; }
  atomicStore(&levels[v], depth + 1u);
  atomicAdd(&progress[0], 1u);
  for (var block = firsts[v] / BLOCK; block * BLOCK < firsts[v + 1u]; block++) {
    atomicStore(&progress[PROGRESS_BLOCKS + block], 1u);
  }
}
`

export const FROM_ABOVE = /* wgsl */ `${COMMON}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let u = owners[id.x];
  if (atomicLoad(&levels[u]) != depth) { return; }
  for (var i = STRIP * id.x; i < STRIP * id.x + STRIP; i++) {
    let v = columns[i];
    if (atomicLoad(&levels[v]) > depth) { reach(v, u); }
  }
}
`

export const FROM_BELOW = /* wgsl */ `${COMMON}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  let v = owners[id.x];
  if (atomicLoad(&levels[v]) <= depth) { return; }
  for (var i = STRIP * id.x; i < STRIP * id.x + STRIP; i++) {
    let u = columns[i];
    if (atomicLoad(&levels[u]) != depth) { continue; }
    reach(v, u);
    return;  // neighbours are in ascending order: the first is the smallest of this strip
  }
}
`
