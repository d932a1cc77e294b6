// Detection, on this machine and on others that are described. One test asserts what this machine can do, so that a mistake
// in the detection cannot turn all tests of live memory into skips.

import { readFileSync } from 'node:fs'
import { release } from 'node:os'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { resultOf, runProgram } from '../../../test/helpers/child-program.ts'
import { EACCES, EINVAL, ENOENT, ENOSYS, EPERM } from '../../base/errno.ts'
import {
  UFFD_FEATURE_MINOR_SHMEM,
  UFFD_FEATURE_MISSING_SHMEM,
  UFFD_FEATURE_PAGEFAULT_FLAG_WP,
  UFFD_FEATURE_THREAD_ID,
  UFFD_FEATURE_WP_ASYNC,
  UFFD_FEATURE_WP_HUGETLBFS_SHMEM,
  UFFDIO_API,
  UFFDIO_API_LAYOUT,
  UFFDIO_CONTINUE,
  UFFDIO_CONTINUE_LAYOUT,
  UFFDIO_CONTINUE_MODE_WP,
} from '../../uapi/userfaultfd.ts'
import {
  chooseTracking,
  detectLive,
  explainRefusals,
  type LiveFeatures,
  type LiveSupport,
  type NoLiveSupport,
  openDetected,
} from './features.ts'
import { type Kernel, loadKernel } from './ffi.ts'
import { selfTest } from './self-test.ts'

vi.mock('./self-test.ts', async (original) => {
  const actual = await original<typeof import('./self-test.ts')>()
  return { ...actual, selfTest: vi.fn(actual.selfTest) }
})
vi.mock('./ffi.ts', async (original) => {
  const ffi = await original<typeof import('./ffi.ts')>()
  return { ...ffi, loadKernel: vi.fn(ffi.loadKernel) }
})

afterEach(() => {
  vi.mocked(selfTest).mockReset()
  vi.mocked(loadKernel).mockReset()
})

const NOBODY = 65_534
const CAP_SYS_PTRACE = 1n << 19n
const isLinux = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch)

