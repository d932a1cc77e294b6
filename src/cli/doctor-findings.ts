// The judgement of `hetmem doctor`: from facts to what they mean for a user, and what would help. Pure, so that machines can
// be tried that nobody has at hand.

import { assertNever } from '../base/assert.ts'
import { formatSize, GIB } from '../base/size.ts'
import type { Lack, LiveCause, LiveSupport, NoLiveSupport } from '../mmu/userfaultfd/features.ts'
import { type Facts, type Folder, type Memory, PACKAGES, type PackageName, type Privileges } from './doctor-facts.ts'

/** `limited`: it works, and could be better. `missing`: hetmem does without. `note`: good to know. */
export const STATUSES = ['ok', 'limited', 'missing', 'note'] as const
export type Status = (typeof STATUSES)[number]

export interface Finding {
  readonly status: Status
  /** What it is about, for programs. */
  readonly topic: 'node' | 'system' | 'live' | 'memory' | 'swap' | 'webgpu' | 'packages'
  /** One line. */
  readonly title: string
  /** What it means, a paragraph each. */
  readonly details: readonly string[]
  /** What to do, a step or a choice each. */
  readonly advice: readonly string[]
}

/** The oldest Node that hetmem runs on. */
const NODE_MIN: readonly [major: number, minor: number] = [20, 19]
/** With less, a heap and its program hardly fit. */
const MEMORY_MIN = 1 * GIB
const SWAP_MIN = 1 * GIB

export function diagnose(facts: Facts): Finding[] {
  return [
    node(facts.node),
    finding('note', 'system', `${systemName(facts)}, ${facts.arch}`),
    live(facts),
    memory(facts.memory),
    swap(facts.swapFolder),
    webgpu(facts),
    ...packages(facts),
  ]
}

function finding(
  status: Status,
  topic: Finding['topic'],
  title: string,
  details: readonly string[] = [],
  advice: readonly string[] = [],
): Finding {
  return { status, topic, title, details, advice }
}

function node(version: string): Finding {
  const [major, minor] = version.split('.').map(Number)
  const isEnough = major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])
  if (isEnough) return finding('ok', 'node', `Node ${version}`)
  const wanted = NODE_MIN.join('.')
  return finding(
    'missing',
    'node',
    `Node ${version} is too old`,
    [],
    [`install Node ${wanted} or later (https://nodejs.org)`],
  )
}

function systemName({ platform, kernel, privileges }: Facts): string {
  const name = { linux: 'Linux', darwin: 'macOS', win32: 'Windows' }[platform] ?? platform
  const where = privileges.container === null ? '' : `, in a container (${privileges.container})`
  return `${name} ${kernel}${where}`
}

// ---- live memory ----

function live(facts: Facts): Finding {
  const { live } = facts
  if (live.mode === 'unavailable') {
    const details = [
      sentence(live.reason),
      'Programs run in explicit mode: call await heap.sync(view) before the CPU touches what a device wrote.',
    ]
    return finding('missing', 'live', 'live memory is not available', details, adviceFor(live, facts))
  }
  const details = [tracking(live), ...live.lacks.map(({ reason }) => sentence(reason))]
  const advice = live.lacks.flatMap((lack) => adviceFor(lack, facts))
  if (live.mode === 'live') {
    const how = live.source === 'device' ? ', through /dev/userfaultfd' : ''
    const title = `live memory: page faults of programs and of system calls${how}`
    return finding(live.lacks.length === 0 ? 'ok' : 'limited', 'live', title, details, advice)
  }
  const title = 'live memory for this user (live-user): page faults of programs, not those of system calls'
  const gap =
    'Passing an array to fs.read and the like fails with EFAULT unless its pages are there: use heap.withResident.'
  return finding('limited', 'live', title, [...details, gap], advice)
}

function tracking({ tracking }: LiveSupport): string {
  switch (tracking) {
    case 'async':
      return 'Which pages were written is noted by the kernel, without a fault.'
    case 'sync':
      return 'Which pages were written is learned by a fault at the first store to each.'
    case 'none':
      return 'Which pages were written is not known: pages that were only read are copied too.'
    default:
      return assertNever(tracking)
  }
}

/** A reason as it stands in a paragraph. */
function sentence(reason: string): string {
  return `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`
}

function adviceFor({ cause }: Lack | NoLiveSupport, facts: Facts): readonly string[] {
  return ADVICE[cause](facts)
}

const ADVICE: Readonly<Record<LiveCause, (facts: Facts) => readonly string[]>> = {
  platform: ({ platform }) =>
    platform === 'win32'
      ? ['run it in WSL2, whose Linux has userfaultfd: wsl --install']
      : ['run it with Node on Linux'],
  architecture: () => ['run it on x86-64 or arm64'],
  koffi: () => ['npm install koffi'],
  'page-size': () => ['start a kernel with pages of 4 KiB (on a Raspberry Pi 5: kernel=kernel8.img in config.txt)'],
  'not-built': ({ kernel }) =>
    /microsoft/i.test(kernel)
      ? ['update the kernel of WSL, older ones lack userfaultfd: wsl --update']
      : ['use a kernel that is built with CONFIG_USERFAULTFD=y; in gVisor (runsc) use another runtime'],
  forbidden: ({ privileges }) => forbidden(privileges),
  unprivileged: ({ privileges }) => unprivileged(privileges),
  'old-kernel': ({ arch }) => [
    `use Linux ${arch === 'arm64' ? '6.10' : '6.7'} or later, which has all that hetmem uses`,
  ],
  'no-pagemap': () => ['mount /proc, and let this user read /proc/self/pagemap (PAGEMAP_SCAN: Linux 6.7)'],
  'self-test': () => ['an emulator or sandbox may only pretend; if this is an ordinary Linux, please report it'],
}

