// Workers of an isolated page, and the engine of a heap in one.

import { expect, it } from 'vitest'
import { BUNDLERS } from './bundle.ts'
import { PageFixture } from './page-fixture.ts'

const pages = new PageFixture()

it.for(BUNDLERS)('a page of %s has the engine in a worker, and hears when there is none', async (bundler, context) => {
  expect(await pages.resultOf(context, `worker-${bundler}`, { bundler, isolated: true, workers: ['engine'] })).toEqual({
    used: {
      mode: 'explicit',
      added: true,
      taken: 'prefetch: 4 pages to the device, 16 KiB copied',
      where: '"x": 4 pages on webgpu',
      misuse: 'NOT_OWNED: the CPU stored to "x"[5] while a device had them: await heap.sync(x) before',
      kept: 4,
      closed: 'close: every array was freed',
    },
    missing: 'ENGINE_DIED: the worker of the engine failed: its program cannot be loaded',
  })
})

it('a page without cross-origin isolation is told why not', async (context) => {
  expect(await pages.resultOf(context, 'no-worker', { bundler: 'esbuild', isolated: false })).toBe(
    'engine is a worker, wanted none where arrays are not shared: there is no SharedArrayBuffer here; a web page needs cross-origin isolation for it',
  )
})

it('the heap of a page says that other threads cannot join it', async (context) => {
  expect(await pages.resultOf(context, 'attach', { bundler: 'esbuild', isolated: true })).toMatch(
    /^HeapError: NOT_IN_MODE: other threads cannot join the heap of a page: /,
  )
})
