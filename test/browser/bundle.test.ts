// What bundlers make of the package for a page: nothing of Node, nothing native, little of it, and less where less is used.

import { gzipSync } from 'node:zlib'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { BUNDLERS, type Bundle, bundlePage } from './bundle.ts'

const KIB = 1024

/** As they travel. */
function nbytesOf({ files }: Bundle, paths: Iterable<string>): number {
  return [...paths].reduce((sum, path) => sum + gzipSync(files.get(path) ?? '').length, 0)
}

function scriptsOf({ files }: Bundle): string[] {
  return [...files.keys()].filter((path) => path.endsWith('.js'))
}

/** What a script imports, at once or later. */
function importsOf(code: string): string[] {
  return ts.preProcessFile(code).importedFiles.map(({ fileName }) => fileName)
}

describe.each(BUNDLERS)('a page of %s', (bundler) => {
  it('loads at most 100 KiB at once, and 85 KiB more with an engine and devices, with nothing of Node or native', async () => {
    const bundle = await bundlePage(bundler, 'gpu')
    expect(bundle.warnings).toEqual([])
    const imports = scriptsOf(bundle).flatMap((path) => importsOf(`${bundle.files.get(path)}`))
    expect(imports.length).toBeGreaterThan(0)
    expect(imports.filter((path) => !path.startsWith('.'))).toEqual([])
    expect(nbytesOf(bundle, bundle.initial)).toBeLessThanOrEqual(100 * KIB)
    expect(nbytesOf(bundle, scriptsOf(bundle))).toBeLessThanOrEqual(185 * KIB)
  })

  it('has only what it uses', async () => {
    const bundle = await bundlePage(bundler, 'size')
    expect(bundle.initial.length).toBeGreaterThan(0)
    expect(nbytesOf(bundle, bundle.initial)).toBeLessThanOrEqual(10 * KIB)
  })
})