/** Somebody refuses the system call, whoever makes it: a seccomp filter, as container runtimes install by default. */
function forbidden({ container, isRoot }: Privileges): readonly string[] {
  if (container === 'Kubernetes') {
    return [
      'set securityContext.seccompProfile.type: Unconfined, or Localhost with a profile that allows userfaultfd',
      'for faults of system calls too: securityContext.capabilities.add: ["SYS_PTRACE"]',
    ]
  }
  if (container === null) {
    return [
      'allow the system call userfaultfd in the sandbox (systemd: SystemCallFilter=userfaultfd), or run outside of it',
    ]
  }
  const program = container === 'Podman' ? 'podman' : 'docker'
  const device = `${program} run --device /dev/userfaultfd ... (Linux 6.1 or later on the host)`
  return [
    isRoot ? device : `${device}, as root in the container: the device belongs to root`,
    `or ${program} run --security-opt seccomp=profile.json ..., with "userfaultfd" added to the default profile`,
    `or, for a trial, ${program} run --privileged ...`,
  ]
}

/** Faults of system calls are for root, or for whom root allowed it. */
function unprivileged({ container, isRoot, sysctl, hasDevice }: Privileges): readonly string[] {
  const steps: string[] = []
  if (container !== null && container !== 'Kubernetes') {
    const program = container === 'Podman' ? 'podman' : 'docker'
    const user = isRoot ? '' : '--user root '
    steps.push(
      `${program} run ${user}--device /dev/userfaultfd ... (Linux 6.1 or later on the host), or --cap-add SYS_PTRACE`,
    )
  }
  const where = container === null ? '' : ' on the host'
  if (sysctl !== '1') {
    const again = 'put it in /etc/sysctl.d/90-userfaultfd.conf to keep it'
    steps.push(`${steps.length > 0 ? 'or ' : ''}sudo sysctl -w vm.unprivileged_userfaultfd=1${where} (${again})`)
  }
  if (hasDevice && !isRoot && container === null) {
    steps.push(`or give this user the device: sudo setfacl -m u:$USER:rw /dev/userfaultfd`)
  }
  return steps
}

// ---- memory, swap, devices, packages ----

function memory({ total, available, limit }: Memory): Finding {
  const title = `memory: ${formatSize(available)} available of ${formatSize(total)}`
  const details = limit === null ? [] : [`This process may use ${formatSize(limit)} at most (its control group).`]
  const isShort = Math.min(available, limit ?? available) < MEMORY_MIN
  return finding(isShort ? 'limited' : 'ok', 'memory', title, details)
}

function swap({ path, free, isMemory }: Folder): Finding {
  if (free === null) return finding('note', 'swap', `space for swap files in ${path}: not known`)
  const title = `space for swap files in ${path}: ${formatSize(free)}`
  if (isMemory) {
    const details = ['That folder is in memory (tmpfs): swap files there free nothing.']
    return finding('limited', 'swap', title, details, ['set TMPDIR to a folder on a disk'])
  }
  if (free < SWAP_MIN)
    return finding('limited', 'swap', title, [], ['make room there, or set TMPDIR to another folder'])
  return finding('ok', 'swap', title)
}

function webgpu(facts: Facts): Finding {
  const { webgpu } = facts
  if (webgpu.adapter === null) {
    const details = (webgpu.reason ?? 'nobody says why').split('\n').map(sentence)
    const wanted = usefulPackages(facts).filter((name) => facts.packages[name] === null)
    const advice = wanted.length > 0 ? [`npm install ${wanted.join(' ')}`] : ['install a Vulkan driver for the GPU']
    return finding('missing', 'webgpu', 'WebGPU: no adapter', details, advice)
  }
  if (!webgpu.isSoftware) return finding('ok', 'webgpu', `WebGPU: ${webgpu.adapter}`)
  const details = ['A software driver, no GPU: everything runs, slowly.']
  return finding('limited', 'webgpu', `WebGPU: ${webgpu.adapter}`, details, ['with a GPU: install its Vulkan driver'])
}

const PURPOSES: Readonly<Record<PackageName, string>> = {
  koffi: 'system calls, for live memory and the software driver',
  webgpu: 'WebGPU in Node',
  '@sparticuz/chromium': 'the software driver',
}

/** The software driver is for Linux on x86-64. */
function usefulPackages({ platform, arch }: Facts): PackageName[] {
  const hasDriver = platform === 'linux' && arch === 'x64'
  return PACKAGES.filter((name) => hasDriver || name !== '@sparticuz/chromium')
}

function packages(facts: Facts): Finding[] {
  return usefulPackages(facts).map((name) => {
    const version = facts.packages[name]
    if (version !== null) return finding('ok', 'packages', `package ${name} ${version}`)
    const title = `package ${name} is not installed (${PURPOSES[name]})`
    return finding('note', 'packages', title, [], [`npm install ${name}`])
  })
}
