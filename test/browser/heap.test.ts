// Heaps in a page of headless Chromium, under a strict content security policy, with and without cross-origin isolation, as bundled
// by esbuild and by Vite.

import { describe, expect, it } from 'vitest'
import { BUNDLERS } from './bundle.ts'
import { PageFixture } from './page-fixture.ts'

const pages = new PageFixture()

it('the policy of the server is in force: eval is stopped', async (context) => {
  const { error, problems } = await pages.visit(context, 'eval', { bundler: 'esbuild', isolated: false })
  expect(error).toContain('EvalError')
  expect(problems).toEqual(['script-src stopped eval'])
})

describe.each(BUNDLERS)('a page of %s', (bundler) => {
  it.for([
    { isolated: true, buffer: 'SharedArrayBuffer' },
    { isolated: false, buffer: 'ArrayBuffer' },
  ])(
    'moves memory to a device and back, and finds misuse; isolated: $isolated',
    async ({ isolated, buffer }, context) => {
      expect(await pages.resultOf(context, 'heap', { bundler, isolated })).toEqual({
        mode: 'explicit',
        notices: [expect.stringContaining('real page faults need Node on Linux')],
        isolated,
        buffer,
        shared: 'prefetch: 100 pages to the device, 400 KiB copied',
        readWhileShared: 99_999,
        taken: 'prefetch: 100 pages to the device, 400 KiB copied',
        where: '"x": 100 pages on memory',
        back: 'sync: 100 pages to the CPU', // nothing was written there, so nothing is copied
        isWhole: true,
        misuse: 'NOT_OWNED: the CPU stored to "x"[5] while a device had them: await heap.sync(x) before',
        kept: [4, 5, 6],
        closed: 'close: every array was freed',
      })
    },
  )
})
