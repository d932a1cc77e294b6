// The doctor on this machine, and on machines that are described: a user must learn what is missing and the exact step that helps.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { GIB, MIB } from '../base/size.ts'
import { detectLive, LIVE_CAUSES, type LiveCause, type LiveSupport } from '../mmu/userfaultfd/features.ts'
import { runCommand } from './commands.ts'
import { printFindings, report } from './doctor.ts'
import type { Facts, Privileges } from './doctor-facts.ts'
import { diagnose, type Finding } from './doctor-findings.ts'
import { COLUMNS_MAX, Terminal } from './terminal.ts'

class Sink {
  text = ''
  write(text: string): void {
    this.text += text
  }
}

const LIVE: LiveSupport = {
  mode: 'live',
  source: 'syscall',
  tracking: 'async',
  features: {
    minor: true,
    writeProtect: true,
    writeProtectAsync: true,
    pagemapScan: true,
    threadId: true,
    poison: true,
    move: true,
  },
  lacks: [],
}

const GOOD: Facts = {
  node: '22.1.0',
  platform: 'linux',
  arch: 'x64',
  kernel: '6.12.0',
  live: LIVE,
  privileges: { isRoot: true, container: null, hasSeccomp: false, sysctl: '0', hasDevice: true },
  memory: { total: 32 * GIB, available: 20 * GIB, limit: null },
  swapFolder: { path: '/tmp', free: 100 * GIB, isMemory: false },
  webgpu: { adapter: 'a GPU (dawn)', isSoftware: false, reason: null },
  packages: { koffi: '3.3.4', webgpu: '0.6.2', '@sparticuz/chromium': '147.0.0' },
}

const topic = (facts: Facts, wanted: Finding['topic']): Finding => {
  const found = diagnose(facts).find((finding) => finding.topic === wanted)
  if (found === undefined) throw new Error(`nothing about ${wanted}`)
  return found
}

/** The finding about live memory on a machine that lacks it for `cause`. */
function without(cause: LiveCause, privileges: Partial<Privileges> = {}, more: Partial<Facts> = {}): Finding {
  const live = { mode: 'unavailable', cause, reason: 'it is so' } as const
  return topic({ ...GOOD, ...more, live, privileges: { ...GOOD.privileges, ...privileges } }, 'live')
}

/** The same on a machine where this user gets faults of user mode only. */
function asUser(privileges: Partial<Privileges>): Finding {
  const live: LiveSupport = {
    ...LIVE,
    mode: 'live-user',
    source: 'user-mode',
    lacks: [{ cause: 'unprivileged', reason: 'it is so' }],
  }
  return topic({ ...GOOD, live, privileges: { ...GOOD.privileges, isRoot: false, ...privileges } }, 'live')
}

describe('hetmem doctor', () => {
  it('ends with status 0 and tells the mode of this machine, as text and as JSON', async () => {
    const cache = mkdtempSync(join(tmpdir(), 'hetmem-test-'))
    vi.stubEnv('XDG_CACHE_HOME', cache)
    try {
      const { mode } = await detectLive()
      const [json, text, errors] = [new Sink(), new Sink(), new Sink()]
      const terminals = (sink: Sink) => [new Terminal(sink, false), new Terminal(errors, false)] as const
      expect(await runCommand(['doctor', '--json'], ...terminals(json))).toBe(0)
      const printed = JSON.parse(json.text) as ReturnType<typeof report>
      expect(printed.mode).toBe(mode === 'unavailable' ? 'explicit' : mode)
      expect([printed.facts.node, printed.facts.live.mode]).toEqual([process.versions.node, mode])
      expect(printed.facts.packages.koffi).toMatch(/^\d+\.\d+\.\d+/)
      expect(printed.findings).toEqual(diagnose(printed.facts))
      expect(await runCommand(['doctor'], ...terminals(text))).toBe(0)
      expect(text.text).toContain(`Node ${process.versions.node}`)
      expect(errors.text).toBe('')
    } finally {
      rmSync(cache, { recursive: true })
    }
  })

  it('refuses other arguments', async () => {
    const errors = new Sink()
    expect(await runCommand(['doctor', '--jsn'], new Terminal(new Sink(), false), new Terminal(errors, false))).toBe(2)
    expect(errors.text).toContain('--jsn')
  })

  it('has nothing to say about a good machine', () => {
    const findings = diagnose(GOOD)
    expect(findings.filter(({ status }) => status === 'limited' || status === 'missing')).toEqual([])
    expect(findings.flatMap(({ advice }) => advice)).toEqual([])
    expect(report(GOOD).mode).toBe('live')
  })

  it('prints no line wider than a terminal', () => {
    const sink = new Sink()
    printFindings(new Terminal(sink, false), [
      ...LIVE_CAUSES.map((cause) => without(cause, { container: 'Docker' })),
      asUser({ container: null }),
    ])
    expect(sink.text.split('\n').filter((line) => line.length > COLUMNS_MAX)).toEqual([])
    expect(sink.text).toContain('-> ')
  })
})

