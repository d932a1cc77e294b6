// One browser for the tests of a file. Where it cannot be started they are skipped, with the capability that is missing; where the
// packages of this repository bring a browser along, that is a failure. HETMEM_FIREFOX is the path of a Firefox to be used instead.

import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, type TestContext } from 'vitest'
import { CAPABILITY_CHROMIUM, mustHaveChromium, startChromium } from '../helpers/chromium.ts'
import { type Bundler, bundlePage } from './bundle.ts'
import { ChromiumPages, FirefoxPages } from './page-browser.ts'
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

const FIREFOX = process.env['HETMEM_FIREFOX']

/** Firefox asks its GPU ten times a second whether it has ended, so that each wait takes that long. */
const FIREFOX_TIMEOUT_MS = 540_000

export class PageFixture {
  /** Whether pages are opened in the Chromium of these tests, whose adapter is known. */
  readonly isChromium = FIREFOX === undefined
  #browser: Browser | null = null
  #missing = ''

  /** To be called at the top of a file: the browser starts before its tests, and ends after them. */
  constructor() {
    beforeAll(async () => {
      if (!this.isChromium) return
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

  /** Chromium itself. Skips the test where there is none, or another browser is asked for. */
  browser({ skip }: TestContext): Browser {
    return this.#browser ?? skip(this.isChromium ? this.#missing : `${CAPABILITY_CHROMIUM}: this is ${FIREFOX}`)
  }

  /** Bundles a page, which must go without warnings, and returns what it reports. */
  async visit(context: TestContext, name: string, { bundler, workers, ...site }: PageSetup): Promise<PageReport> {
    const browser = FIREFOX === undefined ? new ChromiumPages(this.browser(context)) : new FirefoxPages(FIREFOX)
    const { files, warnings } = await bundlePage(bundler, name, workers)
    expect(warnings).toEqual([])
    return await visit(browser, { files, ...site, ...(FIREFOX === undefined ? {} : { timeoutMs: FIREFOX_TIMEOUT_MS }) })
  }

  /** What a page returned that nothing went wrong in. */
  async resultOf(context: TestContext, name: string, setup: PageSetup): Promise<unknown> {
    const { result, error, problems } = await this.visit(context, name, setup)
    expect([error, problems]).toEqual([undefined, []])
    return result
  }
}
