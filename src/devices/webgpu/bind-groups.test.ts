import { describe, expect, it } from 'vitest'
import { BIND_GROUPS_MAX, BindGroups, type Bound } from './bind-groups.ts'

const LAYOUT = {} as GPUBindGroupLayout
const AT = { block: 0, uniforms: 256 }

function binding(buffer: GPUBuffer, offset = 0): Bound {
  return { layout: LAYOUT, places: [{ buffer, offset, size: 4096 }], uniforms: [], at: AT }
}

const buffer = () => ({}) as GPUBuffer
const make = () => ({}) as GPUBindGroup

describe('bind groups', () => {
  it('are shared by what binds the same, and by nothing else', () => {
    const groups = new BindGroups()
    const [a, b] = [buffer(), buffer()]
    const first = groups.get(binding(a), make)

    expect(groups.get(binding(a), make)).toBe(first)
    expect(groups.get(binding(b), make)).not.toBe(first)
    expect(groups.get(binding(a, 4096), make)).not.toBe(first)
    expect(groups.get({ ...binding(a), layout: {} as GPUBindGroupLayout }, make)).not.toBe(first)
    expect(groups.get({ ...binding(a), at: { ...AT, block: 512 } }, make)).not.toBe(first)
    expect(groups.get({ ...binding(a), at: { ...AT, uniforms: 512 } }, make)).not.toBe(first)
    expect(groups.get({ ...binding(a), uniforms: [{ size: 16 }] }, make)).not.toBe(first)
  })

  it('keep nothing of what was bound long ago', () => {
    const groups = new BindGroups()
    for (let i = 0; i < 10 * BIND_GROUPS_MAX; i++) groups.get(binding(buffer()), make)

    expect(groups.nknown).toBeLessThanOrEqual(BIND_GROUPS_MAX + 1)
  })

  it('are told apart after all were forgotten', () => {
    const groups = new BindGroups()
    const all = Array.from({ length: BIND_GROUPS_MAX + 10 }, buffer)
    const made = all.map((each) => groups.get(binding(each), make))

    expect(new Set(made).size).toBe(all.length)
    expect(groups.get(binding(all[0]), make)).not.toBe(made[0])
    expect(groups.get(binding(all.at(-1)!), make)).toBe(made.at(-1))
  })
})
