import { describe, expect, it } from 'vitest'
import { readWrite } from './argument.ts'
import { f16, u32 } from './data-type.ts'
import { kernel } from './kernel.ts'
import { KernelError } from './kernel-error.ts'

const spec = (code: string, paging: 'auto' | 'never' | 'require' = 'auto') =>
  ({ name: 'k', args: { x: readWrite(u32) }, code, paging }) as const

/** A kernel with a barrier that may not be reached. */
const LOCKED = `@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (x[0] > 1u) { workgroupBarrier(); }
  x[id.x] = 1u;
}`
const SIMPLE = '@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { x[id.x] += 1u; }'

describe('Kernel.whyNotPaged', () => {
  it('is known without a device, with line and column', () => {
    expect(kernel(spec(SIMPLE)).whyNotPaged).toBe(null)
    const why = kernel(spec(LOCKED)).whyNotPaged
    expect(why).toBeInstanceOf(KernelError)
    expect(why).toMatchObject({ kernel: 'k', line: 3, column: 20 })
    expect(why?.reason).toMatch(/^a barrier depends on the condition in line 3/)
    expect(why?.message).toContain('  if (x[0] > 1u) { workgroupBarrier(); }')
  })

  it('is what was asked for, or what the arguments are, where the code is not the reason', () => {
    expect(kernel(spec(SIMPLE, 'never')).whyNotPaged).toMatchObject({ reason: "its paging is 'never'", line: null })
    const halves = kernel({ args: { x: readWrite(f16) }, code: SIMPLE.replace('1u', '1.0h') })
    expect(halves.whyNotPaged?.reason).toMatch(/two numbers of 16 bits/)
  })

  it('is that of the entry point', () => {
    const both = kernel(spec(`${LOCKED.replace('main', 'locked')}\n${SIMPLE.replace('main', 'simple')}`))
    expect(both.entry('simple').whyNotPaged).toBe(null)
    expect(both.entry('locked').whyNotPaged).toMatchObject({ line: 3 })
    expect(() => both.whyNotPaged).toThrow('k has the entry points locked, simple: choose one with kernel.entry(name)')
  })
})

describe("kernel({ paging: 'require' })", () => {
  it('takes what can go through a page table', () => {
    expect(kernel(spec(SIMPLE, 'require')).paging).toBe('require')
  })

  it('throws for what cannot, also for an entry point that is chosen later', () => {
    expect(() => kernel(spec(LOCKED, 'require'))).toThrow(/^k:3:20: a barrier depends on/)
    const both = kernel(spec(`${LOCKED.replace('main', 'locked')}\n${SIMPLE.replace('main', 'simple')}`, 'require'))
    expect(both.entry('simple').whyNotPaged).toBe(null)
    expect(() => both.entry('locked')).toThrow(KernelError)
  })
})

describe('a kernel that has to go through a page table', () => {
  it('is refused when it is made, with the line', () => {
    const code = `var<private> n: u32;
fn go(id: vec3u, s: ptr<function, u32>) -> bool { n++; x[0] = n; return false; }`
    const make = () => kernel({ name: 'k', step: 'go', args: { x: readWrite(u32) }, code })
    expect(make).toThrow(/^k:2:51: it runs in steps, and cannot go through a page table: "n" is gone after a step/)
    const never = () => kernel(spec('@compute @workgroup_size(1) fn main() { x[0] = loadU32(x[1]); }', 'never'))
    expect(never).toThrow("k: it follows pointers, and cannot go through a page table: its paging is 'never'")
  })
})
