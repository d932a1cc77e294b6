// A headless Chromium for tests, from npm packages alone: `@sparticuz/chromium` has the browser, a software GPU, fonts and the
// libraries that a bare machine lacks; playwright-core drives it. Unpacked once into .cache of the repository, some 200 MiB.
//
//   test.skipIf(whyNoChromium !== null) ...   a test without a browser is skipped, and the reason names the capability

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { type Browser, chromium } from 'playwright-core'

const ROOT = resolve(import.meta.dirname, '../..')
const PACKAGE = join(ROOT, 'node_modules/@sparticuz/chromium/package.json')

/** What a test that needs this browser names when it is skipped. */
export const CAPABILITY_CHROMIUM = 'headless Chromium'

/** With WebGPU in software, also on a machine that has a GPU, so that results are the same everywhere. */
const WEBGPU = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader']

/** Canvases on the same driver. Otherwise a device is lost when something of it is drawn. */
const CANVAS = ['--use-angle=swiftshader', '--enable-features=Vulkan', '--use-vulkan=swiftshader']

/** Takes Amazon's name for the time of the unpacking: the package brings libraries along for that system only. */
const UNPACK_ENVIRONMENT = { AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs20.x' }

/** Starts the browser. Throws, with what the machine lacks, where it cannot be started. */
export async function startChromium(): Promise<Browser> {
  const folder = unpackedChromium()
  return await chromium.launch({
    executablePath: join(folder, 'chromium'),
    args: [...WEBGPU, ...CANVAS],
    env: { ...process.env, LD_LIBRARY_PATH: join(folder, 'al2023/lib'), FONTCONFIG_PATH: join(folder, 'fonts') },
  })
}

/** Where the packages of this repository bring a browser along, its absence is a failure and no reason to skip. */
export function mustHaveChromium(): boolean {
  return process.platform === 'linux' && process.arch === 'x64'
}

/** Unpacks beside the place and moves the folder there at once, as other processes may be doing the same. */
function unpackedChromium(): string {
  const { version } = JSON.parse(readFileSync(PACKAGE, 'utf8')) as { version: string }
  const folder = join(ROOT, '.cache', `chromium-${version}`)
  if (existsSync(folder)) return folder
  mkdirSync(dirname(folder), { recursive: true })
  const temporary = mkdtempSync(`${folder}-`)
  try {
    // The package unpacks into the temporary folder of the system, which for this child is ours.
    const program = "import('@sparticuz/chromium').then((chromium) => chromium.default.executablePath())"
    const env = { ...process.env, ...UNPACK_ENVIRONMENT, TMPDIR: temporary }
    const { status, stderr } = spawnSync(process.execPath, ['-e', program], { cwd: ROOT, env, encoding: 'utf8' })
    if (status !== 0) throw new Error(`${CAPABILITY_CHROMIUM}: unpacking @sparticuz/chromium failed\n${stderr}`)
    renameSync(temporary, folder)
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true })
    if (!existsSync(folder)) throw error // otherwise somebody else was faster
  }
  return folder
}
