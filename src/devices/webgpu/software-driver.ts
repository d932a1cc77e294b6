// A Vulkan driver from npm packages alone: SwiftShader and the Vulkan loader, as `@sparticuz/chromium` ships them, unpacked
// into the user's cache and loaded with `koffi`. So a machine without GPU and without system packages runs everything, slowly.
//
//   swiftshader.tar.br -> <cache>/hetmem/swiftshader-<digest>/ -> dlopen(libvulkan.so.1, RTLD_GLOBAL) -> VK_ICD_FILENAMES
//
// Dawn asks for the loader by its bare name afterwards and gets the one that is loaded already. Linux on x86-64 only.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { homedir, tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { isMainThread } from 'node:worker_threads'
import { brotliDecompressSync } from 'node:zlib'
import type { LibraryHandle } from 'koffi'

const LOADER = 'libvulkan.so.1'
const MANIFEST = 'vk_swiftshader_icd.json'
/** All that is taken out of the archive. The manifest names the library relative to itself. */
const FILES = [LOADER, 'libvk_swiftshader.so', MANIFEST]

/** Whether the Vulkan loader of the system is there; true where that cannot be found out. */
export async function canLoadSystemVulkan(): Promise<boolean> {
  try {
    const { default: koffi } = await import('koffi')
    try {
      koffi.load(LOADER, { global: true })
      return true
    } catch {
      return false
    }
  } catch {
    return true
  }
}

/** Makes the software driver the Vulkan driver of this process. Returns null, or why that cannot be done. */
export async function loadSoftwareDriver(): Promise<string | null> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `the software driver is for linux x64, this is ${process.platform} ${process.arch}`
  }
  try {
    const { default: koffi } = await import('koffi')
    const dir = unpackedDriver()
    koffi.load(join(dir, LOADER), { global: true, lazy: false })
    const setEnvironment = isMainThread ? setOwnEnvironment : setProcessEnvironment(koffi.load('libc.so.6'))
    setEnvironment('VK_ICD_FILENAMES', join(dir, MANIFEST))
    // The loader prints an error without it, and only looks whether it is a directory.
    if (process.env['XDG_RUNTIME_DIR'] === undefined) setEnvironment('XDG_RUNTIME_DIR', dir)
    return null
  } catch (error) {
    const message = error instanceof Error ? error.message.split('\n', 1)[0] : String(error)
    return `the software driver cannot be loaded (npm install koffi @sparticuz/chromium): ${message}`
  }
}

type SetEnvironment = (name: string, value: string) => void

const setOwnEnvironment: SetEnvironment = (name, value) => {
  process.env[name] = value
}

/** In a worker `process.env` is a copy that native code does not see. */
function setProcessEnvironment(libc: LibraryHandle): SetEnvironment {
  const setenv = libc.func('int setenv(const char *name, const char *value, int overwrite)')
  return (name, value) => {
    setenv(name, value, 1)
    process.env[name] = value
  }
}

/** The folder with the unpacked driver; unpacks it if need be. */
function unpackedDriver(): string {
  const packed = readFileSync(findArchive())
  const name = `swiftshader-${createHash('sha256').update(packed).digest('hex').slice(0, 16)}`
  const [cached] = cacheFolders()
    .map((folder) => join(folder, name))
    .filter(isComplete)
  if (cached !== undefined) return cached
  const files = untar(brotliDecompressSync(packed))
  let failure: unknown
  for (const folder of cacheFolders()) {
    try {
      return install(join(folder, name), files)
    } catch (error) {
      failure = error // not writable: the next one
    }
  }
  throw failure
}

/** Writes the files beside the place and moves them there at once, as other processes may be doing the same. */
function install(dir: string, files: ReadonlyMap<string, Buffer>): string {
  mkdirSync(dirname(dir), { recursive: true, mode: 0o700 })
  const temporary = mkdtempSync(`${dir}-`)
  try {
    for (const [name, contents] of files) writeFileSync(join(temporary, name), contents)
    renameSync(temporary, dir)
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true })
    if (!isComplete(dir)) throw error // otherwise somebody else was faster
  }
  return dir
}

function isComplete(dir: string): boolean {
  return FILES.every((name) => existsSync(join(dir, name)))
}

function cacheFolders(): string[] {
  const user = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
  return [join(user, 'hetmem'), join(tmpdir(), `hetmem-${process.getuid?.() ?? 'user'}`)]
}

function findArchive(): string {
  const entry = createRequire(import.meta.url).resolve('@sparticuz/chromium')
  for (let dir = dirname(entry); ; dir = dirname(dir)) {
    const archive = join(dir, 'bin', 'swiftshader.tar.br')
    if (existsSync(archive)) return archive
    if (dir === dirname(dir)) throw new Error('@sparticuz/chromium has no bin/swiftshader.tar.br')
  }
}

const TAR_BLOCK = 512 // bytes, of a tar archive

/** The wanted files of a plain tar archive, by name. */
function untar(archive: Buffer): Map<string, Buffer> {
  const files = new Map<string, Buffer>()
  for (let at = 0; at + TAR_BLOCK <= archive.length; ) {
    const name = field(archive, at, 100)
    if (name === '') break
    const nbytes = Number.parseInt(field(archive, at + 124, 12), 8)
    if (!Number.isInteger(nbytes)) throw new Error(`swiftshader.tar.br: the size of ${name} cannot be read`)
    const start = at + TAR_BLOCK
    if (FILES.includes(basename(name))) files.set(basename(name), archive.subarray(start, start + nbytes))
    at = start + Math.ceil(nbytes / TAR_BLOCK) * TAR_BLOCK
  }
  const missing = FILES.filter((name) => !files.has(name))
  if (missing.length > 0) throw new Error(`swiftshader.tar.br has no ${missing.join(', ')}`)
  return files
}

/** Text up to the first zero byte. */
function field(archive: Buffer, start: number, nbytes: number): string {
  const text = archive.toString('latin1', start, start + nbytes)
  const end = text.indexOf('\0')
  return end < 0 ? text : text.slice(0, end)
}
