// Sets of pages as bytes, one for each page of a range: 1 for those that are in it. Few pages of many is the usual case, so members are
// searched for, not looked at one by one.

/** Calls `visit` for each run `[first, end)` of members. */
export function forEachRunIn(set: Uint8Array, visit: (first: number, end: number) => void): void {
  for (let first = set.indexOf(1); first >= 0; ) {
    let end = first + 1
    while (end < set.length && set[end] !== 0) end++
    visit(first, end)
    first = set.indexOf(1, end)
  }
}
