// The reference that `npm run docs` makes: every class, interface and function that an entry point exports says what it is, and
// every link leads somewhere.

import { execFile } from 'node:child_process'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const TYPEDOC = join(ROOT, 'node_modules/typedoc/bin/typedoc')

it('typedoc has nothing to complain about', async () => {
  const args = [TYPEDOC, '--emit', 'none', '--logLevel', 'Warn']
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: ROOT }).catch(
    (error: { stdout: string; stderr: string }) => error,
  )
  expect(`${stdout}${stderr}`).toBe('')
})