/** What this machine can do, from what the system says of it; null where that cannot be told. */
function expectedMode(): string | null {
  if (!isLinux) return 'unavailable'
  const status = readFileSync('/proc/self/status', 'utf8')
  // A filter may allow userfaultfd or not, and old kernels have it or not.
  const [major, minor] = release().split('.').map(Number)
  if (!/^Seccomp:\s*0$/m.test(status) || major * 100 + minor < 607) return null
  const capabilities = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1]}`)
  let isForAll = false
  try {
    isForAll = readFileSync('/proc/sys/vm/unprivileged_userfaultfd', 'utf8').trim() === '1'
  } catch {
    return null // built without userfaultfd
  }
  return isForAll || (capabilities & CAP_SYS_PTRACE) !== 0n ? 'live' : 'live-user'
}

describe('detectLive()', () => {
  it('finds the mode that this machine can do', async (test) => {
    const expected = process.env['HETMEM_EXPECT_MODE'] ?? expectedMode()
    if (expected === null)
      test.skip('knowledge of this machine: set HETMEM_EXPECT_MODE to live, live-user or unavailable')
    const found = await detectLive()
    expect(found, JSON.stringify(found)).toMatchObject({ mode: expected })
    if (found.mode === 'unavailable') return
    // With what the kernel has, or less: nothing is promised that a self-test has not shown.
    expect(found.features.minor).toBe(true)
    expect(found.tracking).toBe(chooseTracking(found.features, 'async').tracking)
    expect(selfTest).toHaveBeenCalledTimes(1)
  })

  it('does less when asked to', async (test) => {
    const best = await detectLive()
    if (best.mode === 'unavailable') test.skip(`live memory: ${best.reason}`)
    const user = await detectLive({ sources: ['user-mode'], tracking: 'none' })
    expect(user).toMatchObject({ mode: 'live-user', source: 'user-mode', tracking: 'none' })
    expect((user as LiveSupport).lacks.map(({ cause }) => cause)).toEqual(['unprivileged'])
    vi.mocked(selfTest).mockClear()
    expect((await detectLive({ selfTest: false })).mode).toBe(best.mode)
    expect(selfTest).not.toHaveBeenCalled()
  })

  it('takes a simpler tracking when the best one fails its test', async (test) => {
    const best = (await detectLive()) as LiveSupport
    if (best.tracking !== 'async') test.skip('write protection, async: this kernel has none to fail')
    vi.mocked(selfTest).mockResolvedValueOnce('written pages were reported as 1,1, wanted 0,1')
    const found = (await detectLive()) as LiveSupport
    const causes = [...best.lacks.map(({ cause }) => cause), 'self-test']
    expect([found.mode, found.tracking, found.lacks.map(({ cause }) => cause)]).toEqual([best.mode, 'sync', causes])
    expect(found.lacks.at(-1)?.reason).toContain('reported as 1,1')
  })

  it('says no when a fault is not served', async (test) => {
    if ((await detectLive()).mode === 'unavailable') test.skip('live memory: nothing to fail')
    vi.mocked(selfTest).mockResolvedValue('a fault was not served within 1 s')
    expect(await detectLive()).toEqual({
      mode: 'unavailable',
      cause: 'self-test',
      reason: 'userfaultfd was tried and does not work: a fault was not served within 1 s',
    })
  })

  it('needs koffi', async (test) => {
    if (!isLinux) test.skip('linux: elsewhere the package is not even tried')
    vi.mocked(loadKernel).mockRejectedValue(new Error("Cannot find package 'koffi'\nand more"))
    const reason = "the package koffi cannot be loaded: Cannot find package 'koffi'"
    expect(await detectLive()).toEqual({ mode: 'unavailable', cause: 'koffi', reason })
  })

  it('takes the device where a sandbox forbids the system call, and says forbidden where it cannot', async (test) => {
    const best = await detectLive()
    if (best.mode !== 'live' || process.getuid?.() !== 0)
      test.skip('root: the device and other users are tried as root')
    const run = async (uid: number) => {
      const program = await runProgram('test/live/detect.ts', { args: ['--refuse'], uid })
      return resultOf<LiveSupport | NoLiveSupport>(program)
    }
    const device = await detectLive({ sources: ['device'] })
    if (device.mode === 'live') expect(await run(0)).toMatchObject({ mode: 'live', source: 'device' })
    expect(await run(NOBODY)).toMatchObject({ mode: 'unavailable', cause: 'forbidden' })
  })

  it('gives other users user mode, and says why', async (test) => {
    if (process.getuid?.() !== 0) test.skip('root: other users are tried as root')
    if (readFileSync('/proc/sys/vm/unprivileged_userfaultfd', 'utf8').trim() === '1')
      test.skip('vm.unprivileged_userfaultfd: is 1')
    const found = resultOf<LiveSupport>(await runProgram('test/live/detect.ts', { uid: NOBODY }))
    expect(found).toMatchObject({ mode: 'live-user', source: 'user-mode' })
    expect(found.lacks[0].cause).toBe('unprivileged')
    expect(found.lacks[0].reason).toMatch(/syscall EPERM, device (EACCES|ENOENT)/)
  })
})

describe('a kernel that can protect pages, but not in the moment in which it maps them, as Linux 5.19 to 6.3', () => {
  /** Refuses what that kernel does not know. */
  async function older(): Promise<Kernel> {
    const kernel = await loadKernel()
    const ioctl = kernel.ioctl.bind(kernel)
    vi.spyOn(kernel, 'ioctl').mockImplementation((fd, request, ...rest) => {
      const mode = kernel.control.get(UFFDIO_CONTINUE_LAYOUT.mode / 8)
      const isRefused = request === UFFDIO_CONTINUE && (mode & UFFDIO_CONTINUE_MODE_WP) !== 0
      return isRefused ? -EINVAL : ioctl(fd, request, ...rest)
    })
    return kernel
  }
  afterEach(() => vi.restoreAllMocks())

  it('takes every page that was touched as written', async (test) => {
    const best = await detectLive({ selfTest: false })
    if (best.mode === 'unavailable') test.skip(`live memory: ${best.reason}`)
    const kernel = await older()
    vi.mocked(loadKernel).mockResolvedValue(kernel)
    const found = (await detectLive()) as LiveSupport
    expect([found.mode, found.tracking, found.features.writeProtect]).toEqual([best.mode, 'none', false])
    expect(found.lacks.at(-1)).toMatchObject({ cause: 'old-kernel', reason: expect.stringContaining('Linux 6.4') })
  })

  it('fails the self-test for more, and the process goes on', async (test) => {
    const best = await detectLive({ selfTest: false })
    if (best.mode === 'unavailable' || best.tracking === 'none') test.skip('write protection: this kernel has none')
    const kernel = await older()
    const found = { ...(best as LiveSupport), tracking: 'sync' as const }
    expect(await selfTest(kernel, () => openDetected(kernel, found), 'sync')).toMatch(/EINVAL.*UFFDIO_CONTINUE/)
  })
})

describe('openDetected()', () => {
  const USED = UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_THREAD_ID
  const PROTECTED = USED | UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM

  // Of the others, events would make whoever calls madvise, fork or munmap wait for the engine, which calls madvise itself.
  it.for([
    ['none', USED],
    ['sync', PROTECTED],
    ['async', PROTECTED | UFFD_FEATURE_WP_ASYNC],
  ] as const)('asks for the features that tracking %s needs, and for no events', async ([tracking, wanted], test) => {
    const found = await detectLive({ selfTest: false })
    if (found.mode === 'unavailable') test.skip(`live memory: ${found.reason}`)
    const best = found as LiveSupport
    if (chooseTracking(best.features, tracking).tracking !== tracking || !best.features.threadId)
      test.skip(`write protection, ${tracking}, and threads of faults: this kernel lacks one`)
    const kernel = await loadKernel()
    const asked: number[] = []
    const ioctl = kernel.ioctl.bind(kernel)
    const spy = vi.spyOn(kernel, 'ioctl').mockImplementation((fd, request, ...rest) => {
      if (request === UFFDIO_API) asked.push(kernel.control.get(UFFDIO_API_LAYOUT.features / 8))
      return ioctl(fd, request, ...rest)
    })
    try {
      kernel.close(openDetected(kernel, { ...best, tracking }))
    } finally {
      spy.mockRestore()
    }
    expect(asked).toEqual([wanted])
  })
})

describe('explainRefusals()', () => {
  it.each([
    ['a kernel without userfaultfd', [-ENOSYS, -ENOENT, -ENOSYS], 'not-built'],
    ['a container', [-EPERM, -ENOENT, -EPERM], 'forbidden'],
    ['a container with a device that is not ours', [-EPERM, -EACCES, -EPERM], 'forbidden'],
    ['Linux 5.10, not root', [-EPERM, -ENOENT, -EINVAL], 'old-kernel'],
    ['a machine out of descriptors', [-24, -24, -24], 'not-built'],
  ])('%s', (_, [syscall, device, user], cause) => {
    const found = explainRefusals([
      { source: 'syscall', errno: syscall },
      { source: 'device', errno: device },
      { source: 'user-mode', errno: user },
    ])
    expect([found.mode, found.cause]).toEqual(['unavailable', cause])
    // What was tried is told, for whoever has to find out.
    expect(found.reason).toMatch(/\(syscall \w+, device \w+, user-mode \w+\)/)
  })

  it('a user who wants no less than faults of system calls', () => {
    const found = explainRefusals([
      { source: 'syscall', errno: -EPERM },
      { source: 'device', errno: -EACCES },
    ])
    expect([found.cause, found.reason]).toEqual([
      'unprivileged',
      expect.stringContaining('(syscall EPERM, device EACCES)'),
    ])
  })
})

describe('chooseTracking()', () => {
  const full: LiveFeatures = {
    minor: true,
    writeProtect: true,
    writeProtectAsync: true,
    pagemapScan: true,
    threadId: true,
    poison: true,
    move: true,
  }

  it.each([
    ['Linux 6.7', {}, 'async', null],
    ['a closed /proc', { pagemapScan: false }, 'sync', 'no-pagemap'],
    ['Linux 6.4', { writeProtectAsync: false, pagemapScan: false }, 'sync', 'old-kernel'],
    ['Linux 5.14', { writeProtect: false, writeProtectAsync: false, pagemapScan: false }, 'none', 'old-kernel'],
  ] as const)('%s', (_, less, tracking, cause) => {
    const found = chooseTracking({ ...full, ...less }, 'async')
    expect([found.tracking, found.lack?.cause ?? null]).toEqual([tracking, cause])
  })

  it('is content with less where less is asked for', () => {
    expect(chooseTracking(full, 'sync')).toEqual({ tracking: 'sync', lack: null })
    expect(chooseTracking({ ...full, writeProtect: false }, 'none')).toEqual({ tracking: 'none', lack: null })
  })
})
