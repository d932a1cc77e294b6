// Atomics that happen when they are reached, at most once: never behind a miss, and in a replay not again, but with the result that was
// noted the first time. As generated functions, `(address, value) -> result`.

import { type Type, typeText } from '../../wgsl/index.ts'
import { ATOMIC_OPS, type AtomicOp, BOUND, exchangeOperation } from './atomic-memory.ts'
import type { HeldStores } from './held-stores.ts'
import { toWords } from './typed-access.ts'

export class ImmediateAtomics {
  private readonly held: HeldStores
  private readonly functions = new Map<string, string>()

  constructor(held: HeldStores) {
    this.held = held
  }

  /** Everything that was asked for. */
  get wgsl(): string {
    return [...this.functions.values()].join('\n')
  }

  /** The function that stands for a builtin one, such as `atomicAdd`. */
  functionFor(op: string, type: Type): string {
    const element = typeText(type)
    const name = `hm_once_${op}_${element}`
    if (!this.functions.has(name)) this.functions.set(name, this.define(name, op, type))
    return name
  }

  private define(name: string, op: string, type: Type): string {
    const element = typeText(type)
    const cast = (word: string): string => (element === 'u32' ? word : `bitcast<${element}>(${word})`)
    const [bits] = toWords(type, 'v')
    if (op === 'atomicCompareExchangeWeak') {
      this.functions.set('hm_exchange', exchangeOperation(this.held.memory))
      return this.exchange(name, element, cast, toWords(type, 'old')[0], bits)
    }
    if (op === 'atomicStore') {
      const { memory } = this.held
      const store = memory === BOUND ? `atomicStore(&${memory.word}, ${bits});` : `hm_put(p, ${bits});`
      const before = this.head('_ = hm_replay(); return;', 'return;', 1)
      return `fn ${name}(a: u32, v: ${element}) { ${before} ${store} hm_note(0u); }`
    }
    const operation = this.held.operation(type, ATOMIC_OPS.find((each) => op === `atomic${each}`) as AtomicOp)
    const body = `let r = ${operation}(p, ${bits}); hm_note(r); return ${cast('r')};`
    const before = this.head(`return ${cast('hm_replay()')};`, `return ${element}();`, 1)
    return `fn ${name}(a: u32, v: ${element}) -> ${element} { ${before} ${body} }`
  }

  /** What comes first: in a replay, the result; after a miss or without room for a note, nothing. */
  private head(replay: string, nothing: string, words: number): string {
    const isReplay = '!hm_is_stopped() && hm_is_replay()'
    const place = `let p = ${this.held.memory.place('a')};`
    return `if (${isReplay}) { ${replay} } ${place} if (!hm_has_room(${words}u)) { ${nothing} }`
  }

  private exchange(name: string, element: string, cast: (word: string) => string, old: string, bits: string): string {
    const result = `hm_Exchanged_${element}`
    const replay = `let was = hm_replay(); return ${result}(${cast('was')}, hm_replay() != 0u);`
    return `struct ${result} { old_value: ${element}, exchanged: bool }
fn ${name}(a: u32, old: ${element}, v: ${element}) -> ${result} {
  ${this.head(replay, `return ${result}();`, 2)}
  let r = hm_exchange(p, ${old}, ${bits});
  if (r.y != 0u) { ${this.held.memory.changed} }
  hm_note(r.x);
  hm_note(r.y);
  return ${result}(${cast('r.x')}, r.y != 0u);
}`
  }
}
