import { describe, expect, it } from 'vitest'
import { compileKernel, type TestKernel } from '../../../test/helpers/paged-run.ts'
import { WgslError } from '../../wgsl/index.ts'
import type { PagedProgram } from './paged-program.ts'

const PARAMS =
  '@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) l: u32, @builtin(workgroup_id) g: vec3u'
const args = { x: 'read u32', y: 'u32', c: 'atomic<u32>' }

/** Line 1 is for the module, line 4 for the body. */
function kernel(body: string, options: Partial<TestKernel> & { module?: string; params?: string } = {}): TestKernel {
  const { module = '', params = PARAMS, ...rest } = options
  const code = `${module}\n@compute @workgroup_size(64)\nfn main(${params}) { let i = id.x;\n${body}\n}`
  return { name: 'k', code, args, extent: [64], ...rest }
}

const compiled = (body: string, options: Parameters<typeof kernel>[1] = {}): PagedProgram =>
  compileKernel(kernel(body, options)).program

const WORKGROUP = { module: 'var<workgroup> t: array<u32, 64>; var<workgroup> a: atomic<u32>;' }

describe('compilePaged() says why a kernel cannot run paged, and where', () => {
  const REFUSED: readonly [name: string, kernel: TestKernel, message: RegExp, line: number, column: number][] = [
    ['subgroup functions', kernel('y[i] = subgroupAdd(x[i]);'), /^subgroupAdd works across invocations/, 4, 8],
    ['quad functions', kernel('y[i] = quadSwapX(x[i]);'), /^quadSwapX works across invocations/, 4, 8],
    [
      'subgroup ids',
      kernel('y[0] = s + x[0];', {
        params: '@builtin(global_invocation_id) id: vec3u, @builtin(subgroup_invocation_id) s: u32',
      }),
      /^subgroup_invocation_id depends on which invocations run together/,
      3,
      51,
    ],
    [
      'halves of words',
      {
        ...kernel('h[i] = h[i] * 2.0h;'),
        code: `enable f16;\n${kernel('h[i] = h[i] * 2.0h;').code}`,
        args: { h: 'f16' },
      },
      /^two numbers of 16 bits share a word/,
      5,
      8,
    ],
    [
      'bindings of its own',
      kernel('y[i] = z[i] + x[i];', { module: '@group(1) @binding(0) var<storage> z: array<u32>;' }),
      /^"z" is a binding of its own/,
      1,
      1,
    ],
    [
      'hidden builtin names',
      kernel('y[i] = min(x[i], 4u);', { module: 'fn min(a: u32, b: u32) -> u32 { return a; }' }),
      /^"min" hides a builtin name/,
      1,
      4,
    ],
    [
      'names of the library',
      kernel('y[i] = hm_x(x[i]);', { module: 'fn hm_x(a: u32) -> u32 { return a; }' }),
      /^"hm_x": names that begin with hm_/,
      1,
      4,
    ],
    [
      'a barrier under a loaded condition',
      kernel('if (x[0] > 4u) { workgroupBarrier(); }'),
      /^a barrier depends on the condition in line 4/,
      4,
      18,
    ],
    [
      'a barrier under a condition that was loaded before',
      kernel('let n = x[0]; var k = 0u; if (n > 3u) { k = 1u; } if (k == 1u) { workgroupBarrier(); }'),
      /^a barrier depends on/,
      4,
      66,
    ],
    [
      'a barrier in a function under a loaded condition',
      kernel('if (x[0] > 4u) { meet(); }', { module: 'fn meet() { workgroupBarrier(); }' }),
      /^a barrier depends on/,
      4,
      18,
    ],
    [
      'a barrier in a loop of loaded length',
      kernel('for (var k = 0u; k < x[0]; k++) { workgroupBarrier(); }'),
      /^a barrier depends on/,
      4,
      35,
    ],
    [
      'a barrier in a loop that is left for what was loaded',
      kernel('loop { if (x[i] == 1u) { break; } workgroupBarrier(); }'),
      /^a barrier depends on/,
      4,
      35,
    ],
    [
      'a barrier in a loop that shared memory ends',
      kernel('t[l] = x[i]; loop { if (workgroupUniformLoad(&t[0]) == 0u) { break; } }', WORKGROUP),
      /^a barrier depends on/,
      4,
      25,
    ],
    [
      'stores that a barrier makes visible',
      kernel('y[i] = x[i]; storageBarrier(); y[i] = y[i ^ 1u];'),
      /^what line 4 accesses is stored before this barrier/,
      4,
      14,
    ],
    [
      'stores that a barrier in a loop makes visible',
      kernel('for (var k = 0u; k < 3u; k++) { y[i] += x[i]; storageBarrier(); }'),
      /stored before this barrier/,
      4,
      47,
    ],
    [
      'heap atomics that depend on workgroup atomics',
      kernel('let k = atomicAdd(&a, 1u); if (k == 63u) { y[0] = atomicAdd(&c[0], 1u); }', WORKGROUP),
      /^the result of this atomic differs/,
      4,
      9,
    ],
    [
      'locks',
      kernel('while (!atomicCompareExchangeWeak(&c[0], 0u, 1u).exchanged) { } y[i] = x[i]; atomicStore(&c[0], 0u);'),
      /^this loop waits for another invocation/,
      4,
      1,
    ],
    [
      'spinning on a flag',
      kernel('loop { if (atomicLoad(&c[i]) != 0u) { break; } } y[i] = x[i];'),
      /^this loop waits for another invocation/,
      4,
      1,
    ],
    [
      'spinning with exchange',
      kernel('while (atomicExchange(&c[0], 1u) == 1u) { } y[i] = x[i];'),
      /^this loop waits/,
      4,
      1,
    ],
  ]
  for (const [name, refused, message, line, column] of REFUSED) {
    it(name, () => {
      let thrown: unknown
      try {
        compileKernel(refused)
      } catch (error) {
        thrown = error
      }
      expect(thrown).toBeInstanceOf(WgslError)
      const { kind, reason } = thrown as WgslError
      expect({ kind, line: (thrown as WgslError).line, column: (thrown as WgslError).column }).toEqual({
        kind: 'paging',
        line,
        column,
      })
      expect(reason).toMatch(message)
    })
  }
})

