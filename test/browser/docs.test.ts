// Runs the programs of docs/browser.md in a page each: what they print is what stands behind each `console.log`.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { blocksOf, linesToPrint } from '../helpers/doc-blocks.ts'
import { asWanted } from '../helpers/example-output.ts'
import { PageFixture } from './page-fixture.ts'
import { PROJECT } from './project.ts'

const pages = new PageFixture()

/** Those that print something. The other one is the program of a worker, and lies where the page looks for it. */
const programs = blocksOf('docs/browser.md').filter((block) => linesToPrint(block).length > 0)
const [engine] = blocksOf('docs/browser.md').filter(({ code }) => code.startsWith('// engine.ts'))

it('has programs', () => expect([programs.length, engine?.code.includes('hetmem/engine-worker')]).toEqual([3, true]))

it.for(programs)('line $line', async (block, context) => {
  const name = `docs-${block.line}`
  writeFileSync(join(PROJECT, 'pages/engine.ts'), engine.code)
  writeFileSync(join(PROJECT, `pages/${name}-program.ts`), block.code)
  writeFileSync(
    join(PROJECT, `pages/${name}.ts`),
    `import { report } from './report.ts'
    const lines = []
    console.log = (...values) => lines.push(values.join(' '))
    await report(async () => {
      await import('./${name}-program.ts')
      return lines
    })`,
  )
  const wanted = linesToPrint(block)
  const printed = (await pages.resultOf(context, name, { bundler: 'Vite', isolated: true })) as string[]
  expect(asWanted(printed, wanted)).toEqual(wanted)
})
