// The entry point `hetmem`: a heap of ordinary typed arrays that CPU code and devices share.
//
//   import { openHeap } from 'hetmem'
//
// Bundlers that build for browsers get browser-entry.ts in its place, which has the same names. People who write drivers, or want
// to see how it works inside, find more in `hetmem/hmm`.

export { attachHeap, openHeap } from './heap/on-node.ts'
export * from './heap-entry.ts'
