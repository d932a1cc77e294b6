// The front end against a device's compiler, on programs made at random: what the device accepts passes here, with the types that it
// gives; what the device calls a mistake of syntax is one here.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { suiteGpu } from '../../test/helpers/gpu.ts'
import { randomKernel } from '../../test/helpers/random-kernel.ts'
import { analyse } from './analysis.ts'
import { emitModule, fragmentFor, SourceMap } from './emit.ts'
import { tokenize } from './lexer.ts'
import { parseWgsl } from './parser.ts'
import { Source } from './source.ts'
import { concrete, typeText, valueType } from './types.ts'
import { WgslError } from './wgsl-error.ts'

const RESOURCES = `
@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> u: array<u32>;
@group(0) @binding(2) var<storage, read_write> n: array<Cell>;
@group(0) @binding(3) var<storage, read_write> v: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> w: array<Cell>;
@group(0) @binding(6) var<storage, read_write> c: array<atomic<u32>>;
@group(0) @binding(7) var<storage, read_write> d: array<atomic<u32>>;
@group(0) @binding(8) var<uniform> k: u32;
`

function moduleOf(seed: number): string {
  // Each third one follows no pointers, which are no WGSL.
  const { kernel } = randomKernel(3 * seed)
  return `${kernel.structs}${RESOURCES}${kernel.code}`
}

/** The module with the type of every declaration without one written out, and with needless parentheses and line breaks. */
function withTypes(code: string): string {
  const module = parseWgsl(code)
  const analysis = analyse(module)
  return emitModule(module, (node) => {
    if (!('kind' in node) || (node.kind !== 'let' && node.kind !== 'var')) return null
    if (node.type !== null || node.init === null) return null
    const type = typeText(concrete(valueType(analysis.typeOf(node.init))))
    return fragmentFor(
      module.source,
      node,
    )`${node.kind} ${node.name.text}: ${type} =\n  (${module.source.slice(node.init)})`
  }).text
}

// What a compiler says when it does not understand the text at all.
const SYNTAX =
  /expected|unexpected|unterminated|invalid character|reserved|unknown attribute|missing|mixing|not allowed here/
// It says "expected" also about what is a matter of types.
const NO_SYNTAX =
  /expected (?:type|value|'|[a-z]+ (?:argument|of))|type|template|overload|expected at (?:least|most)|const-?expr|cannot|unresolved/

describe('the front end and a device agree', () => {
  const gpu = suiteGpu()

  const complaintOf = async (code: string): Promise<string | null> => {
    const { device } = gpu
    device.pushErrorScope('validation')
    const module = device.createShaderModule({ code })
    const { messages } = await module.getCompilationInfo()
    await device.popErrorScope()
    const first = messages.find(({ type }) => type === 'error')
    return first === undefined ? null : `${first.lineNum}:${first.linePos} ${first.message}`
  }
  const ownComplaint = (code: string): WgslError | null => {
    try {
      analyse(parseWgsl(code))
      return null
    } catch (error) {
      if (error instanceof WgslError) return error
      throw error
    }
  }

  it('on programs and the types in them', async () => {
    for (let seed = 0; seed < 60; seed++) {
      const code = moduleOf(seed)
      expect(await complaintOf(code), `seed ${seed}`).toBeNull()
      const typed = withTypes(code)
      expect(await complaintOf(typed), `seed ${seed}, with types`).toBeNull()
      expect(ownComplaint(typed)).toBeNull()
    }
  }, 60_000)

  it('on programs with a mistake in them', async () => {
    const TOKENS = [
      '(',
      ')',
      '{',
      '}',
      ';',
      ',',
      '+',
      '-',
      '&',
      '|',
      '<',
      '>',
      '=',
      '[',
      ']',
      'if',
      'loop',
      'break',
      'x',
      '1',
      '.',
      '@',
      'let',
      '&&',
      '==',
      ':',
    ]
    let count = { both: 0, neither: 0 }
    const edit = fc.record({
      seed: fc.nat(200),
      at: fc.nat(100_000),
      what: fc.constantFrom('delete', 'double', 'swap', 'replace', 'insert'),
      token: fc.constantFrom(...TOKENS),
    })
    await fc.assert(
      fc.asyncProperty(edit, async ({ seed, at, what, token }) => {
        const code = moduleOf(seed)
        const source = new Source(code)
        const tokens = tokenize(source)
        const chosen = tokens[at % (tokens.length - 2)]
        const next = tokens[(at % (tokens.length - 2)) + 1]
        const text = source.slice(chosen)
        const replaced = {
          delete: ' ',
          double: `${text} ${text}`,
          swap: `${source.slice(next)} ${text}`,
          replace: ` ${token} `,
          insert: `${text} ${token} `,
        }[what]
        const end = what === 'swap' ? next.end : chosen.end
        const changed = code.slice(0, chosen.start) + replaced + code.slice(end)
        const [theirs, ours] = [await complaintOf(changed), ownComplaint(changed)]
        count = {
          both: count.both + Number(theirs !== null && ours !== null),
          neither: count.neither + Number(theirs === null),
        }
        const where = changed.split('\n')[(ours?.line ?? Number(theirs?.split(':')[0] ?? 1)) - 1]
        if (ours !== null) expect(theirs, `refused only here: ${ours.message}`).not.toBeNull()
        if (theirs !== null && SYNTAX.test(theirs) && !NO_SYNTAX.test(theirs)) {
          expect(ours, `refused only there: ${theirs}\n${where}`).not.toBeNull()
        }
      }),
      { numRuns: 300, seed: 5 },
    )
    // Mistakes and harmless changes both happened.
    expect(count.both).toBeGreaterThan(50)
    expect(count.neither).toBeGreaterThan(0)
  }, 120_000)
})

describe('emitModule()', () => {
  it('gives back what it was given, if nothing is replaced', () => {
    for (let seed = 0; seed < 20; seed++) {
      const code = moduleOf(seed)
      expect(emitModule(parseWgsl(code), () => null).text).toBe(code)
    }
  })

  it('leads from new places to old ones', () => {
    const code =
      'fn f() -> u32 {\n  let a = 1u; // one\n  return a + g(a, 2u);\n}\nfn g(a: u32, b: u32) -> u32 { return a * b; }'
    const module = parseWgsl(code)
    const changed = emitModule(module, (node) => {
      return 'kind' in node && node.kind === 'call'
        ? fragmentFor(module.source, node)`a_much_longer_name(${'1u'})`
        : null
    })
    const map = new SourceMap(changed)
    for (const word of ['let a', '// one', 'return a', 'fn g', 'a * b']) {
      expect(map.find(changed.text.indexOf(word))?.offset, word).toBe(code.indexOf(word))
    }
    expect(map.find(changed.text.indexOf('longer'))?.offset).toBe(code.indexOf('g(a'))
  })
})
