// Functions that load and store values of WGSL types in the pool, generated as they are needed. A leaf is what lies in one page for
// certain: a scalar or a vector, since arguments begin at multiples of their alignment. Everything else is made of leaves.

import { alignOf, columnOf, elementOf, sizeOf, strideOf, structLayout, type Type, typeText } from '../../wgsl/index.ts'

/** How a word is loaded. */
export interface LoadFlags {
  /** Stores of the same transaction count. */
  readonly seeing: boolean
  /** It is noted in the journal. */
  readonly noted: boolean
}

export function isLeaf(type: Type): boolean {
  return type.kind === 'scalar' || type.kind === 'vector' || type.kind === 'atomic'
}

/** Whether a part of a type has 16 bits, of which two share a word. */
export function hasHalfWords(type: Type): boolean {
  if (type.kind === 'struct') return type.members.some((member) => hasHalfWords(member.type))
  if (type.kind === 'array') return hasHalfWords(type.element)
  return elementOf(type)?.name === 'f16'
}

/** A part of a value: how it is written after the value's name, and the word at which it begins. */
export interface ValuePart {
  readonly path: string
  readonly type: Type
  readonly offset: number
}

export class TypedAccess {
  private readonly functions = new Map<string, string>()

  /** Everything that was asked for. */
  get wgsl(): string {
    return [...this.functions.values()].join('\n')
  }

  /** Loads a value from an address: `(address) -> type`. */
  load(type: Type, flags: LoadFlags): string {
    return this.loadBy(type, this.word(flags))
  }

  /** Loads a leaf from a place in the pool that was looked up before: `(place) -> type`. */
  loadPlace(type: Type, flags: LoadFlags): string {
    return this.loadPlaceBy(type, this.word(flags))
  }

  /** The function that loads a word from its place. */
  private word(flags: LoadFlags): string {
    const word = `hm_word${flags.noted ? '_once' : ''}${flags.seeing ? '_see' : ''}`
    if (flags.noted || flags.seeing) {
      const raw = flags.noted ? 'hm_once(hm_word(p))' : 'hm_word(p)'
      this.define(word, () => `fn ${word}(p: u32) -> u32 { return ${flags.seeing ? `hm_see(p, ${raw})` : raw}; }`)
    }
    return word
  }

  private loadPlaceBy(type: Type, word: string): string {
    const name = `hm_lp_${mangle(type)}${word.slice('hm_word'.length)}`
    return this.define(name, () => {
      return `fn ${name}(p: u32) -> ${typeText(type)} { return ${fromWords(type, (k) => `${word}(p + ${k}u)`)}; }`
    })
  }

  private loadBy(type: Type, word: string): string {
    const name = `hm_ld_${mangle(type)}${word.slice('hm_word'.length)}`
    return this.define(name, () => {
      const head = `fn ${name}(a: u32) -> ${typeText(type)}`
      if (isLeaf(type)) return `${head} { return ${this.loadPlaceBy(type, word)}(hm_r(a)); }`
      if (type.kind === 'array' && typeof type.count === 'number' && type.count > UNROLLED_MAX) {
        const element = this.loadBy(type.element, word)
        const loop = `for (var i = 0u; i < ${type.count}u; i++) { v[i] = ${element}(a + i * ${strideOf(type) / 4}u); }`
        return `${head} { var v: ${typeText(type)}; ${loop} return v; }`
      }
      const parts = partsOf(type).map((part) => `${this.loadBy(part.type, word)}(a + ${part.offset}u)`)
      return `${head} { return ${typeText(type)}(${parts.join(', ')}); }`
    })
  }

  /** Stores a value to the log: `(address, value)`, or for a leaf `(place, value)`. */
  log(type: Type, hasOps: boolean): string {
    const last = hasOps ? ', 0u' : ''
    return this.storeBy(type, 'hm_lg', (word, k) => `hm_log(p + ${k}u, ${word}${last});`)
  }

  /** Stores a value that is no leaf to the pool: `(address, value)`. */
  put(type: Type): string {
    return this.storeBy(type, 'hm_st', (word, k) => `hm_put(p + ${k}u, ${word});`)
  }

