// Structs: the same bytes for the CPU and for WGSL, by the layout rules of WGSL.
//
//   const Node = struct('Node', { key: u32, left: ptr, right: ptr })
//   const nodes = heap.alloc(Uint32Array, count * (Node.stride / 4))
//   Node.set(nodes, 0, { key: 7, left: 0, right: 0 })
//   kernel({ args: { nodes: readWrite(Node) }, code: `... nodes[i].key ...` })

import { describe } from '../base/describe.ts'
import { KEYWORDS, RESERVED_WORDS } from '../wgsl/tokens.ts'
import { type DataType, type InOf, type OutOf, roundUp, strideOf } from './data-type.ts'

export type StructFields = Readonly<Record<string, DataType>>
type FieldsOut<F extends StructFields> = { -readonly [K in keyof F]: OutOf<F[K]> }
type FieldsIn<F extends StructFields> = { readonly [K in keyof F]: InOf<F[K]> }

export interface StructType<F extends StructFields = StructFields>
  extends DataType<FieldsOut<F>, FieldsIn<F>, ArrayBufferView> {
  /** Name in WGSL. */
  readonly name: string
  readonly fields: F
  /** Bytes from the beginning of the struct to each field. */
  readonly offsets: { readonly [K in keyof F]: number }
  /** Bytes from one struct of an array to the next. */
  readonly stride: number
  /** How many structs a view has. Throws a RangeError for a view that ends inside of one. */
  count(view: ArrayBufferView): number
  /** The fields of a struct, copied. Throws a RangeError for an index that is none. */
  get(view: ArrayBufferView, index: number): FieldsOut<F>
  /** Writes some fields or all. Throws a TypeError or RangeError for values that do not fit their fields. */
  set(view: ArrayBufferView, index: number, values: Partial<FieldsIn<F>>): void
  /** A struct in place: reading or assigning a field reads or writes the view. Made once, used often. */
  at(view: ArrayBufferView, index: number): FieldsOut<F>
}

/**
 * Describes a struct. Without a name it has one made of its fields; in the code of a kernel it then also goes by the name of the
 * argument with a capital letter, so that the elements of `nodes` are `Nodes`.
 *
 * Throws a TypeError for fields that are no types or have names that are none in WGSL.
 */
export function struct<const F extends StructFields>(name: string, fields: F): StructType<F>
/** Describes a struct without a name. Throws as above. */
export function struct<const F extends StructFields>(fields: F): StructType<F>
export function struct<F extends StructFields>(nameOrFields: string | F, namedFields?: F): StructType<F> {
  const named = typeof nameOrFields === 'string'
  const fields = (named ? namedFields : nameOrFields) as F
  checkFields(fields)
  const name = named ? nameOrFields : nameOfFields(fields)
  checkIdentifier(name, 'the name of a struct')
  return makeStruct(name, fields)
}

/** Throws a TypeError unless WGSL can use it as a name and it is none of the library's own. */
export function checkIdentifier(name: string, what: string): void {
  if (KEYWORDS.has(name) || RESERVED_WORDS.has(name))
    throw new TypeError(`${what} is "${name}", a word that WGSL reserves`)
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && name !== '_' && !/^(__|hm_)/.test(name)) return
  throw new TypeError(`${what} is ${describe(name)}, wanted letters, digits and _, not beginning with hm_ or __`)
}

function checkFields(fields: StructFields): void {
  if (typeof fields !== 'object' || fields === null) {
    throw new TypeError(`fields is ${describe(fields)}, wanted an object such as { key: u32 }`)
  }
  const entries = Object.entries(fields)
  if (entries.length === 0) throw new TypeError('a struct without fields, wanted at least one')
  for (const [field, type] of entries) {
    checkIdentifier(field, 'the name of a field')
    if (typeof type?.store !== 'function') {
      throw new TypeError(`field ${field} is ${describe(type)}, wanted a type such as f32`)
    }
  }
}

/** Says what the struct is made of, so that two of the same name are the same. */
function nameOfFields(fields: StructFields): string {
  const parts = Object.entries(fields).map(([field, { wgsl }]) => `${field}_${wgsl.replace(/\W+/g, '_')}`)
  return `Struct_${parts.join('_')}`.replace(/_+/g, '_').replace(/_$/, '')
}

