// The programs of examples/ that need nothing of Node, in a page: what they print there must be what their heads say.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, it } from 'vitest'
import { asWanted, linesToPrint } from '../helpers/example-output.ts'
import { PageFixture } from './page-fixture.ts'
import { PROJECT } from './project.ts'

const FOLDER = resolve(import.meta.dirname, '../../examples')
const sources = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
  .map((name) => ({ name, source: readFileSync(join(FOLDER, name), 'utf8') }))
  .filter(({ source }) => !source.includes("from 'node:"))

const pages = new PageFixture()

it('most examples need nothing of Node', () => {
  expect(sources.length).toBeGreaterThanOrEqual(9)
})

it.for(sources)('$name prints what its head says', async ({ name, source }, context) => {
  const page = `example-${name.replace('.ts', '')}`
  const program = `
    import { report } from './report.ts'
    const printed: string[] = []
    console.log = (text: string) => printed.push(text)
    await report(() => import('../examples/${name}').then(() => printed))`
  writeFileSync(join(PROJECT, 'pages', `${page}.ts`), program)
  const printed = (await pages.resultOf(context, page, { bundler: 'esbuild', isolated: true })) as string[]
  const wanted = linesToPrint(source)
  expect(asWanted(printed, wanted)).toEqual(wanted)
})
