// npm as tests start it: the very one that started the tests, where there is one.

import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

/** What npm prints when it is called in the folder `cwd`. Rejects if it fails. */
export async function npm(cwd: string, ...args: string[]): Promise<string> {
  const cli = process.env['npm_execpath']
  const isNpm = cli?.endsWith('npm-cli.js') === true
  const [file, first] = isNpm ? [process.execPath, [cli]] : ['npm', []]
  const shell = !isNpm && process.platform === 'win32'
  const { stdout } = await promisify(execFile)(file, [...first, ...args], { cwd, shell })
  return stdout
}
