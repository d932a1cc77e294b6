// Which kernels are run dry first, what such a run leaves where something goes wrong, and stores for which no log has room.

import { describe, expect, it } from 'vitest'
import { suiteGpu } from '../../../test/helpers/gpu.ts'
import { KERNELS } from '../../../test/helpers/paged-kernels/index.ts'
import { body } from '../../../test/helpers/paged-kernels/table.ts'
import { compileKernel, fill, runPaged } from '../../../test/helpers/paged-run.ts'

describe('compilePaged() runs kernels dry', () => {
  it('that store much and read nothing of it', () => {
    for (const kernel of KERNELS['dry runs']) {
      const { how, logEntryWords } = compileKernel(kernel).program
      expect([kernel.name, logEntryWords, how]).toEqual([kernel.name, 0, expect.stringMatching(/ follow a dry run$/)])
    }
  })

  const args = { u: 'read u32', v: 'u32', c: 'atomic<u32>' }
  const LOGGED: readonly (readonly [why: string, text: string])[] = [
    ['it reads what it writes', 'for (var k = 0u; k < 16u; k++) { v[i * 16u + k] = v[i] + k; }'],
    ['it updates', 'for (var k = 0u; k < 16u; k++) { v[i * 16u + k] += k; }'],
    ['it reads what it writes later', 'let a = v[0]; for (var k = 0u; k < 16u; k++) { v[i * 16u + k] = a; }'],
    ['it asks an atomic', 'for (var k = 0u; k < 16u; k++) { v[atomicAdd(&c[0], 1u)] = k; }'],
    [
      'it loads an atomic that it changes',
      'for (var k = 0u; k < 16u; k++) { v[k] = atomicLoad(&c[0]); } atomicAdd(&c[1], 1u);',
    ],
    ['registers hold it', 'for (var k = 0u; k < 8u; k++) { v[i * 8u + k] = k; }'],
    [
      'a loop only reads',
      'var s = 0u; for (var k = 0u; k < 99u; k++) { s += u[k]; } for (var k = 0u; k < 16u; k++) { v[i * 16u + k] = s; }',
    ],
  ]
  it.each(LOGGED)('but not if %s', (_, text) => {
    const { how, logEntryWords } = compileKernel(
      body('logged', args, `${text} _ = u[0]; atomicAdd(&c[2], v[0] * 0u);`),
    ).program
    expect(how).not.toContain('dry run')
    expect(logEntryWords).toBeGreaterThan(0)
  })

  it('counts the turns of loops, as far as they can be known', () => {
    const isDry = (text: string): boolean => {
      return compileKernel(body('counted', { u: 'read u32', v: 'u32' }, `${text} _ = u[0];`)).program.how !== null
    }
    expect(isDry('for (var k = 0u; k < 8u; k++) { v[k] = i; }')).toBe(false)
    expect(isDry('for (var k = 4; k < 12; k++) { v[k] = i; }')).toBe(false)
    expect(isDry('for (var k = 0u; k < 9u; k++) { v[k] = i; }')).toBe(true)
    expect(isDry('for (var a = 0u; a < 2u; a++) { for (var k = 0u; k < 4u; k++) { v[k] = i; } }')).toBe(false)
    expect(isDry('for (var a = 0u; a < 3u; a++) { for (var k = 0u; k < 4u; k++) { v[k] = i; } }')).toBe(true)
    expect(isDry('for (var k = 0u; k < 8u; k++) { v[k] = i; k--; if (u[k] == 1u) { break; } }')).toBe(true)
    expect(isDry('for (var k = 0u; k < u[i]; k++) { v[k] = i; }')).toBe(true)
  })

  it('but no workgroups, and no steps', () => {
    const shared = body(
      'shared',
      { u: 'read u32', v: 'u32' },
      't[0] = u[0]; for (var k = 0u; k < 16u; k++) { v[k] = t[0]; }',
      {
        module: 'var<workgroup> t: array<u32, 4>;',
      },
    )
    expect(compileKernel(shared).program).toMatchObject({ scope: 'workgroup', how: null, logEntryWords: 2 })
    const code =
      'fn go(id: vec3u, s: ptr<function, u32>) -> bool { for (var k = 0u; k < 16u; k++) { v[k] = u[k]; } return false; }'
    const step = { name: 'step', step: 'go', code, args: { u: 'read u32', v: 'u32' }, extent: [4] as const }
    expect(compileKernel(step).program).toMatchObject({ scope: 'step', how: null, logEntryWords: 2 })
  })
})

