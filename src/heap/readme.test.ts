import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { openHeap } from '../index.ts'

const AsyncFunction = (async () => {}).constructor as new (...args: string[]) => (...args: unknown[]) => Promise<void>

it('the example of the README prints what it says', async () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const [, example] = /```ts\nimport \{ openHeap \} from 'hetmem'\n(.*?)```/s.exec(readme) ?? []
  const printed: string[] = []
  const expected = [...example.matchAll(/^console\.log\(.*\) +\/\/ (.*)$/gm)].map(([, text]) => text)
  const run = new AsyncFunction('openHeap', 'console', example)
  await run(openHeap, { log: (text: unknown) => printed.push(`${text}`) })
  expect(expected.length).toBe(6)
  expect(printed).toEqual(expected)
})