function makeStruct<F extends StructFields>(name: string, fields: F): StructType<F> {
  const entries = Object.entries(fields)
  const offsets: Record<string, number> = {}
  let end = 0
  for (const [field, type] of entries) {
    offsets[field] = roundUp(end, type.align)
    end = offsets[field] + type.size
  }
  const align = Math.max(...entries.map(([, type]) => type.align))
  const size = roundUp(end, align)

  const load = (view: DataView, offset: number) =>
    Object.fromEntries(
      entries.map(([field, type]) => [field, type.load(view, offset + offsets[field])]),
    ) as FieldsOut<F>
  const storeSome = (view: DataView, offset: number, values: Partial<FieldsIn<F>>, what: string) => {
    if (typeof values !== 'object' || values === null) {
      throw new TypeError(`${what} is ${describe(values)}, wanted an object with ${Object.keys(fields).join(', ')}`)
    }
    for (const field of Object.keys(values)) {
      if (!Object.hasOwn(fields, field)) {
        throw new TypeError(`${what}.${field} is no field of ${name}, wanted ${Object.keys(fields).join(', ')}`)
      }
    }
    for (const [field, type] of entries) {
      if (!Object.hasOwn(values, field)) continue
      type.store(view, offset + offsets[field], values[field], `${what}.${field}`)
    }
  }
  const Accessor = makeAccessor(entries, offsets)

  const type: StructType<F> = {
    name,
    fields,
    offsets: offsets as StructType<F>['offsets'],
    stride: size,
    wgsl: name,
    structs: structsOf(name, entries),
    size,
    align,
    views: null,
    needsF16: entries.some(([, field]) => field.needsF16),
    whyNotUniform: whyNotUniform(entries, offsets),
    isAtomic: entries.some(([, field]) => field.isAtomic),
    load,
    store: (view, offset, values, what) => {
      for (const [field] of entries) {
        if (values !== null && typeof values === 'object' && !Object.hasOwn(values, field)) {
          throw new TypeError(`${what}.${field} is missing`)
        }
      }
      storeSome(view, offset, values, what)
    },
    count: (view) => {
      if (view.byteLength % size === 0) return view.byteLength / size
      throw new RangeError(`a view of ${view.byteLength} bytes, wanted a multiple of the ${size} bytes of ${name}`)
    },
    get: (view, index) => load(bytesOf(view, index, type), 0),
    set: (view, index, values) => storeSome(bytesOf(view, index, type), 0, values, name),
    at: (view, index) => new Accessor(bytesOf(view, index, type)) as unknown as FieldsOut<F>,
  }
  return type
}

/** The bytes of one struct. */
function bytesOf(view: ArrayBufferView, index: number, type: StructType): DataView {
  const count = type.count(view)
  if (!Number.isInteger(index) || index < 0 || index >= count) {
    throw new RangeError(`index is ${describe(index)}, wanted 0 to ${count - 1}, one of ${count} ${type.name}`)
  }
  return new DataView(view.buffer, view.byteOffset + index * type.stride, type.size)
}

/** A class whose properties are the fields, in place. */
function makeAccessor(entries: readonly [string, DataType][], offsets: Record<string, number>) {
  class Accessor {
    readonly #view: DataView
    constructor(view: DataView) {
      this.#view = view
    }
    static define(field: string, type: DataType, offset: number): void {
      Object.defineProperty(Accessor.prototype, field, {
        enumerable: true,
        get(this: Accessor) {
          return type.load(this.#view, offset)
        },
        set(this: Accessor, value: unknown) {
          type.store(this.#view, offset, value, field)
        },
      })
    }
  }
  for (const [field, type] of entries) Accessor.define(field, type, offsets[field])
  return Accessor
}

function structsOf(name: string, entries: readonly [string, DataType][]): ReadonlyMap<string, string> {
  const structs = new Map<string, string>()
  for (const [, type] of entries) for (const [inner, text] of type.structs) structs.set(inner, text)
  const members = entries.map(([field, { wgsl }]) => `${field}: ${wgsl}`)
  return structs.set(name, `struct ${name} { ${members.join(', ')} }`)
}

/** WGSL wants structs and arrays in uniforms at multiples of 16 bytes, and what follows a struct too. */
function whyNotUniform(entries: readonly [string, DataType][], offsets: Record<string, number>): string | null {
  let free = 0
  for (const [field, type] of entries) {
    if (type.whyNotUniform !== null) return `${type.whyNotUniform} (field ${field})`
    const offset = offsets[field]
    const isCompound = type.structs.size > 0 || type.wgsl.startsWith('array<')
    if (isCompound && offset % 16 !== 0) {
      return `field ${field} is at byte ${offset}, and structs and arrays in a uniform begin at multiples of 16`
    }
    if (offset < free)
      return `field ${field} is at byte ${offset}, inside of the 16 bytes in which the struct before it ends`
    free = type.structs.size > 0 ? offset + roundUp(strideOf(type), 16) : 0
  }
  return null
}
