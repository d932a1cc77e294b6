// WebGPU devices in a page: kernels on the browser's own adapter, which is a software one in these tests.

import { describe, expect, it } from 'vitest'
import { BUNDLERS } from './bundle.ts'
import { PageFixture } from './page-fixture.ts'

const pages = new PageFixture()

describe.each(BUNDLERS)('a page of %s', (bundler) => {
  it.for([true, false])(
    'runs a kernel on more than the device has room for; isolated: %s',
    async (isolated, context) => {
      expect(await pages.resultOf(context, 'gpu', { bundler, isolated })).toEqual({
        notices: [expect.stringMatching(/^hetmem: device "webgpu": it is .*, software on the CPU and slow$/)],
        isCut: true,
        mode: 'direct',
        wrong: -1,
        last: 1 + 2 * 2,
        again: 1 + 3 * 999,
        misuse: 'NOT_OWNED: the CPU stored to "y"[7] while a device had them: await heap.sync(y) before',
        name: 'webgpu',
        memory: 2 ** 20,
      })
    },
  )
})

it('a page draws a heap array to a canvas', async (context) => {
  expect(await pages.resultOf(context, 'canvas', { bundler: 'esbuild', isolated: false })).toEqual({
    computed: -1,
    drawn: -1,
    untouched: true,
  })
})
