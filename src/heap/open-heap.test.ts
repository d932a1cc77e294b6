// How a heap is opened, and in which mode.

import { existsSync } from 'node:fs'
import { describe, expect, it, vi } from 'vitest'
import { findTestModes } from '../../test/helpers/mode-fixture.ts'
import { findOwnAdapter } from '../devices/webgpu/own-adapter.ts'
import { makeDevice } from './engine/make-device.ts'
import { openHeap } from './on-node.ts'
import { openHeapOn } from './open-heap.ts'
import type { Platform } from './platform.ts'

const NOT_LIVE: Platform = {
  makeDevice: (site, settings) => makeDevice(site, settings, findOwnAdapter),
  traceVariable: () => undefined,
  openFile: null,
  openTraceFiles: () => [],
  checkDevices() {},
  guardEngine: () => () => {},
  openLive: async () => 'this is a test',
  openChannel: () => {
    throw new Error('nobody joins')
  },
  attachLive: () => Promise.reject(new Error('nothing is live')),
}

describe('openHeap()', () => {
  it('is live where the machine can do it, with the privileges that there are', async () => {
    const [, live, user] = await findTestModes()
    const best = live.missing === null ? 'live' : user.missing === null ? 'live-user' : 'explicit'
    const heap = await openHeap({ onNotice: () => {} })
    expect(heap.mode).toBe(best)
    await heap.close()
    // Whoever runs this on Linux as root, outside of containers, has real page faults.
    if (process.platform === 'linux' && process.getuid?.() === 0 && !existsSync('/.dockerenv'))
      expect(best).toBe('live')
  })

  it('rejects with the reason where live is not to be had', async () => {
    for (const mode of ['live', 'live-user'] as const) {
      const opening = openHeapOn(NOT_LIVE, { mode })
      await expect(opening).rejects.toThrow(`MODE_UNAVAILABLE: no ${mode} heap: this is a test`)
      await expect(opening).rejects.toMatchObject({ code: 'MODE_UNAVAILABLE' })
    }
  })

  it('says once why a heap is explicit although nobody asked for that', async () => {
    const onNotice = vi.fn()
    for (let i = 0; i < 2; i++) {
      const auto = await openHeapOn(NOT_LIVE, { onNotice })
      expect(auto.mode).toBe('explicit')
      await auto.close()
    }
    expect(onNotice).toHaveBeenCalledExactlyOnceWith(
      'hetmem: heaps are explicit here, so call sync before the CPU uses what a device had: this is a test',
    )
    await (await openHeap({ mode: 'explicit', onNotice })).close()
    expect(onNotice).toHaveBeenCalledTimes(1)
  })

  it('refuses what means nothing in explicit mode, by name', async () => {
    await expect(openHeap({ mode: 'explicit', memory: '1 GiB' })).rejects.toThrow(
      'NOT_IN_MODE: memory in explicit mode',
    )
    await expect(openHeap({ shared: false, memory: 2 ** 24, swap: '1 GiB' })).rejects.toThrow(
      /^NOT_IN_MODE: memory and swap in explicit mode: .*; mode is explicit because /,
    )
  })

  it('rejects for options that are none', async () => {
    await expect(openHeap({ size: '1 MB' as '1 MiB' })).rejects.toThrow(TypeError)
    await expect(openHeap({ size: -1 })).rejects.toThrow(RangeError)
  })

  it('works where there is no process and no shared memory', async () => {
    vi.stubGlobal('SharedArrayBuffer', undefined)
    const { process } = globalThis
    const opening = openHeap({ mode: 'explicit', device: { kind: 'memory' } })
    vi.unstubAllGlobals()
    const browser = await opening
    expect(browser.alloc(Float32Array, 4).buffer).toBeInstanceOf(ArrayBuffer)
    await browser.close()
    expect(globalThis.process).toBe(process)
  })
})
