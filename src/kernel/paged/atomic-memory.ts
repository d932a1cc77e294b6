// The memory on which the atomics of a paged kernel work: words of the pool, or of the buffer of arguments that are bound directly
// (bound-atomics.ts). A kernel uses one of them. And what an atomic does there, as generated functions on the place `p` of a word.

export const ATOMIC_OPS = ['Add', 'Sub', 'Max', 'Min', 'And', 'Or', 'Xor', 'Exchange'] as const
/** Atomics by the name of their function; their numbers in the log begin at 1. */
export type AtomicOp = (typeof ATOMIC_OPS)[number]

export interface AtomicMemory {
  /** The word at place `p`. */
  readonly word: string
  /** The place of an address. */
  readonly place: (address: string) => string
  /** Says that the word at `p` has changed. */
  readonly changed: string
}

export const POOL: AtomicMemory = {
  word: 'hm_pool[p]',
  place: (address) => `hm_w(${address})`,
  changed: 'hm_dirty[hm_page(p)] = 1u;',
}

/** Addresses are places there, and all of it is copied back. */
export const BOUND: AtomicMemory = { word: 'hm_atomics[p]', place: (address) => address, changed: '' }

/** `(place, word) -> word`, the word that was there before. */
export function plainOperation(name: string, op: AtomicOp, { word, changed }: AtomicMemory): string {
  return `fn ${name}(p: u32, v: u32) -> u32 { ${changed} return atomic${op}(&${word}, v); }`
}

/** The words are unsigned, so signed comparisons have to be tried until nobody comes between. */
export function signedOperation(name: string, op: AtomicOp, { word, changed }: AtomicMemory): string {
  return `fn ${name}(p: u32, v: u32) -> u32 {
  ${changed}
  var old = atomicLoad(&${word});
  loop {
    let next = bitcast<u32>(${op.toLowerCase()}(bitcast<i32>(old), bitcast<i32>(v)));
    let r = atomicCompareExchangeWeak(&${word}, old, next);
    if (r.exchanged) { break; }
    old = r.old_value;
  }
  return old;
}`
}

/** `hm_exchange(place, old, new)`: what was there before, and 1 if it was exchanged. */
export function exchangeOperation({ word }: AtomicMemory): string {
  return `fn hm_exchange(p: u32, old: u32, v: u32) -> vec2<u32> {
  let r = atomicCompareExchangeWeak(&${word}, old, v);
  return vec2<u32>(r.old_value, select(0u, 1u, r.exchanged));
}`
}
