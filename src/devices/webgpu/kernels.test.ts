import { afterAll, beforeAll, describe, it } from 'vitest'
import { whyNoGpu } from '../../../test/helpers/gpu.ts'
import { KERNEL_CASES } from '../../../test/helpers/kernel-cases.ts'
import { KernelBench } from '../../../test/helpers/kernel-fixture.ts'

const reason = await whyNoGpu()

describe.skipIf(reason !== null)(`kernels on a GPU ${reason ?? ''}`, () => {
  let bench: KernelBench
  beforeAll(async () => {
    bench = await KernelBench.open()
  })
  afterAll(() => bench.close())

  it.each(KERNEL_CASES)('$name', async (each) => {
    bench.reset()
    await each.check(
      (type, length) => bench.alloc(type, length),
      (kernel, values, count, options) => bench.run(kernel, values, count, options).then(({ slices }) => slices.length),
    )
  })
})
