import { describe, expect, it } from 'vitest'
import { array, f16, f32, mat3x3f, ptr, u32, vec2f, vec3f } from './data-type.ts'
import { struct } from './struct-type.ts'

const Node = struct('Node', { key: u32, left: ptr, right: ptr })
const Particle = struct('Particle', { position: vec3f, mass: f32, velocity: vec3f, cells: array(u32, 3) })

describe('struct()', () => {
  it('lays fields out as WGSL does', () => {
    expect(Node.offsets).toEqual({ key: 0, left: 4, right: 8 })
    expect([Node.size, Node.align, Node.stride]).toEqual([12, 4, 12])
    expect(Particle.offsets).toEqual({ position: 0, mass: 12, velocity: 16, cells: 28 })
    expect([Particle.size, Particle.align, Particle.stride]).toEqual([48, 16, 48])
    const Outer = struct('Outer', { a: f32, p: Particle, m: mat3x3f, b: vec2f })
    expect(Outer.offsets).toEqual({ a: 0, p: 16, m: 64, b: 112 })
    expect(Outer.size).toBe(128)
    expect(struct({ h: f16 }).size).toBe(2)
  })

  it('declares itself and the structs in it, inner ones first', () => {
    const Outer = struct('Outer', { p: Particle, n: array(Node, 2) })
    expect([...Outer.structs.values()]).toEqual([
      'struct Particle { position: vec3<f32>, mass: f32, velocity: vec3<f32>, cells: array<u32, 3> }',
      'struct Node { key: u32, left: u32, right: u32 }',
      'struct Outer { p: Particle, n: array<Node, 2> }',
    ])
  })

  it('without a name has one made of its fields', () => {
    expect(struct({ v: vec3f, n: u32 }).name).toBe('Struct_v_vec3_f32_n_u32')
  })

  it('reads and writes fields of arrays', () => {
    const nodes = new Uint32Array(9)
    Node.set(nodes, 1, { key: 7, right: 3 })
    Node.set(nodes, 2, { left: 5 })
    expect([...nodes]).toEqual([0, 0, 0, 7, 0, 3, 0, 5, 0])
    expect(Node.get(nodes, 1)).toEqual({ key: 7, left: 0, right: 3 })
    expect(Node.count(nodes)).toBe(3)
    const node = Node.at(nodes, 2)
    node.key = node.left + 1
    expect(nodes[6]).toBe(6)
    expect(Object.keys(Object.getPrototypeOf(node))).toEqual(['key', 'left', 'right'])
  })

  it('works on parts of arrays, and on nested values', () => {
    const bytes = new Uint8Array(4 * 48)
    const part = bytes.subarray(48)
    Particle.set(part, 1, { position: [1, 2, 3], cells: [4, 5, 6] })
    expect([...new Float32Array(bytes.buffer, 96, 3)]).toEqual([1, 2, 3])
    expect(Particle.at(part, 1).cells).toEqual([4, 5, 6])
  })

  it('a struct as a value has every field, and no other', () => {
    const view = new DataView(new ArrayBuffer(12))
    expect(() => Node.store(view, 0, { key: 1, left: 2 } as never, 'args.n')).toThrow(
      new TypeError('args.n.right is missing'),
    )
    expect(() => Node.store(view, 0, { key: 1, left: 2, right: 3, up: 4 } as never, 'args.n')).toThrow(
      new TypeError('args.n.up is no field of Node, wanted key, left, right'),
    )
    expect(() => Node.store(view, 0, null as never, 'args.n')).toThrow(
      new TypeError('args.n is null, wanted an object with key, left, right'),
    )
    expect(() => Node.store(view, 0, { key: -1, left: 2, right: 3 }, 'args.n')).toThrow(RangeError)
  })

  it.each<[string, () => unknown, string]>([
    [
      'RangeError',
      () => Node.get(new Uint32Array(4), 0),
      'a view of 16 bytes, wanted a multiple of the 12 bytes of Node',
    ],
    ['RangeError', () => Node.get(new Uint32Array(6), 2), 'index is 2, wanted 0 to 1, one of 2 Node'],
    [
      'TypeError',
      () => struct('1x', { a: u32 }),
      'the name of a struct is "1x", wanted letters, digits and _, not beginning with hm_ or __',
    ],
    [
      'TypeError',
      () => struct({ hm_a: u32 }),
      'the name of a field is "hm_a", wanted letters, digits and _, not beginning with hm_ or __',
    ],
    ['TypeError', () => struct({}), 'a struct without fields, wanted at least one'],
    ['TypeError', () => struct({ a: 4 as never }), 'field a is 4, wanted a type such as f32'],
    ['TypeError', () => struct(null as never), 'fields is null, wanted an object such as { key: u32 }'],
  ])('refuses what makes no sense: %s', (name, act, message) => {
    expect(act).toThrow(expect.objectContaining({ name, message }))
  })

  it('knows what WGSL does not take as a uniform', () => {
    expect(Particle.whyNotUniform).toBe(
      'elements of an array in a uniform lie 16 bytes apart, those of u32 4 (field cells)',
    )
    const Pair = struct('Pair', { a: f32, b: f32 })
    expect(struct('S', { x: f32, p: Pair }).whyNotUniform).toBe(
      'field p is at byte 4, and structs and arrays in a uniform begin at multiples of 16',
    )
    expect(struct('S', { p: Pair, x: f32 }).whyNotUniform).toBe(
      'field x is at byte 8, inside of the 16 bytes in which the struct before it ends',
    )
    expect(struct('S', { v: array(vec3f, 4), x: f32, p: struct({ v: vec3f }) }).whyNotUniform).toBe(null)
  })
})
