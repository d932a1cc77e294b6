// The input of everything: edges as pairs of vertex numbers. Edges have no direction; they may come more than once, and an edge may
// lead from a vertex to itself (the specification keeps both in the list, and lets a search ignore them).

export interface EdgeList {
  /** Vertices are numbered from 0 to nvertices - 1. */
  readonly nvertices: number
  /** One end of each edge, */
  readonly from: Uint32Array
  /** and the other. */
  readonly to: Uint32Array
}

/** Most vertices of a graph: a vertex number is 32 bits wide, and the last one means "none". */
export const VERTICES_MAX = 2 ** 32 - 1

/** In a tree: not reached by the search. */
export const NONE = 0xffff_ffff
