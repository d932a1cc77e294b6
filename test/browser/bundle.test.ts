// What bundlers make of the package for a page: nothing of Node, nothing native, little of it, and less where less is used.

import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { BUNDLERS, type Bundle, bundlePage } from './bundle.ts'

const KIB = 1024

/** Bytes of all scripts of the page together, as they travel. Those of a worker are not loaded with it. */
function scriptBytes({ files }: Bundle): number {
  const scripts = [...files]
    .filter(([path]) => path.endsWith('.js') && path !== 'engine.js')
    .map(([, contents]) => gzipSync(contents).length)
  expect(scripts.length).toBeGreaterThan(0)
  return scripts.reduce((sum, nbytes) => sum + nbytes)
}

describe.each(BUNDLERS)('a page of %s', (bundler) => {
  it('has all that it needs without anything of Node or native, and at most 100 KiB', async () => {
    const bundle = await bundlePage(bundler, 'heap')
    expect(bundle.warnings).toEqual([])
    const code = [...bundle.files].map(([, contents]) => contents.toString()).join('\n')
    expect(code).not.toMatch(/node:|koffi|sparticuz|worker_threads|__vite-browser-external/)
    expect(scriptBytes(bundle)).toBeLessThanOrEqual(100 * KIB)
  })

  it('has only what it uses', async () => {
    expect(scriptBytes(await bundlePage(bundler, 'size'))).toBeLessThanOrEqual(2 * KIB)
  })
})
