// Resumable kernels: chases without bound, on as little memory as one page.

import { describe, expect, it } from 'vitest'
import { suiteGpu } from '../../../test/helpers/gpu.ts'
import { permutation } from '../../../test/helpers/paged-kernels/table.ts'
import { compileKernel, fill, runPaged, type TestKernel } from '../../../test/helpers/paged-run.ts'

const N = 256
const HOPS = 12

const CHASE: TestKernel = {
  name: 'chase',
  code: `struct Chase { k: u32, cursor: u32, sum: vec2u }
fn hop(id: vec3u, s: ptr<function, Chase>) -> bool {
  if (s.k == ${HOPS}u) { sums[id.x] = s.sum.x + s.sum.y; return false; }
  if (s.k == 0u) { s.cursor = id.x; }
  s.cursor = next[s.cursor];
  s.sum += vec2u(s.cursor, 1u);
  s.k++;
  return true;
}`,
  args: { next: 'read u32', sums: 'u32' },
  extent: [16],
  step: 'hop',
}

function sumsOf(next: Uint32Array): Uint32Array {
  return Uint32Array.from({ length: 16 }, (_, i) => {
    let [k, sum] = [i, 0]
    for (let n = 0; n < HOPS; n++) {
      k = next[k]
      sum += k + 1
    }
    return sum
  })
}

const compiled =
  (code: string): (() => unknown) =>
  () =>
    compileKernel({ ...CHASE, code })

describe('compilePaged() of steps', () => {
  it('refuses functions that are no steps', () => {
    expect(compiled('fn hop(id: u32) -> bool { return next[id] == sums[id]; }')).toThrow('"hop" is no step')
    expect(compiled('fn hop(id: vec3u, s: ptr<function, bool>) -> bool { return next[0] == sums[0]; }')).toThrow(
      'a state of type bool cannot be kept',
    )
  })

  it('refuses what a step cannot keep', () => {
    const step = (body: string, module = ''): string =>
      `${module}\nfn hop(id: vec3u, s: ptr<function, u32>) -> bool { ${body} return next[*s] == sums[0]; }`
    expect(compiled(step('n++;', 'var<private> n: u32;'))).toThrow('"n" is gone after a step: keep it in the state')
    expect(compiled(step('workgroupBarrier();'))).toThrow('no barrier brings them together')
    expect(compiled(step('t = 1u;', 'var<workgroup> t: u32;'))).toThrow('they share no memory of a workgroup')
  })
})

describe('resumable kernels', () => {
  const gpu = suiteGpu()

  for (const frames of [12, 4, 2, 1]) {
    it(`chase with ${frames} frames for 10 pages`, async () => {
      const next = permutation(N, 9)
      const { contents, receipt } = await runPaged(
        gpu.device,
        CHASE,
        { next, sums: new Uint32Array(16) },
        { frames, pageBits: 5, stepsMax: 5 },
      )
      expect(contents['sums']).toEqual(sumsOf(next))
      expect(receipt.splits).toBe(0)
    }, 120_000)
  }

  it('each step happens once', async () => {
    const kernel: TestKernel = {
      name: 'walk and count',
      code: `fn go(id: vec3u, s: ptr<function, array<u32, 2>>) -> bool {
        let n = s[0]; s[0] = n + 1u;
        counts[(id.x * 7u + n * 33u) % 512u] += 0u;
        own[id.x * 8u + n] += order[(id.x + n * 61u) % 512u]; own[id.x * 8u + 7u - n] += 1u;
        return n < 7u; }`,
      args: { order: 'read u32', counts: 'u32', own: 'u32' },
      extent: [8],
      step: 'go',
    }
    const order = fill(512, 4, 'small')
    const before = { order, counts: new Uint32Array(512), own: new Uint32Array(64) }
    const { contents } = await runPaged(gpu.device, kernel, before, { frames: 4, pageBits: 5, faultCapacity: 2 })
    const own = new Uint32Array(64)
    for (let i = 0; i < 8; i++) {
      for (let n = 0; n < 8; n++) {
        own[i * 8 + n] += order[(i + n * 61) % 512]
        own[i * 8 + 7 - n] += 1
      }
    }
    expect(contents['own']).toEqual(own)
  }, 60_000)

  it('a chase without end is ended by its own count only', async () => {
    const { receipt } = await runPaged(
      gpu.device,
      CHASE,
      { next: permutation(N, 3), sums: new Uint32Array(16) },
      { frames: 12, pageBits: 5, stepsMax: 1 },
    )
    expect(receipt.rounds).toBeGreaterThan(HOPS)
  }, 60_000)
})
