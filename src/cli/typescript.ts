// How Node runs a script: as it is, or, for TypeScript, with whatever there is that takes the types away.

import { createRequire } from 'node:module'
import { extname } from 'node:path'
import { pathToFileURL } from 'node:url'
import { EXIT_USAGE, UserError } from './user-error.ts'

const TYPESCRIPT = ['.ts', '.mts', '.cts', '.tsx']

/**
 * Arguments of Node that stand before a script, whose path is absolute. `name` is what the user calls it.
 *
 * Throws a UserError for TypeScript where nothing can run it, with what to do about it.
 */
export function nodeArguments(script: string, name: string): string[] {
  if (!TYPESCRIPT.includes(extname(script))) return []
  const { versions, features, allowedNodeEnvironmentFlags } = process
  // Bun and Deno say that they are Node, and run TypeScript.
  if (versions['bun'] !== undefined || versions['deno'] !== undefined) return []
  // Node takes types away by itself, but knows nothing of JSX.
  if (extname(script) !== '.tsx') {
    if ((features as { typescript?: unknown }).typescript) return []
    if (allowedNodeEnvironmentFlags.has('--experimental-strip-types')) {
      return ['--experimental-strip-types', '--disable-warning=ExperimentalWarning']
    }
  }
  const tsx = findTsx(script)
  if (tsx !== null) return ['--import', pathToFileURL(tsx).href]
  const what = `${name} is TypeScript, which Node ${versions.node} does not run by itself`
  throw new UserError(`${what}: npm install --save-dev tsx, or take Node 22.18 or later`, EXIT_USAGE)
}

/** Where the program has it, else where we do. */
function findTsx(script: string): string | null {
  for (const from of [script, import.meta.url]) {
    try {
      return createRequire(from).resolve('tsx')
    } catch {} // not there
  }
  return null
}
