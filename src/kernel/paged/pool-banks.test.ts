// A pool in three buffers: the same kernels, with every kind of access to it.

import { describe, expect, it } from 'vitest'
import { suiteGpu } from '../../../test/helpers/gpu.ts'
import { KERNELS } from '../../../test/helpers/paged-kernels/index.ts'
import { compileKernel, fill, runDirect, runPaged } from '../../../test/helpers/paged-run.ts'
import { withBanks } from './pool-banks.ts'

/** Of all kernels those whose code on the pool differs from that of the ones before: by the functions that touch it. */
function different() {
  const seen = new Set<string>()
  return Object.values(KERNELS)
    .flat()
    .filter((kernel) => {
      const { wgsl } = compileKernel(kernel).program
      const touching = [...wgsl.matchAll(/^fn (hm_(?:word|put|exchange|do\w+))\(p: u32/gm)].map(([, name]) => name)
      const key = `${touching.join(' ')} ${/atomicLoad\(&hm_pool/.test(wgsl)}`
      if (seen.has(key)) return false
      seen.add(key)
      return true
    })
}

describe('a pool in several buffers', () => {
  const gpu = suiteGpu()

  for (const kernel of different()) {
    it(`has the results of bindings of their own: ${kernel.name}`, async () => {
      const direct = await runDirect(gpu.device, kernel, kernel.contents)
      const { frames } = kernel
      for (const bound of [false, true]) {
        const options = { banks: 3, bound, ...(frames !== undefined && { frames }) }
        const paged = await runPaged(gpu.device, kernel, kernel.contents, options)
        for (const name of Object.keys(kernel.args)) expect(paged.contents[name], name).toEqual(direct[name])
        if (compileKernel(kernel).program.bound === null) return
      }
    })
  }

  it('uses all of them', async () => {
    const kernel = {
      name: 'double',
      code: '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { x[id.x] *= 2u; }',
      args: { x: 'u32' },
      extent: [4096] as const,
    }
    // Everything is on the device at once, in frames of each buffer.
    const { contents } = await runPaged(gpu.device, kernel, { x: fill(4096, 1) }, { banks: 4, fraction: 1 })
    expect(contents['x']).toEqual(fill(4096, 1).map((word) => 2 * word))
  })
})

describe('withBanks()', () => {
  it('leaves nothing that knows of the first buffer alone', () => {
    for (const kernel of different()) {
      const text = withBanks(compileKernel(kernel).program.wgsl, { count: 3, words: 512 })
      const of = (pool: string): number => text.split(`${pool}[`).length
      expect([of('hm_pool1'), of('hm_pool2')], kernel.name).toEqual([of('hm_pool'), of('hm_pool')])
      expect(text).toMatch(/@binding\(101\) var<storage, read_write> hm_pool1: array<.*>;/)
    }
  })

  it('changes nothing of the user, and nothing for one buffer', () => {
    const [kernel] = different()
    const { wgsl } = compileKernel(kernel).program
    expect(withBanks(wgsl, { count: 1, words: 512 })).toBe(wgsl)
    const lines = kernel.code.split('\n').length
    expect(withBanks(wgsl, { count: 2, words: 512 }).split('\n').slice(0, lines)).toEqual(
      wgsl.split('\n').slice(0, lines),
    )
  })
})
