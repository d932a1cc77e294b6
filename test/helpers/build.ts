// Global set-up of tests that run what was built: brings dist/ up to date.

import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import { promisify } from 'node:util'

export default async function build(): Promise<void> {
  const script = resolve(import.meta.dirname, '../../scripts/run.mjs')
  await promisify(execFile)(process.execPath, [script, 'build'])
}
