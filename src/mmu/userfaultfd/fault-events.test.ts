import { readdirSync, readlinkSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, it } from 'vitest'
import { findLiveMachine, type LiveMachine } from '../../../test/helpers/live-fixture.ts'
import { AssertionError } from '../../base/assert.ts'
import { type Fault, FaultEvents, parseFaults } from './fault-events.ts'
import { openDetected } from './features.ts'
import { UserfaultfdMmu } from './userfaultfd-mmu.ts'

describe('parseFaults()', () => {
  it('reads all messages of a batch', () => {
    const buffer = Buffer.alloc(4096)
    const message = (i: number, flags: number, addr: bigint, tid: number): void => {
      buffer[32 * i] = 0x12
      buffer.writeBigUInt64LE(BigInt(flags), 32 * i + 8)
      buffer.writeBigUInt64LE(addr, 32 * i + 16)
      buffer.writeUInt32LE(tid, 32 * i + 24)
    }
    message(0, 0, 0x7f12_3456_7000n, 7)
    message(1, 1 | 4, 0x7fff_ffff_efffn, 0)
    message(2, 1 | 2, 0x1_0000_0000n, 9)
    expect(parseFaults(buffer, 96)).toEqual([
      { addr: 0x7f12_3456_7000, write: false, wp: false, minor: false, tid: 7 },
      { addr: 0x7fff_ffff_e000, write: true, wp: false, minor: true, tid: 0 },
      { addr: 0x1_0000_0000, write: true, wp: true, minor: false, tid: 9 },
    ])
    expect(parseFaults(buffer, 0)).toEqual([])
  })

  it('asserts that messages are whole, and that they are faults', () => {
    const buffer = Buffer.alloc(64)
    buffer[0] = 0x12
    expect(() => parseFaults(buffer, 33)).toThrow(AssertionError)
    expect(() => parseFaults(buffer, 64)).toThrow(AssertionError)
  })
})

const machine = await findLiveMachine()
const TOUCHER = `
  const { parentPort, workerData } = require('node:worker_threads')
  const words = new Uint32Array(workerData)
  parentPort.on('message', (page) => parentPort.postMessage(words[1024 * page]))
`

function userfaultfds(): number[] {
  const isUffd = (fd: string): boolean => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[userfaultfd]'
    } catch {
      return false // the folder itself, closed by now
    }
  }
  return readdirSync('/proc/self/fd').filter(isUffd).map(Number)
}

describe('FaultEvents', () => {
  const workers: Worker[] = []
  let events: FaultEvents | undefined
  let mmu: UserfaultfdMmu | undefined
  afterEach(async () => {
    events?.close()
    mmu?.close()
    for (const worker of workers.splice(0)) await worker.terminate()
  })

  function setUp(onFaults: (faults: readonly Fault[], mmu: UserfaultfdMmu) => void) {
    const { kernel, support } = machine as LiveMachine
    const opened = new FaultEvents(kernel, openDetected(kernel, support), (faults) => onFaults(faults, heap))
    const heap = new UserfaultfdMmu({ kernel, fd: opened.fd, tracking: support.tracking, nframes: 16 })
    events = opened
    mmu = heap
    heap.attach()
    for (let vpn = 0; vpn < 16; vpn++) heap.allocFrame(1, vpn * 4096, 0)
    /** A thread reads a word of a page. */
    const touch = (page: number): Promise<number> => {
      const worker = new Worker(TOUCHER, { eval: true, workerData: heap.buffers[0] })
      workers.push(worker)
      worker.postMessage(page)
      return new Promise((resolve) => worker.once('message', resolve))
    }
    return { events: opened, heap, touch }
  }

  it('hands over faults while the loop goes on', async (test) => {
    if (typeof machine === 'string') test.skip(machine)
    const seen: Fault[] = []
    const { events, heap, touch } = setUp((faults) => seen.push(...faults))
    expect(userfaultfds(), 'one descriptor, and no other that would keep threads waiting').toEqual([events.fd])
    const values = [touch(3), touch(5)]
    while (seen.length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    const pages = seen.map(({ addr }) => heap.heapAddr(addr) / 4096).sort()
    expect([pages, seen.some(({ write }) => write)]).toEqual([[3, 5], false])
    for (const page of pages) {
      heap.bytes(page)[0] = page
      heap.install(1, page * 4096, page, 1, true)
    }
    expect(await Promise.all(values)).toEqual([3, 5])
  })

  it('close() lets who waits go on, at once', async (test) => {
    if (typeof machine === 'string') test.skip(machine)
    const { events, heap, touch } = setUp(() => events.close())
    heap.bytes(2)[0] = 42
    expect(await touch(2)).toBe(42)
    expect(userfaultfds()).toEqual([])
    // From now on it is ordinary memory.
    expect(await touch(9)).toBe(0)
  })
})
