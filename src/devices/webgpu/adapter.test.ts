import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { programUrl } from '../../../test/helpers/programs.ts'
import { CAPABILITY_ADAPTER, findAdapter } from './adapter.ts'
import { canLoadSystemVulkan } from './software-driver.ts'

/** Where the software driver runs, there is always an adapter. */
const hasSoftwareDriver = process.platform === 'linux' && process.arch === 'x64'
/** Dawn complains about drivers of the system that it does not accept. Asked before this process has a driver of its own. */
const hasSystemVulkan = await canLoadSystemVulkan()
const NO_SOFTWARE_DRIVER = 'software-driver: it is for linux x64'

let cache: string

beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'hetmem-test-'))
  vi.stubEnv('XDG_CACHE_HOME', cache)
})

afterEach(() => {
  vi.unstubAllGlobals()
  rmSync(cache, { recursive: true, force: true })
})

describe('findAdapter()', () => {
  it('prefers the WebGPU of the runtime', async () => {
    const adapter = { info: { description: 'a GPU' } }
    vi.stubGlobal('navigator', { gpu: { requestAdapter: async () => adapter } })
    const found = { adapter, source: 'navigator', isSoftware: false, description: 'a GPU (navigator)' }
    expect(await findAdapter()).toEqual(found)
  })

  it('loads nothing native outside of Node, and names the capability and what was tried', async () => {
    vi.stubGlobal('navigator', { gpu: { requestAdapter: async () => null } })
    vi.stubGlobal('Deno', {})
    expect(await findAdapter()).toEqual({
      adapter: null,
      capability: CAPABILITY_ADAPTER,
      reason: 'navigator.gpu has no adapter\nnative packages are loaded in Node only',
      help: null,
    })
  })

  it('finds an adapter in Node without a GPU, and unpacks the driver only once', async (test) => {
    if (!hasSoftwareDriver) test.skip(NO_SOFTWARE_DRIVER)
    const found = await findAdapter()
    expect(found.adapter, found.adapter === null ? found.reason : '').not.toBeNull()
    if (found.adapter === null || found.source !== 'dawn-software') return
    const [folder, ...others] = readdirSync(join(cache, 'hetmem'))
    expect([folder, others]).toEqual([expect.stringMatching(/^swiftshader-[0-9a-f]{16}$/), []])
    expect((await findAdapter()).adapter).not.toBeNull()
    expect(readdirSync(join(cache, 'hetmem'))).toEqual([folder])
  })

  it('works in a worker, and in processes that unpack at the same time', async (test) => {
    if (!hasSoftwareDriver) test.skip(NO_SOFTWARE_DRIVER)
    const folder = makePrograms()
    try {
      // Without what the software driver of the test before has left: its folder is gone.
      const env = { ...process.env, XDG_CACHE_HOME: cache, VK_ICD_FILENAMES: undefined }
      const programs = ['main.mjs', 'main.mjs', 'worker.mjs'].map((name) => join(folder, name))
      const runs = programs.map((program) => promisify(execFile)(process.execPath, [program], { env }))
      for (const { stdout, stderr } of await Promise.all(runs)) {
        expect(stdout).toMatch(/ \(dawn(-software)?\)\n$/)
        if (!hasSystemVulkan) expect(stderr).toBe('')
      }
      // The driver once, and no temporary folders. Nothing at all where Dawn found a GPU.
      const unpacked = readdirSync(cache).flatMap((name) => readdirSync(join(cache, name)))
      expect(unpacked.length).toBeLessThanOrEqual(1)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})

/** A folder with programs that print which adapter they find, the second one in a worker. */
function makePrograms(): string {
  const adapter = programUrl('src/devices/webgpu/adapter.ts')
  const folder = mkdtempSync(join(tmpdir(), 'hetmem-adapter-'))
  const print = `import { findAdapter } from '${adapter}'
    const found = await findAdapter()
    console.log(found.description ?? found.reason)`
  writeFileSync(join(folder, 'main.mjs'), print)
  const start = `import { Worker } from 'node:worker_threads'
    new Worker(new URL('./main.mjs', import.meta.url))`
  writeFileSync(join(folder, 'worker.mjs'), start)
  return folder
}
