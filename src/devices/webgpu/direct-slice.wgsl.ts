// What a kernel that is bound directly finds at its bindings. A launch runs in slices, each a dispatch of its own:
//
//   @group(0) @binding(0 .. n - 1)   the arguments, in order: `var<storage, read_write> NAME: array<T>`. All are read_write, also
//                                    those that are only read, because they are ranges of one buffer (WebGPU forbids a mix)
//   @group(0) @binding(n)            `hm`: which slice this is
//   @group(0) @binding(n + 1)        the uniforms of the kernel, if it has any
//
// An argument is bound from a multiple of 256 bytes on, so it may begin some words into its array: `hm_skip(k)`.

/** Storage arguments that a kernel can have: what every device offers. */
export const ARGUMENTS_MAX = 8

/** Bytes of `hm`: two words, aligned to 16, and a word per argument. */
export const SLICE_BYTES = 16 + 4 * ARGUMENTS_MAX

/** Declares `hm` at a binding, for kernels with `binding` arguments. */
export function sliceWgsl(binding: number): string {
  return /* wgsl */ `
struct HmSlice {
  first: u32,  // number of the first invocation of the slice
  count: u32,  // invocations of the slice: those from here on do nothing
  skip: array<vec4<u32>, ${ARGUMENTS_MAX / 4}>,
}
@group(0) @binding(${binding}) var<uniform> hm: HmSlice;
fn hm_skip(argument: u32) -> u32 { return hm.skip[argument / 4u][argument % 4u]; }
`
}

/** The bytes of `hm`. `skips` are words. */
export function packSlice(first: number, count: number, skips: readonly number[]): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(SLICE_BYTES / 4)
  words[0] = first
  words[1] = count
  words.set(skips, 4)
  return words
}