describe('a dry run', () => {
  const gpu = suiteGpu()

  it('needs no room for what is stored, where a log would', async () => {
    const text = (own: string) => `for (var k = 0u; k < 4096u; k++) { v[k] = ${own} + k; } _ = u[0];`
    const contents = { u: fill(64, 1), v: fill(4096, 2) }
    const options = { extent: [1] as const, contents }
    const few = { frames: 64, scratchBytesMax: 1024 }
    const dry = await runPaged(
      gpu.device,
      body('dry', { u: 'read u32', v: 'u32' }, text('u[i]'), options),
      contents,
      few,
    )
    expect(dry.contents['v']).toEqual(Uint32Array.from({ length: 4096 }, (_, k) => contents.u[0] + k))
    const logged = body('logged', { u: 'read u32', v: 'u32' }, text('v[i]'), options)
    await expect(runPaged(gpu.device, logged, contents, few)).rejects.toMatchObject({ reason: 'store-count' })
  })

  it('is held to what it found: a miss between the stores ends the launch by name', async () => {
    const kernel = body(
      'torn',
      { u: 'read u32', v: 'u32' },
      'for (var k = 0u; k < 16u; k++) { v[i * 16u + k] = u[i]; }',
      {
        extent: [64],
      },
    )
    const contents = { u: fill(64, 1), v: new Uint32Array(1024) }
    // No kernel does this: what is run the second time is changed by hand.
    const tear = (wgsl: string) => wgsl.replace('hm_is_real = true;', '$& if (hm_id == 40u) { _ = hm_r(0u); }')
    for (const isWarm of [false, true]) {
      const running = runPaged(gpu.device, kernel, contents, { fraction: 1, isWarm, change: tear })
      await expect(running).rejects.toMatchObject({
        reason: 'torn',
        message: 'GPU fault: kernel "torn" missed a page between its stores, though it had found all of them before',
      })
    }
  })

  it('stores nothing of an invocation that fails late, and all of those that ended', async () => {
    const text =
      'for (var k = 0u; k < 16u; k++) { let at = 16u * i + k; v[at + select(0u, 9000u, at == 700u)] = u[i]; atomicAdd(&c[i], 1u); }'
    const kernel = body('late', { u: 'read u32', v: 'u32', c: 'atomic<u32>' }, text, { extent: [64] })
    expect(compileKernel(kernel).program.how).toBe('its atomics follow a dry run')
    const memory: { v?: Uint32Array; c?: Uint32Array } = {}
    for (const isWarm of [false, true]) {
      const contents = { u: fill(64, 1).map((n) => n | 1), v: new Uint32Array(1024), c: new Uint32Array(64) }
      const onEnd = (after: Readonly<Record<string, Uint32Array>>): void => {
        Object.assign(memory, after)
      }
      const running = runPaged(gpu.device, kernel, contents, { fraction: 0.5, isWarm, onFault: onEnd })
      await expect(running).rejects.toMatchObject({
        code: 'GPU_FAULT',
        message: expect.stringContaining('invocation 43,0,0 wrote "v"[9700], which has 1024 elements'),
      })
      for (let i = 0; i < 64; i++) {
        const row = memory.v!.subarray(16 * i, 16 * i + 16)
        const count = memory.c![i]
        expect([0, 16]).toContain(count)
        expect(
          row.every((word) => word === (count === 16 ? contents.u[i] : 0)),
          `invocation ${i}`,
        ).toBe(true)
      }
      expect(memory.c![43]).toBe(0)
    }
  })
})