describe('compilePaged() takes what looks like what it refuses', () => {
  const TAKEN: readonly [name: string, kernel: TestKernel][] = [
    [
      'a barrier under a uniform condition',
      kernel('if (n > 4u) { workgroupBarrier(); } y[i] = x[i];', { uniforms: { n: ['u32', 5] } }),
    ],
    [
      'a barrier in a counted loop',
      kernel('for (var k = 0u; k < 4u; k++) { t[l] = x[k]; workgroupBarrier(); } y[i] = t[l];', WORKGROUP),
    ],
    ['stores before a barrier that nobody looks at behind it', kernel('y[i] = x[i]; storageBarrier(); _ = x[0];')],
    [
      'loops that try again with what they learnt',
      kernel(
        'loop { let old = atomicLoad(&c[0]); if (atomicCompareExchangeWeak(&c[0], old, old + 1u).exchanged) { break; } }',
      ),
    ],
    [
      'loops that try the next place',
      kernel('var k = i; while (!atomicCompareExchangeWeak(&c[k], 0u, 1u).exchanged) { k++; }'),
    ],
    [
      'loops that try for some time',
      kernel('for (var k = 0u; k < 9u; k++) { if (atomicLoad(&c[0]) == 1u) { break; } } y[i] = 1u;'),
    ],
    [
      'functions that nobody calls',
      kernel('y[i] = x[i];', { module: 'fn unused(a: u32) -> u32 { return subgroupAdd(a); }' }),
    ],
    ['local names of builtin functions', kernel('let min = x[i]; y[i] = min;')],
  ]
  for (const [name, taken] of TAKEN) {
    it(name, () => {
      expect(compileKernel(taken).program.wgsl).toContain('fn hm_main')
    })
  }
})

