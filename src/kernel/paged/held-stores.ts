// How the stores of a transaction wait for its commit, as generated code: in registers, a pair for each place in the code that
// stores, or in a log, besides which there may be registers. Those are numbered in the order in which the places are reached, so that of two stores to the same
// memory the later one wins, at the commit and for loads of the same transaction. In a dry run none waits: the first time they only find
// out whether their pages are there, the second time they happen.

import { type Fragment, generated, type Type, typeText } from '../../wgsl/index.ts'
import { type AtomicMemory, type AtomicOp, BOUND, POOL, plainOperation, signedOperation } from './atomic-memory.ts'
import type { PagedPlan } from './paged-plan.ts'
import { isLeaf, type TypedAccess, toWords } from './typed-access.ts'

/** The place of a register in which nothing waits. */
const NOTHING = '0xffffffffu'

interface Register {
  readonly type: Type
  /** An atomic that waits; null for a store. */
  readonly op: AtomicOp | null
}

type HoldingPlan = Pick<PagedPlan, 'hold' | 'defersAtomics' | 'seeing' | 'bound'>

export class HeldStores {
  /** What its atomics work on. */
  readonly memory: AtomicMemory
  private readonly plan: HoldingPlan
  private readonly typed: TypedAccess
  private readonly registers: Register[] = []
  // Functions that the code calls to hold something back, with their texts.
  private readonly functions = new Map<string, string>()
  /** Operations on words that the commit, or an immediate atomic, needs. */
  private readonly operations = new Map<string, string>()

  constructor(plan: HoldingPlan, typed: TypedAccess) {
    this.plan = plan
    this.memory = plan.bound.size > 0 ? BOUND : POOL
    this.typed = typed
  }

  /** Words of an entry of the log. */
  get logEntryWords(): 0 | 2 | 3 {
    if (this.plan.hold !== 'log') return 0
    return this.plan.defersAtomics ? 3 : 2
  }

  /** The call that stands for a store whose register is beside the log. */
  storeSteadily(type: Type, address: Fragment, value: Fragment): Fragment {
    if (this.plan.hold === 'dry run') return this.store(type, address, value)
    return generated`${this.register({ type, op: null })}(hm_w(${address}), ${value})`
  }

  /** The call that stands for a store here. */
  store(type: Type, address: Fragment, value: Fragment): Fragment {
    if (this.plan.hold === 'dry run') return generated`${this.dryStore(type)}(${address}, ${value})`
    const isWhole = this.plan.hold === 'log' && !isLeaf(type)
    if (isWhole) return generated`${this.typed.log(type, this.plan.defersAtomics)}(${address}, ${value})`
    return this.storeAt(type, generated`${this.typed.check(type)}(${address})`, value)
  }

  /** The same where the address has been translated for writing. Of a leaf if there is a log. */
  storeAt(type: Type, place: Fragment, value: Fragment): Fragment {
    const { hold, defersAtomics } = this.plan
    const keep = hold === 'log' ? this.typed.log(type, defersAtomics) : this.register({ type, op: null })
    return generated`${keep}(${place}, ${value})`
  }

  /** The call that stands for an atomic without result here. */
  atomic(type: Type, op: AtomicOp, address: Fragment, value: Fragment): Fragment {
    if (this.plan.hold === 'dry run') return generated`${this.dryAtomic(type, op)}(${address}, ${value})`
    const keep = this.plan.hold === 'registers' ? this.register({ type, op }) : this.logAtomic(type, op)
    return generated`${keep}(${this.memory === POOL ? generated`hm_w(${address})` : address}, ${value})`
  }

  private dryStore(type: Type): string {
    const check = this.typed.check(type)
    const name = `hm_dry_${check === 'hm_w' ? this.typed.putLeaf(type) : check}`
    const body = isLeaf(type)
      ? `let p = hm_w(a); if (hm_may_store()) { ${this.typed.putLeaf(type)}(p, v); }`
      : `if (hm_may_store()) { ${this.typed.put(type)}(a, v); } else { _ = ${check}(a); }`
    this.functions.set(name, `fn ${name}(a: u32, v: ${typeText(type)}) { ${body} }`)
    return name
  }

  private dryAtomic(type: Type, op: AtomicOp): string {
    const element = typeText(type)
    const name = `hm_dry${op}_${element}`
    const happen = `_ = ${this.operation(type, op)}(p, ${toWords(type, 'v')[0]});`
    const place = `let p = ${this.memory.place('a')};`
    this.functions.set(name, `fn ${name}(a: u32, v: ${element}) { ${place} if (hm_may_store()) { ${happen} } }`)
    return name
  }

