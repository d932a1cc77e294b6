// Bind groups that are kept: dispatches that bind the same share one, those of later submissions too. What they bind is known by
// numbers, which are given out anew when all is forgotten, so that nothing here keeps what programs have long let go.

import type { GpuBinding } from './gpu-launch.ts'

/** Where launch block and uniforms begin, in bytes. */
export interface BlockOffsets {
  readonly block: number
  readonly uniforms: number
}

/** What a dispatch binds. */
export interface Bound {
  readonly layout: GPUBindGroupLayout
  readonly places: readonly GpuBinding[]
  /** Sizes in bytes. */
  readonly uniforms: readonly { readonly size: number }[]
  readonly at: BlockOffsets
}

/** Groups that are kept; when there are so many, all are forgotten. */
export const BIND_GROUPS_MAX = 256

export class BindGroups {
  private readonly groups = new Map<string, GPUBindGroup>()
  private readonly numbers = new Map<GPUBuffer | GPUBindGroupLayout, number>()

  get({ layout, places, uniforms, at }: Bound, make: () => GPUBindGroup): GPUBindGroup {
    if (this.groups.size >= BIND_GROUPS_MAX) this.clear()
    let key = `${this.numberOf(layout)} ${at.block} ${at.uniforms}`
    for (const { buffer, offset, size } of places) key += ` ${this.numberOf(buffer)}/${offset}/${size}`
    for (const { size } of uniforms) key += ` ${size}`
    const known = this.groups.get(key)
    if (known !== undefined) return known
    const group = make()
    this.groups.set(key, group)
    return group
  }

  clear(): void {
    this.groups.clear()
    this.numbers.clear()
  }

  /** Layouts and buffers that have numbers. */
  get nknown(): number {
    return this.numbers.size
  }

  private numberOf(each: GPUBuffer | GPUBindGroupLayout): number {
    const number = this.numbers.get(each) ?? this.numbers.size
    this.numbers.set(each, number)
    return number
  }
}
