// Spans: neighbouring elements of an array, of which a kernel that goes through a page table looks only the first one up. For an
// argument `x` of numbers or vectors the code may call
//
//   x_span(i, n)   opens a span at x[i] and returns how many elements it has: n, or fewer where a page ends; 1 at least
//   x_at(k)        element k of the span that was opened last
//   x_put(k, v)    stores there
//
// They are ordinary WGSL, added behind the code that calls them. Through a page table they get other bodies (paged/span-bodies.ts).

import { type Module, type Span, walk } from '../wgsl/index.ts'
import type { KernelArguments } from './argument.ts'

export const SPAN_ROLES = ['span', 'at', 'put'] as const
export type SpanRole = (typeof SPAN_ROLES)[number]

export interface SpanCode {
  /** WGSL to be added to the code; empty if it uses no spans. */
  readonly wgsl: string
  /** Names of the arguments of which spans are used. */
  readonly args: ReadonlySet<string>
}

const ELEMENT = /^(?:[iuf]32|f16|vec[234]<(?:[iuf]32|f16)>)$/

/** What the code wants of its arguments. Calls `fail`, which throws, for spans that there cannot be. */
export function spanCode(
  module: Module,
  args: KernelArguments,
  declared: ReadonlySet<string>,
  fail: (reason: string, span: Span) => never,
): SpanCode {
  const lines = new Map<string, string>()
  const used = new Set<string>()
  for (const declaration of module.declarations) {
    walk(declaration, (node) => {
      const found = 'kind' in node && node.kind === 'ident' ? /^(\w+)_(span|at|put)$/.exec(node.name) : null
      if (found === null || declared.has(found[0]) || Object.hasOwn(args, found[0])) return true
      const [text, name] = found
      const role = found[2] as SpanRole
      const arg = Object.hasOwn(args, name) ? args[name] : undefined
      if (arg?.kind !== 'array') return true
      const { wgsl } = arg.type
      if (!ELEMENT.test(wgsl)) fail(`"${name}" has elements ${wgsl}, and spans are of numbers and vectors`, node)
      if (role === 'at' && arg.access === 'write')
        fail(`"${name}" is declared write, and is read here: declare it readWrite`, node)
      if (role === 'put' && arg.access === 'read') fail(`"${name}" is declared read, and is written here`, node)
      used.add(name)
      lines.set(`${name}_span_first`, `var<private> ${name}_span_first: u32;`)
      lines.set(text, helperWgsl(name, wgsl, role))
      return true
    })
  }
  return { wgsl: [...lines.values()].join('\n'), args: used }
}

/** With bindings of its own a span ends with its array. */
function helperWgsl(name: string, type: string, role: SpanRole): string {
  if (role === 'at') return `fn ${name}_at(k: u32) -> ${type} { return ${name}[${name}_span_first + k]; }`
  if (role === 'put') return `fn ${name}_put(k: u32, v: ${type}) { ${name}[${name}_span_first + k] = v; }`
  return `fn ${name}_span(i: u32, n: u32) -> u32 {
  ${name}_span_first = i;
  if (i >= arrayLength(&${name})) { return u32(n != 0u); }
  let left = arrayLength(&${name}) - i;
  if (n < left) { return n; }
  return left;
}`
}
