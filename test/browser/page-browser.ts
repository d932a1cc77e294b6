// Browsers that pages are opened in: the headless Chromium of these tests, or any Firefox, which is started for each page, as what a
// page finds out comes back over HTTP anyway.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'

/** Opens a page. `fail` is called with whatever shows that there will be no report. */
export interface PageBrowser {
  open(url: string, fail: (error: Error) => void): Promise<OpenPage>
}

export interface OpenPage {
  /** What the page and its browser have said. */
  readonly log: readonly string[]
  close(): Promise<void>
}

export class ChromiumPages implements PageBrowser {
  readonly #browser: Browser

  constructor(browser: Browser) {
    this.#browser = browser
  }

  async open(url: string, fail: (error: Error) => void): Promise<OpenPage> {
    const context = await this.#browser.newContext()
    const page = await context.newPage()
    const log: string[] = []
    page.on('console', (message) => log.push(`${message.type()}: ${message.text()}`))
    page.on('pageerror', fail) // before the page could report anything
    page.on('crash', () => fail(new Error('the page crashed')))
    await page.goto(url)
    return { log, close: () => context.close() }
  }
}

/** WebGPU is not on by default everywhere; nothing else is started, asked, or fetched. */
const FIREFOX_PREFERENCES = {
  'dom.webgpu.enabled': true,
  'dom.webgpu.workers.enabled': true,
  'gfx.webgpu.ignore-blocklist': true,
  'browser.shell.checkDefaultBrowser': false,
  'browser.aboutwelcome.enabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
}

export class FirefoxPages implements PageBrowser {
  readonly #file: string

  constructor(file: string) {
    this.#file = file
  }

  async open(url: string, fail: (error: Error) => void): Promise<OpenPage> {
    const profile = mkdtempSync(join(tmpdir(), 'hetmem-firefox-'))
    const lines = Object.entries(FIREFOX_PREFERENCES).map(([name, value]) => `user_pref('${name}', ${value});`)
    writeFileSync(join(profile, 'user.js'), lines.join('\n'))
    const log: string[] = []
    const child = spawn(this.#file, ['--headless', '--no-remote', '--profile', profile, url], {
      env: { ...process.env, HOME: profile },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => log.push(text.trimEnd()))
    child.on('error', fail)
    const ended = new Promise((resolve) => child.once('close', resolve))
    void ended.then(() => fail(new Error(`${this.#file} ended`)))
    const close = async () => {
      child.kill()
      await ended
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 })
    }
    return { log, close }
  }
}
