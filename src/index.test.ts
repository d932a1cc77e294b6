import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import * as browser from './browser-entry.ts'
import * as hetmem from './index.ts'

/** Files that are loaded with a file, at once or later, and everything else that is. */
function loadedWith(
  file: URL,
  files = new Set<string>(),
  others = new Set<string>(),
): { files: Set<string>; others: Set<string> } {
  if (files.has(file.href)) return { files, others }
  files.add(file.href)
  const source = readFileSync(fileURLToPath(file), 'utf8')
  const imports = [
    ...source.matchAll(/^(?:import|export) (type )?[^'";]*?from '([^']+)'/gms),
    ...source.matchAll(/^import (type )?'([^']+)'/gm),
    ...source.matchAll(/\bimport\((type )?'([^']+)'\)/g),
  ]
  for (const [, isType, from] of imports) {
    if (isType !== undefined) continue
    if (from.startsWith('.')) loadedWith(new URL(from, file), files, others)
    else others.add(from)
  }
  return { files, others }
}

it('hetmem for browsers loads nothing of Node and no package, at once or later', () => {
  const { files, others } = loadedWith(new URL('./browser-entry.ts', import.meta.url))
  expect([...others]).toEqual([])
  expect(files.size).toBeGreaterThan(50)
})

it('hetmem has the same names in browsers', () => {
  expect(Object.keys(browser)).toEqual(Object.keys(hetmem))
})

it('hetmem exports what the README uses', () => {
  expect(Object.keys(hetmem)).toEqual(expect.arrayContaining(['openHeap', 'HeapError', 'OwnershipError', 'formatSize']))
})
