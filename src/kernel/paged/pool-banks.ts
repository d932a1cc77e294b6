// A pool in several buffers, where one may not be as large. Bindings cannot be indexed, so every function that touches the pool gets a
// copy for each further buffer, and begins by finding out which one it is:
//
//   fn hm_word(p: u32) -> u32 { if (p >= 512u) { return hm_word_1(p); } return hm_word_0(p); }
//   fn hm_word_1(p: u32) -> u32 { return hm_pool1[p - 512u]; }
//
// The code of a program is that for one buffer; a device with several changes it before it is compiled.

import { PAGED_BINDINGS } from './paged-program.ts'

export interface PoolBanks {
  /** Buffers of the pool, 1 or more. */
  readonly count: number
  /** Words of each but the last one, which may be shorter. */
  readonly words: number
}

/** Storage buffers of a program besides its pool and what it has bound directly, at most. */
export const OTHER_BUFFERS = 5

export function withBanks(wgsl: string, { count, words }: PoolBanks): string {
  if (count === 1) return wgsl
  const further = Array.from({ length: count - 1 }, (_, i) => i + 1)
  const declared = wgsl.replace(
    /^@group\(0\) @binding\(\d+\)( var<storage, read_write> hm_pool)(: .*;)$/m,
    (line, name, type) => {
      return [line, ...further.map((k) => `@group(0) @binding(${PAGED_BINDINGS.banks + k})${name}${k}${type}`)].join(
        '\n',
      )
    },
  )
  return declared.replace(
    /^fn (\w+)\(p: u32([^)]*)\)( -> \w+(?:<u32>)?)? (\{.*\}|\{\n[\s\S]*?\n\})$/gm,
    (text, name, params, result, body) => {
      if (!body.includes('hm_pool[p]')) return text
      const head = (copy: string): string => `fn ${copy}(p: u32${params})${result ?? ''} `
      const args = ['p', ...[...params.matchAll(/(\w+):/g)].map(([, param]) => param)].join(', ')
      const call = (k: number): string =>
        result === undefined ? `${name}_${k}(${args}); return;` : `return ${name}_${k}(${args});`
      const choice = further.map((k) => `if (p >= ${k * words}u) { ${call(k)} }`).reverse()
      const copies = [0, ...further].map((k) => {
        const place = k === 0 ? 'hm_pool[p]' : `hm_pool${k}[p - ${k * words}u]`
        return `${head(`${name}_${k}`)}${body.replaceAll('hm_pool[p]', place)}`
      })
      return [`${head(name)}{ ${choice.join(' ')} ${call(0)} }`, ...copies].join('\n')
    },
  )
}
