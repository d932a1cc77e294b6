import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import * as hetmem from './index.ts'

/** Files that are loaded with a file, and everything else that it imports. */
function loadedWith(
  file: URL,
  files = new Set<string>(),
  others = new Set<string>(),
): { files: Set<string>; others: Set<string> } {
  if (files.has(file.href)) return { files, others }
  files.add(file.href)
  const source = readFileSync(fileURLToPath(file), 'utf8')
  for (const [, isType, from] of source.matchAll(/^(?:import|export) (type )?[^'";]*?from '([^']+)'/gms)) {
    if (isType !== undefined) continue
    if (from.startsWith('.')) loadedWith(new URL(from, file), files, others)
    else others.add(from)
  }
  for (const [, from] of source.matchAll(/^import '([^']+)'/gm)) others.add(from)
  return { files, others }
}

it('hetmem loads nothing of Node and no package: it works in a browser', () => {
  const { files, others } = loadedWith(new URL('./index.ts', import.meta.url))
  expect([...others]).toEqual([])
  expect(files.size).toBeGreaterThan(50)
})

it('hetmem exports what the README uses', () => {
  expect(Object.keys(hetmem)).toEqual(expect.arrayContaining(['openHeap', 'HeapError', 'OwnershipError', 'formatSize']))
})
