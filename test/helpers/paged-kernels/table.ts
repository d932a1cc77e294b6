// How the tables of kernels for paged execution are written: mostly the body of an entry point of 1024 invocations, numbered `i`.

import type { Contents, TestKernel } from '../paged-run.ts'
import { fill } from '../paged-run.ts'

export interface KernelCase extends TestKernel {
  readonly contents: Contents
  /** Frames of the device, where one transaction needs more than a quarter of all pages. */
  readonly frames?: number
}

export const COUNT = 1024

/** Arrays that most kernels use; an entry of `args` with one of these names needs no contents of its own. */
const COMMON: Readonly<Record<string, () => Uint32Array>> = {
  x: () => fill(COUNT, 1, 'f32'),
  y: () => fill(COUNT, 2, 'f32'),
  z: () => fill(COUNT, 3, 'f32'),
  u: () => fill(COUNT, 4),
  v: () => fill(COUNT, 5),
  s: () => fill(COUNT, 6, 'small', COUNT),
  p: () => permutation(COUNT),
  c: () => fill(64, 0, 'zero'),
}

export interface CaseOptions extends Partial<Omit<TestKernel, 'name' | 'code' | 'args'>> {
  /** Declarations around the entry point. */
  readonly module?: string
  readonly contents?: Contents
  /** `@workgroup_size(...)`. Default 64. */
  readonly size?: string
  /** Parameters of the entry point. */
  readonly params?: string
  readonly frames?: number
}

/** A kernel with this body. */
export function body(
  name: string,
  args: Readonly<Record<string, string>>,
  text: string,
  options: CaseOptions = {},
): KernelCase {
  const {
    module = '',
    size = '64',
    params = '@builtin(global_invocation_id) id: vec3u',
    contents = {},
    ...rest
  } = options
  const first = params.includes('id: vec3u') ? '  let i = id.x;\n' : ''
  const code = `${module}\n@compute @workgroup_size(${size})\nfn main(${params}) {\n${first}  ${text}\n}`
  const all = Object.keys(args).map((arg) => [arg, contents[arg] ?? COMMON[arg]()] as const)
  return { extent: [COUNT], ...rest, name, args, code, contents: Object.fromEntries(all) }
}

/** The numbers below n, shuffled. */
export function permutation(n: number, seed = 7): Uint32Array {
  const result = Uint32Array.from({ length: n }, (_, i) => i)
  const random = fill(n, seed)
  for (let i = n - 1; i > 0; i--) {
    const j = random[i] % (i + 1)
    const kept = result[i]
    result[i] = result[j]
    result[j] = kept
  }
  return result
}
