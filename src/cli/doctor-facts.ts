// What `hetmem doctor` looks at, without a judgement: the machine, its limits, and the packages that are there.

import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { freemem, release, tmpdir, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findAdapter } from '../devices/webgpu/adapter.ts'
import { detectLive, type LiveSupport, type NoLiveSupport } from '../mmu/userfaultfd/features.ts'
import { UFFD_DEVICE } from '../mmu/userfaultfd/uffd.ts'

/** Native packages that do the work where the runtime cannot. */
export const PACKAGES = ['koffi', 'webgpu', '@sparticuz/chromium'] as const
export type PackageName = (typeof PACKAGES)[number]

export interface Facts {
  readonly node: string
  readonly platform: string
  readonly arch: string
  /** Release of the kernel. */
  readonly kernel: string
  readonly live: LiveSupport | NoLiveSupport
  readonly privileges: Privileges
  readonly memory: Memory
  readonly swapFolder: Folder
  readonly webgpu: WebGpu
  /** Versions of the packages, null for those that are not installed. */
  readonly packages: Readonly<Record<PackageName, string | null>>
}

/** What decides who may have userfaultfd. */
export interface Privileges {
  readonly isRoot: boolean
  /** The container this process is in, as people call it; null for none that shows. */
  readonly container: string | null
  /** A filter decides about system calls. */
  readonly hasSeccomp: boolean
  /** `vm.unprivileged_userfaultfd`; null where there is none. */
  readonly sysctl: string | null
  readonly hasDevice: boolean
}

/** In bytes. */
export interface Memory {
  readonly total: number
  readonly available: number
  /** What the container may use at most; null for no limit. */
  readonly limit: number | null
}

/** Where swap files go unless told otherwise. */
export interface Folder {
  readonly path: string
  /** Free bytes, null where that cannot be found out. */
  readonly free: number | null
  /** It is in memory itself (tmpfs). */
  readonly isMemory: boolean
}

export interface WebGpu {
  /** Null where there is no adapter, or none answered in time. */
  readonly adapter: string | null
  /** It is the software driver, not a GPU. */
  readonly isSoftware: boolean
  /** Why there is none. */
  readonly reason: string | null
}

/** An adapter that takes longer than this to be found is not waited for. */
const ADAPTER_TIMEOUT_MS = 10_000
const TMPFS_MAGIC = 0x0102_1994

export async function gatherFacts(): Promise<Facts> {
  const packages = {} as Record<PackageName, string | null>
  for (const name of PACKAGES) packages[name] = installedVersion(name)
  return {
    node: process.versions.node,
    platform: process.platform,
    arch: process.arch,
    kernel: release(),
    live: await detectLive(),
    privileges: privileges(),
    memory: memory(),
    swapFolder: folder(tmpdir()),
    webgpu: await webGpu(),
    packages,
  }
}

function privileges(): Privileges {
  const status = readText('/proc/self/status') ?? ''
  return {
    isRoot: process.geteuid?.() === 0,
    container: container(),
    hasSeccomp: /^Seccomp:\s*2$/m.test(status),
    sysctl: readText('/proc/sys/vm/unprivileged_userfaultfd')?.trim() ?? null,
    hasDevice: existsSync(UFFD_DEVICE),
  }
}

function container(): string | null {
  if (process.env['KUBERNETES_SERVICE_HOST'] !== undefined) return 'Kubernetes'
  if (existsSync('/run/.containerenv')) return 'Podman'
  if (existsSync('/.dockerenv')) return 'Docker'
  return process.env['container'] ?? null // systemd-nspawn, LXC and others say their name
}

function memory(): Memory {
  const available = /^MemAvailable:\s*(\d+) kB$/m.exec(readText('/proc/meminfo') ?? '')
  const limit = process.constrainedMemory() ?? 0
  const total = totalmem()
  return {
    total,
    available: available === null ? freemem() : Number(available[1]) * 1024,
    // No limit is told as 0, or as more than there is.
    limit: limit > 0 && limit < total ? limit : null,
  }
}

function folder(path: string): Folder {
  try {
    const { bavail, bsize, type } = statfsSync(path)
    return { path, free: bavail * bsize, isMemory: process.platform === 'linux' && type === TMPFS_MAGIC }
  } catch {
    return { path, free: null, isMemory: false }
  }
}

async function webGpu(): Promise<WebGpu> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, ADAPTER_TIMEOUT_MS, null)
  })
  const found = await Promise.race([findAdapter(), late])
  clearTimeout(timer)
  if (found === null) {
    return { adapter: null, isSoftware: false, reason: `no answer within ${ADAPTER_TIMEOUT_MS / 1000} s` }
  }
  if (found.adapter === null) return { adapter: null, isSoftware: false, reason: found.reason }
  return { adapter: found.description, isSoftware: found.source === 'dawn-software', reason: null }
}

/** Version of a package that programs beside this file can load. Its own exports need not name its package.json. */
function installedVersion(name: PackageName): string | null {
  for (let dir = dirname(fileURLToPath(import.meta.url)); ; dir = dirname(dir)) {
    const text = readText(join(dir, 'node_modules', name, 'package.json'))
    if (text !== null) return (JSON.parse(text) as { version: string }).version
    if (dir === dirname(dir)) return null
  }
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