describe('compilePaged() decides', () => {
  it('what a transaction is', () => {
    expect(compiled('y[i] = x[i];').scope).toBe('invocation')
    expect(compiled('workgroupBarrier(); y[i] = x[i];').scope).toBe('workgroup')
    expect(compiled('t[l] = x[i]; y[i] = t[l];', WORKGROUP).scope).toBe('workgroup')
    expect(compiled('y[i] = x[i] + g.x + l;').scope).toBe('invocation')
  })

  it('where stores wait', () => {
    expect(compiled('y[i] = x[i];').logEntryWords).toBe(0)
    expect(compiled('for (var k = 0u; k < 4u; k++) { y[i + k] = x[i]; }').logEntryWords).toBe(2)
    expect(compiled('for (var k = 0u; k < 4u; k++) { y[i + k] = x[i]; } atomicAdd(&c[0], 1u);').logEntryWords).toBe(3)
    expect(compiled('f(i); f(i + 1u);', { module: 'fn f(k: u32) { y[k] = x[k]; }' }).logEntryWords).toBe(0)
  })

  it('what goes in the journal', () => {
    expect(compiled('atomicAdd(&c[0], 1u); y[i] = x[i];').hasJournal).toBe(false)
    expect(compiled('y[i] = atomicLoad(&c[i]);').hasJournal).toBe(false)
    expect(compiled('y[i] = atomicAdd(&c[0], 1u);').hasJournal).toBe(true)
    const { wgsl } = compiled('let a = x[i]; let b = y[i]; y[i] = a + b + atomicAdd(&c[0], 1u);')
    expect(wgsl).toContain('let a = hm_ld_u32(')
    expect(wgsl).toContain('let b = hm_ld_u32_once(')
  })

  it('which loads look at stores that wait', () => {
    const { wgsl } = compiled('let a = y[i]; y[i] = a + x[i]; let b = y[i]; y[i] = b + x[i];')
    expect(wgsl).toContain('let a = hm_ld_u32(')
    expect(wgsl).toContain('let b = hm_ld_u32_see(')
    expect(wgsl).toMatch(/b \+ hm_ld_u32\(/)
  })

  it('keeps the lines of the user', () => {
    const lines = compiled('y[i] = // here\n  x[i];\n\n  y[i]++;').wgsl.split('\n')
    expect(lines[3]).toContain('hm_keep0(')
    expect(lines[6]).toContain('hm_keep1(hm_p,')
  })
})

describe('compilePaged() knows of loops', () => {
  const rows = (body: string): PagedProgram =>
    compiled(`for (var k = x[i]; k < x[i + 1u]; k++) { ${body} }`, { args: { ...args, z: 'u32', w: 'read u32' } })

  it('that a store to an element which the code names needs no log', () => {
    const text = rows('if (w[k] == 0u) { z[0] = 1u; }')
    expect(text.logEntryWords).toBe(0)
    expect(text.wgsl).toContain('hm_keep0(hm_w(hm_site(hm_at')
    for (const body of ['z[0] = z[0] + w[k];', 'z[0] += w[k];', 'z[0] = w[k]; z[1] = 2u;', 'z[w[k]] = 1u;']) {
      expect(rows(`${body} y[k] = w[k] + y[k + 1u];`).wgsl, body).not.toContain('hm_keep0')
    }
  })

  it('that the end of rows is loaded once, unless the loop stores to it', () => {
    const { wgsl } = rows('z[0] = w[k];')
    expect(wgsl).toMatch(/let hm_end = .*for \(var k = hm_first; k < 0xffffffffu; k\+\+\) \{ if \(\(k >= hm_end\) \|/)
    const own = compiled('for (var k = 0u; k < y[i]; k++) { y[0] += w[k]; }', { args: { ...args, w: 'read u32' } })
    expect(own.wgsl).not.toContain('hm_end ')
  })

  it('that few turns come to an end, whatever has gone wrong', () => {
    const ends = (loop: string): string =>
      /(?:if \(!hm_optimistic\) \{ )?if \([^{]*hm_ends\(/.exec(compiled(loop).wgsl)?.[0] ?? ''
    expect(ends('for (var k = 0u; k < 64u; k++) { y[i] = x[y[i]]; }')).toBe('if (!hm_optimistic) { if (hm_ends(')
    expect(ends('for (var k = 0u; k < 6400u; k++) { y[i] = x[y[i]]; }')).toBe('if (hm_ends(')
    expect(ends('for (var k = i; k < 64u; k++) { y[i] = x[y[i]]; }')).toBe('if ((k >= (64u)) | hm_ends(')
    expect(ends('while (x[i] == 0u) { y[i] = x[y[i]]; }')).toBe('if (hm_ends(')
  })

  it('what they access besides their rows', () => {
    // x, y, c, z, w are 0 to 4.
    expect(rows('z[0] = w[k];').rows).toEqual([0b01000])
    expect(rows('let v = w[k]; z[0] = v + x[v];').rows).toEqual([0b01001])
    expect(rows('y[k] = w[k] + x[0];').rows).toEqual([0b00001])
    expect(compiled('y[i] = x[i];').rows).toEqual([])
  })
})
