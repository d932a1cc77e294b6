// Whether a kernel can go through a page table, and whether it has to, decided from its source alone: when it is made, or when somebody
// wants to know for the first time.

import { WgslError } from '../wgsl/index.ts'
import { KernelError } from './kernel-error.ts'
import type { EntryFacts, KernelSource } from './kernel-source.ts'
import { type CompiledPaged, compilePaged } from './paged/compile-paged.ts'

export const PAGING_OPTIONS = ['auto', 'never', 'require'] as const
export type PagingOption = (typeof PAGING_OPTIONS)[number]

export interface PagingDecision {
  /** Null if it cannot; then `whyNot` says why, at the user's line where there is one. */
  readonly paged: CompiledPaged | null
  readonly whyNot: KernelError | null
}

/** Name of the kernel, and of the entry point if it has several. */
export function nameOf({ text, entries }: KernelSource, { entry }: EntryFacts): string {
  return entries.size > 1 ? `${text.name}.${entry.name}` : text.name
}

/** Why a kernel goes through the page table however much fits, as a phrase; null if it need not. */
export function whyAlwaysPaged({ text, analysis }: KernelSource, { functions }: EntryFacts): string | null {
  if (text.step !== null) return 'it runs in steps'
  return [...functions].some((fn) => fn.module === analysis.prelude) ? 'it follows pointers' : null
}

export function decidePaging(source: KernelSource, facts: EntryFacts, paging: PagingOption): PagingDecision {
  const refuse = (reason: string, error: WgslError | null = null): PagingDecision => {
    const always = whyAlwaysPaged(source, facts)
    const whole = always === null ? reason : `${always}, and cannot go through a page table: ${reason}`
    const options = error === null ? {} : { cause: error }
    return { paged: null, whyNot: new KernelError(whole, source.module.source, error, options) }
  }
  if (paging === 'never') return refuse("its paging is 'never'")
  if (Object.values(source.text.args).some(({ type }) => type.needsF16)) {
    return refuse('two numbers of 16 bits share a word, which cannot be stored alone')
  }
  try {
    const { analysis, constants, spans } = source
    const entry = source.text.step === null ? facts.entry : facts.entry.function
    const options = { analysis, entry, used: new Set(facts.args), spans, constants }
    return { paged: compilePaged({ name: nameOf(source, facts), ...options }), whyNot: null }
  } catch (error) {
    if (!(error instanceof WgslError)) throw error
    return refuse(error.reason, error)
  }
}
