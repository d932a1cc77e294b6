// One launch of a paged program, as numbers: which words its arguments are, how many invocations, and the launch block that tells it
// to the device.

import { LAUNCH, LAUNCH_WORDS, type PagedProgram, REACH_MAX } from './paged-program.ts'

export interface PagedRange {
  /** First word of the heap. */
  readonly word: number
  /** Elements. */
  readonly length: number
}

export interface ReachRange {
  /** Words of the heap, the end exclusive. */
  readonly start: number
  readonly end: number
  readonly write: boolean
}

export interface PagedLaunch {
  /** One for each argument of the program. */
  readonly args: readonly PagedRange[]
  /** One for each uniform of the program, in bytes. */
  readonly uniforms: readonly Uint8Array[]
  /** Invocations in each dimension, exactly. For a program of workgroup scope they are whole workgroups. */
  readonly extent: readonly [number, number, number]
  /** What pointers may touch. */
  readonly reach?: readonly ReachRange[]
}

/** Throws a TypeError or RangeError for a launch that does not fit its program. */
export function checkPagedLaunch(program: PagedProgram, launch: PagedLaunch): void {
  const { name } = program
  if (launch.args.length !== program.args.length) {
    throw new TypeError(`${name} has ${program.args.length} arrays, the launch ${launch.args.length}`)
  }
  program.args.forEach(({ name: arg, align }, i) => {
    const { word, length } = launch.args[i]
    if (!isWord(word) || word === 0)
      throw new RangeError(`${arg} of ${name} begins at word ${word}, wanted 1 to 2^32 - 1`)
    if ((word * 4) % align !== 0) {
      throw new RangeError(`${arg} of ${name} begins at byte ${word * 4}, wanted a multiple of ${align}`)
    }
    if (!isWord(length))
      throw new RangeError(`${arg} of ${name} has ${length} elements, wanted a whole number below 2^32`)
  })
  program.uniforms.forEach(({ name: uniform, size }, i) => {
    const bytes = launch.uniforms[i]?.byteLength
    if (bytes !== size) throw new RangeError(`${uniform} of ${name} has ${bytes ?? 'no'} bytes, wanted ${size}`)
  })
  const total = launch.extent.reduce((product, n) => product * n, 1)
  if (!launch.extent.every(isWord) || total >= 2 ** 32) {
    throw new RangeError(`${name} has ${launch.extent.join(' x ')} invocations, wanted less than 2^32`)
  }
  if (program.scope === 'workgroup' && launch.extent.some((n, d) => n % program.workgroupSize[d] !== 0)) {
    throw new RangeError(
      `${name} has ${launch.extent.join(' x ')} invocations, wanted whole workgroups of ${program.workgroupSize.join(' x ')}`,
    )
  }
  const reach = launch.reach ?? []
  if (reach.length > REACH_MAX)
    throw new RangeError(`${name} reaches ${reach.length} ranges, wanted at most ${REACH_MAX}`)
  for (const { start, end } of reach) {
    if (isWord(start) && isWord(end) && start <= end) continue
    throw new RangeError(`${name} reaches words ${start} to ${end}, wanted a range below 2^32`)
  }
}

const isWord = (n: number): boolean => Number.isInteger(n) && n >= 0 && n < 2 ** 32

/** Transactions of a launch: invocations, or workgroups. */
export function transactionCount(program: PagedProgram, { extent }: PagedLaunch): number {
  const unit = program.scope === 'workgroup' ? program.workgroupSize : [1, 1, 1]
  return extent.reduce((product, n, d) => product * (n / unit[d]), 1)
}

/** Invocations of a transaction. */
export function invocationsOf({ scope, workgroupSize: [x, y, z] }: PagedProgram): number {
  return scope === 'workgroup' ? x * y * z : 1
}

/** The launch block with everything that stays the same from round to round. */
export function launchBlock(program: PagedProgram, launch: PagedLaunch): Uint32Array<ArrayBuffer> {
  const args = Math.max(1, program.args.length)
  const block = new Uint32Array(LAUNCH_WORDS + 4 * (args + REACH_MAX))
  block.set(launch.extent, LAUNCH.extent)
  block.set(
    launch.extent.map((n, d) => Math.ceil(n / program.workgroupSize[d])),
    LAUNCH.groups,
  )
  const { starts } = boundLayout(program, launch)
  launch.args.forEach(({ word, length }, i) => {
    block.set([starts.get(i) ?? word, length], LAUNCH_WORDS + 4 * i)
  })
  const reach = launch.reach ?? []
  block[LAUNCH.reachCount] = reach.length
  reach.forEach(({ start, end, write }, i) => {
    block.set([start, end, write ? 1 : 0], LAUNCH_WORDS + 4 * (args + i))
  })
  return block
}

// Bound arguments begin at multiples of this in their buffer, in words: none shares a cache line with another.
const ALIGN_WORDS = 64

/** Where the bound arguments of a launch begin, by the index of the argument, and where the last one ends, in words. */
export function boundLayout(program: PagedProgram, launch: PagedLaunch): { starts: Map<number, number>; end: number } {
  const starts = new Map<number, number>()
  let end = ALIGN_WORDS
  for (const arg of program.boundArgs) {
    starts.set(arg, end)
    end += Math.ceil(wordsOf(program, launch, arg) / ALIGN_WORDS) * ALIGN_WORDS
  }
  return { starts, end }
}

/** Words of an argument. */
export function wordsOf(program: PagedProgram, launch: PagedLaunch, arg: number): number {
  return (launch.args[arg].length * program.args[arg].stride) / 4
}

/** The id of an invocation from its number. */
export function invocationId(
  { extent: [x, y] }: PagedLaunch,
  program: PagedProgram,
  id: number,
): [number, number, number] {
  if (program.scope !== 'workgroup') return [id % x, Math.floor(id / x) % y, Math.floor(id / (x * y))]
  const [sx, sy, sz] = program.workgroupSize
  const [gx, gy] = [x / sx, y / sy]
  const local = id % (sx * sy * sz)
  const group = Math.floor(id / (sx * sy * sz))
  return [
    (group % gx) * sx + (local % sx),
    (Math.floor(group / gx) % gy) * sy + (Math.floor(local / sx) % sy),
    Math.floor(group / (gx * gy)) * sz + Math.floor(local / (sx * sy)),
  ]
}
