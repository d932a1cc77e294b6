// Kernels that do what they may not, or need what is not there: nothing is changed that they may not change, and the error has a name.

import { describe, expect, it } from 'vitest'
import { suiteGpu } from '../../../test/helpers/gpu.ts'
import { PagedMemory } from '../../../test/helpers/paged-memory.ts'
import {
  compileKernel,
  fill,
  type PagedTestOptions,
  runPaged,
  type TestKernel,
} from '../../../test/helpers/paged-run.ts'
import { GpuFaultError } from './gpu-fault-error.ts'
import { PagedDispatch } from './paged-dispatch.ts'
import { createPagedPipeline, PagedPipelineError } from './paged-pipeline.ts'

const N = 256
const main = (body: string): string =>
  `@compute @workgroup_size(64)\nfn main(@builtin(global_invocation_id) id: vec3u) {\n  let i = id.x;\n  ${body}\n}`

function hostile(body: string, options: Partial<TestKernel> = {}): TestKernel {
  return { name: 'hostile', code: main(body), args: { x: 'read u32', y: 'u32' }, extent: [N], ...options }
}

describe('hostile kernels', () => {
  const gpu = suiteGpu()

  const faultOf = async (kernel: TestKernel, options: PagedTestOptions = {}): Promise<GpuFaultError> => {
    const contents = Object.fromEntries(Object.keys(kernel.args).map((name, i) => [name, fill(N, i, 'small', N)]))
    const error = await runPaged(gpu.device, kernel, contents, { frames: 8, ...options }).then(
      () => null,
      (thrown: unknown) => thrown,
    )
    expect(error).toBeInstanceOf(GpuFaultError)
    return error as GpuFaultError
  }

  it('names the array, the index and the line of an index past the end', async () => {
    const error = await faultOf(hostile('y[i] = x[i];\n  if (i == 200u) { y[i + 100u] = 1u; }'))
    expect(error.message).toBe(
      'GPU fault: kernel "hostile" invocation 200,0,0 wrote "y"[300], which has 256 elements, in line 5',
    )
    expect(error).toMatchObject({
      code: 'GPU_FAULT',
      reason: 'index',
      kernel: 'hostile',
      invocation: [200, 0, 0],
      value: 300,
    })
    expect(error.site).toMatchObject({ line: 5, column: 20, kind: 'store', arg: 'y' })
  })

  it('names negative indices', async () => {
    const error = await faultOf(hostile('let k = i32(i) - 1; y[i] = x[k];'))
    expect(error.message).toContain('invocation 0,0,0 read "x"[-1], which has 256 elements')
  })

  it('sees indices that overflow on their way to bytes', async () => {
    const error = await faultOf(hostile('y[i] = x[(i + 1u) * 0x40000000u];'))
    expect(error.reason).toBe('index')
  })

  it('sees an index past the end of an array inside of an element', async () => {
    const kernel = hostile('y[i] = m[i / 16u].w[i % 9u];', {
      structs: 'struct M { w: array<u32, 8> }',
      args: { m: 'read M', y: 'u32' },
    })
    expect((await faultOf(kernel)).message).toMatch(/read "m"\[8\], past the end of an array in it/)
  })

  it('sees what happens through pointers of WGSL', async () => {
    const code = 'fn put(a: ptr<storage, array<u32>, read_write>, k: u32) { (*a)[k] = 1u; }\n'
    const kernel = hostile('put(&y, i + 1u); _ = x[0];')
    const error = await faultOf({ ...kernel, code: code + kernel.code })
    expect(error).toMatchObject({ reason: 'index', value: 256 })
    const pointer = await faultOf(hostile('let a = &y[i * 2u];\n  *a = x[0];'))
    expect(pointer).toMatchObject({ reason: 'pointer', site: { line: 5 } })
  })

  it('does not take what follows a missing page for a fault of the kernel', async () => {
    // The index comes from a page that is missing first: zero minus one would be past the end.
    const contents = { x: new Uint32Array(N).fill(1), y: new Uint32Array(N) }
    const kernel = hostile('y[x[i] - 1u + i] = 7u;')
    const { contents: after } = await runPaged(gpu.device, kernel, contents, { frames: 2 })
    expect(after['y']).toEqual(new Uint32Array(N).fill(7))
  })

  it('does not take for a fault what an invocation does with what another one of its workgroup misses', async () => {
    // Whatever is in the frame that stands for absent pages is no index of y.
    const contents = { x: Uint32Array.from({ length: N }, (_, i) => i ^ 3), y: new Uint32Array(N) }
    const code = `var<workgroup> at: array<u32, 64>;
      @compute @workgroup_size(64)
      fn main(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) l: u32) {
        at[l] = x[id.x] - 1u;
        workgroupBarrier();
        y[at[l ^ 32u] + 1u] = id.x;
      }`
    const { contents: after } = await runPaged(gpu.device, hostile('', { code }), contents, { frames: 8, pageBits: 5 })
    expect(after['y']).toEqual(Uint32Array.from({ length: N }, (_, i) => i ^ 35))
    const wrong = { x: contents.x.slice().fill(9999, 70, 71), y: contents.y }
    await expect(runPaged(gpu.device, hostile('', { code }), wrong, { frames: 8, pageBits: 5 })).rejects.toMatchObject({
      reason: 'index',
      invocation: [70 ^ 32, 0, 0],
      value: 9999,
    })
  })

  it('changes nothing outside of its arguments', async () => {
    const compiled = compileKernel(hostile('y[i * 3u] = 0xffffffffu; _ = x[0];'))
    const memory = new PagedMemory(gpu.device, { words: 4096, frames: 16, pageBits: 7 })
    memory.heap.fill(5)
    const pipeline = await createPagedPipeline(gpu.device, compiled, 7)
    const dispatch = new PagedDispatch(gpu.device, memory)
    const launch = {
      args: [
        { word: 300, length: N },
        { word: 1001, length: N },
      ],
      uniforms: [],
      extent: [N, 1, 1] as const,
    }
    await expect(dispatch.run(pipeline, launch)).rejects.toThrow(GpuFaultError)
    await memory.flush()
    memory.heap.forEach((word, i) => {
      const isOwn = i >= 1001 && i < 1001 + N && (i - 1001) % 3 === 0
      if (!isOwn) expect(word, `word ${i}`).toBe(5)
    })
  })

  it('refuses a transaction that needs more pages than there are', async () => {
    const error = await faultOf(
      hostile('var t = 0u; for (var k = 0u; k < 256u; k += 16u) { t += x[(i + k) % 256u]; } y[i] = t;'),
      { pageBits: 4, frames: 5 },
    )
    expect(error.message).toMatch(
      /^GPU fault: kernel "hostile" needs \d+ pages or more in one invocation, the device has 5$/,
    )
    expect(error.reason).toBe('working-set')
  })

  it('refuses a transaction that keeps more than there is room for', async () => {
    const kernel = hostile('for (var k = 0u; k < 5000u; k++) { y[k % 256u] = k; } _ = x[0] + y[i];')
    const error = await faultOf(kernel, { scratchBytesMax: 4096 })
    expect(error.reason).toBe('store-count')
  })

  it('a log grows until everything fits', async () => {
    const kernel = hostile('for (var k = 0u; k < 300u; k++) { y[(i * 4u + k) % 256u] = k; } _ = x[0] + y[i];', {
      extent: [1],
    })
    const { contents } = await runPaged(
      gpu.device,
      kernel,
      { x: fill(N, 1), y: new Uint32Array(N) },
      // Room for 512 stores of 3 words, and for the ends of their chains.
      { frames: 8, scratchBytesMax: 4 * (512 * 3 + 64) },
    )
    expect(contents['y']).toEqual(Uint32Array.from({ length: N }, (_, i) => (i < 44 ? i + 256 : i)))
  })

  it('ends loops that only end for data that is there', async () => {
    // Zero never becomes one.
    const kernel = hostile('var a = x[i]; while (a != 1u) { a = select(3u * a + 1u, a / 2u, a % 2u == 0u); } y[i] = a;')
    const { contents } = await runPaged(
      gpu.device,
      kernel,
      { x: Uint32Array.from({ length: N }, (_, i) => i + 1), y: new Uint32Array(N) },
      { frames: 2 },
    )
    expect(contents['y']).toEqual(new Uint32Array(N).fill(1))
  })

  it('what the provider throws ends the launch', async () => {
    const compiled = compileKernel(hostile('y[i] = x[i];'))
    const memory = new PagedMemory(gpu.device, { words: 4096, frames: 16, pageBits: 7 })
    memory.onPage = (page) => {
      if (page === 8) throw new RangeError('page 8 was freed')
    }
    const pipeline = await createPagedPipeline(gpu.device, compiled, 7)
    const dispatch = new PagedDispatch(gpu.device, memory)
    const launch = {
      args: [
        { word: 300, length: N },
        { word: 1024, length: N },
      ],
      uniforms: [],
      extent: [N, 1, 1] as const,
    }
    await expect(dispatch.run(pipeline, launch)).rejects.toThrow('page 8 was freed')
    memory.onPage = () => {}
    await expect(dispatch.run(pipeline, launch)).resolves.toMatchObject({ slices: 1 })
  })

  it('mistakes that only the device finds are in the lines of the user', async () => {
    const compiled = compileKernel(hostile('y[i] = x[i];\n  var t = array<u32, 4>();\n  y[i] = t[7];'))
    const error = await createPagedPipeline(gpu.device, compiled, 7).then(
      () => null,
      (thrown: unknown) => thrown,
    )
    expect(error).toBeInstanceOf(PagedPipelineError)
    expect((error as Error).message).toMatch(/^hostile:6:\d+: /)
  })

  it('refuses launches that do not fit the kernel', async () => {
    const compiled = compileKernel(hostile('y[i] = x[i];'))
    const memory = new PagedMemory(gpu.device, { words: 4096, frames: 16, pageBits: 7 })
    const pipeline = await createPagedPipeline(gpu.device, compiled, 7)
    const dispatch = new PagedDispatch(gpu.device, memory)
    const x = { word: 300, length: N }
    await expect(dispatch.run(pipeline, { args: [x], uniforms: [], extent: [1, 1, 1] })).rejects.toThrow(
      'hostile has 2 arrays, the launch 1',
    )
    await expect(
      dispatch.run(pipeline, { args: [x, { word: 0, length: 1 }], uniforms: [], extent: [1, 1, 1] }),
    ).rejects.toThrow(RangeError)
    await expect(dispatch.run(pipeline, { args: [x, x], uniforms: [], extent: [2 ** 20, 2 ** 20, 1] })).rejects.toThrow(
      'wanted less than 2^32',
    )
  })
})