describe('live memory', () => {
  it.each(LIVE_CAUSES)('what is missing for %s comes with a step, and with the mode that works', (cause) => {
    const found = without(cause)
    expect([found.status, found.advice.length > 0]).toEqual(['missing', true])
    expect(found.details.join(' ')).toMatch(/It is so\. .*explicit mode/)
    expect(report({ ...GOOD, live: { mode: 'unavailable', cause, reason: 'it is so' } }).mode).toBe('explicit')
  })

  it.each([
    ['Docker, root', { container: 'Docker' }, /^docker run --device \/dev\/userfaultfd \.\.\./],
    [
      'Docker, not root',
      { container: 'Docker', isRoot: false },
      /--device \/dev\/userfaultfd .*as root in the container/,
    ],
    ['Docker, with a profile', { container: 'Docker' }, /--security-opt seccomp=profile\.json .*"userfaultfd"/],
    ['Podman', { container: 'Podman' }, /^podman run --device/],
    ['Kubernetes', { container: 'Kubernetes' }, /seccompProfile/],
    ['a systemd service', { container: null }, /SystemCallFilter=userfaultfd/],
  ])('the exact flag where it is forbidden: %s', (_, privileges, step) => {
    expect(without('forbidden', privileges).advice).toContainEqual(expect.stringMatching(step))
  })

  it('how a user gets faults of system calls too', () => {
    const user = asUser({ container: null })
    expect([user.status, user.advice.length]).toEqual(['limited', 2])
    expect(user.advice[0]).toMatch(/^sudo sysctl -w vm\.unprivileged_userfaultfd=1 \(/)
    expect(user.advice[1]).toContain('setfacl -m u:$USER:rw /dev/userfaultfd')
    expect(user.details.join(' ')).toMatch(/EFAULT/)
    expect(asUser({ container: null, hasDevice: false }).advice.join()).not.toContain('/dev/userfaultfd')
  })

  it('a container needs its flag, and the setting belongs to the host', () => {
    const { advice } = asUser({ container: 'Docker', isRoot: true })
    expect(advice[0]).toMatch(/^docker run --device \/dev\/userfaultfd .*--cap-add SYS_PTRACE$/)
    expect(advice[1]).toMatch(/^or sudo sysctl .* on the host/)
  })

  it('WSL, Windows and macOS get their own advice', () => {
    expect(without('not-built', {}, { kernel: '4.19.128-microsoft-standard' }).advice[0]).toContain('wsl --update')
    expect(without('platform', {}, { platform: 'win32' }).advice[0]).toContain('WSL2')
    expect(without('platform', {}, { platform: 'darwin' }).advice[0]).toContain('Linux')
  })

  it('tells what tracking of stores costs', () => {
    const lacks = [{ cause: 'old-kernel', reason: 'this kernel is old' }] as const
    const found = topic({ ...GOOD, live: { ...LIVE, tracking: 'sync', lacks } }, 'live')
    expect([found.status, found.advice[0]]).toEqual(['limited', expect.stringContaining('Linux 6.7')])
    expect(found.details).toContain('This kernel is old.')
    expect(topic({ ...GOOD, arch: 'arm64', live: { ...LIVE, tracking: 'none', lacks } }, 'live').advice[0]).toContain(
      '6.10',
    )
  })
})

describe('the rest of the machine', () => {
  it.each([
    ['20.19.0', 'ok'],
    ['20.18.9', 'missing'],
    ['18.20.0', 'missing'],
    ['26.0.0', 'ok'],
  ])('Node %s', (version, status) => {
    expect(topic({ ...GOOD, node: version }, 'node').status).toBe(status)
  })

  it('memory is what the control group leaves', () => {
    const found = topic({ ...GOOD, memory: { total: 32 * GIB, available: 20 * GIB, limit: 512 * MIB } }, 'memory')
    expect([found.status, found.details[0]]).toEqual(['limited', expect.stringContaining('512 MiB')])
  })

  it('swap in memory is none', () => {
    const found = topic({ ...GOOD, swapFolder: { path: '/tmp', free: 8 * GIB, isMemory: true } }, 'swap')
    expect([found.status, found.advice]).toEqual(['limited', [expect.stringContaining('TMPDIR')]])
    expect(topic({ ...GOOD, swapFolder: { path: '/tmp', free: 100 * MIB, isMemory: false } }, 'swap').status).toBe(
      'limited',
    )
    expect(topic({ ...GOOD, swapFolder: { path: '/tmp', free: null, isMemory: false } }, 'swap').status).toBe('note')
  })

  it('without an adapter the missing packages are named', () => {
    const none = { adapter: null, isSoftware: false, reason: 'there is no Vulkan\nno driver' }
    const packages = { ...GOOD.packages, webgpu: null, '@sparticuz/chromium': null }
    const found = topic({ ...GOOD, webgpu: none, packages }, 'webgpu')
    expect([found.status, found.advice]).toEqual(['missing', ['npm install webgpu @sparticuz/chromium']])
    expect(found.details).toEqual(['There is no Vulkan.', 'No driver.'])
    expect(topic({ ...GOOD, webgpu: none }, 'webgpu').advice).toEqual(['install a Vulkan driver for the GPU'])
    const software = { adapter: 'SwiftShader', isSoftware: true, reason: null }
    expect(topic({ ...GOOD, webgpu: software }, 'webgpu').status).toBe('limited')
  })

  it('nobody is sent for a software driver that is for other machines', () => {
    const packages = { koffi: '3.3.4', webgpu: null, '@sparticuz/chromium': null }
    const none = { adapter: null, isSoftware: false, reason: 'there is no Vulkan' }
    const arm = { ...GOOD, arch: 'arm64', webgpu: none, packages }
    expect(topic(arm, 'webgpu').advice).toEqual(['npm install webgpu'])
    expect(diagnose(arm).filter(({ title }) => title.includes('@sparticuz'))).toEqual([])
  })

  it('packages that are missing come with their command', () => {
    const findings = diagnose({ ...GOOD, packages: { ...GOOD.packages, koffi: null } })
    const found = findings.find(({ title }) => title.startsWith('package koffi'))
    expect([found?.status, found?.advice]).toEqual(['note', ['npm install koffi']])
  })
})
