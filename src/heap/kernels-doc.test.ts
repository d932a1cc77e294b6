// The examples of docs/kernels.md print what they say.

import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { whyNoGpu } from '../../test/helpers/gpu.ts'
import * as hetmem from '../index.ts'

const AsyncFunction = (async () => {}).constructor as new (...args: string[]) => (...args: unknown[]) => Promise<void>

const missing = await whyNoGpu()
const page = readFileSync(new URL('../../docs/kernels.md', import.meta.url), 'utf8')
const examples = page.split(/^## /m).flatMap((section) => {
  const [title] = section.split('\n', 1)
  return [...section.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => ({ title, code }))
})

it('there are examples', () => expect(examples.length).toBe(5))

it.skipIf(missing !== null).each(examples)('$title', async ({ code }) => {
  const { warn } = console
  const printed: string[] = []
  const log = (...values: unknown[]) => printed.push(values.join(' '))
  const script = code.replace(/^import (\{.*\}) from 'hetmem'$/m, 'const $1 = hetmem')
  try {
    // What a heap on a software GPU has to say is not the matter here.
    console.warn = () => {}
    await new AsyncFunction('hetmem', 'console', script)(hetmem, { log })
  } finally {
    console.warn = warn
  }
  const expected = [...code.matchAll(/console\.log\(.*\) +\/\/ (.*)$/gm)].map(([, text]) => text)
  expect(expected.length).toBeGreaterThan(0)
  expect(printed).toEqual(expected)
})
