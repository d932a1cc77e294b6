// Atomics that happen when they are reached, at most once: never behind a miss, and in a replay not again, but with the result that was
// noted the first time. As generated functions, `(address, value) -> result`.

import { type Type, typeText } from '../../wgsl/index.ts'
import { ATOMIC_OPS, type AtomicOp, type HeldStores } from './held-stores.ts'
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
      this.functions.set('hm_exchange', EXCHANGE)
      return exchange(name, element, cast, toWords(type, 'old')[0], bits)
    }
    if (op === 'atomicStore') {
      const body = `hm_put(p, ${bits}); hm_note(0u);`
      return `fn ${name}(a: u32, v: ${element}) { ${head('_ = hm_replay(); return;', 'return;', 1)} ${body} }`
    }
    const operation = this.held.operation(type, ATOMIC_OPS.find((each) => op === `atomic${each}`) as AtomicOp)
    const body = `let r = ${operation}(p, ${bits}); hm_note(r); return ${cast('r')};`
    const before = head(`return ${cast('hm_replay()')};`, `return ${element}();`, 1)
    return `fn ${name}(a: u32, v: ${element}) -> ${element} { ${before} ${body} }`
  }
}

/** What comes first: in a replay, the result; after a miss or without room for a note, nothing. */
function head(replay: string, nothing: string, words: number): string {
  const isReplay = 'hm_event == 0u && hm_is_replay()'
  return `if (${isReplay}) { ${replay} } let p = hm_w(a); if (!hm_has_room(${words}u)) { ${nothing} }`
}

function exchange(name: string, element: string, cast: (word: string) => string, old: string, bits: string): string {
  const result = `HmExchanged_${element}`
  const replay = `let was = hm_replay(); return ${result}(${cast('was')}, hm_replay() != 0u);`
  return `struct ${result} { old_value: ${element}, exchanged: bool }
fn ${name}(a: u32, old: ${element}, v: ${element}) -> ${result} {
  ${head(replay, `return ${result}();`, 2)}
  let r = hm_exchange(p, ${old}, ${bits});
  if (r.y != 0u) { hm_dirty[p >> hm_page_bits] = 1u; }
  hm_note(r.x);
  hm_note(r.y);
  return ${result}(${cast('r.x')}, r.y != 0u);
}`
}

/** What was there before, and 1 if it was exchanged. */
const EXCHANGE = `fn hm_exchange(p: u32, old: u32, v: u32) -> vec2<u32> {
  let r = atomicCompareExchangeWeak(&hm_pool[p], old, v);
  return vec2<u32>(r.old_value, select(0u, 1u, r.exchanged));
}`
