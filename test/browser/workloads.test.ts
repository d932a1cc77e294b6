// The workloads in headless Chromium: those that Node runs (test/unit/workloads.test.ts), on the WebGPU of the browser.

import { expect, it } from 'vitest'
import { LENGTHS, LONG } from '../workloads/lengths.ts'
import { MATRIX } from '../workloads/matrix.ts'
import { PageFixture } from './page-fixture.ts'

const pages = new PageFixture()
const setup = { bundler: 'esbuild', isolated: true, timeoutMs: 110_000 } as const

it('a page runs every workload right, on every device', async (context) => {
  expect(await pages.resultOf(context, 'workloads', setup)).toEqual(MATRIX.map(({ title }) => [title, 'right']))
})

it('a page runs exactly as many invocations as it asked for', async (context) => {
  expect(await pages.resultOf(context, 'lengths', setup)).toEqual([...LENGTHS, LONG].map((n) => [n, 'right']))
})
