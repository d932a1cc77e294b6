// Spans through a page table: what `x_span`, `x_at` and `x_put` do there (../spans.ts). The place of the span in the pool is kept in
// variables that no kernel can name, and an element that is not of the span ends the launch, so no place can be made up. Pages stay
// where they are as long as a dispatch lasts, and a span does not outlive its invocation.
//
//   let n = x_span(i, 16u);                          checks i, looks the page up, n: as far as page and array go
//   for (var k = 0u; k < n; k++) { s += x_at(k); }   a comparison and a load

import { type FunctionInfo, type Node, type Type, typeText } from '../../wgsl/index.ts'
import type { HeapAccess } from './heap-access.ts'
import type { PagedPlan } from './paged-plan.ts'
import type { PagedSite } from './paged-program.ts'
import { PAGE_BITS_OVERRIDE } from './paged-program.ts'
import { strideWords, type TypedAccess } from './typed-access.ts'

export interface SpanSite {
  readonly plan: PagedPlan
  readonly typed: TypedAccess
  readonly access: HeapAccess
  /** Arguments in the order of the launch block. */
  readonly argNames: readonly string[]
  /** Those of which spans are used. */
  readonly spans: ReadonlySet<string>
  /** The number of a place in the code. */
  site(node: Node, kind: PagedSite['kind'], roots: ReadonlySet<number>): number
}

export class SpanBodies {
  private readonly on: SpanSite

  constructor(on: SpanSite) {
    this.on = on
  }

  /** Variables that the bodies use. */
  get wgsl(): string {
    const { spans, argNames } = this.on
    return [...spans]
      .map(
        (name) =>
          `var<private> hm_span${argNames.indexOf(name)}: vec2<u32>; // its place in the pool, and its elements`,
      )
      .join('\n')
  }

  /** The function as WGSL, null for every function that belongs to no span, or does better as it is. */
  textOf(fn: FunctionInfo): string | null {
    const [, name = '', role] = /^(\w+)_(span|at|put)$/.exec(fn.name) ?? []
    if (role === undefined || !this.on.spans.has(name)) return null
    const arg = this.on.argNames.indexOf(name)
    if (role === 'span') return this.open(fn, name, arg)
    if (role === 'at') return this.load(fn, name, arg)
    // A store that waits in a register looks its page up by itself.
    return this.on.plan.hold === 'log' ? this.store(fn, name, arg) : null
  }

  private open(fn: FunctionInfo, name: string, arg: number): string {
    const { site, access } = this.on
    const isWritten = [...access.functions].some((other) => other.name === `${name}_put`)
    const stride = strideWords(this.elementOf(name))
    return `fn ${fn.name}(i: u32, n: u32) -> u32 {
  let a = hm_at${arg}(i, ${stride}u, ${site(this.firstCall(fn), 'address', new Set([arg]))}u);
  let end = (1u << ${PAGE_BITS_OVERRIDE}) - (a & ((1u << ${PAGE_BITS_OVERRIDE}) - 1u));
  hm_span${arg} = vec2<u32>(${isWritten ? 'hm_w' : 'hm_r'}(a), min(n, min(end / ${stride}u, hm_launch.args[${arg}].y - i)));
  ${name}_span_first = i;
  return hm_span${arg}.y;
}`
  }

  private load(fn: FunctionInfo, name: string, arg: number): string {
    const { typed, plan } = this.on
    const type = this.elementOf(name)
    const [node] = plan.execution.events.flatMap((event) => (event.fn === fn ? [event.node] : []))
    const flags = { seeing: plan.seeing.has(node), noted: plan.noted.has(node) }
    return `fn ${fn.name}(k: u32) -> ${typeText(type)} { ${this.place(fn, type, arg)} return ${typed.loadPlace(type, flags)}(p); }`
  }

  private store(fn: FunctionInfo, name: string, arg: number): string {
    const { typed, plan } = this.on
    const type = this.elementOf(name)
    return `fn ${fn.name}(k: u32, v: ${typeText(type)}) { ${this.place(fn, type, arg)} ${typed.log(type, plan.defersAtomics)}(p, v); }`
  }

  private place(fn: FunctionInfo, type: Type, arg: number): string {
    const site = this.on.site(this.firstCall(fn), 'span', new Set([arg]))
    return `let is_bad = k >= hm_span${arg}.y; hm_refuse(is_bad, k, ${site}u); let p = select(hm_span${arg}.x + k * ${strideWords(type)}u, 0u, is_bad);`
  }

  /** Where the user calls the function first: what its mistakes are told with. */
  private firstCall(fn: FunctionInfo): Node {
    const calls = [...this.on.access.functions].flatMap((caller) => caller.calls.filter(({ callee }) => callee === fn))
    return calls.map(({ call }) => call).sort((a, b) => a.start - b.start)[0] ?? fn.node
  }

  private elementOf(name: string): Type {
    const declaration = this.on.access.analysis.globals.get(name)
    const store =
      declaration?.kind === 'variable' && declaration.type.kind === 'reference' ? declaration.type.store : null
    if (store?.kind !== 'array') throw new TypeError(`"${name}" is no array`)
    return store.element
  }
}
