// One browser for the tests of a file. Where it cannot be started they are skipped, with the capability that is missing; where the
// packages of this repository bring a browser along, that is a failure.

import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, type TestContext } from 'vitest'
import { CAPABILITY_CHROMIUM, mustHaveChromium, startChromium } from '../helpers/chromium.ts'
import { type Bundler, bundlePage } from './bundle.ts'
import type { PageReport } from './pages/page-report.ts'
import { visit } from './site.ts'

export interface PageSetup {
  readonly bundler: Bundler
  readonly isolated: boolean
  /** Programs of its workers. */
  readonly workers?: readonly string[]
  /** For the page to report; default as `visit`. */
  readonly timeoutMs?: number
}

export class PageFixture {
  #browser: Browser | null = null
  #missing = ''

  /** To be called at the top of a file: the browser starts before its tests, and ends after them. */
  constructor() {
    beforeAll(async () => {
      try {
        this.#browser = await startChromium()
      } catch (error) {
        if (mustHaveChromium()) throw error
        this.#missing = `${CAPABILITY_CHROMIUM}: ${`${error}`.split('\n', 1)[0]}`
      }
    })
    afterAll(async () => {
      await this.#browser?.close()
    })
  }

  /** The browser itself. Skips the test where there is none. */
  browser({ skip }: TestContext): Browser {
    return this.#browser ?? skip(this.#missing)
  }

  /** Bundles a page, which must go without warnings, and returns what it reports. */
  async visit(context: TestContext, name: string, { bundler, workers, ...site }: PageSetup): Promise<PageReport> {
    const browser = this.browser(context)
    const { files, warnings } = await bundlePage(bundler, name, workers)
    expect(warnings).toEqual([])
    return await visit(browser, { files, ...site })
  }

  /** What a page returned that nothing went wrong in. */
  async resultOf(context: TestContext, name: string, setup: PageSetup): Promise<unknown> {
    const { result, error, problems } = await this.visit(context, name, setup)
    expect([error, problems]).toEqual([undefined, []])
    return result
  }
}
