// Which runtime this is, for the few who load what only one has.

/** Node itself, not a runtime that says it is Node. */
export function isNode(): boolean {
  const { process } = globalThis as { process?: { versions?: Record<string, string | undefined> } }
  const versions = process?.versions
  if (versions?.['node'] === undefined || 'Deno' in globalThis) return false
  return versions['bun'] === undefined && versions['electron'] === undefined
}