  /** Translates all of a value for writing: `(address)`, and for a leaf `-> u32`, its place in the pool. */
  check(type: Type): string {
    if (isLeaf(type)) return 'hm_w'
    const name = `hm_ck_${mangle(type)}`
    return this.define(name, () => {
      if (type.kind === 'array' && typeof type.count === 'number' && type.count > UNROLLED_MAX) {
        const element = `_ = ${this.check(type.element)}(a + i * ${strideOf(type) / 4}u);`
        return `fn ${name}(a: u32) -> u32 { for (var i = 0u; i < ${type.count}u; i++) { ${element} } return a; }`
      }
      const parts = partsOf(type).map((part) => `_ = ${this.check(part.type)}(a + ${part.offset}u);`)
      return `fn ${name}(a: u32) -> u32 { ${parts.join(' ')} return a; }`
    })
  }

  /** Stores a leaf to a place in the pool: `(place, value)`. */
  putLeaf(type: Type): string {
    const name = `hm_pt_${mangle(type)}`
    return this.define(name, () => {
      const words = toWords(type, 'v').map((word, k) => `hm_put(p + ${k}u, ${word});`)
      return `fn ${name}(p: u32, v: ${typeText(type)}) { ${words.join(' ')} }`
    })
  }

  private storeBy(type: Type, prefix: string, store: (word: string, k: number) => string): string {
    const name = `${prefix}_${mangle(type)}`
    return this.define(name, () => {
      const head = (at: string): string => `fn ${name}(${at}: u32, v: ${typeText(type)})`
      if (isLeaf(type)) return `${head('p')} { ${toWords(type, 'v').map(store).join(' ')} }`
      const part = (element: Type, address: string, value: string): string => {
        return `${this.storeBy(element, prefix, store)}(${isLeaf(element) ? `hm_w(${address})` : address}, ${value});`
      }
      if (type.kind === 'array' && typeof type.count === 'number' && type.count > UNROLLED_MAX) {
        const element = part(type.element, `a + i * ${strideOf(type) / 4}u`, 'w[i]')
        return `${head('a')} { var w = v; for (var i = 0u; i < ${type.count}u; i++) { ${element} } }`
      }
      const parts = partsOf(type).map(({ path, type: element, offset }) => part(element, `a + ${offset}u`, `v${path}`))
      return `${head('a')} { ${parts.join(' ')} }`
    })
  }

  private define(name: string, body: () => string): string {
    if (!this.functions.has(name)) {
      // Reserved at once, so that parts that are defined meanwhile come behind; the order does not matter in WGSL.
      this.functions.set(name, '')
      this.functions.set(name, body())
    }
    return name
  }
}

// Arrays of more elements are gone through by a loop.
const UNROLLED_MAX = 8

export function partsOf(type: Type): ValuePart[] {
  switch (type.kind) {
    case 'struct':
      return structLayout(type).map(({ name, type: member, offset }) => ({
        path: `.${name}`,
        type: member,
        offset: offset / 4,
      }))
    case 'matrix':
      return Array.from({ length: type.columns }, (_, i) => {
        return { path: `[${i}]`, type: columnOf(type), offset: (i * strideOf(type)) / 4 }
      })
    case 'array':
      return Array.from({ length: type.count as number }, (_, i) => {
        return { path: `[${i}]`, type: type.element, offset: (i * strideOf(type)) / 4 }
      })
    default:
      throw new TypeError(`${typeText(type)} has no parts`)
  }
}

export function fromWords(type: Type, word: (k: number) => string): string {
  const element = elementOf(type)!.name
  if (type.kind !== 'vector') return element === 'u32' ? word(0) : `bitcast<${element}>(${word(0)})`
  const words = `vec${type.size}<u32>(${Array.from({ length: type.size }, (_, k) => word(k)).join(', ')})`
  return element === 'u32' ? words : `bitcast<${typeText(type)}>(${words})`
}

/** The words of a leaf. */
export function toWords(type: Type, value: string): string[] {
  const element = elementOf(type)!.name
  const bits = (part: string): string => (element === 'u32' ? part : `bitcast<u32>(${part})`)
  if (type.kind !== 'vector') return [bits(value)]
  return Array.from({ length: type.size }, (_, k) => bits(`${value}[${k}]`))
}

/** A type as a part of a name. */
function mangle(type: Type): string {
  return typeText(type).replace(/[<>, ]+/g, '_')
}

/** Words from one element of an array of this type to the next. */
export function strideWords(type: Type): number {
  return (Math.ceil(sizeOf(type) / alignOf(type)) * alignOf(type)) / 4
}
