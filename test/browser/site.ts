// A web server on this machine for one page, with the headers of real servers: a content security policy that allows neither
// eval nor anything from elsewhere, and cross-origin isolation where asked for. What the page reports comes back to the test.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname } from 'node:path'
import type { OpenPage, PageBrowser } from './page-browser.ts'
import type { PageReport } from './pages/page-report.ts'

/** Contents by path, without the leading slash. */
export type SiteFiles = ReadonlyMap<string, string | Uint8Array>

export interface SiteOptions {
  /** With 'index.html', which is the page. */
  readonly files: SiteFiles
  /** With the two headers that give a page SharedArrayBuffer. */
  readonly isolated: boolean
  /** Default 45,000 ms for the page to report. */
  readonly timeoutMs?: number
}

/** No eval, no inline scripts, no other origins. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "worker-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
]

const ISOLATION = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' }

const TYPES: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' }

/** A page that does nothing but load a script. */
export function htmlFor(script: string): string {
  return `<!doctype html><meta charset="utf-8"><title>hetmem</title><link rel="icon" href="data:,"><script type="module" src="${script}"></script>`
}

/** Serves a site, opens its page, and returns what that reports. Rejects when it crashes, or does not report in time. */
export async function visit(
  browser: PageBrowser,
  { files, isolated, timeoutMs = 45_000 }: SiteOptions,
): Promise<PageReport> {
  const server = createServer()
  let timer: NodeJS.Timeout | undefined
  let page: OpenPage | undefined
  try {
    const url = await listen(server)
    const reported = new Promise<PageReport>((resolve, reject) => {
      const fail = (error: Error) => reject(new Error(`${error.message}\n${page?.log.join('\n')}`, { cause: error }))
      server.on('request', (request, response) => {
        if (request.method === 'POST') readJson(request).then((body) => resolve(body as PageReport), reject)
        respond(request, response, files, isolated)
      })
      timer = setTimeout(() => fail(new Error(`no report in ${timeoutMs} ms`)), timeoutMs)
      browser.open(url, fail).then((opened) => {
        page = opened
      }, reject)
    })
    return await reported
  } finally {
    clearTimeout(timer)
    await page?.close()
    server.close()
    server.closeAllConnections()
  }
}

function respond(request: IncomingMessage, response: ServerResponse, files: SiteFiles, isolated: boolean): void {
  const path = new URL(request.url ?? '/', 'http://localhost').pathname.slice(1) || 'index.html'
  const contents = request.method === 'POST' ? '' : files.get(path)
  response.writeHead(contents === undefined ? 404 : 200, {
    'Content-Type': TYPES[extname(path)] ?? 'application/octet-stream',
    'Content-Security-Policy': POLICY.join('; '),
    ...(isolated ? ISOLATION : {}),
  })
  response.end(contents)
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) text += chunk
  return JSON.parse(text)
}

/** The address of the page. `localhost` counts as secure, which WebGPU asks for. */
function listen(server: Server): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => resolve(`http://localhost:${(server.address() as AddressInfo).port}/`))
  })
}