  private logAtomic(type: Type, op: AtomicOp): string {
    const element = typeText(type)
    const name = `hm_defer${op}_${element}`
    const call = `hm_log(p, ${toWords(type, 'v')[0]}, ${this.opNumber(type, op)}u);`
    this.functions.set(name, `fn ${name}(p: u32, v: ${element}) { ${call} }`)
    return name
  }

  /** An operation on a word, `(place, word) -> word`, the word that was there before. */
  operation(type: Type, op: AtomicOp): string {
    const isSigned = typeText(type) === 'i32' && (op === 'Max' || op === 'Min')
    const name = `hm_do${op}${isSigned ? '_i32' : ''}`
    this.operations.set(name, isSigned ? signedOperation(name, op, this.memory) : plainOperation(name, op, this.memory))
    return name
  }

  /** Stores and functions, the commit among them. */
  get wgsl(): string {
    const { hold } = this.plan
    const log = hold === 'log' ? this.commitLog() : ''
    const commit = hold === 'dry run' ? DRY_RUN : `fn hm_commit() {\n${this.commitRegisters()}\n${log}\n}`
    const see = this.plan.hold === 'registers' && this.plan.seeing.size > 0 ? this.seeRegisters() : ''
    return [...this.functions.values(), commit, see, ...this.operations.values()]
      .filter((text) => text !== '')
      .join('\n')
  }

  /** What a transaction forgets before the next one of the same invocation. */
  get forgetWgsl(): string {
    const lines = this.registers.map((_, k) => `hm_k${k}_a = ${NOTHING};`)
    if (this.plan.hold === 'log') lines.push('hm_logged = 0u;')
    return `fn hm_forget() { hm_event = 0u; ${lines.join(' ')} }`
  }

  private register(register: Register): string {
    const k = this.registers.push(register) - 1
    const type = typeText(register.type)
    const name = `hm_keep${k}`
    this.functions.set(
      name,
      [
        `var<private> hm_k${k}_a: u32 = ${NOTHING};`,
        `var<private> hm_k${k}_v: ${type};`,
        `fn ${name}(p: u32, v: ${type}) { hm_k${k}_a = p; hm_k${k}_v = v; }`,
      ].join('\n'),
    )
    return name
  }

  private commitRegisters(): string {
    const lines = this.registers.map(({ type, op }, k) => {
      const args = `(hm_k${k}_a, hm_k${k}_v)`
      if (op !== null) {
        const word = toWords(type, `hm_k${k}_v`)[0]
        return `  if (hm_k${k}_a != ${NOTHING}) { _ = ${this.operation(type, op)}(hm_k${k}_a, ${word}); }`
      }
      const put = isLeaf(type) ? this.typed.putLeaf(type) : this.typed.put(type)
      return `  if (hm_k${k}_a != ${NOTHING}) { ${put}${args}; }`
    })
    return lines.join('\n')
  }

  private commitLog(): string {
    const cases = [...this.opNumbers].map(([name, number]) => `case ${number}u: { _ = ${name}(p, v); }`)
    const op =
      cases.length === 0 ? 'hm_put(p, v);' : `switch hm_entry(e, 2u) { ${cases.join(' ')} default: { hm_put(p, v); } }`
    return `  for (var e = 0u; e < 0xffffffffu; e++) {
    if (e >= hm_logged) { break; }
    let p = hm_entry(e, 0u);
    let v = hm_entry(e, 1u);
    ${op}
  }`
  }

  private readonly opNumbers = new Map<string, number>()

  private opNumber(type: Type, op: AtomicOp): number {
    const name = this.operation(type, op)
    const number = this.opNumbers.get(name) ?? this.opNumbers.size + 1
    this.opNumbers.set(name, number)
    return number
  }

  /** A word as the stores that wait would leave it. */
  private seeRegisters(): string {
    const lines = this.registers.flatMap(({ type, op }, k) => {
      if (op !== null || !isLeaf(type)) return []
      const words = toWords(type, `hm_k${k}_v`)
      return words.map((word, i) => `  v = select(v, ${word}, hm_k${k}_a != ${NOTHING} && p == hm_k${k}_a + ${i}u);`)
    })
    return `fn hm_see(p: u32, w: u32) -> u32 {\n  var v = w;\n${lines.join('\n')}\n  return v;\n}`
  }
}

// The entry point sets it before it calls the user's for the second time. That goes the way of the first, which was stopped by nothing; whatever
// compilers make of two copies of the same code, nothing is stored where it may not be.
const DRY_RUN = `var<private> hm_is_real: bool;
fn hm_may_store() -> bool { return hm_is_real && !hm_is_stopped(); }`
